//! Collects the records of a run, cell by cell.

use crate::cell::{self, Context, Settled};
use crate::load::LoadData;
use crate::metric::Metric;
use crate::noise::Reference;
use crate::starters::StartersData;
use crate::summary::Summary;
use crate::undisturbed::Probe;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use isobench_core::record::{self, BlockRecord, Mode, Record, SampleFlag, Stretch};
use isobench_core::run::{CellFault, RunFile};
use isobench_core::words::{CellId, Experiment, Model};
use std::collections::BTreeMap;

/// Most defects that a summary lists; a file of nothing else must not become a page of nothing else.
const DEFECTS: usize = 20;

/// Significant digits of added latencies: those of the files.
const LATENCY_DIGITS: u8 = 3;

/// Takes records one at a time and gives the summary at the end. What it keeps is the values: 8 bytes a sample.
#[derive(Debug)]
pub struct Accumulator<'a> {
    run: &'a RunFile,
    cells: BTreeMap<CellId, CellData>,
    /// Every reading of the contention probe.
    probes: Vec<u64>,
    samples: u64,
    defects: Vec<String>,
}

/// The values of one metric: for every block the runs of values.
pub(crate) type Series = BTreeMap<u32, Vec<Run>>;

/// Values that were taken one after another.
#[derive(Debug)]
pub(crate) struct Run {
    /// Index of the first within its block.
    pub index: u32,
    /// The contention probe just before and just after.
    pub probe_ns: Option<[u64; 2]>,
    pub values: Vec<u64>,
}

/// Everything one cell left.
#[derive(Debug, Default)]
pub(crate) struct CellData {
    /// Cold-start metrics by name, in order of appearance; apart, those of first starts in a process, and
    /// after an import.
    pub starts: Vec<(String, Series)>,
    pub first_starts: Vec<(String, Series)>,
    pub starts_after_import: Vec<(String, Series)>,
    pub calls: Series,
    /// Calls with the instance on the processor of the runner.
    pub calls_same_core: Series,
    /// Yardstick → instances → values.
    pub memory: BTreeMap<String, BTreeMap<u32, Series>>,
    pub throughput: BTreeMap<(Mode, u32), Visits>,
    pub load: LoadData,
    pub starters: StartersData,
    pub faults: Vec<CellFault>,
    /// Judged at the end: what was usual, only the whole run tells.
    pub records: Vec<BlockRecord>,
    pub blocks: std::collections::BTreeSet<u32>,
}

/// Throughput visits at one concurrency.
#[derive(Debug, Default)]
pub(crate) struct Visits {
    /// The rate of each block.
    pub rates: Vec<Rate>,
    /// All latencies, added up.
    pub latency: Option<Histogram<u64>>,
}

/// One block's calls per second at one concurrency.
#[derive(Debug)]
pub(crate) struct Rate {
    /// Over the whole visit.
    pub all: f64,
    /// The parts of it between probes.
    pub stretches: Vec<Stretch>,
}

