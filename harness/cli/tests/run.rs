//! Whole runs on the null backend: what is measured, what goes wrong, and that nothing is left behind.

mod common;

use common::{Checkout, end_of, wait_for};
use isobench_core::{Experiment, FaultKind, Record};
use isobench_runner::reap;
use std::fs;
use std::process::Command;

fn run_args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--quick", "--only", "null/", "--seed", "7", "--rounds", "1"], more].concat()
}

#[test]
fn a_run_measures_writes_and_reports() {
    let checkout = Checkout::new();
    checkout.script("echo", "call_us = 50");
    let ran = checkout.run(&run_args(&[]));
    ran.expect(0).says("null/scripted").says("index.html");

    let (run, records) = checkout.read_run();
    assert_eq!((run.plan.seed, run.cells.len()), (7, 2));
    assert_eq!(run.cells[0].experiments, Experiment::STANDARD);
    for experiment in [Experiment::ColdStart, Experiment::WarmCall, Experiment::Footprint] {
        let of = |r: &Record| matches!(r, Record::Samples(s) if s.experiment == experiment && !s.values.is_empty());
        assert!(records.iter().any(of), "no sample of {experiment}");
    }
    assert!(records.iter().any(|r| matches!(r, Record::Histogram(h) if h.calls > 0)));
    let page = fs::read_to_string(checkout.path("reports").join(&run.id).join("index.html")).unwrap();
    assert!(page.contains("null/scripted") && page.contains("samples.jsonl"));
    assert!(checkout.path("reports/index.html").is_file());
    checkout.assert_nothing_left();
}

#[test]
fn the_phases_of_every_start_add_up_to_its_total() {
    let checkout = Checkout::new();
    checkout.script("echo", "start_us = 200");
    checkout.run(&run_args(&[])).expect(0);
    let (_, records) = checkout.read_run();
    let mut sums = std::collections::BTreeMap::<(u32, u32), (u64, u64)>::new();
    for record in records {
        let Record::Samples(s) = record else { continue };
        if s.experiment != Experiment::ColdStart || s.metric == "destroy" {
            continue;
        }
        let sum = sums.entry((s.block, s.index)).or_default();
        if s.metric == "total" { sum.0 += s.values[0] } else { sum.1 += s.values[0] }
    }
    assert!(!sums.is_empty());
    assert!(sums.values().all(|(total, phases)| total == phases), "{sums:?}");
}

#[test]
fn a_cell_that_fails_is_an_error_row_and_the_others_are_unaffected() {
    let checkout = Checkout::new();
    checkout.script("good", "");
    checkout.script("crashes", "fault = \"crash\"");
    checkout.script("hangs", "fault = \"hang_call\"");
    checkout.script("lies", "fault = \"wrong_answer\"");
    checkout.script("litters", "grandchild = true");
    checkout.run(&run_args(&[])).expect(3).says("wrong_answer");
    let (run, _) = checkout.read_run();
    let fault = |name: &str| {
        let cell = run.cells.iter().find(|c| c.cell.workload == name).unwrap();
        cell.faults.first().map(|f| f.fault.kind)
    };
    assert_eq!(fault("good"), None);
    assert_eq!(fault("litters"), None);
    assert_eq!(fault("crashes"), Some(FaultKind::RunnerDied));
    assert_eq!(fault("hangs"), Some(FaultKind::DeadlineExceeded));
    assert_eq!(fault("lies"), Some(FaultKind::WrongAnswer));
    checkout.assert_nothing_left();
}

#[test]
fn the_same_seed_gives_the_same_order() {
    let order = || {
        let checkout = Checkout::new();
        for name in ["a", "b", "c", "d", "e", "f"] {
            checkout.script(name, "");
        }
        checkout.run(&["run", "--quick", "--only", "null/", "--seed", "3", "--rounds", "1"]).expect(0);
        let (run, records) = checkout.read_run();
        let blocks = records.into_iter().filter_map(|r| if let Record::Block(b) = r { Some(b.cell) } else { None });
        blocks.map(|c| run.cells[c as usize].cell.workload.clone()).collect::<Vec<_>>()
    };
    assert_eq!(order(), order());
}

#[test]
fn ctrl_c_keeps_what_was_measured_and_leaves_nothing_at_once() {
    let checkout = Checkout::new();
    checkout.script("echo", "call_us = 100\ngrandchild = true");
    let child = checkout.spawn(&["run", "--quick", "--only", "null/", "--budget", "10m"]);
    wait_for("a first block", || some_block(&checkout));
    signal(child.id(), libc::SIGINT);
    end_of(child).expect(130).says("interrupted").says("index.html");
    checkout.assert_nothing_left();
    let (run, records) = checkout.read_run();
    assert_eq!(run.stopped_early.as_deref(), Some("interrupted"));
    assert!(!records.is_empty());
}

#[test]
fn after_kill_9_of_the_harness_clean_leaves_nothing() {
    let checkout = Checkout::new();
    checkout.script("echo", "call_us = 100\ngrandchild = true");
    let child = checkout.spawn(&["run", "--quick", "--only", "null/", "--budget", "10m"]);
    wait_for("a first block", || some_block(&checkout));
    signal(child.id(), libc::SIGKILL);
    end_of(child);
    checkout.run(&["clean"]).expect(0).says("removed");
    checkout.assert_nothing_left();
    checkout.run(&["clean"]).expect(0).says("nothing to clean");
    // What was on disk is readable, and a report can be made of it.
    checkout.run(&["report"]).expect(0);
}

