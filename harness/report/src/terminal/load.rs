//! The table of a run that measured load: what held, of every row.

use super::{Field, empty_grid, right_aligned, verdict_color};
use crate::load;
use crate::rows::{Row, Table, verdict_words};
use crate::units::{self, Quantity};
use comfy_table::Attribute;
use isobench_core::record::{BURST, Policy, Record};
use isobench_core::words::Cell;

/// The table, and a line on how to read it.
pub(super) fn table(table: &Table, color: bool, width: u16) -> String {
    let policies = load::policies(table);
    let common = load::common_burst(table);
    let density = table.rows.iter().any(|row| row.cell.density.is_some());
    let mut heads: Vec<String> = vec!["boundary".into(), "guest".into()];
    heads.extend(policies.iter().map(ToString::to_string));
    heads.extend(common.map(|n| format!("{n} at once")));
    heads.extend(density.then(|| "side by side".to_string()));
    heads.push("verdict".into());
    let mut grid = empty_grid(color, width);
    grid.set_header(heads.iter().map(|head| Field::new(head).add_attribute(Attribute::Bold)));
    for row in &table.rows {
        let mut fields = vec![Field::new(row.name()), Field::new(row.guest())];
        fields.extend(policies.iter().map(|policy| Field::new(knee(row, *policy))));
        fields.extend(common.map(|n| Field::new(burst(row, n))));
        fields.extend(density.then(|| Field::new(side_by_side(row))));
        fields.push(Field::new(verdict_words(row.cell).join(" ")).fg(verdict_color(row.cell)));
        grid.add_row(fields);
    }
    right_aligned(&mut grid, |i| (2..heads.len() - 1).contains(&i));
    let mut read = Vec::new();
    if !policies.is_empty() {
        read.push("policies: the highest rate that held, and its tail latency from the intended start");
    }
    if common.is_some() {
        read.push("at once: until all had answers");
    }
    if density {
        read.push("side by side: live instances that still answered, and what bound them");
    }
    format!("{}\n{}\n", grid.trim_fmt(), read.join("; "))
}

fn none() -> String {
    "–".into()
}

fn knee(row: &Row, policy: Policy) -> String {
    let Some(curve) = load::curve(row, policy) else { return none() };
    let tail = load::tail_at_knee(curve);
    let tail = tail.map_or_else(String::new, |ns| format!("\n{} {}", load::tail(curve), units::time(ns as f64)));
    load::knee(curve) + &tail
}

fn burst(row: &Row, n: u32) -> String {
    row.cell.burst.as_ref().and_then(|burst| load::all_of(burst, n)).map_or_else(none, units::time)
}

fn side_by_side(row: &Row) -> String {
    let reached = row.cell.density.as_ref().and_then(|density| density.bound.as_ref());
    reached.map_or_else(none, |r| format!("{}\n{}", units::grouped(r.n.into()), load::bound(r.by)))
}

/// One line for a cell that a visit under load has just ended for: how far it went.
pub fn load_line(cell: &Cell, records: &[Record]) -> String {
    let name = format!("{} {}", cell.row(), cell.guest);
    let what = format!("{}/{}", cell.workload, cell.case);
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
    let reached = records.iter().find_map(|record| if let Record::Bound(bound) = record { Some(bound) } else { None });
    let reached = reached.map(|bound| {
        let after = all.map_or_else(String::new, |ns| format!(", all answered after {}", units::time(ns as f64)));
        format!("{}: {} ({}){after}", bound.experiment, units::grouped(bound.n.into()), load::bound(bound.by))
    });
    format!("{name:<24} {what:<18} {}", rates.or(reached).unwrap_or_default()).trim_end().to_string()
}