impl<'a> Accumulator<'a> {
    /// An empty one for the cells of `run`.
    pub fn new(run: &'a RunFile) -> Accumulator<'a> {
        let cells = run.cells.iter().map(|entry| (entry.id, CellData::default())).collect();
        Accumulator { run, cells, probes: Vec::new(), samples: 0, defects: Vec::new() }
    }

    /// Takes one record. What cannot be used is listed in the summary, never an error: the rest is still good.
    pub fn push(&mut self, record: Record) {
        let id = record.cell();
        let Some(data) = self.cells.get_mut(&id) else {
            return self.defect(format!("samples of a cell {id} that run.json does not have"));
        };
        match record {
            Record::Samples(samples) => {
                self.samples += samples.values.len() as u64;
                self.probes.extend(samples.probe_ns.into_iter().flatten());
                data.add_samples(samples);
            }
            Record::Histogram(histogram) => {
                let (block, n) = (histogram.block, histogram.n);
                self.probes.extend(histogram.stretches.iter().flat_map(|stretch| stretch.probe_ns));
                if let Err(why) = data.add_histogram(histogram) {
                    self.defect(format!("the histogram of cell {id}, block {block}, concurrency {n}: {why}"));
                }
            }
            Record::Fault(fault) => data.add_fault(fault),
            Record::Load(load) => {
                let (block, policy) = (load.block, load.policy);
                data.blocks.insert(block);
                if let Err(why) = data.load.add_load(load) {
                    self.defect(format!("the load line of cell {id}, block {block}, policy {policy}: {why}"));
                }
            }
            Record::Starts(starts) => {
                let (block, n) = (starts.block, starts.n);
                data.blocks.insert(block);
                if let Err(why) = data.starters.add(starts) {
                    self.defect(format!("the starts of cell {id}, block {block}, {n} starters: {why}"));
                }
            }
            Record::Bound(bound) => data.load.add_bound(bound),
            Record::Block(block) => data.records.push(block),
        }
    }

    fn defect(&mut self, what: String) {
        if self.defects.len() < DEFECTS && !self.defects.contains(&what) {
            self.defects.push(what);
        }
    }

    /// The summary.
    pub fn finish(mut self) -> Summary {
        let run = self.run;
        let of_backend = |name: &str| run.backends.iter().find(|b| b.description.backend == name);
        let usual = Reference::of(self.run.machine.processors(), self.cells.values().flat_map(|data| &data.records));
        let probe = Probe::of(&self.probes);
        let mut cells = Vec::with_capacity(run.cells.len());
        for entry in &run.cells {
            // Taken out, so that a cell's samples are freed once it is summed up.
            let data = self.cells.remove(&entry.id).unwrap_or_default();
            let backend = of_backend(&entry.cell.backend);
            let context = Context {
                order: run.plan.order,
                entry,
                model: backend.map_or(Model::Null, |b| b.description.model),
                in_process: backend.is_some_and(|b| b.description.in_process),
                emulated: backend.is_some_and(|b| b.availability.is_emulated()),
                usual,
                probe,
            };
            cells.push(cell::summarise(&context, data));
        }
        let calibration_ns = usual.calibration_ns;
        Summary {
            cells,
            samples: self.samples,
            calibration_ns,
            probe_ns: probe.undisturbed_ns,
            defects: self.defects,
            incomplete: Vec::new(),
        }
    }
}

/// The value of one block for each metric that it measured, by the rules of the summary for a machine with so many
/// `processors`. A run decides by them whether a cell needs more blocks.
pub fn block_values(records: Vec<Record>, processors: u32) -> Vec<(Metric, f64)> {
    let mut data = CellData::default();
    for record in records {
        match record {
            Record::Samples(samples) => data.add_samples(samples),
            // One that does not decode is a defect that the summary names.
            Record::Histogram(histogram) => drop(data.add_histogram(histogram)),
            _ => {}
        }
    }
    // What was usual for the probe, only the whole run tells.
    let probe = Probe::default();
    drop(cell::early(&mut data.starts));
    let by_block = cell::by_block(&data, Settled::of(&data.calls, probe).as_ref(), processors, probe);
    Metric::ALL.into_iter().zip(by_block).filter_map(|(metric, values)| Some((metric, *values.first()?))).collect()
}

/// A histogram as sample lines carry it.
pub(crate) fn decoded(hdr: &str) -> Result<hdrhistogram::Histogram<u64>, String> {
    let bytes = BASE64.decode(hdr).map_err(|e| format!("not base64: {e}"))?;
    let mut latency: hdrhistogram::Histogram<u64> =
        Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|e| format!("not a histogram: {e}"))?;
    if latency.max() >= record::HISTOGRAM_CEILING_NS {
        return Err("it has times of an hour or more, which were cut to an hour".into());
    }
    // Blocks may differ in their longest latency; without this a sum keeps the range of the first.
    latency.auto(true);
    Ok(latency)
}

impl CellData {
    fn add_samples(&mut self, samples: record::Samples) {
        // Criterion's warm-up is kept in the data and nowhere else.
        if samples.values.is_empty() || samples.flags.contains(&SampleFlag::WarmUp) {
            return;
        }
        self.blocks.insert(samples.block);
        let series = match samples.experiment {
            Experiment::ColdStart => {
                let metrics = match samples.flags.first() {
                    Some(SampleFlag::FirstInProcess) => &mut self.first_starts,
                    Some(SampleFlag::FirstAfterImport) => &mut self.starts_after_import,
                    _ => &mut self.starts,
                };
                let at = metrics.iter().position(|(name, _)| *name == samples.metric).unwrap_or_else(|| {
                    metrics.push((samples.metric, Series::new()));
                    metrics.len() - 1
                });
                &mut metrics[at].1
            }
            Experiment::WarmCall if samples.metric == "call_same_core" => &mut self.calls_same_core,
            Experiment::WarmCall => &mut self.calls,
            Experiment::Footprint => {
                self.memory.entry(samples.metric).or_default().entry(samples.n.unwrap_or(0)).or_default()
            }
            Experiment::Burst | Experiment::Density => {
                let n = samples.n.unwrap_or(0);
                return self.load.add_step(samples.experiment, samples.metric, n, &samples.values);
            }
            // These come as histograms alone.
            Experiment::Throughput | Experiment::OpenLoop | Experiment::Starts => return,
        };
        let run = Run { index: samples.index, probe_ns: samples.probe_ns, values: samples.values };
        series.entry(samples.block).or_default().push(run);
    }

    fn add_histogram(&mut self, visit: record::Histogram) -> Result<(), String> {
        if visit.elapsed_ns == 0 {
            return Err("it took no time".into());
        }
        let latency = decoded(&visit.hdr)?;
        let visits = self.throughput.entry((visit.mode, visit.n)).or_default();
        let sum = match &mut visits.latency {
            Some(sum) => sum,
            // A new one grows as needed; a block's own has that block's range.
            none => none.insert(Histogram::new(LATENCY_DIGITS).map_err(|e| e.to_string())?),
        };
        sum.add(&latency).map_err(|e| format!("of another range: {e}"))?;
        visits.rates.push(Rate { all: visit.calls as f64 * 1e9 / visit.elapsed_ns as f64, stretches: visit.stretches });
        self.blocks.insert(visit.block);
        Ok(())
    }

    fn add_fault(&mut self, record: record::FaultRecord) {
        let same = |f: &&mut CellFault| f.experiment == record.experiment && f.fault.kind == record.fault.kind;
        match self.faults.iter_mut().find(same) {
            Some(fault) => fault.blocks += 1,
            None => self.faults.push(CellFault { experiment: record.experiment, fault: record.fault, blocks: 1 }),
        }
    }
}
