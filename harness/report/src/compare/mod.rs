//! Two runs, several a side, or the two sides of one, side by side: what they were made on, then what changed.

pub mod environment;
mod gate;
mod markdown;
mod setting;
mod text;

pub use environment::{Difference, Scope};
pub use gate::{Gate, Judged, Limits, gate};
pub use markdown::markdown;
pub use text::text;

use crate::files::Report;
use crate::units;
use isobench_core::run::RunFile;
use isobench_core::words::{Cell, Side};
use isobench_stats::compare::{self, Comparison, Floor, Row, Unit, Word};
use isobench_stats::{Summary, of_runs};

/// A comparison with all that stands around it.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The base.
    pub base: Label,
    /// The new one.
    pub new: Label,
    /// Whether machine and day are the same, in sentences; empty if they are.
    pub setting: Vec<String>,
    /// What differs around them, what is grave first.
    pub differences: Vec<Difference>,
    /// Cells that both sides have and that a grave difference keeps out of the rows.
    pub left_out: Vec<Cell>,
    /// The rows.
    pub comparison: Comparison,
}

/// What becomes of a cell that a grave difference concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incomparable {
    /// It is no row: it is listed with the reason.
    LeaveOut,
    /// It is a row, and marked.
    Mark,
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
    pub fn runs(base: &Report, new: &Report, wanted: &dyn Fn(&Cell) -> bool, incomparable: Incomparable) -> Compared {
        let label = |run: &RunFile| Label { name: run.id.clone(), about: about(run) };
        let differences = environment::between(&base.run, &new.run);
        let grave = |cell: &Cell| differences.iter().any(|d| d.grave && d.touches(cell));
        let out = |cell: &Cell| incomparable == Incomparable::LeaveOut && grave(cell);
        let both = |cell: &&Cell| new.summary.cells.iter().any(|other| other.is_shown() && other.cell == **cell);
        let shown = base.summary.cells.iter().filter(|cell| cell.is_shown()).map(|cell| &cell.cell);
        Compared {
            base: label(&base.run),
            new: label(&new.run),
            setting: setting::between(&base.run, &new.run),
            left_out: shown.filter(|cell| wanted(cell) && out(cell)).filter(both).cloned().collect(),
            comparison: compare::runs(&base.summary, &new.summary, &|cell| wanted(cell) && !out(cell)),
            differences,
        }
    }

    /// Several runs a side, compared with the run as the unit. Only cells that are `wanted` become rows.
    pub fn several(
        base: &[Report],
        new: &[Report],
        wanted: &dyn Fn(&Cell) -> bool,
        incomparable: Incomparable,
    ) -> Compared {
        let files = |side: &'_ [Report]| -> Vec<RunFile> { side.iter().map(|report| report.run.clone()).collect() };
        let summaries =
            |side: &'_ [Report]| -> Vec<Summary> { side.iter().map(|report| report.summary.clone()).collect() };
        let ((base_runs, new_runs), (base, new)) = ((files(base), files(new)), (summaries(base), summaries(new)));
        let differences = environment::among(&base_runs, &new_runs);
        let grave = |cell: &Cell| differences.iter().any(|d| d.grave && d.touches(cell));
        let out = |cell: &Cell| incomparable == Incomparable::LeaveOut && grave(cell);
        let has = |side: &[Summary], cell: &Cell| {
            side.iter().flat_map(|run| &run.cells).any(|other| other.is_shown() && other.cell == *cell)
        };
        let mut left_out: Vec<Cell> = Vec::new();
        for cell in base.iter().flat_map(|run| &run.cells).filter(|cell| cell.is_shown()).map(|cell| &cell.cell) {
            if wanted(cell) && out(cell) && has(&new, cell) && !left_out.contains(cell) {
                left_out.push(cell.clone());
            }
        }
        let mut setting = Vec::new();
        for said in new_runs.iter().flat_map(|new| setting::between(&base_runs[0], new)) {
            if !setting.contains(&said) {
                setting.push(said);
            }
        }
        let comparison =
            of_runs::several(&Vec::from_iter(&base), &Vec::from_iter(&new), &|cell| wanted(cell) && !out(cell));
        Compared { base: labels(&base_runs), new: labels(&new_runs), setting, differences, left_out, comparison }
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
            setting: Vec::new(),
            differences: environment::between_sides(run),
            left_out: Vec::new(),
            comparison: compare::sides(summary, wanted),
        })
    }

    /// What differs around what.
    pub fn around(&self) -> &'static str {
        match self.comparison.unit {
            Unit::Turns => "between the sides",
            Unit::Blocks => "around the two runs",
            Unit::Runs => "around the runs",
        }
    }

    /// How p was found, in one sentence.
    pub fn test(&self) -> &'static str {
        match self.comparison.unit {
            Unit::Blocks | Unit::Turns => "p: permutation test over blocks, corrected for the number of rows tested.",
            Unit::Runs => {
                "Each run counts once, by its median. p: t-test over the logarithms of the runs, corrected for the number of \
                 rows tested."
            }
        }
    }

    /// What makes the numbers of `cell` incomparable.
    pub fn grave(&self, cell: &Cell) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(move |d| d.grave && d.touches(cell))
    }

    /// Whether both sides have a number in any row.
    pub fn has_rows(&self) -> bool {
        self.comparison.rows.iter().any(|row| row.base.is_some() && row.new.is_some())
    }

    /// Whether a row compares two different things, because that was asked for.
    pub fn is_marked(&self) -> bool {
        self.comparison.rows.iter().any(|row| self.grave(&row.cell).next().is_some())
    }

    /// Why nothing can be compared, for a person: `None` where a row is left, or no cell was left out.
    pub fn refusal(&self) -> Option<String> {
        if self.has_rows() || self.left_out.is_empty() {
            return None;
        }
        let touched = |d: &&Difference| d.grave && self.left_out.iter().any(|cell| d.touches(cell));
        let line = |d: &Difference| {
            format!("\n  {}: {} in {}, {} in {}", d.what, d.base, self.base.name, d.new, self.new.name)
        };
        let lines: String = self.differences.iter().filter(touched).map(line).collect();
        Some(format!(
            "no comparable row is left:{lines}\nCompare runs that agree in this, or pass --anyway: then every row that \
             it concerns is marked."
        ))
    }

    /// The cells that were left out, by the reasons that each has.
    pub fn left_out_by_reason(&self) -> Vec<(String, Vec<&Cell>)> {
        let mut groups: Vec<(String, Vec<&Cell>)> = Vec::new();
        for cell in &self.left_out {
            let reasons: Vec<String> =
                self.grave(cell).map(|d| format!("{} differs ({} → {})", d.what, d.base, d.new)).collect();
            let reason = reasons.join(", ");
            match groups.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, cells)) => cells.push(cell),
                None => groups.push((reason, vec![cell])),
            }
        }
        groups
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
            self.comparison.rows.iter().filter_map(|row| Some((row.sensitivity.as_ref()?.detectable(), row))).collect();
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
        if self.comparison.unit == Unit::Runs {
            return "How much runs of one side differ is part of the test: no noise floor is needed.".into();
        }
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

/// Several runs of one side.
fn labels(runs: &[RunFile]) -> Label {
    let names: Vec<&str> = runs.iter().map(|run| run.id.as_str()).collect();
    let about = runs.first().map_or_else(String::new, about);
    Label { name: names.join(", "), about: format!("{} {}, the first: {about}", runs.len(), plural(runs.len(), "run")) }
}

fn about(run: &RunFile) -> String {
    format!("{}, {}, {} cores", units::date(run.started_unix_ms), run.machine.cpu, run.machine.cores)
}
