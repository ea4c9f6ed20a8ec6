//! Against the real QEMU: boots, experiments, faults, and what is left behind.
//!
//! Booting is slow under emulation, so a test asks as much as it can of each machine.

mod clones;
mod faults;

use isobench_core::record::Mode;
use isobench_core::{Experiment, Guest};
use isobench_qemu::kernel::Kernel;
use isobench_qemu::{minimal, unpack};
use isobench_runner::place::Places;
use isobench_runner::protocol::{BlockRequest, Series, Visit};
use isobench_runner::testing::{TestBed, one_start, skip};
use isobench_runner::{Deadline, machine};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A bed with a prepared machine; `None` where QEMU cannot run here.
fn bed() -> Option<TestBed> {
    let mut bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-qemu"));
    bring_minimal_kernel(&bed);
    if !bed.available() {
        return None;
    }
    // Nothing of `prepare` outlives its answer in this backend, so the owner need not.
    bed.own().release();
    Some(bed)
}

/// Copies the kernel that the set-up built to where tests keep theirs.
fn bring_minimal_kernel(bed: &TestBed) {
    let kernels = bed.context().cache.join("kernel");
    let built = minimal::folder(&Places::find().expect("a cache").cache.join("kernel"));
    let (Some(built), None) = (built, minimal::folder(&kernels)) else { return };
    fs::create_dir_all(&kernels).unwrap();
    let part = tempfile::tempdir_in(&kernels).unwrap();
    for name in ["vmlinux", "source"] {
        fs::copy(built.join(name), part.path().join(name)).unwrap();
    }
    // It may be there by now, from another test.
    let _ = fs::rename(part.path(), kernels.join(built.file_name().unwrap()));
}

/// The variants that can run here: all, where nothing may be skipped.
fn variants(bed: &TestBed) -> Vec<String> {
    let variants = bed.variants();
    if variants.len() < bed.runner.description.variants.len() {
        skip(format!("of qemu's variants only {variants:?} can run here"));
    }
    variants
}

/// A request with the deadlines of an emulated processor.
fn request(bed: &TestBed, variant: &str, guest: Guest, artifact: &Path, input: &[u8], visit: Visit) -> BlockRequest {
    let mut request = bed.request(variant, guest, artifact, input, input, visit);
    request.target.emulated = true;
    request
}

/// Far over what anything here takes. Each byte on a console is dear where KVM's guests run in an emulated machine.
fn patience() -> Deadline {
    Deadline::after(Duration::from_secs(if machine::is_emulated() { 600 } else { 60 }))
}

fn rude(bed: &TestBed) -> PathBuf {
    bed.artifact("harness/backends/qemu/tests/rude", Guest::Native)
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
    for variant in variants(&bed) {
        every_experiment(&bed, &variant);
    }
}

fn every_experiment(bed: &TestBed, variant: &str) {
    let echo = bed.artifact("workloads/echo", Guest::Native);
    let input: Vec<u8> = (0..1 << 20).map(|i: u32| (i.wrapping_mul(i) >> 7) as u8).collect();
    let warm = Some(Series { min_calls: 20, min_ms: 0, max_calls: 20, max_ms: 60_000 });

    let visit = Visit::ColdStart { starts: 2.into(), warm };
    let outcome = bed.run(&request(bed, variant, Guest::Native, &echo, &input, visit)).expect_ok();
    let phase = |name: &str| outcome.values(Experiment::ColdStart, name);
    assert_eq!(phase("total").len(), 2, "{variant}");
    for i in 0..2 {
        let parts = ["create", "boot", "load", "first_call"].map(|name| phase(name)[i]);
        assert_eq!(parts.iter().sum::<u64>(), phase("total")[i], "{variant}");
    }
    assert_eq!(phase("destroy").len(), 2, "{variant}");
    assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 20, "{variant}");

    let visit = Visit::Footprint { instances: vec![1, 2] };
    let outcome = bed.run(&request(bed, variant, Guest::Native, &echo, b"", visit)).expect_ok();
    let pss = outcome.values(Experiment::Footprint, "pss");
    // A machine ahead is there before the first instance, and becomes it.
    assert_eq!(pss[0] > 0, variant == "paused", "{variant}: {pss:?}");
    assert!(pss[1] > 16 << 20 && pss[2] > pss[1], "{variant}: {pss:?}");
    // The guest's view is its own: less than what the VMM needs for it, and there is none without a guest.
    let inside = outcome.values(Experiment::Footprint, "guest_used");
    assert!(inside.len() == 2 && 0 < inside[0] && inside[0] < pss[1] && inside[0] < inside[1], "{variant}: {inside:?}");

    let visit = Visit::Throughput { warm: vec![1, 2], fresh: vec![1], duration_ms: 50 };
    let outcome = bed.run(&request(bed, variant, Guest::Native, &echo, b"hello", visit)).expect_ok();
    let modes: Vec<(Mode, u32)> = outcome.histograms().iter().map(|&(mode, n, _)| (mode, n)).collect();
    assert_eq!(modes, [(Mode::Warm, 1), (Mode::Warm, 2), (Mode::Fresh, 1)], "{variant}");
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
    let echo = bed.artifact("workloads/echo", guest);
    let input = vec![b'x'; 64 << 10];
    for variant in variants(&bed) {
        bed.run(&request(&bed, &variant, guest, &echo, &input, one_start())).expect_ok();
    }
}
