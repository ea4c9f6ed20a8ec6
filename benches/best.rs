//! `cargo bench --bench best`: how far each technology as it is measured here stands from the best that its own experts
//! get, and what each rung of its ladder saves. Every line is a ratio with both sides in the same run, in turn block by
//! block; `docs/BEST.md` says what is compared.
//!
//! Prints ratios with the limits that are promised; asserts nothing, because a bench is not a test.

#[path = "best/lines.rs"]
mod lines;
#[path = "best/node.rs"]
mod node;

use anyhow::{Context, Result, bail};
use isobench_core::{CellId, Flag, Record};
use isobench_report::units;
use isobench_runner::client::INTERRUPTED;
use isobench_runner::overhead::{self, OverheadAnswer, OverheadRequest, Task};
use isobench_runner::place::{self, Places};
use isobench_runner::plan::Filter;
use isobench_runner::processors::OURS;
use isobench_runner::protocol::{Series, Visit};
use isobench_runner::session::Session;
use isobench_stats::compare::Ratio;
use isobench_stats::{Metric, block_values, quantile, ratio};
use lines::{Limit, Line, Theirs};
use node::Node;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

/// Blocks of each side: enough for an interval that is near its nominal 95 %.
const BLOCKS: u32 = 12;
/// Cold starts in a block of an in-process model, and of any other.
const STARTS: (u32, u32) = (31, 10);
/// Pairs in a process that has both sides, of models whose start takes microseconds, and of any other.
const PAIRS: (u32, u32) = (301, 11);
/// Either where the processor is emulated: a boot takes seconds.
const EMULATED: u32 = 3;
/// A warm series: until a compiler that runs beside it should be done.
const SERIES: Series = Series { min_calls: 100, min_ms: 300, max_calls: 50_000, max_ms: 1_000 };

fn main() -> ExitCode {
    isobench_benches::measure("best", run)
}

fn run(wanted: &[&str]) -> Result<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))?;
    place::build_programs()?;
    let places = Places::find()?;
    let mut lines = lines::all(&places)?;
    lines.retain(|line| wanted.is_empty() || wanted.iter().any(|part| line.ours.contains(part)));
    let node = Node::find(&places);
    let only = lines.iter().flat_map(Line::cells).map(str::parse).collect::<Result<_, _>>()?;
    let session = isobench_benches::by_hand("best", &places, Filter { only, ..Filter::default() })?;
    let mut bench = Bench { session, places, node };
    match &bench.node {
        Ok(node) => println!("Node: {}", node.name),
        Err(error) => println!("Node: {error:#}"),
    }
    println!("ratios with their 95 % interval, of {BLOCKS} blocks a side; then the medians of blocks");
    for line in &lines {
        let (what, of) = line.what();
        let row = match bench.measure(line) {
            Ok(measured) => measured.row(&line.limit),
            Err(_) if INTERRUPTED.load(Ordering::Relaxed) => bail!("interrupted"),
            Err(error) => format!("SKIPPED: {error:#}"),
        };
        println!("  {what:<46} {of:<32} {row}");
    }
    bench.session.finish(None)?;
    Ok(())
}

struct Bench {
    session: Session,
    places: Places,
    node: Result<Node>,
}

/// The values of blocks, in nanoseconds.
#[derive(Default)]
struct Measured {
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

impl Bench {
    fn measure(&mut self, line: &Line) -> Result<Measured> {
        let ours = self.cell(&line.ours)?;
        let mut measured = Measured::default();
        for round in 0..BLOCKS {
            if let Theirs::Beside(hand) = line.theirs {
                let answer = self.ask(ours, hand, round, Task::Pairs(self.many(ours, PAIRS)))?;
                measured.ours.push(median(&answer.harness_ns)?);
                measured.theirs.push(median(&answer.by_hand_ns)?);
                continue;
            }
            // Who goes first alternates.
            if round % 2 == 0 {
                measured.ours.push(self.visit(ours, line.metric)?);
                measured.theirs.push(self.theirs(line, ours, round)?);
            } else {
                measured.theirs.push(self.theirs(line, ours, round)?);
                measured.ours.push(self.visit(ours, line.metric)?);
            }
        }
        Ok(measured)
    }

