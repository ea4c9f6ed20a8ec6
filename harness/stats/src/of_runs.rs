//! Several runs a side. What lasts through a run moves all of its blocks alike, so blocks of two runs cannot tell such a
//! state of the machine from a change. Where each side has several runs, a run counts once, by its median, and how much
//! runs of one side differ is part of the test.

use crate::compare::{Comparison, Measured, Ratio, Row, Unit, Word, missing, side, sort};
use crate::detect::{Sensitivity, step};
use crate::judge::judge;
use crate::metric::Metric;
use crate::permutation::holm;
use crate::quantile::median;
use crate::spread::CONFIDENCE;
use crate::student;
use crate::summary::{CellSummary, Summary};
use isobench_core::words::Cell;

/// Fewest runs of a side that are tested. With 2 and 2 the interval is 4.3 standard errors wide to each side, with 3 and
/// 3 it is 2.8.
pub const TEST_RUNS: usize = 3;

/// Compares the runs of two sides, cell by cell, with the run as the unit: Student's t-test on the logarithms of the
/// runs' medians, both sides scattering alike. A rank test of 3 and 3 runs could never fall below 5 %.
pub fn several(base: &[&Summary], new: &[&Summary], wanted: &dyn Fn(&Cell) -> bool) -> Comparison {
    let mut cells: Vec<&Cell> = Vec::new();
    for cell in base.iter().chain(new).flat_map(|run| side(run, None)).map(|c| &c.cell).filter(|cell| wanted(cell)) {
        if !cells.contains(&cell) {
            cells.push(cell);
        }
    }
    let pairs = cells.into_iter().flat_map(|cell| Metric::ALL.map(|metric| (cell, metric)));
    let mut rows: Vec<(Row, Option<Difference>)> =
        pairs.filter_map(|(cell, metric)| row(cell, metric, base, new)).collect();
    let tested = rows.iter().filter(|(row, _)| row.p.is_some()).count();
    let corrected = holm(&rows.iter().filter_map(|(row, _)| row.p).collect::<Vec<f64>>());
    for ((row, difference), corrected) in rows.iter_mut().filter(|(row, _)| row.p.is_some()).zip(corrected) {
        row.p_corrected = Some(corrected);
        let least = row.base.as_ref().map_or(0.0, |base| step(row.metric) / base.value);
        row.sensitivity = difference.as_ref().map(|of| Sensitivity::of_runs(of.error, of.freedom, tested, least));
    }
    let mut rows: Vec<Row> = rows.into_iter().map(|(row, _)| row).collect();
    for row in rows.iter_mut().filter(|row| row.base.is_some() && row.new.is_some()) {
        (row.word, row.why) = judge(row, tested, Unit::Runs);
    }
    sort(&mut rows);
    Comparison { rows, floors: Vec::new(), machine: None, tested, unit: Unit::Runs }
}

/// A cell's metric over the runs of both sides; nothing where no run has a number.
fn row(cell: &Cell, metric: Metric, base: &[&Summary], new: &[&Summary]) -> Option<(Row, Option<Difference>)> {
    let cells = |runs: &[&Summary]| -> Vec<CellSummary> {
        runs.iter().filter_map(|run| side(run, None).find(|c| c.cell == *cell).cloned()).collect()
    };
    let (base, new) = (cells(base), cells(new));
    let values = |cells: &[CellSummary]| -> Vec<f64> {
        cells.iter().filter_map(|c| Some(c.headline(metric)?.estimate.value)).collect()
    };
    let (b, n) = (values(&base), values(&new));
    let why = match (b.is_empty(), n.is_empty()) {
        (true, true) => return None,
        (false, true) => format!("new: {}", missing(new.first())),
        (true, false) => format!("base: {}", missing(base.first())),
        (false, false) => String::new(),
    };
    let difference = Difference::of(&b, &n);
    let tested = difference.as_ref().filter(|_| b.len().min(n.len()) >= TEST_RUNS);
    let row = Row {
        cell: cell.clone(),
        metric,
        base: measured(&base, metric, &b),
        new: measured(&new, metric, &n),
        ratio: difference.as_ref().map(Difference::ratio),
        p: tested.map(Difference::p),
        p_corrected: None,
        floor: None,
        sensitivity: None,
        word: Word::OneSided,
        why,
    };
    Some((row, difference))
}

