//! Boundaries × engines: the same guests on every engine, bare and behind every boundary; what each boundary alone
//! adds, and what each engine makes of it.

use crate::answer::list;
use crate::rows;
use crate::units::Quantity;
use isobench_core::availability::VariantInfo;
use isobench_core::run::{BackendEntry, RunFile};
use isobench_core::words::{Flag, Guest, Model, Preparation, Side};
use isobench_stats::compare::{IMPORTANT, Ratio};
use isobench_stats::summary::Flagged;
use isobench_stats::{CellSummary, Estimate, Metric, Spread, Summary, Verdict, ratio};

/// The metrics of a place, in the order of tables.
pub const METRICS: [Metric; 3] = [Metric::ColdStart, Metric::WarmCall, Metric::Memory];

/// One workload and case.
#[derive(Debug, Clone)]
pub struct Matrix<'a> {
    /// The workload.
    pub workload: &'a str,
    /// The case.
    pub case: &'a str,
    /// The engines, by guest: machine code first, then each guest's usual engine before its others.
    pub columns: Vec<Column>,
    /// No boundary first, then every boundary by model; emulated ones last.
    pub rows: Vec<Boundary<'a>>,
}

/// A guest on an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The guest.
    pub guest: Guest,
    /// The engine; none for machine code.
    pub engine: Option<String>,
    /// The row that is this engine without a boundary, `wasmtime/pooling`; none for machine code, which has none.
    pub bare: Option<String>,
}

/// A boundary, with a place for every column.
#[derive(Debug, Clone)]
pub struct Boundary<'a> {
    /// `bare`, or backend and variant.
    pub name: String,
    /// Its model; none where nothing is a boundary.
    pub model: Option<Model>,
    /// Whether its guests run on an emulated processor: on no line with a real one.
    pub emulated: bool,
    /// Whether a guest is loaded in it before the clock: restored or resumed machines. The bare engines load theirs inside
    /// the clock, so the difference of the cold starts is no price of the boundary and is not shown.
    pub loaded_ahead: bool,
    /// For every column the cell, if it has numbers, or why there are none.
    pub places: Vec<Result<&'a CellSummary, String>>,
}

/// What a boundary adds, over the engines.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Added {
    /// The column where it adds least, and how much.
    pub least: (usize, Estimate),
    /// The column where it adds most, and how much.
    pub most: (usize, Estimate),
    /// Whether the engine changes it: not where the two differ by no more than [`IMPORTANT`], nor where all intervals
    /// have a point in common.
    pub changes: bool,
}

impl Column {
    /// `native`, `js on v8`.
    pub fn title(&self) -> String {
        match &self.engine {
            Some(engine) => format!("{} on {engine}", self.guest),
            None => self.guest.to_string(),
        }
    }

    /// Whether it is the engine that its guest usually runs on.
    pub fn usual(&self) -> bool {
        self.engine.as_deref() == self.guest.usual_engine()
    }
}

impl Boundary<'_> {
    /// Why the boundary has no number at all, where one reason is that of every place.
    pub fn whole_row_missing(&self) -> Option<&str> {
        let first = self.places.first()?.as_ref().err()?;
        self.places.iter().all(|place| place.as_ref().err() == Some(first)).then_some(first.as_str())
    }
}

/// One matrix for every workload and case, the one of the first screen first; none for a run that is no matrix.
pub fn matrices<'a>(run: &'a RunFile, summary: &'a Summary) -> Vec<Matrix<'a>> {
    if !run.plan.matrix {
        return Vec::new();
    }
    let boundaries = boundaries(run);
    let columns = columns(run, summary, &boundaries);
    rows::tables(run, summary).iter().map(|table| matrix(run, table, &columns, &boundaries)).collect()
}

