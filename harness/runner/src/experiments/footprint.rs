//! `footprint`: memory against the number of live instances, each having answered once.

use super::{Case, samples, start_answered};
use crate::backend::{Attribution, Deployment, Instance};
use crate::memory::{self, Reading};
use crate::protocol::BlockRequest;
use crate::stopwatch::{Deadline, Phases};
use isobench_core::{Experiment, Fault, Record, Unit};
use std::time::Duration;

/// The numbers of instances, as far as a backend's limit goes; 0 is always read first.
pub const FOOTPRINT_STEPS: [u32; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Pause before a reading: lets what a start leaves in flight (a daemon's event, an exiting helper) end.
const SETTLE: Duration = Duration::from_millis(50);

pub(super) fn visit(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    counts: &[u32],
    emit: &mut dyn FnMut(Record),
) -> Result<(), Fault> {
    let most = counts.iter().copied().max().unwrap_or(0) as usize;
    let mut phases = Phases::new();
    let mut instances: Vec<Box<dyn Instance>> = Vec::with_capacity(most);
    // One instance comes and goes before N = 0, so that what the first one leaves for good in the host process (lazily
    // made engine state, the known answer, our own buffers) is fixed cost and not the first instance's.
    let first = start_answered(request, deployment, case, &mut phases)?;
    first.stop(Deadline::after(request.target.limits.stop_deadline()))?;

    let base = settle_and_read(request, deployment, &mut instances)?;
    // Recorded with the first instances only: if their processes cannot be seen, those of a daemon cannot either, and
    // its 0 bytes would be no measurement.
    let mut unrecorded = Some(base);
    for &n in counts {
        while instances.len() < n as usize {
            instances.push(start_answered(request, deployment, case, &mut phases)?);
        }
        let reading = settle_and_read(request, deployment, &mut instances)?;
        if let Some(base) = unrecorded.take() {
            put(request, 0, base, base, emit);
        }
        put(request, n, reading, base, emit);
    }
    // In reverse order: V8's isolates want to go as a stack.
    while let Some(instance) = instances.pop() {
        instance.stop(Deadline::after(request.target.limits.stop_deadline()))?;
    }
    Ok(())
}

fn settle_and_read(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    instances: &mut [Box<dyn Instance>],
) -> Result<Reading, Fault> {
    std::thread::sleep(SETTLE);
    let mut attribution: Attribution = deployment.footprint();
    for instance in instances.iter() {
        attribution.unite(instance.footprint());
    }
    let mut reading = memory::read(&attribution)?;
    // After the host's reading: the answer itself needs memory.
    for instance in instances {
        let allowed = request.target.limits.call_deadline(request.target.emulated);
        if let Some(own) = instance.own_memory(Deadline::after(allowed))? {
            let used = own.total.saturating_sub(own.available);
            reading.guest_used = Some(reading.guest_used.unwrap_or(0) + used);
        }
    }
    Ok(reading)
}

fn put(request: &BlockRequest, n: u32, reading: Reading, base: Reading, emit: &mut dyn FnMut(Record)) {
    let values = [
        ("pss", Some(reading.pss)),
        ("uss", Some(reading.uss)),
        ("rss", Some(reading.rss)),
        ("cgroup", reading.cgroup),
        ("fall_of_available", Some(base.available.saturating_sub(reading.available))),
        ("guest_used", reading.guest_used),
    ];
    for (yardstick, value) in values {
        let Some(value) = value else { continue };
        let mut line = samples(request, Experiment::Footprint, yardstick, Unit::Bytes, 0, vec![value]);
        line.n = Some(n);
        emit(Record::Samples(line));
    }
}
