//! Two measurements of the same cells: is there a difference, how large, and how sure is that?

use crate::detect::{Sensitivity, step};
use crate::judge::judge;
use crate::metric::{Headline, Metric};
use crate::permutation::{holm, rank_sum_test};
use crate::ratio::ratio;
use crate::spread::Estimate;
use crate::summary::{CellSummary, Summary, Verdict};
use isobench_core::words::{Cell, Flag, Side};
use serde::Serialize;

/// A corrected p below this is called significant.
pub const SIGNIFICANT: f64 = 0.05;

/// Fewest blocks of a side that are tested. With 8 and 8 the smallest p there is lies at 1 in 6,435, so that the correction for a
/// few hundred rows can still be passed; with 4 and 4 it lies at 1 in 35.
pub const TEST_BLOCKS: usize = 8;

/// No difference up to this size (ratio − 1) is called one. The selection of undisturbed samples is off by up to 0.2 % in
/// simulations ([`crate::undisturbed`]), and lets through what slows the probe by less than its limit.
pub const SMALLEST: f64 = 0.01;

/// A difference of this size (ratio − 1) is one that a reader would act on: where one could hide in the interval, a row
/// is not called unchanged.
pub const IMPORTANT: f64 = 0.10;

/// The outcome of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Every cell and metric that either side has a number for: differences first, each kind by rising p.
    pub rows: Vec<Row>,
    /// Noise floors of the base and of the new run, from their A/A cells.
    pub floors: Vec<Floor>,
    /// How many times as long the calibration loop, the same work always, took in the new run: what two runs say of the
    /// machine itself. Absent within one run, and where one of two has no calibration.
    pub machine: Option<Ratio>,
    /// Rows that were tested, for which p is corrected.
    pub tested: usize,
    /// What the test counts.
    pub unit: Unit,
}

/// What counts once in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A block of one of two runs.
    Blocks,
    /// A block of one run in which the blocks of both sides took turns.
    Turns,
    /// A run of one of two sides, by its median.
    Runs,
}

/// One cell and metric on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The cell.
    pub cell: Cell,
    /// What is compared.
    pub metric: Metric,
    /// The base, where it has a number.
    pub base: Option<Measured>,
    /// The new one, where it has a number.
    pub new: Option<Measured>,
    /// New over base: absent where either side has no number, or a block's value is not above zero.
    pub ratio: Option<Ratio>,
    /// Probability of a difference at least this large where there is none (permutation test over blocks, or Student's t
    /// over runs), one row seen alone; absent with too few of them.
    pub p: Option<f64>,
    /// The same, corrected for the number of rows that were tested.
    pub p_corrected: Option<f64>,
    /// Differences up to this ratio − 1 are what two identical things showed within a run, and of times also what the
    /// calibration loop showed between two; absent without A/A cells and calibration.
    pub floor: Option<f64>,
    /// What could have been found, the correction and the floor included; absent with too few blocks.
    pub sensitivity: Option<Sensitivity>,
    /// The verdict.
    pub word: Word,
    /// Why, for a person.
    pub why: String,
}

impl Row {
    /// How much worse the new side is, as ratio − 1 of the worse over the better: 0.05 is 5 % slower, or more memory.
    /// `None` where it is not worse, or there is no ratio.
    pub fn worse_by(&self) -> Option<f64> {
        let ratio = self.ratio?.value;
        let worse = if self.metric.more_is_better() { 1.0 / ratio } else { ratio };
        (worse > 1.0).then_some(worse - 1.0)
    }

    /// The new value over the base value, as they are shown. The estimate in `ratio` is that of all pairs of blocks, and
    /// differs where blocks have two levels.
    pub fn of_medians(&self) -> Option<f64> {
        let (base, new) = (self.base.as_ref()?.value, self.new.as_ref()?.value);
        (base > 0.0 && new > 0.0).then(|| new / base)
    }

