//! The bare-http backend through the coordinator: every fault by its name, nothing left behind.

use isobench_bare_http::BareHttp;
use isobench_core::{Experiment, FaultKind, Guest};
use isobench_runner::protocol::Visit;
use isobench_runner::testing::{TestBed, all_load, all_throughput, starts_and_calls, suite};

fn bed() -> TestBed {
    assert!(std::path::Path::new(env!("CARGO_BIN_EXE_isobench-bare-http-server")).is_file(), "beside the runner");
    TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-bare-http"))
}

#[test]
fn a_native_guest_goes_through_every_experiment() {
    let bed = bed();
    let echo = bed.artifact("workloads/echo", Guest::Native);
    let run = |visit| bed.run(&bed.request("spawn", Guest::Native, &echo, b"hello", b"hello", visit)).expect_ok();
    let outcome = run(starts_and_calls());
    for metric in ["total", "create", "load", "first_call", "destroy"] {
        assert_eq!(outcome.values(Experiment::ColdStart, metric).len(), 3, "{metric}");
    }
    assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 100);
    // Not PSS, which falls when another test has the same program.
    let rss = run(Visit::Footprint { instances: vec![1, 2, 4] }).values(Experiment::Footprint, "rss");
    assert!(rss.len() == 4 && rss[0] == 0 && rss.is_sorted_by(|a, b| a < b), "{rss:?}");
    assert_eq!(run(all_throughput()).histograms().len(), 6);
    for visit in all_load() {
        assert!(!run(visit).0.is_empty());
    }
}

#[test]
fn what_a_native_guest_does_wrong_has_a_name_and_a_reason() {
    suite::native_faults(&bed(), "spawn");
}

#[test]
fn a_canary_in_one_instance_is_not_found_in_the_next_thousand() {
    suite::a_canary(&bed(), &BareHttp, "spawn", 1_000);
}

#[test]
fn a_program_that_is_no_agent_says_no_hello() {
    let bed = bed();
    let text = bed.write("text", "hello");
    let message = suite::no_agent(&bed, "spawn", &text).expect_fault(FaultKind::NoHello).message.clone();
    assert!(message.contains("isobench-bare-http-server"), "{message}");
}

#[test]
fn a_runner_that_is_killed_leaves_no_server_and_no_agent() {
    // The runner, the server, the agent.
    suite::a_killed_runner(&bed(), "spawn", 3);
}

#[test]
fn stop_and_drop_leave_no_process_and_no_socket() {
    suite::stop_drop_and_death(&bed(), &BareHttp, "spawn");
}
