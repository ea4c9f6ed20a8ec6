//! Every number of a cell, flat: what the formats without structure are written from.

use isobench_core::record::{Mode, StartMode};
use isobench_core::words::Experiment;
use isobench_stats::summary::Flagged;
use isobench_stats::undisturbed::Contention;
use isobench_stats::{CellSummary, Estimate, Measure, Metric, Spread, Starts};

/// One number with all that tells it from the others of its cell.
#[derive(Debug, Clone)]
pub(super) struct Number {
    pub experiment: Experiment,
    /// Phase, `call`, yardstick, `rate` or `latency`.
    pub metric: String,
    /// How the instances of a throughput visit or an open loop live, or `first_in_process` for the first starts of a process
    /// and `first_after_import` for those from an image.
    pub mode: Option<String>,
    /// Live instances, requests in flight, requests at once, or starters.
    pub n: Option<u32>,
    /// Requests per second that were to arrive, in an open loop.
    pub offered: Option<f64>,
    /// `ns`, `bytes`, `calls/s`, `starts/s`, `ratio` or `ppm`.
    pub unit: &'static str,
    /// `p50` … `p999`, `min`, `max`, `slope`, `fixed`; `p50_all` of disturbed samples too; `undisturbed`, a share.
    pub statistic: &'static str,
    pub value: f64,
    pub spread: Option<Spread>,
    /// Samples (or calls) behind it, where they were counted.
    pub samples: Option<u64>,
    pub blocks: u32,
}

impl Number {
    /// The flags of `cell` that speak of this number: those of its experiment, and those of the whole cell.
    pub fn flags<'a>(&self, cell: &'a CellSummary) -> Vec<&'a Flagged> {
        let metric = Metric::of(self.experiment);
        cell.flags().iter().filter(|f| f.metric.is_none() || f.metric == metric).collect()
    }
}

/// All numbers of `cell`; none where it has a fault or was not measured.
pub(super) fn numbers(cell: &CellSummary) -> Vec<Number> {
    let mut all = Vec::new();
    for (starts, mode) in [
        (&cell.cold_start, None),
        (&cell.first_in_process, Some("first_in_process")),
        (&cell.early_starts, Some("starts_2_to_10")),
        (&cell.first_after_import, Some("first_after_import")),
    ] {
        all.extend(starts.iter().flat_map(|starts| cold_start(starts, mode)));
    }
    if let Some(warm) = &cell.warm_call {
        all.extend(times(Experiment::WarmCall, "call", None, &warm.tail));
        all.extend(warm.same_core.iter().flat_map(|calls| times(Experiment::WarmCall, "call_same_core", None, calls)));
    }
    all.extend(footprint(cell));
    all.extend(throughput(cell));
    all.extend(open_loop(cell));
    all.extend(steps(cell));
    all.extend(starts(cell));
    all
}

fn cold_start(starts: &Starts, mode: Option<&'static str>) -> Vec<Number> {
    let phases = starts.phases.iter().map(|phase| (phase.name.as_str(), &phase.time));
    let all = std::iter::once(("total", &starts.total)).chain(phases);
    let all = all.chain(starts.destroy.as_ref().map(|destroy| ("destroy", destroy)));
    all.flat_map(|(metric, measure)| times(Experiment::ColdStart, metric, mode, measure)).collect()
}

fn times(experiment: Experiment, metric: &str, mode: Option<&'static str>, measure: &Measure) -> Vec<Number> {
    let alone = |value| Some(Estimate::alone(value, measure.blocks));
    let statistics = [
        ("p50", Some(measure.p50)),
        ("p90", measure.p90),
        ("p99", measure.p99),
        ("p999", measure.p999),
        ("min", alone(measure.min)),
        ("max", alone(measure.max)),
    ];
    let number = |(statistic, estimate): (&'static str, Option<Estimate>)| {
        let Estimate { value, spread, .. } = estimate?;
        Some(Number {
            experiment,
            metric: metric.into(),
            mode: mode.map(String::from),
            n: None,
            offered: None,
            unit: "ns",
            statistic,
            value,
            spread,
            samples: Some(measure.n),
            blocks: measure.blocks,
        })
    };
    let mut all: Vec<Number> = statistics.into_iter().filter_map(number).collect();
    let of = all.first().cloned();
    all.extend(of.into_iter().flat_map(|of| contended(&of, measure.contention)));
    all
}

/// The median of all samples, and the share of undisturbed ones.
fn contended(of: &Number, contention: Option<Contention>) -> Vec<Number> {
    let Some(Contention { undisturbed, all, .. }) = contention else { return Vec::new() };
    let all_samples = Number { statistic: "p50_all", value: all.value, spread: all.spread, ..of.clone() };
    let share = Number { unit: "ratio", statistic: "undisturbed", value: undisturbed, spread: None, ..of.clone() };
    vec![all_samples, share]
}

fn footprint(cell: &CellSummary) -> Vec<Number> {
    let mut all = Vec::new();
    for yardstick in &cell.footprint {
        let readings = yardstick.points.iter().map(|point| (Some(point.n), "p50", Some(point.bytes)));
        let line = [(None, "slope", yardstick.slope), (None, "fixed", yardstick.fixed)];
        for (n, statistic, estimate) in readings.chain(line) {
            let Some(Estimate { value, spread, .. }) = estimate else { continue };
            all.push(Number {
                experiment: Experiment::Footprint,
                metric: yardstick.metric.clone(),
                mode: None,
                n,
                offered: None,
                unit: "bytes",
                statistic,
                value,
                spread,
                samples: None,
                blocks: yardstick.blocks,
            });
        }
    }
    all
}

