//! A run's folder: `results/<run-id>/run.json` and `samples.jsonl`.

use crate::record::{LINE_LIMIT, Record};
use crate::run::{RunFile, SCHEMA_VERSION};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
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
        found: u64,
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

/// Bytes reserved beyond the size of `run.json`: the reason of an early end, and messages of some faults.
const RESERVED_MORE: usize = 8 << 10;

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

    fn part(&self) -> PathBuf {
        self.path.join("run.json.part")
    }

    /// Writes `run.json` whole: a reader sees the old or the new one, never half. Uses the space that
    /// [`RunDir::reserve`] has taken, if it has.
    pub fn write_run(&self, run: &RunFile) -> Result<(), StoreError> {
        fs::create_dir_all(&self.path).map_err(StoreError::io(&self.path))?;
        let part = self.part();
        let mut text = serde_json::to_string_pretty(run).expect("run.json has only string keys");
        text.push('\n');
        let written = OpenOptions::new().create(true).write(true).truncate(false).open(&part).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.set_len(text.len() as u64)
        });
        written.and_then(|()| fs::rename(&part, self.run_json())).map_err(StoreError::io(&part))
    }

    /// Takes the disk space that the next [`RunDir::write_run`] needs, with room for what a run adds to its file. A run
    /// that fills the disk can then still write why it stopped. Best effort: without the space the run goes on.
    pub fn reserve(&self) {
        let size = fs::metadata(self.run_json()).map_or(0, |file| file.len());
        if fs::write(self.part(), vec![b' '; size as usize + RESERVED_MORE]).is_err() {
            self.release();
        }
    }

    /// Gives back what [`RunDir::reserve`] took.
    pub fn release(&self) {
        let _ = fs::remove_file(self.part());
    }

    /// Removes the two files of a run, then its folder, which must be empty by then.
    ///
    /// # Errors
    /// [`StoreError::Io`] if one cannot be removed, or if the folder holds anything else.
    pub fn discard(self) -> Result<(), StoreError> {
        for file in [self.run_json(), self.samples()] {
            fs::remove_file(&file).map_err(StoreError::io(&file))?;
        }
        fs::remove_dir(&self.path).map_err(StoreError::io(&self.path))
    }

    /// Reads `run.json`.
    pub fn read_run(&self) -> Result<RunFile, StoreError> {
        let path = self.run_json();
        let text = fs::read_to_string(&path).map_err(StoreError::io(&path))?;
        let malformed =
            |e: serde_json::Error| StoreError::Malformed { path: path.clone(), line: e.line(), message: e.to_string() };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(malformed)?;
        let found = value["schema"].as_u64().unwrap_or(0);
        if found > u64::from(SCHEMA_VERSION) {
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

    /// Reads every record, one at a time in memory, those of unfinished blocks too: [`RunDir::for_each_whole_block`]
    /// leaves these out. A truncated last line is reported in the answer, not an error: a run killed while writing keeps
    /// everything before it.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or a line is malformed or longer than [`LINE_LIMIT`].
    pub fn for_each_record(&self, mut visit: impl FnMut(Record)) -> Result<ReadReport, StoreError> {
        let path = self.samples();
        let mut reader = BufReader::with_capacity(1 << 16, File::open(&path).map_err(StoreError::io(&path))?);
        let mut report = ReadReport::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            // A byte over the limit tells a line that is too long from one that just fits.
            let read = reader.by_ref().take(LINE_LIMIT + 1).read_until(b'\n', &mut line);
            if read.map_err(StoreError::io(&path))? == 0 {
                return Ok(report);
            }
            report.lines += 1;
            if line.len() as u64 > LINE_LIMIT {
                let message = format!("the line is longer than {} MiB: this is no samples.jsonl", LINE_LIMIT >> 20);
                return Err(StoreError::Malformed { path, line: report.lines, message });
            }
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
