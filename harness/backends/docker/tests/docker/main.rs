//! The `docker` backend through the coordinator: every experiment, every fault by its name, nothing left behind.
//!
//! Without a daemon, and without dockerd and root to start one, the tests are skipped, loudly.

mod debris;
mod fakes;
mod guest;

use guest::{NO_HELLO, SILENT};
use isobench_core::{Experiment, FaultKind, Guest, Record, SampleFlag};
use isobench_runner::protocol::{BlockRequest, Visit};
use isobench_runner::testing::{self, TestBed};
use std::path::Path;
use std::process::ExitCode;

/// What a test does, in words, and the test.
type Named<T> = (&'static str, T);

const TESTS: [Named<fn(&TestBed)>; 6] = [
    ("every experiment gives its samples", every_experiment),
    ("every variant gives its samples and names its faults", every_variant),
    ("every kind of guest of the checkout runs", every_guest),
    ("every fault of a guest has its name", every_fault),
    ("a start that comes to nothing has its name", failed_starts),
    ("a killed runner's container goes with the next block", debris::killed_runner),
];
const DESTRUCTIVE: [Named<fn()>; 11] = [
    ("a killed shim is a fault, and the next block runs", debris::killed_shim),
    ("a killed containerd is no more than a fault, and nothing is left", debris::killed_containerd),
    ("a killed dockerd is a fault, and nothing of it is left", debris::killed_dockerd),
    ("a killed owner leaves what clean removes", debris::killed_owner),
    ("a system daemon is used, and left as it was", debris::system_daemon),
    ("a run is prepared on the daemon of its probe", debris::changed_daemon),
    ("a remote daemon is not used, and that is said", fakes::elsewhere),
    ("what is no daemon is not used, and that is said", fakes::garbage),
    ("a daemon of another time is not used, and both versions are said", fakes::other_versions),
    ("a daemon that does not answer costs one wait", fakes::silent),
    ("a named daemon that is not there is not replaced", fakes::nothing_there),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "--connect") {
        return guest::main();
    }
    // A debugging aid: names that contain the first argument. Other arguments are libtest's, and not for us.
    let wanted = |name: &str| args.iter().find(|a| !a.starts_with('-')).is_none_or(|filter| name.contains(filter));
    if args.iter().any(|a| a == "--list") || !bed().available() {
        return ExitCode::SUCCESS;
    }
    let mut bed = bed();
    let owner = bed.own();
    for (name, test) in TESTS.into_iter().filter(|(name, _)| wanted(name)) {
        test(&bed);
        debris::no_container_in(&owner);
        println!("ok: {name}");
    }
    let tracks = debris::tracks(&owner);
    owner.release();
    tracks.assert_gone();
    for (name, test) in DESTRUCTIVE.into_iter().filter(|(name, _)| wanted(name)) {
        test();
        println!("ok: {name}");
    }
    ExitCode::SUCCESS
}

fn bed() -> TestBed {
    TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-docker"))
}

/// This program as the guest, sent `input`.
fn request(bed: &TestBed, input: &[u8], visit: Visit) -> BlockRequest {
    request_of(bed, "runc", input, visit)
}

fn request_of(bed: &TestBed, variant: &str, input: &[u8], visit: Visit) -> BlockRequest {
    let this = std::env::current_exe().expect("this program");
    bed.request(variant, Guest::Native, &this, input, input, visit)
}

fn every_variant(bed: &TestBed) {
    let variants = bed.variants();
    for must in ["runc", "precreated", "unpause", "exec"] {
        assert!(variants.iter().any(|v| v == must), "every daemon has {must}");
    }
    for variant in variants {
        let run = |input: &[u8], visit| bed.run(&request_of(bed, &variant, input, visit));
        let outcome = run(b"hello", testing::starts_and_calls()).expect_ok();
        let values = |metric| outcome.values(Experiment::ColdStart, metric);
        let phases = ["create.api", "create.start", "create.unpause", "boot", "load", "first_call"];
        for (start, total) in values("total").into_iter().enumerate() {
            let sum: u64 = phases.iter().filter_map(|p| values(p).get(start).copied()).sum();
            assert_eq!(sum, total, "{variant}");
        }
        let padded = variant.starts_with("image-");
        let first = |r: &&Record| matches!(r, Record::Samples(s) if s.flags == [SampleFlag::FirstAfterImport] && s.metric == "total");
        assert_eq!(outcome.0.iter().filter(first).count(), usize::from(padded), "{variant}");
        let created = match &*variant {
            "precreated" | "unpause" => 0,
            _ if padded => 4,
            _ => 3,
        };
        assert_eq!(values("create.api").len(), created, "{variant}");

        let outcome = run(b"hello", Visit::Footprint { instances: vec![1, 2, 4] }).expect_ok();
        let rss = outcome.values(Experiment::Footprint, "rss");
        assert!(rss[0] > 0 && rss[1..].is_sorted_by(|a, b| a < b), "{variant}: {rss:?}");
        // What follows is the same container, whatever it was made from.
        if padded && variant != "image-1mb" {
            println!("ok: {variant}");
            continue;
        }
        run(b"hello", testing::all_throughput()).expect_ok();

        for (input, kind) in [
            ("panic", FaultKind::GuestTrap),
            ("abort", FaultKind::GuestTrap),
            ("exit", FaultKind::ChannelClosed),
            ("grow", FaultKind::OutOfMemory),
            ("long", FaultKind::FrameTooLarge),
            ("loop", FaultKind::DeadlineExceeded),
        ] {
            let mut request = request_of(bed, &variant, input.as_bytes(), testing::one_start());
            request.target.limits.call_deadline_ms = if input == "loop" { 300 } else { 30_000 };
            bed.run(&request).expect_fault(kind);
        }
        println!("ok: {variant}");
    }
}

