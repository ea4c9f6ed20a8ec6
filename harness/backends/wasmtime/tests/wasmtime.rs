//! The Wasmtime backend through the coordinator: every variant, every experiment, every fault by its name, nothing left
//! behind.

use isobench_core::load::StartLimit;
use isobench_core::record::BoundBy;
use isobench_core::{Experiment, FaultKind, Guest, Record};
use isobench_runner::protocol::{BlockRequest, Density, Visit};
use isobench_runner::testing::{self, Outcome, TestBed, contract, suite};
use std::fs;
use std::path::Path;

/// A guest that echoes, as the start of the fixtures below: `handle` answers with its own request.
const MEMORY: &str = r#"(memory (export "memory") 1)"#;
const ALLOC: &str = r#"(func (export "alloc") (param i32) (result i32) i32.const 1024)"#;
const ECHO: &str = r#"
    (func (export "handle") (param i32 i32) (result i64)
      (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))"#;

fn bed() -> TestBed {
    TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-wasmtime"))
}

fn variants(bed: &TestBed) -> Vec<String> {
    bed.runner.description.variants.iter().map(|variant| variant.name.clone()).collect()
}

/// Runs a guest of these parts on every variant; a failing one is named by what the test prints.
fn on_each(parts: &[&str], visit: &Visit, change: fn(&mut BlockRequest)) -> Vec<Outcome> {
    let bed = bed();
    let guest = bed.write_wat("guest.wasm", &format!("(module {})", parts.join("\n")));
    let run = |variant: String| {
        let mut request = bed.request(&variant, Guest::Wasm, &guest, b"hello", b"hello", visit.clone());
        change(&mut request);
        eprintln!("on {variant}");
        bed.run(&request)
    };
    variants(&bed).into_iter().map(run).collect()
}

/// What loops shall end soon. A start has some more time, because in one variant it compiles first.
fn hurried(request: &mut BlockRequest) {
    request.target.limits.call_deadline_ms = 100;
    request.target.limits.start_deadline_ms = 500;
}

