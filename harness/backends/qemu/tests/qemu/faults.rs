//! What goes wrong has a name, the next start goes on, and nothing is left.

use super::{bed, patience, request, rude, variants};
use isobench_core::{FaultKind, Guest};
use isobench_qemu::image;
use isobench_qemu::machine::Machines;
use isobench_qemu::vm::Vm;
use isobench_qemu::vmm::LOG_LIMIT;
use isobench_runner::client::Runner;
use isobench_runner::protocol::BlockRequest;
use isobench_runner::testing::{Outcome, TestBed, assert_nothing_left, one_start, skip};
use isobench_runner::{Deadline, Instance, Phases, reap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A machine with the rude guest, in this process.
fn started(bed: &TestBed, input: &[u8]) -> (BlockRequest, Vm) {
    let block = request(bed, "boot", Guest::Native, &rude(bed), input, one_start());
    let machines: Machines = serde_json::from_value(block.prepared.clone()).unwrap();
    fs::create_dir_all(&block.ctx.state).unwrap();
    let image = image(&machines, &block.ctx, &block.target).unwrap();
    let vm = Vm::start(&image, &mut Phases::new(), patience()).unwrap();
    (block, vm)
}

fn sizes(dir: &Path) -> Vec<u64> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect()
}

/// A static program of a few bytes: one system call, repeated. Enough to be an init that is no agent.
fn tiny_program(system_call: u8) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    // again: xor edi, edi; mov eax, system_call; syscall; jmp again
    let code = [0x31, 0xff, 0xb8, system_call, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf5];
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2_u16, 62].map(u16::to_le_bytes).concat());
    elf.extend(1_u32.to_le_bytes());
    elf.extend([BASE + HEADERS, 64, 0].map(u64::to_le_bytes).concat());
    elf.extend(0_u32.to_le_bytes());
    elf.extend([64_u16, 56, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    elf.extend([1_u32, 5].map(u32::to_le_bytes).concat());
    let size = HEADERS + code.len() as u64;
    elf.extend([0, BASE, BASE, size, size, 0x1000].map(u64::to_le_bytes).concat());
    elf.extend(code);
    elf
}

#[test]
fn a_guest_that_misbehaves_is_named() {
    let Some(bed) = bed() else { return };
    for variant in variants(&bed) {
        misbehaves(&bed, &variant);
    }
}

fn misbehaves(bed: &TestBed, variant: &str) {
    let rude = rude(bed);
    let fault = |input: &[u8], kind: FaultKind| {
        let mut request = request(bed, variant, Guest::Native, &rude, input, one_start());
        request.target.limits.emulated_call_deadline_ms = 5_000;
        bed.run(&request).expect_fault(kind).message.clone()
    };
    assert!(fault(b"panic", FaultKind::GuestTrap).contains("as told"));
    fault(b"eat", FaultKind::OutOfMemory);
    fault(b"answer too much", FaultKind::FrameTooLarge);
    // The exit of a machine's init is the kernel's end, and the panic's own words say so.
    let message = fault(b"exit", FaultKind::ChannelClosed);
    assert!(message.contains("Kernel panic - not syncing: Attempted to kill init!"), "{message}");
    let message = fault(b"hang", FaultKind::DeadlineExceeded);
    assert!(message.contains("5000 ms"), "{message}");
}

#[test]
fn a_console_that_is_flooded_fills_no_disk() {
    let Some(bed) = bed() else { return };
    let (block, mut vm) = started(&bed, b"");
    let flood = b"flood the console";
    assert_eq!(vm.call(flood, patience()).unwrap(), flood);
    let files: Vec<u64> = sizes(&block.ctx.state);
    assert_eq!(files, [LOG_LIMIT], "the log is full and the only file");
    Box::new(vm).stop(Deadline::after(Duration::from_secs(10))).unwrap();
    assert!(sizes(&block.ctx.state).is_empty());
}

#[test]
fn an_init_that_is_no_agent_is_named() {
    let Some(bed) = bed() else { return };
    let (pause, exit) = (34, 60);
    let silent = bed.write("silent", tiny_program(pause));
    let mut block = request(&bed, "boot", Guest::Native, &silent, b"", one_start());
    block.target.limits.emulated_start_deadline_ms = 8_000;
    let outcome = bed.run(&block);
    let message = &outcome.expect_fault(FaultKind::NoHello).message;
    assert!(message.contains("the machine is running"), "{message}");

    let leaving = bed.write("leaving", tiny_program(exit));
    let outcome = bed.run(&request(&bed, "boot", Guest::Native, &leaving, b"", one_start()));
    let message = &outcome.expect_fault(FaultKind::ChannelClosed).message;
    assert!(message.contains("Attempted to kill init!"), "{message}");

    // Where the machine is booted ahead it is the deployment that fails.
    for variant in ["restore", "paused"] {
        let outcome = bed.run(&request(&bed, variant, Guest::Native, &leaving, b"", one_start()));
        let message = &outcome.expect_fault(FaultKind::ChannelClosed).message;
        assert!(message.contains("deploy") && message.contains("Attempted to kill init!"), "{message}");
    }
}

#[test]
fn a_qemu_killed_in_mid_call_is_named_and_leaves_nothing() {
    let Some(bed) = bed() else { return };
    let (block, mut vm) = started(&bed, b"hang");
    let qemu = *vm.footprint().pids.first().unwrap();
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        // SAFETY: a signal to a child that nobody has waited for.
        unsafe { libc::kill(qemu as i32, libc::SIGKILL) };
    });
    let fault = vm.call(b"hang", patience()).unwrap_err();
    killer.join().unwrap();
    assert_eq!(fault.kind, FaultKind::BackendFailed, "{fault}");
    assert!(fault.message.contains("QEMU was killed by signal 9"), "{fault}");
    drop(vm);
    assert!(sizes(&block.ctx.state).is_empty(), "neither socket nor log is left");
    assert_eq!(reap::start_time(qemu), None, "the process has been waited for");
}