/// Every boundary of a matrix with its name: by model, emulated ones last.
fn boundaries(run: &RunFile) -> Vec<(String, &BackendEntry)> {
    let mut entries: Vec<&BackendEntry> = entries(run).collect();
    entries.sort_by_key(|entry| (entry.availability.is_emulated(), entry.description.model));
    let of = |entry: &'_ &BackendEntry| {
        let description = &entry.description;
        let rows = description.variants.iter().filter(|variant| variant.matrix);
        rows.map(|variant| format!("{}/{}", description.backend, variant.name)).collect::<Vec<_>>()
    };
    entries.into_iter().flat_map(|entry| of(&entry).into_iter().map(move |name| (name, entry))).collect()
}

/// Every backend once, the scripted one of the tests apart.
fn entries(run: &RunFile) -> impl Iterator<Item = &BackendEntry> {
    run.backends.iter().filter(|entry| entry.side != Some(Side::B) && !entry.description.hidden)
}

/// Machine code and every engine that a backend brings, as far as the run has a cell for them.
fn columns(run: &RunFile, summary: &Summary, boundaries: &[(String, &BackendEntry)]) -> Vec<Column> {
    let mut columns = vec![Column { guest: Guest::Native, engine: None, bare: None }];
    for guest in [Guest::Js, Guest::Wasm] {
        let before = columns.len();
        for description in entries(run).map(|entry| &entry.description) {
            let brought = description.engines.iter().filter(|engine| engine.guests.contains(&guest));
            columns.extend(brought.map(|engine| Column {
                guest,
                engine: Some(engine.name.clone()),
                bare: Some(format!("{}/{}", description.backend, engine.variant)),
            }));
        }
        // Stable: the others stay in the order of backends.
        columns[before..].sort_by_key(|column| !column.usual());
    }
    columns.retain(|column| {
        let rows = || std::iter::once(BARE).chain(boundaries.iter().map(|(name, _)| name.as_str()));
        summary.cells.iter().any(|cell| rows().any(|row| stands(cell, column, row)))
    });
    columns
}

/// Whether a cell stands in a row and a column.
fn stands(cell: &CellSummary, column: &Column, row: &str) -> bool {
    let (name, cell) = (cell.cell.row(), &cell.cell);
    let at = match row {
        BARE => column.bare.as_ref() == Some(&name),
        _ => name == row && cell.engine.as_deref().or(cell.guest.usual_engine()) == column.engine.as_deref(),
    };
    at && cell.guest == column.guest
}

fn matrix<'a>(
    run: &RunFile,
    table: &rows::Table<'a>,
    columns: &[Column],
    boundaries: &[(String, &BackendEntry)],
) -> Matrix<'a> {
    let row = |name: &str, model: Option<Model>, emulated: bool, loaded_ahead: bool| {
        let place = |column: &Column| match table.rows.iter().find(|row| stands(row.cell, column, name)) {
            Some(row) => numbers(run, row.cell),
            None => Err(why_absent(run, name, column, table.workload)),
        };
        Boundary { name: name.into(), model, emulated, loaded_ahead, places: columns.iter().map(place).collect() }
    };
    let mut rows = vec![row(BARE, None, false, false)];
    for (name, entry) in boundaries {
        let absent = !entry.availability.is_available() || run.absent.iter().any(|absent| absent.what == *name);
        // What was left out on purpose (`--only`) is not missing.
        if absent || table.rows.iter().any(|row| row.name() == *name) {
            let loaded = loaded_ahead(entry, name);
            rows.push(row(name, Some(entry.description.model), entry.availability.is_emulated(), loaded));
        }
    }
    Matrix { workload: table.workload, case: table.case, columns: columns.to_vec(), rows }
}

/// Whether a boundary has its guest loaded before the clock: even a script, which agents evaluate inside it.
fn loaded_ahead(entry: &BackendEntry, name: &str) -> bool {
    let named = |v: &&VariantInfo| name == format!("{}/{}", entry.description.backend, v.name);
    let variant = entry.description.variants.iter().find(named);
    variant.and_then(|v| v.preparation.get(&Guest::Js)).is_some_and(|degree| *degree > Preparation::Nothing)
}

