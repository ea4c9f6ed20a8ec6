//! `density`: instances started step by step and kept alive, until a bound. At every step each of them answers.

use super::bound::{self, Budget, Reason};
use super::{Case, samples, start_answered};
use crate::backend::{Attribution, Deployment, Instance};
use crate::memory::Reading;
use crate::protocol::{BlockRequest, Density};
use crate::stopwatch::{Deadline, Phases, nanos};
use isobench_core::load::StartLimit;
use isobench_core::record::{BoundBy, DENSITY};
use isobench_core::{Experiment, Fault, Record, Unit};
use std::time::{Duration, Instant};

/// Starts that a limit in multiples is taken from.
const FIRST_STARTS: usize = 4;

pub(super) fn visit(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    asked: &Density,
    emit: &mut dyn FnMut(Record),
) -> Result<(), Fault> {
    let budget = Budget::measure(request, deployment, case, asked.memory_bytes)?;
    let mut crowd = Crowd { request, deployment, case, asked, budget, instances: Vec::new(), starts: Vec::new() };
    let (n, reason) = crowd.grow(emit)?;
    crowd.disperse()?;
    emit(bound::bound(request, Experiment::Density, n, reason));
    Ok(())
}

/// The live instances, all on this thread: it is one request at a time that is asked of them.
struct Crowd<'a> {
    request: &'a BlockRequest,
    deployment: &'a dyn Deployment,
    case: &'a Case,
    asked: &'a Density,
    budget: Budget,
    instances: Vec<Box<dyn Instance>>,
    /// How long the starts of the latest step took; the first four for good.
    starts: Vec<u64>,
}

impl Crowd<'_> {
    /// Steps 1, 2, 4, … and what ended them, after the most instances that went well.
    fn grow(&mut self, emit: &mut dyn FnMut(Record)) -> Result<(u32, Reason), Fault> {
        let begun = Instant::now();
        let longest = Duration::from_millis(self.asked.longest_ms);
        let (mut went_well, mut took, mut first_starts) = (0, Duration::ZERO, Vec::new());
        while went_well < self.asked.count {
            let n = (went_well * 2).clamp(1, self.asked.count);
            let refused = self.budget.refuses(n).or_else(|| bound::out_of_time(begun.elapsed(), took, longest, n));
            if let Some(reason) = refused.filter(|_| went_well > 0) {
                return Ok((went_well, reason));
            }
            let before = Instant::now();
            match self.step(n) {
                Ok((start, answer, reading)) => {
                    let values = [start, answer, reading.pss, reading.available];
                    put(self.request, n, values, emit);
                    first_starts.extend(self.starts.iter().take(FIRST_STARTS - first_starts.len()));
                    if let Some(reason) = self.too_slow(n, start, &first_starts).or_else(|| self.budget.refuses(n)) {
                        return Ok((went_well, reason));
                    }
                }
                Err(fault) if went_well > 0 => {
                    // Either a start failed, and those before it had answered; or one of all did not answer again.
                    let live = self.instances.len() as u32;
                    return Ok((if live < n { live } else { went_well }, bound::of_fault(fault)?));
                }
                Err(fault) => return Err(fault),
            }
            (went_well, took) = (n, before.elapsed());
        }
        Ok((went_well, (BoundBy::Count, format!("{went_well} instances are the most that were asked for"))))
    }

    /// Starts instances up to `n`, then asks each one: the median start, the slowest answer, the memory.
    fn step(&mut self, n: u32) -> Result<(u64, u64, Reading), Fault> {
        let mut phases = Phases::new();
        self.starts.clear();
        while self.instances.len() < n as usize {
            let instance = start_answered(self.request, self.deployment, self.case, &mut phases)?;
            self.instances.push(instance);
            self.starts.push(phases.total());
        }
        let allowed = self.request.target.limits.call_deadline(self.request.target.emulated);
        let mut slowest = 0;
        for instance in &mut self.instances {
            let deadline = Deadline::after(allowed);
            let before = Instant::now();
            let answer = instance.call(&self.case.input, deadline);
            slowest = nanos(before.elapsed()).max(slowest);
            self.case.verify(answer?)?;
        }
        let mut all = Attribution::default();
        self.instances.iter().for_each(|instance| all.unite(instance.footprint()));
        let reading = self.budget.read(self.deployment, all, n)?;
        Ok((median(&self.starts), slowest, reading))
    }

    fn too_slow(&self, n: u32, start: u64, first_starts: &[u64]) -> Option<Reason> {
        let (limit, said) = match self.asked.start {
            StartLimit::Ns(ns) => (ns, "the limit".to_string()),
            // Nothing to compare with until there are more than the first.
            StartLimit::Times(_) if (n as usize) <= FIRST_STARTS => return None,
            StartLimit::Times(times) => {
                let first = median(first_starts);
                (first.saturating_mul(u64::from(times)), format!("{times} times the first {} ms", ms(first)))
            }
        };
        let why = || format!("at {n} instances the median start took {} ms; {said} is {} ms", ms(start), ms(limit));
        (start > limit).then(|| (BoundBy::StartTime, why()))
    }

    /// Stops all, the last one first: V8's isolates want to go as a stack.
    fn disperse(&mut self) -> Result<(), Fault> {
        while let Some(instance) = self.instances.pop() {
            instance.stop(Deadline::after(self.request.target.limits.stop_deadline()))?;
        }
        Ok(())
    }
}

impl Drop for Crowd<'_> {
    /// After a fault, too, the last one first.
    fn drop(&mut self) {
        while self.instances.pop().is_some() {}
    }
}

fn put(request: &BlockRequest, n: u32, values: [u64; 4], emit: &mut dyn FnMut(Record)) {
    let units = [Unit::Ns, Unit::Ns, Unit::Bytes, Unit::Bytes];
    for ((metric, unit), value) in DENSITY.into_iter().zip(units).zip(values) {
        let mut line = samples(request, Experiment::Density, metric, unit, 0, vec![value]);
        line.n = Some(n);
        emit(Record::Samples(line));
    }
}

/// The lower of the middle two where the number is even: an actual start.
fn median(starts: &[u64]) -> u64 {
    let mut starts = starts.to_vec();
    starts.sort_unstable();
    starts.get(starts.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

fn ms(ns: u64) -> String {
    format!("{:.3}", ns as f64 / 1e6)
}