/// Kills the QEMU of a block a while after it has appeared. Answers once that is done, or the block is over.
fn kill_qemu_after(state: PathBuf, delay: Duration) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let deadline = patience();
        while !deadline.passed() {
            let found = reap::with_cookie(&state).into_iter().find(|&pid| comm(pid).starts_with("qemu"));
            if let Some(qemu) = found {
                std::thread::sleep(delay);
                // SAFETY: a signal to a process that was ours by its cookie a moment ago.
                unsafe { libc::kill(qemu as i32, libc::SIGKILL) };
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    })
}

#[test]
fn a_qemu_killed_at_any_moment_is_named_and_leaves_nothing() {
    let Some(bed) = bed() else { return };
    for variant in variants(&bed) {
        // What is prepared once is there.
        eprintln!("killing QEMU of {variant}");
        bed.run(&request(&bed, &variant, Guest::Native, &rude(&bed), b"", one_start())).expect_ok();
        // A start is over in 0.2 s or in 2; the guest then hangs until it is killed.
        for delay in [0, 10, 20, 40, 80, 150, 300, 600, 1200, 3000] {
            let block = request(&bed, &variant, Guest::Native, &rude(&bed), b"hang", one_start());
            let killer = kill_qemu_after(block.ctx.state.clone(), Duration::from_millis(delay));
            let outcome = bed.run(&block);
            killer.join().unwrap();
            let message = &outcome.expect_fault(FaultKind::BackendFailed).message;
            assert!(message.contains("QEMU was killed by signal 9"), "{variant} after {delay} ms: {message}");
        }
    }
}

/// A block of `restore` with a cache of its own, in which its state is the only one.
fn restoring(bed: &TestBed, input: &[u8]) -> BlockRequest {
    let mut block = request(bed, "restore", Guest::Native, &rude(bed), input, one_start());
    block.ctx.cache = bed.write("here", "").with_file_name("cache");
    block
}

