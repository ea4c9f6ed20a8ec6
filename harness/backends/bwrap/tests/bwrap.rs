//! The bwrap backend through the coordinator, both variants: every kind of guest, every fault by its name, nothing left
//! behind. Without bubblewrap, or where user namespaces are forbidden, the tests are skipped, loudly.

use isobench_bwrap::{Bwrap, Variant};
use isobench_core::{FaultKind, Guest};
use isobench_runner::testing::{self, TestBed, suite};

/// What `test` says of every variant, where there can be any.
fn of_each(test: impl Fn(&TestBed, &str)) {
    testing::of_each(env!("CARGO_BIN_EXE_isobench-runner-bwrap"), Variant::Seccomp.name(), test);
}

#[test]
fn folders_with_odd_characters_work() {
    of_each(|bed, variant| suite::odd_folders(bed, variant, Guest::Native));
}

#[test]
fn every_guest_goes_through_every_experiment() {
    of_each(suite::every_guest);
}

#[test]
fn what_a_native_guest_does_wrong_has_a_name_and_a_reason() {
    of_each(suite::native_faults);
}

#[test]
fn faults_of_wasm_and_js_guests_keep_their_names_across_the_boundary() {
    of_each(suite::wasm_faults);
    of_each(suite::js_faults);
}

#[test]
fn a_guest_sees_nothing_of_the_environment_but_the_cookie() {
    // bwrap sets PWD, whatever else it is told.
    of_each(|bed, variant| {
        bed.run(&suite::telling(bed, variant, "show the environment", "ISOBENCH_COOKIE PWD ")).expect_ok();
    });
}

#[test]
fn the_filter_refuses_what_namespaces_alone_allow() {
    of_each(|bed, variant| {
        let answer = if variant == Variant::Seccomp.name() { "PermissionDenied" } else { "made" };
        bed.run(&suite::telling(bed, variant, "make a namespace", answer)).expect_ok();
    });
}

#[test]
fn a_program_that_is_no_agent_says_no_hello() {
    of_each(|bed, variant| {
        let outcome = suite::no_agent(bed, variant, &bed.write("text", "hello"));
        let message = &outcome.expect_fault(FaultKind::NoHello).message;
        assert!(message.contains("bwrap: execvp /agent"), "{message}");
    });
}

#[test]
fn a_runner_that_is_killed_leaves_no_sandbox() {
    // The runner, bwrap, its process 1, the agent.
    of_each(|bed, variant| suite::a_killed_runner(bed, variant, 4));
}

#[test]
fn stop_and_drop_leave_no_process_and_no_socket() {
    of_each(|bed, variant| suite::stop_drop_and_death(bed, &Bwrap, variant));
}
