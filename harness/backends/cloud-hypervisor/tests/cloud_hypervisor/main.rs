//! Against a Cloud Hypervisor that is none (`tests/fake`), whose guests are the real agents as processes; and the same
//! against the real one where there is one and KVM boots its guests.

mod api;
mod faults;

use isobench_cloud_hypervisor::machine::PROGRAM_VARIABLE;
use isobench_cloud_hypervisor::variant::Variant;
use isobench_core::record::Mode;
use isobench_core::{Availability, Experiment, Guest};
use isobench_runner::machine;
use isobench_runner::protocol::{BlockRequest, CleanRequest, Series, Visit};
use isobench_runner::testing::{TestBed, one_start, skip, suite};
use std::path::{Path, PathBuf};

/// The fake, and what it takes for a kernel.
const FAKE: &str = env!("CARGO_BIN_EXE_isobench-fake-cloud-hypervisor");
const KERNEL: &[u8] = b"\x7fELF....Linux version 6.1.0-fake (nobody)";
const RUNNER: &str = env!("CARGO_BIN_EXE_isobench-runner-cloud-hypervisor");

/// A bed with the fake; `None` where it lacks what only `make build` builds, or time.
fn fake_bed() -> Option<TestBed> {
    if machine::is_emulated() {
        eprintln!("NOTE: not run against the fake, which shows nothing on an emulated machine but how slow that is");
        return None;
    }
    let mut bed = TestBed::new(RUNNER);
    let kernel = bed.write("vmlinux", KERNEL);
    bed.runner.env.insert(PROGRAM_VARIABLE.into(), FAKE.into());
    bed.runner.env.insert("ISOBENCH_KERNEL".into(), kernel.display().to_string());
    if !bed.available() {
        return None;
    }
    // Nothing of `prepare` outlives its answer in this backend, so the owner need not.
    bed.own().release();
    Some(bed)
}

/// A bed with the real one. That there is none is no reason to skip a test, which has run against the fake by then: CI
/// has no KVM. It is said, loudly.
fn real_bed() -> Option<TestBed> {
    let mut bed = TestBed::new(RUNNER);
    match bed.runner.probe(&bed.context()) {
        Availability::Available { .. } => {
            bed.own().release();
            Some(bed)
        }
        Availability::Unavailable { reason, .. } => {
            eprintln!("NOTE: not run against the real Cloud Hypervisor: {reason}");
            None
        }
    }
}

/// What `test` says of every variant, of the fake and of the real one.
fn of_each(test: impl Fn(&TestBed, &str)) {
    if let Some(bed) = fake_bed() {
        let variants = bed.variants();
        if variants.len() < Variant::ALL.len() {
            skip(format!("of cloud-hypervisor's variants only {variants:?} can run here"));
        }
        variants.iter().for_each(|variant| test(&bed, variant));
    }
    if let Some(bed) = real_bed() {
        bed.variants().iter().for_each(|variant| test(&bed, variant));
    }
}

fn echo(bed: &TestBed) -> PathBuf {
    bed.artifact("workloads/echo", Guest::Native)
}

fn one(bed: &TestBed, variant: &str, artifact: &Path) -> BlockRequest {
    bed.request(variant, Guest::Native, artifact, b"hello", b"hello", one_start())
}

#[test]
fn a_native_guest_answers_every_experiment() {
    of_each(|bed, variant| {
        let echo = echo(bed);
        let run = |visit| bed.run(&bed.request(variant, Guest::Native, &echo, b"hello", b"hello", visit)).expect_ok();
        let warm = Some(Series { min_calls: 20, min_ms: 0, max_calls: 20, max_ms: 60_000 });
        let outcome = run(Visit::ColdStart { starts: 2, warm });
        let phase = |name: &str| outcome.values(Experiment::ColdStart, name);
        let parts: &[&str] = match variant {
            "boot" => &["create.spawn", "create.configure", "create.start", "boot", "load", "first_call"],
            "paused" => &["create", "boot", "load", "first_call"],
            _ => &["create.spawn", "create.load", "boot", "load", "first_call"],
        };
        for i in 0..2 {
            let sum: u64 = parts.iter().map(|name| phase(name)[i]).sum();
            assert_eq!(sum, phase("total")[i], "{variant}");
        }
        assert_eq!(phase("destroy").len(), 2, "{variant}");
        assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 20, "{variant}");

        let outcome = run(Visit::Footprint { instances: vec![1, 2] });
        let rss = outcome.values(Experiment::Footprint, "rss");
        // A machine ahead is there before the first instance, and becomes it.
        assert_eq!(rss[0] > 0, variant == "paused", "{variant}: {rss:?}");
        assert!(rss[1] > 0 && rss[2] > rss[1], "{variant}: {rss:?}");
        assert_eq!(outcome.values(Experiment::Footprint, "guest_used").len(), 2, "{variant}");

        let outcome = run(Visit::Throughput { warm: vec![1, 2], fresh: vec![1], duration_ms: 50 });
        let modes: Vec<(Mode, u32)> = outcome.histograms().iter().map(|&(mode, n, _)| (mode, n)).collect();
        assert_eq!(modes, [(Mode::Warm, 1), (Mode::Warm, 2), (Mode::Fresh, 1)], "{variant}");
    });
}

#[test]
fn wasm_and_js_guests_answer() {
    of_each(|bed, variant| {
        for guest in [Guest::Wasm, Guest::Js] {
            if bed.has_agent(guest) {
                let echo = bed.artifact("workloads/echo", guest);
                bed.run(&bed.request(variant, guest, &echo, b"hello", b"hello", one_start())).expect_ok();
            }
        }
    });
}

#[test]
fn a_killed_runner_leaves_no_process_no_socket_and_no_folder() {
    if let Some(bed) = fake_bed() {
        // Runner, Cloud Hypervisor, and the fake's guest, which is a process.
        suite::a_killed_runner(&bed, "boot", 3);
        suite::a_killed_runner(&bed, "restore", 3);
        let left = bed.runner.clean(&CleanRequest { ctx: bed.context(), dead: Vec::new() }).expect("a clean");
        assert_eq!(left, Vec::<String>::new());
    }
    if let Some(bed) = real_bed() {
        suite::a_killed_runner(&bed, "boot", 2);
    }
}
