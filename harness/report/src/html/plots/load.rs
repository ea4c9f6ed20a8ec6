//! What the plots of load show: latency against rate, bursts, starts against live instances.

use super::curves::{by_guest, count, plot, points, series, spread};
use super::lines::{Dot, Panel, Plot};
use super::scale::Axis;
use crate::load;
use crate::rows::Table;
use crate::units::{self, Quantity};
use isobench_core::words::Guest;
use isobench_stats::load::Knee;
use maud::Markup;

/// Tail latency against requests per second: one plot a guest, a panel for each policy, the knee ringed.
pub fn load_curves(table: &Table) -> Vec<(Guest, Markup)> {
    let of_guest = |guest: Guest| Some((guest, curves_of(table, guest)?));
    [Guest::Wasm, Guest::Js, Guest::Native].into_iter().filter_map(of_guest).collect()
}

fn curves_of(table: &Table, guest: Guest) -> Option<Markup> {
    let panel = |policy| {
        let rows = table.rows.iter().filter(|row| row.guest() == guest && row.cell.cell.engine.is_none());
        let line = |row| {
            let curve = load::curve(row, policy)?;
            let tail = if curve.tail == 0.99 { String::new() } else { format!(" ({})", load::tail(curve)) };
            let mut series = series(row, &format!("holds {}{tail}", load::knee(curve)));
            for point in &curve.points {
                let Some(latency) = point.latency.at(curve.tail) else { continue };
                series.line.push((point.rate, latency as f64));
                series.dots.push(Dot { at: (point.rate, latency as f64), spread: None });
            }
            if let Knee::At(i) = curve.knee {
                series.mark = series.line.get(i).copied();
            }
            (!series.line.is_empty()).then_some(series)
        };
        Panel { title: policy.to_string(), series: rows.filter_map(line).collect() }
    };
    let panels: Vec<Panel> = load::policies(table).into_iter().map(panel).filter(|p| !p.series.is_empty()).collect();
    let x = Axis::log(10, points(&panels).map(|(rate, _)| rate))?;
    let y = Axis::log(10, points(&panels).map(|(_, ns)| ns))?;
    let title = format!("p99 latency against requests a second, {guest} guest, {} ({})", table.workload, table.case);
    let (rate, time) = (|rate| Quantity::Rate.tick(rate), |ns| Quantity::Time.tick(ns));
    plot(Plot {
        title,
        panels,
        x,
        y,
        x_tick: rate,
        y_tick: time,
        x_name: "across: requests a second; up: p99 latency; log axes",
    })
}

/// Time to all answers against requests at once; faint below it, to half of them and to the first.
pub fn burst(table: &Table) -> Option<Markup> {
    let panels = by_guest(table, |row| {
        let burst = row.cell.burst.as_ref()?;
        let last = burst.steps.last()?;
        let mut series = series(row, &format!("{} after {}", last.n, units::time(last.all.value)));
        for step in &burst.steps {
            let at = (f64::from(step.n), step.all.value);
            series.line.push(at);
            series.dots.push(Dot { at, spread: spread(&step.all) });
        }
        let faint = |value: fn(&isobench_stats::load::BurstStep) -> f64| {
            burst.steps.iter().map(|step| (f64::from(step.n), value(step))).collect()
        };
        series.faint = vec![faint(|step| step.half.value), faint(|step| step.first.value)];
        Some(series)
    });
    let x = Axis::log(2, points(&panels).map(|(n, _)| n))?;
    let y = Axis::log(10, points(&panels).map(|(_, ns)| ns))?;
    let title = format!("Time to all answers against requests at once, {} ({})", table.workload, table.case);
    let time = |ns| Quantity::Time.tick(ns);
    plot(Plot {
        title,
        panels,
        x,
        y,
        x_tick: count,
        y_tick: time,
        x_name: "across: requests at once; up: time to all answers; log axes",
    })
}

/// The median start against the instances that live by then.
pub fn density(table: &Table) -> Option<Markup> {
    let panels = by_guest(table, |row| {
        let density = row.cell.density.as_ref()?;
        let reached = density.bound.as_ref()?;
        let mut series = series(row, &format!("{}, {}", units::grouped(reached.n.into()), load::bound(reached.by)));
        for step in &density.steps {
            let at = (f64::from(step.n), step.start.value);
            series.line.push(at);
            series.dots.push(Dot { at, spread: spread(&step.start) });
        }
        (!series.line.is_empty()).then_some(series)
    });
    let x = Axis::log(4, points(&panels).map(|(n, _)| n))?;
    let y = Axis::log(10, points(&panels).map(|(_, ns)| ns))?;
    let title = format!("Median start against live instances, {} ({})", table.workload, table.case);
    let time = |ns| Quantity::Time.tick(ns);
    plot(Plot {
        title,
        panels,
        x,
        y,
        x_tick: count,
        y_tick: time,
        x_name: "across: live instances; up: median start; log axes",
    })
}
