//! Which run is meant.

use anyhow::{Result, bail};
use isobench_runner::place::Places;
use std::path::{Path, PathBuf};

/// The folder of the run with that id or in that folder; of the newest where none is named.
pub fn run(places: &Places, named: Option<&str>) -> Result<PathBuf> {
    match named {
        Some(run) if Path::new(run).join("run.json").is_file() => Ok(PathBuf::from(run)),
        Some(run) => Ok(places.results().join(run)),
        None => newest(&places.results()),
    }
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
