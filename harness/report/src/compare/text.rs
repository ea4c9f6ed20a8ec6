//! A comparison on a terminal: what differs around the numbers first, then the differences; the rest is counted.

use super::{Compared, kinds};
use crate::terminal::{WIDTH, empty_grid, right_aligned};
use crate::units::{self, Quantity};
use comfy_table::{Attribute, Cell as Field, Color};
use isobench_core::text::one_line;
use isobench_stats::compare::{Measured, Row, Word};

/// The comparison as text. `color` writes ANSI escapes; `width` is the terminal's, in columns.
pub fn text(compared: &Compared, color: bool, width: Option<u16>) -> String {
    let mut text = format!(
        "base  {}  {}\nnew   {}  {}\n",
        one_line(&compared.base.name),
        one_line(&compared.base.about),
        one_line(&compared.new.name),
        one_line(&compared.new.about)
    );
    text.extend(compared.setting.iter().map(|sentence| format!("\n{sentence}\n")));
    text += &environment(compared);
    let called: Vec<&Row> = compared.comparison.rows.iter().filter(|row| row.word.is_difference()).collect();
    if called.is_empty() {
        text += "\nNo difference can be called one.\n";
    } else {
        text += &format!("\n{}\n", grid(compared, &called, color, width.unwrap_or(WIDTH)));
    }
    text += &format!("\n{}\n", compared.outcome());
    for (said, rows) in kinds(&compared.comparison.rows).iter().filter(|(_, rows)| !rows[0].word.is_difference()) {
        text += &format!("- {said}, {}: {}\n", rows.len(), names(compared, rows));
    }
    for (reason, cells) in compared.left_out_by_reason() {
        let names = list(cells.iter().map(ToString::to_string), cells.len());
        text += &format!("- left out as not comparable, {}: {reason}: {names}\n", cells.len());
    }
    if !compared.left_out.is_empty() {
        text += "  (--anyway compares these too, and marks them)\n";
    }
    text += &format!("\n{}\n", compared.floor().replace('`', ""));
    if let Some(sensitivity) = compared.sensitivity() {
        text += &format!("{}\n", sensitivity.replace('`', ""));
    }
    text
}

fn environment(compared: &Compared) -> String {
    let around = compared.around();
    if compared.differences.is_empty() {
        return format!("\nNothing that isobench records differs {around}.\n");
    }
    let widest = compared.differences.iter().map(|d| d.what.chars().count()).max().unwrap_or(0);
    let mut text = format!(
        "\nWhat differs {around}{}:\n",
        if compared.differences.iter().any(|d| d.grave) { " (≠: not comparable)" } else { "" }
    );
    for d in &compared.differences {
        text += &format!(
            "{} {:widest$}  {} → {}\n",
            if d.grave { "≠" } else { " " },
            one_line(&d.what),
            one_line(&d.base),
            one_line(&d.new)
        );
    }
    text
}

/// Most rows that are named of those that show nothing; the page and the Markdown have them all.
const NAMED: usize = 3;

fn names(compared: &Compared, rows: &[&Row]) -> String {
    let name = |row: &&Row| format!("{} {}{}{}", row.cell, row.metric, mark(compared, row), why(row));
    list(rows.iter().map(name), rows.len())
}

/// The first few of `count` names.
fn list(names: impl Iterator<Item = String>, count: usize) -> String {
    let named: Vec<String> = names.take(NAMED).collect();
    let more = count.saturating_sub(NAMED);
    let more = if more > 0 { format!("; {more} more") } else { String::new() };
    one_line(&named.join("; ")) + &more
}

/// Marks a row that compares two different things.
fn mark(compared: &Compared, row: &Row) -> &'static str {
    if compared.grave(&row.cell).next().is_some() { " ≠" } else { "" }
}

fn why(row: &Row) -> String {
    if row.why.is_empty() { String::new() } else { format!(" ({})", row.why) }
}

fn grid(compared: &Compared, rows: &[&Row], color: bool, width: u16) -> String {
    let mut grid = empty_grid(color, width);
    let heads = ["cell", "metric", "", "base", "new", "of medians", "ratio", "95 % interval", "p"];
    grid.set_header(heads.map(|head| Field::new(head).add_attribute(Attribute::Bold)));
    for row in rows {
        let quantity = Quantity::of(row.metric);
        let value =
            |side: &Option<Measured>| side.as_ref().map_or_else(|| "–".into(), |m| quantity.estimate(m.estimate()));
        let interval = row.ratio.and_then(|r| r.interval).map_or_else(String::new, units::ratio_interval);
        let ink = if row.word == Word::Worse { Color::Red } else { Color::Green };
        grid.add_row([
            Field::new(one_line(&row.cell.to_string())),
            Field::new(row.metric),
            Field::new(format!("{}{}", row.said(), mark(compared, row))).fg(ink),
            Field::new(value(&row.base)),
            Field::new(value(&row.new)),
            Field::new(row.of_medians().map_or_else(String::new, units::ratio)),
            Field::new(row.ratio.map_or_else(String::new, |r| units::ratio(r.value))),
            Field::new(interval),
            Field::new(row.p_corrected.map_or_else(String::new, units::probability)),
        ]);
    }
    right_aligned(&mut grid, |i| i >= 3);
    format!(
        "{}\nof medians: new over base; ratio: over all pairs of blocks or runs. {}",
        grid.trim_fmt(),
        compared.test()
    )
}
