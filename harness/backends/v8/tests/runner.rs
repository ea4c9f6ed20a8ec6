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

/// The variants that run JS guests, and those that run Wasm guests.
const JS: [&str; 6] = ["fresh", "code-cache", "snapshot", "pool", "context", "jitless"];
const WASM: [&str; 4] = ["fresh", "module-cache", "pool", "context"];

fn js(bed: &TestBed, variant: &str, source: &str) -> BlockRequest {
    let guest = bed.write("guest.js", source);
    bed.request(variant, Guest::Js, &guest, b"ping", b"ping", one_start())
}

fn wasm(bed: &TestBed, variant: &str, text: &str) -> BlockRequest {
    let guest = bed.write_wat("guest.wasm", text);
    bed.request(variant, Guest::Wasm, &guest, b"ping", b"ping", one_start())
}

/// A request for the same guest from every variant that runs its kind.
fn every(bed: &TestBed, js_source: &str, wasm_text: &str) -> Vec<BlockRequest> {
    let js = JS.into_iter().map(|variant| js(bed, variant, js_source));
    js.chain(WASM.into_iter().map(|variant| wasm(bed, variant, wasm_text))).collect()
}

/// Runs what must fail in every variant, each time with a message that contains `told`.
fn must_fail<'a>(
    variants: &[&'a str],
    kind: FaultKind,
    told: &str,
    request: impl Fn(&TestBed, &'a str) -> BlockRequest,
) {
    let bed = bed();
    for variant in variants {
        eprintln!("v8/{variant}: {kind}");
        let outcome = bed.run(&request(&bed, variant));
        let fault = outcome.expect_fault(kind);
        assert!(fault.message.contains(told), "v8/{variant}: {fault}");
    }
}

fn js_fault(source: &str, kind: FaultKind, told: &str) {
    must_fail(&JS, kind, told, |bed, variant| js(bed, variant, source));
}

fn wasm_fault(text: &str, kind: FaultKind, told: &str) {
    must_fail(&WASM, kind, told, |bed, variant| wasm(bed, variant, text));
}

#[test]
fn every_experiment_succeeds_for_both_guests() {
    let bed = bed();
    for mut request in every(&bed, ECHO, &wat("i32.const 64", WAT_ECHO)) {
        eprintln!("v8/{}", request.target.variant);
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
    for mut request in every(&bed, ECHO, &wat("i32.const 64", WAT_ECHO)) {
        eprintln!("v8/{}", request.target.variant);
        request.visit = Visit::Footprint { instances: vec![bed.runner.description.footprint_instances] };
        bed.run(&request).expect_ok();
    }
}

#[test]
fn the_workloads_of_the_repository_answer_correctly() {
    let bed = bed();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../workloads");
    for name in ["echo", "json", "render", "sha256", "nbody", "blur"] {
        let workload = isobench_core::workload::load(&root.join(name)).expect("a valid workload");
        let js = JS.map(|variant| (variant, Guest::Js, "guest.js"));
        for (variant, guest, file) in js.into_iter().chain(WASM.map(|variant| (variant, Guest::Wasm, "guest.wasm"))) {
            for case in &workload.cases {
                let artifact = root.join(name).join(file);
                let mut request = bed.request(variant, guest, &artifact, b"", b"", one_start());
                request.input = case.input.clone();
                request.expected_sha256 = case.expected_sha256.clone();
                let outcome = bed.run(&request);
                assert!(outcome.fault().is_none(), "{name}/{} {guest} {variant}: {:?}", case.name, outcome.fault());
            }
        }
    }
}

#[test]
fn nothing_of_one_instance_is_seen_by_the_next() {
    let source = "let calls = 0;
         export function handle() {
           globalThis.seen = (globalThis.seen ?? 0) + 1;
           Array.prototype.seen = (Array.prototype.seen ?? 0) + 1;
           return Uint8Array.of(++calls, globalThis.seen, [].seen);
         }";
    let bed = bed();
    for variant in JS {
        let mut request = js(&bed, variant, source);
        request.expected_sha256 = isobench_core::sha256_hex(&[1, 1, 1]);
        request.visit = Visit::ColdStart { starts: 5, warm: None };
        bed.run(&request).expect_ok();
    }
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
    for variant in WASM {
        let mut request = wasm(&bed, variant, text);
        request.expected_sha256 = isobench_core::sha256_hex(&[1]);
        request.visit = Visit::Footprint { instances: vec![8] };
        bed.run(&request).expect_ok();
    }
}

#[test]
fn fresh_buffers_are_empty_whatever_was_in_that_memory_before() {
    let source = "export function handle() {
           let sum = 0;
           for (const size of [10, 1000, 100_000]) {
             const bytes = new Uint8Array(size);
             for (const byte of bytes) sum += byte;
             bytes.fill(255);
           }
           return Uint8Array.of(sum > 0);
         }";
    let bed = bed();
    for variant in JS {
        let mut request = js(&bed, variant, source);
        request.expected_sha256 = isobench_core::sha256_hex(&[0]);
        request.visit = Visit::ColdStart { starts: 20, warm: None };
        bed.run(&request).expect_ok();
    }
}

#[test]
fn buffers_that_are_garbage_make_room_for_new_ones() {
    let bed = bed();
    let source = "export function handle(request) { return new Uint8Array(1 << 20), request.slice(); }";
    let input = vec![7; 1 << 20];
    for variant in JS {
        let mut request = js(&bed, variant, source);
        request.input = bed.write("large.in", &input);
        request.expected_sha256 = isobench_core::sha256_hex(&input);
        // Three MiB a call under a limit of 64: some hundred calls would need three hundred.
        request.visit = starts_and_calls();
        bed.run(&request).expect_ok();
    }
}

#[test]
fn the_text_codecs_follow_the_specification() {
    let bed = bed();
    for variant in JS {
        let mut request = js(&bed, variant, include_str!("text.js"));
        request.expected_sha256 = isobench_core::sha256_hex(b"ok");
        bed.run(&request).expect_ok();
    }
}

#[test]
fn a_syntax_error_is_named_with_its_line() {
    js_fault("const a = 1;\nconst b = ;\n", FaultKind::InvalidGuest, "guest.js:2: SyntaxError");
}

#[test]
fn a_module_without_handle_is_refused() {
    js_fault("export const handler = 1;", FaultKind::InvalidGuest, "exports no function `handle`");
    js_fault("export const handle = 1;", FaultKind::InvalidGuest, "exports no function `handle`");
}

#[test]
fn a_module_that_imports_is_refused() {
    let source = "import fs from 'node:fs';\nexport function handle() {}";
    js_fault(source, FaultKind::InvalidGuest, "imports `node:fs`");
}

#[test]
fn a_module_that_never_settles_is_refused() {
    js_fault("await new Promise(() => {});\nexport function handle() {}", FaultKind::InvalidGuest, "top level");
}

#[test]
fn a_throw_is_named_with_its_line() {
    let source = "export function handle() {\n  throw new TypeError('boom');\n}";
    js_fault(source, FaultKind::GuestThrow, "guest.js:2: TypeError: boom");
    js_fault("\n\nnull.x; export function handle() {}", FaultKind::GuestThrow, "guest.js:3: TypeError");
}

#[test]
fn describing_what_was_thrown_runs_none_of_the_guests_code() {
    let source = "export function handle() { throw { toString() { for (;;); } }; }";
    js_fault(source, FaultKind::GuestThrow, "guest.js:1");
}

#[test]
fn deep_recursion_is_a_throw() {
    let source = "const f = (n) => f(n + 1) + 1;\nexport function handle() { return f(0); }";
    js_fault(source, FaultKind::GuestThrow, "Maximum call stack size exceeded");
}

#[test]
fn an_infinite_loop_ends_at_the_deadline() {
    let hurried = |mut request: BlockRequest| {
        request.target.limits.call_deadline_ms = 100;
        request
    };
    let kind = FaultKind::DeadlineExceeded;
    must_fail(&JS, kind, "the call", |bed, variant| {
        hurried(js(bed, variant, "export function handle() { for (;;); }"))
    });
    let text = wat("i32.const 64", "(loop (br 0)) unreachable");
    must_fail(&WASM, kind, "the call", |bed, variant| hurried(wasm(bed, variant, &text)));
    must_fail(&JS, kind, "loading the guest", |bed, variant| {
        let mut request = js(bed, variant, "for (;;); export function handle() {}");
        request.target.limits.start_deadline_ms = 100;
        request
    });
}

#[test]
fn a_loop_that_catches_everything_ends_at_the_deadline_too() {
    let source = "export function handle() { for (;;) { try { for (;;); } catch {} finally { continue; } } }";
    must_fail(&JS, FaultKind::DeadlineExceeded, "the call", |bed, variant| {
        let mut request = js(bed, variant, source);
        request.target.limits.call_deadline_ms = 100;
        request
    });
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
        js_fault(&format!("export function handle() {{ return {answer}; }}"), FaultKind::BadAnswer, what);
    }
}

