//! The table of a run that measured load: what held, of every row.

use super::{Field, empty_grid, heading, right_aligned, verdict_color};
use crate::load;
use crate::rows::{self, Row, Table, verdict_words};
use crate::units::{self, Quantity};
use comfy_table::Attribute;
use isobench_core::record::{BURST, Bound, BoundBy, Record, StartMode};
use isobench_core::text::one_line;
use isobench_core::words::Cell;

/// The table, and a line on how to read it.
pub(super) fn table(table: &Table, color: bool, width: u16) -> String {
    let (heads, rows) = load::grid(table);
    let heads: Vec<&str> =
        ["boundary", "guest"].into_iter().chain(heads.iter().map(String::as_str)).chain(["verdict"]).collect();
    let shown = |rows: &[(Row, Vec<load::Field>)]| grid_of(&heads, rows, color, width);
    format!("{}\n{}\n", rows::apart(&rows, shown, heading), load::legend(table))
}

fn grid_of(heads: &[&str], rows: &[(Row, Vec<load::Field>)], color: bool, width: u16) -> String {
    let mut grid = empty_grid(color, width);
    grid.set_header(heads.iter().map(|head| Field::new(head).add_attribute(Attribute::Bold)));
    for (row, fields) in rows {
        let mut line = vec![Field::new(row.name()), Field::new(row.guest_on_engine())];
        line.extend(fields.iter().map(|f| Field::new(format!("{}\n{}", f.value, f.note).trim_end())));
        line.push(Field::new(verdict_words(row.cell).join(" ")).fg(verdict_color(row.cell)));
        grid.add_row(line);
    }
    right_aligned(&mut grid, |i| (2..heads.len() - 1).contains(&i));
    grid.trim_fmt()
}

/// One line for a cell that a visit under load has just ended for: how far it went.
pub fn load_line(cell: &Cell, records: &[Record]) -> String {
    let name = one_line(&format!("{} {}", cell.row(), cell.guest_on_engine()));
    let what = one_line(&format!("{}/{}", cell.workload, cell.case));
    let loads = || records.iter().filter_map(|r| if let Record::Load(load) = r { Some(load) } else { None });
    let rate = |mhz: u64| Quantity::Rate.show(mhz as f64 / 1e3);
    let ends = loads().map(|l| l.rate_mhz).min().zip(loads().map(|l| l.rate_mhz).max());
    let rates = loads().next().zip(ends).map(|(load, (low, high))| {
        let (offered, dropped) = (loads().map(|l| l.offered).sum(), loads().map(|l| l.dropped).sum::<u64>());
        let given_up = if dropped > 0 { format!(", {} given up", units::grouped(dropped)) } else { String::new() };
        format!("{}: {} requests at {} to {}{given_up}", load.policy, units::grouped(offered), rate(low), rate(high))
    });
    let all = records.iter().rev().find_map(|record| match record {
        Record::Samples(s) if s.metric == BURST[2] => s.values.first().copied(),
        _ => None,
    });
    let went = reached(records).map(|bound| {
        let after = all.map_or_else(String::new, |ns| format!(", all answered after {}", units::time(ns as f64)));
        format!("{}: {} ({}){after}", bound.experiment, units::grouped(bound.n.into()), load::bound(bound.by))
    });
    let starts: Vec<String> = records.iter().filter_map(started).collect();
    let cut = reached(records).filter(|bound| bound.by != BoundBy::Count);
    let cut = cut.map_or_else(String::new, |bound| format!(" ({})", load::bound(bound.by)));
    let starts = (!starts.is_empty()).then(|| format!("starts: {}{cut}", starts.join(", ")));
    format!("{name:<24} {what:<18} {}", rates.or(starts).or(went).unwrap_or_default()).trim_end().to_string()
}

/// How far a visit went.
fn reached(records: &[Record]) -> Option<&Bound> {
    records.iter().find_map(|record| if let Record::Bound(bound) = record { Some(bound) } else { None })
}

/// The starts a second of one number of starters together.
fn started(record: &Record) -> Option<String> {
    let Record::Starts(starts) = record else { return None };
    let rate = starts.starts as f64 * 1e9 / starts.elapsed_ns.max(1) as f64;
    (starts.mode == StartMode::Together).then(|| format!("{} at {}", Quantity::Rate.show(rate), starts.n))
}
