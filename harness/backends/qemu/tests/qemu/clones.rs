//! Machines that come from one saved state, or have stood still: they share neither random numbers nor a clock.

use super::{bed, patience, request, rude};
use isobench_core::Guest;
use isobench_qemu::QemuBackend;
use isobench_runner::testing::{TestBed, one_start};
use isobench_runner::{Backend, Deployment, Instance, Phases};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the guest's clock may be behind: it ticks in steps of 4 ms, and an emulated one can run slow under load.
const SLOW: Duration = Duration::from_millis(100);

fn deployed(bed: &TestBed, variant: &str, guest: Guest, artifact: &Path) -> Box<dyn Deployment> {
    let block = request(bed, variant, guest, artifact, b"", one_start());
    fs::create_dir_all(&block.ctx.state).unwrap();
    let prepared = QemuBackend.open(&block.ctx, &block.prepared).unwrap();
    prepared.deploy(&block.ctx, &block.target).unwrap()
}

fn start(deployment: &dyn Deployment) -> Box<dyn Instance> {
    deployment.start(&mut Phases::new(), patience()).unwrap()
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn number(answer: Vec<u8>) -> u64 {
    u64::from_le_bytes(answer.try_into().unwrap())
}

#[test]
fn clones_draw_different_random_numbers_and_know_the_time() {
    let Some(bed) = bed() else { return };
    let rude = rude(&bed);
    for variant in ["restore", "paused"] {
        let deployment = deployed(&bed, variant, Guest::Native, &rude);
        let mut drawn = Vec::new();
        for _ in 0..3 {
            // What the state holds is the time before this.
            let before = now();
            let mut clone = start(deployment.as_ref());
            let mut ask = |what: &[u8]| number(clone.call(what, patience()).unwrap());
            let time = Duration::from_nanos(ask(b"tell the time"));
            assert!(time + SLOW >= before && time <= now() + SLOW, "{variant}: {time:?} after {before:?}");
            // The kernel's generator, and the seed that a program of Rust's draws from it.
            drawn.extend([ask(b"draw a random number"), ask(b"draw a seed")]);
            clone.stop(patience()).unwrap();
        }
        let different: std::collections::BTreeSet<u64> = drawn.iter().copied().collect();
        assert_eq!(different.len(), drawn.len(), "{variant}: {drawn:x?}");
    }
}

#[test]
fn clones_of_a_js_guest_draw_different_random_numbers_and_know_the_time() {
    let Some(bed) = bed() else { return };
    if !bed.has_agent(Guest::Js) {
        return;
    }
    let guest = bed.write(
        "draw.js",
        "export const handle = () => new Uint8Array(new Float64Array([Date.now(), Math.random()]).buffer)",
    );
    let deployment = deployed(&bed, "restore", Guest::Js, &guest);
    let draw = || {
        let before = now();
        let mut clone = start(deployment.as_ref());
        let answer = clone.call(b"", patience()).unwrap();
        clone.stop(patience()).unwrap();
        let time = Duration::from_millis(f64::from_le_bytes(answer[..8].try_into().unwrap()) as u64);
        assert!(time + SLOW >= before && time <= now() + SLOW, "{time:?} after {before:?}");
        answer[8..].to_vec()
    };
    assert_ne!(draw(), draw());
}

#[test]
fn what_a_clone_does_is_seen_by_no_other() {
    let Some(bed) = bed() else { return };
    let rude = rude(&bed);
    let deployment = deployed(&bed, "restore", Guest::Native, &rude);
    for _ in 0..10 {
        let mut clone = start(deployment.as_ref());
        assert_eq!(clone.call(b"plant a canary", patience()).unwrap(), b"planted");
        assert_eq!(clone.call(b"plant a canary", patience()).unwrap(), b"found");
        clone.stop(patience()).unwrap();
    }
}
