//! What the plots of starters show: starts a second, and how long a start takes, against the number of starters.

use super::curves::{by_guest, count, plot, points, series, spread};
use super::lines::{Dot, Panel, Plot, Series};
use super::scale::Axis;
use crate::rows::{Row, Table, noun};
use crate::starts;
use crate::units::{self, Quantity};
use isobench_core::record::StartMode;
use isobench_core::words::Model;
use isobench_stats::starters::Starters;
use maud::Markup;

/// Starts a second; faint, what as many starters would make that do not disturb each other.
pub fn start_rates(table: &Table, model: Model) -> Option<Markup> {
    let panels = of_model(table, model, |row, starters| {
        let best = starters.best()?;
        let times = starts::speedup(best).filter(|_| best.n > 1);
        let times = times.map_or_else(String::new, |times| format!(", {}× one", units::times(times)));
        let mut series = series(row, &format!("{}{times}", Quantity::Rate.show(best.rate.value)));
        for point in starters.of(StartMode::Together) {
            let at = (f64::from(point.n), point.rate.value);
            series.line.push(at);
            series.dots.push(Dot { at, spread: spread(&point.rate) });
        }
        if let Some(&(first, rate)) = series.line.first() {
            series.faint = vec![series.line.iter().map(|(n, _)| (*n, rate * n / first)).collect()];
        }
        Some(series)
    });
    let x = Axis::log(2, points(&panels).map(|(n, _)| n))?;
    let y = Axis::log(10, points(&panels).map(|(_, rate)| rate))?;
    let title = format!("Starts a second against starters, {model}, {} ({})", table.workload, table.case);
    let rate = |rate| Quantity::Rate.tick(rate);
    plot(Plot { title, panels, x, y, x_tick: count, y_tick: rate, x_name: "starters, log axes" })
}

/// The tail of the timed starts; faint below it, their median.
pub fn start_tails(table: &Table, model: Model, mode: StartMode) -> Option<Markup> {
    let panels = of_model(table, model, |row, starters| {
        let ends = [starters.of(mode).next()?, starters.of(mode).last()?];
        let ends =
            ends.map(|point| point.start.at(starters.tail).map_or_else(|| "–".into(), |ns| units::time(ns as f64)));
        let tail = if starters.tail == 0.99 { String::new() } else { format!(" ({})", starts::tail(starters)) };
        let mut series = series(row, &format!("{} to {}{tail}", ends[0], ends[1]));
        let at = |q: f64| starters.of(mode).filter_map(move |p| Some((f64::from(p.n), p.start.at(q)? as f64)));
        series.line = at(starters.tail).collect();
        series.dots = series.line.iter().map(|at| Dot { at: *at, spread: None }).collect();
        series.faint = vec![at(0.5).collect()];
        Some(series)
    });
    let x = Axis::log(2, points(&panels).map(|(n, _)| n))?;
    let y = Axis::log(10, points(&panels).map(|(_, ns)| ns))?;
    let how = if mode == StartMode::Together { "all timed" } else { "one timed beside the others" };
    let title = format!("p99 of a start against starters, {how}, {model}, {} ({})", table.workload, table.case);
    let time = |ns| Quantity::Time.tick(ns);
    plot(Plot { title, panels, x, y, x_tick: count, y_tick: time, x_name: "starters, log axes" })
}

/// The rows of one model, a panel for each guest. Names stand in the order in which their lines end at the right, the
/// highest first, because lines of one model have one colour.
fn of_model<'a>(
    table: &Table<'a>,
    model: Model,
    line: impl Fn(&Row<'a>, &'a Starters) -> Option<Series>,
) -> Vec<Panel> {
    let one = |row: &Row<'a>| line(row, row.cell.starters.as_ref().filter(|_| row.cell.model == model)?);
    let mut panels = by_guest(table, one);
    let end = |series: &Series| series.line.last().map_or(0.0, |(_, y)| *y);
    for panel in &mut panels {
        let noun = noun(model);
        panel.title = format!("{}, {}", noun.strip_prefix("a ").unwrap_or(noun), panel.title);
        panel.series.sort_by(|a, b| end(b).total_cmp(&end(a)));
    }
    panels
}
