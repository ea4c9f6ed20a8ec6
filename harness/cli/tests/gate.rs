//! The gate of `isobench compare` on real runs that are stored beside this file: changes planted into one metric are found,
//! whatever noise the other metrics have.

use isobench_core::Experiment;
use isobench_core::record::{BlockRecord, Record};
use isobench_core::store::RunDir;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The cell that changes are planted into.
const CELL: &str = "wasmtime/pooling/wasm/echo/small";

/// A stored run: real, of a minute, with 8 blocks or more of every experiment.
fn stored(name: &str) -> RunDir {
    RunDir::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gate").join(name))
}

/// Multiplies what one experiment measured in a record; a rate becomes smaller.
fn times(record: &mut Record, experiment: Experiment, factor: f64) {
    match record {
        Record::Samples(samples) if samples.experiment == experiment => {
            samples.values.iter_mut().for_each(|value| *value = (*value as f64 * factor) as u64);
        }
        Record::Histogram(visit) if experiment == Experiment::Throughput => {
            visit.elapsed_ns = (visit.elapsed_ns as f64 * factor) as u64;
        }
        _ => {}
    }
}

/// Copies a stored run to `to`, with each record of [`CELL`] and of its A/A repeat changed.
fn changed(from: &str, to: PathBuf, change: impl Fn(&mut Record)) -> PathBuf {
    let from = stored(from);
    let run = from.read_run().unwrap();
    let ids: Vec<u32> = run.cells.iter().filter(|entry| entry.cell.to_string() == CELL).map(|entry| entry.id).collect();
    assert_eq!(ids.len(), 2);
    let mut records = Vec::new();
    from.for_each_record(|mut record| {
        if ids.contains(&record.cell()) {
            change(&mut record);
        }
        records.push(record);
    })
    .unwrap();
    let dir = RunDir::new(&to);
    dir.write_run(&run).unwrap();
    dir.writer().unwrap().append(&records).unwrap();
    to
}

/// Exit code and text of a gate that allows 50 %.
fn gate(base: &Path, new: &Path) -> (Option<i32>, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_isobench"))
        .args(["compare", "--fail-on", "50"])
        .args([base, new])
        .output()
        .unwrap();
    (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
}

#[test]
fn a_change_in_one_metric_is_found_whatever_noise_the_others_have() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = [
        (Experiment::ColdStart, "cold start"),
        (Experiment::WarmCall, "warm call"),
        (Experiment::Footprint, "memory"),
        (Experiment::Throughput, "throughput"),
    ];
    let (code, said) = gate(&changed("1", folder.path().join("base"), |_| {}), stored("2").path());
    assert!(matches!(code, Some(0 | 6)), "two runs of one build: {said}");
    assert!(said.contains("rows could be judged"), "{said}");
    for (planted, name) in metrics {
        for factor in [2.0, 10.0] {
            // Every second block of every other experiment is three times as slow, or as large, and all its blocks were
            // disturbed. Warm calls follow cold starts in one visit, so these two are disturbed together.
            let noise = |record: &mut Record| {
                for (other, _) in metrics.iter().filter(|(other, _)| *other != planted) {
                    let factor = if record.block().is_multiple_of(2) { 3.0 } else { 1.0 };
                    times(record, *other, factor);
                }
                if let Record::Block(block) = record {
                    let visit = if planted == Experiment::WarmCall { Experiment::ColdStart } else { planted };
                    let disturbed = block.experiment != Some(visit);
                    let steal_ppm = if disturbed { 300_000 } else { 0 };
                    let (cell, block, experiment) = (block.cell, block.block, block.experiment);
                    *record =
                        Record::Block(BlockRecord { cell, block, experiment, steal_ppm, ..BlockRecord::default() });
                }
            };
            let base = changed("1", folder.path().join(format!("base-{name}-{factor}")), noise);
            let new = changed("2", folder.path().join(format!("new-{name}-{factor}")), |record| {
                noise(record);
                times(record, planted, factor);
            });
            let (code, said) = gate(&base, &new);
            assert_eq!(code, Some(4), "{name} times {factor}: {said}");
            assert!(said.contains(&format!("- {CELL} {name}: ")), "{name} times {factor}: {said}");
        }
    }
}
