//! The process backend through the coordinator: every kind of guest, every fault by its name, nothing left behind.

use isobench_core::{Experiment, FaultKind, Guest};
use isobench_process::Process;
use isobench_runner::protocol::Visit;
use isobench_runner::reap;
use isobench_runner::testing::{self, Outcome, TestBed};
use isobench_runner::{Backend, Deadline, Phases};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn bed() -> TestBed {
    TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-process"))
}

fn misbehaving(bed: &TestBed) -> PathBuf {
    bed.artifact("harness/backends/process/tests/fixtures/misbehaving", Guest::Native)
}

/// A native guest that is told what to do by its first request.
fn told(what: &str) -> Outcome {
    told_within(what, 500)
}

fn told_within(what: &str, call_deadline_ms: u64) -> Outcome {
    let bed = bed();
    let guest = misbehaving(&bed);
    let mut request =
        bed.request("spawn", Guest::Native, &guest, what.as_bytes(), what.as_bytes(), testing::one_start());
    request.target.limits.call_deadline_ms = call_deadline_ms;
    bed.run(&request)
}

/// A program that is no agent, as a native guest.
fn script(bed: &TestBed, text: &str) -> PathBuf {
    let path = bed.write("agent", text);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("permissions");
    path
}

fn every_experiment(bed: &TestBed, guest: Guest, artifact: &Path) {
    let run = |visit| bed.run(&bed.request("spawn", guest, artifact, b"hello", b"hello", visit)).expect_ok();
    let outcome = run(testing::starts_and_calls());
    for metric in ["total", "create", "boot", "load", "first_call", "destroy"] {
        assert_eq!(outcome.values(Experiment::ColdStart, metric).len(), 3, "{guest}: {metric}");
    }
    assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 100, "{guest}");

    let pss = run(Visit::Footprint { instances: vec![1, 2, 4] }).values(Experiment::Footprint, "pss");
    assert_eq!(pss[0], 0, "{guest}: nothing before the first agent");
    assert!(pss.is_sorted_by(|a, b| a < b), "{guest}: {pss:?}");

    assert_eq!(run(testing::all_throughput()).histograms().len(), 6, "{guest}");
    for visit in testing::all_load() {
        assert!(!run(visit).0.is_empty(), "{guest}");
    }
}

#[test]
fn a_native_guest_goes_through_every_experiment() {
    let bed = bed();
    every_experiment(&bed, Guest::Native, &bed.artifact("workloads/echo", Guest::Native));
}

#[test]
fn a_wasm_guest_goes_through_every_experiment() {
    let bed = bed();
    if bed.has_agent(Guest::Wasm) {
        every_experiment(&bed, Guest::Wasm, &bed.artifact("workloads/echo", Guest::Wasm));
    }
}

#[test]
fn a_js_guest_goes_through_every_experiment() {
    let bed = bed();
    if bed.has_agent(Guest::Js) {
        every_experiment(&bed, Guest::Js, &bed.artifact("workloads/echo", Guest::Js));
    }
}

#[test]
fn what_a_native_guest_does_wrong_has_a_name_and_a_reason() {
    for (what, kind, reason) in [
        ("panic", FaultKind::GuestTrap, "panicked: as told"),
        ("segv", FaultKind::GuestTrap, "SIGSEGV"),
        ("abort", FaultKind::GuestTrap, "SIGABRT"),
        ("recurse", FaultKind::GuestTrap, "overflowed its stack"),
        ("eat", FaultKind::OutOfMemory, "more memory than its limit"),
        ("abort for memory", FaultKind::OutOfMemory, "Reached heap limit"),
        ("exit", FaultKind::ChannelClosed, "exit status: 3"),
        ("answer 1 GiB", FaultKind::FrameTooLarge, "104857600 bytes, the limit is 16777216"),
        ("announce 1 GiB", FaultKind::FrameTooLarge, "1073741824 bytes, the limit is 16777216"),
        ("answer wrongly", FaultKind::WrongAnswer, "it starts `no`"),
        ("close the channel", FaultKind::ChannelClosed, "the agent closed the channel"),
        ("no frame", FaultKind::BadFrame, "unknown kind 255"),
        ("half a frame", FaultKind::ChannelClosed, "exit status: 0"),
        ("hang", FaultKind::DeadlineExceeded, "nothing after 500 ms"),
    ] {
        // What does not hang gets a deadline far off: the answer must not come from it.
        let outcome = if what == "hang" { told(what) } else { told_within(what, 60_000) };
        let message = &outcome.expect_fault(kind).message;
        assert!(message.contains(reason), "{what}: {message}");
    }
}

