//! Which run is meant. Reads nothing but folders of runs: no checkout, cache or state is needed for a run that is named by
//! its path.

use anyhow::{Context, Result, bail};
use isobench_core::text::one_line;
use std::env;
use std::path::{Path, PathBuf};

/// Runs that are listed where a name fits none, or several.
const LISTED: usize = 5;

/// The folder of the run in that folder, with that id, with that prefix of an id, or `latest`, `latest~1`, …; the newest
/// run where none is named.
pub fn run(named: Option<&str>) -> Result<PathBuf> {
    match named {
        Some(run) if Path::new(run).join("run.json").is_file() => Ok(PathBuf::from(run)),
        Some(run) if run.contains('/') => bail!("no run.json in {}: name the folder of a run", one_line(run)),
        named => among(&results()?, named.unwrap_or("latest")),
    }
}

/// The checkout's folder of reports.
pub fn reports() -> Result<PathBuf> {
    Ok(root()?.join("reports"))
}

/// The checkout's folder of runs.
pub fn results() -> Result<PathBuf> {
    Ok(root().context("outside a checkout, name a run by the path of its folder")?.join("results"))
}

/// The checkout: `ISOBENCH_ROOT`, or the first folder upwards with `workloads/`.
fn root() -> Result<PathBuf> {
    if let Some(root) = env::var_os("ISOBENCH_ROOT").filter(|root| !root.is_empty()) {
        return Ok(PathBuf::from(root));
    }
    let here = env::current_dir().context("current folder")?;
    match here.ancestors().find(|folder| folder.join("workloads").is_dir()) {
        Some(root) => Ok(root.into()),
        None => {
            bail!("no checkout at {} or above: run isobench inside its checkout, or set ISOBENCH_ROOT", here.display())
        }
    }
}

/// The folders of all runs in `results`, newest first: ids begin with the date; `reference` and other names come last.
pub fn all(results: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(results).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut runs: Vec<PathBuf> = folders.filter(|folder| folder.join("run.json").is_file()).collect();
    let dated = |run: &Path| name(run).starts_with(|c: char| c.is_ascii_digit());
    runs.sort_by(|a, b| (dated(b), b).cmp(&(dated(a), a)));
    runs
}

/// The id of a run: its folder's name.
pub fn name(run: &Path) -> String {
    run.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn among(results: &Path, named: &str) -> Result<PathBuf> {
    let runs = all(results);
    if runs.is_empty() {
        let wanted = if back(named).is_some() { String::new() } else { format!(" `{}`", one_line(named)) };
        bail!("no run{wanted} in {}, which has none: `isobench run --quick` makes one", results.display());
    }
    if let Some(back) = back(named) {
        return match runs.get(back) {
            Some(run) => Ok(run.clone()),
            None => bail!("`{named}`: there are only {} runs in {}", runs.len(), results.display()),
        };
    }
    if let Some(run) = runs.iter().find(|run| name(run) == named) {
        return Ok(run.clone());
    }
    let fit: Vec<&PathBuf> = runs.iter().filter(|run| !named.is_empty() && name(run).starts_with(named)).collect();
    let said = one_line(named);
    match fit[..] {
        [run] => Ok(run.clone()),
        [] => bail!("no run `{said}` in {}; the newest are {}", results.display(), listed(&runs)),
        _ => bail!("`{said}` begins the ids of {} runs: {}", fit.len(), listed(fit)),
    }
}

/// How many runs before the newest: `latest` is 0, `latest~2` is 2.
fn back(named: &str) -> Option<usize> {
    match named.strip_prefix("latest")? {
        "" => Some(0),
        rest => rest.strip_prefix('~')?.parse().ok(),
    }
}

fn listed(runs: impl IntoIterator<Item = impl AsRef<Path>>) -> String {
    let names: Vec<String> = runs.into_iter().take(LISTED).map(|run| one_line(&name(run.as_ref()))).collect();
    format!("{} (`isobench runs` lists all)", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_its_id_a_prefix_or_how_long_ago() {
        let results = tempfile::tempdir().expect("a folder");
        for id in ["20261130-101500-000", "20261130-111500-000", "20261129-101500-000", "reference"] {
            std::fs::create_dir(results.path().join(id)).expect("a folder");
            std::fs::write(results.path().join(id).join("run.json"), "{}").expect("a file");
        }
        std::fs::create_dir(results.path().join("empty")).expect("a folder");
        let found = |named: &str| among(results.path(), named).map(|run| name(&run)).map_err(|e| e.to_string());
        assert_eq!(found("latest").as_deref(), Ok("20261130-111500-000"));
        assert_eq!(found("latest~1").as_deref(), Ok("20261130-101500-000"));
        assert_eq!(found("latest~3").as_deref(), Ok("reference"));
        assert_eq!(found("20261129").as_deref(), Ok("20261129-101500-000"));
        assert_eq!(found("ref").as_deref(), Ok("reference"));
        let several = found("20261130").expect_err("two begin so");
        assert!(several.contains("20261130-111500-000, 20261130-101500-000"), "{several}");
        let unknown = found("nosuch").expect_err("none begins so");
        assert!(unknown.contains("the newest are 20261130-111500-000") && unknown.contains("reference"), "{unknown}");
        assert!(found("latest~9").is_err() && found("latestx").is_err());
    }
}