/// The row of no boundary.
const BARE: &str = "bare";

/// The cell, if it has numbers.
fn numbers<'a>(run: &RunFile, cell: &'a CellSummary) -> Result<&'a CellSummary, String> {
    match &cell.verdict {
        Verdict::Ok | Verdict::Flagged { .. } => Ok(cell),
        Verdict::Error { faults } => {
            Err(faults.first().map_or_else(String::new, |f| format!("{}: {}", f.fault.kind, f.fault.message)))
        }
        Verdict::NotMeasured => Err(match &run.stopped_early {
            Some(why) => format!("not measured: {why}"),
            None => "not measured: the run ended before its turn".into(),
        }),
    }
}

/// Why there is no cell, from what the run says of absent pairs and of backends.
fn why_absent(run: &RunFile, boundary: &str, column: &Column, workload: &str) -> String {
    let row = match (boundary, &column.bare) {
        (BARE, None) => return "runs in a process at least: what its boundaries add is held against that".into(),
        (BARE, Some(bare)) => bare.as_str(),
        _ => boundary,
    };
    let backend = row.split('/').next().unwrap_or_default();
    let engine = column.engine.as_deref().unwrap_or_default();
    let names = [format!("{row}/{}/{workload}", column.guest), format!("{row}/{}+{engine}/{workload}", column.guest)];
    let covers = |what: &str| names.iter().any(|name| name == what || name.starts_with(&format!("{what}/")));
    let absent = run.absent.iter().find(|absent| covers(&absent.what)).map(|absent| absent.reason.clone());
    let missing = || rows::missing(run).into_iter().find(|m| m.backend == backend).map(|m| m.reason.to_string());
    absent.or_else(missing).unwrap_or_else(|| "not part of this run".into())
}

impl<'a> Matrix<'a> {
    /// A number of a place.
    pub fn value(&self, row: usize, column: usize, metric: Metric) -> Option<Estimate> {
        Some(self.rows[row].places[column].as_ref().ok()?.headline(metric)?.estimate)
    }

    /// The row that a column's boundaries are held against: the engine bare; for machine code, which something must
    /// run, the first process.
    fn base(&self, column: usize) -> Option<usize> {
        if self.columns[column].engine.is_some() {
            return Some(0);
        }
        self.rows.iter().position(|row| row.model == Some(Model::Process) && !row.emulated)
    }

    /// What the boundary alone adds: the same guest on the same engine behind it, less that without it.
    pub fn added(&self, row: usize, column: usize, metric: Metric) -> Option<Estimate> {
        if metric == Metric::ColdStart && self.rows[row].loaded_ahead {
            return None;
        }
        let base = self.base(column).filter(|base| *base != row && row > 0)?;
        Some(self.value(row, column, metric)?.minus(self.value(base, column, metric)?))
    }

    /// How many times as much a place takes as the same guest on its usual engine behind the same boundary.
    pub fn of_usual(&self, row: usize, column: usize, metric: Metric) -> Option<Ratio> {
        let own = &self.columns[column];
        let usual =
            self.columns.iter().position(|c| c.guest == own.guest && c.usual()).filter(|usual| *usual != column)?;
        let blocks = |column: usize| Some(&self.rows[row].places[column].as_ref().ok()?.headline(metric)?.by_block);
        ratio::ratio(blocks(usual)?, blocks(column)?)
    }

