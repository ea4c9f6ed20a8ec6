//! One cell: its samples become its summary.

use crate::accumulate::{CellData, Run, Series, Visits};
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
use crate::undisturbed::{BlockValues, Chosen, Contention, Probe, blocks, blocks_with, choose, choose_rates};
use isobench_core::record::{Mode, PHASES, YARDSTICKS};
use isobench_core::run::{CellEntry, Order};
use isobench_core::words::{Experiment, Model};
use std::collections::{BTreeMap, BTreeSet};

/// A block that makes so many starts has early ones that are told apart: half of a hundred are not left out, and ten of
/// a dozen would be nearly all.
const EARLY_FROM: u32 = 20;

/// The starts that are early, the first one included.
const EARLY_STARTS: u32 = 10;

/// What the run says of the cell.
pub(crate) struct Context<'a> {
    pub order: Order,
    pub entry: &'a CellEntry,
    pub model: Model,
    pub emulated: bool,
    pub in_process: bool,
    pub usual: Reference,
    pub probe: Probe,
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
        early_starts: None,
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
    let probe = context.probe;
    let early = early(&mut data.starts);
    let settled = Settled::of(&data.calls, probe);
    let by_block = by_block(&data, settled.as_ref(), context.usual.processors, probe);
    cell.cold_start = starts(&data.starts, probe);
    cell.first_in_process = starts(&data.first_starts, probe);
    cell.early_starts = starts(&early, probe);
    cell.first_after_import = starts(&data.starts_after_import, probe);
    let same_core =
        Settled::of(&data.calls_same_core, probe).and_then(|settled| Some(distribution(&settled.tails())?.0));
    cell.warm_call = settled.and_then(|settled| Some(WarmCall { same_core, ..warm_call(&settled)? }));
    cell.footprint = footprint(data.memory);
    cell.throughput = throughput(data.throughput, probe);
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
/// second on all of so many `processors`. Where undisturbed samples make the figure, of the blocks that have them.
pub(crate) fn by_block(data: &CellData, settled: Option<&Settled>, processors: u32, probe: Probe) -> [Vec<f64>; 4] {
    let totals = data.starts.iter().find(|(name, _)| name == "total").map(|(_, series)| blocks(series, probe));
    let of = |blocks: Option<Vec<BlockValues>>| medians(&choose(&blocks.unwrap_or_default()).blocks);
    [of(totals), of(settled.map(Settled::tails)), slopes(&data.memory), rates(&data.throughput, processors, probe)]
}

