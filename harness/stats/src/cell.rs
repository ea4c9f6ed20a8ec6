//! One cell: its samples become its summary.

use crate::accumulate::{CellData, Series, Visits};
use crate::flags;
use crate::metric::{Headline, Metric};
use crate::noise::{Circumstances, Reference};
use crate::quantile::{Pool, quantile, samples_needed, support};
use crate::settle::{self, Shapes};
use crate::slope::{Line, theil_sen};
use crate::spread::Estimate;
use crate::summary::{
    CURVE_POINTS, CellSummary, Latency, Measure, Phase, Reading, Starts, Throughput, Verdict, WarmCall, Yardstick,
};
use isobench_core::record::{Mode, PHASES, YARDSTICKS};
use isobench_core::run::{CellEntry, Order};
use isobench_core::words::{Experiment, Model};
use std::collections::{BTreeMap, BTreeSet};

/// What the run says of the cell.
pub(crate) struct Context<'a> {
    pub order: Order,
    pub entry: &'a CellEntry,
    pub model: Model,
    pub emulated: bool,
    pub usual: Reference,
}

/// The summary of one cell.
pub(crate) fn summarise(context: &Context, mut data: CellData) -> CellSummary {
    let mut cell = CellSummary {
        id: context.entry.id,
        cell: context.entry.cell.clone(),
        side: context.entry.side,
        model: context.model,
        verdict: Verdict::NotMeasured,
        blocks: data.blocks.len() as u32,
        cold_start: None,
        first_in_process: None,
        first_after_import: None,
        warm_call: None,
        footprint: Vec::new(),
        throughput: Vec::new(),
        load: Vec::new(),
        burst: None,
        density: None,
        starters: None,
        circumstances: Circumstances::of(&data.records, &context.usual),
        headlines: Vec::new(),
    };
    // `run.json` counts faults by its end; the samples know them even if the run was killed.
    let faults =
        if context.entry.faults.is_empty() { std::mem::take(&mut data.faults) } else { context.entry.faults.clone() };
    if !faults.is_empty() {
        cell.verdict = Verdict::Error { faults };
        return cell;
    }
    if data.blocks.is_empty() {
        return cell;
    }
    // Starts that nothing made cold are in the samples, because warm calls follow them; they are no cold starts.
    if !context.entry.experiments.contains(&Experiment::ColdStart) {
        data.starts.clear();
        data.first_starts.clear();
        data.starts_after_import.clear();
    }
    let settled = Settled::of(&data.calls);
    let by_block = by_block(&data, settled.as_ref(), context.usual.processors);
    cell.cold_start = starts(&data.starts);
    cell.first_in_process = starts(&data.first_starts);
    cell.first_after_import = starts(&data.starts_after_import);
    cell.warm_call = settled.and_then(|settled| warm_call(&settled));
    cell.footprint = footprint(data.memory);
    cell.throughput = throughput(data.throughput);
    cell.load = data.load.curves();
    cell.burst = data.load.burst();
    cell.density = data.load.density();
    cell.starters = data.starters.summary(data.load.reached(Experiment::Starts));
    cell.headlines = headlines(&cell, by_block);
    let flags = flags::of(context, &cell);
    cell.verdict = if flags.is_empty() { Verdict::Ok } else { Verdict::Flagged { flags } };
    cell
}

/// The value of every block for each of [`Metric::ALL`]: median start, median settled call, slope of PSS, calls per
/// second on all of so many `processors`.
pub(crate) fn by_block(data: &CellData, settled: Option<&Settled>, processors: u32) -> [Vec<f64>; 4] {
    let totals = data.starts.iter().find(|(name, _)| name == "total").map(|(_, series)| blocks_of(series));
    let medians = |blocks: Option<Vec<Vec<f64>>>| medians(&blocks.unwrap_or_default());
    [medians(totals), medians(settled.map(Settled::tails)), slopes(&data.memory), rates(&data.throughput, processors)]
}