#[test]
fn chatter_and_children_do_no_harm() {
    told_within("chatter", 60_000).expect_ok();
    // `run` asserts that the child is gone.
    told_within("leave a child", 60_000).expect_ok();
}

#[test]
fn a_guest_sees_nothing_of_the_environment_but_the_cookie() {
    let bed = bed();
    let guest = misbehaving(&bed);
    let (request, answer) = (b"show the environment", b"ISOBENCH_COOKIE ");
    bed.run(&bed.request("spawn", Guest::Native, &guest, request, answer, testing::one_start())).expect_ok();
}

#[test]
fn a_program_that_is_no_agent_says_no_hello() {
    let bed = bed();
    let run = |artifact: &Path| {
        let mut request = bed.request("spawn", Guest::Native, artifact, b"", b"", testing::one_start());
        request.target.limits.start_deadline_ms = 300;
        bed.run(&request)
    };
    let outcome = run(&script(&bed, "#!/bin/sh\necho what is --connect >&2\nexit 7\n"));
    let message = &outcome.expect_fault(FaultKind::NoHello).message;
    assert!(message.contains("exit status: 7") && message.contains("what is --connect"), "{message}");
    let outcome = run(&script(&bed, "#!/bin/sh\nexec sleep 86400\n"));
    let message = &outcome.expect_fault(FaultKind::NoHello).message;
    assert!(message.contains("did not connect") && message.contains("300 ms"), "{message}");
    // No program at all.
    let outcome = run(&bed.write("text", "hello"));
    let message = &outcome.expect_fault(FaultKind::InvalidGuest).message;
    assert!(message.contains("cannot be started"), "{message}");
}

#[test]
fn faults_of_wasm_guests_keep_their_names_across_the_boundary() {
    let bed = bed();
    if !bed.has_agent(Guest::Wasm) {
        return;
    }
    let run = |name: &str, handle: &str, rest: &str| {
        let guest = bed.write_wat(
            name,
            &format!(
                r#"(module (memory (export "memory") 1)
                    (func (export "alloc") (param i32) (result i32) i32.const 1024)
                    (func (export "handle") (param i32 i32) (result i64) {handle}) {rest})"#
            ),
        );
        let mut request = bed.request("spawn", Guest::Wasm, &guest, b"", b"", testing::one_start());
        request.target.limits.call_deadline_ms = 200;
        request.target.limits.start_deadline_ms = 2_000;
        bed.run(&request)
    };
    run("trap.wasm", "unreachable", "").expect_fault(FaultKind::GuestTrap);
    run("loop.wasm", "(loop br 0) i64.const 0", "").expect_fault(FaultKind::DeadlineExceeded);
    run("long.wasm", "i64.const 0x40000000", "").expect_fault(FaultKind::FrameTooLarge);
    run("wild.wasm", "i64.const 0xffff0000000f", "").expect_fault(FaultKind::BadAnswer);
    let greedy = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    run("greedy.wasm", greedy, "").expect_fault(FaultKind::OutOfMemory);
    let mute = r#"(func (export "_initialize") (loop br 0))"#;
    run("mute.wasm", "i64.const 0", mute).expect_fault(FaultKind::NoHello);
    let import = bed.write_wat("import.wasm", r#"(module (import "wasi" "exit" (func)))"#);
    let request = bed.request("spawn", Guest::Wasm, &import, b"", b"", testing::one_start());
    bed.run(&request).expect_fault(FaultKind::InvalidGuest);
}