/// A guest whose `handle` is `body` fails so on every variant, and the message says `complaint`.
fn fails(kind: FaultKind, body: &str, complaint: &str) {
    let handle = format!(r#"(func (export "handle") (param i32 i32) (result i64) {body})"#);
    fails_of_parts(kind, &[MEMORY, ALLOC, &handle], complaint);
}

fn fails_of_parts(kind: FaultKind, parts: &[&str], complaint: &str) {
    let change: fn(&mut BlockRequest) = if kind == FaultKind::DeadlineExceeded { hurried } else { |_| {} };
    for outcome in on_each(parts, &testing::one_start(), change) {
        let message = &outcome.expect_fault(kind).message;
        assert!(message.contains(complaint), "{message}");
    }
}

#[test]
fn folders_with_odd_characters_work() {
    let bed = bed();
    variants(&bed).iter().for_each(|variant| suite::odd_folders(&bed, variant, Guest::Wasm));
}

#[test]
fn it_can_run_here_and_says_with_what() {
    match bed().runner.probe(&bed().context()) {
        isobench_core::Availability::Available { versions, emulated: false, .. } => {
            assert!(versions["wasmtime"].starts_with("48."), "{versions:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_keeps_the_contract_of_every_engine() {
    let bed = bed();
    variants(&bed).iter().for_each(|variant| contract::wasm(&bed, variant));
}

#[test]
fn a_workload_of_the_checkout_goes_through_every_experiment() {
    let bed = bed();
    let guest = bed.artifact("workloads/echo", Guest::Wasm);
    for variant in variants(&bed) {
        eprintln!("on {variant}");
        let run = |visit| bed.run(&bed.request(&variant, Guest::Wasm, &guest, b"hello", b"hello", visit)).expect_ok();

        let outcome = run(testing::starts_and_calls());
        // A rung that makes its module inside the clock says what that took.
        let create: &[&str] = match variant.as_str() {
            "compile" | "precompiled" => &["create.module", "create.instance"],
            _ => &["create"],
        };
        for metric in ["total", "load", "first_call", "destroy"].iter().chain(create) {
            assert_eq!(outcome.values(Experiment::ColdStart, metric).len(), 3, "{metric}");
        }
        assert!(outcome.values(Experiment::ColdStart, "boot").is_empty(), "in process there is no agent to boot");
        assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 100);

        let outcome = run(Visit::Footprint { instances: vec![1, 64, 256] });
        assert_eq!(outcome.values(Experiment::Footprint, "pss").len(), 4);

        assert_eq!(run(testing::all_throughput()).histograms().len(), 6);
        for visit in testing::all_load() {
            assert!(!run(visit).0.is_empty());
        }
    }
}

#[test]
fn every_workload_of_the_checkout_answers_correctly_on_every_variant() {
    let bed = bed();
    for name in ["blur", "echo", "json", "nbody", "render", "sha256"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../workloads").join(name);
        let workload = isobench_core::workload::load(&folder).unwrap();
        for (variant, case) in variants(&bed).iter().flat_map(|v| workload.cases.iter().map(move |case| (v, case))) {
            eprintln!("{name}/{} on {variant}", case.name);
            let (guest, input) = (folder.join("guest.wasm"), fs::read(&case.input).unwrap());
            let mut request = bed.request(variant, Guest::Wasm, &guest, &input, b"", testing::one_start());
            request.expected_sha256 = case.expected_sha256.clone();
            request.target.limits = workload.limits.clone();
            bed.run(&request).expect_ok();
        }
    }
}

#[test]
fn more_instances_than_the_pool_has_slots_are_a_limit_of_the_harness() {
    let bed = bed();
    let guest = bed.write_wat("guest.wasm", &format!("(module {MEMORY} {ALLOC} {ECHO})"));
    let density = Density { memory_bytes: None, count: 512, start: StartLimit::Times(1_000), longest_ms: 60_000 };
    let request = bed.request("pooling", Guest::Wasm, &guest, b"hello", b"hello", Visit::Density(density));
    let outcome = bed.run(&request).expect_ok();
    let bound = outcome.0.iter().find_map(|record| match record {
        Record::Bound(bound) => Some(bound),
        _ => None,
    });
    let bound = bound.expect("a density says what ended it");
    assert_eq!((bound.by, bound.n), (BoundBy::Harness, 320), "{}", bound.why);
    assert!(bound.why.contains("limit of 320") && bound.why.contains("isobench gives the pool"), "{}", bound.why);
}

#[test]
fn initialize_and_the_start_section_run_before_the_first_call() {
    // Both add to a global; alloc traps unless both have.
    let parts = [
        MEMORY,
        "(global $g (mut i32) (i32.const 0))",
        "(func $start (global.set $g (i32.add (global.get $g) (i32.const 1))))",
        "(start $start)",
        r#"(func (export "_initialize") (global.set $g (i32.add (global.get $g) (i32.const 2))))"#,
        r#"(func (export "alloc") (param i32) (result i32)
             (if (i32.ne (global.get $g) (i32.const 3)) (then unreachable)) i32.const 1024)"#,
        ECHO,
    ];
    for outcome in on_each(&parts, &testing::one_start(), |_| {}) {
        outcome.expect_ok();
    }
}

#[test]
fn a_trap_is_a_guest_trap_with_its_cause() {
    fails(FaultKind::GuestTrap, "unreachable", "unreachable");
    fails(FaultKind::GuestTrap, "(i64.div_u (i64.const 1) (i64.const 0))", "divide by zero");
    fails(FaultKind::GuestTrap, "(drop (i32.load (i32.const -8))) i64.const 0", "out of bounds memory access");
    fails(FaultKind::GuestTrap, "(call 1 (local.get 0) (local.get 1))", "call stack exhausted");
}

#[test]
fn a_loop_ends_at_the_deadline_wherever_it_is() {
    let late = FaultKind::DeadlineExceeded;
    fails(late, "(loop br 0) i64.const 0", "handle: still running after 100 ms");
    let alloc = r#"(func (export "alloc") (param i32) (result i32) (loop br 0) i32.const 0)"#;
    fails_of_parts(late, &[MEMORY, alloc, ECHO], "alloc");
    let initialize = r#"(func (export "_initialize") (loop br 0))"#;
    fails_of_parts(late, &[MEMORY, ALLOC, ECHO, initialize], "_initialize");
    fails_of_parts(late, &[MEMORY, ALLOC, ECHO, "(func $s (loop br 0)) (start $s)"], "starting");
}

#[test]
fn memory_over_the_limit_is_out_of_memory() {
    // Grows until it is refused, as an allocator does, and then traps.
    let greedy = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    fails(FaultKind::OutOfMemory, greedy, "the limit is 67108864");
    // A module that starts over the limit.
    let large = r#"(memory (export "memory") 2000)"#;
    fails_of_parts(FaultKind::OutOfMemory, &[large, ALLOC, ECHO], "the limit is 67108864");
}

#[test]
fn a_guest_that_lives_with_a_refusal_may_go_on() {
    let handle = r#"(func (export "handle") (param i32 i32) (result i64)
        (drop (memory.grow (i32.const 60000)))
        (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))"#;
    for outcome in on_each(&[MEMORY, ALLOC, handle], &testing::starts_and_calls(), |_| {}) {
        outcome.expect_ok();
    }
}

#[test]
fn answers_that_break_the_contract_are_named() {
    // 1 GiB, of which nothing exists: the limit on frames comes first.
    fails(FaultKind::FrameTooLarge, "i64.const 0x40000000", "1073741824 bytes, the limit is 16777216");
    // Ten bytes, five of them beyond the end.
    let beyond = "(i64.or (i64.shl (i64.const 0xfffb) (i64.const 32)) (i64.const 10))";
    fails(FaultKind::BadAnswer, beyond, "10 bytes at 65531");
    // Room for the request where there is no memory.
    let alloc = r#"(func (export "alloc") (param i32) (result i32) i32.const -1)"#;
    fails_of_parts(FaultKind::BadAnswer, &[MEMORY, alloc, ECHO], "alloc(5)");
    fails(FaultKind::WrongAnswer, "i64.const 3", "3 bytes");
}

#[test]
fn a_module_that_is_none_or_breaks_the_contract_is_invalid() {
    let bed = bed();
    let text = bed.write("text.wasm", "export function handle() {}");
    for variant in variants(&bed) {
        let outcome = bed.run(&bed.request(&variant, Guest::Wasm, &text, b"", b"", testing::one_start()));
        let message = &outcome.expect_fault(FaultKind::InvalidGuest).message;
        assert!(message.contains("text.wasm") && message.contains("not a valid Wasm module"), "{message}");
    }

    for (parts, complaint) in [
        (&[ALLOC, ECHO][..], "no export `memory`"),
        (&[r#"(memory (export "memory") i64 1)"#, ALLOC, ECHO], "a 64-bit memory, not a 32-bit memory"),
        (&[MEMORY, ECHO], "no export `alloc`, a function (i32) → (i32)"),
        (&[MEMORY, ALLOC], "no export `handle`, a function (i32, i32) → (i64)"),
        (
            &[MEMORY, ECHO, r#"(func (export "alloc") (param i64) (result i32) i32.const 0)"#],
            "`alloc` is (i64) → (i32), not (i32) → (i32)",
        ),
        (&[r#"(import "wasi" "exit" (func))"#, MEMORY, ALLOC, ECHO], "it imports `exit` from `wasi`"),
    ] {
        fails_of_parts(FaultKind::InvalidGuest, parts, complaint);
    }
}

#[test]
fn a_fault_in_mid_series_keeps_what_was_measured() {
    let parts = [
        MEMORY,
        ALLOC,
        "(global $calls (mut i32) (i32.const 0))",
        r#"(func (export "handle") (param i32 i32) (result i64)
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (if (i32.gt_u (global.get $calls) (i32.const 11)) (then unreachable))
            (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))"#,
    ];
    for outcome in on_each(&parts, &testing::starts_and_calls(), |_| {}) {
        outcome.expect_fault(FaultKind::GuestTrap);
        assert_eq!(outcome.values(Experiment::ColdStart, "total").len(), 3);
        assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 10);
    }
}

#[test]
fn an_unknown_variant_is_refused() {
    let bed = bed();
    let guest = bed.write_wat("guest.wasm", &format!("(module {MEMORY} {ALLOC} {ECHO})"));
    let outcome = bed.run(&bed.request("fastest", Guest::Wasm, &guest, b"", b"", testing::one_start()));
    assert!(outcome.expect_fault(FaultKind::BackendFailed).message.contains("no variant `fastest`"));
}