/// Takes out starts 2 to 10 of the blocks that made [`EARLY_FROM`] or more. Runs without probes keep theirs: they were
/// published with them.
pub(crate) fn early(starts: &mut [(String, Series)]) -> Vec<(String, Series)> {
    let Some((_, totals)) = starts.iter().find(|(name, _)| name == "total") else { return Vec::new() };
    let many = |runs: &&Vec<Run>| runs.iter().any(|run| run.index + 1 >= EARLY_FROM && run.probe_ns.is_some());
    let long: BTreeSet<u32> = totals.iter().filter(|(_, runs)| many(runs)).map(|(block, _)| *block).collect();
    let take = |(name, series): &mut (String, Series)| {
        let runs = series.iter_mut().filter(|(block, _)| long.contains(block));
        let early = |runs: &mut Vec<Run>| runs.extract_if(.., |run| run.index < EARLY_STARTS).collect();
        (name.clone(), runs.map(|(block, runs)| (*block, early(runs))).collect())
    };
    starts.iter_mut().map(take).collect()
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
fn rates(visits: &BTreeMap<(Mode, u32), Visits>, processors: u32, probe: Probe) -> Vec<f64> {
    let most = if processors == 0 { u32::MAX } else { processors };
    let all = visits.range((Mode::Warm, 0)..=(Mode::Warm, most)).next_back();
    all.map_or_else(Vec::new, |(_, visits)| choose_rates(&visits.rates, probe).0)
}

/// The values of every block in the order they were taken.
fn blocks_of(series: &Series) -> Vec<Vec<f64>> {
    blocks(series, Probe::default()).into_iter().map(|block| block.all).collect()
}

fn medians(blocks: &[Vec<f64>]) -> Vec<f64> {
    blocks.iter().filter_map(|block| crate::quantile::median(block)).collect()
}

/// With the points of its curve.
fn distribution(blocks: &[BlockValues]) -> Option<(Measure, Vec<f64>)> {
    let Chosen { blocks: mut chosen, contention } = choose(blocks);
    let all: Vec<f64> = blocks.iter().filter_map(|block| crate::quantile::median(&block.all)).collect();
    let (mut measure, curve) = distribution_of(&mut chosen)?;
    measure.contention = contended(contention, &all);
    Some((measure, curve))
}

/// What contention did, with the figure of all samples from the values of all blocks.
fn contended(contention: Option<(f64, bool)>, all: &[f64]) -> Option<Contention> {
    let (undisturbed, selected) = contention?;
    Some(Contention { undisturbed, selected, all: Estimate::of_blocks(all)? })
}

fn distribution_of(blocks: &mut Vec<Vec<f64>>) -> Option<(Measure, Vec<f64>)> {
    blocks.retain(|block| !block.is_empty());
    for block in &mut *blocks {
        block.sort_unstable_by(f64::total_cmp);
    }
    let pool = Pool::new(blocks)?;
    let medians: Vec<f64> = blocks.iter().map(|block| quantile(block, 0.5)).collect();
    let tail = |q: f64| (support(blocks) >= samples_needed(q)).then(|| Estimate::of_tail(blocks, &pool, q));
    let measure = Measure {
        n: blocks.iter().map(|b| b.len() as u64).sum(),
        blocks: blocks.len() as u32,
        p50: Estimate::of_blocks(&medians)?,
        p90: tail(0.9),
        p99: tail(0.99),
        p999: tail(0.999),
        min: pool.quantile(0.0),
        max: pool.quantile(1.0),
        contention: None,
    };
    Some((measure, pool.curve(CURVE_POINTS)))
}

fn starts(metrics: &[(String, Series)], probe: Probe) -> Option<Starts> {
    let series = |name: &str| metrics.iter().find(|(n, _)| n == name).map(|(_, series)| series);
    let probes = |series: &Series| -> BTreeMap<(u32, u32), [u64; 2]> {
        let runs = series.iter().flat_map(|(block, runs)| runs.iter().map(|run| (*block, run)));
        runs.filter_map(|(block, run)| Some(((block, run.index), run.probe_ns?))).collect()
    };
    let probes = probes(series("total")?);
    // The probes around a start hold for its phases and its end.
    let of =
        |name: &str| Some(blocks_with(series(name)?, probe, |block, run| probes.get(&(block, run.index)).copied()));
    let measured = |name: &str| Some(distribution(&of(name)?)?.0);
    let mut names: Vec<&str> = metrics.iter().map(|(n, _)| n.as_str()).filter(|n| rank(n).is_some()).collect();
    // A phase that is split shows as its parts.
    let whole = names.clone();
    names.retain(|name| !whole.iter().any(|other| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))));
    names.sort_by_key(|name| rank(name));
    let (total, curve) = distribution(&of("total")?)?;
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
    series: Vec<(BlockValues, usize)>,
    shapes: Shapes,
}

impl Settled {
    /// `None` of no calls.
    pub fn of(calls: &Series, probe: Probe) -> Option<Settled> {
        let mut shapes = Shapes::default();
        let mut series = Vec::with_capacity(calls.len());
        for block in blocks(calls, probe) {
            let shape = settle::shape(&block.all);
            shape.iter().for_each(|(shape, _)| shapes += *shape);
            // A series too short to be judged gives its second half.
            let begin = shape.map_or(block.all.len() / 2, |(_, begin)| begin);
            series.push((block, begin));
        }
        (!series.is_empty()).then_some(Settled { series, shapes })
    }

    fn tails(&self) -> Vec<BlockValues> {
        self.series.iter().map(|(block, begin)| block.from(*begin)).collect()
    }
}

fn warm_call(settled: &Settled) -> Option<WarmCall> {
    let (tail, curve) = distribution(&settled.tails())?;
    let half = |part: fn(&[f64]) -> &[f64]| {
        let medians = settled.series.iter().filter_map(|(series, _)| crate::quantile::median(part(&series.all)));
        Estimate::of_blocks(&medians.collect::<Vec<f64>>())
    };
    let halves = || Some([half(|s| &s[..s.len() / 2])?, half(|s| &s[s.len() / 2..])?]);
    Some(WarmCall {
        tail,
        curve,
        calls: settled.series.iter().map(|(series, _)| series.all.len() as u64).sum(),
        shapes: settled.shapes,
        same_core: None,
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

fn throughput(visits: BTreeMap<(Mode, u32), Visits>, probe: Probe) -> Vec<Throughput> {
    let one = |((mode, n), visits): ((Mode, u32), Visits)| {
        let (rates, contention) = choose_rates(&visits.rates, probe);
        let all: Vec<f64> = visits.rates.iter().map(|rate| rate.all).collect();
        Some(Throughput {
            mode,
            n,
            rate: Estimate::of_blocks(&rates)?,
            blocks: visits.rates.len() as u32,
            latency: Latency::of(&visits.latency?),
            contention: contended(contention, &all),
        })
    };
    visits.into_iter().filter_map(one).collect()
}
