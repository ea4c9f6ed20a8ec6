//! What goes wrong has a name, the next start goes on, and nothing is left.

use super::CLOUD_HYPERVISOR;
use super::monitor::{echo, one};
use isobench_core::FaultKind;
use isobench_runner::testing::TestBed;

use FaultKind::{BackendFailed, ChannelClosed, NoHello};

#[test]
fn a_guest_that_misbehaves_is_named() {
    CLOUD_HYPERVISOR.misbehaving_guests();
}

/// The names that a fault of an answer may have, and what its message says; at each request those that need no wait,
/// all at the first.
const ANSWERS: [(&str, FaultKind, &str); 8] = [
    ("refuse", BackendFailed, "Error from API: refused as told (400)"),
    ("500", BackendFailed, "<p>as told</p (500)"),
    ("404", BackendFailed, "without a word (404)"),
    ("garbage", BackendFailed, "no HTTP"),
    ("long", BackendFailed, "a body of 1000000000 bytes"),
    ("more", BackendFailed, "after its end"),
    ("die", BackendFailed, "Cloud Hypervisor ended with exit status: 1: Error: died as told"),
    ("kill", BackendFailed, "Cloud Hypervisor was killed by signal 9"),
];
const SLOW_ANSWERS: [(&str, FaultKind, &str); 4] = [
    ("half", ChannelClosed, "Cloud Hypervisor closed the connection"),
    ("close", ChannelClosed, "Cloud Hypervisor closed the connection"),
    ("hang", NoHello, "the machine is silent"),
    ("slow", NoHello, "the machine is silent"),
];

#[test]
fn whatever_is_answered_to_a_request_has_a_name_and_leaves_nothing() {
    let Some(mut bed) = CLOUD_HYPERVISOR.fake_bed() else { return };
    let requests =
        [("boot", "create"), ("boot", "boot"), ("restore", "snapshot"), ("restore", "restore"), ("paused", "pause")];
    // Saved while all is well.
    let artifact = echo(&bed);
    bed.run(&one(&bed, "restore", &artifact)).expect_ok();
    for (variant, act) in requests {
        let slow: &[_] = if act == "create" { &SLOW_ANSWERS } else { &[] };
        let request = format!("PUT /api/v1/vm.{act}");
        CLOUD_HYPERVISOR.wrong_answers(&mut bed, variant, &request, ANSWERS.iter().chain(slow));
    }
    let resume = "PUT /api/v1/vm.resume:refuse";
    CLOUD_HYPERVISOR.wrong(&mut bed, "paused", resume, 30_000).expect_fault(BackendFailed);
    bed.run(&one(&bed, "paused", &artifact)).expect_ok();
}

#[test]
fn one_that_never_comes_and_a_guest_that_is_none_have_names() {
    CLOUD_HYPERVISOR.faults(&[
        ("boot", "spawn:die", BackendFailed, "ended with exit status: 1: Error: died as told"),
        ("boot", "spawn:hang", NoHello, "Cloud Hypervisor's API"),
        ("boot", "guest:silent", NoHello, "the agent did not connect: nothing after 1500 ms"),
        ("boot", "guest:mute", NoHello, "the machine is Running"),
        ("boot", "guest:panic", ChannelClosed, "Kernel panic - not syncing: as told"),
        ("paused", "guest:deaf", NoHello, "the machine is Running"),
    ]);
}

#[test]
fn a_damaged_state_is_named_and_the_next_start_goes_on() {
    CLOUD_HYPERVISOR.damaged_state();
}

#[test]
fn one_killed_in_mid_call_is_named_and_leaves_nothing() {
    CLOUD_HYPERVISOR.killed_in_mid_call();
}

#[test]
fn what_is_missing_makes_the_backend_unavailable_with_a_reason_and_a_remedy() {
    let broken = [
        ("guest:deaf", "did not hear its host after it stood still"),
        ("PUT /api/v1/vm.restore:refuse", "did not dial again after it was saved and restored"),
    ];
    CLOUD_HYPERVISOR.missing(&TestBed::new(CLOUD_HYPERVISOR.runner), &broken);
}

#[test]
fn a_program_that_is_no_agent_is_named() {
    CLOUD_HYPERVISOR.no_agent();
}
