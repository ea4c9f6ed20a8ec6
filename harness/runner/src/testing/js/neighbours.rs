//! Instances of an engine side by side and one after the other in the test's own process.

use crate::backend::{Backend, Deployment, Instance};
use crate::protocol::BlockRequest;
use crate::stopwatch::{Deadline, Phases};
use isobench_core::{Fault, FaultKind};
use std::collections::BTreeSet;
use std::time::Duration;

/// How many instances are searched for what others have left.
const NEXT: usize = 1_000;
/// How many of those that left it live on meanwhile.
const LIVE: usize = 4;

/// Looks for what another instance may have left, then leaves it. Answers with how much it found, a random number drawn
/// now, and one drawn at its top level.
pub const CANARY: &str = "let calls = 0;
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
pub const RASCAL: &str = "const keep = [];
export function handle([what]) {
  if (what === 1) for (;;);
  if (what === 2) for (;;) keep.push([keep.length]);
  if (what === 3) Promise.resolve().then(() => { for (;;); });
  if (what === 4) (function f(n) { return f(n + 1) + 1; })(0);
  if (what === 5) (function again() { Promise.resolve().then(again); })();
  return Uint8Array.of(7);
}";

/// A deadline that nothing here is to reach.
pub fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// The deployment that a runner would make for the block.
pub fn deploy(backend: &dyn Backend, request: &BlockRequest) -> Box<dyn Deployment> {
    let prepared = backend.open(&request.ctx, &request.prepared).expect("it opens");
    prepared.deploy(&request.ctx, &request.target).expect("it deploys")
}

/// One instance of it.
pub fn start(deployment: &dyn Deployment) -> Box<dyn Instance> {
    deployment.start(&mut Phases::new(), soon()).expect("it starts")
}

/// Runs `check` on a thread of its own, with which an engine's thread-bound state goes; panics where it panics.
pub fn on_a_thread(check: impl FnOnce() + Send + 'static) {
    std::thread::spawn(check).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// The first answers of a few instances that stay and of a thousand that come and go.
pub fn first_answers(deployment: &dyn Deployment) -> Vec<Vec<u8>> {
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

/// No instance of the [`CANARY`] finds what another left, nor draws the random number of another. `one_top_level`:
/// whether the top level is evaluated once for all, and what was drawn there is everybody's.
pub fn a_canary_is_found_nowhere(variant: &str, deployment: &dyn Deployment, one_top_level: bool) {
    let (mut now, mut at_top_level) = (BTreeSet::new(), BTreeSet::new());
    for answer in first_answers(deployment) {
        let number = |n: usize| <[u8; 8]>::try_from(&answer[n * 8..n * 8 + 8]).expect("eight bytes");
        assert_eq!(f64::from_le_bytes(number(0)), 0.0, "{variant}: found what another instance left");
        now.insert(number(1));
        at_top_level.insert(number(2));
    }
    assert_eq!(now.len(), LIVE + NEXT, "{variant}: two instances drew the same random number");
    assert_eq!(at_top_level.len(), if one_top_level { 1 } else { LIVE + NEXT }, "{variant}");
}

/// What the faults of a [`RASCAL`] do to the one beside it: nothing, until it has filled its memory. Answers with what
/// the neighbour says then, since what it shares is the variant's affair.
///
/// # Errors
/// The neighbour's fault.
pub fn living_with_a_rascal(variant: &str, deployment: &dyn Deployment) -> Result<Vec<u8>, FaultKind> {
    let call = |instance: &mut Box<dyn Instance>, what: u8| -> Result<Vec<u8>, Fault> {
        let ms = if what.is_multiple_of(2) { 20_000 } else { 50 };
        instance.call(&[what], Deadline::after(Duration::from_millis(ms)))
    };
    let (mut rascal, mut neighbour) = (start(deployment), start(deployment));
    for what in [1, 3] {
        // What runs after `handle` has answered counts against the deadline as well.
        assert_eq!(call(&mut rascal, what).expect_err("no end").kind, FaultKind::DeadlineExceeded, "{variant}");
        assert_eq!(neighbour.call(&[0], soon()).expect("an answer"), [7], "{variant}");
        assert_eq!(rascal.call(&[0], soon()).expect("an answer"), [7], "{variant}");
    }
    // The stack of a thread of a test is a small one: the engine must find its end first.
    assert_eq!(call(&mut rascal, 4).expect_err("no stack").kind, FaultKind::GuestThrow, "{variant}");
    assert_eq!(call(&mut rascal, 2).expect_err("no memory").kind, FaultKind::OutOfMemory, "{variant}");
    let afterwards = neighbour.call(&[0], soon()).map_err(|fault| fault.kind);
    assert_eq!(start(deployment).call(&[0], soon()).expect("an answer"), [7], "{variant}: the next guest is well");
    let mut endless = start(deployment);
    assert_eq!(call(&mut endless, 5).expect_err("no end").kind, FaultKind::DeadlineExceeded, "{variant}");
    assert_eq!(start(deployment).call(&[0], soon()).expect("an answer"), [7], "{variant}: promises left to the next");
    afterwards
}
