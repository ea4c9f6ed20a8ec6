//! Whole blocks: a block counts only if its last line, the `block` record, was read. What precedes it may be a part of a
//! block that a kill or a full disk has cut, and half a block is another measurement than a whole one.

use crate::record::Record;
use crate::run::{CellEntry, RunFile};
use crate::store::{RunDir, StoreError};
use crate::words::CellId;
use std::collections::BTreeMap;

/// What `samples.jsonl` holds, against what `run.json` counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completeness {
    /// The number of the last line, if it was cut short and left out.
    pub truncated: Option<usize>,
    /// Blocks read whole.
    pub whole: usize,
    /// Blocks without their `block` record: left out.
    pub cut: usize,
    /// Blocks that `run.json` counts and the samples lack.
    pub missing: usize,
    /// Blocks that the samples hold and `run.json` does not count, although the run has ended.
    pub uncounted: usize,
    /// Whether every cell failed before its first block: then there is nothing that the samples could hold.
    pub none_started: bool,
}

impl Completeness {
    /// Why the samples cannot stand for the run; `None` if they can. A run that was killed or interrupted may have cut
    /// its last block: it never counted that one, so nothing it counted is lost.
    pub fn fault(&self) -> Option<String> {
        if self.whole == 0 && !self.none_started {
            Some("it holds no whole block, so there is nothing to report".into())
        } else if self.missing > 0 {
            let promised = self.whole.saturating_sub(self.uncounted) + self.missing;
            Some(format!(
                "it lacks {} of the {promised} blocks that run.json counts; the file was cut or changed after they were \
                 written",
                self.missing
            ))
        } else if self.uncounted > 0 {
            let blocks = blocks(self.uncounted);
            Some(format!("it holds {blocks} that run.json does not count; the two files belong to different runs"))
        } else {
            None
        }
    }

    /// What a reader must know, in sentences: what is missing and what was left out. Empty for a whole run.
    pub fn warnings(&self) -> Vec<String> {
        let fault = self.fault().map(|fault| format!("The samples are incomplete: {fault}."));
        let cut = (self.cut > 0)
            .then(|| format!("{} without an end: the file was cut there, and they are left out.", blocks(self.cut)));
        let line = self.truncated.filter(|_| self.cut == 0);
        let line = line.map(|line| format!("Line {line} of the samples, the last one, was cut short and is left out."));
        fault.into_iter().chain(cut).chain(line).collect()
    }
}

fn blocks(n: usize) -> String {
    if n == 1 { "1 block".into() } else { format!("{n} blocks") }
}

impl RunDir {
    /// Reads the records of every whole block, in the order of the blocks' ends, and compares the blocks with those that
    /// `run` counts. A missing `samples.jsonl` is an empty one. Keeps only unfinished blocks in memory.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or a line other than a cut last one is malformed.
    pub fn for_each_whole_block(
        &self,
        run: &RunFile,
        mut visit: impl FnMut(Record),
    ) -> Result<Completeness, StoreError> {
        let mut held: BTreeMap<(CellId, u32), Vec<Record>> = BTreeMap::new();
        let mut counts: BTreeMap<CellId, Counts> = BTreeMap::new();
        let mut found = Completeness::default();
        if self.samples().exists() {
            let report = self.for_each_record(|record| {
                let key = (record.cell(), record.block());
                if !matches!(record, Record::Block(_)) {
                    return held.entry(key).or_default().push(record);
                }
                let records = held.remove(&key).unwrap_or_default();
                let count = counts.entry(key.0).or_default();
                let failed = records.iter().any(|record| record.fault().is_some());
                *(if failed { &mut count.failed } else { &mut count.good }) += 1;
                found.whole += 1;
                records.into_iter().chain([record]).for_each(&mut visit);
            })?;
            found.truncated = report.truncated;
        }
        found.cut = held.len();
        let failed_early = |entry: &CellEntry| entry.blocks == 0 && entry.faults.iter().any(|fault| fault.blocks == 0);
        found.none_started = !run.cells.is_empty() && run.cells.iter().all(failed_early);
        for entry in &run.cells {
            let count = counts.remove(&entry.id).unwrap_or_default();
            let failed = entry.faults.iter().map(|fault| fault.blocks as usize).sum();
            for (promised, read) in [(entry.blocks as usize, count.good), (failed, count.failed)] {
                found.missing += promised.saturating_sub(read);
                // A run that has not ended may have written blocks since it last wrote its counts.
                found.uncounted += run.ended_unix_ms.map_or(0, |_| read.saturating_sub(promised));
            }
        }
        Ok(found)
    }
}

/// Whole blocks of one cell.
#[derive(Debug, Default)]
struct Counts {
    good: usize,
    failed: usize,
}
