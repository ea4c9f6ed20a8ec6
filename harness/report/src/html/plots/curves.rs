//! What the line plots show: distributions, memory against instances, throughput against concurrency.

use super::both;
use super::canvas::Ink;
use super::lines::{Dot, Panel, Plot, Series, panels};
use super::scale::Axis;
use crate::rows::{Row, Table};
use crate::units::{self, Quantity};
use isobench_core::record::Mode;
use isobench_core::words::Guest;
use isobench_stats::Estimate;
use maud::Markup;

pub(super) fn series(row: &Row, said: &str) -> Series {
    let emulated = row.emulated();
    let mut label = row.name();
    if !said.is_empty() {
        label += &format!(": {said}");
    }
    if emulated {
        label += " (emulated)";
    }
    Series {
        label,
        ink: Ink::Model(row.cell.model),
        emulated,
        line: Vec::new(),
        dots: Vec::new(),
        faint: Vec::new(),
        mark: None,
    }
}

pub(super) fn by_guest<'a>(table: &Table<'a>, line: impl Fn(&Row<'a>) -> Option<Series>) -> Vec<Panel> {
    let panel = |guest: &Guest| {
        // Behind boundaries usual engines alone: a line for each on every engine is a ball of wool. The tables have all.
        let rows = table.rows.iter().filter(|row| row.guest() == *guest && row.cell.cell.engine.is_none());
        Panel { title: format!("{guest} guest"), series: rows.filter_map(&line).collect() }
    };
    [Guest::Wasm, Guest::Js, Guest::Native].iter().map(panel).filter(|panel| !panel.series.is_empty()).collect()
}

pub(super) fn points(panels: &[Panel]) -> impl Iterator<Item = (f64, f64)> {
    panels.iter().flat_map(|panel| &panel.series).flat_map(|series| {
        let dots = series.dots.iter().map(|dot| dot.at);
        let faint = series.faint.iter().flatten().copied();
        series.line.iter().copied().chain(dots).chain(faint)
    })
}

pub(super) fn spread(estimate: &Estimate) -> Option<(f64, f64)> {
    estimate.spread.map(|spread| spread.ends())
}

/// The share of cold starts done within a time.
pub fn cold_start_curves(table: &Table) -> Option<Markup> {
    distribution(table, "cold start", "cold start, log axis", |row| {
        row.cell.cold_start.as_ref().map(|starts| (starts.curve.as_slice(), starts.total.n))
    })
}

/// The share of warm calls done within a time.
pub fn warm_call_curves(table: &Table) -> Option<Markup> {
    distribution(table, "warm call", "warm call, log axis", |row| {
        row.cell.warm_call.as_ref().map(|warm| (warm.curve.as_slice(), warm.tail.n))
    })
}

fn distribution<'a>(
    table: &Table<'a>,
    what: &str,
    x_name: &'static str,
    curve: impl Fn(&Row<'a>) -> Option<(&'a [f64], u64)>,
) -> Option<Markup> {
    let line = |row: &Row<'a>| {
        let (curve, n) = curve(row)?;
        let first = curve.first()?;
        let mut series = series(row, &format!("n = {}", units::grouped(n)));
        let mut height = 0.0;
        series.line.push((*first, height));
        for (i, value) in curve.iter().enumerate() {
            series.line.push((*value, height));
            height = (i + 1) as f64 / curve.len() as f64;
            series.line.push((*value, height));
        }
        Some(series)
    };
    let panels = by_guest(table, line);
    let x = Axis::log(10, points(&panels).map(|(x, _)| x))?;
    let title = format!("Distribution of the {what} of {} ({})", table.workload, table.case);
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let time = |ns| Quantity::Time.tick(ns);
    plot(Plot { title, panels, x, y: Axis::share(), x_tick: time, y_tick: percent, x_name })
}

/// Memory against live instances: dots as read, the line of slope and fixed cost through them.
pub fn memory(table: &Table) -> Option<Markup> {
    let line = |row: &Row| {
        let pss = row.cell.yardstick("pss")?;
        let (slope, fixed) = (pss.slope?.value, pss.fixed?.value);
        let mut series = series(row, &format!("{} each", units::bytes(slope)));
        for reading in pss.points.iter().filter(|reading| reading.n > 0) {
            let n = f64::from(reading.n);
            series.dots.push(Dot { at: (n, reading.bytes.value), spread: spread(&reading.bytes) });
            series.line.push((n, fixed + slope * n));
        }
        // A line through nothing positive has no place on a log axis.
        series.line.retain(|(_, bytes)| *bytes > 0.0);
        (!series.dots.is_empty()).then_some(series)
    };
    let panels = by_guest(table, line);
    let x = Axis::log(2, points(&panels).map(|(n, _)| n))?;
    let y = Axis::log(2, points(&panels).map(|(_, bytes)| bytes))?;
    let title = format!("PSS against live instances, {} ({})", table.workload, table.case);
    let bytes = |bytes| Quantity::Bytes.tick(bytes);
    plot(Plot { title, panels, x, y, x_tick: count, y_tick: bytes, x_name: "live instances, log axes" })
}

/// Calls per second against requests in flight.
pub fn throughput(table: &Table, mode: Mode) -> Option<Markup> {
    let line = |row: &Row| {
        let visits: Vec<_> = row.cell.throughput.iter().filter(|t| t.mode == mode).collect();
        let best = visits.iter().map(|t| t.rate.value).fold(0.0, f64::max);
        let mut series = series(row, &format!("up to {}", Quantity::Rate.show(best)));
        series.line = visits.iter().map(|t| (f64::from(t.n), t.rate.value)).collect();
        series.dots =
            visits.iter().map(|t| Dot { at: (f64::from(t.n), t.rate.value), spread: spread(&t.rate) }).collect();
        (!visits.is_empty()).then_some(series)
    };
    let panels = by_guest(table, line);
    let x = Axis::log(2, points(&panels).map(|(n, _)| n))?;
    let y = Axis::log(10, points(&panels).map(|(_, rate)| rate))?;
    let how = if mode == Mode::Warm { "warm instances" } else { "a fresh instance per request" };
    let title = format!("Calls per second against concurrency, {how}, {} ({})", table.workload, table.case);
    let rate = |rate| Quantity::Rate.tick(rate);
    plot(Plot { title, panels, x, y, x_tick: count, y_tick: rate, x_name: "requests in flight, log axes" })
}

pub(super) fn count(n: f64) -> String {
    format!("{n:.0}")
}

pub(super) fn plot(plot: Plot) -> Option<Markup> {
    both(|column| Some(panels(&plot, column)))
}
