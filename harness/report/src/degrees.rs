//! Cold starts in sentences: like is compared with like. Every sentence is about one guest and one degree of preparation,
//! and names the declared representative of each model. Names in backticks are code.

use crate::answer::list;
use crate::rows::{Row, Table, noun};
use crate::units::{self, Quantity};
use isobench_core::words::{Guest, Model, Preparation};
use isobench_stats::compare::{Floor, floor_of};
use isobench_stats::ratio::paired;
use isobench_stats::{Metric, Spread};

/// The noise floor of a run without A/A cells (ratio − 1): blocks of one cell differ by as much.
const ASSUMED_FLOOR: f64 = 0.1;

/// The rows of one guest at one degree of preparation.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    pub guest: Guest,
    degree: Preparation,
    /// The representative of every model, by rising cold start.
    rows: Vec<Row<'a>>,
}

/// Every group with a representative. First the one with the most models; of those with equally many, Wasm first, because
/// every model can run it.
pub(crate) fn groups<'a>(table: &Table<'a>) -> Vec<Group<'a>> {
    let mut groups = Vec::new();
    for guest in [Guest::Wasm, Guest::Js, Guest::Native] {
        for degree in Preparation::ALL {
            let rows = representatives(table, guest, degree);
            if !rows.is_empty() {
                groups.push(Group { guest, degree, rows });
            }
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.rows.len()));
    groups
}

/// The rows that may be in one sentence: real, on the guest's usual engine, with a cold start at this degree.
fn alike<'a>(table: &Table<'a>, guest: Guest, degree: Preparation) -> impl Iterator<Item = Row<'a>> {
    let fit = move |r: &Row| {
        r.guest() == guest && r.preparation == Some(degree) && r.usual && !r.emulated() && r.cold_start().is_some()
    };
    table.rows.clone().into_iter().filter(fit)
}

fn representatives<'a>(table: &Table<'a>, guest: Guest, degree: Preparation) -> Vec<Row<'a>> {
    let mut chosen: Vec<Row> = Vec::new();
    for row in alike(table, guest, degree).filter(|row| row.representative > 0) {
        match chosen.iter_mut().find(|c| c.cell.model == row.cell.model) {
            Some(c) if row.representative < c.representative => *c = row,
            Some(_) => {}
            None => chosen.push(row),
        }
    }
    let start = |row: &Row| row.cold_start().map_or(f64::INFINITY, |e| e.value);
    chosen.sort_by(|a, b| start(a).total_cmp(&start(b)));
    chosen
}

/// A sentence for each group with several models, in the order of `groups`, the first group's in full. Then what has
/// nothing to be compared with.
pub(crate) fn sentences(table: &Table, groups: &[Group], floors: &[Floor]) -> Vec<String> {
    let Some((first, others)) = groups.split_first() else { return without_representatives(table) };
    let mut sentences = Vec::from_iter(sentence(table, first, floors));
    if let Some(said) = sentences.first_mut() {
        *said += &costs(&first.rows);
    }
    let (several, alone): (Vec<&Group>, Vec<&Group>) = others.iter().partition(|group| group.rows.len() > 1);
    sentences.extend(several.into_iter().filter_map(|group| sentence(table, group, floors)));
    let alone: Vec<String> = alone.into_iter().flat_map(|group| group.rows.iter().filter_map(shown)).collect();
    if !alone.is_empty() {
        sentences.push(format!(
            "No other model was measured with these guests at these degrees of preparation, so they are not compared: {}.",
            alone.join("; ")
        ));
    }
    sentences.extend(of_unknown_degree(table));
    sentences
}

/// `v8/snapshot` (js guest, code prepared) 600 µs.
fn shown(row: &Row) -> Option<String> {
    let degree = row.preparation.map_or_else(String::new, |degree| format!(", {degree}"));
    Some(format!("`{}` ({} guest{degree}) {}", row.name(), row.guest(), Quantity::Time.estimate(row.cold_start()?)))
}

fn without_representatives(table: &Table) -> Vec<String> {
    let real = |row: &&Row| !row.emulated() && row.cold_start().is_some() && row.cell.model != Model::Remote;
    let rows: Vec<&Row> = table.rows.iter().filter(real).collect();
    let why = match rows.first() {
        None => None,
        Some(_) if rows.iter().all(|row| row.preparation.is_none()) => Some(
            "This run does not record the degrees of preparation, so no sentence compares cold starts: see the table.",
        ),
        Some(_) => Some("No row of this table is a representative of its model, so no sentence compares cold starts."),
    };
    why.map(String::from).into_iter().chain(of_unknown_degree(table)).collect()
}

/// Functions over a URL: their platform does not say what it prepares.
fn of_unknown_degree(table: &Table) -> Option<String> {
    let remote = |row: &&Row| row.cell.model == Model::Remote && row.preparation.is_none();
    let rows: Vec<String> = table.rows.iter().filter(remote).filter_map(shown).collect();
    (!rows.is_empty()).then(|| {
        format!("What a remote platform prepares is not known, so its cold starts are not compared: {}.", list(&rows))
    })
}

