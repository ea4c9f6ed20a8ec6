//! The Wasmtime backend through the coordinator: every experiment, every fault by its name, nothing left behind.

use isobench_core::{Experiment, FaultKind, Guest};
use isobench_runner::protocol::{BlockRequest, Visit};
use isobench_runner::testing::{self, TestBed};

/// A guest that echoes, as the start of the fixtures below: `handle` answers with its own request.
const MEMORY: &str = r#"(memory (export "memory") 1)"#;
const ALLOC: &str = r#"(func (export "alloc") (param i32) (result i32) i32.const 1024)"#;
const ECHO: &str = r#"
    (func (export "handle") (param i32 i32) (result i64)
      (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))"#;

fn bed() -> TestBed {
    TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-wasmtime"))
}

fn request(bed: &TestBed, parts: &[&str], visit: Visit) -> BlockRequest {
    let guest = bed.write_wat("guest.wasm", &format!("(module {})", parts.join("\n")));
    bed.request("pooling", Guest::Wasm, &guest, b"hello", b"hello", visit)
}

/// A guest whose `handle` is `body`, run once with a short deadline; answers with the fault's message.
fn fault_of(kind: FaultKind, body: &str) -> String {
    let handle = format!(r#"(func (export "handle") (param i32 i32) (result i64) {body})"#);
    fault_of_parts(kind, &[MEMORY, ALLOC, &handle])
}

fn fault_of_parts(kind: FaultKind, parts: &[&str]) -> String {
    let bed = bed();
    let mut request = request(&bed, parts, testing::one_start());
    request.target.limits.call_deadline_ms = 100;
    request.target.limits.start_deadline_ms = 100;
    bed.run(&request).expect_fault(kind).message.clone()
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
fn a_workload_of_the_checkout_goes_through_every_experiment() {
    let bed = bed();
    let guest = bed.artifact("workloads/echo", Guest::Wasm);
    let run = |visit| bed.run(&bed.request("pooling", Guest::Wasm, &guest, b"hello", b"hello", visit)).expect_ok();

    let outcome = run(testing::starts_and_calls());
    for metric in ["total", "create", "load", "first_call", "destroy"] {
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

#[test]
fn initialize_and_the_start_section_run_before_the_first_call() {
    // Both add to a global; alloc traps unless both have.
    let outcome = {
        let bed = bed();
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
        bed.run(&request(&bed, &parts, testing::one_start()))
    };
    outcome.expect_ok();
}

#[test]
fn a_trap_is_a_guest_trap_with_its_cause() {
    assert!(fault_of(FaultKind::GuestTrap, "unreachable").contains("unreachable"));
    let divide = "(i64.div_u (i64.const 1) (i64.const 0))";
    assert!(fault_of(FaultKind::GuestTrap, divide).contains("divide by zero"));
    let beyond = "(drop (i32.load (i32.const -8))) i64.const 0";
    assert!(fault_of(FaultKind::GuestTrap, beyond).contains("out of bounds memory access"));
    let recursion = "(call 1 (local.get 0) (local.get 1))";
    assert!(fault_of(FaultKind::GuestTrap, recursion).contains("call stack exhausted"));
}

#[test]
fn a_loop_ends_at_the_deadline_wherever_it_is() {
    let message = fault_of(FaultKind::DeadlineExceeded, "(loop br 0) i64.const 0");
    assert!(message.contains("handle: still running after 100 ms"), "{message}");
    let alloc = r#"(func (export "alloc") (param i32) (result i32) (loop br 0) i32.const 0)"#;
    assert!(fault_of_parts(FaultKind::DeadlineExceeded, &[MEMORY, alloc, ECHO]).contains("alloc"));
    let initialize = r#"(func (export "_initialize") (loop br 0))"#;
    assert!(fault_of_parts(FaultKind::DeadlineExceeded, &[MEMORY, ALLOC, ECHO, initialize]).contains("_initialize"));
    let start = "(func $s (loop br 0)) (start $s)";
    assert!(fault_of_parts(FaultKind::DeadlineExceeded, &[MEMORY, ALLOC, ECHO, start]).contains("starting"));
}

#[test]
fn memory_over_the_limit_is_out_of_memory() {
    // Grows until it is refused, as an allocator does, and then traps.
    let greedy = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let message = fault_of(FaultKind::OutOfMemory, greedy);
    assert!(message.contains("the limit is 67108864"), "{message}");
    // A module that starts over the limit.
    let large = r#"(memory (export "memory") 2000)"#;
    fault_of_parts(FaultKind::OutOfMemory, &[large, ALLOC, ECHO]);
}

#[test]
fn a_guest_that_lives_with_a_refusal_may_go_on() {
    let bed = bed();
    let handle = r#"(func (export "handle") (param i32 i32) (result i64)
        (drop (memory.grow (i32.const 60000)))
        (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))"#;
    bed.run(&request(&bed, &[MEMORY, ALLOC, handle], testing::starts_and_calls())).expect_ok();
}

#[test]
fn answers_that_break_the_contract_are_named() {
    // 1 GiB, of which nothing exists: the limit on frames comes first.
    let message = fault_of(FaultKind::FrameTooLarge, "i64.const 0x40000000");
    assert!(message.contains("1073741824 bytes, the limit is 16777216"), "{message}");
    // Ten bytes, five of them beyond the end.
    fault_of(FaultKind::BadAnswer, "(i64.or (i64.shl (i64.const 0xfffb) (i64.const 32)) (i64.const 10))");
    // Room for the request where there is no memory.
    let alloc = r#"(func (export "alloc") (param i32) (result i32) i32.const -1)"#;
    assert!(fault_of_parts(FaultKind::BadAnswer, &[MEMORY, alloc, ECHO]).contains("alloc(5)"));
    fault_of(FaultKind::WrongAnswer, "i64.const 3");
}

#[test]
fn a_module_that_is_none_or_breaks_the_contract_is_invalid() {
    let bed = bed();
    let text = bed.write("text.wasm", "export function handle() {}");
    let outcome = bed.run(&bed.request("pooling", Guest::Wasm, &text, b"", b"", testing::one_start()));
    let message = &outcome.expect_fault(FaultKind::InvalidGuest).message;
    assert!(message.contains("text.wasm") && message.contains("not a valid Wasm module"), "{message}");

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
        let message = fault_of_parts(FaultKind::InvalidGuest, parts);
        assert!(message.contains(complaint), "{message}");
    }
}

#[test]
fn a_fault_in_mid_series_keeps_what_was_measured() {
    let bed = bed();
    let parts = [
        MEMORY,
        ALLOC,
        "(global $calls (mut i32) (i32.const 0))",
        r#"(func (export "handle") (param i32 i32) (result i64)
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (if (i32.gt_u (global.get $calls) (i32.const 11)) (then unreachable))
            (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))"#,
    ];
    let outcome = bed.run(&request(&bed, &parts, testing::starts_and_calls()));
    outcome.expect_fault(FaultKind::GuestTrap);
    assert_eq!(outcome.values(Experiment::ColdStart, "total").len(), 3);
    assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 10);
}

#[test]
fn instances_share_nothing_that_a_guest_can_write() {
    // Counts calls in its memory and answers with the count only on the first: any reuse of dirty memory shows.
    let bed = bed();
    let parts = [
        r#"(memory (export "memory") 1) (data (i32.const 0) "hello")"#,
        ALLOC,
        r#"(func (export "handle") (param i32 i32) (result i64)
            (if (i32.load (i32.const 65528)) (then unreachable))
            (i32.store (i32.const 65528) (i32.const 1))
            (i32.store8 (i32.const 0) (i32.const 104))
            i64.const 5)"#,
    ];
    let visit = Visit::ColdStart { starts: 50, warm: None };
    let outcome = bed.run(&request(&bed, &parts, visit)).expect_ok();
    assert_eq!(outcome.values(Experiment::ColdStart, "total").len(), 50);
}
