//! `isobench`: one workload behind every boundary, measured, verified and plotted.

#![deny(clippy::print_stdout, clippy::print_stderr, reason = "`print` panics where the output is closed: use `output`")]

mod budget;
mod commands;
mod left_out;
mod load;
mod output;
mod progress;
mod schedule;
mod select;

use clap::{Parser, Subcommand};
use isobench_runner::client::INTERRUPTED;
use isobench_runner::place::Places;
use isobench_runner::select::NoMatch;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

const EXAMPLES: &str = "\
Examples:
  isobench doctor                       what can run here, and how to get what cannot
  isobench run --quick                  the quick comparison: all models, small cases, a few minutes
  isobench run --only v8/ --only docker/        two backends, every case
  isobench run --guest wasm --skip qemu/ --budget 10m
  isobench run --rate sweep --burst     echo under load: latency against rate, and many requests at once
  isobench check my-workload            every case of one workload once on every guest, verified
  isobench report                       write the newest run's report again
  isobench runs                         the runs there are, newest first
  isobench report latest~1 --format csv a run's numbers; or md, json, github, bencher, hdr
  isobench compare BASE NEW --fail-on 5 two runs; fail if anything is over 5 % worse than its noise allows
  isobench export cloud-run echo        a unit to deploy on a function platform, for `run --target`
  isobench clean                        reap whatever a killed run left

PATTERN matches whole parts of a cell's name, backend/variant/guest/workload/case, and may have wildcards: `v8/*/js`;
`isobench run --help` says how, `isobench list --cells` prints the names.

Exit codes: 0 everything planned was measured; 1 failed, and the message says why; 2 wrong usage;
3 finished, but some cells are error rows, the budget ended before them, or some fixture is broken;
4 the gate of `compare --fail-on` failed; 5 `compare` found no comparable row; 6 that gate could judge no row;
7 it could judge fewer rows than --fail-on-unknown or --min-judged ask for; 130 interrupted.";

/// Measures what isolation costs: the same workload on a plain process, V8 isolates, Wasm instances, containers and
/// microVMs; cold start, memory and throughput; every answer verified.
#[derive(Parser)]
#[command(name = "isobench", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Doctor(commands::doctor::Args),
    List(commands::list::Args),
    Check(commands::check::Args),
    Run(Box<commands::run::Args>),
    Runs(commands::runs::Args),
    Report(commands::report::Args),
    Compare(commands::compare::Args),
    Export(commands::export::Args),
    Schema(commands::schema::Args),
    Clean(commands::clean::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Runners are in groups of their own, so Ctrl-C reaches this program alone, which ends them in order.
    let handler = ctrlc::set_handler(|| {
        if !INTERRUPTED.swap(true, Ordering::Relaxed) {
            output::note("\ninterrupted: taking everything down, what was measured is kept");
        }
    });
    let done = handler.map_err(anyhow::Error::from).and_then(|()| match cli.command {
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::List(args) => commands::list::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Run(args) => commands::run::run(&args),
        Command::Runs(args) => commands::runs::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Compare(args) => commands::compare::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Schema(args) => commands::schema::run(&args),
        Command::Clean(args) => commands::clean::run(&args),
    });
    // Whoever was asked or prepared when Ctrl-C came was killed, and what it had outside its own processes is debris.
    let interrupted = INTERRUPTED.swap(false, Ordering::Relaxed);
    if interrupted && let Err(error) = Places::find().and_then(|places| commands::clean::clean(&places)) {
        output::note(format!("isobench: {error:#}; `isobench clean` tries again"));
    }
    match done {
        Ok(code) => match output::error() {
            None => code,
            Some(error) => {
                output::note(format!("isobench: standard output: {error}; send it elsewhere, or make room"));
                ExitCode::FAILURE
            }
        },
        Err(_) if interrupted => ExitCode::from(130),
        Err(error) => {
            output::note(format!("isobench: {error:#}"));
            // Wrong usage, though clap cannot know it.
            let usage = error.is::<NoMatch>() || error.is::<budget::TooShort>();
            if usage { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Colour only on a terminal, and never where `NO_COLOR` is set (no-color.org).
fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
