//! The tests of every backend whose agents are [`spawned`](crate::spawned), for one of its variants each: all kinds of
//! guests, every fault by its name, nothing left behind.

use super::{Outcome, TestBed, all_load, all_throughput, one_start, starts_and_calls};
use crate::backend::Backend;
use crate::protocol::{BlockRequest, Visit};
use crate::reap;
use crate::spawned::{children, family};
use crate::stopwatch::{Deadline, Phases};
use isobench_core::{Experiment, FaultKind, Guest};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait in these tests for what happens at once.
const SOON: Duration = Duration::from_secs(30);

/// A native guest that does what its request says, harm included.
pub fn misbehaving(bed: &TestBed) -> PathBuf {
    bed.artifact("harness/runner/tests/fixtures/misbehaving", Guest::Native)
}

/// A block with that guest, which is told `what` and is to answer `answer`.
pub fn telling(bed: &TestBed, variant: &str, what: &str, answer: &str) -> BlockRequest {
    let guest = misbehaving(bed);
    let mut request = bed.request(variant, Guest::Native, &guest, what.as_bytes(), answer.as_bytes(), one_start());
    // What does not hang gets a deadline far off: the answer must not come from it.
    let limits = &mut request.target.limits;
    limits.call_deadline_ms = if what == "hang" { 500 } else { 60_000 };
    limits.emulated_call_deadline_ms = limits.call_deadline_ms;
    request
}

fn told(bed: &TestBed, variant: &str, what: &str) -> Outcome {
    bed.run(&telling(bed, variant, what, what))
}

/// An instance starts where the paths of state and cache have characters to which tools give a meaning.
pub fn odd_folders(bed: &TestBed, variant: &str, guest: Guest) {
    odd_folders_without(bed, variant, guest, "");
}

/// The same for a backend that refuses paths with each of the characters `refused`.
pub fn odd_folders_without(bed: &TestBed, variant: &str, guest: Guest, refused: &str) {
    let echo = bed.artifact("workloads/echo", guest);
    let cache = tempfile::tempdir().expect("a temporary folder");
    let run = |name: &str| {
        let mut request = bed.request(variant, guest, &echo, b"hello", b"hello", one_start());
        request.ctx.state.set_file_name(name);
        request.ctx.cache = cache.path().join(name);
        bed.run(&request)
    };
    for name in ["a b", r#"-a,b:c=d%e\f'"$#é"#] {
        let taken: String = name.chars().filter(|&character| !refused.contains(character)).collect();
        run(&taken).expect_ok();
    }
    for character in refused.chars() {
        let outcome = run(&format!("a{character}b"));
        let message = &outcome.expect_fault(FaultKind::BackendFailed).message;
        assert!(message.contains("cannot take in a path: set ISOBENCH_CACHE"), "{message}");
    }
}

/// Every experiment with the `echo` workload. Answers with the memory (RSS, in bytes) that there is before the first
/// instance; `None` where the agent is missing.
pub fn every_experiment(bed: &TestBed, variant: &str, guest: Guest) -> Option<u64> {
    if guest != Guest::Native && !bed.has_agent(guest) {
        return None;
    }
    let echo = bed.artifact("workloads/echo", guest);
    let run = |visit| bed.run(&bed.request(variant, guest, &echo, b"hello", b"hello", visit)).expect_ok();
    let outcome = run(starts_and_calls());
    for metric in ["total", "boot", "load", "first_call", "destroy"] {
        assert_eq!(outcome.values(Experiment::ColdStart, metric).len(), 3, "{variant} {guest}: {metric}");
    }
    // In one piece, or in parts.
    let created = outcome.metrics(Experiment::ColdStart).filter(|m| *m == "create" || m.starts_with("create."));
    let created: BTreeSet<&str> = created.collect();
    assert!(!created.is_empty(), "{variant} {guest}");
    for metric in created {
        assert_eq!(outcome.values(Experiment::ColdStart, metric).len(), 3, "{variant} {guest}: {metric}");
    }
    assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 100, "{variant} {guest}");

    // Not PSS, which falls when another test has the same program.
    let rss = run(Visit::Footprint { instances: vec![1, 2, 4] }).values(Experiment::Footprint, "rss");
    assert!(rss.len() == 4 && rss.is_sorted_by(|a, b| a < b), "{variant} {guest}: {rss:?}");

    assert_eq!(run(all_throughput()).histograms().len(), 6, "{variant} {guest}");
    for visit in all_load() {
        assert!(!run(visit).0.is_empty(), "{variant} {guest}");
    }
    Some(rss[0])
}

/// The same for every kind of guest that has an agent, behind a boundary that is nothing without an instance.
pub fn every_guest(bed: &TestBed, variant: &str) {
    for guest in Guest::ALL {
        assert!(every_experiment(bed, variant, guest).is_none_or(|before| before == 0));
    }
}