#[test]
fn clean_leaves_a_live_run_alone() {
    let checkout = Checkout::new();
    checkout.script("echo", "call_us = 100");
    let child = checkout.spawn(&["run", "--quick", "--only", "null/", "--budget", "10m"]);
    wait_for("a first block", || some_block(&checkout));
    checkout.run(&["clean"]).expect(0).says("nothing to clean");
    signal(child.id(), libc::SIGINT);
    end_of(child).expect(130);
}

#[test]
fn a_cut_last_block_is_reported_unless_the_run_counted_it() {
    let checkout = Checkout::new();
    checkout.script("echo", "");
    checkout.run(&run_args(&[])).expect(0);
    let dir = checkout.the_run();
    let text = fs::read(dir.samples()).unwrap();
    fs::write(dir.samples(), &text[..text.len() - 9]).unwrap();
    checkout.run(&["report"]).expect(1).says("1 of the").says("--partial");
    checkout.run(&["report", "--partial"]).expect(0).says("1 block without an end");
    let page = checkout.page();
    assert!(page.contains("cut short") && page.contains("The samples are incomplete"), "the page says what is missing");

    // A killed run has counted no more than the blocks of its last round.
    let (mut run, records) = checkout.read_run();
    let last = records.last().unwrap().cell() as usize;
    run.cells[last].blocks -= 1;
    run.ended_unix_ms = None;
    dir.write_run(&run).unwrap();
    checkout.run(&["report"]).expect(0).says("1 block without an end");
    // The space after a number does not break.
    assert!(checkout.page().contains("block without an end"));
}

#[test]
fn a_full_disk_stops_the_run_with_a_clear_error_and_keeps_what_was_written() {
    let checkout = Checkout::new();
    // A long series of warm calls fills 64 KiB in a few blocks.
    checkout.script("echo", "");
    let out = checkout.path("small");
    fs::create_dir(&out).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&out).output();
    if !mounted.is_ok_and(|o| o.status.success()) {
        assert!(std::env::var("ISOBENCH_NO_SKIP").is_err(), "mounting a tmpfs needs root");
        eprintln!("SKIPPED a_full_disk…: mounting a tmpfs needs root");
        return;
    }
    let ran = checkout.run(&["run", "--quick", "--only", "null/", "--budget", "5m", "--out", out.to_str().unwrap()]);
    let runs: Vec<_> = fs::read_dir(out.join("results")).unwrap().map(|e| e.unwrap().path()).collect();
    let mut records = 0;
    let read = isobench_core::store::RunDir::new(&runs[0]).for_each_record(|_| records += 1);
    let run = isobench_core::store::RunDir::new(&runs[0]).read_run();
    Command::new("umount").arg(&out).status().unwrap();
    ran.expect(1).says("free some space");
    read.unwrap();
    let why = run.unwrap().stopped_early.expect("the reason is written although the disk is full");
    assert!(why.contains("free some space"), "{why}");
    assert!(records > 0);
    checkout.assert_nothing_left();
}

#[test]
fn what_a_run_will_take_is_said_before_it_starts() {
    let checkout = Checkout::new();
    checkout.script("echo", "");
    let ran = checkout.run(&run_args(&[]));
    let stdout = &ran.expect(0).stdout;
    assert!(stdout.starts_with("first round: 6 visits, about "), "{stdout}");
    assert_eq!(checkout.read_run().0.plan.budget_ms, None, "a number of rounds sets no time");
}

#[test]
fn a_budget_that_is_too_short_for_the_first_round_is_refused_with_what_to_pass() {
    let checkout = Checkout::new();
    for i in 0..30 {
        checkout.script(&format!("w{i}"), "");
    }
    // Named, each workload has its memory and throughput measured: over a second each, of thirty.
    let args = ["run", "--quick", "--only", "null/", "--workload", "w*", "--budget", "2s"];
    let ran = checkout.run(&args);
    ran.expect(2).says("--budget 2s is too short").says("Pass --budget ").says("--rounds 1");
    let results = checkout.path("results");
    assert_eq!(fs::read_dir(results).unwrap().count(), 0, "a run that did not start leaves no folder");
    checkout.run(&["run", "--quick", "--only", "null/", "--budget", "0s"]).expect(2).says("measures nothing");
    checkout.assert_nothing_left();
}

#[test]
fn a_budget_that_ends_within_the_first_round_leaves_the_rest_out_and_says_so() {
    let checkout = Checkout::new();
    // A block takes far longer than is usual: 11 starts of a second, and one that is not recorded. After the first one no
    // other fits, whatever the machine does.
    for name in ["one", "two", "three"] {
        checkout.workload(name, "", "start_us = 1_000_000");
    }
    let args = ["run", "--quick", "--only", "null/", "--seed", "7", "--budget", "1s"];
    checkout.run(&args).expect(3).says("the budget ended before the first round: ").says("index.html");
    let (run, _) = checkout.read_run();
    assert!(run.stopped_early.is_some_and(|why| why.contains("visits were not made")));
    assert!(run.cells.iter().any(|c| c.blocks == 0));
    checkout.assert_nothing_left();
}

fn some_block(checkout: &Checkout) -> bool {
    let Ok(mut runs) = fs::read_dir(checkout.path("results")) else { return false };
    let samples = |run: fs::DirEntry| fs::metadata(run.path().join("samples.jsonl")).is_ok_and(|m| m.len() > 0);
    runs.next().is_some_and(|run| samples(run.unwrap())) && !reap::with_cookie(&checkout.path("state")).is_empty()
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: a signal to a child of this test.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}
