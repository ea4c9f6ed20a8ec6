//! One contract for every engine: the tests of each engine call this for their variants. The same mistake of a guest
//! ends in the same fault, whichever engine runs it.

use super::{Outcome, TestBed, one_start};
use crate::protocol::BlockRequest;
use isobench_core::{FaultKind, Guest};

use FaultKind::{BadAnswer, DeadlineExceeded, FrameTooLarge, GuestThrow, GuestTrap, InvalidGuest};

/// A frame limit and a call deadline that the guests below exceed.
const FRAME: usize = 1 << 16;
const CALL_MS: u64 = 300;

/// The bodies of JS guests that break the contract, and the fault of each.
const JS: [(&str, FaultKind); 9] = [
    ("throw new Error('as told')", GuestThrow),
    ("return 'text'", BadAnswer),
    ("return Promise.resolve(request)", BadAnswer),
    // Looks like an empty answer.
    ("const a = new Uint8Array(3); a.buffer.transfer(); return a", BadAnswer),
    ("return new Uint8Array(65537)", FrameTooLarge),
    ("for (;;);", DeadlineExceeded),
    // What a call leaves pending counts against its deadline: one promise that does not end, and promises without end.
    ("Promise.resolve().then(() => { for (;;); }); return request", DeadlineExceeded),
    ("(function again() { Promise.resolve().then(again); })(); return request", DeadlineExceeded),
    ("(async () => { for (;;) await null; })(); return request", DeadlineExceeded),
];

/// The bodies of JS guests that look wrong and answer.
const HARMLESS_JS: [&str; 3] = [
    "Promise.reject(new Error('as told')); return request",
    "(async () => { for (let n = 0; n < 1000; n += 1) await null; })(); return request",
    "return request",
];

/// A Wasm guest that echoes its request.
pub const WASM_ECHO: &str = r#"(module (memory (export "memory") 2)
    (func (export "alloc") (param i32) (result i32) i32.const 1024)
    (func (export "handle") (param i32 i32) (result i64)
      (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))))"#;

/// The parts of the same.
const MEMORY: &str = r#"(memory (export "memory") 2)"#;
const ALLOC: &str = r#"(func (export "alloc") (param i32) (result i32) i32.const 1024)"#;
const ECHO: &str = r#"(func (export "handle") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))"#;

/// Checks a variant that runs JS guests.
pub fn js(bed: &TestBed, variant: &str) {
    for (body, kind) in JS {
        eprintln!("{variant}: {body}");
        run_js(bed, variant, body).expect_fault(kind);
    }
    for body in HARMLESS_JS {
        eprintln!("{variant}: {body}");
        run_js(bed, variant, body).expect_ok();
    }
    let guest = bed.write("echo.js", "export function handle(request) { return request.slice(); }");
    long_request(bed, bed.request(variant, Guest::Js, &guest, &[7; FRAME + 1], b"", one_start()));
}

/// Checks a variant that runs Wasm guests.
pub fn wasm(bed: &TestBed, variant: &str) {
    run_wasm(bed, variant, &[MEMORY, ALLOC, ECHO]).expect_ok();
    for (parts, told) in refused() {
        let outcome = run_wasm(bed, variant, &parts);
        let message = &outcome.expect_fault(InvalidGuest).message;
        assert!(message.contains(told) && message.contains("guest.wasm"), "{variant}: {message}");
    }
    let handle = |body: &str| format!(r#"(func (export "handle") (param i32 i32) (result i64) {body})"#);
    for (body, kind) in [
        ("unreachable", GuestTrap),
        ("(loop br 0) i64.const 0", DeadlineExceeded),
        ("i64.const 0x0000000000010001", FrameTooLarge),
        ("i64.const 0x0001ffff00000002", BadAnswer),
    ] {
        run_wasm(bed, variant, &[MEMORY, ALLOC, &handle(body)]).expect_fault(kind);
    }
    for start in ["unreachable", "call $start", "(drop (i32.load (i32.const -8)))"] {
        let start = format!("(func $start {start}) (start $start)");
        run_wasm(bed, variant, &[&start, MEMORY, ALLOC, ECHO]).expect_fault(GuestTrap);
    }
    let beyond = r#"(data (i32.const 131072) "beyond the memory")"#;
    run_wasm(bed, variant, &[beyond, MEMORY, ALLOC, ECHO]).expect_fault(GuestTrap);
    let guest = bed.write_wat("guest.wasm", WASM_ECHO);
    long_request(bed, bed.request(variant, Guest::Wasm, &guest, &[7; FRAME + 1], b"", one_start()));
}

/// The parts of modules that no engine gets to see, and what is said of each.
fn refused() -> Vec<(Vec<&'static str>, &'static str)> {
    let initialize = r#"(func (export "_initialize") (param i32))"#;
    let narrow = r#"(func (export "handle") (param i32) (result i32) i32.const 0)"#;
    vec![
        (vec![r#"(memory (export "memory") i64 2)"#, ALLOC, ECHO], "64-bit memory"),
        (vec![r#"(memory (export "memory") 2 4 shared)"#, ALLOC, ECHO], "shared memory"),
        (vec![MEMORY, "(memory 1)", ALLOC, ECHO], "2 memories"),
        (vec!["(type (struct (field i32)))", MEMORY, ALLOC, ECHO], "not a valid Wasm module"),
        (vec!["(import \"env\" \"now\" (func))", MEMORY, ALLOC, ECHO], "without imports"),
        (vec![ALLOC, ECHO], "must export `memory`"),
        (vec![MEMORY, ECHO], "no export `alloc`"),
        (vec![MEMORY, ALLOC], "no export `handle`"),
        (vec![MEMORY, ALLOC, narrow], "`handle` is (i32) → (i32)"),
        (vec![MEMORY, ALLOC, ECHO, initialize], "`_initialize` is (i32) → ()"),
    ]
}

fn run_js(bed: &TestBed, variant: &str, body: &str) -> Outcome {
    let guest = bed.write("guest.js", format!("export function handle(request) {{ {body} }}"));
    run(bed, bed.request(variant, Guest::Js, &guest, b"", b"", one_start()))
}

fn run_wasm(bed: &TestBed, variant: &str, parts: &[&str]) -> Outcome {
    eprintln!("{variant}: {parts:?}");
    let guest = bed.write_wat("guest.wasm", &format!("(module {})", parts.join("\n")));
    run(bed, bed.request(variant, Guest::Wasm, &guest, b"", b"", one_start()))
}

fn long_request(bed: &TestBed, request: BlockRequest) {
    let outcome = run(bed, request);
    let message = &outcome.expect_fault(FrameTooLarge).message;
    assert!(message.contains("the request has 65537 bytes, the limit is 65536"), "{message}");
}

fn run(bed: &TestBed, mut request: BlockRequest) -> Outcome {
    let limits = &mut request.target.limits;
    limits.frame_bytes = FRAME as u64;
    limits.call_deadline_ms = CALL_MS;
    bed.run(&request)
}