    /// What a boundary adds over the engines; machine code, held against a process, is not one of them.
    pub fn over_engines(&self, row: usize, metric: Metric) -> Option<Added> {
        let engines = (0..self.columns.len()).filter(|c| self.columns[*c].engine.is_some());
        let mut all: Vec<(usize, Estimate)> = engines.filter_map(|c| Some((c, self.added(row, c, metric)?))).collect();
        all.sort_by(|a, b| a.1.value.total_cmp(&b.1.value));
        let (least, most) = (*all.first()?, *all.last()?);
        let intervals: Vec<(f64, f64)> = all
            .iter()
            .filter_map(|(_, e)| e.spread.filter(|s| matches!(s, Spread::Interval { .. })).map(Spread::ends))
            .collect();
        let low = intervals.iter().map(|i| i.0).fold(f64::NEG_INFINITY, f64::max);
        let high = intervals.iter().map(|i| i.1).fold(f64::INFINITY, f64::min);
        let common = intervals.len() == all.len() && low <= high;
        let near = most.1.value - least.1.value <= IMPORTANT * least.1.value.abs().max(most.1.value.abs());
        Some(Added { least, most, changes: !common && !near })
    }

    /// The boundaries that are on a real processor, or those that are not.
    pub fn boundaries(&self, emulated: bool) -> impl Iterator<Item = usize> {
        (1..self.rows.len()).filter(move |row| self.rows[*row].emulated == emulated)
    }
}

/// What a boundary adds, as a range over the engines: `310 to 340 ms`.
pub fn range(metric: Metric, added: &Added) -> String {
    Quantity::of(metric).between(added.least.1.value, added.most.1.value)
}

/// The answer: what each boundary adds to a cold start, which engine changes it; the same of emulated ones, apart.
/// Names in backticks are code.
pub fn sentences(matrix: &Matrix) -> Vec<String> {
    let metric = Metric::ColdStart;
    let added = |emulated: bool| -> Vec<(usize, Added)> {
        matrix.boundaries(emulated).filter_map(|row| Some((row, matrix.over_engines(row, metric)?))).collect()
    };
    let said = |(row, added): &(usize, Added)| format!("`{}` {}", matrix.rows[*row].name, range(metric, added));
    let listed = |all: &[(usize, Added)]| list(&all.iter().map(said).collect::<Vec<_>>());
    let (real, emulated) = (added(false), added(true));
    let mut sentences = Vec::new();
    if !real.is_empty() {
        sentences.push(format!(
            "To a cold start of `{}`, with the same guest on the same engine, a boundary alone adds: {}.",
            matrix.workload,
            listed(&real)
        ));
        if matrix.columns.iter().filter(|column| column.engine.is_some()).count() > 1 {
            sentences.push(which_engine(matrix, &real));
        }
    }
    if !emulated.is_empty() {
        sentences.push(format!("Emulated, and so comparable with none of these: {}.", listed(&emulated)));
    }
    sentences
}

/// Behind which boundary the engine changes most what the boundary adds.
fn which_engine(matrix: &Matrix, real: &[(usize, Added)]) -> String {
    let times = |added: &Added| added.most.1.value / added.least.1.value.max(1.0);
    let most = real.iter().filter(|(_, added)| added.changes).max_by(|a, b| times(&a.1).total_cmp(&times(&b.1)));
    let Some((row, added)) = most else {
        return "No engine changes that.".into();
    };
    let at = |(column, estimate): (usize, Estimate)| {
        format!("{} with {}", Quantity::Time.estimate(estimate), matrix.columns[column].title())
    };
    let name = &matrix.rows[*row].name;
    let unchanged: Vec<String> =
        real.iter().filter(|(_, a)| !a.changes).map(|(row, _)| format!("`{}`", matrix.rows[*row].name)).collect();
    let others = if unchanged.is_empty() {
        String::new()
    } else {
        format!("; what {} adds is the same whatever the engine", list(&unchanged))
    };
    format!("The engine changes that most behind `{name}`: {}, {}{others}.", at(added.least), at(added.most))
}

/// Whether a number of a place may be read as it is: its flags but for the emulation, which the row says.
pub fn flags(cell: &CellSummary, metric: Metric) -> impl Iterator<Item = &Flagged> {
    cell.flags_of(metric).filter(|flagged| flagged.flag != Flag::Emulated)
}
