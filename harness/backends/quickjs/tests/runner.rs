//! The runner against the real QuickJS: what works, and every way in which a guest can fail.

use isobench_core::{FaultKind, Guest};
use isobench_runner::testing::js::{ECHO, JsEngine};
use isobench_runner::testing::{contract, one_start};

const ENGINE: JsEngine =
    JsEngine { runner: env!("CARGO_BIN_EXE_isobench-runner-quickjs"), variants: &["fresh", "bytecode", "context"] };

fn fails(source: &str, kind: FaultKind, told: &str) {
    ENGINE.fails(source, kind, told);
}

#[test]
fn every_variant_is_tested() {
    let described = ENGINE.bed().runner.description.variants;
    assert_eq!(described.iter().map(|variant| variant.name.as_str()).collect::<Vec<_>>(), ENGINE.variants);
}

#[test]
fn every_experiment_succeeds() {
    let bed = ENGINE.bed();
    let requests = ENGINE.variants.iter().map(|variant| (*variant, ENGINE.request(&bed, variant, ECHO)));
    JsEngine::every_experiment(&bed, requests);
}

#[test]
fn it_keeps_the_contract_of_every_engine() {
    let bed = ENGINE.bed();
    ENGINE.variants.iter().for_each(|variant| contract::js(&bed, variant));
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
    ENGINE.answers(more, &[1; 7], &one_start());
}

#[test]
fn what_a_call_leaves_pending_runs_before_its_answer_is_taken() {
    let source = "export function handle() {
        const answer = new Uint8Array(2);
        Promise.resolve().then(() => { answer[0] = 1; }).then(() => { answer[1] = 2; });
        return answer;
    }";
    ENGINE.answers(source, &[1, 2], &one_start());
    ENGINE.answers(
        "const n = await Promise.resolve(5); export function handle() { return Uint8Array.of(n); }",
        &[5],
        &one_start(),
    );
}

#[test]
fn a_module_that_is_no_text_is_refused() {
    ENGINE.must_fail(FaultKind::InvalidGuest, "not UTF-8", |bed, variant| {
        let mut request = ENGINE.request(bed, variant, ECHO);
        request.target.artifact = bed.write("bytes.js", [0xff, 0xfe]);
        request
    });
    fails("export function handle() { return '\0'; }", FaultKind::InvalidGuest, "guest.js");
}

#[test]
fn what_is_no_error_can_be_thrown_too() {
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
    ENGINE.hangs(&getter.replace("throw 1", "for (;;)"));
}

#[test]
fn a_loop_that_holds_on_ends_at_the_deadline_too() {
    for source in [
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
        ENGINE.hangs(source);
    }
}

#[test]
fn bytes_of_other_kinds_are_refused() {
    for (answer, what) in [
        ("new Uint8ClampedArray(1)", "object"),
        ("(() => { const a = new Uint8Array(1); a.buffer.transfer(); return a; })()", "gone"),
    ] {
        fails(&format!("export function handle() {{ return {answer}; }}"), FaultKind::BadAnswer, what);
    }
}

#[test]
fn memory_without_end_is_stopped_in_regular_expressions_and_at_the_top_level_too() {
    for source in [
        "export function handle() { const keep = []; for (let i = 0; ; i++) keep.push(/a/.exec('a' + i)); }",
        "const keep = []; for (;;) keep.push(1.5, {}); export function handle() {}",
    ] {
        ENGINE.must_fail(FaultKind::OutOfMemory, "memory_mib", |bed, variant| {
            let mut request = ENGINE.request(bed, variant, source);
            request.target.limits.call_deadline_ms = 60_000;
            request.target.limits.start_deadline_ms = 60_000;
            request
        });
    }
}

#[test]
fn a_limit_in_which_nothing_lives_is_an_error_with_its_remedy() {
    ENGINE.must_fail(FaultKind::BackendFailed, "QuickJS has taken", |bed, variant| {
        let mut request = ENGINE.request(bed, variant, ECHO);
        request.target.limits.memory_bytes = 32 << 10;
        request
    });
}

#[test]
fn other_guests_are_refused() {
    ENGINE.must_fail(FaultKind::BackendFailed, "QuickJS runs js guests", |bed, variant| {
        let guest = bed.write_wat("guest.wasm", contract::WASM_ECHO);
        bed.request(variant, Guest::Wasm, &guest, b"", b"", one_start())
    });
}
