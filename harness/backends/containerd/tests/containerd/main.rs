//! The `containerd` backend through the coordinator: every experiment, every fault by its name, nothing left behind.
//!
//! Without containerd and root to start one, the tests are skipped, loudly.

mod debris;

use isobench_containerd::Containerd;
use isobench_core::{Experiment, FaultKind, Guest};
use isobench_runner::testing::{TestBed, one_start, starts_and_calls, suite};
use std::process::ExitCode;

/// What a test does, in words, and the test.
type Named<T> = (&'static str, T);
/// What is tested of a variant.
type OfVariant = fn(&TestBed, &str);

/// Of every variant that works here, with one daemon.
const TESTS: [Named<OfVariant>; 9] = [
    ("every guest goes through every experiment", every_experiment),
    ("the phases add up", phases),
    ("what a native guest does wrong has a name and a reason", suite::native_faults),
    ("faults of Wasm guests keep their names", suite::wasm_faults),
    ("faults of JS guests keep their names", suite::js_faults),
    ("a guest sees nothing of the environment but the cookie", environment),
    ("a program that is none is an invalid guest", no_program),
    ("stop, drop and death leave nothing", |bed, variant| suite::stop_drop_and_death(bed, &Containerd, variant)),
    ("what one instance was told is not seen by the next", |bed, variant| {
        suite::a_canary(bed, &Containerd, variant, CANARIES)
    }),
];

const DESTRUCTIVE: [Named<fn()>; 9] = [
    ("a killed runner's container goes with the next block", debris::killed_runner),
    ("leftovers of the same name do not break a start", debris::leftovers),
    ("a killed shim is a fault, and the next block runs", debris::killed_shim),
    ("a containerd that is killed at any time is a fault, and nothing is left", debris::killed_containerd),
    ("a runtime that is killed, hangs or is none is a fault", debris::killed_runtime),
    ("a corrupt image and a full disk are faults, and the next block runs", debris::corrupt_image_and_full_disk),
    ("a killed owner leaves what clean removes", debris::killed_owner),
    ("a containerd that the user names is used, and left as it was", debris::named_daemon),
    ("one that does not answer is not used, and that is said", debris::absent_daemon),
];

/// Instances that follow a canary: each is 0.1 s.
const CANARIES: u32 = 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // A debugging aid: names that contain the first argument. Other arguments are libtest's, and not for us.
    let wanted = |name: &str| args.iter().find(|a| !a.starts_with('-')).is_none_or(|filter| name.contains(filter));
    if args.iter().any(|a| a == "--list") || !bed().available() {
        return ExitCode::SUCCESS;
    }
    let mut bed = bed();
    let owner = bed.own();
    let tracks = debris::tracks(&owner);
    let variants = bed.variants();
    assert!(variants.iter().any(|v| v == "runc"), "what is tested at least");
    for (name, test) in TESTS.into_iter().filter(|(name, _)| wanted(name)) {
        for variant in &variants {
            test(&bed, variant);
            assert_eq!(tracks.containers(), 0, "containers");
            println!("ok: {variant}: {name}");
        }
    }
    owner.release();
    tracks.assert_gone();
    for (name, test) in DESTRUCTIVE.into_iter().filter(|(name, _)| wanted(name)) {
        test();
        println!("ok: {name}");
    }
    ExitCode::SUCCESS
}

fn bed() -> TestBed {
    TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-containerd"))
}

fn every_experiment(bed: &TestBed, variant: &str) {
    for guest in Guest::ALL {
        // containerd is there before the first instance.
        assert!(suite::every_experiment(bed, variant, guest).is_none_or(|before| before > 0));
    }
}

fn phases(bed: &TestBed, variant: &str) {
    let echo = bed.artifact("workloads/echo", Guest::Native);
    let request = bed.request(variant, Guest::Native, &echo, b"hello", b"hello", starts_and_calls());
    let outcome = bed.run(&request).expect_ok();
    let values = |metric| outcome.values(Experiment::ColdStart, metric);
    let phases = ["create.snapshot", "create.container", "create.task", "create.start", "boot", "load", "first_call"];
    for start in 0..3 {
        assert_eq!(phases.iter().map(|p| values(p)[start]).sum::<u64>(), values("total")[start], "{variant}");
    }
}

fn environment(bed: &TestBed, variant: &str) {
    // Runtimes add the second.
    bed.run(&suite::telling(bed, variant, "show the environment", "ISOBENCH_COOKIE HOME ")).expect_ok();
}

fn no_program(bed: &TestBed, variant: &str) {
    let text = bed.write("text", "hello");
    let request = bed.request(variant, Guest::Native, &text, b"", b"", one_start());
    bed.run(&request).expect_fault(FaultKind::InvalidGuest);
}
