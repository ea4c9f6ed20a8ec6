//! Whole runs on containers, virtual machines and processes in which something is killed: what else was to be measured
//! is, and nothing is left.
//!
//! Without Docker or QEMU the tests are skipped, loudly.

mod common;

use common::debris::Tracks;
use common::{Checkout, ECHO_WAT, Ran, end_of, wait_for};
use isobench_core::{FaultKind, RunFile};
use isobench_runner::{reap, testing};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, OnceLock};

/// A native guest that says on its console that it was called, and never answers.
const STAYS: &str = r#"
fn handle(_: &[u8]) -> Vec<u8> {
    println!("called");
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

isobench_guest::handler!(handle);
"#;
/// Longer than any test: what ends such a call is the test.
const LONG: &str = "[limits]\ncall_deadline_ms = 600000\nemulated_call_deadline_ms = 600000\n";

/// Cells of which one is in a call when it happens, and two more backends are ready or at work.
const IN_A_CONTAINER: [&str; 3] = ["docker/runc/native/stays", "process/spawn/wasm/healthy", "qemu/boot/wasm/healthy"];
const IN_A_MACHINE: [&str; 3] = ["qemu/boot/native/stays", "process/spawn/wasm/healthy", "docker/runc/wasm/healthy"];

/// A checkout for one test at a time, with one guest that stays in its call and one that does as it should; `None` where
/// Docker or QEMU cannot run here.
fn checkout() -> Option<(MutexGuard<'static, ()>, Checkout)> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    static MISSING: OnceLock<Vec<String>> = OnceLock::new();
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(|failed| failed.into_inner());
    let checkout = Checkout::real();
    let missing = MISSING.get_or_init(|| {
        let doctor = checkout.run(&["doctor"]).stdout;
        doctor.lines().filter(|l| l.starts_with('✗')).map(str::to_string).collect()
    });
    if let Some(line) = missing.iter().find(|l| l.contains("docker") || l.contains("qemu")) {
        testing::skip(line);
        return None;
    }
    checkout.native("stays", LONG, STAYS);
    checkout.fixture("healthy", "", &[("guest.wat", ECHO_WAT), ("guest.js", "export const handle = (r) => r;")]);
    Some((turn, checkout))
}

fn start(checkout: &Checkout, cells: &[&str]) -> Child {
    let only = cells.iter().flat_map(|cell| ["--only", cell]);
    let args: Vec<&str> = ["run", "--quick", "--seed", "1", "--rounds", "1"].into_iter().chain(only).collect();
    checkout.spawn(&args)
}

/// Waits until `happened`; a run that ends before that is a failure.
#[track_caller]
fn wait_in(child: &mut Child, what: &str, mut happened: impl FnMut() -> bool) {
    wait_for(what, || {
        assert_eq!(child.try_wait().unwrap(), None, "the run ended before there was {what}");
        happened()
    });
}

/// Does `deed` over and over until the run is over.
fn until_the_end(mut child: Child, mut deed: impl FnMut()) -> Ran {
    wait_for("the end of the run", || {
        deed();
        child.try_wait().unwrap().is_some()
    });
    end_of(child)
}

fn kill(pid: u32, signal: i32) {
    // SAFETY: a signal to a process of this test's runs.
    unsafe { libc::kill(pid as i32, signal) };
}

/// Starts a run and answers once its guest that stays is in its call, with every daemon and machine about it.
fn amid_a_call(checkout: &Checkout, tracks: &mut Tracks, cells: &[&str]) -> Child {
    let mut child = start(checkout, cells);
    if cells[0].starts_with("docker/") {
        wait_in(&mut child, "a container", || tracks.containers().iter().any(|line| stays(line)));
    } else {
        wait_in(&mut child, "a machine", || tracks.console_says("called"));
        assert_eq!(tracks.processes("qemu").len(), 1);
        tracks.note_cgroups();
    }
    child
}

/// An agent that is its guest is told of none.
fn stays(command_line: &str) -> bool {
    !command_line.contains("--guest")
}

/// The names of a cell's faults, each once: every experiment of a cell may end in the same one.
fn faults(run: &RunFile, cell: &str) -> Vec<FaultKind> {
    let entry = run.cells.iter().find(|c| c.cell.to_string().starts_with(cell)).unwrap();
    let mut kinds: Vec<FaultKind> = entry.faults.iter().map(|f| f.fault.kind).collect();
    kinds.dedup();
    kinds
}

#[track_caller]
fn assert_measured(run: &RunFile, cell: &str) {
    let entry = run.cells.iter().find(|c| c.cell.to_string().starts_with(cell)).unwrap();
    assert!(entry.faults.is_empty() && entry.blocks > 0, "{entry:?}");
}

#[test]
fn after_ctrl_c_nothing_is_left_at_once() {
    for cells in [IN_A_CONTAINER, IN_A_MACHINE] {
        let Some((_turn, checkout)) = checkout() else { return };
        let mut tracks = Tracks::of(&checkout);
        let child = amid_a_call(&checkout, &mut tracks, &cells);
        kill(child.id(), libc::SIGINT);
        end_of(child).expect(130).says("interrupted");
        tracks.assert_gone(&checkout);
        assert_eq!(checkout.read_run().0.stopped_early.as_deref(), Some("interrupted"));
        assert!(checkout.page().contains("interrupted"));
    }
}

#[test]
fn after_ctrl_c_in_the_preparation_nothing_is_left_at_once() {
    let Some((_turn, checkout)) = checkout() else { return };
    let mut tracks = Tracks::of(&checkout);
    let mut child = start(&checkout, &IN_A_CONTAINER);
    // The preparation begins with the backends being asked, and that with a container that connects back.
    wait_in(&mut child, "a container's runtime", || {
        tracks.note_cgroups();
        !tracks.processes("runc").is_empty() || !tracks.containers().is_empty()
    });
    kill(child.id(), libc::SIGINT);
    end_of(child).expect(130);
    tracks.assert_gone(&checkout);
}

#[test]
fn after_kill_9_of_the_harness_clean_leaves_nothing_and_the_next_run_works() {
    for cells in [IN_A_CONTAINER, IN_A_MACHINE] {
        let Some((_turn, checkout)) = checkout() else { return };
        let mut tracks = Tracks::of(&checkout);
        let child = amid_a_call(&checkout, &mut tracks, &cells);
        kill(child.id(), libc::SIGKILL);
        end_of(child);
        checkout.run(&["clean"]).expect(0).says("removed");
        tracks.assert_gone(&checkout);
        checkout.run(&["report"]).expect(0);

        end_of(start(&checkout, &cells[1..])).expect(0);
        tracks.assert_gone(&checkout);
    }
}

#[test]
fn a_killed_runner_is_an_error_row_and_the_run_goes_on() {
    let Some((_turn, checkout)) = checkout() else { return };
    let mut tracks = Tracks::of(&checkout);
    let killed = ["process/spawn/native/stays", "docker/runc/native/stays", "qemu/boot/native/stays"];
    let healthy = ["process/spawn/wasm/healthy", "docker/runc/wasm/healthy"];
    let ran = until_the_end(start(&checkout, &[&killed[..], &healthy].concat()), || {
        tracks.note_cgroups();
        let (runners, told) = (tracks.processes("isobench-runner"), tracks.told("stays-native"));
        for block in tracks.blocks() {
            // The block's own: what a killed one leaves for a moment must not cost the next one its runner.
            let of_block = reap::with_cookie(&block);
            let in_container = tracks.containers_of(&block).iter().any(|line| stays(line));
            if in_container || tracks.console_of(&block, "called") || told.iter().any(|pid| of_block.contains(pid)) {
                runners.iter().filter(|pid| of_block.contains(pid)).for_each(|pid| kill(*pid, libc::SIGKILL));
            }
        }
    });
    ran.expect(3).says("runner_died");
    tracks.assert_gone(&checkout);
    let (run, _) = checkout.read_run();
    killed.iter().for_each(|cell| assert_eq!(faults(&run, cell), [FaultKind::RunnerDied], "{cell}"));
    healthy.iter().for_each(|cell| assert_measured(&run, cell));
}

#[test]
fn a_killed_dockerd_costs_its_own_rows() {
    let Some((_turn, checkout)) = checkout() else { return };
    let mut tracks = Tracks::of(&checkout);
    let (containers, healthy) = (["docker/runc/js/healthy", "docker/runc/wasm/healthy"], "process/spawn/wasm/healthy");
    let mut child = start(&checkout, &[&containers[..], &[healthy]].concat());
    wait_in(&mut child, "a container", || !tracks.containers().is_empty());
    let daemons = tracks.processes("dockerd");
    if daemons.is_empty() {
        testing::skip("the system's dockerd is in use, and not ours to kill");
        kill(child.id(), libc::SIGINT);
        end_of(child);
        return;
    }
    daemons.into_iter().for_each(|pid| kill(pid, libc::SIGKILL));
    end_of(child).expect(3).says("backend_failed");
    tracks.assert_gone(&checkout);
    let (run, _) = checkout.read_run();
    containers.iter().for_each(|cell| assert_eq!(faults(&run, cell), [FaultKind::BackendFailed], "{cell}"));
    assert_measured(&run, healthy);
    assert!(checkout.page().contains("backend_failed"));
}

#[test]
fn a_killed_machine_costs_its_own_row() {
    let Some((_turn, checkout)) = checkout() else { return };
    let mut tracks = Tracks::of(&checkout);
    let cells = ["qemu/boot/native/stays", "process/spawn/wasm/healthy", "qemu/boot/wasm/healthy"];
    let ran = until_the_end(start(&checkout, &cells), || {
        if tracks.console_says("called") {
            tracks.processes("qemu").into_iter().for_each(|pid| kill(pid, libc::SIGKILL));
        }
    });
    ran.expect(3).says("backend_failed");
    tracks.assert_gone(&checkout);
    let (run, _) = checkout.read_run();
    assert_eq!(faults(&run, cells[0]), [FaultKind::BackendFailed]);
    cells[1..].iter().for_each(|cell| assert_measured(&run, cell));
    assert!(checkout.page().contains("backend_failed"));
}