/// A mode as the data spells it.
pub(super) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Warm => "warm",
        Mode::Fresh => "fresh",
    }
}

fn throughput(cell: &CellSummary) -> Vec<Number> {
    let mut all = Vec::new();
    for visit in &cell.throughput {
        let mut push = |metric: &str, unit, statistic, Estimate { value, spread, .. }| {
            all.push(Number {
                experiment: Experiment::Throughput,
                metric: metric.into(),
                mode: Some(mode_name(visit.mode).into()),
                n: Some(visit.n),
                offered: None,
                unit,
                statistic,
                value,
                spread,
                samples: Some(visit.latency.n),
                blocks: visit.blocks,
            });
        };
        push("rate", "calls/s", "p50", visit.rate);
        if let Some(contention) = visit.contention {
            push("rate", "calls/s", "p50_all", contention.all);
            push("rate", "ratio", "undisturbed", Estimate::alone(contention.undisturbed, visit.blocks));
        }
        let latency = &visit.latency;
        let quantiles = [("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99), ("p999", latency.p999)];
        for (statistic, ns) in quantiles.into_iter().chain([("max", Some(latency.max))]) {
            if let Some(ns) = ns {
                push("latency", "ns", statistic, Estimate::alone(ns as f64, visit.blocks));
            }
        }
    }
    all
}

fn open_loop(cell: &CellSummary) -> Vec<Number> {
    let mut all = Vec::new();
    for (curve, point) in cell.load.iter().flat_map(|curve| curve.points.iter().map(move |point| (curve, point))) {
        let mut push = |metric: &str, unit, statistic, Estimate { value, spread, .. }| {
            all.push(Number {
                experiment: Experiment::OpenLoop,
                metric: metric.into(),
                mode: Some(curve.policy.to_string()),
                n: None,
                offered: Some(point.rate),
                unit,
                statistic,
                value,
                spread,
                samples: Some(point.offered),
                blocks: point.blocks,
            });
        };
        if let Some(achieved) = point.achieved {
            push("rate", "calls/s", "p50", achieved);
        }
        let alone = |value| Estimate::alone(value, point.blocks);
        for (metric, share) in [("late", point.late), ("dropped", point.dropped), ("cold", point.cold)] {
            push(metric, "ppm", "share", alone(share * 1e6));
        }
        push("generator", "ns", "p99", alone(point.generator_p99 as f64));
        let latency = &point.latency;
        let quantiles = [("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99), ("p999", latency.p999)];
        for (statistic, ns) in quantiles.into_iter().chain([("max", Some(latency.max))]) {
            if let Some(ns) = ns {
                push("latency", "ns", statistic, alone(ns as f64));
            }
        }
    }
    all
}

/// A mode of starters as the data spells it.
pub(super) fn start_mode_name(mode: StartMode) -> &'static str {
    match mode {
        StartMode::Together => "together",
        StartMode::Beside => "beside",
    }
}

fn starts(cell: &CellSummary) -> Vec<Number> {
    let mut all = Vec::new();
    for point in cell.starters.iter().flat_map(|starters| &starters.points) {
        let mut push = |metric: &str, unit, statistic, samples, Estimate { value, spread, .. }| {
            all.push(Number {
                experiment: Experiment::Starts,
                metric: metric.into(),
                mode: Some(start_mode_name(point.mode).into()),
                n: Some(point.n),
                offered: None,
                unit,
                statistic,
                value,
                spread,
                samples: Some(samples),
                blocks: point.blocks,
            });
        };
        push("rate", "starts/s", "p50", point.starts, point.rate);
        if let Some(share) = point.efficiency {
            push("efficiency", "ratio", "p50", point.starts, share);
        }
        for (metric, latency) in [("total", &point.start), ("destroy", &point.destroy)] {
            let quantiles = [("p50", latency.p50), ("p90", latency.p90), ("p99", latency.p99), ("p999", latency.p999)];
            for (statistic, ns) in quantiles.into_iter().chain([("max", Some(latency.max))]) {
                if let Some(ns) = ns {
                    push(metric, "ns", statistic, latency.n, Estimate::alone(ns as f64, point.blocks));
                }
            }
        }
    }
    all
}

fn steps(cell: &CellSummary) -> Vec<Number> {
    let number = |experiment, metric: &str, unit, n, blocks, Estimate { value, spread, .. }| Number {
        experiment,
        metric: metric.into(),
        mode: None,
        n: Some(n),
        offered: None,
        unit,
        statistic: "p50",
        value,
        spread,
        samples: None,
        blocks,
    };
    let mut all = Vec::new();
    for step in cell.burst.iter().flat_map(|burst| &burst.steps) {
        for (metric, estimate) in [("first", step.first), ("half", step.half), ("all", step.all)] {
            all.push(number(Experiment::Burst, metric, "ns", step.n, step.blocks, estimate));
        }
    }
    for step in cell.density.iter().flat_map(|density| &density.steps) {
        for (metric, unit, estimate) in
            [("start", "ns", step.start), ("answer", "ns", step.answer), ("pss", "bytes", step.pss)]
        {
            all.push(number(Experiment::Density, metric, unit, step.n, step.blocks, estimate));
        }
    }
    all
}
