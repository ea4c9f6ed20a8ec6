//! Which blocks of a run count: those whose end was read, held against those that `run.json` counts.

use isobench_core::record::{BlockRecord, FaultRecord, Record, Samples, Unit};
use isobench_core::run::CellFault;
use isobench_core::store::RunDir;
use isobench_core::whole::Completeness;
use isobench_core::{Experiment, Fault, FaultKind, RunFile};
use proptest::prelude::*;
use std::fs;

/// A run of one cell with three good blocks and one with a fault, of two lines each.
fn written(dir: &tempfile::TempDir) -> (RunDir, RunFile) {
    let reference = RunDir::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/reference")).read_run().unwrap();
    let fault = Fault::new(FaultKind::WrongAnswer, "5 bytes");
    let mut run = RunFile { cells: reference.cells[3..4].to_vec(), ended_unix_ms: Some(1), ..reference };
    run.cells[0].blocks = 3;
    run.cells[0].faults = vec![CellFault { experiment: Experiment::ColdStart, fault: fault.clone(), blocks: 1 }];
    let id = run.cells[0].id;
    let mut records = Vec::new();
    for block in 0..4 {
        let experiment = Experiment::ColdStart;
        let first = if block == 3 {
            Record::Fault(FaultRecord { cell: id, block, experiment, fault: fault.clone() })
        } else {
            let metric = "total".to_string();
            let (n, unit, index, flags, values) = (None, Unit::Ns, 0, vec![], vec![1]);
            Record::Samples(Samples {
                cell: id,
                block,
                experiment,
                metric,
                n,
                unit,
                index,
                flags,
                probe_ns: None,
                every: None,
                values,
            })
        };
        records.extend([first, Record::Block(BlockRecord { cell: id, block, ..BlockRecord::default() })]);
    }
    let dir = RunDir::new(dir.path());
    dir.writer().unwrap().append(&records).unwrap();
    (dir, run)
}

fn read(dir: &RunDir, run: &RunFile) -> (usize, Completeness) {
    let mut count = 0;
    let completeness = dir.for_each_whole_block(run, |_| count += 1).unwrap();
    (count, completeness)
}

#[test]
fn a_whole_run_has_nothing_against_it() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, run) = written(&dir);
    let (count, completeness) = read(&dir, &run);
    assert_eq!((count, completeness.whole, completeness.fault()), (8, 4, None));
    assert_eq!(completeness.warnings(), [] as [&str; 0]);
}

#[test]
fn a_run_without_samples_or_with_those_of_another_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, mut run) = written(&dir);
    run.cells[0].blocks = 2;
    assert!(read(&dir, &run).1.fault().unwrap().contains("holds 1 block that run.json does not count"));
    run.ended_unix_ms = None;
    assert_eq!(read(&dir, &run).1.fault(), None, "a run in progress writes its counts after its blocks");
    for empty in [true, false] {
        if empty {
            fs::write(dir.samples(), "").unwrap()
        } else {
            fs::remove_file(dir.samples()).unwrap()
        }
        assert!(read(&dir, &run).1.fault().unwrap().contains("no whole block"));
    }
}

proptest! {
    /// Wherever the file ends, only whole blocks are read, and an ended run is refused for each that is missing.
    #[test]
    fn a_cut_file_never_gives_half_a_block(cut in 0usize..900) {
        let dir = tempfile::tempdir().unwrap();
        let (dir, run) = written(&dir);
        let text = fs::read(dir.samples()).unwrap();
        let kept = &text[..cut.min(text.len())];
        fs::write(dir.samples(), kept).unwrap();
        let (count, completeness) = read(&dir, &run);
        prop_assert_eq!(count, completeness.whole * 2);
        prop_assert_eq!(completeness.whole + completeness.missing, 4);
        prop_assert_eq!(completeness.fault().is_none(), completeness.whole == 4);
        prop_assert!(completeness.cut <= 1);
    }
}
