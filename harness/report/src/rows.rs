//! What the page and the terminal show first: one workload, one case, a row for every boundary and guest.

use isobench_core::availability::{EngineInfo, VariantInfo};
use isobench_core::run::{Absent, RunFile};
use isobench_core::text::one_line;
use isobench_core::words::{CellId, Experiment, Flag, Guest, Model, Preparation, Side};
use isobench_core::{Availability, record::Mode};
use isobench_stats::{CellSummary, Estimate, Metric, Summary, Verdict, spread};
use std::collections::BTreeMap;

/// The workload of the first screen unless a run measured another more fully: it does nothing, so what it costs is the
/// boundary's price.
const USUAL: &str = "echo";

/// A row: backend/variant × guest for one workload and case.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The cell behind it.
    pub cell: &'a CellSummary,
    /// What was ready before the clock started.
    pub prepared: &'a str,
    /// Its degree of preparation; absent where that is not known, and then it is in no ratio.
    pub preparation: Option<Preparation>,
    /// Its place among the representatives of its model and degree, from 1; 0 where it is none.
    pub representative: u8,
    /// Whether its engine is the one that its guest usually runs on: the answer in sentences speaks of those alone.
    pub usual: bool,
}

/// One workload and case with the rows that ran it.
#[derive(Debug, Clone)]
pub struct Table<'a> {
    /// The workload.
    pub workload: &'a str,
    /// The case.
    pub case: &'a str,
    /// Rows by rising cold start, those without one last; then the emulated ones, in the same order.
    pub rows: Vec<Row<'a>>,
}

impl<'a> Row<'a> {
    /// `v8/fresh`.
    pub fn name(&self) -> String {
        one_line(&self.cell.cell.row())
    }

    /// The guest.
    pub fn guest(&self) -> Guest {
        self.cell.cell.guest
    }

    /// The guest as it is shown: with its engine where that is not the usual one.
    pub fn guest_on_engine(&self) -> String {
        one_line(&self.cell.cell.guest_on_engine())
    }

    /// Whether its processor is emulated: never on one line with a real one.
    pub fn emulated(&self) -> bool {
        self.cell.has(Flag::Emulated)
    }

    /// Median cold start: later starts where the backend runs in process.
    pub fn cold_start(&self) -> Option<Estimate> {
        self.cell.cold_start.as_ref().map(|starts| starts.total.p50)
    }

    /// Median warm call.
    pub fn warm_call(&self) -> Option<Estimate> {
        self.cell.warm_call.as_ref().map(|warm| warm.tail.p50)
    }

    /// PSS of one more instance.
    pub fn memory(&self) -> Option<Estimate> {
        self.cell.yardstick("pss").and_then(|pss| pss.slope)
    }

    /// Calls per second on one warm instance, one request in flight.
    pub fn one_in_flight(&self) -> Option<Estimate> {
        self.cell.throughput_at(Mode::Warm, 1).map(|visit| visit.rate)
    }

    /// Calls per second on as many warm instances as there are processors.
    pub fn all_cores(&self) -> Option<Estimate> {
        self.cell.headline(Metric::Throughput).map(|headline| headline.estimate)
    }
}

/// The rank of each cell of a table by its cold start, where it has one; emulated rows are not ranked.
pub fn ranks(table: &Table) -> BTreeMap<CellId, usize> {
    let real: Vec<&Row> = table.rows.iter().filter(|row| !row.emulated()).collect();
    let starts: Vec<Option<Estimate>> = real.iter().map(|row| row.cold_start()).collect();
    real.iter().zip(spread::ranks(&starts)).filter_map(|(row, rank)| Some((row.cell.id, rank?))).collect()
}

/// What stands above the emulated rows of a table.
pub const EMULATED: &str = "emulated: not comparable with the rows above";

/// The first emulated row, if rows that are not stand above it.
pub fn first_emulated(rows: &[Row]) -> Option<usize> {
    rows.iter().position(Row::emulated).filter(|first| *first > 0)
}

