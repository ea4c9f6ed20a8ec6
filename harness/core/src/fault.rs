//! What can go wrong with a cell, by name. A fault ends a visit and becomes an error row; it never ends the run.

use crate::harness_limit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of what went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The guest trapped (Wasm trap, native panic).
    GuestTrap,
    /// The guest threw an exception (JS).
    GuestThrow,
    /// The guest's memory limit was reached, or the runner died of it.
    OutOfMemory,
    /// A wait ended at its deadline: start, call, stop or the whole block.
    DeadlineExceeded,
    /// The answer differs from the expected one.
    WrongAnswer,
    /// The answer breaks the contract: pointer outside memory, not a `Uint8Array`.
    BadAnswer,
    /// The answer is longer than the frame limit.
    FrameTooLarge,
    /// The peer sent bytes that are no frame.
    BadFrame,
    /// The peer closed the channel or died in the middle of a call.
    ChannelClosed,
    /// The instance started and never said hello.
    NoHello,
    /// The guest's file is not what it should be: invalid Wasm, JS that does not compile, a missing export.
    InvalidGuest,
    /// The boundary could not be made or died: dockerd, QEMU, spawn.
    BackendFailed,
    /// The runner process died.
    RunnerDied,
    /// A disk or a quota is full: something could not be written, be it a sample, a socket or a prepared guest.
    DiskFull,
    /// The harness reached a limit of its own (open files, processes, memory, the length of a socket's path). It says
    /// nothing about the row.
    HarnessLimit,
    /// The harness did something it should not have: please report it.
    Internal,
}

impl FaultKind {
    /// The kind of that name, as the frame protocol spells it; unknown names are `Internal`.
    pub fn from_name(name: &str) -> FaultKind {
        serde_json::from_value(serde_json::Value::String(name.into())).unwrap_or(FaultKind::Internal)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A named failure with what a person needs to act on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{kind}: {message}")]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The name.
    pub kind: FaultKind,
    /// What happened to what, and what to do next.
    pub message: String,
}

impl Fault {
    /// A fault of `kind`. If the message tells of a limit of the harness, that is the kind instead, and its remedy ends
    /// the message: wherever a limit surfaces, it is not blamed on the row.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Fault {
        let message = message.into();
        match harness_limit::reached(kind, &message) {
            Some(limit) => Fault { kind: limit.kind, message: format!("{message}: {}", limit.remedy) },
            None => Fault { kind, message },
        }
    }

    /// The boundary could not be made or died.
    pub fn backend(message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::BackendFailed, message)
    }

    /// Whether the fault tells of the thing that was tried, and would come again: not of a moment in which the machine
    /// was busy or full.
    pub fn is_conclusive(&self) -> bool {
        use FaultKind::{DeadlineExceeded, DiskFull, HarnessLimit, NoHello, OutOfMemory};
        ![DeadlineExceeded, NoHello, HarnessLimit, DiskFull, OutOfMemory].contains(&self.kind)
    }

    /// Puts `context` before the message.
    #[must_use]
    pub fn context(self, context: impl fmt::Display) -> Fault {
        Fault { kind: self.kind, message: format!("{context}: {}", self.message) }
    }
}