fn every_experiment(bed: &TestBed) {
    let outcome = bed.run(&request(bed, b"hello", testing::starts_and_calls())).expect_ok();
    let values = |metric| outcome.values(Experiment::ColdStart, metric);
    let phases = ["create.api", "create.start", "boot", "load", "first_call"];
    for metric in phases.iter().chain(&["total", "destroy"]) {
        assert_eq!(values(metric).len(), 3, "{metric}");
    }
    for start in 0..3 {
        assert_eq!(phases.iter().map(|p| values(p)[start]).sum::<u64>(), values("total")[start]);
    }
    assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 100);

    let outcome = bed.run(&request(bed, b"hello", Visit::Footprint { instances: vec![1, 2] })).expect_ok();
    let pss = outcome.values(Experiment::Footprint, "pss");
    assert_eq!(pss.len(), 3);
    assert!(0 < pss[0] && pss[0] < pss[1] && pss[1] < pss[2], "{pss:?}");
    // There is none before there is a container.
    let cgroup = outcome.values(Experiment::Footprint, "cgroup");
    assert!(cgroup.len() == 2 && cgroup[0] < cgroup[1], "{cgroup:?}");

    assert_eq!(bed.run(&request(bed, b"hello", testing::all_throughput())).expect_ok().histograms().len(), 6);
    for visit in testing::all_load() {
        bed.run(&request(bed, b"hello", visit)).expect_ok();
    }

    let mut shut_in = request(bed, b"uid", testing::one_start());
    shut_in.expected_sha256 = isobench_core::sha256_hex(b"true");
    bed.run(&shut_in).expect_ok();
}

fn every_guest(bed: &TestBed) {
    let built = bed.build(Path::new("workloads/echo"));
    for guest in Guest::ALL {
        if guest == Guest::Native || bed.has_agent(guest) {
            let artifact = &built.artifacts[&guest].as_ref().expect("the guest").path;
            let request = bed.request("runc", guest, artifact, b"hello", b"hello", testing::starts_and_calls());
            bed.run(&request).expect_ok();
        }
    }
}

fn every_fault(bed: &TestBed) {
    let fault = |input: &[u8], kind| {
        let mut request = request(bed, input, testing::one_start());
        request.target.limits.call_deadline_ms = if input == b"loop" { 300 } else { 30_000 };
        request.expected_sha256 = isobench_core::sha256_hex(b"hello");
        bed.run(&request).expect_fault(kind).message.clone()
    };
    assert!(fault(b"panic", FaultKind::GuestTrap).contains("at the disco"));
    assert!(fault(b"exit", FaultKind::ChannelClosed).contains("exit code 3"));
    fault(b"loop", FaultKind::DeadlineExceeded);
    fault(b"grow", FaultKind::OutOfMemory);
    fault(b"abort", FaultKind::GuestTrap);
    assert!(fault(b"share", FaultKind::OutOfMemory).contains("the container"));
    fault(b"long", FaultKind::FrameTooLarge);
    fault(b"wrong", FaultKind::WrongAnswer);
}

fn failed_starts(bed: &TestBed) {
    let fault = |memory: u64, kind| {
        let mut request = request(bed, b"hello", testing::one_start());
        request.target.limits.memory_bytes = memory;
        // Long enough for a daemon on a busy machine, which is not what is to be late.
        request.target.limits.start_deadline_ms = 5_000;
        bed.run(&request).expect_fault(kind).message.clone()
    };
    assert!(fault(SILENT, FaultKind::NoHello).contains("did not connect"));
    assert!(fault(NO_HELLO, FaultKind::NoHello).contains("hello"));

    let text = bed.write("agent", "not a program");
    let request = |artifact| bed.request("runc", Guest::Native, artifact, b"", b"", testing::one_start());
    let outcome = bed.run(&request(&text));
    assert!(outcome.expect_fault(FaultKind::NoHello).message.contains("a static program"));

    // A program that ends at once: its standard input is empty.
    let hasty = Path::new(env!("CARGO_BIN_EXE_isobench-by-hand-docker"));
    bed.run(&request(hasty)).expect_fault(FaultKind::NoHello);
}
