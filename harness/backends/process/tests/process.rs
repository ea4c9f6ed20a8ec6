//! The process backend through the coordinator: every kind of guest, every fault by its name, nothing left behind.

use isobench_core::{FaultKind, Guest};
use isobench_process::Process;
use isobench_runner::testing::{TestBed, contract, suite};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const BOTH: [&str; 2] = ["spawn", "zygote"];

fn bed() -> TestBed {
    TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-process"))
}

/// A program that is no agent, as a native guest.
fn script(bed: &TestBed, text: &str) -> PathBuf {
    let path = bed.write("agent", text);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("permissions");
    path
}

#[test]
fn folders_with_odd_characters_work() {
    BOTH.into_iter().for_each(|variant| suite::odd_folders(&bed(), variant, Guest::Native));
    suite::odd_folders(&bed(), "spawn", Guest::Wasm);
}

#[test]
fn every_guest_goes_through_every_experiment() {
    for guest in Guest::ALL {
        assert!(suite::every_experiment(&bed(), "spawn", guest).is_none_or(|before| before == 0));
    }
}

#[test]
fn a_zygotes_copies_go_through_every_experiment() {
    assert!(suite::every_experiment(&bed(), "zygote", Guest::Native).is_some_and(|before| before > 0));
}

#[test]
fn what_a_native_guest_does_wrong_has_a_name_and_a_reason() {
    BOTH.into_iter().for_each(|variant| suite::native_faults(&bed(), variant));
}

#[test]
fn a_canary_in_one_instance_is_not_found_in_the_next_thousand() {
    suite::a_canary(&bed(), &Process, "zygote", 1_000);
}

#[test]
fn its_agents_keep_the_contract_of_every_engine() {
    contract::js(&bed(), "spawn");
    contract::wasm(&bed(), "spawn");
}

#[test]
fn faults_of_wasm_and_js_guests_keep_their_names_across_the_boundary() {
    suite::wasm_faults(&bed(), "spawn");
    suite::js_faults(&bed(), "spawn");
}

#[test]
fn a_guest_sees_nothing_of_the_environment_but_the_cookie() {
    let bed = bed();
    for variant in BOTH {
        bed.run(&suite::telling(&bed, variant, "show the environment", "ISOBENCH_COOKIE ")).expect_ok();
    }
}

#[test]
fn a_program_that_is_no_agent_says_no_hello() {
    let bed = bed();
    let outcome = suite::no_agent(&bed, "spawn", &script(&bed, "#!/bin/sh\necho what is --connect >&2\nexit 7\n"));
    let message = &outcome.expect_fault(FaultKind::NoHello).message;
    assert!(message.contains("exit status: 7") && message.contains("what is --connect"), "{message}");
    let outcome = suite::no_agent(&bed, "spawn", &script(&bed, "#!/bin/sh\nexec sleep 86400\n"));
    let message = &outcome.expect_fault(FaultKind::NoHello).message;
    assert!(message.contains("did not connect") && message.contains("300 ms"), "{message}");
    // A zygote that never hatches is a deployment that fails.
    let outcome = suite::no_agent(&bed, "zygote", &script(&bed, "#!/bin/sh\nexit 7\n"));
    let message = &outcome.expect_fault(FaultKind::NoHello).message;
    assert!(message.contains("zygote") && message.contains("exit status: 7"), "{message}");
    // No program at all.
    let outcome = suite::no_agent(&bed, "spawn", &bed.write("text", "hello"));
    let message = &outcome.expect_fault(FaultKind::InvalidGuest).message;
    assert!(message.contains("cannot be started"), "{message}");
}

#[test]
fn a_runner_that_is_killed_leaves_no_agent() {
    suite::a_killed_runner(&bed(), "spawn", 2);
    // The runner, the zygote, its copy.
    suite::a_killed_runner(&bed(), "zygote", 3);
}

#[test]
fn stop_and_drop_leave_no_process_and_no_socket() {
    BOTH.into_iter().for_each(|variant| suite::stop_drop_and_death(&bed(), &Process, variant));
}
