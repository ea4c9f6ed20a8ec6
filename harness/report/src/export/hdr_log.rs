//! HdrHistogram logs: one for every load that was put on a cell, one interval for every block.
//!
//! The format is that of HdrHistogram's `HistogramLogWriter`, version 1.3 (Gil Tene, "HistogramLogReader", JavaDoc of
//! HdrHistogram 2.1, Histogram log format). Lines carry no tag: a file has one load only, and `HistogramLogProcessor`
//! passes over tagged lines unless it is told the tag.

use super::numbers::{mode_name, start_mode_name};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use hdrhistogram::serialization::{Deserializer, V2DeflateSerializer};
use isobench_core::record::{Mode, Policy, Record, StartMode};
use isobench_core::run::{CellEntry, RunFile};
use isobench_core::words::CellId;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Recorded nanoseconds in one unit of a line's `Interval_Max`, which is for people: milliseconds, as HdrHistogram's
/// own writer has them by default.
const MAX_VALUE_DIVISOR: f64 = 1e6;

/// Collects the histograms of a run.
#[derive(Debug, Default)]
pub struct Collector {
    loads: BTreeMap<(CellId, Load), Vec<Visit>>,
    /// When each block began, milliseconds since the Unix epoch.
    began: BTreeMap<u32, u64>,
}

/// What was put on a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Load {
    Closed(Mode, u32),
    /// At a rate in millihertz.
    Rate(Policy, u64),
    /// At a rate in percent of what the cell can answer.
    Percent(Policy, u32),
    /// So many starters.
    Starts(StartMode, u32),
}

/// The latencies of one block under one load.
#[derive(Debug)]
struct Visit {
    block: u32,
    elapsed_ns: u64,
    hdr: String,
}

/// One log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Name of its file: the cell and the load.
    pub name: String,
    /// Its lines.
    pub text: String,
}

/// The logs of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logs {
    /// In the order of `run.json`'s cells.
    pub logs: Vec<Log>,
    /// What is in none of them, and why.
    pub left_out: Vec<String>,
}

impl Collector {
    /// Takes one record; most are of no use here.
    pub fn push(&mut self, record: Record) {
        let (cell, load, visit) = match record {
            Record::Histogram(r) => {
                let visit = Visit { block: r.block, elapsed_ns: r.elapsed_ns, hdr: r.hdr };
                (r.cell, Load::Closed(r.mode, r.n), visit)
            }
            Record::Load(r) => {
                let visit = Visit { block: r.block, elapsed_ns: r.offered_ns.max(r.answered_ns), hdr: r.hdr };
                let load = r.percent.map_or(Load::Rate(r.policy, r.rate_mhz), |p| Load::Percent(r.policy, p));
                (r.cell, load, visit)
            }
            Record::Starts(r) => {
                let visit = Visit { block: r.block, elapsed_ns: r.elapsed_ns, hdr: r.hdr };
                (r.cell, Load::Starts(r.mode, r.n), visit)
            }
            Record::Block(r) => {
                self.began.insert(r.block, r.at_unix_ms);
                return;
            }
            Record::Samples(_) | Record::Bound(_) | Record::Fault(_) => return,
        };
        self.loads.entry((cell, load)).or_default().push(visit);
    }

    /// The logs. A cell with a fault has none, as it has no numbers elsewhere.
    pub fn finish(self, run: &RunFile) -> Logs {
        let mut logs = Logs::default();
        for ((id, load), visits) in self.loads {
            let entry = run.cells.iter().find(|entry| entry.id == id);
            let Some(entry) = entry.filter(|entry| entry.faults.is_empty()) else {
                let why = entry.map_or("run.json does not have it".into(), |entry| entry.faults[0].fault.to_string());
                let cell = entry.map_or_else(|| format!("cell {id}"), |entry| entry.cell.to_string());
                logs.left_out.push(format!("{cell}, {}: {why}", load.words()));
                continue;
            };
            let mut intervals = Vec::new();
            for visit in visits {
                match interval(&visit, &self.began) {
                    Ok(interval) => intervals.push(interval),
                    Err(why) => {
                        logs.left_out.push(format!("{}, {}, block {}: {why}", entry.cell, load.words(), visit.block));
                    }
                }
            }
            if !intervals.is_empty() {
                intervals.sort_by_key(|interval| interval.began_ms);
                let name = format!("{}.{}.hlog", file_name(entry), load.file_name());
                logs.logs.push(Log { name, text: text(run, entry, load, &intervals) });
            }
        }
        logs
    }
}

