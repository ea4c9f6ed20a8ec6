//! What goes wrong has a name, the next start goes on, and nothing is left.

use super::{echo, fake_bed, of_each, one};
use isobench_core::{FaultKind, Guest};
use isobench_firecracker::jail::CGROUP;
use isobench_firecracker::machine::PROGRAM_VARIABLE;
use isobench_qemu::kernel::KERNEL_VARIABLE;
use isobench_runner::protocol::{BlockRequest, CleanRequest};
use isobench_runner::reap;
use isobench_runner::testing::{Outcome, TestBed, one_start, suite};
use isobench_runner::{Deadline, cgroup};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use FaultKind::{BackendFailed, BadFrame, ChannelClosed, DeadlineExceeded, FrameTooLarge};
use FaultKind::{GuestTrap, NoHello, OutOfMemory, WrongAnswer};

#[test]
fn a_guest_that_misbehaves_is_named() {
    of_each(|bed, variant| {
        let faults = [
            ("panic", GuestTrap, "panicked: as told"),
            ("eat", OutOfMemory, "more memory than its limit"),
            // The exit of a machine's init is the kernel's end, and the panic's own words say so.
            ("exit", ChannelClosed, "Kernel panic - not syncing: Attempted to kill init!"),
            ("answer 1 GiB", FrameTooLarge, "104857600 bytes, the limit is 16777216"),
            ("announce 1 GiB", FrameTooLarge, "1073741824 bytes, the limit is 16777216"),
            ("answer wrongly", WrongAnswer, "it starts `no`"),
            ("no frame", BadFrame, "unknown kind 255"),
            ("hang", DeadlineExceeded, "nothing after 500 ms"),
        ];
        for (what, kind, reason) in faults {
            let outcome = bed.run(&suite::telling(bed, variant, what, what));
            let message = &outcome.expect_fault(kind).message;
            assert!(message.contains(reason), "{variant}, {what}: {message}");
        }
        // More than the log of a console may have, which is the same for all, and each byte dear in an emulated machine.
        if variant == "boot" {
            let mut block = suite::telling(bed, variant, "chatter", "chatter");
            block.target.limits.emulated_call_deadline_ms = 500_000;
            bed.run(&block).expect_ok();
        }
    });
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

/// A block of a bed whose fake does something wrong, with a start that may take `start_ms`.
fn wrong(bed: &mut TestBed, variant: &str, fault: &str, start_ms: u64) -> Outcome {
    bed.runner.env.insert("ISOBENCH_FAKE_FAULT".into(), fault.into());
    let artifact = echo(bed);
    let mut block = one(bed, variant, &artifact);
    block.target.limits.start_deadline_ms = start_ms;
    if fault.contains("/snapshot/create") {
        // One that has not been saved before.
        block.ctx.cache = bed.write("here", "").with_file_name("empty-cache");
    }
    let outcome = bed.run(&block);
    bed.runner.env.remove("ISOBENCH_FAKE_FAULT");
    outcome
}

#[test]
fn whatever_is_answered_to_a_request_has_a_name_and_leaves_nothing() {
    let Some(mut bed) = fake_bed() else { return };
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
        for (what, kind, reason) in ANSWERS {
            let hangs = kind == NoHello;
            // To write a machine has a deadline of its own.
            if hangs && request.ends_with("create") {
                continue;
            }
            let start_ms = if hangs { 1_500 } else { 30_000 };
            let outcome = wrong(&mut bed, variant, &format!("{request}:{what}"), start_ms);
            let message = &outcome.expect_fault(kind).message;
            assert!(message.contains(request) || kind == BackendFailed, "{request}, {what}: {message}");
            assert!(message.contains(reason), "{request}, {what}: {message}");
        }
    }
    bed.run(&one(&bed, "paused", &artifact)).expect_ok();
}

#[test]
fn a_firecracker_that_never_comes_and_a_guest_that_is_none_have_names() {
    let Some(mut bed) = fake_bed() else { return };
    let faults = [
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
    ];
    for (variant, fault, kind, reason) in faults {
        let start_ms = if kind == NoHello { 1_500 } else { 30_000 };
        let outcome = wrong(&mut bed, variant, fault, start_ms);
        let message = &outcome.expect_fault(kind).message;
        assert!(message.contains(reason), "{fault}: {message}");
    }
}

