//! A run's folder: `results/<run-id>/run.json` and `samples.jsonl`.

use crate::record::Record;
use crate::run::{RunFile, SCHEMA_VERSION};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// What can go wrong with a run's folder.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system said no.
    #[error("{}: {cause}{}", path.display(), if cause.kind() == io::ErrorKind::StorageFull { " — free some space; what was written before stays readable" } else { "" })]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        cause: io::Error,
    },
    /// A line or file that is not what it should be.
    #[error("{}:{line}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Written by a newer isobench.
    #[error("{}: schema version {found}, but this isobench reads up to {SCHEMA_VERSION}: use a newer isobench", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl StoreError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
        move |cause| StoreError::Io { path: path.into(), cause }
    }

    /// Whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, StoreError::Io { cause, .. } if cause.kind() == io::ErrorKind::StorageFull)
    }
}

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// The folder at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> RunDir {
        RunDir { path: path.into() }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `run.json`.
    pub fn run_json(&self) -> PathBuf {
        self.path.join("run.json")
    }

    /// `samples.jsonl`.
    pub fn samples(&self) -> PathBuf {
        self.path.join("samples.jsonl")
    }

    /// Writes `run.json` whole: a reader sees the old or the new one, never half.
    pub fn write_run(&self, run: &RunFile) -> Result<(), StoreError> {
        fs::create_dir_all(&self.path).map_err(StoreError::io(&self.path))?;
        let part = self.path.join("run.json.part");
        let mut text = serde_json::to_string_pretty(run).expect("run.json has only string keys");
        text.push('\n');
        fs::write(&part, text).map_err(StoreError::io(&part))?;
        fs::rename(&part, self.run_json()).map_err(StoreError::io(&part))
    }

    /// Reads `run.json`.
    pub fn read_run(&self) -> Result<RunFile, StoreError> {
        let path = self.run_json();
        let text = fs::read_to_string(&path).map_err(StoreError::io(&path))?;
        let malformed =
            |e: serde_json::Error| StoreError::Malformed { path: path.clone(), line: e.line(), message: e.to_string() };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(malformed)?;
        let found = value["schema"].as_u64().unwrap_or(0) as u32;
        if found > SCHEMA_VERSION {
            return Err(StoreError::Newer { path, found });
        }
        serde_json::from_str(&text).map_err(malformed)
    }

    /// Opens `samples.jsonl` for appending.
    pub fn writer(&self) -> Result<SampleWriter, StoreError> {
        fs::create_dir_all(&self.path).map_err(StoreError::io(&self.path))?;
        let path = self.samples();
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(StoreError::io(&path))?;
        Ok(SampleWriter { file, path })
    }

    /// Reads every record, one at a time in memory. A truncated last line is reported in the answer, not an error:
    /// a run killed while writing keeps everything before it.
    pub fn for_each_record(&self, mut visit: impl FnMut(Record)) -> Result<ReadReport, StoreError> {
        let path = self.samples();
        let mut reader = BufReader::with_capacity(1 << 16, File::open(&path).map_err(StoreError::io(&path))?);
        let mut report = ReadReport::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(StoreError::io(&path))? == 0 {
                return Ok(report);
            }
            report.lines += 1;
            match serde_json::from_slice(&line) {
                Ok(record) => visit(record),
                Err(_) if line.last() != Some(&b'\n') => {
                    report.truncated = Some(report.lines);
                    report.lines -= 1;
                }
                Err(e) => {
                    let message = e.to_string();
                    return Err(StoreError::Malformed { path, line: report.lines, message });
                }
            }
        }
    }
}

/// What reading `samples.jsonl` found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Whole lines read.
    pub lines: usize,
    /// The number of the last line, if it was cut short and left out.
    pub truncated: Option<usize>,
}

/// Appends records to `samples.jsonl`, one cell's visit at a time.
#[derive(Debug)]
pub struct SampleWriter {
    file: File,
    path: PathBuf,
}

impl SampleWriter {
    /// Appends `records` with one write. After a failed write nothing more should be appended: the caller stops the run.
    pub fn append(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let mut text = Vec::new();
        for record in records {
            serde_json::to_writer(&mut text, record).expect("a record has only string keys");
            text.push(b'\n');
        }
        self.file.write_all(&text).map_err(StoreError::io(&self.path))
    }
}