#[test]
fn faults_of_js_guests_keep_their_names_across_the_boundary() {
    let bed = bed();
    if !bed.has_agent(Guest::Js) {
        return;
    }
    let run = |name: &str, handle: &str| {
        let guest = bed.write(name, format!("export function handle(request) {{ {handle} }}"));
        let mut request = bed.request("spawn", Guest::Js, &guest, b"", b"", testing::one_start());
        request.target.limits.call_deadline_ms = 10_000;
        bed.run(&request)
    };
    run("throw.js", "throw new Error('as told')").expect_fault(FaultKind::GuestThrow);
    run("text.js", "return 'text'").expect_fault(FaultKind::BadAnswer);
    run("greedy.js", "const all = []; for (;;) all.push(new Array(1e5).fill(1.5))")
        .expect_fault(FaultKind::OutOfMemory);
    run("broken.js", "return (").expect_fault(FaultKind::InvalidGuest);
}

#[test]
fn a_runner_that_is_killed_leaves_no_agent() {
    let bed = bed();
    let guest = misbehaving(&bed);
    let mut request = bed.request("spawn", Guest::Native, &guest, b"hang", b"", testing::one_start());
    request.target.limits.call_deadline_ms = 60_000;
    let state = request.ctx.state.clone();
    let killer = std::thread::spawn(move || {
        let pids = loop {
            let pids = reap::with_cookie(&state);
            if pids.len() == 2 {
                break pids;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let runner = pids.into_iter().min_by_key(|&pid| reap::start_time(pid)).expect("two processes");
        // SAFETY: a signal to a process that this test started.
        unsafe { libc::kill(runner as i32, libc::SIGKILL) };
    });
    bed.run(&request).expect_fault(FaultKind::RunnerDied);
    killer.join().expect("the killer");
}

#[test]
fn stop_and_drop_leave_no_process_and_no_socket() {
    let bed = bed();
    let guest = misbehaving(&bed);
    let request = bed.request("spawn", Guest::Native, &guest, b"", b"", testing::one_start());
    std::fs::create_dir_all(&request.ctx.state).expect("a state folder");
    let prepared = Process.open(&request.ctx, &request.prepared).expect("open");
    let deployment = prepared.deploy(&request.ctx, &request.target).expect("deploy");
    let deadline = || Deadline::after(Duration::from_secs(30));
    let start = || {
        let mut instance = deployment.start(&mut Phases::new(), deadline()).expect("start");
        instance.call(b"leave a child", deadline()).expect("an answer");
        let pids = instance.footprint().pids;
        assert_eq!(pids.len(), 1);
        (instance, *pids.first().expect("one"))
    };
    let gone = |pid: u32| {
        assert_eq!(reap::start_time(pid), None, "the agent is gone");
        // Its child was killed with it, and the kernel takes it down in its own time.
        let until = Deadline::after(Duration::from_secs(30));
        while !group_of(pid).is_empty() {
            assert!(!until.passed(), "{:?} of its group are left", group_of(pid));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(std::fs::read_dir(&request.ctx.state).expect("the folder").count(), 0, "no socket is left");
    };
    let (instance, pid) = start();
    instance.stop(deadline()).expect("stop");
    gone(pid);
    let (instance, pid) = start();
    drop(instance);
    gone(pid);
    // An agent that is killed by somebody is a fault with that name, and stops in peace.
    let (mut instance, pid) = start();
    // SAFETY: a signal to a process that this test started.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    let fault = instance.call(b"", deadline()).expect_err("dead");
    assert_eq!(fault.kind, FaultKind::ChannelClosed);
    assert!(fault.message.contains("SIGKILL"), "{fault}");
    instance.stop(deadline()).expect("stop");
    gone(pid);
}

/// Live processes of a process group.
fn group_of(leader: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let in_group = |pid: &u32| {
        // SAFETY: a plain question.
        reap::start_time(*pid).is_some() && unsafe { libc::getpgid(*pid as i32) } == leader as i32
    };
    pids.filter(in_group).collect()
}
