//! Runs of load on the null backend, as a person asks for them.

mod common;

use common::Checkout;
use isobench_core::load::Rates;
use isobench_core::record::{BoundBy, Policy, StartMode};
use isobench_core::{Experiment, Record};

fn run_args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--quick", "--only", "null/", "--seed", "7", "--rounds", "1"], more].concat()
}

#[test]
fn load_is_measured_instead_of_the_standard_experiments_on_echo_alone() {
    let checkout = Checkout::new();
    checkout.script("echo", "call_us = 200");
    checkout.script("other", "");
    let load = ["--rate", "200/s,20/s", "--policy", "warm:1", "--policy", "keep-alive:50ms", "--burst", "4"];
    let ran = checkout.run(&run_args(&[&load[..], &["--density", "--density-count", "3"]].concat()));
    ran.expect(0).says("warm:1").says("burst 4").says("density");

    let (run, records) = checkout.read_run();
    assert_eq!(run.cells.iter().map(|c| c.cell.workload.as_str()).collect::<Vec<_>>(), ["echo"]);
    assert_eq!(run.cells[0].experiments, [Experiment::OpenLoop, Experiment::Burst, Experiment::Density]);
    let plan = run.plan.load.unwrap();
    assert_eq!(plan.open_loop.unwrap().rates, Rates::Fixed(vec![20_000, 200_000]));
    for policy in [Policy::Warm(1), Policy::KeepAlive(50)] {
        for rate in [20_000, 200_000] {
            let of = |r: &Record| matches!(r, Record::Load(l) if l.policy == policy && l.rate_mhz == rate);
            assert!(records.iter().any(of), "{policy} {rate}");
        }
    }
    let bounds =
        records.iter().filter_map(|r| if let Record::Bound(b) = r { Some((b.experiment, b.n, b.by)) } else { None });
    let bounds: Vec<_> = bounds.collect();
    assert!(bounds.contains(&(Experiment::Burst, 4, BoundBy::Count)), "{bounds:?}");
    assert!(bounds.contains(&(Experiment::Density, 3, BoundBy::Count)), "{bounds:?}");
    let starts = |r: &Record| matches!(r, Record::Samples(s) if s.experiment == Experiment::ColdStart);
    assert!(!records.iter().any(starts));
    let page = checkout.page();
    assert!(page.contains("id=\"load\"") && !page.contains("id=\"cold-start\""));
    checkout.assert_nothing_left();
}

#[test]
fn another_workload_is_put_under_load_where_it_is_named() {
    let checkout = Checkout::new();
    checkout.script("echo", "");
    checkout.script("other", "");
    checkout.run(&["run", "--quick", "--only", "null/scripted/js/other", "--burst", "1", "--rounds", "1"]).expect(0);
    let (run, _) = checkout.read_run();
    assert_eq!(run.cells[0].cell.workload, "other");
}

#[test]
fn a_guest_that_hangs_under_load_is_an_error_row() {
    let checkout = Checkout::new();
    checkout.script("echo", "fault = \"stall\"\nafter_calls = 3");
    checkout.run(&run_args(&["--rate", "50/s", "--policy", "warm:1"])).expect(3).says("deadline_exceeded");
    checkout.assert_nothing_left();
}

#[test]
fn starters_start_together_and_beside_one() {
    let checkout = Checkout::new();
    checkout.script("echo", "start_us = 1000");
    let ran = checkout.run(&run_args(&["--starters", "1,2", "--starter-seconds", "0.1"]));
    ran.expect(0).says("starts").says("at 2");

    let (run, records) = checkout.read_run();
    assert_eq!(run.cells[0].experiments, [Experiment::Starts]);
    let plan = run.plan.load.unwrap().starts.unwrap();
    assert_eq!((plan.numbers, plan.step_ms), (vec![1, 2], 100));
    for (n, mode) in [1, 2].into_iter().flat_map(|n| [(n, StartMode::Together), (n, StartMode::Beside)]) {
        let of = |r: &Record| matches!(r, Record::Starts(s) if (s.n, s.mode) == (n, mode) && s.starts >= n.into());
        assert!(records.iter().any(of), "{n} {mode:?}");
    }
    let page = checkout.page();
    assert!(page.contains("id=\"starts\"") && !page.contains("id=\"burst\""));
    checkout.assert_nothing_left();
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_write_instead() {
    let checkout = Checkout::new();
    checkout.script("echo", "");
    checkout.run(&run_args(&["--rate", "fast"])).expect(2).says("200/s");
    checkout.run(&run_args(&["--rate", "1/s", "--policy", "lukewarm"])).expect(2).says("keep-alive:1s");
    checkout.run(&run_args(&["--policy", "fresh"])).expect(2).says("--rate");
    checkout.run(&run_args(&["--density-count", "3"])).expect(2).says("--density");
    checkout.run(&run_args(&["--starters", "none"])).expect(2).says("1,2,4,8");
    checkout.run(&run_args(&["--starter-seconds", "1"])).expect(2).says("--starters");
}
