//! Every limit with its stated default. A workload can set its own in `[limits]`.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What an instance may use and how long anyone waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of memory for the guest: JS heap, Wasm linear memory, native data. Default 64 MiB: what small edge
    /// functions are given (Cloudflare Workers: 128 MiB), and enough for every workload here four times over.
    pub memory_bytes: u64,
    /// The longest request or answer, in bytes. Default 16 MiB.
    pub frame_bytes: u64,
    /// Longest wait for one call. Default 2 s.
    pub call_deadline_ms: u64,
    /// The same where the processor is emulated. Default 60 s: TCG runs V8 14 to 18 times slower.
    pub emulated_call_deadline_ms: u64,
    /// Longest wait for `start`. Default 10 s.
    pub start_deadline_ms: u64,
    /// The same where the processor is emulated. Default 60 s.
    pub emulated_start_deadline_ms: u64,
    /// Longest wait for `stop`. Default 10 s.
    pub stop_deadline_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes: 64 << 20,
            frame_bytes: 16 << 20,
            call_deadline_ms: 2_000,
            emulated_call_deadline_ms: 60_000,
            start_deadline_ms: 10_000,
            emulated_start_deadline_ms: 60_000,
            stop_deadline_ms: 10_000,
        }
    }
}

impl Limits {
    /// Longest wait for one call, on a real or an emulated processor.
    pub fn call_deadline(&self, emulated: bool) -> Duration {
        Duration::from_millis(if emulated { self.emulated_call_deadline_ms } else { self.call_deadline_ms })
    }

    /// Longest wait for `start`, on a real or an emulated processor.
    pub fn start_deadline(&self, emulated: bool) -> Duration {
        Duration::from_millis(if emulated { self.emulated_start_deadline_ms } else { self.start_deadline_ms })
    }

    /// Longest wait for `stop`.
    pub fn stop_deadline(&self) -> Duration {
        Duration::from_millis(self.stop_deadline_ms)
    }
}