    /// The verdict in a word.
    pub fn said(&self) -> &'static str {
        self.word.said(self.metric)
    }
}

/// One side of a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// Its value: median of its blocks; of several runs, the median of theirs.
    pub value: f64,
    /// Its blocks.
    pub blocks: u32,
    /// Its runs.
    pub runs: u32,
    /// The flags that speak of this metric.
    pub flags: Vec<Flag>,
}

impl Measured {
    /// The value with the blocks that it rests on.
    pub fn estimate(&self) -> Estimate {
        Estimate::alone(self.value, self.blocks)
    }
}

/// New over base with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// The estimate.
    pub value: f64,
    /// The interval, where the blocks carry one.
    pub interval: Option<(f64, f64)>,
}

impl Ratio {
    /// The size of the difference, whichever way round: larger over smaller − 1.
    pub fn effect(self) -> f64 {
        self.value.max(1.0 / self.value) - 1.0
    }
}

/// What can be said of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The new one is worse, by more than the noise.
    Worse,
    /// The new one is better, by more than the noise.
    Better,
    /// Blocks differ so much that an important difference could hide.
    TooNoisy,
    /// Fewer than the test needs.
    TooFewBlocks,
    /// Any difference is small.
    NoClearDifference,
    /// One side has no number.
    OneSided,
}

impl Word {
    /// Every word, in the order of tables.
    pub const ALL: [Word; 6] =
        [Word::Worse, Word::Better, Word::TooNoisy, Word::TooFewBlocks, Word::NoClearDifference, Word::OneSided];

    /// Whether it says anything of a difference, be it that there is none.
    pub fn is_judged(self) -> bool {
        self.is_difference() || self == Word::NoClearDifference
    }

    /// Whether it says that there is a difference.
    pub fn is_difference(self) -> bool {
        matches!(self, Word::Worse | Word::Better)
    }

    /// As a person says it of that metric.
    pub fn said(self, metric: Metric) -> &'static str {
        match (self, metric) {
            (Word::Worse, Metric::Memory) => "larger",
            (Word::Better, Metric::Memory) => "smaller",
            (Word::Worse, _) => "slower",
            (Word::Better, _) => "faster",
            (Word::TooNoisy, _) => "too noisy to tell",
            (Word::TooFewBlocks, _) => "too few blocks to tell",
            (Word::NoClearDifference, _) => "no clear difference",
            (Word::OneSided, _) => "one side only",
        }
    }
}

/// What two identical things differed by in one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Floor {
    /// The side of the comparison it belongs to (A: base, B: new); absent where a run is looked at alone.
    pub of: Option<Side>,
    /// The cell that was measured twice.
    pub cell: Cell,
    /// What was compared.
    pub metric: Metric,
    /// Second over first.
    pub ratio: Ratio,
    /// Blocks of both.
    pub blocks: (u32, u32),
    /// What this pair could have found, looked at alone and with no floor; absent with too few blocks.
    pub sensitivity: Option<Sensitivity>,
}

/// Compares the cells of two runs. Of a run with sides, its side A is taken. Only cells that are `wanted` become rows;
/// noise floors come from all.
pub fn runs(base: &Summary, new: &Summary, wanted: &dyn Fn(&Cell) -> bool) -> Comparison {
    let of = |side, summary| floors(summary).into_iter().map(move |floor| Floor { of: Some(side), ..floor });
    let floors: Vec<Floor> = of(Side::A, base).chain(of(Side::B, new)).collect();
    let cells = |summary| -> Vec<&CellSummary> { side(summary, None).filter(|c| wanted(&c.cell)).collect() };
    let machine = base.calibration_ns.zip(new.calibration_ns).map(|(b, n)| Ratio { value: n / b, interval: None });
    compare(&cells(base), &cells(new), floors, Around { machine, unit: Unit::Blocks })
}

