//! What a reader must know of a cell's numbers. A flag belongs to the metric that it speaks of, so that scattered cold
//! starts do not silence a steady memory figure; flags of the cell as a whole (emulated, sequential) have no metric.

use crate::cell::Context;
use crate::metric::{Headline, Metric};
use crate::noise::{ByExperiment, WIDTH_LIMIT};
use crate::settle::{SETTLE_LIMIT, SETTLED_SHARE};
use crate::spread::{Estimate, Spread, TRUSTED_BLOCKS};
use crate::summary::{CellSummary, Flagged};
use isobench_core::run::Order;
use isobench_core::words::{Experiment, Flag};

/// The flags of a cell whose numbers are known: those of the run and those that the samples show.
pub(crate) fn of(context: &Context, cell: &CellSummary) -> Vec<Flagged> {
    let known = |flag| context.entry.flags.contains(&flag);
    let whole = |flag, why: &str| Flagged { flag, metric: None, why: why.into() };
    let by_run = |flag| known(flag).then(|| whole(flag, "noted by the run itself"));
    let mut flags = Vec::new();
    if context.emulated || known(Flag::Emulated) {
        flags.push(whole(Flag::Emulated, "the guest's processor is emulated: not comparable with a real one"));
    }
    match by_run(Flag::Noisy) {
        Some(whole) => flags.push(whole),
        None => {
            let noisy = |headline| noisy(cell, headline, context.in_process);
            flags.extend(cell.headlines.iter().filter_map(noisy).chain(noisy_load(cell)));
        }
    }
    flags.extend(cell.headlines.iter().filter_map(|headline| disturbed(cell, headline.metric)));
    flags.extend(unstable(cell).or_else(|| by_run(Flag::Unstable)));
    if known(Flag::Unbound) {
        let why = "isobench's CPU quota or processors do not bind all processes of this row, because a daemon made them or \
                   they are in cgroups elsewhere: it had more of the machine than other rows";
        flags.push(whole(Flag::Unbound, why));
    }
    flags.extend(few(cell));
    if context.order == Order::Sequential || known(Flag::Sequential) {
        flags.push(whole(Flag::Sequential, "blocks ran one cell after another: drift may favour a cell"));
    }
    flags
}

/// A metric whose printed interval is wide, or whose blocks were disturbed.
fn noisy(cell: &CellSummary, headline: &Headline, in_process: bool) -> Option<Flagged> {
    let metric = headline.metric;
    // In process the probes ran where the work did, and have left out what was disturbed. Elsewhere they may have been on
    // another processor than the work.
    let left_out = in_process && cell.contention(metric).is_some_and(|contention| contention.selected);
    let disturbed = cell.circumstances.by_experiment.iter().filter(|of| !left_out && moves(of.experiment, metric));
    let mut reasons: Vec<String> = disturbed.filter_map(ByExperiment::noise).collect();
    reasons.extend(wide(headline.estimate));
    let why = format!("{metric}: {}", reasons.join("; "));
    (!reasons.is_empty()).then_some(Flagged { flag: Flag::Noisy, metric: Some(metric), why })
}

/// A metric of which too few samples were undisturbed for a figure of their own.
fn disturbed(cell: &CellSummary, metric: Metric) -> Option<Flagged> {
    let contention = cell.contention(metric).filter(|contention| !contention.selected)?;
    let share = contention.undisturbed * 100.0;
    let why =
        format!("{metric}: {share:.0} % of the samples were undisturbed, in too few blocks: this is the figure of all");
    Some(Flagged { flag: Flag::Disturbed, metric: Some(metric), why })
}

/// Whether a disturbance during blocks of `experiment` moves `metric`. Steal time and busy neighbours move times and
/// rates. They do not move how many bytes an instance keeps.
fn moves(experiment: Option<Experiment>, metric: Metric) -> bool {
    match experiment {
        // A run of schema 1 does not say which experiment a block was.
        None => metric != Metric::Memory,
        Some(Experiment::ColdStart | Experiment::WarmCall) => matches!(metric, Metric::ColdStart | Metric::WarmCall),
        Some(Experiment::Throughput) => metric == Metric::Throughput,
        Some(_) => false,
    }
}

/// Why the spread that is printed beside an estimate is too wide. Under [`TRUSTED_BLOCKS`] the flag `few` says more.
fn wide(estimate: Estimate) -> Option<String> {
    let spread = estimate.spread.filter(|_| !estimate.is_of_few())?;
    let what = match spread {
        Spread::Interval { .. } => "the interval",
        Spread::Range { .. } => "the range of blocks",
    };
    let (low, high) = spread.ends();
    if high <= low * WIDTH_LIMIT {
        return None;
    }
    Some(if low > 0.0 {
        format!("{what} spans a factor of {:.1} (limit {WIDTH_LIMIT})", high / low)
    } else {
        format!("{what} reaches down to zero")
    })
}

/// Disturbed blocks of a load, which has no headline metric.
fn noisy_load(cell: &CellSummary) -> Option<Flagged> {
    let load = |of: &&ByExperiment| of.experiment.is_some_and(|e| !Experiment::STANDARD.contains(&e));
    let of = cell.circumstances.by_experiment.iter().filter(load).find_map(|of| Some((of.experiment?, of.noise()?)));
    of.map(|(experiment, why)| {
        let why = format!("{}: {why}", experiment.to_string().replace('_', " "));
        Flagged { flag: Flag::Noisy, metric: None, why }
    })
}

fn unstable(cell: &CellSummary) -> Option<Flagged> {
    let warm = cell.warm_call.as_ref().filter(|warm| warm.shapes.is_unstable())?;
    let why = format!(
        "warm calls changed by over {} % in the last {} % of the series in {} of {} blocks: the medians of the first and \
         of the last halves are both shown",
        SETTLE_LIMIT * 100.0,
        SETTLED_SHARE * 100.0,
        warm.shapes.unsettled,
        warm.shapes.judged()
    );
    Some(Flagged { flag: Flag::Unstable, metric: Some(Metric::WarmCall), why })
}

/// Every metric with too few blocks of its experiment behind it; of a cell without one, the least visited part of its
/// load.
fn few(cell: &CellSummary) -> Vec<Flagged> {
    let metrics = cell.headlines.iter().map(|headline| (Some(headline.metric), headline.estimate.blocks));
    let load = load_blocks(cell).filter(|_| cell.headlines.is_empty()).map(|blocks| (None, blocks));
    let few = metrics.chain(load).filter(|(_, blocks)| *blocks < TRUSTED_BLOCKS);
    few.map(|(metric, blocks)| {
        let what = metric.map_or_else(|| "load".into(), |metric| metric.to_string());
        let plural = if blocks == 1 { "block" } else { "blocks" };
        let why = format!("{what}: {blocks} {plural}, and under {TRUSTED_BLOCKS} say little of how blocks differ");
        Flagged { flag: Flag::Few, metric, why }
    })
    .collect()
}

/// Blocks of the least visited part of a load.
fn load_blocks(cell: &CellSummary) -> Option<u32> {
    let curves = cell.load.iter().flat_map(|curve| &curve.points).map(|point| point.blocks);
    let bursts = cell.burst.iter().flat_map(|burst| &burst.steps).map(|step| step.blocks);
    let density = cell.density.iter().flat_map(|density| &density.steps).map(|step| step.blocks);
    let starters = cell.starters.iter().flat_map(|starters| &starters.points).map(|point| point.blocks);
    curves.chain(bursts).chain(density).chain(starters).min()
}
