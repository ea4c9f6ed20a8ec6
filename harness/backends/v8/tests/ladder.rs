//! Instances of every variant side by side and one after the other in this process. One test, because V8 wants to be
//! initialised on a thread that all others descend from; each variant has a thread, with which its isolates go.

use isobench_core::{FaultKind, Guest};
use isobench_runner::Deployment;
use isobench_runner::testing::js::neighbours::{
    CANARY, RASCAL, a_canary_is_found_nowhere, deploy, first_answers, living_with_a_rascal, on_a_thread,
};
use isobench_runner::testing::{TestBed, one_start};
use isobench_v8::V8;
use std::path::Path;

/// A canary in a global, in linear memory, and in memory that it grows; answers with what it found.
const WAT_CANARY: &str = "(module (memory (export \"memory\") 1 2) (global $kept (mut i32) (i32.const 0))
  (func (export \"alloc\") (param i32) (result i32) i32.const 64)
  (func (export \"handle\") (param i32 i32) (result i64)
    (drop (memory.grow (i32.const 1)))
    (i32.store8 (i32.const 0) (i32.or (global.get $kept)
      (i32.or (i32.load8_u (i32.const 1024)) (i32.load8_u (i32.const 70000)))))
    (global.set $kept (i32.const 255))
    (i32.store8 (i32.const 1024) (i32.const 255))
    (i32.store8 (i32.const 70000) (i32.const 255))
    i64.const 1))";

fn a_js_canary_is_found_nowhere(variant: &str, deployment: &dyn Deployment) {
    // What was drawn before the snapshot was taken is in it; nowhere else is a top level evaluated once for all.
    a_canary_is_found_nowhere(variant, deployment, variant == "snapshot");
}

fn a_wasm_canary_is_found_nowhere(variant: &str, deployment: &dyn Deployment) {
    for answer in first_answers(deployment) {
        assert_eq!(answer, [0], "v8/{variant}: found what another instance left");
    }
}

fn neighbours_live_with_a_rascal(variant: &str, deployment: &dyn Deployment) {
    // Living contexts share a heap, and so its end; everybody else is on his own.
    let expected = if variant == "context" { Err(FaultKind::OutOfMemory) } else { Ok(vec![7]) };
    assert_eq!(living_with_a_rascal(variant, deployment), expected, "v8/{variant}");
}

#[test]
fn instances_of_every_variant_keep_to_themselves() {
    let bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-v8"));
    let (canary, rascal) = (bed.write("canary.js", CANARY), bed.write("rascal.js", RASCAL));
    let wasm_canary = bed.write_wat("canary.wasm", WAT_CANARY);
    let limits = isobench_core::Limits::default();
    let compilers = isobench_v8::engine::Compilers::All;
    isobench_v8::engine::initialise(limits.memory_bytes, compilers, isobench_v8::engine::abort_out_of_memory)
        .expect("V8");

    // `jitless` wants a process of its own; nothing in it tells it from `fresh` but a flag of V8's.
    type Check = fn(&str, &dyn Deployment);
    let mut checks: Vec<(&str, Guest, &Path, Check)> = Vec::new();
    for variant in ["fresh", "code-cache", "pool", "context", "snapshot"] {
        checks.push((variant, Guest::Js, &canary, a_js_canary_is_found_nowhere));
        checks.push((variant, Guest::Js, &rascal, neighbours_live_with_a_rascal));
    }
    for variant in ["fresh", "module-cache", "pool", "context"] {
        checks.push((variant, Guest::Wasm, &wasm_canary, a_wasm_canary_is_found_nowhere));
    }
    for (variant, guest, artifact, check) in checks {
        eprintln!("v8/{variant} {guest}");
        let request = bed.request(variant, guest, artifact, b"", b"", one_start());
        on_a_thread(move || check(variant, deploy(&V8, &request).as_ref()));
    }
}
