//! V8 isolates: one isolate with one context per instance.
//!
//! | module | what it does |
//! |---|---|
//! | [`engine`] | V8 itself, initialised once per process: platform and flags |
//! | [`boundary`] | one isolate and its context: made, loaded, called, thrown away |
//! | `js`, `wasm` | how a guest of either kind is loaded and called |
//! | `memory` | the memory limit: heap and array buffers |
//! | `watchdog` | deadlines |
//! | `text` | `TextEncoder` and `TextDecoder` for JS guests |
//! | [`backend`] | all of it behind the harness's traits |
//!
//! The runner and the agent for JS guests behind other boundaries are both made of [`boundary::Boundary`], so that what
//! is measured bare and what is measured behind a boundary is the same engine in the same configuration.

pub mod backend;
pub mod boundary;
pub mod engine;
mod js;
mod memory;
mod stop;
mod text;
mod wasm;
mod watchdog;

pub use backend::V8;
pub use boundary::{Boundary, Code};
