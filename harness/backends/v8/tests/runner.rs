//! The runner against the real V8: what works, and every way in which a guest can fail.

use isobench_core::{Experiment, FaultKind, Guest};
use isobench_runner::protocol::{BlockRequest, Visit};
use isobench_runner::testing::{TestBed, all_load, all_throughput, one_start, starts_and_calls};
use std::path::Path;

const ECHO: &str = "export function handle(request) { return request.slice(); }";

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

fn bed() -> TestBed {
    TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-v8"))
}

fn js(bed: &TestBed, source: &str) -> BlockRequest {
    let guest = bed.write("guest.js", source);
    bed.request("fresh", Guest::Js, &guest, b"ping", b"ping", one_start())
}

fn wasm(bed: &TestBed, text: &str) -> BlockRequest {
    let guest = bed.write_wat("guest.wasm", text);
    bed.request("fresh", Guest::Wasm, &guest, b"ping", b"ping", one_start())
}

/// Runs a JS guest that must fail; answers with the message.
fn js_fault(source: &str, kind: FaultKind) -> String {
    let bed = bed();
    bed.run(&js(&bed, source)).expect_fault(kind).message.clone()
}

fn wasm_fault(text: &str, kind: FaultKind) -> String {
    let bed = bed();
    bed.run(&wasm(&bed, text)).expect_fault(kind).message.clone()
}

#[test]
fn every_experiment_succeeds_for_both_guests() {
    let bed = bed();
    for mut request in [js(&bed, ECHO), wasm(&bed, &wat("i32.const 64", WAT_ECHO))] {
        request.visit = starts_and_calls();
        let outcome = bed.run(&request).expect_ok();
        for phase in ["create", "load", "first_call", "total", "destroy"] {
            assert_eq!(outcome.values(Experiment::ColdStart, phase).len(), 3, "{phase}");
        }
        assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 100);

        request.visit = Visit::Footprint { instances: vec![1, 4, 16] };
        assert_eq!(bed.run(&request).expect_ok().values(Experiment::Footprint, "pss").len(), 4);

        request.visit = all_throughput();
        let histograms = bed.run(&request).expect_ok().histograms();
        assert_eq!(histograms.len(), 6);
        assert!(histograms.iter().all(|(_, n, calls)| *calls >= u64::from(*n)), "{histograms:?}");

        for visit in all_load() {
            request.visit = visit;
            bed.run(&request).expect_ok();
        }
    }
}

#[test]
fn as_many_isolates_as_a_footprint_visit_wants_live_on_one_thread() {
    let bed = bed();
    let mut request = js(&bed, ECHO);
    request.visit = Visit::Footprint { instances: vec![bed.runner.description.footprint_instances] };
    bed.run(&request).expect_ok();
}

#[test]
fn the_workloads_of_the_repository_answer_correctly() {
    let bed = bed();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../workloads");
    for name in ["echo", "json", "render", "sha256", "nbody", "blur"] {
        let workload = isobench_core::workload::load(&root.join(name)).expect("a valid workload");
        for (guest, file) in [(Guest::Js, "guest.js"), (Guest::Wasm, "guest.wasm")] {
            for case in &workload.cases {
                let artifact = root.join(name).join(file);
                let mut request = bed.request("fresh", guest, &artifact, b"", b"", one_start());
                request.input = case.input.clone();
                request.expected_sha256 = case.expected_sha256.clone();
                let outcome = bed.run(&request);
                assert!(outcome.fault().is_none(), "{name}/{} {guest}: {:?}", case.name, outcome.fault());
            }
        }
    }
}

#[test]
fn nothing_of_one_instance_is_seen_by_the_next() {
    let bed = bed();
    let mut request = js(
        &bed,
        "let calls = 0;
         export function handle() {
           globalThis.seen = (globalThis.seen ?? 0) + 1;
           Array.prototype.seen = (Array.prototype.seen ?? 0) + 1;
           return Uint8Array.of(++calls, globalThis.seen, [].seen);
         }",
    );
    request.expected_sha256 = isobench_core::sha256_hex(&[1, 1, 1]);
    request.visit = Visit::ColdStart { starts: 5, warm: None };
    bed.run(&request).expect_ok();
}

