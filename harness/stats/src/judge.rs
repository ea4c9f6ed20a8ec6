//! The word for a row, from its numbers.

use crate::compare::{IMPORTANT, Ratio, Row, SIGNIFICANT, SMALLEST, TEST_BLOCKS, Unit, Word};
use crate::of_runs::TEST_RUNS;
use crate::permutation::smallest_p;
use isobench_core::words::Flag;

/// The word for a row with a number on both sides, and why. `rows` were tested together, by that `unit`.
///
/// A difference is called one where the test, the interval and the noise floor agree. A test over blocks knows only how
/// blocks differ within a side. Noise that lasted through one of two runs moves all blocks of that side alike and looks
/// like a change, so a noisy side has no verdict, whatever the test says. Where blocks took turns, the same noise hit
/// both sides, widens both and favours neither. Where runs are the unit, such noise is part of how runs differ. In both
/// cases the test stands.
pub(crate) fn judge(row: &Row, rows: usize, unit: Unit) -> (Word, String) {
    let (Some(base), Some(new)) = (&row.base, &row.new) else { return (Word::OneSided, row.why.clone()) };
    let noisy = |flags: &[Flag]| flags.contains(&Flag::Noisy) || flags.contains(&Flag::Disturbed);
    let said = match (noisy(&base.flags), noisy(&new.flags)) {
        (true, true) => Some("both runs are noisy here"),
        (true, false) => Some("the base is noisy here"),
        (false, true) => Some("the new run is noisy here"),
        (false, false) => None,
    };
    if let Some(said) = said.filter(|_| unit == Unit::Blocks) {
        return (Word::TooNoisy, said.into());
    }
    let Some(ratio) = row.ratio else {
        return (Word::TooNoisy, "some blocks are at zero or below: no ratio".into());
    };
    let (least, units, needed) = match unit {
        Unit::Runs => (base.runs.min(new.runs) as usize, "runs", TEST_RUNS),
        Unit::Blocks | Unit::Turns => (base.blocks.min(new.blocks) as usize, "blocks", TEST_BLOCKS),
    };
    let (Some(p), Some((low, high))) = (row.p_corrected, ratio.interval) else {
        return (Word::TooFewBlocks, format!("{least} of the {needed} {units} that the test needs"));
    };
    let called = p < SIGNIFICANT && (low > 1.0 || high < 1.0);
    let within_floor = ratio.effect() <= row.floor.unwrap_or(0.0).max(SMALLEST);
    if called && !within_floor {
        let better = (ratio.value > 1.0) == row.metric.more_is_better();
        let why = match (row.floor, said) {
            _ if unit == Unit::Runs => "",
            (None, _) => "no A/A cells: no noise floor to hold it against",
            (_, Some(_)) => "noisy, but both sides took turns in it",
            (_, None) => "",
        };
        return (if better { Word::Better } else { Word::Worse }, why.into());
    }
    let floor = if called { ", within the noise floor" } else { "" };
    let widest = [low, high].map(|value| Ratio { value, interval: None }.effect()).into_iter().fold(0.0, f64::max);
    if widest <= IMPORTANT {
        return (Word::NoClearDifference, if called { "within the noise floor".into() } else { String::new() });
    }
    if unit != Unit::Runs && smallest_p(base.blocks as usize, new.blocks as usize) > SIGNIFICANT / rows as f64 {
        return (Word::TooFewBlocks, format!("{least} {units} can show no difference among {rows} rows"));
    }
    (Word::TooNoisy, format!("a difference of {:.0} % could hide{floor}", (widest * 100.0).min(1e6)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Measured;
    use crate::metric::Metric;
    use isobench_core::words::{Cell, Guest};
    use proptest::prelude::*;

    fn row(metric: Metric, ratio: f64, interval: (f64, f64), p: f64) -> Row {
        let side = || Some(Measured { value: 1.0, blocks: 12, runs: 1, flags: vec![] });
        Row {
            cell: Cell {
                backend: "v8".into(),
                variant: "fresh".into(),
                guest: Guest::Js,
                engine: None,
                workload: "echo".into(),
                case: "0b".into(),
            },
            metric,
            base: side(),
            new: side(),
            ratio: Some(Ratio { value: ratio, interval: Some(interval) }),
            p: Some(p),
            p_corrected: Some(p),
            floor: Some(0.01),
            sensitivity: None,
            word: Word::OneSided,
            why: String::new(),
        }
    }

    fn word(row: &Row) -> Word {
        judge(row, 4, Unit::Blocks).0
    }

    #[test]
    fn a_difference_needs_test_interval_and_floor() {
        let slower = row(Metric::ColdStart, 1.05, (1.03, 1.07), 0.001);
        assert_eq!(word(&slower), Word::Worse);
        assert_eq!(word(&Row { metric: Metric::Throughput, ..slower.clone() }), Word::Better);
        assert_eq!(word(&Row { p_corrected: Some(0.06), ..slower.clone() }), Word::NoClearDifference);
        assert_eq!(word(&Row { floor: Some(0.05001), ..slower.clone() }), Word::NoClearDifference);
        let (word_without_floor, why) = judge(&Row { floor: None, ..slower }, 4, Unit::Blocks);
        assert!(word_without_floor == Word::Worse && why.contains("no A/A cells"), "{why}");
        assert_eq!(word(&row(Metric::ColdStart, 1.02, (0.999, 1.04), 0.049)), Word::NoClearDifference);
        assert_eq!(word(&row(Metric::WarmCall, 0.9, (0.88, 0.93), 1e-4)), Word::Better);
    }

    #[test]
    fn what_could_hide_an_important_difference_is_not_called_unchanged() {
        assert_eq!(word(&row(Metric::ColdStart, 1.02, (0.95, 1.12), 0.4)), Word::TooNoisy);
        assert_eq!(word(&row(Metric::ColdStart, 1.0, (0.90, 1.05), 0.9)), Word::TooNoisy);
        let large_under_a_larger_floor = Row { floor: Some(0.5), ..row(Metric::ColdStart, 1.3, (1.25, 1.35), 1e-4) };
        assert_eq!(word(&large_under_a_larger_floor), Word::TooNoisy);
    }

    #[test]
    fn too_few_blocks_for_the_test_or_for_its_correction() {
        let few = Row { p: None, p_corrected: None, ..row(Metric::ColdStart, 2.0, (1.5, 3.0), 1.0) };
        assert_eq!(word(&few), Word::TooFewBlocks);
        let mut eight = row(Metric::ColdStart, 2.0, (1.5, 3.0), 0.06);
        for side in [&mut eight.base, &mut eight.new] {
            side.as_mut().unwrap().blocks = 8;
        }
        assert_eq!(judge(&eight, 321, Unit::Blocks).0, Word::TooNoisy);
        assert_eq!(judge(&eight, 322, Unit::Blocks).0, Word::TooFewBlocks);
    }

    #[test]
    fn noise_that_both_sides_took_turns_in_leaves_the_test_standing() {
        let mut noisy = row(Metric::ColdStart, 1.3, (1.2, 1.4), 0.001);
        for side in [&mut noisy.base, &mut noisy.new] {
            side.as_mut().unwrap().flags = vec![Flag::Noisy];
        }
        assert_eq!(judge(&noisy, 4, Unit::Blocks).0, Word::TooNoisy);
        let (word, why) = judge(&noisy, 4, Unit::Turns);
        assert!(word == Word::Worse && why.contains("noisy"), "{why}");
    }

    proptest! {
        /// A slow machine makes verdicts noisy, never wrong: whatever the numbers of a noisy side look like.
        #[test]
        fn a_noisy_run_never_shows_a_difference(ratio in 0.01..100.0f64, width in 1.0..2.0f64, p in 0.0..1.0f64, which in 1..4u8) {
            let mut noisy = row(Metric::ColdStart, ratio, (ratio / width, ratio * width), p);
            for (bit, side) in [(1, &mut noisy.base), (2, &mut noisy.new)] {
                if which & bit != 0 {
                    side.as_mut().unwrap().flags = vec![Flag::Noisy];
                }
            }
            prop_assert_eq!(word(&noisy), Word::TooNoisy);
        }

        #[test]
        fn nothing_within_the_floor_is_called_a_difference(ratio in 0.5..2.0f64, width in 1.0..1.5f64, p in 0.0..1.0f64, more in 0.0..1.0f64) {
            let row = row(Metric::ColdStart, ratio, (ratio / width, ratio * width), p);
            let floor = row.ratio.unwrap().effect() + more;
            let called = word(&Row { floor: Some(floor), ..row }).is_difference();
            prop_assert!(!called);
        }

        #[test]
        fn the_other_way_round_is_the_other_word(ratio in 0.5..2.0f64, width in 1.0..1.5f64, p in 0.0..1.0f64) {
            let there = word(&row(Metric::ColdStart, ratio, (ratio / width, ratio * width), p));
            let back = word(&row(Metric::ColdStart, 1.0 / ratio, (1.0 / ratio / width, width / ratio), p));
            let expected = match there {
                Word::Worse => Word::Better,
                Word::Better => Word::Worse,
                same => same,
            };
            prop_assert_eq!(back, expected);
        }
    }
}
