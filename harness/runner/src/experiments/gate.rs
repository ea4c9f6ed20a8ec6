//! Holds threads back, so that what they do begins at one moment.

use std::sync::{Condvar, Mutex, PoisonError};

/// How far the threads may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Wait for the others.
    Gather,
    /// Begin.
    Go,
    /// All have done their part or failed: stop what is still held.
    Stop,
    /// Some thread could not be made: nobody begins.
    Abandon,
}

/// Shut until its stage opens; stages only ever open later ones.
pub(super) struct Gate {
    stage: Mutex<Stage>,
    changed: Condvar,
}

impl Gate {
    pub fn new() -> Gate {
        Gate { stage: Mutex::new(Stage::Gather), changed: Condvar::new() }
    }

    pub fn open(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
        self.changed.notify_all();
    }

    /// The stage that is open once `stage` or a later one is.
    pub fn wait_for(&self, stage: Stage) -> Stage {
        let now = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        *self.changed.wait_while(now, |now| *now < stage).unwrap_or_else(PoisonError::into_inner)
    }
}
