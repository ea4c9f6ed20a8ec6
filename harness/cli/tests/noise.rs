//! A busy machine makes no verdict wrong. Alone in its file: the test keeps every processor busy.

mod common;

use common::Checkout;
use isobench_core::Record;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, thread};

/// One quick run of the scripted cell; the path of its folder.
fn run(checkout: &Checkout, out: &str) -> String {
    let args = ["run", "--quick", "--only", "null/", "--seed", "7", "--budget", "20s", "--out", out];
    checkout.run(&args).expect(0);
    let results = fs::read_dir(checkout.path(out).join("results")).unwrap();
    results.map(|entry| entry.unwrap().path().display().to_string()).next().unwrap()
}

#[test]
fn other_programs_on_every_core_make_no_comparison_wrong() {
    let checkout = Checkout::new();
    checkout.script("work", "spin = true\nstart_us = 300\ncall_us = 300");
    let before = run(&checkout, "before");
    let stop = AtomicBool::new(false);
    let beside = thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        let beside = run(&checkout, "beside");
        stop.store(true, Ordering::Relaxed);
        beside
    });

    let seen = isobench_core::store::RunDir::new(&beside);
    let mut blocks = (0, 0);
    seen.for_each_record(|record| {
        if let Record::Block(block) = record {
            blocks.0 += 1;
            blocks.1 += u32::from(block.others_runnable.is_some_and(|ends| ends.iter().all(|n| *n > 0)));
        }
    })
    .unwrap();
    assert!(blocks.1 * 2 > blocks.0, "the neighbours are seen in most blocks: {blocks:?}");
    // Either enough starts between two turns of the neighbours were undisturbed, and nothing has changed, or nothing can
    // be said.
    let compared = checkout.run(&["compare", &before, &beside, "--fail-on", "0"]);
    assert!(matches!(compared.code, Some(0 | 6)), "{compared:?}");
    assert!(!compared.stdout.contains("slower"), "{compared:?}");
}