/// Compares the sides A and B of one run.
pub fn sides(run: &Summary, wanted: &dyn Fn(&Cell) -> bool) -> Comparison {
    let cells =
        |wanted_side| -> Vec<&CellSummary> { side(run, Some(wanted_side)).filter(|c| wanted(&c.cell)).collect() };
    compare(&cells(Side::A), &cells(Side::B), floors(run), Around { machine: None, unit: Unit::Turns })
}

/// Every pair of cells that are the same thing twice (A/A), and what they differed by.
pub fn floors(run: &Summary) -> Vec<Floor> {
    let twins = run.cells.iter().filter(|c| c.side == Some(Side::Again));
    let pair = |twin: &CellSummary| {
        let first = side(run, None).find(|c| c.cell == twin.cell)?;
        let one = |again: &Headline| {
            let (a, b) = (&first.headline(again.metric)?.by_block, &again.by_block);
            Some(Floor {
                of: None,
                cell: twin.cell.clone(),
                metric: again.metric,
                ratio: ratio(a, b)?,
                blocks: (a.len() as u32, b.len() as u32),
                sensitivity: alone(a, b, again.metric),
            })
        };
        Some(twin.headlines.iter().filter_map(one).collect::<Vec<Floor>>())
    };
    twins.filter_map(pair).flatten().collect()
}

/// What two sides could find of a metric, looked at alone; nothing with too few blocks for the test.
pub fn alone(base: &[f64], new: &[f64], metric: Metric) -> Option<Sensitivity> {
    Sensitivity::of(base, new, 1, None, step(metric)).filter(|_| base.len().min(new.len()) >= TEST_BLOCKS)
}

/// The noise floor of a row: the largest difference between identical things of the same backend, variant and metric;
/// where there are none, of the same metric.
pub fn floor_of(floors: &[Floor], cell: &Cell, metric: Metric) -> Option<f64> {
    let largest = |near: &dyn Fn(&Floor) -> bool| {
        floors.iter().filter(|f| f.metric == metric && near(f)).map(|f| f.ratio.effect()).max_by(f64::total_cmp)
    };
    largest(&|floor| floor.cell.row() == cell.row()).or_else(|| largest(&|_| true))
}

/// The cells of one side; for none, those that are shown: without a side, or of side A.
pub(crate) fn side(summary: &Summary, wanted: Option<Side>) -> impl Iterator<Item = &CellSummary> {
    summary.cells.iter().filter(move |c| match wanted {
        Some(side) => c.side == Some(side),
        None => c.is_shown(),
    })
}

/// What stands around all rows.
#[derive(Clone, Copy)]
struct Around {
    /// See [`Comparison::machine`].
    machine: Option<Ratio>,
    unit: Unit,
}

impl Around {
    /// Differences up to this are none: what identical things showed within a run, or the machine between two.
    fn floor(self, floors: &[Floor], cell: &Cell, metric: Metric) -> Option<f64> {
        let machine = self.machine.filter(|_| metric != Metric::Memory).map(Ratio::effect);
        [floor_of(floors, cell, metric), machine].into_iter().flatten().max_by(f64::total_cmp)
    }
}

/// A row before it is judged, with the blocks behind it.
struct Pair<'a> {
    row: Row,
    blocks: Option<(&'a [f64], &'a [f64])>,
}

