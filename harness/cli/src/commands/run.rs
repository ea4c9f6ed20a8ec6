//! `isobench run`: measures, and ends with a table and the path of the report.

use crate::budget::{self, Budget};
use crate::left_out;
use crate::load::LoadArgs;
use crate::output;
use crate::progress::Progress;
use crate::schedule::{self, Planned, Schedule};
use crate::select::{self, SelectArgs};
use anyhow::{Context, Result, bail};
use isobench_core::run::{Order, Plan};
use isobench_core::store::RunDir;
use isobench_core::{Cell, CellEntry, CellId, Experiment, Flag, Record, RunFile, Side};
use isobench_report::terminal;
use isobench_runner::place::Places;
use isobench_runner::plan::page_cache_visit;
use isobench_runner::protocol::Visit;
use isobench_runner::session::{Options, Session, SessionError};
use isobench_runner::settings::Settings;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What tells the runner of the `http` backend of deployed functions.
const TARGETS: &str = "ISOBENCH_TARGETS";

/// How long a quick run may take unless its user says otherwise.
const QUICK_BUDGET: Duration = Duration::from_secs(240);
/// The same for a full run.
const FULL_BUDGET: Duration = Duration::from_secs(45 * 60);
/// Most blocks of a visit: an interval shrinks with their square root, so that what is still wide then stays wide.
const QUICK_BLOCKS: u32 = 40;
const FULL_BLOCKS: u32 = 100;

/// Measure, verify and plot: every cell once, then the cheap ones again until the budget is spent
///
/// Samples go to results/<run>/, the report to reports/<run>/index.html. A backend that cannot run here costs its row,
/// a cell that fails becomes an error row, and the run goes on. Ctrl-C keeps what was measured and writes the report.
#[derive(clap::Args)]
pub struct Args {
    /// Small cases only; footprint, throughput and emulated machines on `echo` only. What --only, --workload or --case
    /// names is measured in full
    #[arg(long)]
    quick: bool,
    /// Boundaries × engines: the same guests on every engine, bare and behind every boundary
    ///
    /// Adds the page matrix.html: what each boundary alone adds, and what each engine makes of it. `--workload echo` for a
    /// first look, `--only process/` for one boundary's row, `--only quickjs/ --only '*+quickjs'` for one engine's column.
    #[arg(long)]
    matrix: bool,
    #[command(flatten)]
    select: SelectArgs,
    /// Time to spend, preparations included, such as 90s or 10m [default: 4m quick, 45m full, from the first visit]
    ///
    /// A run whose first round would take over ten seconds longer does not start and says what to pass instead. If the
    /// first round takes longer than expected, the run ends without the rest, with exit code 3. The default cuts no first
    /// round short.
    #[arg(long, value_name = "TIME", value_parser = budget::parse)]
    budget: Option<Duration>,
    /// Most rounds: 1 for every cell once, however long that takes unless --budget is given too
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Seed of the shuffle; the same seed visits the same cells in the same order [default: from the clock]
    #[arg(long)]
    seed: Option<u64>,
    /// Go on with a cell until the interval of its median is this narrow, ± percent, or the time is spent
    #[arg(long, value_name = "PERCENT", default_value = "3", value_parser = percent)]
    precision: f64,
    /// Interleave two configurations in one run, block by block (ABBA), and compare them
    ///
    /// Each is a settings file: TOML with `name`, `programs` (a folder with another build's runners and agents) and a
    /// table `[env]` of variables for the runners, such as ISOBENCH_KERNEL.
    #[arg(long, num_args = 2, value_names = ["CONFIG_A", "CONFIG_B"])]
    ab: Vec<PathBuf>,
    /// Measure a deployed function too: its URL (it answers `echo` by POST), or a file with a table `[targets]`
    ///
    /// The same as the variable ISOBENCH_TARGETS; the rows are those of `--only http/`. A file names several functions,
    /// the workloads that they answer, their headers, and what makes them cold: harness/backends/http/README.md.
    #[arg(long, value_name = "URL|FILE")]
    target: Option<String>,
    /// Folder for results/ and reports/ [default: the checkout]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    load: LoadArgs,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let places = Places::find()?;
    super::clean::clean(&places).context("cleaning up after a killed run")?;
    let out = args.out.clone().unwrap_or_else(|| places.root.clone());
    let begun = Instant::now();
    let usual = if args.quick { QUICK_BUDGET } else { FULL_BUDGET };
    // A number of rounds sets no time.
    let limit = args.budget.or(args.rounds.is_none().then_some(usual));
    let seed = args.seed.unwrap_or_else(isobench_runner::place::unix_ms);
    let progress = Progress::new();
    let options = Options {
        command: super::command_line(),
        filter: args.select.filter(args.quick),
        plan: Plan {
            seed,
            order: Order::Shuffled,
            quick: args.quick,
            matrix: args.matrix,
            budget_ms: limit.map(|limit| limit.as_millis() as u64),
            only: args.select.only.iter().map(ToString::to_string).collect(),
            skip: args.select.skip.iter().map(ToString::to_string).collect(),
            precision_ppm: Some((args.precision * 1e4) as u64),
            load: args.load.plan(args.quick),
            ..Plan::default()
        },
        results: Some(out.join("results")),
        models: Vec::new(),
        configurations: args.ab.iter().map(|file| Settings::read(file)).collect::<Result<_, _>>()?,
        env: args.target.iter().map(|target| (TARGETS.to_string(), target.clone())).collect(),
    };
    select::check(&places, &options.filter, &options.plan, &options.env)?;
    let mut session = Session::begin(&places, options, &|step| progress.step(step))?;
    session.run.commit = Some(env!("ISOBENCH_COMMIT").into());
    if session.run.cells.is_empty() {
        progress.finish();
        bail!("{}", why_no_cells(&session));
    }
    left_out::lines(&session.run.backends, &session.run.absent)
        .iter()
        .for_each(|line| progress.line(&format!("left out: {line}")));
    let broken = !session.run.absent.is_empty();
    let budget = match args.budget {
        Some(limit) => Budget::asked(limit, begun),
        None => Budget::usual(limit),
    };
    let (run, dir) = measure(session, &budget, args.rounds, &progress)?;
    progress.finish();
    conclude(&run, &dir.context("a run with cells has a folder")?, &out.join("reports"), broken)
}

