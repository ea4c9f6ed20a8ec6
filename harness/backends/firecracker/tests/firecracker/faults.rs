//! What goes wrong has a name, the next start goes on, and nothing is left.

use super::FIRECRACKER;
use super::monitor::{echo, hanging, kill, one};
use isobench_core::FaultKind;
use isobench_firecracker::jail::CGROUP;
use isobench_firecracker::machine::PROGRAM_VARIABLE;
use isobench_qemu::kernel::KERNEL_VARIABLE;
use isobench_runner::protocol::CleanRequest;
use isobench_runner::testing::TestBed;
use isobench_runner::{cgroup, owner, reap};
use std::fs;
use std::time::Duration;

use FaultKind::{BackendFailed, BadFrame, ChannelClosed, NoHello};

#[test]
fn a_guest_that_misbehaves_is_named() {
    FIRECRACKER.misbehaving_guests();
}

/// The names that a fault of an answer may have, and what its message says.
const ANSWERS: [(&str, FaultKind, &str); 13] = [
    ("refuse", BackendFailed, "refused as told (400)"),
    ("500", BackendFailed, "<p>as told</p (500)"),
    ("404", BackendFailed, "without a word (404)"),
    ("garbage", BackendFailed, "no HTTP"),
    ("half", ChannelClosed, "closed the connection"),
    ("long", BackendFailed, "a body of 1000000000 bytes"),
    ("flood", BackendFailed, "no HTTP"),
    ("more", BackendFailed, "after its end"),
    ("close", ChannelClosed, "closed the connection"),
    ("hang", NoHello, "the machine is silent"),
    ("slow", NoHello, "the machine is silent"),
    ("die", BackendFailed, "Firecracker ended with exit status: 1: Error: died as told"),
    ("kill", BackendFailed, "Firecracker was killed by signal 9"),
];

#[test]
fn whatever_is_answered_to_a_request_has_a_name_and_leaves_nothing() {
    let Some(mut bed) = FIRECRACKER.fake_bed() else { return };
    let requests = [
        ("boot", "PUT /machine-config"),
        ("boot", "PUT /boot-source"),
        ("boot", "PUT /vsock"),
        ("boot", "PUT /actions"),
        ("restore", "PUT /snapshot/create"),
        ("restore", "PUT /snapshot/load"),
        ("paused", "PATCH /vm"),
    ];
    // Saved while all is well.
    let artifact = echo(&bed);
    bed.run(&one(&bed, "restore", &artifact)).expect_ok();
    for (variant, request) in requests {
        // To write a machine has a deadline of its own.
        let waits = |kind: FaultKind| kind == NoHello && request == FIRECRACKER.save;
        let answers = ANSWERS.iter().filter(|(_, kind, _)| !waits(*kind));
        FIRECRACKER.wrong_answers(&mut bed, variant, request, answers);
    }
    bed.run(&one(&bed, "paused", &artifact)).expect_ok();
}

#[test]
fn a_firecracker_that_never_comes_and_a_guest_that_is_none_have_names() {
    FIRECRACKER.faults(&[
        ("boot", "spawn:die", BackendFailed, "ended with exit status: 1: Error: died as told"),
        ("boot", "spawn:hang", NoHello, "Firecracker's API"),
        ("boot", "guest:silent", NoHello, "the agent did not connect: nothing after 1500 ms"),
        ("boot", "guest:mute", NoHello, "the machine is Running"),
        ("boot", "guest:garbage", BadFrame, "unknown kind 255"),
        ("boot", "guest:leave", ChannelClosed, "the agent closed the channel"),
        ("boot", "guest:panic", ChannelClosed, "Kernel panic - not syncing: as told"),
        ("paused", "guest:deaf", NoHello, "the machine is Running"),
        // Where the machine is booted ahead it is the deployment that fails.
        ("paused", "guest:panic", ChannelClosed, "deploy"),
    ]);
}

#[test]
fn a_damaged_state_is_named_and_the_next_start_goes_on() {
    FIRECRACKER.damaged_state();
}

#[test]
fn a_firecracker_killed_in_mid_call_is_named_and_leaves_nothing() {
    FIRECRACKER.killed_in_mid_call();
}

/// A runner that is killed while its jailed machine hangs: nothing leads to that but its cgroup, and a clean ends it.
pub fn a_killed_runner_of_a_jail(bed: &TestBed) {
    let block = hanging(bed, "jailer");
    let state = block.ctx.state.clone();
    let killer = std::thread::spawn(move || {
        let vmm = FIRECRACKER.process_of(&state).expect("a machine");
        std::thread::sleep(Duration::from_millis(700));
        kill(reap::with_cookie(&state).into_iter().min().expect("the runner"));
        vmm
    });
    bed.run(&block).expect_fault(FaultKind::RunnerDied);
    let vmm = killer.join().expect("the killer");
    // Another test's block may have done so by now.
    bed.runner.clean(&CleanRequest { ctx: bed.context(), dead: Vec::new() }).expect("a clean");
    assert_eq!(reap::start_time(vmm), None, "Firecracker is gone");
    assert!(!cgroup::owners(CGROUP).iter().any(|tag| owner::is_gone(tag)));
}

#[test]
fn leftovers_under_the_same_name_are_named() {
    let Some(bed) = FIRECRACKER.fake_bed() else { return };
    let block = one(&bed, "boot", &echo(&bed));
    fs::create_dir_all(block.ctx.state.join("vm0")).unwrap();
    let outcome = bed.run(&block);
    let message = &outcome.expect_fault(BackendFailed).message;
    assert!(message.contains("vm0: File exists"), "{message}");
}

#[test]
fn what_is_missing_makes_the_backend_unavailable_with_a_reason_and_a_remedy() {
    let bed = TestBed::new(FIRECRACKER.runner);
    FIRECRACKER.missing(&bed, &[("guest:deaf", "did not hear its host after it stood still")]);
    let no_kernel = [(PROGRAM_VARIABLE, FIRECRACKER.fake), (KERNEL_VARIABLE, "/nonexistent/vmlinux")];
    FIRECRACKER.unavailable(&bed, &no_kernel, &["/nonexistent/vmlinux"]);
}

#[test]
fn a_program_that_is_no_agent_is_named() {
    FIRECRACKER.no_agent();
}
