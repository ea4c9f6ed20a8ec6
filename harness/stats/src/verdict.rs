//! When warm calls have settled, when a cell is noisy. Each limit is published with its reason: a flag that every row
//! carries on an ordinary shared machine tells nothing, so a limit lies where a reader would draw another conclusion.

use crate::quantile::{median, quantile, sorted};
use isobench_core::record::BlockRecord;
use serde::Serialize;

/// Fewest calls of a series that can be judged: ten in each third.
pub const SETTLE_CALLS: usize = 30;

/// Most that the median of the last third may differ from that of the second third in a settled series. Tiering
/// compilers move a call's time by far more than this; blocks of one settled cell differ by about as much.
pub const SETTLE_LIMIT: f64 = 0.10;

/// Most that blocks may differ: their interquartile range over their median. On an ordinary shared machine with two
/// cores, programs that hand a request back and forth differ by 10 to 40 % from block to block, by whether they land on
/// one core or two; a flag that each of them carries would tell nothing. From a half on, the minute in which a block ran
/// says more than the boundary.
pub const SPREAD_LIMIT: f64 = 0.5;

/// Fewest blocks whose spread is judged: quartiles of three values are two of the three.
pub const SPREAD_BLOCKS: usize = 4;

/// Most steal time of a block, parts per million of its processor time: 5 %. Below it a median hardly moves.
pub const STEAL_LIMIT_PPM: u64 = 50_000;

/// Whether a warm series has settled: the medians of its second and last third differ by [`SETTLE_LIMIT`] at most.
/// `None` for fewer than [`SETTLE_CALLS`] calls.
pub fn settled(series: &[f64]) -> Option<bool> {
    if series.len() < SETTLE_CALLS {
        return None;
    }
    let third = series.len() / 3;
    let last = median(&series[series.len() - third..])?;
    let second = median(&series[third..2 * third])?;
    Some((last - second).abs() <= SETTLE_LIMIT * last)
}

/// The part of a warm series that the headline takes: its second half, settled or not. All of it stays in the data.
pub fn tail(series: &[f64]) -> &[f64] {
    &series[series.len() / 2..]
}

/// How far blocks differ: interquartile range of their medians over the median of them, from [`SPREAD_BLOCKS`] up.
pub fn relative_spread(block_medians: &[f64]) -> Option<f64> {
    if block_medians.len() < SPREAD_BLOCKS {
        return None;
    }
    let values = sorted(block_medians);
    let middle = quantile(&values, 0.5);
    (middle > 0.0).then(|| (quantile(&values, 0.75) - quantile(&values, 0.25)) / middle)
}

/// What went on around a cell's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Circumstances {
    /// Blocks with a record of it.
    pub blocks: u32,
    /// Blocks whose steal time was over [`STEAL_LIMIT_PPM`].
    pub stolen: u32,
    /// Highest steal time of a block, parts per million.
    pub most_steal_ppm: u64,
    /// Highest share of a block in which a task waited for a processor, parts per million. Context only: a benchmark
    /// that keeps every core busy waits for itself.
    pub most_pressure_ppm: Option<u64>,
}

impl Circumstances {
    /// Counts one more block in.
    pub fn add(&mut self, block: &BlockRecord) {
        self.blocks += 1;
        self.stolen += u32::from(block.steal_ppm > STEAL_LIMIT_PPM);
        self.most_steal_ppm = self.most_steal_ppm.max(block.steal_ppm);
        self.most_pressure_ppm = self.most_pressure_ppm.max(block.cpu_pressure_ppm);
    }

    /// Whether more than half of the blocks lost too much processor time to other machines.
    pub fn is_stolen(&self) -> bool {
        self.stolen * 2 > self.blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_that_still_falls_has_not_settled() {
        let falling: Vec<f64> = (0..300).map(|i| 1000.0 - f64::from(i)).collect();
        assert_eq!(settled(&falling[..150]), Some(true), "within the limit");
        let steep: Vec<f64> = (0..300).map(|i| 1000.0 - 3.0 * f64::from(i)).collect();
        assert_eq!(settled(&steep), Some(false));
        assert_eq!(settled(&steep[..29]), None);
        let warm_up_then_flat: Vec<f64> = (0..300).map(|i| if i < 90 { 900.0 } else { 100.0 }).collect();
        assert_eq!(settled(&warm_up_then_flat), Some(true));
        assert!(tail(&warm_up_then_flat).iter().all(|v| *v == 100.0));
    }

    #[test]
    fn spread_is_judged_from_four_blocks_and_robustly() {
        assert_eq!(relative_spread(&[1.0, 100.0, 1.0]), None);
        let one_bad = relative_spread(&[100.0, 101.0, 99.0, 100.0, 102.0, 98.0, 100.0, 900.0]).unwrap();
        assert!(one_bad < SPREAD_LIMIT, "one bad block of eight does not make a cell noisy: {one_bad}");
        assert!(relative_spread(&[50.0, 100.0, 150.0, 60.0, 140.0, 100.0]).unwrap() > SPREAD_LIMIT);
    }

    #[test]
    fn steal_counts_by_the_majority_of_blocks() {
        let block =
            |steal_ppm| BlockRecord { steal_ppm, cpu_pressure_ppm: Some(steal_ppm / 2), ..BlockRecord::default() };
        let mut seen = Circumstances::default();
        assert!(!seen.is_stolen());
        seen.add(&block(400_000));
        seen.add(&block(0));
        assert!(!seen.is_stolen());
        seen.add(&block(60_000));
        assert!(seen.is_stolen());
        assert_eq!((seen.most_steal_ppm, seen.most_pressure_ppm), (400_000, Some(200_000)));
    }
}
