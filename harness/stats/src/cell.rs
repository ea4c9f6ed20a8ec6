//! One cell: its samples become its summary.

use crate::accumulate::{CellData, Series, Visits};
use crate::metric::{Headline, Metric};
use crate::noise::{self, Circumstances, Reference};
use crate::quantile::{Pool, quantile, samples_needed, support};
use crate::settle::{self, Shapes};
use crate::slope::{Line, theil_sen};
use crate::spread::{Estimate, TRUSTED_BLOCKS};
use crate::summary::{
    CURVE_POINTS, CellSummary, Flagged, Latency, Measure, Phase, Reading, Starts, Throughput, Verdict, WarmCall,
    Yardstick,
};
use isobench_core::record::{Mode, PHASES, YARDSTICKS};
use isobench_core::run::{CellEntry, Order};
use isobench_core::words::{Experiment, Flag, Model};
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
    let by_block = by_block(&data, settled.as_ref());
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
    let flags = flags(context, &cell, [("cold start", &by_block[0]), ("warm call", &by_block[1])]);
    cell.headlines = headlines(&cell, by_block);
    cell.verdict = if flags.is_empty() { Verdict::Ok } else { Verdict::Flagged { flags } };
    cell
}

/// The value of every block for each of [`Metric::ALL`]: median start, median settled call, slope of PSS, calls per
/// second at the concurrency with the most.
pub(crate) fn by_block(data: &CellData, settled: Option<&Settled>) -> [Vec<f64>; 4] {
    let totals = data.starts.iter().find(|(name, _)| name == "total").map(|(_, series)| blocks_of(series));
    let medians = |blocks: Option<Vec<Vec<f64>>>| medians(&blocks.unwrap_or_default());
    [medians(totals), medians(settled.map(Settled::tails)), slopes(&data.memory), best_rates(&data.throughput)]
}

/// The numbers that a cell is compared by, each with the values of its blocks.
fn headlines(cell: &CellSummary, by_block: [Vec<f64>; 4]) -> Vec<Headline> {
    let best = cell.throughput.iter().filter(|t| t.mode == Mode::Warm);
    let estimates = [
        cell.cold_start.as_ref().map(|s| s.total.p50),
        cell.warm_call.as_ref().map(|w| w.tail.p50),
        cell.yardstick(YARDSTICKS[0]).and_then(|y| y.slope),
        best.max_by(|a, b| a.rate.value.total_cmp(&b.rate.value)).map(|t| t.rate),
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

/// Calls per second by block, at the concurrency whose median is the highest.
fn best_rates(visits: &BTreeMap<(Mode, u32), Visits>) -> Vec<f64> {
    let warm = visits.iter().filter(|((mode, _), _)| *mode == Mode::Warm).map(|(_, v)| &v.rates);
    let median = |rates: &[f64]| crate::quantile::median(rates).unwrap_or(0.0);
    warm.max_by(|a, b| median(a).total_cmp(&median(b))).cloned().unwrap_or_default()
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

/// The run's own flags and those the samples show, each once.
fn flags(context: &Context, cell: &CellSummary, medians: [(&str, &[f64]); 2]) -> Vec<Flagged> {
    let known = |flag| context.entry.flags.contains(&flag);
    let mut flags = Vec::new();
    let mut raise = |flag, why: String| flags.push(Flagged { flag, why });
    if context.emulated || known(Flag::Emulated) {
        raise(Flag::Emulated, "the guest's processor is emulated: not comparable with a real one".into());
    }
    if let Some(why) = noise(&cell.circumstances, medians) {
        raise(Flag::Noisy, why);
    } else if known(Flag::Noisy) {
        raise(Flag::Noisy, "noted by the run itself".into());
    }
    if let Some(warm) = cell.warm_call.as_ref().filter(|w| w.shapes.is_unstable()) {
        let Shapes { unsettled, .. } = warm.shapes;
        let (limit, share) = (settle::SETTLE_LIMIT * 100.0, settle::SETTLED_SHARE * 100.0);
        raise(
            Flag::Unstable,
            format!(
                "warm calls changed by over {limit} % in the last {share} % of the series in {unsettled} of {} blocks: \
                 the medians of the first and of the last halves are both shown",
                warm.shapes.judged()
            ),
        );
    } else if known(Flag::Unstable) {
        raise(Flag::Unstable, "noted by the run itself".into());
    }
    if let Some(why) = few(cell) {
        raise(Flag::Few, why);
    }
    if context.order == Order::Sequential || known(Flag::Sequential) {
        raise(Flag::Sequential, "blocks ran one cell after another: drift may favour a cell".into());
    }
    flags
}

/// Whether too few blocks stand behind the cell's first number, or behind any step of its load.
fn few(cell: &CellSummary) -> Option<String> {
    let headline = [
        ("cold start", cell.cold_start.as_ref().map(|starts| starts.total.blocks)),
        ("warm call", cell.warm_call.as_ref().map(|warm| warm.tail.blocks)),
        ("memory", cell.footprint.first().map(|yardstick| yardstick.blocks)),
        ("throughput", cell.throughput.iter().map(|visit| visit.blocks).max()),
        ("load", load_blocks(cell)),
    ];
    let (what, blocks) = headline.into_iter().find_map(|(what, blocks)| Some((what, blocks?)))?;
    let plural = if blocks == 1 { "block" } else { "blocks" };
    (blocks < TRUSTED_BLOCKS)
        .then(|| format!("{what}: {blocks} {plural}, and under {TRUSTED_BLOCKS} say little of how blocks differ"))
}

/// Blocks of the least visited part of a load.
fn load_blocks(cell: &CellSummary) -> Option<u32> {
    let curves = cell.load.iter().flat_map(|curve| &curve.points).map(|point| point.blocks);
    let bursts = cell.burst.iter().flat_map(|burst| &burst.steps).map(|step| step.blocks);
    let density = cell.density.iter().flat_map(|density| &density.steps).map(|step| step.blocks);
    let starters = cell.starters.iter().flat_map(|starters| &starters.points).map(|point| point.blocks);
    curves.chain(bursts).chain(density).chain(starters).min()
}

fn noise(circumstances: &Circumstances, medians: [(&str, &[f64]); 2]) -> Option<String> {
    let spread = |(what, medians): (&str, &[f64])| {
        let spread = noise::relative_spread(medians).filter(|s| *s > noise::SPREAD_LIMIT)?;
        let limit = noise::SPREAD_LIMIT * 100.0;
        Some(format!("{what}: blocks differ by {:.0} % (limit {limit} %)", spread * 100.0))
    };
    let reasons: Vec<String> = medians.into_iter().filter_map(spread).chain(circumstances.noise()).collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}
