//! Comparisons of summaries made by hand: which cells are held against which, what is corrected, which floor counts.

use isobench_core::fault::{Fault, FaultKind};
use isobench_core::run::CellFault;
use isobench_core::words::{Cell, Experiment, Guest, Model, Side};
use isobench_stats::compare::{self, Word, floor_of};
use isobench_stats::noise::Circumstances;
use isobench_stats::{CellSummary, Estimate, Headline, Metric, Summary, Verdict};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn name(backend: &str, workload: &str) -> Cell {
    Cell {
        backend: backend.into(),
        variant: "v".into(),
        guest: Guest::Wasm,
        engine: None,
        workload: workload.into(),
        case: "small".into(),
    }
}

/// A cell whose blocks lie evenly within 1 % of `value`, in an order that is no order.
fn cell(backend: &str, workload: &str, side: Option<Side>, value: f64, blocks: usize) -> CellSummary {
    let block = |i: usize| value * (1.0 + ((i * 7 % blocks) as f64 / blocks as f64 - 0.5) / 50.0);
    let by_block: Vec<f64> = (0..blocks).map(block).collect();
    CellSummary {
        id: 0,
        cell: name(backend, workload),
        side,
        model: Model::Wasm,
        verdict: Verdict::Ok,
        blocks: blocks as u32,
        cold_start: None,
        first_in_process: None,
        early_starts: None,
        first_after_import: None,
        warm_call: None,
        footprint: vec![],
        throughput: vec![],
        load: vec![],
        burst: None,
        density: None,
        starters: None,
        circumstances: Circumstances::default(),
        headlines: vec![Headline {
            metric: Metric::ColdStart,
            estimate: Estimate::alone(value, by_block.len() as u32),
            by_block,
        }],
    }
}

fn run(cells: Vec<CellSummary>) -> Summary {
    Summary { cells, samples: 0, calibration_ns: None, probe_ns: None, defects: vec![], incomplete: vec![] }
}

fn everything(_: &Cell) -> bool {
    true
}

#[test]
fn cells_are_paired_by_name_and_twins_are_no_rows() {
    let again = Some(Side::Again);
    let base =
        run(vec![cell("a", "w", None, 100.0, 12), cell("a", "w", again, 101.0, 12), cell("gone", "w", None, 5.0, 12)]);
    let new = run(vec![cell("fresh", "w", None, 7.0, 12), cell("a", "w", Some(Side::A), 110.0, 12)]);
    let found = compare::runs(&base, &new, &everything);
    let words: Vec<(&str, Word)> = found.rows.iter().map(|row| (row.cell.backend.as_str(), row.word)).collect();
    assert_eq!(words, [("a", Word::Worse), ("gone", Word::OneSided), ("fresh", Word::OneSided)]);
    assert!((found.rows[0].ratio.unwrap().value - 1.1).abs() < 1e-3);
    assert_eq!(found.floors.len(), 1);
    assert_eq!((found.floors[0].of, found.tested), (Some(Side::A), 1));
    assert!((found.rows[0].floor.unwrap() - 0.01).abs() < 1e-3);
    assert_eq!(found.rows[0].worse_by(), Some(found.rows[0].ratio.unwrap().effect()));
}

#[test]
fn a_difference_within_the_floor_of_either_run_is_none() {
    let pair = |first: f64, second: f64| {
        run(vec![cell("a", "w", None, first, 12), cell("a", "w", Some(Side::Again), second, 12)])
    };
    // 3 % slower, where the base's own twin was 5 % off; then the new run's.
    let found = compare::runs(&pair(100.0, 105.0), &pair(103.0, 103.0), &everything);
    assert_eq!(found.rows[0].word, Word::NoClearDifference);
    assert!(found.rows[0].p_corrected.unwrap() < 0.05 && found.rows[0].why.contains("noise floor"));
    let found = compare::runs(&pair(100.0, 100.0), &pair(103.0, 98.0), &everything);
    assert_eq!(found.rows[0].word, Word::NoClearDifference);
    let found = compare::runs(&pair(100.0, 100.0), &pair(103.0, 103.0), &everything);
    assert_eq!(found.rows[0].word, Word::Worse);
}

#[test]
fn a_slower_machine_is_not_taken_for_a_slower_cell() {
    let with = |calibration_ns, value| Summary {
        calibration_ns: Some(calibration_ns),
        ..run(vec![cell("a", "w", None, value, 12)])
    };
    let found = compare::runs(&with(2e6, 100.0), &with(2.3e6, 112.0), &everything);
    assert!((found.machine.unwrap().value - 1.15).abs() < 1e-9 && (found.rows[0].floor.unwrap() - 0.15).abs() < 1e-9);
    assert!(!found.rows[0].word.is_difference(), "12 % slower on a machine that is 15 % slower");
    let found = compare::runs(&with(2e6, 100.0), &with(2.01e6, 112.0), &everything);
    assert_eq!(found.rows[0].word, Word::Worse);
    let mut memory = [with(2e6, 100.0), with(2.3e6, 112.0)];
    memory.iter_mut().for_each(|run| run.cells[0].headlines[0].metric = Metric::Memory);
    assert_eq!(compare::runs(&memory[0], &memory[1], &everything).rows[0].word, Word::Worse, "speed is not size");
}

