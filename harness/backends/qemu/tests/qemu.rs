//! Against the real QEMU: boots, experiments, faults, and what is left behind.
//!
//! Booting is slow under emulation, so a test asks as much as it can of each machine.

use isobench_core::record::Mode;
use isobench_core::{Experiment, FaultKind, Guest};
use isobench_qemu::kernel::Kernel;
use isobench_qemu::machine::Machine;
use isobench_qemu::vm::{LOG_LIMIT, Vm};
use isobench_qemu::{image, unpack};
use isobench_runner::protocol::{BlockRequest, Series, Visit};
use isobench_runner::testing::{TestBed, assert_nothing_left, one_start, skip};
use isobench_runner::{Deadline, Instance, Phases, reap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A bed with a prepared machine; `None` where QEMU cannot run here.
fn bed() -> Option<TestBed> {
    let mut bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-qemu"));
    if !bed.available() {
        return None;
    }
    // Nothing of `prepare` outlives its answer in this backend, so the owner need not.
    bed.own().release();
    Some(bed)
}

/// A request with the deadlines of an emulated processor.
fn request(bed: &TestBed, guest: Guest, artifact: &Path, input: &[u8], visit: Visit) -> BlockRequest {
    let mut request = bed.request("boot", guest, artifact, input, input, visit);
    request.target.emulated = true;
    request
}

/// A guest of a fixture folder, built.
fn built(bed: &TestBed, folder: &str, guest: Guest) -> PathBuf {
    bed.build(Path::new(folder)).artifacts[&guest].as_ref().expect("the fixture builds").path.clone()
}

fn rude(bed: &TestBed) -> PathBuf {
    built(bed, "harness/backends/qemu/tests/rude", Guest::Native)
}

/// A machine with the rude guest, in this process.
fn started(bed: &TestBed, input: &[u8]) -> (BlockRequest, Vm) {
    let block = request(bed, Guest::Native, &rude(bed), input, one_start());
    let machine: Machine = serde_json::from_value(block.prepared.clone()).unwrap();
    fs::create_dir_all(&block.ctx.state).unwrap();
    let image = image(&machine, &block.ctx, &block.target).unwrap();
    let vm = Vm::start(&image, &mut Phases::new(), Deadline::after(Duration::from_secs(60))).unwrap();
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
fn the_kernel_is_taken_out_of_its_image() {
    let Some(bed) = bed() else { return };
    let kernel = Kernel::find(&bed.context()).expect("the probe found it");
    assert!(fs::read(&kernel.image).unwrap().starts_with(unpack::ELF), "{} is no vmlinux", kernel.image.display());
    assert!(kernel.release.starts_with(|c: char| c.is_ascii_digit()), "{}", kernel.release);
    for module in &kernel.modules {
        assert!(fs::read(module).unwrap().starts_with(unpack::ELF), "{} is no module", module.display());
    }
}

#[test]
fn a_native_guest_answers_every_experiment() {
    let Some(bed) = bed() else { return };
    let echo = built(&bed, "workloads/echo", Guest::Native);
    let input: Vec<u8> = (0..1 << 20).map(|i: u32| (i.wrapping_mul(i) >> 7) as u8).collect();
    let warm = Some(Series { min_calls: 20, min_ms: 0, max_calls: 20, max_ms: 60_000 });

    let visit = Visit::ColdStart { starts: 2, warm };
    let outcome = bed.run(&request(&bed, Guest::Native, &echo, &input, visit)).expect_ok();
    let phase = |name: &str| outcome.values(Experiment::ColdStart, name);
    assert_eq!(phase("total").len(), 2);
    for i in 0..2 {
        let parts = ["create", "boot", "load", "first_call"].map(|name| phase(name)[i]);
        assert_eq!(parts.iter().sum::<u64>(), phase("total")[i]);
    }
    assert_eq!(phase("destroy").len(), 2);
    assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 20);

    let visit = Visit::Footprint { instances: vec![1, 2] };
    let outcome = bed.run(&request(&bed, Guest::Native, &echo, b"", visit)).expect_ok();
    let pss = outcome.values(Experiment::Footprint, "pss");
    assert_eq!(pss[0], 0, "nothing is there before the first machine");
    assert!(pss[1] > 64 << 20 && pss[2] > pss[1], "{pss:?}");

    let visit = Visit::Throughput { warm: vec![1, 2], fresh: vec![1], duration_ms: 50 };
    let outcome = bed.run(&request(&bed, Guest::Native, &echo, b"hello", visit)).expect_ok();
    let modes: Vec<(Mode, u32)> = outcome.histograms().iter().map(|&(mode, n, _)| (mode, n)).collect();
    assert_eq!(modes, [(Mode::Warm, 1), (Mode::Warm, 2), (Mode::Fresh, 1)]);
}

#[test]
fn a_wasm_guest_answers() {
    engine_guest_answers(Guest::Wasm);
}

#[test]
fn a_js_guest_answers() {
    engine_guest_answers(Guest::Js);
}

fn engine_guest_answers(guest: Guest) {
    let Some(bed) = bed() else { return };
    if !bed.has_agent(guest) {
        return;
    }
    let echo = built(&bed, "workloads/echo", guest);
    let input = vec![b'x'; 64 << 10];
    bed.run(&request(&bed, guest, &echo, &input, one_start())).expect_ok();
}

#[test]
fn a_guest_that_misbehaves_is_named() {
    let Some(bed) = bed() else { return };
    let rude = rude(&bed);
    let fault = |input: &[u8], kind: FaultKind| {
        let mut request = request(&bed, Guest::Native, &rude, input, one_start());
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
    assert_eq!(vm.call(flood, Deadline::after(Duration::from_secs(60))).unwrap(), flood);
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
    let mut block = request(&bed, Guest::Native, &silent, b"", one_start());
    block.target.limits.emulated_start_deadline_ms = 8_000;
    let outcome = bed.run(&block);
    let message = &outcome.expect_fault(FaultKind::NoHello).message;
    assert!(message.contains("the machine is running"), "{message}");

    let leaving = bed.write("leaving", tiny_program(exit));
    let outcome = bed.run(&request(&bed, Guest::Native, &leaving, b"", one_start()));
    let message = &outcome.expect_fault(FaultKind::ChannelClosed).message;
    assert!(message.contains("Attempted to kill init!"), "{message}");
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
    let fault = vm.call(b"hang", Deadline::after(Duration::from_secs(60))).unwrap_err();
    killer.join().unwrap();
    assert_eq!(fault.kind, FaultKind::BackendFailed, "{fault}");
    assert!(fault.message.contains("QEMU was killed by signal 9"), "{fault}");
    drop(vm);
    assert!(sizes(&block.ctx.state).is_empty(), "neither socket nor log is left");
    assert_eq!(reap::start_time(qemu), None, "the process has been waited for");
}

#[test]
fn a_killed_runner_takes_its_machine_along() {
    let Some(bed) = bed() else { return };
    let block = request(&bed, Guest::Native, &rude(&bed), b"hang", one_start());
    let state = block.ctx.state.clone();
    let killer = std::thread::spawn(move || {
        let deadline = Deadline::after(Duration::from_secs(60));
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