/// A block of `restore` with a cache of its own, in which its state is the only one.
fn restoring(bed: &TestBed) -> BlockRequest {
    let mut block = one(bed, "restore", &echo(bed));
    block.ctx.cache = bed.write("here", "").with_file_name("cache");
    block
}

#[test]
fn a_damaged_state_is_named_and_the_next_start_goes_on() {
    let Some(bed) = fake_bed() else { return };
    let run = || bed.run(&restoring(&bed));
    run().expect_ok();
    let states = restoring(&bed).ctx.cache.join("state");
    let entries: Vec<PathBuf> = fs::read_dir(states).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [home] = &entries[..] else { panic!("one state, and nothing half-made: {entries:?}") };
    let named = |reason: &str| {
        let outcome = run();
        let message = &outcome.expect_fault(BackendFailed).message;
        assert!(message.contains(reason), "{message}");
    };
    let state = fs::read(home.join("state")).unwrap();
    fs::write(home.join("state"), &state[..state.len() / 2]).unwrap();
    named("Firecracker refused PUT /snapshot/load: Load snapshot error");
    fs::write(home.join("state"), &state).unwrap();
    run().expect_ok();
    fs::OpenOptions::new().write(true).open(home.join("memory")).unwrap().set_len(1 << 20).unwrap();
    named("has 1048576 bytes of memory; remove it");
    fs::remove_dir_all(home).unwrap();
    run().expect_ok();
}

#[test]
fn a_firecracker_killed_in_mid_call_is_named_and_leaves_nothing() {
    of_each(|bed, variant| {
        // A machine that is to be saved is saved here.
        bed.run(&suite::telling(bed, variant, "fine", "fine")).expect_ok();
        let mut block = suite::telling(bed, variant, "hang", "");
        let limits = &mut block.target.limits;
        (limits.call_deadline_ms, limits.emulated_call_deadline_ms) = (60_000, 60_000);
        let state = block.ctx.state.clone();
        let killer = std::thread::spawn(move || {
            if let Some(vmm) = vmm_of(&state) {
                // A start takes less, the call then hangs; where it takes more, the start is what is hit.
                std::thread::sleep(Duration::from_millis(700));
                // SAFETY: a signal to a process that is ours by its cookie.
                unsafe { libc::kill(vmm as i32, libc::SIGKILL) };
            }
        });
        let outcome = bed.run(&block);
        killer.join().expect("the killer");
        let message = &outcome.expect_fault(BackendFailed).message;
        assert!(message.contains("Firecracker was killed by signal 9"), "{variant}: {message}");
    });
}