/// The numbers that a cell is compared by, each with the values of its blocks.
fn headlines(cell: &CellSummary, by_block: [Vec<f64>; 4]) -> Vec<Headline> {
    let estimates = [
        cell.cold_start.as_ref().map(|s| s.total.p50),
        cell.warm_call.as_ref().map(|w| w.tail.p50),
        cell.yardstick(YARDSTICKS[0]).and_then(|y| y.slope),
        Estimate::of_blocks(&by_block[3]),
    ];
    let one = |((metric, estimate), by_block): ((Metric, Option<Estimate>), Vec<f64>)| {
        Some(Headline { metric, estimate: estimate?, by_block })
    };
    Metric::ALL.into_iter().zip(estimates).zip(by_block).filter_map(one).collect()
}

/// PSS of one more instance, by block.
fn slopes(memory: &BTreeMap<String, BTreeMap<u32, Series>>) -> Vec<f64> {
    memory.get(YARDSTICKS[0]).map(lines).into_iter().flatten().map(|line| line.slope).collect()
}

/// Calls per second by block on warm instances, with as many requests in flight as there are processors: the highest
/// concurrency measured that is not above their number. Where that is unknown, the highest.
fn rates(visits: &BTreeMap<(Mode, u32), Visits>, processors: u32) -> Vec<f64> {
    let most = if processors == 0 { u32::MAX } else { processors };
    visits.range((Mode::Warm, 0)..=(Mode::Warm, most)).next_back().map_or_else(Vec::new, |(_, v)| v.rates.clone())
}

/// The values of every block in the order they were taken.
fn blocks_of(series: &Series) -> Vec<Vec<f64>> {
    let values = |runs: &Vec<(u32, Vec<u64>)>| {
        let mut runs: Vec<_> = runs.iter().collect();
        runs.sort_by_key(|(index, _)| *index);
        runs.iter().flat_map(|(_, values)| values.iter().map(|v| *v as f64)).collect()
    };
    series.values().map(values).collect()
}

fn medians(blocks: &[Vec<f64>]) -> Vec<f64> {
    blocks.iter().filter_map(|block| crate::quantile::median(block)).collect()
}

fn measure(blocks: Vec<Vec<f64>>) -> Option<Measure> {
    Some(distribution(blocks)?.0)
}

/// With the points of its curve.
fn distribution(mut blocks: Vec<Vec<f64>>) -> Option<(Measure, Vec<f64>)> {
    blocks.retain(|block| !block.is_empty());
    for block in &mut blocks {
        block.sort_unstable_by(f64::total_cmp);
    }
    let pool = Pool::new(&blocks)?;
    let medians: Vec<f64> = blocks.iter().map(|block| quantile(block, 0.5)).collect();
    let tail = |q: f64| (support(&blocks) >= samples_needed(q)).then(|| Estimate::of_tail(&blocks, &pool, q));
    let measure = Measure {
        n: blocks.iter().map(|b| b.len() as u64).sum(),
        blocks: blocks.len() as u32,
        p50: Estimate::of_blocks(&medians)?,
        p90: tail(0.9),
        p99: tail(0.99),
        p999: tail(0.999),
        min: pool.quantile(0.0),
        max: pool.quantile(1.0),
    };
    Some((measure, pool.curve(CURVE_POINTS)))
}

fn starts(metrics: &[(String, Series)]) -> Option<Starts> {
    let of = |name: &str| metrics.iter().find(|(n, _)| n == name).map(|(_, series)| blocks_of(series));
    let measured = |name: &str| measure(of(name)?);
    let mut names: Vec<&str> = metrics.iter().map(|(n, _)| n.as_str()).filter(|n| rank(n).is_some()).collect();
    // A phase that is split shows as its parts.
    let whole = names.clone();
    names.retain(|name| !whole.iter().any(|other| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))));
    names.sort_by_key(|name| rank(name));
    let (total, curve) = distribution(of("total")?)?;
    Some(Starts {
        total,
        phases: names.iter().filter_map(|n| Some(Phase { name: (*n).into(), time: measured(n)? })).collect(),
        destroy: measured("destroy"),
        curve,
    })
}

/// Where a phase stands among the phases; `None` for what is none.
fn rank(name: &str) -> Option<usize> {
    let stem = name.split('.').next().unwrap_or(name);
    PHASES.iter().position(|phase| *phase == stem)
}

