//! The runner against the real QuickJS: what works, and every way in which a guest can fail.

use isobench_core::{Experiment, FaultKind, Guest};
use isobench_runner::protocol::{BlockRequest, Visit};
use isobench_runner::testing::{TestBed, all_load, all_throughput, one_start, starts_and_calls};
use std::path::Path;

const ECHO: &str = "export function handle(request) { return request.slice(); }";

const VARIANTS: [&str; 3] = ["fresh", "bytecode", "context"];

fn bed() -> TestBed {
    TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-quickjs"))
}

fn js(bed: &TestBed, variant: &str, source: &str) -> BlockRequest {
    let guest = bed.write("guest.js", source);
    bed.request(variant, Guest::Js, &guest, b"ping", b"ping", one_start())
}

/// Runs what must fail in every variant, each time with a message that contains `told`.
fn must_fail(kind: FaultKind, told: &str, request: impl Fn(&TestBed, &'static str) -> BlockRequest) {
    let bed = bed();
    for variant in VARIANTS {
        eprintln!("quickjs/{variant}: {kind}");
        let outcome = bed.run(&request(&bed, variant));
        let fault = outcome.expect_fault(kind);
        assert!(fault.message.contains(told), "quickjs/{variant}: {fault}");
    }
}

fn fails(source: &str, kind: FaultKind, told: &str) {
    must_fail(kind, told, |bed, variant| js(bed, variant, source));
}

/// The same with a deadline of 100 ms for the call.
fn hangs(source: &str, told: &str) {
    must_fail(FaultKind::DeadlineExceeded, told, |bed, variant| {
        let mut request = js(bed, variant, source);
        request.target.limits.call_deadline_ms = 100;
        request
    });
}

/// Runs what must answer in every variant.
fn answers(source: &str, expected: &[u8], visit: &Visit) {
    let bed = bed();
    for variant in VARIANTS {
        eprintln!("quickjs/{variant}");
        let mut request = js(&bed, variant, source);
        request.expected_sha256 = isobench_core::sha256_hex(expected);
        request.visit = visit.clone();
        bed.run(&request).expect_ok();
    }
}

#[test]
fn every_variant_is_tested() {
    let described = bed().runner.description.variants.clone();
    assert_eq!(described.iter().map(|variant| variant.name.as_str()).collect::<Vec<_>>(), VARIANTS);
}

#[test]
fn every_experiment_succeeds() {
    let bed = bed();
    for variant in VARIANTS {
        eprintln!("quickjs/{variant}");
        let mut request = js(&bed, variant, ECHO);
        request.visit = starts_and_calls();
        let outcome = bed.run(&request).expect_ok();
        for phase in ["create", "load", "first_call", "total", "destroy"] {
            assert_eq!(outcome.values(Experiment::ColdStart, phase).len(), 3, "{phase}");
        }
        assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 100);

        request.visit = Visit::Footprint { instances: vec![1, 4, bed.runner.description.footprint_instances] };
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
fn the_workloads_of_the_repository_answer_correctly() {
    let bed = bed();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../workloads");
    for name in ["echo", "json", "render", "sha256", "nbody", "blur"] {
        let workload = isobench_core::workload::load(&root.join(name)).expect("a valid workload");
        for (variant, case) in
            VARIANTS.iter().flat_map(|variant| workload.cases.iter().map(move |case| (variant, case)))
        {
            let mut request = bed.request(variant, Guest::Js, &root.join(name).join("guest.js"), b"", b"", one_start());
            request.input = case.input.clone();
            request.expected_sha256 = case.expected_sha256.clone();
            // An interpreter on a machine that builds beside: the answer counts here, not when it comes.
            request.target.limits.call_deadline_ms = 60_000;
            let outcome = bed.run(&request);
            assert!(outcome.fault().is_none(), "{name}/{} {variant}: {:?}", case.name, outcome.fault());
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
    answers(source, &[1, 1, 1], &Visit::ColdStart { starts: 5, warm: None });
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
    answers(source, &[0], &Visit::ColdStart { starts: 20, warm: None });
}

#[test]
fn buffers_that_are_garbage_make_room_for_new_ones() {
    let bed = bed();
    let source = "export function handle(request) { return new Uint8Array(1 << 20), request.slice(); }";
    let input = vec![7; 1 << 20];
    for variant in VARIANTS {
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
    // The same asserts that V8's codecs pass.
    answers(include_str!("../../v8/tests/text.js"), b"ok", &starts_and_calls());
    let more = "export function handle() {
        const view = new Uint16Array([0x6161, 0x6262, 0x6363]).subarray(1, 2);
        class Mine extends TextDecoder { twice(bytes) { return this.decode(bytes) + this.decode(bytes); } }
        const mine = new Mine('utf-8', { fatal: true });
        const found = [
          new TextDecoder().decode(view) === 'bb',
          mine.twice(view) === 'bbbb' && mine.fatal && mine instanceof TextDecoder,
          new TextEncoder() instanceof TextEncoder,
          new TextDecoder().decode(new TextEncoder().encode('\\ud800\\udc00\\udfff한')) === '\\ud800\\udc00\\ufffd한',
          TextDecoder.length === 0 && Object.keys(globalThis).indexOf('TextDecoder') < 0,
        ];
        for (const wrong of [() => new TextEncoder().encode(Symbol()), () => new TextDecoder(Symbol())]) {
          try { wrong(); found.push(false); } catch (error) { found.push(error instanceof TypeError); }
        }
        return Uint8Array.from(found);
    }";
    answers(more, &[1; 7], &one_start());
}

#[test]
fn what_a_call_leaves_pending_runs_before_its_answer_is_taken() {
    let source = "export function handle() {
        const answer = new Uint8Array(2);
        Promise.resolve().then(() => { answer[0] = 1; }).then(() => { answer[1] = 2; });
        return answer;
    }";
    answers(source, &[1, 2], &one_start());
    answers(
        "const n = await Promise.resolve(5); export function handle() { return Uint8Array.of(n); }",
        &[5],
        &one_start(),
    );
}

#[test]
fn a_syntax_error_is_named_with_its_line() {
    fails("const a = 1;\nconst b = ;\n", FaultKind::InvalidGuest, "guest.js:2: SyntaxError");
}

#[test]
fn a_module_without_handle_is_refused() {
    fails("export const handler = 1;", FaultKind::InvalidGuest, "exports no function `handle`");
    fails("export const handle = 1;", FaultKind::InvalidGuest, "exports no function `handle`");
}

#[test]
fn a_module_that_imports_is_refused() {
    fails("import fs from 'node:fs';\nexport function handle() {}", FaultKind::InvalidGuest, "imports 'node:fs'");
}

#[test]
fn a_module_that_is_no_text_is_refused() {
    must_fail(FaultKind::InvalidGuest, "not UTF-8", |bed, variant| {
        let mut request = js(bed, variant, ECHO);
        request.target.artifact = bed.write("bytes.js", [0xff, 0xfe]);
        request
    });
    fails("export function handle() { return '\0'; }", FaultKind::InvalidGuest, "guest.js");
}

#[test]
fn a_module_that_never_settles_is_refused() {
    fails("await new Promise(() => {});\nexport function handle() {}", FaultKind::InvalidGuest, "top level");
}

#[test]
fn a_throw_is_named_with_its_line() {
    let source = "export function handle() {\n  throw new TypeError('boom');\n}";
    fails(source, FaultKind::GuestThrow, "guest.js:2: TypeError: boom");
    fails("\n\nnull.x; export function handle() {}", FaultKind::GuestThrow, "guest.js:3: TypeError");
    fails("export function handle() { throw 'text'; }", FaultKind::GuestThrow, "guest.js: threw text");
    fails("export function handle() { throw null; }", FaultKind::GuestThrow, "guest.js: threw");
}

#[test]
fn describing_what_was_thrown_does_not_hang() {
    let object = "export function handle() { throw { toString() { for (;;); }, get message() { for (;;); } }; }";
    fails(object, FaultKind::GuestThrow, "guest.js: threw");
    let getter = "export function handle() {
        throw Object.defineProperty(new Error('boom'), 'stack', { get() { throw 1; } });
    }";
    fails(getter, FaultKind::GuestThrow, "guest.js: Error: boom");
    hangs(&getter.replace("throw 1", "for (;;)"), "the call");
}

#[test]
fn deep_recursion_is_a_throw() {
    let source = "const f = (n) => f(n + 1) + 1;\nexport function handle() { return f(0); }";
    fails(source, FaultKind::GuestThrow, "Maximum call stack size exceeded");
}

#[test]
fn an_infinite_loop_ends_at_the_deadline() {
    hangs("export function handle() { for (;;); }", "the call");
    must_fail(FaultKind::DeadlineExceeded, "loading the guest", |bed, variant| {
        let mut request = js(bed, variant, "for (;;); export function handle() {}");
        request.target.limits.start_deadline_ms = 100;
        request
    });
}

#[test]
fn a_loop_that_holds_on_ends_at_the_deadline_too() {
    for source in [
        "export function handle() { for (;;) { try { for (;;); } catch {} finally { continue; } } }",
        // An async function makes a rejected promise of what interrupts it.
        "async function f() { for (;;); } export function handle() { for (;;) f().catch(() => {}); }",
        "async function f() { for (;;); } export function handle() { f(); return new Uint8Array(1); }",
        "export function handle() { /^(a+)+$/.test('a'.repeat(40) + 'b'); return new Uint8Array(1); }",
        "export function handle() { return [].indexOf.call({ length: 2 ** 53 - 1 }, 1); }",
        // Without memory, what interrupts it must not become something that it can catch.
        "export function handle() {
           const kept = [];
           for (;;) { try { for (;;) kept.push({}); } catch {} }
         }",
    ] {
        hangs(source, "the call");
    }
}

#[test]
fn answers_that_are_no_bytes_are_refused() {
    for (answer, what) in [
        ("'text'", "string"),
        ("undefined", "undefined"),
        ("null", "null"),
        ("Promise.resolve(new Uint8Array(1))", "Promise"),
        ("new ArrayBuffer(1)", "object"),
        ("new Uint8ClampedArray(1)", "object"),
        ("(() => { const a = new Uint8Array(1); a.buffer.transfer(); return a; })()", "gone"),
    ] {
        fails(&format!("export function handle() {{ return {answer}; }}"), FaultKind::BadAnswer, what);
    }
}

#[test]
fn a_wrong_answer_is_named() {
    fails("export function handle() { return new Uint8Array(3); }", FaultKind::WrongAnswer, "3 bytes");
}

#[test]
fn memory_that_grows_is_stopped() {
    for source in [
        "const keep = []; export function handle() { for (;;) keep.push({ a: [1, 2, 3] }); }",
        "export function handle() { let s = 'x'; const k = []; for (;;) k.push((s += s.length) + Math.random()); }",
        "export function handle() { const m = new Map(); for (let i = 0; ; i++) m.set(i, [i]); }",
        "export function handle() { return new Array(32e6).fill(1.5); }",
        "export function handle() { const keep = []; for (;;) keep.push(new Uint8Array(1 << 20)); }",
        "export function handle() { return new Uint8Array(1 << 30); }",
        "const e = new TextEncoder(), k = []; export function handle() { for (;;) k.push(e.encode('x'.repeat(1e6))); }",
        "export function handle() { const keep = []; for (let i = 0; ; i++) keep.push(/a/.exec('a' + i)); }",
        "const keep = []; for (;;) keep.push(1.5, {}); export function handle() {}",
    ] {
        must_fail(FaultKind::OutOfMemory, "memory_mib", |bed, variant| {
            let mut request = js(bed, variant, source);
            // An interpreter needs its time to fill a heap.
            request.target.limits.call_deadline_ms = 60_000;
            request.target.limits.start_deadline_ms = 60_000;
            request
        });
    }
}

#[test]
fn an_answer_of_a_gibibyte_is_refused() {
    must_fail(FaultKind::FrameTooLarge, "1073741824 bytes", |bed, variant| {
        let mut request = js(bed, variant, "export function handle() { return new Uint8Array(1 << 30); }");
        request.target.limits.memory_bytes = 2 << 30;
        request
    });
}

#[test]
fn a_limit_in_which_nothing_lives_is_an_error_with_its_remedy() {
    must_fail(FaultKind::BackendFailed, "QuickJS has taken", |bed, variant| {
        let mut request = js(bed, variant, ECHO);
        request.target.limits.memory_bytes = 32 << 10;
        request
    });
}

#[test]
fn other_guests_are_refused() {
    must_fail(FaultKind::BackendFailed, "QuickJS runs js guests", |bed, variant| {
        let guest = bed.write_wat("guest.wasm", "(module)");
        bed.request(variant, Guest::Wasm, &guest, b"", b"", one_start())
    });
}
