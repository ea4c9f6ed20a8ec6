//! Reads a run's folder and writes its report.

use crate::export::hdr_log::{Collector, Logs};
use crate::html::{self, IndexEntry, PageOptions};
use isobench_core::store::{RunDir, StoreError};
use isobench_core::whole::Completeness;
use isobench_stats::{Accumulator, Summary};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

/// What can go wrong with a report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The run could not be read.
    #[error(transparent)]
    Run(#[from] StoreError),
    /// The samples cannot stand for the run.
    #[error("{}: {fault}. `isobench report --partial` reports what is there, with a warning", path.display())]
    Incomplete {
        /// The samples.
        path: PathBuf,
        /// What is wrong with them.
        fault: String,
    },
    /// The report could not be written.
    #[error("cannot write the report: {}: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
}

impl ReportError {
    fn write(path: &Path) -> impl FnOnce(io::Error) -> ReportError + '_ {
        move |cause| ReportError::Write { path: path.into(), cause }
    }
}

/// A run, read and summed up.
#[derive(Debug)]
pub struct Report {
    /// `run.json`.
    pub run: isobench_core::RunFile,
    /// What it showed.
    pub summary: Summary,
    /// Which blocks of the run the summary is made of.
    pub completeness: Completeness,
}

/// Reads a run's folder and sums it up, from the blocks whose end was read.
///
/// # Errors
/// Returns an error if a file cannot be read, or the samples cannot stand for the run: see [`Completeness::fault`].
pub fn read(run_dir: &RunDir) -> Result<Report, ReportError> {
    let report = read_partial(run_dir)?;
    match report.completeness.fault() {
        Some(fault) => Err(ReportError::Incomplete { path: run_dir.samples(), fault }),
        None => Ok(report),
    }
}

/// Reads a run's folder like [`read`], and takes what is there of a run whose samples are incomplete: the summary says
/// what is missing.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn read_partial(run_dir: &RunDir) -> Result<Report, ReportError> {
    let run = run_dir.read_run()?;
    let mut accumulator = Accumulator::new(&run);
    let completeness = run_dir.for_each_whole_block(&run, |record| accumulator.push(record))?;
    let summary = Summary { incomplete: completeness.warnings(), ..accumulator.finish() };
    Ok(Report { summary, completeness, run })
}

/// Writes `reports_root/<run>/index.html` from the run in `run_dir`, `matrix.html` beside it where it is a matrix, and
/// `reports_root/index.html` from all the folders beside it. Gives the path of the run's page.
pub fn write(report: &Report, run_dir: &RunDir, reports_root: &Path) -> Result<PathBuf, ReportError> {
    let folder = reports_root.join(folder_name(run_dir, &report.run.id));
    fs::create_dir_all(&folder).map_err(ReportError::write(&folder))?;
    let results = href(&folder, run_dir.path());
    let options = PageOptions {
        samples_href: format!("{results}/samples.jsonl"),
        run_href: format!("{results}/run.json"),
        index_href: "../index.html".into(),
        truncated: report.completeness.truncated,
    };
    let page = folder.join("index.html");
    write_whole(&page, &html::page(&report.run, &report.summary, &options))?;
    if let Some(matrix) = html::matrix_page(&report.run, &report.summary) {
        write_whole(&folder.join("matrix.html"), &matrix)?;
    }
    let results_root = run_dir.path().parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    write_index(results_root, reports_root)?;
    Ok(page)
}

/// Writes `reports_root/index.html`: every run under `results_root`, newest first. A folder that cannot be read is
/// listed as such.
pub fn write_index(results_root: &Path, reports_root: &Path) -> Result<PathBuf, ReportError> {
    let mut folders: Vec<PathBuf> = fs::read_dir(results_root)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    let entry = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let page =
            reports_root.join(&name).join("index.html").exists().then(|| format!("{}/index.html", escaped(&name)));
        IndexEntry { name, page, run: RunDir::new(path).read_run().map_err(|error| error.to_string()) }
    };
    let entries: Vec<IndexEntry> = folders.iter().map(entry).collect();
    fs::create_dir_all(reports_root).map_err(ReportError::write(reports_root))?;
    let index = reports_root.join("index.html");
    write_whole(&index, &html::index(&entries))?;
    Ok(index)
}

/// Writes an HdrHistogram log for every load of the run into `folder`. Gives the paths, and what is in none of them.
pub fn write_hdr_logs(run_dir: &RunDir, folder: &Path) -> Result<(Vec<PathBuf>, Vec<String>), ReportError> {
    let run = run_dir.read_run()?;
    let mut collector = Collector::default();
    run_dir.for_each_whole_block(&run, |record| collector.push(record))?;
    let Logs { logs, left_out } = collector.finish(&run);
    let mut paths = Vec::new();
    for log in logs {
        paths.push(folder.join(log.name));
        write_text(&paths[paths.len() - 1], &log.text)?;
    }
    Ok((paths, left_out))
}

/// Writes `text` to `path`, making the folder where there is none. The file is there whole or not at all: a full disk
/// must not leave half of one in place of the last good one.
pub fn write_text(path: &Path, text: &str) -> Result<(), ReportError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(ReportError::write(folder))?;
    write_whole(path, text)
}

/// Appends `text` to the file at `path`, which is made if it is missing.
///
/// # Errors
/// Returns an error if the file cannot be opened or written.
pub fn append_text(path: &Path, text: &str) -> Result<(), ReportError> {
    let file = fs::OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(ReportError::write(path))
}

fn write_whole(path: &Path, text: &str) -> Result<(), ReportError> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = fs::write(&part, text).and_then(|()| fs::rename(&part, path));
    written.map_err(|cause| {
        let _ = fs::remove_file(&part);
        ReportError::Write { path: path.into(), cause }
    })
}

fn folder_name(run_dir: &RunDir, id: &str) -> String {
    let absolute = fs::canonicalize(run_dir.path()).unwrap_or_else(|_| run_dir.path().into());
    absolute.file_name().unwrap_or(OsStr::new(id)).to_string_lossy().into_owned()
}

/// The relative link from the folder `from` to `to`, both of which exist.
fn href(from: &Path, to: &Path) -> String {
    let absolute = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let (from, to) = (absolute(from), absolute(to));
    let names = |path: &Path| -> Vec<String> {
        let normal = path.components().filter(|c| matches!(c, Component::Normal(_)));
        normal.map(|c| c.as_os_str().to_string_lossy().into_owned()).collect()
    };
    let (from, to) = (names(&from), names(&to));
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".to_string(), from.len() - shared);
    up.chain(to[shared..].iter().map(|name| escaped(name))).collect::<Vec<String>>().join("/")
}

/// A file name as part of a link: all but the unreserved characters of RFC 3986 as %XX.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            _ => text += &format!("%{byte:02X}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_and_escaped() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("reports/a"), root.path().join("results/a b"));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(&to).unwrap();
        assert_eq!(href(&from, &to), "../../results/a%20b");
    }
}
