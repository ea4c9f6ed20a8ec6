//! The coordinator against everything a guest can do wrong: each gets its name, costs its own block, and leaves nothing.

use isobench_core::{Experiment, Fault, FaultKind, Guest, Record};
use isobench_runner::client::Runner;
use isobench_runner::protocol::{BlockRequest, Visit};
use isobench_runner::reap;
use isobench_runner::testing::{self, Outcome, TestBed};
use std::time::{Duration, Instant};

/// For blocks that hang: long enough for a runner to start on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

fn bed() -> TestBed {
    TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-null"))
}

fn request(bed: &TestBed, script: &str, visit: Visit) -> BlockRequest {
    let guest = bed.write("guest.js", script);
    bed.request("scripted", Guest::Js, &guest, b"hello", b"hello", visit)
}

/// Runs the script beside a well-behaved block, which must not notice.
fn beside_a_good_one(script: &str) -> Outcome {
    std::thread::scope(|scope| {
        let good = scope.spawn(|| {
            let bed = bed();
            bed.run(&request(&bed, "call_us = 2000", testing::starts_and_calls())).expect_ok()
        });
        let bed = bed();
        let outcome = bed.run_within(&request(&bed, script, testing::starts_and_calls()), SHORT);
        let good = good.join().expect("the block beside it");
        assert_eq!(good.values(Experiment::WarmCall, "call").len(), 100);
        outcome
    })
}

fn experiment_of_fault(outcome: &Outcome) -> Experiment {
    let mut faults = outcome.0.iter().filter_map(|r| match r {
        Record::Fault(f) => Some(f.experiment),
        _ => None,
    });
    faults.next_back().expect("a fault")
}

#[test]
fn a_guest_that_keeps_the_rules_gives_samples() {
    let bed = bed();
    let outcome = bed.run(&request(&bed, "start_us = 1000\ncall_us = 500", testing::starts_and_calls())).expect_ok();
    assert_eq!(outcome.values(Experiment::ColdStart, "total").len(), 3);
    assert_eq!(outcome.values(Experiment::ColdStart, "destroy").len(), 3);
    // Sleeps last at least as long as asked for.
    assert!(outcome.values(Experiment::ColdStart, "load").iter().all(|&ns| ns >= 1_000_000));
    assert!(outcome.values(Experiment::WarmCall, "call").iter().all(|&ns| ns >= 500_000));

    let outcome = bed.run(&request(&bed, "", testing::all_throughput())).expect_ok();
    assert_eq!(outcome.histograms().len(), 6);
}

#[test]
fn the_memory_an_instance_keeps_is_the_slope_of_its_footprint() {
    let bed = bed();
    let visit = Visit::Footprint { instances: vec![1, 4, 16] };
    let outcome = bed.run(&request(&bed, "memory_kib = 1024", visit)).expect_ok();
    let pss = outcome.values(Experiment::Footprint, "pss");
    let per_instance = (pss[3] - pss[1]) / 15;
    assert!((1_048_000..1_120_000).contains(&per_instance), "{pss:?}");
}

#[test]
fn a_hang_ends_at_the_deadline_and_the_runner_is_killed() {
    std::thread::scope(|scope| {
        for fault in ["hang_deploy", "hang_start", "hang_call", "hang_stop"] {
            scope.spawn(move || {
                let outcome = beside_a_good_one(&format!("fault = \"{fault}\""));
                let message = &outcome.expect_fault(FaultKind::DeadlineExceeded).message;
                assert!(message.contains("isobench-runner-null"), "{fault}: {message}");
                assert_eq!(experiment_of_fault(&outcome), Experiment::ColdStart, "{fault}");
            });
        }
    });
}

#[test]
fn a_death_is_named_with_its_cause() {
    for (fault, kind, cause) in [
        ("crash", FaultKind::RunnerDied, "killed by signal 11"),
        ("abort", FaultKind::RunnerDied, "killed by signal 6"),
        ("out_of_memory", FaultKind::OutOfMemory, "memory allocation of 1073741824 bytes failed"),
        ("exit", FaultKind::RunnerDied, "ended with exit status: 0"),
    ] {
        let outcome = beside_a_good_one(&format!("fault = \"{fault}\""));
        let message = &outcome.expect_fault(kind).message;
        assert!(message.contains(cause), "{fault}: {message}");
    }
}

#[test]
fn what_was_measured_before_a_death_is_kept() {
    let bed = bed();
    let script = "fault = \"crash\"\nafter_calls = 10";
    let outcome = bed.run(&request(&bed, script, testing::starts_and_calls()));
    outcome.expect_fault(FaultKind::RunnerDied);
    assert_eq!(outcome.values(Experiment::ColdStart, "total").len(), 3);
    assert_eq!(experiment_of_fault(&outcome), Experiment::WarmCall);
}

#[test]
fn answers_and_throws_are_named_by_the_runner_itself() {
    let outcome = beside_a_good_one("fault = \"wrong_answer\"");
    let message = &outcome.expect_fault(FaultKind::WrongAnswer).message;
    assert!(message.contains("6 bytes") && message.contains("hello!"), "{message}");
    let outcome = beside_a_good_one("fault = \"throw\"\nafter_calls = 5");
    outcome.expect_fault(FaultKind::GuestThrow);
    assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 4, "the cold start's call is the first of the five");
}

#[test]
fn a_guest_slower_than_its_deadline_is_stopped_in_order() {
    let bed = bed();
    let mut slow = request(&bed, "call_us = 60_000_000", testing::one_start());
    slow.target.limits.call_deadline_ms = 50;
    bed.run(&slow).expect_fault(FaultKind::DeadlineExceeded);
}

