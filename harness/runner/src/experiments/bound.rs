//! What ends a burst or a density visit other than a fault: a bound with its name and value.

use super::{Case, start_answered};
use crate::backend::{Attribution, Deployment};
use crate::cgroup::Own;
use crate::memory::{self, Reading};
use crate::protocol::BlockRequest;
use crate::stopwatch::{Deadline, Phases};
use isobench_core::record::{Bound, BoundBy};
use isobench_core::{Experiment, Fault, FaultKind, Record};
use std::time::Duration;

/// The share of the machine's available memory that instances may take where nothing else is said: half, because what
/// is available is an estimate, and the other half keeps the page cache and everybody else alive.
const MEMORY_SHARE: u64 = 2;

/// A name and the value in words.
pub(super) type Reason = (BoundBy, String);

/// The line that ends the visit.
pub(super) fn bound(request: &BlockRequest, experiment: Experiment, n: u32, (by, why): Reason) -> Record {
    Record::Bound(Bound { cell: request.cell, block: request.block, experiment, n, by, why })
}

/// The bound that a fault stands for where fewer instances went well: the machine or the backend had no room for more.
/// What a guest itself does wrong is a fault however many there are.
pub(super) fn of_fault(fault: Fault) -> Result<Reason, Fault> {
    match fault.kind {
        FaultKind::DeadlineExceeded | FaultKind::NoHello => Ok((BoundBy::Deadline, fault.to_string())),
        FaultKind::HarnessLimit | FaultKind::DiskFull => Ok((BoundBy::Harness, fault.to_string())),
        FaultKind::BackendFailed
        | FaultKind::OutOfMemory
        | FaultKind::ChannelClosed
        | FaultKind::InvalidGuest
        | FaultKind::Internal => Ok((BoundBy::Failure, fault.to_string())),
        _ => Err(fault),
    }
}

/// What instances may take together, against what they take.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    bytes: u64,
    source: String,
    base: Reading,
    /// PSS of one instance, by the latest reading.
    each: u64,
}

impl Budget {
    /// Measures the machine, and one instance that comes and goes: what the first one leaves for good in the host
    /// process is there before anything is counted.
    pub fn measure(
        request: &BlockRequest,
        deployment: &dyn Deployment,
        case: &Case,
        asked: Option<u64>,
    ) -> Result<Budget, Fault> {
        let stop = || Deadline::after(request.target.limits.stop_deadline());
        start_answered(request, deployment, case, &mut Phases::new())?.stop(stop())?;
        let base = memory::read(&deployment.footprint())?;
        let instance = start_answered(request, deployment, case, &mut Phases::new())?;
        let mut attribution = deployment.footprint();
        attribution.unite(instance.footprint());
        let one = memory::read(&attribution)?;
        instance.stop(stop())?;
        let (bytes, source) = match asked {
            Some(bytes) => (bytes, "the budget".to_string()),
            None => of_machine(base.available, Own::find().memory_left()),
        };
        Ok(Budget { bytes, source, base, each: one.pss.saturating_sub(base.pss) })
    }

    /// Reads what `n` live instances take; gives the reading.
    pub fn read(&mut self, deployment: &dyn Deployment, instances: Attribution, n: u32) -> Result<Reading, Fault> {
        let mut attribution = deployment.footprint();
        attribution.unite(instances);
        let reading = memory::read(&attribution)?;
        self.each = reading.pss.saturating_sub(self.base.pss) / u64::from(n.max(1));
        Ok(reading)
    }

    /// The bound, if `n` instances as large as those seen do not fit.
    pub fn refuses(&self, n: u32) -> Option<Reason> {
        let wanted = self.each.saturating_mul(u64::from(n));
        let why = || {
            let (wanted, each, bytes) = (mib(wanted), mib(self.each), mib(self.bytes));
            format!("{n} instances of {each} want {wanted}; {} is {bytes}", self.source)
        };
        (wanted > self.bytes).then(|| (BoundBy::Memory, why()))
    }
}

/// The budget where none was asked for, and what it is: of what the machine has available, and of what is left to the
/// cgroups of isobench, the smaller.
fn of_machine(available: u64, left: Option<u64>) -> (u64, String) {
    match left.filter(|left| *left < available) {
        Some(left) => (left / MEMORY_SHARE, format!("half of the {} left to the cgroup of isobench", mib(left))),
        None => (available / MEMORY_SHARE, format!("half of the {} available", mib(available))),
    }
}

/// The bound of a visit's time: a step is expected to take twice as long as the one of half its size.
pub(super) fn out_of_time(begun: Duration, last: Duration, longest: Duration, n: u32) -> Option<Reason> {
    let why = || {
        let (last, longest) = (last.as_secs_f64(), longest.as_secs());
        format!("half of {n} took {last:.1} s, and a visit may take {longest} s")
    };
    (begun + last * 2 > longest).then(|| (BoundBy::Time, why()))
}

fn mib(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib >= 100.0 { format!("{mib:.0} MiB") } else { format!("{mib:.3} MiB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_machine_and_cgroup_is_the_budget() {
        let (gib, mib) = (1 << 30, 1 << 20);
        assert_eq!(of_machine(4 * gib, None).0, 2 * gib);
        assert_eq!(of_machine(4 * gib, Some(9 * gib)).0, 2 * gib);
        let (bytes, source) = of_machine(4 * gib, Some(300 * mib));
        assert_eq!((bytes, source.as_str()), (150 * mib, "half of the 300 MiB left to the cgroup of isobench"));
    }

    #[test]
    fn a_limit_of_the_harness_is_no_bound_of_the_row() {
        let open_files = Fault::new(FaultKind::InvalidGuest, "agent: Too many open files (os error 24)");
        let (by, why) = of_fault(open_files).unwrap();
        assert_eq!(by, BoundBy::Harness);
        assert!(why.contains("ulimit -Hn"), "{why}");
        assert_eq!(of_fault(Fault::backend("no slot is free")).unwrap().0, BoundBy::Failure);
        assert!(of_fault(Fault::new(FaultKind::GuestTrap, "unreachable")).is_err());
    }
}
