//! The oci backend through the coordinator, every runtime that works here: every kind of guest, every fault by its
//! name, nothing left behind. Where none works, or without root, the tests are skipped, loudly.

use isobench_core::{Experiment, FaultKind, Guest};
use isobench_oci::Oci;
use isobench_runner::protocol::Visit;
use isobench_runner::testing::{self, TestBed, one_start, suite};

/// What `test` says of every variant that works here.
fn of_each(test: impl Fn(&TestBed, &str)) {
    testing::of_each(env!("CARGO_BIN_EXE_isobench-runner-oci"), "runc", test);
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
fn only_a_kernel_of_its_own_tells_of_memory_inside() {
    of_each(|bed, variant| {
        let echo = bed.artifact("workloads/echo", Guest::Native);
        let visit = Visit::Footprint { instances: vec![1, 2] };
        let outcome = bed.run(&bed.request(variant, Guest::Native, &echo, b"", b"", visit)).expect_ok();
        let told = outcome.values(Experiment::Footprint, "guest_used").len();
        assert_eq!(told, if variant == "runsc" { 2 } else { 0 }, "{variant}");
    });
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
fn a_guest_sees_nothing_of_the_environment_but_the_cookie() {
    of_each(|bed, variant| {
        // Runtimes add the second.
        bed.run(&suite::telling(bed, variant, "show the environment", "ISOBENCH_COOKIE HOME ")).expect_ok();
    });
}

#[test]
fn a_program_that_is_none_is_an_invalid_guest() {
    of_each(|bed, variant| {
        let text = bed.write("text", "hello");
        bed.run(&bed.request(variant, Guest::Native, &text, b"", b"", one_start()))
            .expect_fault(FaultKind::InvalidGuest);
    });
}

#[test]
fn stop_and_drop_leave_no_process_and_no_file() {
    of_each(|bed, variant| suite::stop_drop_and_death(bed, &Oci, variant));
}