#[test]
fn live_instances_of_the_same_wasm_share_no_data() {
    let bed = bed();
    // V8 shares the compiled code of live instances; each must still count from its own zero.
    let text = "(module (memory (export \"memory\") 1) (global $calls (mut i32) (i32.const 0))
        (func (export \"alloc\") (param i32) (result i32) i32.const 64)
        (func (export \"handle\") (param i32 i32) (result i64)
          (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
          (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (global.get $calls)))
          i64.const 1))";
    let mut request = wasm(&bed, text);
    request.expected_sha256 = isobench_core::sha256_hex(&[1]);
    request.visit = Visit::Footprint { instances: vec![8] };
    bed.run(&request).expect_ok();
}

#[test]
fn fresh_buffers_are_empty_whatever_was_in_that_memory_before() {
    let bed = bed();
    let mut request = js(
        &bed,
        "export function handle() {
           let sum = 0;
           for (const size of [10, 1000, 100_000]) {
             const bytes = new Uint8Array(size);
             for (const byte of bytes) sum += byte;
             bytes.fill(255);
           }
           return Uint8Array.of(sum > 0);
         }",
    );
    request.expected_sha256 = isobench_core::sha256_hex(&[0]);
    request.visit = Visit::ColdStart { starts: 20, warm: None };
    bed.run(&request).expect_ok();
}

#[test]
fn buffers_that_are_garbage_make_room_for_new_ones() {
    let bed = bed();
    let mut request = js(&bed, "export function handle(request) { return new Uint8Array(1 << 20), request.slice(); }");
    let input = vec![7; 1 << 20];
    request.input = bed.write("large.in", &input);
    request.expected_sha256 = isobench_core::sha256_hex(&input);
    // Three MiB a call under a limit of 64: some hundred calls would need three hundred.
    request.visit = starts_and_calls();
    bed.run(&request).expect_ok();
}

#[test]
fn the_text_codecs_follow_the_specification() {
    let bed = bed();
    let mut request = js(&bed, include_str!("text.js"));
    request.expected_sha256 = isobench_core::sha256_hex(b"ok");
    bed.run(&request).expect_ok();
}

#[test]
fn a_syntax_error_is_named_with_its_line() {
    let message = js_fault("const a = 1;\nconst b = ;\n", FaultKind::InvalidGuest);
    assert!(message.starts_with("guest.js:2: SyntaxError"), "{message}");
}

#[test]
fn a_module_without_handle_is_refused() {
    let message = js_fault("export const handler = 1;", FaultKind::InvalidGuest);
    assert!(message.contains("exports no function `handle`"), "{message}");
    js_fault("export const handle = 1;", FaultKind::InvalidGuest);
}

#[test]
fn a_module_that_imports_is_refused() {
    let message = js_fault("import fs from 'node:fs';\nexport function handle() {}", FaultKind::InvalidGuest);
    assert!(message.contains("imports `node:fs`"), "{message}");
}

#[test]
fn a_module_that_never_settles_is_refused() {
    let message = js_fault("await new Promise(() => {});\nexport function handle() {}", FaultKind::InvalidGuest);
    assert!(message.contains("top level"), "{message}");
}

#[test]
fn a_throw_is_named_with_its_line() {
    let message = js_fault("export function handle() {\n  throw new TypeError('boom');\n}", FaultKind::GuestThrow);
    assert!(message.contains("guest.js:2: TypeError: boom"), "{message}");
    let message = js_fault("\n\nnull.x; export function handle() {}", FaultKind::GuestThrow);
    assert!(message.contains("guest.js:3: TypeError"), "{message}");
}

#[test]
fn describing_what_was_thrown_runs_none_of_the_guests_code() {
    let message = js_fault("export function handle() { throw { toString() { for (;;); } }; }", FaultKind::GuestThrow);
    assert!(message.contains("guest.js:1"), "{message}");
}

#[test]
fn deep_recursion_is_a_throw() {
    let source = "const f = (n) => f(n + 1) + 1;\nexport function handle() { return f(0); }";
    let message = js_fault(source, FaultKind::GuestThrow);
    assert!(message.contains("Maximum call stack size exceeded"), "{message}");
}

#[test]
fn an_infinite_loop_ends_at_the_deadline() {
    let bed = bed();
    let mut request = js(&bed, "export function handle() { for (;;); }");
    request.target.limits.call_deadline_ms = 100;
    bed.run(&request).expect_fault(FaultKind::DeadlineExceeded);

    let mut request = js(&bed, "for (;;); export function handle() {}");
    request.target.limits.start_deadline_ms = 100;
    bed.run(&request).expect_fault(FaultKind::DeadlineExceeded);

    let mut request = wasm(&bed, &wat("i32.const 64", "(loop (br 0)) unreachable"));
    request.target.limits.call_deadline_ms = 100;
    bed.run(&request).expect_fault(FaultKind::DeadlineExceeded);
}

#[test]
fn a_loop_that_catches_everything_ends_at_the_deadline_too() {
    let bed = bed();
    let mut request =
        js(&bed, "export function handle() { for (;;) { try { for (;;); } catch {} finally { continue; } } }");
    request.target.limits.call_deadline_ms = 100;
    bed.run(&request).expect_fault(FaultKind::DeadlineExceeded);
}

#[test]
fn answers_that_are_no_bytes_are_refused() {
    for (answer, what) in [
        ("'text'", "string"),
        ("undefined", "undefined"),
        ("null", "null"),
        ("Promise.resolve(new Uint8Array(1))", "Promise"),
        ("new ArrayBuffer(1)", "object"),
    ] {
        let message = js_fault(&format!("export function handle() {{ return {answer}; }}"), FaultKind::BadAnswer);
        assert!(message.contains(what), "{message}");
    }
}

#[test]
fn a_wrong_answer_is_named() {
    js_fault("export function handle() { return new Uint8Array(3); }", FaultKind::WrongAnswer);
}

#[test]
fn a_heap_that_grows_is_stopped() {
    for source in [
        "const keep = []; export function handle() { for (;;) keep.push({ a: [1, 2, 3] }); }",
        "export function handle() { let s = 'x'; const keep = []; for (;;) keep.push((s += s.length) + Math.random()); }",
        "export function handle() { const m = new Map(); for (let i = 0; ; i++) m.set(i, [i]); }",
        // More at once than any heap has: V8 aborts, and the runner dies alone.
        "export function handle() { return new Array(32e6).fill(1.5); }",
    ] {
        let bed = bed();
        let outcome = bed.run(&js(&bed, source));
        let fault = outcome.expect_fault(FaultKind::OutOfMemory);
        eprintln!("{source}\n  {fault}");
        // The next runner is well.
        bed.run(&js(&bed, ECHO)).expect_ok();
    }
}

#[test]
fn array_buffers_are_under_the_limit_as_well() {
    for source in [
        "export function handle() { const keep = []; for (let i = 0; i < 4096; i++) keep.push(new Uint8Array(1 << 20)); }",
        "export function handle() { return new Uint8Array(1 << 30); }",
        "const e = new TextEncoder(), keep = []; export function handle() { for (;;) keep.push(e.encode('x'.repeat(1e6))); }",
    ] {
        js_fault(source, FaultKind::OutOfMemory);
    }
}

#[test]
fn an_answer_of_a_gibibyte_is_refused() {
    let bed = bed();
    let mut request = js(&bed, "export function handle() { return new Uint8Array(1 << 30); }");
    request.target.limits.memory_bytes = 2 << 30;
    let outcome = bed.run(&request);
    let fault = outcome.expect_fault(FaultKind::FrameTooLarge);
    assert!(fault.message.contains("1073741824 bytes"), "{fault}");

    let huge = "i64.const 0x0000_0040_4000_0000";
    wasm_fault(&wat("i32.const 64", huge), FaultKind::FrameTooLarge);
}

#[test]
fn a_trap_is_named() {
    let message = wasm_fault(&wat("i32.const 64", "unreachable"), FaultKind::GuestTrap);
    assert!(message.contains("unreachable"), "{message}");
    let message = wasm_fault(&wat("i32.const 64", "(i64.load (i32.const -8))"), FaultKind::GuestTrap);
    assert!(message.contains("memory access out of bounds"), "{message}");
    wasm_fault(&wat("i32.const 64", "(i64.div_s (i64.const 1) (i64.const 0))"), FaultKind::GuestTrap);
}

#[test]
fn what_is_no_guest_is_refused() {
    let bed = bed();
    let mut request = wasm(&bed, &wat("i32.const 64", WAT_ECHO));
    request.target.artifact = bed.write("text.wasm", "not wasm");
    let outcome = bed.run(&request);
    assert!(outcome.expect_fault(FaultKind::InvalidGuest).message.contains("text.wasm"));

    let message = wasm_fault("(module)", FaultKind::InvalidGuest);
    assert!(message.contains("must export `memory`"), "{message}");
    let message = wasm_fault("(module (import \"env\" \"f\" (func)))", FaultKind::InvalidGuest);
    assert!(message.contains("without imports"), "{message}");
}

#[test]
fn pointers_outside_the_memory_are_refused() {
    wasm_fault(&wat("i32.const 65534", WAT_ECHO), FaultKind::BadAnswer);
    wasm_fault(&wat("i32.const -1", WAT_ECHO), FaultKind::BadAnswer);
    wasm_fault(&wat("i32.const 64", "i64.const 0x0000_fffe_0000_0004"), FaultKind::BadAnswer);
}

#[test]
fn initialize_is_called_and_memory_may_grow() {
    // Grows in `_initialize`, so that `alloc` and the answer lie in the second page.
    let text = "(module (memory (export \"memory\") 1)
        (func (export \"_initialize\") (drop (memory.grow (i32.const 1))))
        (func (export \"alloc\") (param i32) (result i32) i32.const 70000)
        (func (export \"handle\") (param $ptr i32) (param $len i32) (result i64)
          (drop (memory.grow (i32.const 1))) ECHO))";
    let bed = bed();
    bed.run(&wasm(&bed, &text.replace("ECHO", WAT_ECHO))).expect_ok();
}

#[test]
fn linear_memory_is_under_the_limit() {
    let text = "(module (memory (export \"memory\") 1)
        (func (export \"alloc\") (param i32) (result i32) i32.const 64)
        (func (export \"handle\") (param i32 i32) (result i64)
          (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))";
    wasm_fault(text, FaultKind::OutOfMemory);

    let more_than_allowed = wat("i32.const 64", WAT_ECHO).replace("1 2)", "2000)");
    let message = wasm_fault(&more_than_allowed, FaultKind::OutOfMemory);
    assert!(message.contains("memory_mib"), "{message}");
}