/// The rows of a table as text, which `grid` makes: emulated ones apart, below a heading that `heading` makes of
/// [`EMULATED`].
pub(crate) fn apart<T>(
    rows: &[(Row, T)],
    grid: impl Fn(&[(Row, T)]) -> String,
    heading: impl Fn(&str) -> String,
) -> String {
    match rows.iter().position(|(row, _)| row.emulated()).filter(|first| *first > 0) {
        Some(first) => format!("{}{}{}", grid(&rows[..first]), heading(EMULATED), grid(&rows[first..])),
        None => grid(rows),
    }
}

/// One table for every workload and case, in the order of the run; the one for the first screen first. Of an A/B run
/// its side A; the second halves of A/A pairs are in none.
pub fn tables<'a>(run: &'a RunFile, summary: &'a Summary) -> Vec<Table<'a>> {
    let mut tables: Vec<Table> = Vec::new();
    for cell in summary.cells.iter().filter(|cell| cell.is_shown()) {
        let row = row(run, cell);
        let (workload, case) = (cell.cell.workload.as_str(), cell.cell.case.as_str());
        match tables.iter_mut().find(|t| t.workload == workload && t.case == case) {
            Some(table) => table.rows.push(row),
            None => tables.push(Table { workload, case, rows: vec![row] }),
        }
    }
    for table in &mut tables {
        let key = |row: &Row| row.cold_start().map_or(f64::INFINITY, |e| e.value);
        table.rows.sort_by(|a, b| a.emulated().cmp(&b.emulated()).then(key(a).total_cmp(&key(b))));
    }
    // The case that most rows ran, of those the smallest, which workloads list first.
    let headline = headline(run);
    let rank = |t: &Table| (t.workload == headline, t.rows.len());
    if let Some(most) = tables.iter().map(rank).max() {
        let first = tables.iter().position(|t| rank(t) == most).unwrap_or(0);
        tables[..=first].rotate_right(1);
    }
    tables
}

/// The workload that leads the report: the one of which most rows were to be measured in full (cold start, memory and
/// throughput). A quick run does that for the workloads that it was asked for, else for the usual one, which also wins a tie.
fn headline(run: &RunFile) -> &str {
    let full = [Experiment::ColdStart, Experiment::Footprint, Experiment::Throughput];
    let mut rows: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for entry in run.cells.iter().filter(|entry| full.iter().all(|e| entry.experiments.contains(e))) {
        *rows.entry((&entry.cell.workload, &entry.cell.case)).or_default() += 1;
    }
    let most = rows.iter().max_by_key(|((workload, _), rows)| (**rows, *workload == USUAL));
    most.map_or(USUAL, |((workload, _), _)| workload)
}

fn row<'a>(run: &'a RunFile, cell: &'a CellSummary) -> Row<'a> {
    let variant = variant(run, cell);
    // A variant declares its degrees for the usual engines; another engine may compile inside the clock.
    let declared = variant.filter(|_| cell.cell.engine.is_none());
    Row {
        cell,
        prepared: variant.map_or("", |v| v.prepared.as_str()),
        preparation: declared.and_then(|v| v.preparation.get(&cell.cell.guest).copied()),
        representative: variant.map_or(0, |v| v.representative),
        usual: on_usual_engine(run, cell),
    }
}

fn variant<'a>(run: &'a RunFile, cell: &CellSummary) -> Option<&'a VariantInfo> {
    let entry = run.backends.iter().find(|b| b.description.backend == cell.cell.backend)?;
    entry.description.variants.iter().find(|v| v.name == cell.cell.variant)
}

/// Whether a cell's guest runs on the engine it usually has: not where the cell names another, nor bare on a backend that
/// brings engines of which none is the usual one of any guest (a small engine beside V8).
fn on_usual_engine(run: &RunFile, cell: &CellSummary) -> bool {
    let entry = run.backends.iter().find(|b| b.description.backend == cell.cell.backend);
    let brought = entry.map_or(&[][..], |b| &b.description.engines);
    let usual = |engine: &EngineInfo| engine.guests.iter().any(|g| g.usual_engine() == Some(engine.name.as_str()));
    cell.cell.engine.is_none() && (brought.is_empty() || brought.iter().any(usual))
}

