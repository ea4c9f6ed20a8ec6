//! Two runs, or the two sides of one, side by side: what they were made on, then what changed.

pub mod environment;
mod markdown;
mod text;

pub use environment::{Difference, Scope};
pub use markdown::markdown;
pub use text::text;

use crate::files::Report;
use crate::units;
use isobench_core::run::RunFile;
use isobench_core::words::{Cell, Side};
use isobench_stats::Summary;
use isobench_stats::compare::{self, Comparison, Floor, Row, Word};

/// A comparison with all that stands around it.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The base.
    pub base: Label,
    /// The new one.
    pub new: Label,
    /// What differs around them, what is grave first.
    pub differences: Vec<Difference>,
    /// The rows.
    pub comparison: Comparison,
    /// The blocks of both sides took turns in one run.
    pub interleaved: bool,
}

/// What a side is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Id of the run, or name of the configuration.
    pub name: String,
    /// When and on what.
    pub about: String,
}

impl Compared {
    /// Two runs. Only cells that are `wanted` become rows.
    pub fn runs(base: &Report, new: &Report, wanted: &dyn Fn(&Cell) -> bool) -> Compared {
        let label = |run: &RunFile| Label { name: run.id.clone(), about: about(run) };
        Compared {
            base: label(&base.run),
            new: label(&new.run),
            differences: environment::between(&base.run, &new.run),
            comparison: compare::runs(&base.summary, &new.summary, wanted),
            interleaved: false,
        }
    }

    /// The sides A and B of one run; nothing for a run without sides.
    pub fn sides(run: &RunFile, summary: &Summary, wanted: &dyn Fn(&Cell) -> bool) -> Option<Compared> {
        if !summary.cells.iter().any(|cell| cell.side == Some(Side::B)) {
            return None;
        }
        let label = |side: Side| {
            let configuration = run.plan.configurations.iter().find(|c| c.side == side);
            Label { name: configuration.map_or_else(|| side.to_string(), |c| c.name.clone()), about: about(run) }
        };
        Some(Compared {
            base: label(Side::A),
            new: label(Side::B),
            differences: environment::between_sides(run),
            comparison: compare::sides(summary, wanted),
            interleaved: true,
        })
    }

    /// What makes the numbers of `cell` incomparable.
    pub fn grave(&self, cell: &Cell) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(move |d| d.grave && d.touches(cell))
    }

    /// Why these rows should not be compared, for a person: nothing where they may be.
    pub fn refusal(&self) -> Option<String> {
        let both = |row: &&Row| row.base.is_some() && row.new.is_some();
        let rows: Vec<&Row> = self.comparison.rows.iter().filter(both).collect();
        let touched = |d: &&Difference| d.grave && rows.iter().any(|row| d.touches(&row.cell));
        let lines: Vec<String> = self
            .differences
            .iter()
            .filter(touched)
            .map(|d| format!("\n  {}: {} in {}, {} in {}", d.what, d.base, self.base.name, d.new, self.new.name))
            .collect();
        (!lines.is_empty()).then(|| {
            format!(
                "not comparable:{}\nCompare runs that agree in this, leave those cells out with --skip PATTERN, or pass \
                 --anyway: then every row that it concerns is marked.",
                lines.concat()
            )
        })
    }

    /// The rows that fail a gate: worse, says the verdict, which needs the test, the interval and the noise floor to agree, and by more than
    /// `percent`.
    pub fn regressions(&self, percent: f64) -> Vec<&Row> {
        let fails = |row: &&Row| row.word == Word::Worse && row.worse_by().is_some_and(|by| by * 100.0 > percent);
        self.comparison.rows.iter().filter(fails).collect()
    }

    /// What came out, in one sentence.
    pub fn outcome(&self) -> String {
        let rows = &self.comparison.rows;
        let parts: Vec<String> = kinds(rows).iter().map(|(said, rows)| format!("{} {said}", rows.len())).collect();
        match parts.as_slice() {
            [] => "No cell has a number on either side.".into(),
            _ => format!("{} {}: {}.", rows.len(), plural(rows.len(), "row"), parts.join(", ")),
        }
    }

    /// How small a difference these runs could have shown, in one sentence.
    pub fn sensitivity(&self) -> Option<String> {
        let mut rows: Vec<(f64, &Row)> =
            self.comparison.rows.iter().filter_map(|row| Some((row.sensitivity?.detectable(), row))).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (least, most) = (rows.first()?, rows.last()?);
        let said = |(size, row): &(f64, &Row)| format!("{} (`{}`, {})", units::percent(*size), row.cell, row.metric);
        let middle = units::percent(rows[rows.len() / 2].0);
        Some(match rows.len() {
            1 => format!("Smallest difference that would be called one in four of five comparisons: {}.", said(least)),
            n => format!(
                "Smallest difference that would be called one in four of five comparisons: from {} to {}; {middle} for the \
                 middle one of {n} tested rows.",
                said(least),
                said(most)
            ),
        })
    }

    /// What identical things differed by, within a run and, where there are two, between them.
    pub fn floor(&self) -> String {
        let machine = self.comparison.machine.map(|ratio| {
            let by = units::percent(ratio.effect());
            let how = if ratio.value >= 1.0 { "longer" } else { "shorter" };
            format!(" The calibration loop, always the same work, took {by} {how} in the new run: that much of a time is the machine.")
        });
        floor_sentence(&self.comparison.floors) + &machine.unwrap_or_default()
    }
}

