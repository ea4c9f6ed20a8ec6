//! Instances of every variant side by side and one after the other in this process. Each variant has a thread, with
//! which its living runtime goes.

use isobench_core::{Fault, FaultKind, Guest};
use isobench_quickjs::QuickJs;
use isobench_runner::protocol::BlockRequest;
use isobench_runner::stopwatch::{Deadline, Phases};
use isobench_runner::testing::{TestBed, one_start};
use isobench_runner::{Backend, Deployment, Instance};
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

/// Does what the request's first byte says.
const RASCAL: &str = "const keep = [];
export function handle([what]) {
  if (what === 1) for (;;);
  if (what === 2) for (;;) keep.push([keep.length]);
  if (what === 3) Promise.resolve().then(() => { for (;;); });
  if (what === 4) (function f(n) { return f(n + 1) + 1; })(0);
  return Uint8Array.of(7);
}";

/// Answers how often it was called; a request of one byte makes it hang.
const COUNTER: &str = "let n = 0;
export function handle(request) {
  while (request.length === 1);
  return Uint8Array.of(++n);
}";

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn deploy(request: &BlockRequest) -> Box<dyn Deployment> {
    let prepared = QuickJs.open(&request.ctx, &request.prepared).expect("it opens");
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

fn a_canary_is_found_nowhere(variant: &str, deployment: &dyn Deployment) {
    let (mut now, mut at_top_level) = (BTreeSet::new(), BTreeSet::new());
    for answer in first_answers(deployment) {
        let number = |n: usize| <[u8; 8]>::try_from(&answer[n * 8..n * 8 + 8]).expect("eight bytes");
        assert_eq!(f64::from_le_bytes(number(0)), 0.0, "quickjs/{variant}: found what another instance left");
        now.insert(number(1));
        at_top_level.insert(number(2));
    }
    assert_eq!(now.len(), LIVE + NEXT, "quickjs/{variant}: two instances drew the same random number");
    assert_eq!(at_top_level.len(), LIVE + NEXT, "quickjs/{variant}");
}

/// What the fault of one instance does to its neighbours.
fn neighbours_live_with_a_rascal(variant: &str, deployment: &dyn Deployment) {
    let call = |instance: &mut Box<dyn Instance>, what: u8| -> Result<Vec<u8>, Fault> {
        instance.call(&[what], Deadline::after(Duration::from_millis(if what.is_multiple_of(2) { 20_000 } else { 50 })))
    };
    let (mut rascal, mut neighbour) = (start(deployment), start(deployment));
    for what in [1, 3] {
        // What runs after `handle` has answered is ended at the deadline as well, and the answer stands.
        let ended = call(&mut rascal, what).map_err(|fault| fault.kind);
        assert_eq!(ended, if what == 1 { Err(FaultKind::DeadlineExceeded) } else { Ok(vec![7]) }, "quickjs/{variant}");
        assert_eq!(neighbour.call(&[0], soon()).expect("an answer"), [7], "quickjs/{variant}");
        assert_eq!(rascal.call(&[0], soon()).expect("an answer"), [7], "quickjs/{variant}");
    }
    // This thread's stack is a small one: the engine must find its end first.
    assert_eq!(call(&mut rascal, 4).expect_err("no stack").kind, FaultKind::GuestThrow, "quickjs/{variant}");
    assert_eq!(call(&mut rascal, 2).expect_err("no memory").kind, FaultKind::OutOfMemory, "quickjs/{variant}");
    // Living contexts share the heap that it has filled: for the neighbour there may be room or none.
    let kind = neighbour.call(&[0], soon()).map_err(|fault| fault.kind);
    let starved = variant == "context" && kind == Err(FaultKind::OutOfMemory);
    assert!(starved || kind == Ok(vec![7]), "quickjs/{variant}: {kind:?}");
    // Whoever comes afterwards is well.
    assert_eq!(start(deployment).call(&[0], soon()).expect("an answer"), [7], "quickjs/{variant}");
}

#[test]
fn instances_of_every_variant_keep_to_themselves() {
    let bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-quickjs"));
    let (canary, rascal) = (bed.write("canary.js", CANARY), bed.write("rascal.js", RASCAL));
    type Check = fn(&str, &dyn Deployment);
    let checks: [(&Path, Check); 2] = [(&canary, a_canary_is_found_nowhere), (&rascal, neighbours_live_with_a_rascal)];
    for variant in bed.runner.description.variants.iter().map(|variant| variant.name.clone()) {
        for (artifact, check) in checks {
            eprintln!("quickjs/{variant}");
            let request = bed.request(&variant, Guest::Js, artifact, b"", b"", one_start());
            let variant = variant.clone();
            let ended = std::thread::spawn(move || check(&variant, deploy(&request).as_ref())).join();
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    }
}

#[test]
fn instances_come_and_go_in_any_order_and_on_any_thread() {
    let bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-quickjs"));
    let counter = bed.write("counter.js", COUNTER);
    for variant in bed.runner.description.variants.iter().map(|variant| variant.name.as_str()) {
        let request = bed.request(variant, Guest::Js, &counter, b"", b"", one_start());
        let deployment = deploy(&request);
        let deployment = deployment.as_ref();
        let mut live: Vec<_> = (0..3).map(|_| start(deployment)).collect();
        let mut count = |n: usize| live[n].call(b"", soon()).expect("an answer")[0];
        assert_eq!([count(0), count(2), count(2), count(1)], [1, 1, 2, 1], "quickjs/{variant}");
        live.remove(1).stop(soon()).expect("it stops");
        live.remove(0).stop(soon()).expect("it stops");
        live.push(start(deployment));
        assert_eq!(live[0].call(b"", soon()).expect("an answer"), [3], "quickjs/{variant}");
        assert_eq!(live[1].call(b"", soon()).expect("an answer"), [1], "quickjs/{variant}");
        // A deadline stops the call it belongs to and no other, and what comes after is whole again.
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let deployment = deploy(&request);
                    let mut hangs = start(deployment.as_ref());
                    for n in 1..=5 {
                        let late = hangs.call(b"!", Deadline::after(Duration::from_millis(20)));
                        assert_eq!(late.expect_err("it hangs").kind, FaultKind::DeadlineExceeded);
                        assert_eq!(hangs.call(b"", soon()).expect("an answer"), [n]);
                    }
                });
            }
        });
    }
}