/// What a native guest does wrong has a name and a reason, and what only looks wrong does no harm.
pub fn native_faults(bed: &TestBed, variant: &str) {
    let faults: [(_, _, &[&str]); 14] = [
        ("panic", FaultKind::GuestTrap, &["panicked: as told"]),
        ("segv", FaultKind::GuestTrap, &["SIGSEGV"]),
        // A signal by which the first process of a PID namespace would end itself is ignored: `abort` then faults.
        ("abort", FaultKind::GuestTrap, &["SIGABRT", "SIGSEGV"]),
        // Without /proc the runtime does not know where its stack ends.
        ("recurse", FaultKind::GuestTrap, &["overflowed its stack", "SIGSEGV"]),
        ("eat", FaultKind::OutOfMemory, &["more memory than its limit", "at its memory limit"]),
        ("abort for memory", FaultKind::OutOfMemory, &["Reached heap limit"]),
        ("exit", FaultKind::ChannelClosed, &["exit status: 3"]),
        ("answer 1 GiB", FaultKind::FrameTooLarge, &["104857600 bytes, the limit is 16777216"]),
        ("announce 1 GiB", FaultKind::FrameTooLarge, &["1073741824 bytes, the limit is 16777216"]),
        ("answer wrongly", FaultKind::WrongAnswer, &["it starts `no`"]),
        ("close the channel", FaultKind::ChannelClosed, &["the agent closed the channel"]),
        ("no frame", FaultKind::BadFrame, &["unknown kind 255"]),
        ("half a frame", FaultKind::ChannelClosed, &["exit status: 0"]),
        ("hang", FaultKind::DeadlineExceeded, &["nothing after 500 ms"]),
    ];
    for (what, kind, reasons) in faults {
        let outcome = told(bed, variant, what);
        let message = &outcome.expect_fault(kind).message;
        assert!(reasons.iter().any(|reason| message.contains(reason)), "{variant}, {what}: {message}");
    }
    told(bed, variant, "chatter").expect_ok();
    // `run` asserts that the child is gone.
    told(bed, variant, "leave a child").expect_ok();
}

/// What a Wasm guest does wrong keeps its name across the boundary.
pub fn wasm_faults(bed: &TestBed, variant: &str) {
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
        let mut request = bed.request(variant, Guest::Wasm, &guest, b"", b"", one_start());
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
    let request = bed.request(variant, Guest::Wasm, &import, b"", b"", one_start());
    bed.run(&request).expect_fault(FaultKind::InvalidGuest);
}

/// What a JS guest does wrong keeps its name across the boundary.
pub fn js_faults(bed: &TestBed, variant: &str) {
    if !bed.has_agent(Guest::Js) {
        return;
    }
    let run = |name: &str, handle: &str| {
        let guest = bed.write(name, format!("export function handle(request) {{ {handle} }}"));
        let mut request = bed.request(variant, Guest::Js, &guest, b"", b"", one_start());
        request.target.limits.call_deadline_ms = 10_000;
        bed.run(&request)
    };
    run("throw.js", "throw new Error('as told')").expect_fault(FaultKind::GuestThrow);
    run("text.js", "return 'text'").expect_fault(FaultKind::BadAnswer);
    run("greedy.js", "const all = []; for (;;) all.push(new Array(1e5).fill(1.5))")
        .expect_fault(FaultKind::OutOfMemory);
    run("broken.js", "return (").expect_fault(FaultKind::InvalidGuest);
}

/// A runner that is killed leaves nothing, where `processes` is how many there are with the runner and one instance.
pub fn a_killed_runner(bed: &TestBed, variant: &str, processes: usize) {
    a_runner_killed_during(bed, telling(bed, variant, "hang", ""), processes);
}