    fn theirs(&mut self, line: &Line, ours: CellId, round: u32) -> Result<f64> {
        match &line.theirs {
            Theirs::Cell(name) => {
                let id = self.cell(name)?;
                self.visit(id, line.metric)
            }
            Theirs::Beside(hand) | Theirs::Alone(hand) => {
                let answer = self.ask(ours, hand, round, Task::Alone(self.many(ours, STARTS)))?;
                median(&answer.by_hand_ns)
            }
            Theirs::Node(heap) => {
                let node = self.node.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
                let request = self.session.request(ours, round, &visit_of(line.metric, 1));
                value(node.block(&request, *heap, SERIES)?, line.metric)
            }
        }
    }

    /// A block of a cell, in a runner of its own.
    fn visit(&mut self, id: CellId, metric: Metric) -> Result<f64> {
        let visit = visit_of(metric, self.many(id, STARTS));
        value(self.session.visit(id, &visit, None)?, metric)
    }

    fn ask(&self, id: CellId, hand: &str, round: u32, task: Task) -> Result<OverheadAnswer> {
        let program = format!("isobench-by-hand-{}", self.session.entry(id).cell.backend);
        // Beside the blocks of cells, whose numbers begin at 0.
        let block = self.session.request(id, 1_000_000 + round, &visit_of(Metric::ColdStart, 1));
        overhead::ask(&self.places.programs.join(program), &OverheadRequest { block, hand: hand.into(), task })
    }

    fn many(&self, id: CellId, (in_process, other): (u32, u32)) -> u32 {
        match self.session.in_process(id) {
            true => in_process,
            false if self.session.entry(id).flags.contains(&Flag::Emulated) => EMULATED,
            false => other,
        }
    }

    fn cell(&self, name: &str) -> Result<CellId> {
        let found = self.session.run.cells.iter().find(|entry| entry.cell.to_string() == name);
        let found = found.with_context(|| {
            let backend = name.split('/').next().unwrap_or_default();
            let entry = self.session.run.backends.iter().find(|entry| entry.description.backend == backend);
            match entry {
                Some(entry) if !entry.availability.is_available() => format!("{backend}: {:?}", entry.availability),
                Some(_) => format!("{name}: no such cell"),
                None => format!("{backend}: its runner is not built"),
            }
        })?;
        Ok(found.id)
    }
}

fn visit_of(metric: Metric, starts: u32) -> Visit {
    match metric {
        Metric::WarmCall => Visit::ColdStart { starts: 1.into(), warm: Some(SERIES) },
        _ => Visit::ColdStart { starts: starts.into(), warm: None },
    }
}

/// What a block says of the metric, by the rules of every summary.
fn value(records: Vec<Record>, metric: Metric) -> Result<f64> {
    if let Some(Record::Fault(fault)) = records.iter().find(|record| matches!(record, Record::Fault(_))) {
        bail!("{}", fault.fault);
    }
    let found = block_values(records, OURS.count() as u32).into_iter().find(|(known, _)| *known == metric);
    Ok(found.with_context(|| format!("no {metric} was measured"))?.1)
}

fn median(ns: &[u64]) -> Result<f64> {
    quantile::median(&ns.iter().map(|&ns| ns as f64).collect::<Vec<_>>()).context("nothing was measured")
}

impl Measured {
    fn row(&self, limit: &Limit) -> String {
        let Some(Ratio { value, interval }) = ratio::ratio(&self.theirs, &self.ours) else {
            return "SKIPPED: a block took no time".into();
        };
        let middle = |values: &[f64]| quantile::median(values).unwrap_or(0.0);
        let (ours, theirs) = (middle(&self.ours), middle(&self.theirs));
        let interval = interval.map(units::ratio_interval).unwrap_or_default();
        let said = match *limit {
            Limit::AtMost(most) => format!("limit {most:.2}{}", verdict(value <= most)),
            Limit::AtMostUnder(most, under) => {
                format!("limit {most:.2} and {}{}", units::time(under), verdict(value <= most && ours < under))
            }
            Limit::Explained(over) if value > over => format!("SLOWER than {over:.2}: see docs/BEST.md"),
            Limit::Explained(over) => format!("within {over:.2}"),
            Limit::Reported => "reported".into(),
        };
        format!("{value:.3} {interval:<16} {said}  ({} over {})", units::time(ours), units::time(theirs))
    }
}

fn verdict(within: bool) -> &'static str {
    if within { ": ok" } else { ": OVER THE LIMIT" }
}
