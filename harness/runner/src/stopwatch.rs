//! The one stop-watch: the host's monotonic clock, contiguous phases, deadlines.

use isobench_core::{Fault, FaultKind};
use std::time::{Duration, Instant};

/// The phases of one start: contiguous stretches that add up to the whole.
#[derive(Debug)]
pub struct Phases {
    last: Instant,
    marks: Vec<(&'static str, u64)>,
}

impl Phases {
    /// A stopped watch, with room for every phase so that marking one never allocates.
    pub fn new() -> Phases {
        Phases { last: Instant::now(), marks: Vec::with_capacity(8) }
    }

    /// Forgets all phases and starts the clock; answers with its reading.
    pub fn begin(&mut self) -> Instant {
        self.marks.clear();
        self.last = Instant::now();
        self.last
    }

    /// Ends the phase now. What follows belongs to the next one.
    pub fn end(&mut self, phase: &'static str) -> Instant {
        let now = Instant::now();
        self.end_at(phase, now);
        now
    }

    /// Ends the phase at `at`, a reading taken earlier (not before the last end).
    pub fn end_at(&mut self, phase: &'static str, at: Instant) {
        self.marks.push((phase, nanos(at.saturating_duration_since(self.last))));
        self.last = at;
    }

    /// When the last phase ended.
    pub fn ended(&self) -> Instant {
        self.last
    }

    /// Phases and their nanoseconds, in order.
    pub fn marks(&self) -> &[(&'static str, u64)] {
        &self.marks
    }

    /// The sum of all phases in nanoseconds.
    pub fn total(&self) -> u64 {
        self.marks.iter().map(|(_, ns)| ns).sum()
    }
}

impl Default for Phases {
    fn default() -> Phases {
        Phases::new()
    }
}

/// A duration as integer nanoseconds.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The end of a wait. Every wait has one.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    allowed: Duration,
}

impl Deadline {
    /// `allowed` from now.
    pub fn after(allowed: Duration) -> Deadline {
        Deadline::since(Instant::now(), allowed)
    }

    /// `allowed` from `begun`, a reading just taken: where the clock runs, a second one would be timed.
    pub fn since(begun: Instant, allowed: Duration) -> Deadline {
        Deadline { at: begun + allowed, allowed }
    }

    /// The instant it ends.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// What was allowed when it was set.
    pub fn allowed(&self) -> Duration {
        self.allowed
    }

    /// What is left; zero once it has passed.
    pub fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.remaining().is_zero()
    }

    /// The fault of having waited for `what` in vain.
    pub fn fault(&self, what: impl std::fmt::Display) -> Fault {
        Fault::new(
            FaultKind::DeadlineExceeded,
            format!("{what}: nothing after {} ms; a workload's [limits] can allow more", self.allowed.as_millis()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_contiguous_and_add_up() {
        let mut phases = Phases::new();
        let t0 = phases.begin();
        phases.end_at("create", t0 + Duration::from_nanos(5));
        phases.end_at("load", t0 + Duration::from_nanos(12));
        assert_eq!(phases.marks(), [("create", 5), ("load", 7)]);
        assert_eq!(phases.total(), 12);
    }
}