/// The same with a request of one's own, which is to hang.
pub fn a_runner_killed_during(bed: &TestBed, mut request: BlockRequest, processes: usize) {
    request.target.limits.call_deadline_ms = 60_000;
    request.target.limits.emulated_call_deadline_ms = 60_000;
    let state = request.ctx.state.clone();
    let killer = std::thread::spawn(move || {
        let runner = loop {
            // One that has just ended, a helper of the deployment, has no start any more.
            let started = |pid: u32| Some((reap::start_time(pid)?, pid));
            let alive: Vec<_> = reap::with_cookie(&state).into_iter().filter_map(started).collect();
            if alive.len() == processes {
                break alive.into_iter().min().expect("some").1;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        kill(runner);
    });
    bed.run(&request).expect_fault(FaultKind::RunnerDied);
    killer.join().expect("the killer");
}

/// However an instance goes, its processes and theirs go with it, and its socket.
pub fn stop_drop_and_death(bed: &TestBed, backend: &dyn Backend, variant: &str) {
    stop_drop_and_death_of(backend, &telling(bed, variant, "", ""), b"leave a child");
}

/// The same with a guest of one's own, told something before its end: to `leave a child`, or nothing where none can.
pub fn stop_drop_and_death_of(backend: &dyn Backend, request: &BlockRequest, before_its_end: &[u8]) {
    std::fs::create_dir_all(&request.ctx.state).expect("a state folder");
    let files = || std::fs::read_dir(&request.ctx.state).expect("the folder").count();
    let prepared = backend.open(&request.ctx, &request.prepared).expect("open");
    let deployment = prepared.deploy(&request.ctx, &request.target).expect("deploy");
    let deadline = || Deadline::after(SOON);
    let before = files();
    let start = || {
        let mut instance = deployment.start(&mut Phases::new(), deadline()).expect("start");
        instance.call(before_its_end, deadline()).expect("an answer");
        let own: BTreeSet<u32> = instance.footprint().pids;
        let all = family(own.iter().copied());
        let child = usize::from(!before_its_end.is_empty());
        assert!(all.len() > child, "the agent and its child: {all:?}");
        (instance, own, all)
    };
    let gone = |own: &BTreeSet<u32>, all: &BTreeSet<u32>| {
        assert!(own.iter().all(|&pid| reap::start_time(pid).is_none()), "{own:?} are gone");
        // What else it had was killed as well, and the kernel takes it down in its own time.
        wait_for_the_end(all);
        assert_eq!(files(), before, "no socket is left");
    };
    let (instance, own, all) = start();
    instance.stop(deadline()).expect("stop");
    gone(&own, &all);
    let (instance, own, all) = start();
    drop(instance);
    gone(&own, &all);
    // One that is killed by somebody is a fault with that name, and stops in peace.
    let (mut instance, own, all) = start();
    own.iter().copied().for_each(kill);
    let fault = instance.call(b"", deadline()).expect_err("dead");
    assert_eq!(fault.kind, FaultKind::ChannelClosed);
    assert!(fault.message.contains("SIGKILL"), "{fault}");
    instance.stop(deadline()).expect("stop");
    wait_for_the_end(&own);
    gone(&own, &all);
    // What the deployment itself keeps alive goes with it; a daemon of the run's is not its child.
    let children: BTreeSet<u32> = children(std::process::id()).into_iter().collect();
    let kept = family(deployment.footprint().pids.intersection(&children).copied());
    drop((deployment, prepared));
    wait_for_the_end(&kept);
}

/// What no engine and no limit of a process sees: memory that is shared with nobody. The container's own limit does.
pub fn a_full_container(bed: &TestBed, variant: &str) {
    let outcome = told(bed, variant, "share memory");
    let message = &outcome.expect_fault(FaultKind::OutOfMemory).message;
    assert!(message.contains("at its memory limit"), "{variant}: {message}");
}

/// What one instance was told is not seen by so many after it, nor do two draw the same random numbers.
pub fn a_canary(bed: &TestBed, backend: &dyn Backend, variant: &str, others: u32) {
    let mut request = telling(bed, variant, "plant a canary", "plant a canary");
    request.visit = Visit::ColdStart { starts: (1 + others).into(), warm: None };
    let outcome = bed.run(&request).expect_ok();
    assert_eq!(outcome.values(Experiment::ColdStart, "total").len(), 1 + others as usize);
    a_seed_of_its_own(backend, &telling(bed, variant, "", ""));
}

/// No two instances draw the same random numbers, of a guest that can be told to `show a random seed`.
pub fn a_seed_of_its_own(backend: &dyn Backend, request: &BlockRequest) {
    std::fs::create_dir_all(&request.ctx.state).expect("a state folder");
    let prepared = backend.open(&request.ctx, &request.prepared).expect("open");
    let deployment = prepared.deploy(&request.ctx, &request.target).expect("deploy");
    let seed = || {
        let deadline = Deadline::after(SOON);
        let mut instance = deployment.start(&mut Phases::new(), deadline).expect("start");
        instance.call(b"show a random seed", deadline).expect("a seed")
    };
    assert_ne!(seed(), seed());
}

/// A program that is no agent, as a native guest, with 300 ms to say hello.
pub fn no_agent(bed: &TestBed, variant: &str, artifact: &Path) -> Outcome {
    let mut request = bed.request(variant, Guest::Native, artifact, b"", b"", one_start());
    request.target.limits.start_deadline_ms = 300;
    bed.run(&request)
}

fn kill(pid: u32) {
    // SAFETY: a signal to a process that this test started.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
}

fn wait_for_the_end(pids: &BTreeSet<u32>) {
    let until = Deadline::after(SOON);
    while let Some(left) = pids.iter().find(|&&pid| reap::start_time(pid).is_some()) {
        assert!(!until.passed(), "process {left} is left");
        std::thread::sleep(Duration::from_millis(5));
    }
}