struct Interval {
    began_ms: u64,
    length: Duration,
    latencies: Histogram<u64>,
}

fn interval(visit: &Visit, began: &BTreeMap<u32, u64>) -> Result<Interval, String> {
    let began_ms = *began.get(&visit.block).ok_or("its block has no line that says when it began")?;
    let bytes = BASE64.decode(&visit.hdr).map_err(|e| format!("not base64: {e}"))?;
    let latencies =
        Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|e| format!("not a histogram: {e}"))?;
    Ok(Interval { began_ms, length: Duration::from_nanos(visit.elapsed_ns), latencies })
}

fn text(run: &RunFile, entry: &CellEntry, load: Load, intervals: &[Interval]) -> String {
    let first = intervals[0].began_ms;
    let start = SystemTime::UNIX_EPOCH + Duration::from_millis(first);
    let mut header = IntervalLogWriterBuilder::new();
    header.add_comment(&format!("isobench {}, run {}", run.isobench, run.id));
    header.add_comment(&format!("{}, {}", named(entry), load.words()));
    for flag in &entry.flags {
        header.add_comment(&format!("flag: {flag}"));
    }
    header.add_comment("an interval is a block; values are nanoseconds, Interval_Max is milliseconds");
    header.add_comment("[Histogram log format version 1.3]");
    header.with_start_time(start).with_base_time(start).with_max_value_divisor(MAX_VALUE_DIVISOR);
    let (mut bytes, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut log = header.begin_log_with(&mut bytes, &mut serializer).expect("memory takes every byte");
    for interval in intervals {
        let since = Duration::from_millis(interval.began_ms - first);
        log.write_histogram(&interval.latencies, since, interval.length, None).expect("memory takes every histogram");
    }
    String::from_utf8(bytes).expect("a log is text")
}

fn named(entry: &CellEntry) -> String {
    entry.side.map_or_else(|| entry.cell.to_string(), |side| format!("{} ({side})", entry.cell))
}

/// The cell as part of a file's name. Whatever is not surely harmless in one becomes `_`, and the id keeps it unique.
fn file_name(entry: &CellEntry) -> String {
    let harmless = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let parts = entry.cell.to_string();
    let parts: Vec<String> = parts.split('/').map(|part| part.chars().map(harmless).collect()).collect();
    format!("{:03}.{}", entry.id, parts.join("."))
}

impl Load {
    fn words(self) -> String {
        match self {
            Load::Closed(mode, n) => format!("closed loop, {} instances, {n} in flight", mode_name(mode)),
            Load::Rate(policy, mhz) => format!("open loop, {}, {} requests a second", words(policy), mhz as f64 / 1e3),
            Load::Percent(policy, percent) => format!("open loop, {}, {percent} % of capacity", words(policy)),
            Load::Starts(mode, n) => format!("starts, {}, {n} starters", start_mode_name(mode)),
        }
    }

    fn file_name(self) -> String {
        match self {
            Load::Closed(mode, n) => format!("closed-{}-{n}", mode_name(mode)),
            Load::Rate(policy, mhz) => format!("open-{}-{mhz}mHz", short(policy)),
            Load::Percent(policy, percent) => format!("open-{}-{percent}percent", short(policy)),
            Load::Starts(mode, n) => format!("starts-{}-{n}", start_mode_name(mode)),
        }
    }
}

fn words(policy: Policy) -> String {
    match policy {
        Policy::Warm(n) => format!("{n} warm instances"),
        Policy::Fresh => "a fresh instance per request".into(),
        Policy::KeepAlive(ms) => format!("instances kept for {ms} ms"),
    }
}

fn short(policy: Policy) -> String {
    match policy {
        Policy::Warm(n) => format!("warm{n}"),
        Policy::Fresh => "fresh".into(),
        Policy::KeepAlive(ms) => format!("keep{ms}ms"),
    }
}
