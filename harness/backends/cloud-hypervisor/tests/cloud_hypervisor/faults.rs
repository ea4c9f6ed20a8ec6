//! What goes wrong has a name, the next start goes on, and nothing is left.

use super::{FAKE, KERNEL, RUNNER, echo, fake_bed, of_each, one};
use isobench_cloud_hypervisor::machine::PROGRAM_VARIABLE;
use isobench_core::{FaultKind, Guest};
use isobench_qemu::kernel::KERNEL_VARIABLE;
use isobench_runner::Deadline;
use isobench_runner::protocol::BlockRequest;
use isobench_runner::reap;
use isobench_runner::testing::{Outcome, TestBed, one_start, suite};
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

/// A block of a bed whose fake does something wrong, with a start that may take `start_ms`.
fn wrong(bed: &mut TestBed, variant: &str, fault: &str, start_ms: u64) -> Outcome {
    bed.runner.env.insert("ISOBENCH_FAKE_FAULT".into(), fault.into());
    let artifact = echo(bed);
    let mut block = one(bed, variant, &artifact);
    block.target.limits.start_deadline_ms = start_ms;
    if fault.contains("vm.snapshot") {
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
    let requests =
        [("boot", "create"), ("boot", "boot"), ("restore", "snapshot"), ("restore", "restore"), ("paused", "pause")];
    // Saved while all is well.
    let artifact = echo(&bed);
    bed.run(&one(&bed, "restore", &artifact)).expect_ok();
    for (variant, act) in requests {
        let slow: &[_] = if act == "create" { &SLOW_ANSWERS } else { &[] };
        for (what, kind, reason) in ANSWERS.iter().chain(slow) {
            let request = format!("PUT /api/v1/vm.{act}");
            let start_ms = if *kind == NoHello { 1_500 } else { 30_000 };
            let outcome = wrong(&mut bed, variant, &format!("{request}:{what}"), start_ms);
            let message = &outcome.expect_fault(*kind).message;
            assert!(message.contains(&request) || *kind == BackendFailed, "{request}, {what}: {message}");
            assert!(message.contains(reason), "{request}, {what}: {message}");
        }
    }
    wrong(&mut bed, "paused", "PUT /api/v1/vm.resume:refuse", 30_000).expect_fault(BackendFailed);
    bed.run(&one(&bed, "paused", &artifact)).expect_ok();
}

#[test]
fn one_that_never_comes_and_a_guest_that_is_none_have_names() {
    let Some(mut bed) = fake_bed() else { return };
    let faults = [
        ("boot", "spawn:die", BackendFailed, "ended with exit status: 1: Error: died as told"),
        ("boot", "spawn:hang", NoHello, "Cloud Hypervisor's API"),
        ("boot", "guest:silent", NoHello, "the agent did not connect: nothing after 1500 ms"),
        ("boot", "guest:mute", NoHello, "the machine is Running"),
        ("boot", "guest:panic", ChannelClosed, "Kernel panic - not syncing: as told"),
        ("paused", "guest:deaf", NoHello, "the machine is Running"),
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
    let state = fs::read(home.join("state.json")).unwrap();
    fs::write(home.join("state.json"), &state[..state.len() / 2]).unwrap();
    named("Cloud Hypervisor refused PUT /api/v1/vm.restore");
    fs::write(home.join("state.json"), &state).unwrap();
    run().expect_ok();
    fs::OpenOptions::new().write(true).open(home.join("memory-ranges")).unwrap().set_len(1 << 20).unwrap();
    named("has 1048576 bytes of memory; remove it");
    fs::remove_dir_all(home).unwrap();
    run().expect_ok();
}

#[test]
fn one_killed_in_mid_call_is_named_and_leaves_nothing() {
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
        assert!(message.contains("Cloud Hypervisor was killed by signal 9"), "{variant}: {message}");
    });
}

/// The Cloud Hypervisor of a block, once it is there: by its name, of which the kernel keeps 15 bytes.
fn vmm_of(state: &Path) -> Option<u32> {
    let deadline = Deadline::after(Duration::from_secs(60));
    while !deadline.passed() {
        let is_vmm = |pid: &u32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.starts_with("cloud-hyper") || name.trim() == "isobench-fake-c"
        };
        if let Some(vmm) = reap::with_cookie(state).into_iter().find(is_vmm) {
            return Some(vmm);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// What the runner says of a machine with these variables.
fn probed(bed: &TestBed, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(RUNNER);
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
    let bed = TestBed::new(RUNNER);
    let says = |variables: &[(&str, &str)], words: &[&str]| {
        let answer = probed(&bed, variables);
        assert!(answer.contains("unavailable"), "{answer}");
        words.iter().for_each(|word| assert!(answer.contains(word), "{word}: {answer}"));
    };
    let releases = "github.com/cloud-hypervisor/cloud-hypervisor/releases";
    says(&[("PATH", "/nonexistent")], &["Cloud Hypervisor is not installed", releases, PROGRAM_VARIABLE]);
    says(&[(PROGRAM_VARIABLE, "/nonexistent/vmm")], &["/nonexistent/vmm", releases]);
    let other = bed.write("other", "#!/bin/sh\necho another program 1.0\n");
    fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    says(&[(PROGRAM_VARIABLE, other.to_str().unwrap())], &["says it is no Cloud Hypervisor"]);
    // One in which no guest boots, as without KVM. Another kernel, or it would be remembered that it did.
    let kernel = bed.write("kernel", [KERNEL, b" of which nothing boots"].concat());
    let fake = [(PROGRAM_VARIABLE, FAKE), ("ISOBENCH_KERNEL", kernel.to_str().unwrap())];
    let refusing = [&fake[..], &[("ISOBENCH_FAKE_FAULT", "PUT /api/v1/vm.boot:refuse")]].concat();
    says(&refusing, &["a probe guest did not boot under KVM", "refused as told", "nested virtualisation"]);
    // One that gives a guest nothing any more that has stood still, and one that cannot be restored: it has the others.
    for (name, fault, why) in [
        ("deaf", "guest:deaf", "did not hear its host after it stood still"),
        ("lost", "PUT /api/v1/vm.restore:refuse", "did not dial again after it was saved and restored"),
    ] {
        let kernel = bed.write(name, [KERNEL, name.as_bytes()].concat());
        let kernel = ("ISOBENCH_KERNEL", kernel.to_str().unwrap());
        let answer = probed(&bed, &[fake[0], kernel, ("ISOBENCH_FAKE_FAULT", fault)]);
        assert!(answer.contains(r#""state":"available""#) && answer.contains(why), "{answer}");
    }
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
