//! The runner against the real V8: what works, and every way in which a guest can fail.

use isobench_core::{FaultKind, Guest, sha256_hex};
use isobench_runner::protocol::{BlockRequest, Visit};
use isobench_runner::testing::js::{ECHO, JsEngine};
use isobench_runner::testing::{TestBed, contract, one_start};
use std::path::Path;

/// The variants that run JS guests, and those that run Wasm guests.
const ENGINE: JsEngine = JsEngine {
    runner: env!("CARGO_BIN_EXE_isobench-runner-v8"),
    variants: &["fresh", "code-cache", "snapshot", "pool", "context", "jitless"],
};
const WASM: JsEngine = JsEngine { runner: ENGINE.runner, variants: &["fresh", "module-cache", "pool", "context"] };

/// A Wasm guest from the bodies of its two functions; one page of memory, two at most.
fn wat(alloc: &str, handle: &str) -> String {
    format!(
        "(module (memory (export \"memory\") 1 2)
           (func (export \"alloc\") (param $len i32) (result i32) {alloc})
           (func (export \"handle\") (param $ptr i32) (param $len i32) (result i64) {handle}))"
    )
}

/// The request itself, packed as an answer.
const WAT_ECHO: &str = "(i64.or (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32))
                                (i64.extend_i32_u (local.get $len)))";

fn wasm(bed: &TestBed, variant: &str, text: &str) -> BlockRequest {
    let guest = bed.write_wat("guest.wasm", text);
    bed.request(variant, Guest::Wasm, &guest, b"ping", b"ping", one_start())
}

fn wasm_fault(text: &str, kind: FaultKind, told: &str) {
    WASM.must_fail(kind, told, |bed, variant| wasm(bed, variant, text));
}

#[test]
fn every_experiment_succeeds_for_both_guests() {
    let bed = ENGINE.bed();
    let js = ENGINE.variants.iter().map(|variant| (*variant, ENGINE.request(&bed, variant, ECHO)));
    JsEngine::every_experiment(&bed, js);
    let echo = wat("i32.const 64", WAT_ECHO);
    JsEngine::every_experiment(&bed, WASM.variants.iter().map(|variant| (*variant, wasm(&bed, variant, &echo))));
}

#[test]
fn it_keeps_the_contract_of_every_engine() {
    let bed = ENGINE.bed();
    ENGINE.variants.iter().for_each(|variant| contract::js(&bed, variant));
    WASM.variants.iter().for_each(|variant| contract::wasm(&bed, variant));
}

#[test]
fn every_workload_is_answered() {
    ENGINE.every_workload();
}

#[test]
fn nothing_stays_from_one_instance_or_call_to_the_next() {
    ENGINE.nothing_stays();
}

#[test]
fn modules_that_are_wrong_are_named_with_their_line() {
    ENGINE.modules_that_are_refused();
}

#[test]
fn throws_are_named_with_their_line() {
    ENGINE.throws();
}

#[test]
fn loops_end_at_the_deadline() {
    ENGINE.loops();
}

#[test]
fn wrong_answers_are_named() {
    ENGINE.wrong_answers();
}

#[test]
fn memory_without_end_is_stopped() {
    ENGINE.memory_without_end();
}

#[test]
fn the_text_codecs_follow_the_specification() {
    ENGINE.text_codecs();
}

#[test]
fn the_wasm_guests_of_the_repository_answer_correctly() {
    let bed = WASM.bed();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../workloads");
    for name in ["echo", "json", "render", "sha256", "nbody", "blur"] {
        let workload = isobench_core::workload::load(&root.join(name)).expect("a valid workload");
        let artifact = root.join(name).join("guest.wasm");
        for (variant, case) in WASM.variants.iter().flat_map(|v| workload.cases.iter().map(move |case| (v, case))) {
            let mut request = bed.request(variant, Guest::Wasm, &artifact, b"", b"", one_start());
            request.input = case.input.clone();
            request.expected_sha256 = case.expected_sha256.clone();
            let outcome = bed.run(&request);
            assert!(outcome.fault().is_none(), "{name}/{} {variant}: {:?}", case.name, outcome.fault());
        }
    }
}

#[test]
fn live_instances_of_the_same_wasm_share_no_data() {
    let bed = WASM.bed();
    // V8 shares the compiled code of live instances; each must still count from its own zero.
    let text = "(module (memory (export \"memory\") 1) (global $calls (mut i32) (i32.const 0))
        (func (export \"alloc\") (param i32) (result i32) i32.const 64)
        (func (export \"handle\") (param i32 i32) (result i64)
          (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
          (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (global.get $calls)))
          i64.const 1))";
    for variant in WASM.variants {
        let mut request = wasm(&bed, variant, text);
        request.expected_sha256 = sha256_hex(&[1]);
        request.visit = Visit::Footprint { instances: vec![8] };
        bed.run(&request).expect_ok();
    }
}

#[test]
fn describing_what_was_thrown_runs_none_of_the_guests_code() {
    let source = "export function handle() { throw { toString() { for (;;); } }; }";
    ENGINE.fails(source, FaultKind::GuestThrow, "guest.js:1");
}

#[test]
fn a_wasm_guest_that_loops_ends_at_the_deadline() {
    let text = wat("i32.const 64", "(loop (br 0)) unreachable");
    WASM.must_fail(FaultKind::DeadlineExceeded, "the call", |bed, variant| {
        let mut request = wasm(bed, variant, &text);
        request.target.limits.call_deadline_ms = 100;
        request
    });
}

#[test]
fn a_wasm_answer_of_a_gibibyte_is_refused() {
    let huge = "i64.const 0x0000_0040_4000_0000";
    wasm_fault(&wat("i32.const 64", huge), FaultKind::FrameTooLarge, "1073741824 bytes");
}

#[test]
fn a_trap_is_named() {
    wasm_fault(&wat("i32.const 64", "unreachable"), FaultKind::GuestTrap, "unreachable");
    let outside = wat("i32.const 64", "(i64.load (i32.const -8))");
    wasm_fault(&outside, FaultKind::GuestTrap, "memory access out of bounds");
    let by_zero = wat("i32.const 64", "(i64.div_s (i64.const 1) (i64.const 0))");
    wasm_fault(&by_zero, FaultKind::GuestTrap, "divide by zero");
}

#[test]
fn what_is_no_guest_is_refused() {
    WASM.must_fail(FaultKind::InvalidGuest, "text.wasm", |bed, variant| {
        let mut request = wasm(bed, variant, "(module)");
        request.target.artifact = bed.write("text.wasm", "not wasm");
        request
    });
    wasm_fault("(module)", FaultKind::InvalidGuest, "must export `memory`");
    wasm_fault("(module (import \"env\" \"f\" (func)))", FaultKind::InvalidGuest, "without imports");
}

#[test]
fn a_trap_in_the_start_function_is_a_trap_of_the_guest() {
    let start = wat("i32.const 64", WAT_ECHO).replacen("(module", "(module (start $f) (func $f unreachable)", 1);
    wasm_fault(&start, FaultKind::GuestTrap, "unreachable");
}

#[test]
fn pointers_outside_the_memory_are_refused() {
    wasm_fault(&wat("i32.const 65534", WAT_ECHO), FaultKind::BadAnswer, "outside the memory");
    wasm_fault(&wat("i32.const -1", WAT_ECHO), FaultKind::BadAnswer, "outside the memory");
    let beyond = wat("i32.const 64", "i64.const 0x0000_fffe_0000_0004");
    wasm_fault(&beyond, FaultKind::BadAnswer, "outside the memory");
}

#[test]
fn initialize_is_called_and_memory_may_grow() {
    // Grows in `_initialize`, so that `alloc` and the answer lie in the second page.
    let text = "(module (memory (export \"memory\") 1)
        (func (export \"_initialize\") (drop (memory.grow (i32.const 1))))
        (func (export \"alloc\") (param i32) (result i32) i32.const 70000)
        (func (export \"handle\") (param $ptr i32) (param $len i32) (result i64)
          (drop (memory.grow (i32.const 1))) ECHO))";
    let bed = WASM.bed();
    for variant in WASM.variants {
        bed.run(&wasm(&bed, variant, &text.replace("ECHO", WAT_ECHO))).expect_ok();
    }
}

#[test]
fn linear_memory_is_under_the_limit() {
    let text = "(module (memory (export \"memory\") 1)
        (func (export \"alloc\") (param i32) (result i32) i32.const 64)
        (func (export \"handle\") (param i32 i32) (result i64)
          (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))";
    wasm_fault(text, FaultKind::OutOfMemory, "memory_mib");

    let more_than_allowed = wat("i32.const 64", WAT_ECHO).replace("1 2)", "2000)");
    wasm_fault(&more_than_allowed, FaultKind::OutOfMemory, "memory_mib");
}