fn compare(base: &[&CellSummary], new: &[&CellSummary], floors: Vec<Floor>, around: Around) -> Comparison {
    let find = |cells: &[&'_ CellSummary], cell: &Cell| cells.iter().position(|c| c.cell == *cell);
    let only_new = new.iter().filter(|n| find(base, &n.cell).is_none());
    let pairs =
        base.iter().map(|b| (Some(*b), find(new, &b.cell).map(|i| new[i]))).chain(only_new.map(|n| (None, Some(*n))));
    let mut pairs: Vec<Pair> =
        pairs.flat_map(|(b, n)| Metric::ALL.into_iter().filter_map(move |metric| pair(b, n, metric))).collect();

    let mut tested: Vec<&mut Pair> = pairs.iter_mut().filter(|pair| pair.row.p.is_some()).collect();
    let corrected = holm(&tested.iter().filter_map(|pair| pair.row.p).collect::<Vec<f64>>());
    let rows = tested.len();
    for (pair, corrected) in tested.iter_mut().zip(corrected) {
        pair.row.p_corrected = Some(corrected);
        pair.row.floor = around.floor(&floors, &pair.row.cell, pair.row.metric);
        let step = step(pair.row.metric);
        pair.row.sensitivity = pair.blocks.and_then(|(base, new)| {
            let floor = pair.row.floor.unwrap_or(0.0).max(SMALLEST);
            Sensitivity::of(base, new, rows, Some(floor), step)
        });
    }
    let mut rows_judged: Vec<Row> = Vec::new();
    for Pair { mut row, .. } in pairs {
        row.floor = around.floor(&floors, &row.cell, row.metric);
        if row.base.is_some() && row.new.is_some() {
            (row.word, row.why) = judge(&row, rows, around.unit);
        }
        rows_judged.push(row);
    }
    sort(&mut rows_judged);
    Comparison { rows: rows_judged, floors, machine: around.machine, tested: rows, unit: around.unit }
}

/// Differences first, each kind by rising p.
pub(crate) fn sort(rows: &mut [Row]) {
    let size = |row: &Row| row.ratio.map_or(0.0, Ratio::effect);
    let group = |row: &Row| if row.word.is_difference() { Word::Worse } else { row.word };
    let p = |row: &Row| row.p_corrected.zip(row.p).unwrap_or((1.0, 1.0));
    rows.sort_by(|a, b| {
        let by_p = p(a).partial_cmp(&p(b)).unwrap_or(std::cmp::Ordering::Equal);
        group(a).cmp(&group(b)).then(by_p).then(size(b).total_cmp(&size(a)))
    });
}

/// A cell's metric on both sides; nothing where neither has a number.
fn pair<'a>(base: Option<&'a CellSummary>, new: Option<&'a CellSummary>, metric: Metric) -> Option<Pair<'a>> {
    let headline = |cell: Option<&'a CellSummary>| cell.and_then(|c| c.headline(metric));
    let (b, n) = (headline(base), headline(new));
    let cell = base.or(new)?.cell.clone();
    let measured = |cell: Option<&CellSummary>, headline: Option<&Headline>| {
        let (cell, headline) = (cell?, headline?);
        Some(Measured {
            value: headline.estimate.value,
            blocks: headline.by_block.len() as u32,
            runs: 1,
            flags: cell.flags_of(metric).map(|f| f.flag).collect(),
        })
    };
    let why = match (b, n) {
        (None, None) => return None,
        (Some(_), None) => format!("new: {}", missing(new)),
        (None, Some(_)) => format!("base: {}", missing(base)),
        (Some(_), Some(_)) => String::new(),
    };
    let blocks = b.zip(n).map(|(b, n)| (b.by_block.as_slice(), n.by_block.as_slice()));
    let ratio = blocks.and_then(|(base, new)| ratio(base, new));
    let enough = blocks.filter(|(base, new)| ratio.is_some() && base.len().min(new.len()) >= TEST_BLOCKS);
    let row = Row {
        cell,
        metric,
        base: measured(base, b),
        new: measured(new, n),
        ratio,
        p: enough.map(|(base, new)| rank_sum_test(base, new)),
        p_corrected: None,
        floor: None,
        sensitivity: None,
        word: Word::OneSided,
        why,
    };
    Some(Pair { row, blocks })
}

/// Why a side has no number.
pub(crate) fn missing(cell: Option<&CellSummary>) -> String {
    match cell.map(|c| &c.verdict) {
        None => "has no such cell".into(),
        Some(Verdict::Error { faults }) => faults.first().map_or_else(|| "failed".into(), |f| f.fault.kind.to_string()),
        Some(_) => "not measured".into(),
    }
}