#[test]
fn garbage_harms_only_where_it_reaches_the_protocol() {
    beside_a_good_one("fault = \"garbage_stdout\"").expect_ok();
    let outcome = beside_a_good_one("fault = \"garbage_protocol\"");
    let message = &outcome.expect_fault(FaultKind::BadFrame).message;
    assert!(message.contains("nonsense"), "{message}");
}

#[test]
fn a_script_with_a_mistake_is_an_invalid_guest() {
    let bed = bed();
    let outcome = bed.run(&request(&bed, "fault = \"sulk\"", testing::one_start()));
    let message = &outcome.expect_fault(FaultKind::InvalidGuest).message;
    assert!(message.contains("guest.js") && message.contains("unknown variant"), "{message}");
}

#[test]
fn a_grandchild_is_found_and_killed() {
    // `run_within` asserts that nothing is left: after a visit that went well, and after a death.
    beside_a_good_one("grandchild = true").expect_ok();
    beside_a_good_one("grandchild = true\nfault = \"crash\"").expect_fault(FaultKind::RunnerDied);
}

#[test]
fn a_runner_killed_in_mid_block_is_noticed_at_once() {
    let bed = bed();
    let request = request(&bed, "grandchild = true\nfault = \"hang_call\"", testing::one_start());
    let killer = {
        let state = request.ctx.state.clone();
        std::thread::spawn(move || {
            // Both processes are there: the runner, which started first, and its grandchild.
            let pids = wait_for(|| Some(reap::with_cookie(&state)).filter(|pids| pids.len() == 2));
            let runner = pids.into_iter().min_by_key(|&pid| reap::start_time(pid)).expect("two processes");
            // SAFETY: a signal to a process that this test started.
            unsafe { libc::kill(runner as i32, libc::SIGKILL) };
        })
    };
    let message = bed.run(&request).expect_fault(FaultKind::RunnerDied).message.clone();
    assert!(message.contains("killed by signal 9"), "{message}");
    killer.join().expect("the killer");
}

#[test]
fn an_owner_takes_its_things_down() {
    let mut bed = bed();
    let owner = bed.own();
    let daemon = daemon_of(&owner.record);
    assert!(reap::start_time(daemon).is_some(), "the daemon runs");
    bed.run(&request(&bed, "", testing::one_start())).expect_ok();
    owner.release();
    assert_eq!(reap::start_time(daemon), None, "the daemon is gone");
}

#[test]
fn an_owner_that_is_killed_leaves_nothing_and_no_block_notices() {
    let mut bed = bed();
    let owner = bed.own();
    let daemon = daemon_of(&owner.record);
    // A process that has only just been started may still be on its way through `exec`, with no environment to read.
    let cookie = wait_for(|| {
        let environ = std::fs::read_to_string(format!("/proc/{daemon}/environ")).ok()?;
        environ.split('\0').find_map(|e| e.strip_prefix("ISOBENCH_COOKIE=")).map(str::to_string)
    });
    let pids = reap::with_cookie(cookie.as_ref());
    let killed = pids.into_iter().find(|&pid| pid != daemon).expect("the owner");
    // SAFETY: a signal to a process that this test started.
    unsafe { libc::kill(killed as i32, libc::SIGKILL) };
    wait_for(|| reap::start_time(killed).is_none().then_some(()));
    assert!(reap::start_time(daemon).is_some(), "the daemon outlives its owner");

    bed.run(&request(&bed, "", testing::one_start())).expect_ok();
    owner.release();
    assert_eq!(reap::start_time(daemon), None, "the coordinator found the daemon");
    assert!(!std::path::Path::new(&cookie).exists(), "{cookie} is left");
}

#[test]
fn a_coordinator_that_is_killed_takes_its_runner_along() {
    let bed = bed();
    let request = request(&bed, "grandchild = true\nfault = \"hang_call\"", testing::one_start());
    let line = serde_json::to_string(&request).expect("a request");
    let mut coordinator = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "only_as_a_coordinator_to_be_killed", "--ignored"])
        .env("ISOBENCH_TEST_BLOCK", line)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("this test again");
    let state = &request.ctx.state;
    let pids = wait_for(|| Some(reap::with_cookie(state)).filter(|pids| pids.len() == 2));
    coordinator.kill().and_then(|()| coordinator.wait()).expect("killing the coordinator");
    let left = wait_for(|| Some(reap::with_cookie(state)).filter(|pids| pids.len() == 1));
    assert_eq!(reap::kill_cookie(state), left, "only the grandchild was left, for `isobench clean` to find");
    assert!(pids.contains(&left[0]));
    std::fs::remove_dir_all(state).expect("what `isobench clean` removes");
}

/// The coordinator of the test above.
#[test]
#[ignore = "started and killed by another test"]
fn only_as_a_coordinator_to_be_killed() {
    let request = std::env::var("ISOBENCH_TEST_BLOCK").expect("started by another test");
    let request: BlockRequest = serde_json::from_str(&request).expect("a request");
    // Without a bed, whose temporary folder nobody would remove.
    let runner = Runner::at(env!("CARGO_BIN_EXE_isobench-runner-null")).expect("the runner");
    let outcome = runner.block(&request, Duration::from_secs(60));
    unreachable!("a block that hangs ended: {outcome:?}");
}

#[test]
fn a_program_that_is_no_runner_is_reported() {
    let fault: Fault = Runner::at("/bin/true").expect_err("says nothing");
    assert_eq!(fault.kind, FaultKind::RunnerDied);
    let fault = Runner::at("/no/such/runner").expect_err("is not there");
    assert!(fault.message.contains("/no/such/runner"), "{fault}");
}

fn daemon_of(record: &serde_json::Value) -> u32 {
    record["daemon"].as_u64().expect("a pid") as u32
}

/// Asks until there is an answer.
fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "waited in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}
