//! The experiments, written once against the traits alone.

mod arrivals;
mod bound;
mod burst;
mod cold_start;
mod density;
mod footprint;
mod gate;
mod open_loop;
mod pool;
mod starts;
mod throughput;

use crate::backend::{Deployment, Instance};
use crate::probe::probe;
use crate::protocol::{BlockRequest, Visit};
use crate::stopwatch::{Deadline, Phases};
use isobench_core::record::{FaultRecord, Samples};
use isobench_core::{Experiment, Fault, FaultKind, Record, SampleFlag, Unit, sha256_hex};
use std::cell::RefCell;
use std::time::Duration;

pub use arrivals::Arrivals;
pub use footprint::FOOTPRINT_STEPS;

/// Does what `request` asks and hands every record to `emit`. A fault is the last record: what was measured before it
/// is kept.
pub fn run(request: &BlockRequest, deployment: &dyn Deployment, emit: &mut dyn FnMut(Record)) {
    let mut experiment = request.visit.experiment();
    let done = Case::read(request).and_then(|case| match &request.visit {
        Visit::ColdStart { starts, warm } => {
            cold_start::visit(request, deployment, &case, *starts, *warm, &mut experiment, emit)
        }
        Visit::Footprint { instances } => footprint::visit(request, deployment, &case, instances, emit),
        Visit::Throughput { warm, fresh, duration_ms } => {
            throughput::visit(request, deployment, &case, warm, fresh, *duration_ms, emit)
        }
        Visit::OpenLoop(asked) => open_loop::visit(request, deployment, &case, asked, emit),
        Visit::Burst { sizes, longest_ms } => {
            burst::visit(request, deployment, &case, sizes, Duration::from_millis(*longest_ms), emit)
        }
        Visit::Density(asked) => density::visit(request, deployment, &case, asked, emit),
        Visit::Starts { starters, step_ms } => {
            starts::visit(request, deployment, &case, starters, Duration::from_millis(*step_ms), emit)
        }
    });
    if let Err(fault) = done {
        emit(Record::Fault(FaultRecord { cell: request.cell, block: request.block, experiment, fault }));
    }
}

/// Cold starts exactly as the experiment does them, for the overhead bench.
pub struct ColdStarts<'a> {
    request: &'a BlockRequest,
    deployment: &'a dyn Deployment,
    case: Case,
    phases: Phases,
}

impl<'a> ColdStarts<'a> {
    /// Reads the case, as a visit does before its first start.
    pub fn new(request: &'a BlockRequest, deployment: &'a dyn Deployment) -> Result<ColdStarts<'a>, Fault> {
        Ok(ColdStarts { request, deployment, case: Case::read(request)?, phases: Phases::new() })
    }

    /// An instance that has answered correctly once, and the nanoseconds from before `start` to that answer; between two
    /// contention probes, as in a visit.
    pub fn start(&mut self) -> Result<(Box<dyn Instance>, u64), Fault> {
        probe();
        let instance = start_answered(self.request, self.deployment, &self.case, &mut self.phases)?;
        probe();
        Ok((instance, self.phases.total()))
    }

    /// Takes an instance down.
    pub fn stop(&self, instance: Box<dyn Instance>) -> Result<(), Fault> {
        instance.stop(Deadline::after(self.request.target.limits.stop_deadline()))
    }
}

/// The input and the check of the answer.
struct Case {
    input: Vec<u8>,
    expected_sha256: String,
    /// The first correct answer: later ones are compared with it byte by byte, which is faster than hashing and as
    /// strict.
    known: RefCell<Option<Vec<u8>>>,
}

impl Case {
    fn read(request: &BlockRequest) -> Result<Case, Fault> {
        let input = std::fs::read(&request.input)
            .map_err(|e| Fault::new(FaultKind::Internal, format!("{}: {e}", request.input.display())))?;
        Ok(Case { input, expected_sha256: request.expected_sha256.clone(), known: RefCell::new(None) })
    }

    /// A copy for another thread.
    fn again(&self) -> Case {
        Case { input: self.input.clone(), expected_sha256: self.expected_sha256.clone(), known: self.known.clone() }
    }

    /// Compares an answer with the expected one; called after the clock has stopped.
    fn verify(&self, answer: Vec<u8>) -> Result<(), Fault> {
        if self.known.borrow().as_ref() == Some(&answer) {
            return Ok(());
        }
        let got = sha256_hex(&answer);
        if got != self.expected_sha256 {
            let start: String = String::from_utf8_lossy(&answer[..answer.len().min(40)]).escape_debug().collect();
            return Err(Fault::new(
                FaultKind::WrongAnswer,
                format!(
                    "{} bytes with sha256 {got}, expected {}; it starts `{start}`",
                    answer.len(),
                    self.expected_sha256
                ),
            ));
        }
        *self.known.borrow_mut() = Some(answer);
        Ok(())
    }
}

fn samples(
    request: &BlockRequest,
    experiment: Experiment,
    metric: &str,
    unit: Unit,
    index: u32,
    values: Vec<u64>,
) -> Samples {
    Samples {
        cell: request.cell,
        block: request.block,
        experiment,
        metric: metric.into(),
        n: None,
        unit,
        index,
        flags: Vec::<SampleFlag>::new(),
        probe_ns: None,
        every: None,
        values,
    }
}

/// A started instance that has answered correctly once.
fn start_answered(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    phases: &mut Phases,
) -> Result<Box<dyn Instance>, Fault> {
    let limits = &request.target.limits;
    let (to_start, to_call) =
        (limits.start_deadline(request.target.emulated), limits.call_deadline(request.target.emulated));
    let begun = phases.begin();
    let mut instance = deployment.start(phases, Deadline::since(begun, to_start))?;
    let ready = phases.end("load");
    let answer = instance.call(&case.input, Deadline::since(ready, to_call));
    phases.end("first_call");
    case.verify(answer?)?;
    Ok(instance)
}