#[test]
fn a_wrong_answer_is_named() {
    js_fault("export function handle() { return new Uint8Array(3); }", FaultKind::WrongAnswer, "3 bytes");
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
        must_fail(&JS, FaultKind::OutOfMemory, "memory", |bed, variant| {
            let mut request = js(bed, variant, source);
            // An interpreter needs its time to fill a heap.
            request.target.limits.call_deadline_ms = 60_000;
            request
        });
    }
    // The next runner is well.
    let bed = bed();
    bed.run(&js(&bed, "fresh", ECHO)).expect_ok();
}

#[test]
fn array_buffers_are_under_the_limit_as_well() {
    for source in [
        "export function handle() { const keep = []; for (let i = 0; i < 4096; i++) keep.push(new Uint8Array(1 << 20)); }",
        "export function handle() { return new Uint8Array(1 << 30); }",
        "const e = new TextEncoder(), keep = []; export function handle() { for (;;) keep.push(e.encode('x'.repeat(1e6))); }",
    ] {
        js_fault(source, FaultKind::OutOfMemory, "memory_mib");
    }
}

#[test]
fn an_answer_of_a_gibibyte_is_refused() {
    must_fail(&JS, FaultKind::FrameTooLarge, "1073741824 bytes", |bed, variant| {
        let mut request = js(bed, variant, "export function handle() { return new Uint8Array(1 << 30); }");
        request.target.limits.memory_bytes = 2 << 30;
        request
    });
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
    must_fail(&WASM, FaultKind::InvalidGuest, "text.wasm", |bed, variant| {
        let mut request = wasm(bed, variant, "(module)");
        request.target.artifact = bed.write("text.wasm", "not wasm");
        request
    });
    wasm_fault("(module)", FaultKind::InvalidGuest, "must export `memory`");
    wasm_fault("(module (import \"env\" \"f\" (func)))", FaultKind::InvalidGuest, "without imports");
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
    let bed = bed();
    for variant in WASM {
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
