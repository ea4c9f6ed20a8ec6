//! V8 isolates: contexts in isolates of their own, and the ladder of ways to have one sooner.
//!
//! | module | what it does |
//! |---|---|
//! | [`engine`] | V8 itself, initialised once per process: platform and flags |
//! | [`boundary`] | one context and its isolate: made, loaded, called, thrown away |
//! | `host` | an isolate with its guards |
//! | [`code`] | a guest's code: as it is, compiled, evaluated |
//! | `snapshot` | a guest that has been evaluated, written down |
//! | `kept` | what a thread keeps between instances: a pool, a living isolate |
//! | `variant` | the ladder |
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
pub mod code;
pub mod engine;
mod host;
mod js;
mod kept;
mod memory;
mod snapshot;
mod stop;
mod text;
mod variant;
mod wasm;
mod watchdog;

pub use backend::V8;
pub use boundary::Boundary;
pub use code::Code;
