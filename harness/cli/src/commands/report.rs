//! `isobench report`: writes a run's report again. Never measures.

use anyhow::{Context, Result, bail};
use isobench_core::store::RunDir;
use isobench_runner::place::Places;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write a run's HTML report again, from its samples; the newest run where none is named
#[derive(clap::Args)]
pub struct Args {
    /// A run's id, or the path of its folder
    run: Option<String>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let places = Places::find()?;
    let dir = match &args.run {
        Some(run) if Path::new(run).join("run.json").is_file() => PathBuf::from(run),
        Some(run) => places.results().join(run),
        None => newest(&places.results())?,
    };
    let page = isobench_report::write(&RunDir::new(&dir), &places.reports())
        .with_context(|| format!("the report of {}", dir.display()))?;
    println!("{}", page.display());
    Ok(ExitCode::SUCCESS)
}

/// Ids begin with the date, so the greatest is the newest; `reference` and other names come before any.
fn newest(results: &Path) -> Result<PathBuf> {
    let dirs = std::fs::read_dir(results).into_iter().flatten().flatten().map(|e| e.path());
    let newest = dirs
        .filter(|d| d.join("run.json").is_file())
        .max_by_key(|d| (d.file_name().is_some_and(|n| n.as_encoded_bytes()[0].is_ascii_digit()), d.clone()));
    match newest {
        Some(dir) => Ok(dir),
        None => bail!("no run in {}: `isobench run --quick` makes one", results.display()),
    }
}
