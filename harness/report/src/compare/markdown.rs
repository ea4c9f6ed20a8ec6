//! A comparison as GitHub-flavoured Markdown: for a pull request's comment, a job's summary.

use super::{Compared, kinds};
use crate::units::{self, Quantity};
use isobench_core::text::one_line;
use isobench_stats::compare::{Measured, Row};

/// The comparison as Markdown: differences in a table, every other row behind a fold.
pub fn markdown(compared: &Compared) -> String {
    let mut text = format!("### `{}` against `{}`\n", field(&compared.new.name), field(&compared.base.name));
    text.extend(compared.setting.iter().map(|sentence| format!("\n{sentence}\n")));
    text += &format!("\n{}\n", compared.outcome());
    if !compared.differences.is_empty() {
        text += "\n| differs | base | new | |\n|---|---|---|---|\n";
        for d in &compared.differences {
            let grave = if d.grave { "≠ not comparable" } else { "" };
            text += &format!("| {} | {} | {} | {grave} |\n", field(&d.what), field(&d.base), field(&d.new));
        }
    }
    for (said, rows) in kinds(&compared.comparison.rows) {
        if rows[0].word.is_difference() {
            text += &format!("\n**{}**\n{}", said, table(compared, &rows));
        } else {
            text += &format!(
                "\n<details><summary>{said}: {}</summary>\n{}\n</details>\n",
                rows.len(),
                table(compared, &rows)
            );
        }
    }
    for (reason, cells) in compared.left_out_by_reason() {
        let names: String = cells.iter().map(|cell| format!("- `{}`\n", field(&cell.to_string()))).collect();
        text += &format!(
            "\n<details><summary>left out as not comparable, {}: {}</summary>\n\n{names}\n</details>\n",
            cells.len(),
            field(&reason)
        );
    }
    text += &format!("\n{}\n", compared.floor());
    if let Some(sensitivity) = compared.sensitivity() {
        text += &format!("{sensitivity}\n");
    }
    text
}

fn table(compared: &Compared, rows: &[&Row]) -> String {
    let mut text = "\n| cell | metric | base | new | of medians | ratio | 95 % interval | p, corrected | |\n\
                    |---|---|--:|--:|--:|--:|---|--:|---|\n"
        .to_string();
    for row in rows {
        let quantity = Quantity::of(row.metric);
        let value =
            |side: &Option<Measured>| side.as_ref().map_or_else(|| "–".into(), |m| quantity.estimate(m.estimate()));
        let mark: Vec<String> = compared.grave(&row.cell).map(|d| format!("≠ {}", d.what)).collect();
        let notes: Vec<&str> =
            mark.iter().map(String::as_str).chain([row.why.as_str()]).filter(|n| !n.is_empty()).collect();
        let dash = || "–".to_string();
        text += &format!(
            "| `{}` | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            field(&row.cell.to_string()),
            row.metric,
            value(&row.base),
            value(&row.new),
            row.of_medians().map_or_else(dash, units::ratio),
            row.ratio.map_or_else(dash, |r| units::ratio(r.value)),
            row.ratio.and_then(|r| r.interval).map_or_else(dash, units::ratio_interval),
            row.p_corrected.map_or_else(dash, units::probability),
            field(&notes.join("; ")),
        );
    }
    text
}

/// Text that stays in its field: no bar, no line end, no tag, no end of a code span, no control character.
fn field(text: &str) -> String {
    one_line(text).replace('|', "\\|").replace('<', "&lt;").replace('`', "'")
}