/// A backend that could not run here.
#[derive(Debug, Clone, Copy)]
pub struct Missing<'a> {
    /// Its name.
    pub backend: &'a str,
    /// Its model.
    pub model: Model,
    /// Why it could not.
    pub reason: &'a str,
    /// What to do about it.
    pub remedy: &'a str,
}

/// The backends that could not run here; the scripted one of the tests is nobody's loss.
pub fn missing(run: &RunFile) -> Vec<Missing<'_>> {
    let missing = run.backends.iter().filter(|b| !b.description.hidden).filter_map(|b| match &b.availability {
        Availability::Available { .. } => None,
        Availability::Unavailable { reason, remedy } => {
            Some(Missing { backend: &b.description.backend, model: b.description.model, reason, remedy })
        }
    });
    missing.collect()
}

/// Pairs that cannot run here for another reason than their backend.
pub fn absent(run: &RunFile) -> Vec<&Absent> {
    let of_missing = |what: &str| missing(run).iter().any(|m| what.split('/').next() == Some(m.backend));
    run.absent.iter().filter(|absent| !of_missing(&absent.what)).collect()
}

/// A flag of a cell with the metrics that it speaks of.
pub struct Mark<'a> {
    /// The flag.
    pub flag: Flag,
    /// Its metrics; none where it speaks of all of the cell's numbers.
    pub metrics: Vec<Metric>,
    /// Its reasons, one a metric.
    pub why: Vec<&'a str>,
}

impl Mark<'_> {
    /// `noisy`, `few (memory, throughput)`.
    pub fn word(&self) -> String {
        let metrics: Vec<String> = self.metrics.iter().map(ToString::to_string).collect();
        if metrics.is_empty() { self.flag.to_string() } else { format!("{} ({})", self.flag, metrics.join(", ")) }
    }
}

/// The flags of a cell, each once.
pub fn marks(cell: &CellSummary) -> Vec<Mark<'_>> {
    let mut marks: Vec<Mark> = Vec::new();
    for flagged in cell.flags() {
        match marks.iter_mut().find(|mark| mark.flag == flagged.flag) {
            Some(mark) => {
                mark.metrics.extend(flagged.metric);
                mark.why.push(&flagged.why);
            }
            None => marks.push(Mark {
                flag: flagged.flag,
                metrics: flagged.metric.into_iter().collect(),
                why: vec![&flagged.why],
            }),
        }
    }
    let whole = |mark: &Mark| cell.headlines.iter().all(|headline| mark.metrics.contains(&headline.metric));
    marks.iter_mut().filter(|mark| whole(mark)).for_each(|mark| mark.metrics.clear());
    marks
}

/// A verdict in few columns: the flags without their metrics, which the numbers themselves are marked with.
pub fn brief_verdict(cell: &CellSummary) -> String {
    let flags = || marks(cell).iter().map(|mark| mark.flag.to_string()).collect::<Vec<_>>().join(" ");
    match &cell.verdict {
        Verdict::Flagged { .. } => flags(),
        _ => verdict_words(cell).join(" "),
    }
}

/// Returns the words for a verdict: `ok`, the flags with their metrics, or the name of the fault.
pub fn verdict_words(cell: &CellSummary) -> Vec<String> {
    match &cell.verdict {
        Verdict::Ok => vec!["ok".into()],
        Verdict::Flagged { .. } => marks(cell).iter().map(Mark::word).collect(),
        Verdict::Error { .. } => cell.fault().iter().map(ToString::to_string).collect(),
        Verdict::NotMeasured => vec!["not measured".into()],
    }
}

/// A cell's name, and which of several that measure the same it is.
pub fn named(cell: &CellSummary) -> String {
    let name = one_line(&cell.cell.to_string());
    match cell.side {
        None => name,
        Some(Side::Again) => format!("{name} (measured again)"),
        Some(side) => format!("{name} (side {})", side.to_string().to_uppercase()),
    }
}

/// The model as a person says it, with its article.
pub fn noun(model: Model) -> &'static str {
    match model {
        Model::Process => "a process",
        Model::Isolate => "a V8 isolate",
        Model::Wasm => "a Wasm instance",
        Model::Container => "a container",
        Model::Microvm => "a microVM",
        Model::Remote => "a remote platform",
        Model::Null => "no boundary",
    }
}