fn artifact(guest: Guest) -> &'static str {
    match guest {
        Guest::Native => "native program",
        Guest::Wasm => "Wasm module",
        Guest::Js => "script",
    }
}

fn sentence(table: &Table, group: &Group, floors: &[Floor]) -> Option<String> {
    let (first, others) = group.rows.split_first()?;
    let same = if others.is_empty() { "a" } else { "the same" };
    let degree = match group.degree {
        Preparation::Instance => "an instance waiting".to_string(),
        degree => degree.to_string(),
    };
    let mut text = format!(
        "With {same} {} and {degree}, {} (`{}`{}) answers its first `{}` in {}",
        artifact(group.guest),
        noun(first.cell.model),
        first.name(),
        range(table, group, first.cell.model),
        table.workload,
        Quantity::Time.estimate(first.cold_start()?)
    );
    let sooner: Vec<String> = others.iter().filter_map(|other| compared(table, group, other, floors)).collect();
    if !sooner.is_empty() {
        text += &format!(", {}", list(&sooner));
    }
    Some(text + ".")
}

/// `; 7 container rows from 7.13 ms to 311 ms`: the representative is one of them.
fn range(table: &Table, group: &Group, model: Model) -> String {
    let rows = alike(table, group.guest, group.degree).filter(|row| row.cell.model == model);
    let starts: Vec<f64> = rows.filter_map(|row| Some(row.cold_start()?.value)).collect();
    let ends = (starts.iter().copied().min_by(f64::total_cmp), starts.iter().copied().max_by(f64::total_cmp));
    match ends {
        (Some(low), Some(high)) if starts.len() > 1 => {
            format!("; {} {} rows from {} to {}", starts.len(), bare(model), units::time(low), units::time(high))
        }
        _ => String::new(),
    }
}

/// The model without its article.
fn bare(model: Model) -> &'static str {
    noun(model).split_once(' ').map_or("", |(_, bare)| bare)
}

/// `about 47 times sooner than a container (`docker/runc`, 405 ms; 45 to 49 times)`, from pairs of blocks of one round;
/// values whose spreads overlap, or that differ by no more than the noise floor, are not ranked.
fn compared(table: &Table, group: &Group, other: &Row, floors: &[Floor]) -> Option<String> {
    let first = group.rows.first()?;
    let (a, b) = (first.cold_start()?, other.cold_start()?);
    let overlap = match (a.spread, b.spread) {
        (Some(a), Some(b)) => a.ends().1 >= b.ends().0,
        _ => false,
    };
    let floors = [first, other].map(|row| floor_of(floors, &row.cell.cell, Metric::ColdStart));
    let floor = floors.into_iter().flatten().max_by(f64::total_cmp).unwrap_or(ASSUMED_FLOOR);
    let range = range(table, group, other.cell.model);
    let ratio = paired(blocks(first)?, blocks(other)?)?;
    let named = |interval: &str| {
        format!("{} (`{}`, {}{range}{interval})", noun(other.cell.model), other.name(), Quantity::Time.estimate(b))
    };
    let may_be_one = matches!(ratio.spread, Some(Spread::Interval { low, .. }) if low <= 1.0);
    Some(if ratio.value - 1.0 <= floor || overlap || may_be_one {
        format!("with no clear difference from {}", named(""))
    } else if ratio.value < 1.1 {
        format!("{} sooner than {}", units::percent(1.0 - 1.0 / ratio.value), named(""))
    } else {
        let (about, interval) = units::about_times(ratio);
        format!("{about} sooner than {}", named(&interval.map_or_else(String::new, |ends| format!("; {ends}"))))
    })
}

/// The cold start of each block.
fn blocks<'a>(row: &Row<'a>) -> Option<&'a [f64]> {
    row.cell.headline(Metric::ColdStart).map(|headline| headline.by_block.as_slice())
}

/// What an instance keeps and how often it answers, with the others in brackets.
fn costs(rows: &[Row]) -> String {
    let Some((first, others)) = rows.split_first() else { return String::new() };
    let bracket = |value: &dyn Fn(&Row) -> Option<String>| {
        let one = |row: &Row| Some(format!("{} {}", bare(row.cell.model), value(row)?));
        let all: Vec<String> = others.iter().filter_map(one).collect();
        if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
    };
    let memory = |row: &Row| row.memory().map(|slope| Quantity::Bytes.estimate(slope));
    let rate = |row: &Row| row.all_cores().map(|rate| units::calls(rate.value));
    let mut text = String::new();
    if let Some(keeps) = memory(first) {
        text += &format!(" Each further instance keeps {keeps}{}.", bracket(&memory));
    }
    if let Some(answers) = rate(first) {
        text +=
            &format!(" Once warm, with every processor in use, it answers {answers} calls a second{}.", bracket(&rate));
    }
    text
}
