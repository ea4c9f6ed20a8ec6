//! The nspawn backend through the coordinator, every variant: every kind of guest, every fault by its name, nothing
//! left behind. Without systemd-nspawn, or without root, the tests are skipped, loudly.

use isobench_core::{FaultKind, Guest};
use isobench_nspawn::{Nspawn, Variant};
use isobench_runner::testing::{self, TestBed, one_start, suite};

/// What `test` says of every variant that works here.
fn of_each(test: impl Fn(&TestBed, &str)) {
    testing::of_each(env!("CARGO_BIN_EXE_isobench-runner-nspawn"), Variant::Plain.name(), test);
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
fn a_container_is_killed_at_its_memory_limit() {
    of_each(suite::a_full_container);
}

#[test]
fn faults_of_wasm_and_js_guests_keep_their_names_across_the_boundary() {
    of_each(suite::wasm_faults);
    of_each(suite::js_faults);
}

#[test]
fn a_program_that_is_no_agent_says_no_hello() {
    of_each(|bed, variant| {
        let text = bed.write("text", "hello");
        let outcome = bed.run(&bed.request(variant, Guest::Native, &text, b"", b"", one_start()));
        let message = &outcome.expect_fault(FaultKind::NoHello).message;
        assert!(message.contains("/agent"), "{message}");
    });
}

#[test]
fn no_instance_sees_another() {
    of_each(|bed, variant| suite::a_canary(bed, &Nspawn, variant, 20));
}

#[test]
fn stop_and_drop_leave_no_process_and_no_file() {
    of_each(|bed, variant| suite::stop_drop_and_death(bed, &Nspawn, variant));
}