fn only_state(block: &BlockRequest) -> PathBuf {
    let entries: Vec<_> = fs::read_dir(block.ctx.cache.join("state")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(entries.len(), 1, "one state, and nothing half-made: {entries:?}");
    entries[0].clone()
}

#[test]
fn a_damaged_state_is_named_and_the_next_start_goes_on() {
    let Some(bed) = bed() else { return };
    let run = || bed.run(&restoring(&bed, b""));
    run().expect_ok();
    let home = only_state(&restoring(&bed, b""));
    let named = |reason: &str| {
        let outcome = run();
        let message = &outcome.expect_fault(FaultKind::BackendFailed).message;
        assert!(message.contains(reason), "{message}");
    };

    let state = fs::read(home.join("state")).unwrap();
    fs::write(home.join("state"), &state[..state.len() / 2]).unwrap();
    named("load of migration failed");
    fs::write(home.join("state"), b"this is no machine").unwrap();
    named("load of migration failed");
    fs::write(home.join("state"), b"").unwrap();
    named("load of migration failed");
    fs::write(home.join("state"), &state).unwrap();
    run().expect_ok();

    let memory = fs::OpenOptions::new().write(true).open(home.join("memory")).unwrap();
    memory.set_len(1 << 20).unwrap();
    named("has 1048576 bytes of memory; remove it");
    fs::remove_file(home.join("memory")).unwrap();
    named("has no memory");
    fs::remove_dir_all(&home).unwrap();
    run().expect_ok();
}

#[test]
fn a_full_disk_is_named() {
    let Some(bed) = bed() else { return };
    let space = bed.write("here", "").with_file_name("space");
    fs::create_dir(&space).unwrap();
    let on_a_small_disk = |variant: &str, mib: u32| -> Outcome {
        let mut block = request(&bed, variant, Guest::Native, &rude(&bed), b"", one_start());
        block.ctx.cache = space.clone();
        // A disk that is full is a file system of that size, mounted where nobody else sees it.
        let script = format!(
            "#!/bin/sh\nexec unshare --user --map-root-user --mount sh -c 'mount -t tmpfs -o size={mib}m none {} && exec {} \"$@\"' sh \"$@\"\n",
            space.display(),
            bed.runner.program.display()
        );
        let program = bed.write("isobench-runner-on-a-small-disk", script);
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let outcome = Outcome(Runner { program, ..bed.runner.clone() }.block(&block, Duration::from_secs(120)));
        assert_nothing_left(&block.ctx);
        outcome
    };
    let mounts = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none"])
        .arg(&space)
        .output();
    if !mounts.is_ok_and(|tried| tried.status.success()) {
        return skip("no file system can be mounted in a namespace");
    }
    for (variant, mib, what) in [("boot", 1, "root file system"), ("restore", 16, "saving a machine: its memory")] {
        let outcome = on_a_small_disk(variant, mib);
        let message = &outcome.expect_fault(FaultKind::DiskFull).message;
        assert!(message.contains(what) && message.contains("No space left on device"), "{message}");
    }
    assert_eq!(fs::read_dir(&space).unwrap().count(), 0, "nothing has been written below it");
    bed.run(&request(&bed, "restore", Guest::Native, &rude(&bed), b"", one_start())).expect_ok();
}

#[test]
fn leftovers_under_the_same_names_are_named() {
    let Some(bed) = bed() else { return };
    let block = restoring(&bed, b"");
    // In the cache they harm nobody.
    let half_made = block.ctx.cache.join("state/part-killed");
    fs::create_dir_all(&half_made).unwrap();
    fs::write(half_made.join("memory"), "half").unwrap();
    bed.run(&block).expect_ok();
    // A socket that somebody may listen on is not ours to take.
    let block = restoring(&bed, b"");
    fs::create_dir_all(&block.ctx.state).unwrap();
    fs::write(block.ctx.state.join("vm0.sock"), "").unwrap();
    let outcome = bed.run(&block);
    let message = &outcome.expect_fault(FaultKind::BackendFailed).message;
    assert!(message.contains("vm0.sock") && message.contains("in use"), "{message}");
}

#[test]
fn a_killed_runner_takes_its_machine_along() {
    let Some(bed) = bed() else { return };
    let block = request(&bed, "boot", Guest::Native, &rude(&bed), b"hang", one_start());
    let state = block.ctx.state.clone();
    let killer = std::thread::spawn(move || {
        let deadline = patience();
        loop {
            let pids = reap::with_cookie(&state);
            let named = |name: &str| pids.iter().copied().find(|pid| comm(*pid).starts_with(name));
            if let (Some(runner), Some(_)) = (named("isobench"), named("qemu")) {
                // SAFETY: a signal to a process that is ours by its cookie.
                unsafe { libc::kill(runner as i32, libc::SIGKILL) };
                return;
            }
            assert!(!deadline.passed(), "no machine was started");
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    // Asserts itself that no process with the cookie is left.
    bed.run(&block).expect_fault(FaultKind::RunnerDied);
    killer.join().unwrap();
    assert_nothing_left(&block.ctx);
}

fn comm(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

#[test]
fn a_kernel_that_is_none_makes_the_backend_unavailable() {
    let bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-qemu"));
    if isobench_qemu::machine::Qemu::find().is_err() {
        return skip("QEMU is not installed");
    }
    let ctx = bed.context();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_isobench-runner-qemu"))
        .arg("probe")
        .env(isobench_qemu::kernel::KERNEL_VARIABLE, "/nonexistent/vmlinux")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), &ctx).unwrap();
    let answer = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(answer.contains("unavailable") && answer.contains("/nonexistent/vmlinux"), "{answer}");
}
