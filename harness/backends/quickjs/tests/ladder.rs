//! Instances of every variant side by side and one after the other in this process. Each variant has a thread, with
//! which its living runtime goes.

use isobench_core::{FaultKind, Guest};
use isobench_quickjs::QuickJs;
use isobench_runner::Deployment;
use isobench_runner::stopwatch::Deadline;
use isobench_runner::testing::js::neighbours::{
    CANARY, RASCAL, a_canary_is_found_nowhere, deploy, living_with_a_rascal, on_a_thread, soon, start,
};
use isobench_runner::testing::{TestBed, one_start};
use std::path::Path;
use std::time::Duration;

/// Answers how often it was called; a request of one byte makes it hang.
const COUNTER: &str = "let n = 0;
export function handle(request) {
  while (request.length === 1);
  return Uint8Array.of(++n);
}";

fn neighbours_live_with_a_rascal(variant: &str, deployment: &dyn Deployment) {
    // Living contexts share the heap that it has filled: for the neighbour there may be room or none.
    let afterwards = living_with_a_rascal(variant, deployment);
    let starved = variant == "context" && afterwards == Err(FaultKind::OutOfMemory);
    assert!(starved || afterwards == Ok(vec![7]), "quickjs/{variant}: {afterwards:?}");
}

fn every_canary_is_alone(variant: &str, deployment: &dyn Deployment) {
    a_canary_is_found_nowhere(variant, deployment, false);
}

#[test]
fn instances_of_every_variant_keep_to_themselves() {
    let bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-quickjs"));
    let (canary, rascal) = (bed.write("canary.js", CANARY), bed.write("rascal.js", RASCAL));
    type Check = fn(&str, &dyn Deployment);
    let checks: [(&Path, Check); 2] = [(&canary, every_canary_is_alone), (&rascal, neighbours_live_with_a_rascal)];
    for variant in bed.runner.description.variants.iter().map(|variant| variant.name.clone()) {
        for (artifact, check) in checks {
            eprintln!("quickjs/{variant}");
            let request = bed.request(&variant, Guest::Js, artifact, b"", b"", one_start());
            let variant = variant.clone();
            on_a_thread(move || check(&variant, deploy(&QuickJs, &request).as_ref()));
        }
    }
}

#[test]
fn instances_come_and_go_in_any_order_and_on_any_thread() {
    let bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-quickjs"));
    let counter = bed.write("counter.js", COUNTER);
    for variant in bed.runner.description.variants.iter().map(|variant| variant.name.as_str()) {
        let request = bed.request(variant, Guest::Js, &counter, b"", b"", one_start());
        let deployment = deploy(&QuickJs, &request);
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
                    let deployment = deploy(&QuickJs, &request);
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