fn why_no_cells(session: &Session) -> String {
    let mut lines = vec![
        "no cell to measure: see `isobench list --cells` for names and `isobench doctor` for what is missing"
            .to_string(),
    ];
    lines.extend(left_out::lines(&session.run.backends, &session.run.absent));
    lines.join("\n  ")
}

/// Visits until the plan is done, the budget is spent, or someone stops it. What was measured is kept in every case.
fn measure(
    mut session: Session,
    budget: &Budget,
    rounds: Option<u32>,
    progress: &Progress,
) -> Result<(RunFile, Option<RunDir>)> {
    let mut planned = plan_visits(&session);
    match budget.announce(planned.len(), schedule::expected_left(&planned)) {
        Ok(line) => progress.line(&line),
        Err(too_short) => {
            progress.finish();
            session.discard()?;
            return Err(too_short.into());
        }
    }
    let stopped = self::rounds(&mut session, budget, rounds.unwrap_or(u32::MAX), &mut planned, progress);
    progress.step("taking everything down");
    let early = match &stopped {
        Ok(()) => cut_short(&planned),
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = early.as_ref().filter(|_| stopped.is_ok()) {
        progress.line(why);
    }
    match (session.finish(early), stopped) {
        // Interrupted: the report of what there is follows, and the exit code tells.
        (Ok(done), Ok(()) | Err(SessionError::Interrupted)) => Ok(done),
        (Ok((run, _)), Err(error)) => {
            Err(error).context(format!("run {} stopped; what was written before is kept", run.id))
        }
        (Err(error), Ok(())) => Err(error.into()),
        (Err(_), Err(error)) => Err(error.into()),
    }
}

/// What is missing if the budget ended before the first round.
fn cut_short(planned: &[Planned]) -> Option<String> {
    let missing = planned.iter().filter(|p| p.blocks == 0).count();
    (missing > 0).then(|| {
        format!("the budget ended before the first round: {missing} of {} visits were not made", planned.len())
    })
}

fn rounds(
    session: &mut Session,
    budget: &Budget,
    most_rounds: u32,
    planned: &mut [Planned],
    progress: &Progress,
) -> Result<(), SessionError> {
    let plan = &session.run.plan;
    let most_blocks = if plan.quick { QUICK_BLOCKS } else { FULL_BLOCKS };
    let mut schedule = Schedule::new(plan.seed, plan.precision_ppm.unwrap_or(0) as f64 / 1e6, most_blocks);
    let mut visited = BTreeSet::new();
    progress.measuring();
    for round in 0..most_rounds {
        let order = schedule.round(planned, round, budget.left());
        if order.is_empty() {
            return Ok(());
        }
        for index in order {
            let pace = schedule::pace(planned);
            if !budget.admits(planned[index].cost(pace), round == 0) {
                match round {
                    // A shorter visit may still fit, and every cell counts.
                    0 => continue,
                    _ => return Ok(()),
                }
            }
            let later =
                if most_rounds == 1 { Duration::ZERO } else { wanted(planned, most_blocks, pace).min(budget.left()) };
            let left = schedule::expected_left(planned).max(later);
            progress.at(&session.entry(planned[index].cell).cell.to_string(), left);
            if visited.insert(planned[index].cell) {
                session.unrecorded_visit(planned[index].cell)?;
            }
            one(session, &mut planned[index], round, progress)?;
        }
        session.checkpoint()?;
    }
    Ok(())
}

/// The visits of every cell. In an A/B run, those of one cell's sides are one unit: made right after each other.
fn plan_visits(session: &Session) -> Vec<Planned> {
    let together = !session.run.plan.configurations.is_empty();
    let quick = session.run.plan.quick && session.run.plan.load.is_none();
    let mut units: Vec<(&Cell, Visit)> = Vec::new();
    let mut planned = Vec::new();
    for entry in session.run.cells.iter().filter(|c| c.faults.is_empty()) {
        for visit in session.visits(entry.id) {
            let known = units.iter().position(|(cell, v)| together && **cell == entry.cell && *v == visit);
            let unit = known.unwrap_or_else(|| {
                units.push((&entry.cell, visit.clone()));
                units.len() - 1
            });
            let usual = session.usual(entry.id, &visit) + unrecorded(session, entry.id, &visit);
            let mut visit = Planned::new(entry.id, visit, unit, usual);
            visit.first_table = quick && of_first_table(entry);
            planned.push(visit);
        }
    }
    planned
}

/// The first table has the cells of which a quick run measures everything. Emulated rows, and the repeats of a cell, are
/// not what a reader compares.
fn of_first_table(entry: &CellEntry) -> bool {
    entry.experiments.contains(&Experiment::Throughput)
        && !entry.flags.contains(&Flag::Emulated)
        && entry.side != Some(Side::Again)
}

/// The unrecorded visit of a cell is made with its first visit, that of cold starts.
fn unrecorded(session: &Session, id: CellId, visit: &Visit) -> Duration {
    let first = matches!(visit, Visit::ColdStart { .. });
    if first { session.usual(id, &page_cache_visit()) } else { Duration::ZERO }
}

/// What it takes to bring every visit to its blocks.
fn wanted(planned: &[Planned], most_blocks: u32, pace: f64) -> Duration {
    let open = planned.iter().filter(|p| !p.failed);
    open.map(|p| p.cost(pace) * most_blocks.saturating_sub(p.blocks)).sum()
}

fn one(session: &mut Session, planned: &mut Planned, round: u32, progress: &Progress) -> Result<(), SessionError> {
    let before = Instant::now();
    let records = session.visit(planned.cell, &planned.visit, None)?;
    let took = before.elapsed();
    match (records.iter().find_map(Record::fault), &planned.visit) {
        (Some(fault), _) => progress.line(&line(session, planned.cell, &records, &format!("ERROR {fault}"))),
        (None, Visit::ColdStart { .. }) if round == 0 => {
            let entry = session.entry(planned.cell);
            let emulated = if entry.flags.contains(&Flag::Emulated) { "emulated " } else { "" };
            let side = match entry.side {
                Some(Side::A) => "A",
                Some(Side::B) => "B",
                Some(Side::Again) => "again (A/A)",
                None => "",
            };
            progress.line(&line(session, planned.cell, &records, &format!("{emulated}{side}")));
        }
        (None, Visit::OpenLoop(_) | Visit::Burst { .. } | Visit::Density(_) | Visit::Starts { .. }) if round == 0 => {
            progress.line(&terminal::load_line(&session.entry(planned.cell).cell, &records));
        }
        _ => {}
    }
    planned.add(records, took, session.run.machine.processors());
    Ok(())
}

fn percent(text: &str) -> Result<f64, String> {
    let within = |percent: &f64| *percent > 0.0 && *percent <= 100.0;
    super::percent(text).filter(within).ok_or_else(|| "a number over 0 and up to 100, such as 3".into())
}

/// A first row: the median of this block's cold starts and warm calls.
fn line(session: &Session, cell: CellId, records: &[Record], note: &str) -> String {
    let median = |metric: &str| {
        let mut values: Vec<u64> = records
            .iter()
            .filter_map(|r| match r {
                Record::Samples(s) if s.metric == metric && s.flags.is_empty() => Some(&s.values),
                _ => None,
            })
            .flatten()
            .copied()
            .collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied()
    };
    terminal::progress_line(&session.entry(cell).cell, median("total"), median("call"), note)
}

fn conclude(run: &RunFile, dir: &RunDir, reports: &std::path::Path, broken: bool) -> Result<ExitCode> {
    // What an interrupted run has, were it nothing.
    let report = isobench_report::read_partial(dir).context("reading the samples for the report")?;
    let page = isobench_report::write(&report, dir, reports).context("writing the report")?;
    let width = super::terminal_width();
    output::line(format!("\n{}", terminal::table(run, &report.summary, crate::colour(), width)));
    output::line(format!("samples  {}", dir.samples().display()));
    output::line(format!("report   {}", page.display()));
    if run.stopped_early.is_some() && isobench_runner::client::INTERRUPTED.load(std::sync::atomic::Ordering::Relaxed) {
        return Ok(ExitCode::from(130));
    }
    let incomplete = broken || run.stopped_early.is_some();
    Ok(super::finished(incomplete || run.cells.iter().any(|c| !c.faults.is_empty())))
}