/// The Firecracker of a block, once it is there. A jailed one has no cookie, but a parent that has.
fn vmm_of(state: &Path) -> Option<u32> {
    let deadline = Deadline::after(Duration::from_secs(60));
    while !deadline.passed() {
        let ours = reap::with_cookie(state);
        let pids =
            fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let of_ours = |pid: u32| ours.contains(&pid) || reap::parent(pid).is_some_and(|parent| ours.contains(&parent));
        if let Some(vmm) = pids.into_iter().find(|&pid| is_vmm(pid) && of_ours(pid)) {
            return Some(vmm);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// A runner that is killed while its jailed machine hangs: nothing leads to that but its cgroup, and a clean ends it.
pub fn a_killed_runner_of_a_jail(bed: &TestBed) {
    let mut block = suite::telling(bed, "jailer", "hang", "");
    let limits = &mut block.target.limits;
    (limits.call_deadline_ms, limits.emulated_call_deadline_ms) = (60_000, 60_000);
    let state = block.ctx.state.clone();
    let killer = std::thread::spawn(move || {
        let vmm = vmm_of(&state).expect("a machine");
        std::thread::sleep(Duration::from_millis(700));
        let runner = reap::with_cookie(&state).into_iter().min().expect("the runner");
        // SAFETY: a signal to a process that is ours by its cookie.
        unsafe { libc::kill(runner as i32, libc::SIGKILL) };
        vmm
    });
    bed.run(&block).expect_fault(FaultKind::RunnerDied);
    let vmm = killer.join().expect("the killer");
    // Another test's block may have done so by now.
    bed.runner.clean(&CleanRequest { ctx: bed.context(), dead: Vec::new() }).expect("a clean");
    assert_eq!(reap::start_time(vmm), None, "Firecracker is gone");
    assert!(cgroup::gone_owners(CGROUP).is_empty());
}

/// By its name, of which the kernel keeps 15 bytes.
fn is_vmm(pid: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.starts_with("firecracker") || name.trim() == "isobench-fake-f"
}

#[test]
fn leftovers_under_the_same_name_are_named() {
    let Some(bed) = fake_bed() else { return };
    let block = one(&bed, "boot", &echo(&bed));
    fs::create_dir_all(block.ctx.state.join("vm0")).unwrap();
    let outcome = bed.run(&block);
    let message = &outcome.expect_fault(BackendFailed).message;
    assert!(message.contains("vm0: File exists"), "{message}");
}

/// What the runner says of a machine with these variables.
fn probed(bed: &TestBed, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isobench-runner-firecracker"));
    command
        .arg("probe")
        .env_remove(PROGRAM_VARIABLE)
        .env_remove(KERNEL_VARIABLE)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), &bed.context()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn what_is_missing_makes_the_backend_unavailable_with_a_reason_and_a_remedy() {
    let bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-firecracker"));
    let says = |variables: &[(&str, &str)], words: &[&str]| {
        let answer = probed(&bed, variables);
        assert!(answer.contains("unavailable"), "{answer}");
        words.iter().for_each(|word| assert!(answer.contains(word), "{word}: {answer}"));
    };
    let releases = "github.com/firecracker-microvm/firecracker/releases";
    says(&[("PATH", "/nonexistent")], &["Firecracker is not installed", releases, "ISOBENCH_FIRECRACKER"]);
    says(&[("ISOBENCH_FIRECRACKER", "/nonexistent/vmm")], &["/nonexistent/vmm", releases]);
    let other = bed.write("other", "#!/bin/sh\necho another program 1.0\n");
    fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    says(&[("ISOBENCH_FIRECRACKER", other.to_str().unwrap())], &["says it is no Firecracker"]);
    says(
        &[("ISOBENCH_FIRECRACKER", super::FAKE), ("ISOBENCH_KERNEL", "/nonexistent/vmlinux")],
        &["/nonexistent/vmlinux"],
    );
    // One in which no guest boots, as without KVM. Another kernel, or it would be remembered that it did.
    let kernel = bed.write("kernel", [super::KERNEL, b" of which nothing boots"].concat());
    let fake = [("ISOBENCH_FIRECRACKER", super::FAKE), ("ISOBENCH_KERNEL", kernel.to_str().unwrap())];
    let refusing = [&fake[..], &[("ISOBENCH_FAKE_FAULT", "PUT /actions:refuse")]].concat();
    says(&refusing, &["a probe guest did not boot under KVM", "refused as told", "nested virtualisation"]);
    // One that gives a guest nothing any more that has stood still: it has the others.
    let kernel = bed.write("deaf", [super::KERNEL, b" of which one is deaf"].concat());
    let answer =
        probed(&bed, &[fake[0], ("ISOBENCH_KERNEL", kernel.to_str().unwrap()), ("ISOBENCH_FAKE_FAULT", "guest:deaf")]);
    assert!(answer.contains(r#""state":"available""#), "{answer}");
    assert!(answer.contains("did not hear its host after it stood still"), "{answer}");
    // It is not asked again.
    says(&fake, &["a probe guest did not boot under KVM", "refused as told", "to ask again, remove kvm/"]);
}

#[test]
fn a_program_that_is_no_agent_is_named() {
    let Some(bed) = fake_bed() else { return };
    let silent = bed.write("silent", "#!/bin/sh\nexec sleep 600\n");
    let mut block = bed.request("boot", Guest::Native, &silent, b"", b"", one_start());
    block.target.limits.start_deadline_ms = 1_500;
    let outcome = bed.run(&block);
    let message = &outcome.expect_fault(NoHello).message;
    assert!(message.contains("the machine is Running"), "{message}");
}
