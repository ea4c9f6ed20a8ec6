//! The same cell more than once in a run: A/A in every run, A/B under two configurations.

mod common;

use common::Checkout;
use isobench_core::{CellId, Record, RunFile, Side};
use std::collections::BTreeMap;
use std::fs;

/// The sides of every recorded block, in order of time, of the one cell that all sides measure.
fn sides(run: &RunFile, records: &[Record]) -> Vec<Option<Side>> {
    let side: BTreeMap<CellId, Option<Side>> = run.cells.iter().map(|c| (c.id, c.side)).collect();
    let blocks = records.iter().filter_map(|r| if let Record::Block(b) = r { Some(side[&b.cell]) } else { None });
    blocks.collect()
}

#[test]
fn every_run_measures_a_cell_of_each_row_twice() {
    let checkout = Checkout::new();
    checkout.script("one", "call_us = 10");
    checkout.script("two", "call_us = 10");
    checkout.run(&["run", "--quick", "--only", "null/", "--budget", "2s"]).expect(0);
    let (run, records) = checkout.read_run();
    let again: Vec<_> = run.cells.iter().filter(|c| c.side == Some(Side::Again)).collect();
    // Three guests of one row and two workloads make six cells; the row has one twin.
    assert_eq!((again.len(), run.cells.iter().filter(|c| c.side.is_none()).count()), (1, 2));
    assert!(run.cells.iter().any(|c| c.side.is_none() && c.cell == again[0].cell));
    let of = |id| records.iter().filter(|r| matches!(r, Record::Samples(s) if s.cell == id)).count();
    assert!(of(again[0].id) > 0, "the twin is measured");
    for record in &records {
        if let Record::Block(block) = record {
            assert!(block.calibration_ns.is_some() && block.experiment.is_some(), "{block:?}");
        }
    }
    checkout.assert_nothing_left();
}

#[test]
fn two_configurations_are_interleaved_and_turn_round_each_time() {
    let checkout = Checkout::new();
    checkout.script("work", "call_us = 200");
    fs::write(checkout.path("base.toml"), "").unwrap();
    fs::write(checkout.path("slow.toml"), "name = 'slower'\n[env]\nISOBENCH_NULL_SLOWER_PPM = '1000000'\n").unwrap();
    let args = ["run", "--quick", "--only", "null/", "--budget", "6s", "--ab", "base.toml", "slow.toml"];
    checkout.run(&args).expect(0);

    let (run, records) = checkout.read_run();
    let names: Vec<_> = run.plan.configurations.iter().map(|c| (c.side, c.name.as_str())).collect();
    assert_eq!(names, [(Side::A, "base"), (Side::B, "slower")]);
    let order = sides(&run, &records);
    let (a, b, again) = (Some(Side::A), Some(Side::B), Some(Side::Again));
    assert!(order.len() >= 6, "{order:?}");
    for (round, three) in order.chunks_exact(3).enumerate() {
        let expected = if round % 2 == 0 { [a, b, again] } else { [again, b, a] };
        assert_eq!(three, expected, "round {round} of {order:?}");
    }
    // A sleep is never shorter than asked for, so that every call of side B takes the planted time.
    let slow = run.cells.iter().find(|c| c.side == b).unwrap().id;
    let calls = records.iter().filter_map(|r| match r {
        Record::Samples(s) if s.cell == slow && s.metric == "call" => Some(&s.values),
        _ => None,
    });
    assert!(calls.flatten().all(|ns| *ns >= 400_000));
    checkout.assert_nothing_left();
}

#[test]
fn a_settings_file_that_cannot_be_used_is_told_with_its_line() {
    let checkout = Checkout::new();
    checkout.script("work", "");
    fs::write(checkout.path("base.toml"), "").unwrap();
    fs::write(checkout.path("bad.toml"), "name = 'x'\n[env]\nISOBENCH_STATE = '/'\n").unwrap();
    let args = |b| ["run", "--quick", "--only", "null/", "--ab", "base.toml", b];
    checkout.run(&args("bad.toml")).expect(1).says("bad.toml:3: `ISOBENCH_STATE` is set by isobench itself");
    checkout.run(&args("gone.toml")).expect(1).says("gone.toml: No such file");
    assert!(!checkout.path("results").exists(), "nothing was measured");
}