fn measured(cells: &[CellSummary], metric: Metric, values: &[f64]) -> Option<Measured> {
    let mut flags: Vec<_> = cells.iter().flat_map(|c| c.flags_of(metric)).map(|flagged| flagged.flag).collect();
    flags.sort_unstable();
    flags.dedup();
    let blocks = cells.iter().filter_map(|c| Some(c.headline(metric)?.by_block.len() as u32)).sum();
    Some(Measured { value: median(values)?, blocks, runs: values.len() as u32, flags })
}

/// Of two means of logarithms.
#[derive(Debug)]
struct Difference {
    mean: f64,
    /// Its standard error, from the pooled variance.
    error: f64,
    freedom: usize,
}

impl Difference {
    /// `None` where a side is empty, a value is not a positive number, or no run is left to tell how runs differ.
    fn of(base: &[f64], new: &[f64]) -> Option<Difference> {
        let logs = |values: &[f64]| -> Option<Vec<f64>> {
            values.iter().map(|v| (v.is_finite() && *v > 0.0).then(|| v.ln())).collect()
        };
        let (base, new) = (logs(base)?, logs(new)?);
        let (m, n) = (base.len() as f64, new.len() as f64);
        let freedom = (base.len() + new.len()).checked_sub(2).filter(|freedom| *freedom > 0)?;
        if base.is_empty() || new.is_empty() {
            return None;
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let squares = |values: &[f64]| values.iter().map(|v| (v - mean(values)).powi(2)).sum::<f64>();
        let variance = (squares(&base) + squares(&new)) / freedom as f64;
        Some(Difference { mean: mean(&new) - mean(&base), error: (variance * (1.0 / m + 1.0 / n)).sqrt(), freedom })
    }

    fn ratio(&self) -> Ratio {
        let half = student::quantile((1.0 - CONFIDENCE) / 2.0, self.freedom) * self.error;
        Ratio { value: self.mean.exp(), interval: Some(((self.mean - half).exp(), (self.mean + half).exp())) }
    }

    fn p(&self) -> f64 {
        match (self.mean, self.error) {
            (0.0, _) => 1.0,
            (_, 0.0) => 0.0,
            (mean, error) => student::two_sided(mean / error, self.freedom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hours of extra sleep of two groups of ten: "Student", "The Probable Error of a Mean", Biometrika 6(1), 1908;
    /// two-sample p 0.07919 (the help page of R's `sleep`, with equal variances).
    #[test]
    fn the_published_example() {
        let one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0].map(f64::exp);
        let two = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4].map(f64::exp);
        let difference = Difference::of(&one, &two).unwrap();
        assert!((difference.p() - 0.07919).abs() < 1e-5, "{}", difference.p());
        assert!((difference.mean - 1.58).abs() < 1e-9 && difference.freedom == 18);
        let (low, high) = difference.ratio().interval.unwrap();
        assert!((low.ln() + 0.203_874).abs() < 1e-4 && (high.ln() - 3.363_874).abs() < 1e-4, "{low} {high}");
    }

    #[test]
    fn what_cannot_be_tested_is_not() {
        assert!(Difference::of(&[1.0], &[2.0]).is_none() && Difference::of(&[], &[1.0, 2.0, 3.0]).is_none());
        assert!(Difference::of(&[1.0, 0.0], &[1.0, 2.0]).is_none());
        let same = Difference::of(&[1.0; 3], &[1.0; 3]).unwrap();
        assert_eq!((same.p(), same.ratio().interval), (1.0, Some((1.0, 1.0))));
    }
}