/// The warm series of a cell's blocks, each with the first call of its settled part.
pub(crate) struct Settled {
    series: Vec<(Vec<f64>, usize)>,
    shapes: Shapes,
}

impl Settled {
    /// `None` of no calls.
    pub fn of(calls: &Series) -> Option<Settled> {
        let mut shapes = Shapes::default();
        let mut series = Vec::with_capacity(calls.len());
        for block in blocks_of(calls) {
            let shape = settle::shape(&block);
            shape.iter().for_each(|(shape, _)| shapes += *shape);
            // A series too short to be judged gives its second half.
            let begin = shape.map_or(block.len() / 2, |(_, begin)| begin);
            series.push((block, begin));
        }
        (!series.is_empty()).then_some(Settled { series, shapes })
    }

    fn tails(&self) -> Vec<Vec<f64>> {
        self.series.iter().map(|(series, begin)| series[*begin..].to_vec()).collect()
    }
}

fn warm_call(settled: &Settled) -> Option<WarmCall> {
    let (tail, curve) = distribution(settled.tails())?;
    let half = |part: fn(&[f64]) -> &[f64]| {
        let medians = settled.series.iter().filter_map(|(series, _)| crate::quantile::median(part(series)));
        Estimate::of_blocks(&medians.collect::<Vec<f64>>())
    };
    let halves = || Some([half(|s| &s[..s.len() / 2])?, half(|s| &s[s.len() / 2..])?]);
    Some(WarmCall {
        tail,
        curve,
        calls: settled.series.iter().map(|(series, _)| series.len() as u64).sum(),
        shapes: settled.shapes,
        halves: settled.shapes.is_unstable().then(halves).flatten(),
    })
}

fn footprint(memory: BTreeMap<String, BTreeMap<u32, Series>>) -> Vec<Yardstick> {
    let mut yardsticks: Vec<Yardstick> =
        memory.into_iter().map(|(metric, counts)| yardstick(metric, &counts)).collect();
    yardsticks.sort_by_key(|y| YARDSTICKS.iter().position(|known| *known == y.metric).unwrap_or(YARDSTICKS.len()));
    yardsticks
}

fn yardstick(metric: String, counts: &BTreeMap<u32, Series>) -> Yardstick {
    let mut readings = Vec::new();
    for (n, series) in counts {
        let bytes = Estimate::of_blocks(&medians(&blocks_of(series)));
        readings.extend(bytes.map(|bytes| Reading { n: *n, bytes }));
    }
    let blocks: BTreeSet<u32> = counts.values().flat_map(|series| series.keys().copied()).collect();
    let lines = lines(counts);
    let slopes: Vec<f64> = lines.iter().map(|line| line.slope).collect();
    let fixed: Vec<f64> = lines.iter().map(|line| line.fixed).collect();
    Yardstick {
        blocks: blocks.len() as u32,
        points: readings,
        slope: Estimate::of_blocks(&slopes),
        fixed: Estimate::of_blocks(&fixed),
        metric,
    }
}

/// A line through each block's own points: blocks lie at different heights, and their difference is no slope.
fn lines(counts: &BTreeMap<u32, Series>) -> Vec<Line> {
    let mut points: BTreeMap<u32, Vec<(f64, f64)>> = BTreeMap::new();
    for (n, series) in counts {
        for (block, samples) in series.keys().zip(blocks_of(series)) {
            let Some(bytes) = crate::quantile::median(&samples) else { continue };
            points.entry(*block).or_default().push((f64::from(*n), bytes));
        }
    }
    points.values().filter_map(|block| theil_sen(block)).collect()
}

fn throughput(visits: BTreeMap<(Mode, u32), Visits>) -> Vec<Throughput> {
    let one = |((mode, n), visits): ((Mode, u32), Visits)| {
        let rate = Estimate::of_blocks(&visits.rates)?;
        let latency = visits.latency?;
        Some(Throughput { mode, n, rate, blocks: visits.rates.len() as u32, latency: Latency::of(&latency) })
    };
    visits.into_iter().filter_map(one).collect()
}