/// What identical things differed by: the largest of every metric.
pub fn floor_sentence(floors: &[Floor]) -> String {
    let largest = |metric| {
        let of = floors.iter().filter(|f| f.metric == metric);
        let most = of.max_by(|a, b| a.ratio.effect().total_cmp(&b.ratio.effect()))?;
        Some(format!("{} in {metric}", units::percent(most.ratio.effect())))
    };
    let parts: Vec<String> = isobench_stats::Metric::ALL.into_iter().filter_map(largest).collect();
    if parts.is_empty() {
        return "No cell was measured twice (A/A): there is no noise floor to hold differences against.".into();
    }
    format!("Identical things, measured twice, differed by up to {}.", parts.join(", "))
}

/// The rows by what is said of them, in the order of words; `slower` apart from `larger`.
pub fn kinds(rows: &[Row]) -> Vec<(&'static str, Vec<&Row>)> {
    let mut kinds: Vec<(&'static str, Vec<&Row>)> = Vec::new();
    for word in Word::ALL {
        for row in rows.iter().filter(|row| row.word == word) {
            match kinds.iter_mut().find(|(said, _)| *said == row.said()) {
                Some((_, rows)) => rows.push(row),
                None => kinds.push((row.said(), vec![row])),
            }
        }
    }
    kinds
}

/// `row` or `rows`.
pub(crate) fn plural(n: usize, word: &str) -> String {
    if n == 1 { word.into() } else { format!("{word}s") }
}

fn about(run: &RunFile) -> String {
    format!("{}, {}, {} cores", units::date(run.started_unix_ms), run.machine.cpu, run.machine.cores)
}

/// The outcome of a gate in lines, the first of which says whether it holds: what fails it, and by how much.
pub fn gate(compared: &Compared, percent: f64) -> Vec<String> {
    let failed = compared.regressions(percent);
    let tested = compared.comparison.tested;
    let limit = units::percent(percent / 100.0);
    let both = compared.comparison.rows.iter().filter(|row| row.ratio.is_some()).count();
    let mut lines = vec![match failed.len() {
        0 => {
            format!("Gate holds: no row is over {limit} worse ({tested} of {both} rows have the blocks to be tested).")
        }
        n => format!("Gate failed: {n} {} over {limit} worse.", if n == 1 { "row is" } else { "rows are" }),
    }];
    lines.extend(failed.iter().map(|row| {
        let by = units::percent(row.worse_by().unwrap_or_default());
        let interval = row.ratio.and_then(|r| r.interval).map_or_else(String::new, units::ratio_interval);
        let p = row.p_corrected.map_or_else(String::new, |p| format!(", corrected p {}", units::probability(p)));
        format!("`{}` {}: {by} {}, ratio in {interval}{p}", row.cell, row.metric, row.said())
    }));
    lines
}
