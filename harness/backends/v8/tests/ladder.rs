//! Instances of every variant side by side and one after the other in this process. One test, because V8 wants to be
//! initialised on a thread that all others descend from; each variant has a thread, with which its isolates go.

use isobench_core::{Fault, FaultKind, Guest};
use isobench_runner::protocol::BlockRequest;
use isobench_runner::stopwatch::{Deadline, Phases};
use isobench_runner::testing::{TestBed, one_start};
use isobench_runner::{Backend, Deployment, Instance};
use isobench_v8::V8;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// How many instances are searched for what others have left.
const NEXT: usize = 1_000;
/// How many of those that left it live on meanwhile.
const LIVE: usize = 4;

/// Looks for what another instance may have left, then leaves it. Answers with how much it found, a random number drawn
/// now, and one drawn at its top level.
const CANARY: &str = "let calls = 0;
const drawn = Math.random();
const kept = new Uint8Array(4096);
const decoder = new TextDecoder('utf-8', { fatal: true });
export function handle() {
  const found = [
    calls > 0,
    'canary' in globalThis,
    'canary' in Array.prototype,
    'canary' in decoder,
    kept.some(Boolean),
    new Uint8Array(100_000).some(Boolean),
    RegExp.lastMatch === 'canary',
  ];
  calls += 1;
  globalThis.canary = Array.prototype.canary = TextDecoder.prototype.canary = 1;
  kept.fill(255);
  new Uint8Array(100_000).fill(255);
  /canary/.test(decoder.decode(new TextEncoder().encode('a canary')));
  return new Uint8Array(Float64Array.of(found.filter(Boolean).length, Math.random(), drawn).buffer);
}";

/// The same in a global, in linear memory, and in memory that it grows.
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

/// Does what the request's first byte says.
const RASCAL: &str = "const keep = [];
export function handle([what]) {
  if (what === 1) for (;;);
  if (what === 2) for (;;) keep.push([keep.length]);
  if (what === 3) Promise.resolve().then(() => { for (;;); });
  return Uint8Array.of(7);
}";

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn deploy(request: &BlockRequest) -> Box<dyn Deployment> {
    let prepared = V8.open(&request.ctx, &request.prepared).expect("it opens");
    prepared.deploy(&request.ctx, &request.target).expect("it deploys")
}

fn start(deployment: &dyn Deployment) -> Box<dyn Instance> {
    deployment.start(&mut Phases::new(), soon()).expect("it starts")
}

/// The first answers of [`LIVE`] instances that stay and of [`NEXT`] that come and go.
fn first_answers(deployment: &dyn Deployment) -> Vec<Vec<u8>> {
    let mut answers = Vec::new();
    let mut live: Vec<Box<dyn Instance>> = (0..LIVE).map(|_| start(deployment)).collect();
    answers.extend(live.iter_mut().map(|instance| instance.call(b"", soon()).expect("an answer")));
    for _ in 0..NEXT {
        let mut instance = start(deployment);
        answers.push(instance.call(b"", soon()).expect("an answer"));
        instance.stop(soon()).expect("it stops");
    }
    answers
}

fn a_js_canary_is_found_nowhere(variant: &str, deployment: &dyn Deployment) {
    let (mut now, mut at_top_level) = (BTreeSet::new(), BTreeSet::new());
    for answer in first_answers(deployment) {
        let number = |n: usize| <[u8; 8]>::try_from(&answer[n * 8..n * 8 + 8]).expect("eight bytes");
        assert_eq!(f64::from_le_bytes(number(0)), 0.0, "v8/{variant}: found what another instance left");
        now.insert(number(1));
        at_top_level.insert(number(2));
    }
    assert_eq!(now.len(), LIVE + NEXT, "v8/{variant}: two instances drew the same random number");
    // What was drawn before the snapshot was taken is in it; nowhere else is a top level evaluated once for all.
    let drawn = if variant == "snapshot" { 1 } else { LIVE + NEXT };
    assert_eq!(at_top_level.len(), drawn, "v8/{variant}");
}

fn a_wasm_canary_is_found_nowhere(variant: &str, deployment: &dyn Deployment) {
    for answer in first_answers(deployment) {
        assert_eq!(answer, [0], "v8/{variant}: found what another instance left");
    }
}

/// What the fault of one instance does to its neighbours.
fn neighbours_live_with_a_rascal(variant: &str, deployment: &dyn Deployment) {
    let call = |instance: &mut Box<dyn Instance>, what: u8| -> Result<Vec<u8>, Fault> {
        instance.call(&[what], Deadline::after(Duration::from_millis(if what == 2 { 20_000 } else { 50 })))
    };
    let (mut rascal, mut neighbour) = (start(deployment), start(deployment));
    for what in [1, 3] {
        // What runs after `handle` has answered is ended at the deadline as well, and the answer stands.
        let ended = call(&mut rascal, what).map_err(|fault| fault.kind);
        assert_eq!(ended, if what == 1 { Err(FaultKind::DeadlineExceeded) } else { Ok(vec![7]) }, "v8/{variant}");
        assert_eq!(neighbour.call(&[0], soon()).expect("an answer"), [7], "v8/{variant}");
        assert_eq!(rascal.call(&[0], soon()).expect("an answer"), [7], "v8/{variant}");
    }
    assert_eq!(call(&mut rascal, 2).expect_err("no memory").kind, FaultKind::OutOfMemory, "v8/{variant}");
    // Living contexts share a heap, and so its end; everybody else is on his own.
    let kind = neighbour.call(&[0], soon()).map_err(|fault| fault.kind);
    let expected = if variant == "context" { Err(FaultKind::OutOfMemory) } else { Ok(vec![7]) };
    assert_eq!(kind, expected, "v8/{variant}");
    // Whoever comes afterwards is well.
    assert_eq!(start(deployment).call(&[0], soon()).expect("an answer"), [7], "v8/{variant}");
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
        let ended = std::thread::spawn(move || check(variant, deploy(&request).as_ref())).join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}