#[test]
fn the_floor_is_that_of_the_same_boundary_or_else_the_largest() {
    let twins = |backend: &str, workload: &str, second: f64| {
        [cell(backend, workload, None, 100.0e3, 9), cell(backend, workload, Some(Side::Again), second * 1e3, 9)]
    };
    let run = run([twins("a", "w", 102.0), twins("a", "x", 97.0), twins("b", "w", 110.0)].concat());
    let floors = compare::floors(&run);
    assert_eq!(floors.len(), 3);
    let floor = |backend| floor_of(&floors, &name(backend, "any"), Metric::ColdStart).unwrap();
    assert!((floor("a") - (100.0 / 97.0 - 1.0)).abs() < 1e-3, "{}", floor("a"));
    assert!((floor("b") - 0.1).abs() < 1e-3 && floor("c") == floor("b"));
    assert_eq!(floor_of(&floors, &name("a", "w"), Metric::Memory), None);
    assert!(floors.iter().all(|f| f.sensitivity.as_ref().is_some_and(|s| s.detectable() < 0.03)));
}

#[test]
fn more_rows_ask_for_more_evidence() {
    let many = |factor: f64| {
        run((0..40).map(|i| cell("a", &format!("w{i}"), None, if i == 0 { factor * 1e6 } else { 1e6 }, 8)).collect())
    };
    let found = compare::runs(&many(1.0), &many(1.02), &everything);
    assert_eq!(found.tested, 40);
    let row = &found.rows[0];
    assert!((row.p_corrected.unwrap() / row.p.unwrap() - 40.0).abs() < 1e-9, "{row:?}");
    let alone = compare::runs(&many(1.0), &many(1.02), &|cell| cell.workload == "w0");
    assert_eq!(alone.rows[0].p_corrected, alone.rows[0].p);
    assert!(alone.rows[0].sensitivity.as_ref().unwrap().detectable() < row.sensitivity.as_ref().unwrap().detectable());
}

/// Blocks that differ by a standard deviation of 3 %: a sum of twelve uniform values is as good as normal.
fn noisy_cell(rng: &mut ChaCha8Rng, workload: &str, side: Option<Side>) -> CellSummary {
    let mut cell = cell("a", workload, side, 100.0, 10);
    let mut normal = || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    cell.headlines[0].by_block.iter_mut().for_each(|value| *value = 100.0 * (0.03 * normal()).exp());
    cell
}

#[test]
fn where_nothing_changed_few_comparisons_call_anything_different() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let (mut bare, mut with_floor) = (0, 0);
    for _ in 0..400 {
        let mut one = || {
            let cells = (0..8).map(|i| noisy_cell(&mut rng, &format!("w{i}"), None)).collect::<Vec<CellSummary>>();
            run([cells, vec![noisy_cell(&mut rng, "w0", Some(Side::Again))]].concat())
        };
        let (base, new) = (one(), one());
        // The same blocks with and without their A/A pair: only then must a floor leave no more than there was.
        let without = |all: &Summary| run(all.cells.iter().filter(|c| c.side.is_none()).cloned().collect());
        let alarm = |base: &Summary, new: &Summary| {
            compare::runs(base, new, &everything).rows.iter().any(|row| row.word.is_difference())
        };
        let (plain, held) = (alarm(&without(&base), &without(&new)), alarm(&base, &new));
        assert!(plain || !held, "a noise floor never adds a difference");
        (bare, with_floor) = (bare + u32::from(plain), with_floor + u32::from(held));
    }
    // 5 % is promised; of 400 comparisons that is 20, and up to 29 would be luck in 98 of 100 cases.
    assert!(bare <= 29, "{bare} of 400, {with_floor} with a noise floor");
}

#[test]
fn sides_of_one_run() {
    let (a, b) = (Some(Side::A), Some(Side::B));
    let sides = run(vec![
        cell("x", "w", a, 100.0, 10),
        cell("x", "w", b, 80.0, 10),
        cell("y", "w", a, 50.0, 10),
        cell("y", "w", b, 50.0, 10),
        cell("y", "w", Some(Side::Again), 50.5, 10),
    ]);
    let found = compare::sides(&sides, &everything);
    let words: Vec<Word> = found.rows.iter().map(|row| row.word).collect();
    assert_eq!(words, [Word::Better, Word::NoClearDifference]);
    assert_eq!(found.floors.len(), 1, "the twin is held against side A");
    assert_eq!(found.floors[0].of, None);
}

#[test]
fn what_failed_is_told_and_what_is_not_positive_is_no_ratio() {
    let mut failed = cell("a", "w", None, 1.0, 8);
    failed.headlines.clear();
    let fault = Fault::new(FaultKind::WrongAnswer, "no");
    failed.verdict = Verdict::Error { faults: vec![CellFault { experiment: Experiment::ColdStart, fault, blocks: 1 }] };
    let found = compare::runs(&run(vec![cell("a", "w", None, 1.0, 8)]), &run(vec![failed]), &everything);
    assert_eq!((found.rows[0].word, found.rows[0].why.as_str()), (Word::OneSided, "new: wrong_answer"));
    let zero = run(vec![cell("a", "w", None, 0.0, 8)]);
    let found = compare::runs(&zero, &zero, &everything);
    assert_eq!((found.rows[0].word, found.rows[0].ratio, found.tested), (Word::TooNoisy, None, 0));
}
