//! `isobench runs`: the runs there are. Never measures.

use super::found;
use crate::output;
use anyhow::Result;
use isobench_core::RunFile;
use isobench_core::store::RunDir;
use isobench_core::text::one_line;
use isobench_report::units;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// List the runs, newest first: id, when, state, cells, machine, command
#[derive(clap::Args)]
pub struct Args {
    /// The folder that holds the runs, if not the checkout's results/
    folder: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let results = match &args.folder {
        Some(folder) => folder.clone(),
        None => found::results()?,
    };
    let runs = found::all(&results);
    if runs.is_empty() {
        output::note(format!("isobench: no run in {}: `isobench run --quick` makes one", results.display()));
    }
    let lines: String = runs.iter().map(|run| line(run) + "\n").collect();
    output::print(&lines);
    Ok(ExitCode::SUCCESS)
}

fn line(folder: &Path) -> String {
    let id = one_line(&found::name(folder));
    match RunDir::new(folder).read_run() {
        Ok(run) => {
            let command = one_line(&run.command.join(" "));
            let machine = one_line(&format!("{}, {} cores", run.machine.cpu, run.machine.cores));
            let (when, cells) = (units::date(run.started_unix_ms), run.cells.len());
            format!("{id:<20}  {when}  {:<13}  {cells:>4} cells  {machine}  {command}", state(&run))
        }
        Err(error) => format!("{id:<20}  unreadable: {}", one_line(&error.to_string())),
    }
}

fn state(run: &RunFile) -> &'static str {
    match (&run.stopped_early, run.ended_unix_ms) {
        (Some(_), _) => "stopped early",
        (None, Some(_)) => "complete",
        (None, None) => "unfinished",
    }
}
