//! The backend traits, the experiments, the stop-watch and the runner protocol.
//!
//! A backend is a crate with a runner program, `isobench-runner-<backend>`, whose `main` is [`serve::main`]. The
//! coordinator ([`client`]) finds those programs beside its own executable, asks each what it can do, and spawns one
//! for every block. Nothing here knows a backend by name.
//!
//! ```text
//!  coordinator (cli, Criterion)          runner process (one a block)            boundary
//!  client ── BlockRequest, stdin ──▶ serve ─▶ experiments ─▶ Backend traits ─▶ agent or engine
//!         ◀─ records, stdout ─────
//! ```

pub mod agents;
pub mod allowance;
pub mod awake;
pub mod backend;
pub mod cgroup;
pub mod channel;
pub mod chosen;
mod circumstances;
pub mod client;
pub mod containers;
pub mod contract;
#[cfg(feature = "criterion")]
pub mod criterion_glue;
pub mod daemon;
pub mod experiments;
mod fleet;
pub mod guests;
pub mod helper;
#[cfg(feature = "http")]
pub mod http;
pub mod machine;
pub mod memory;
pub mod overhead;
pub mod owned;
pub mod owner;
pub mod part;
pub mod place;
pub mod plan;
pub mod probe;
pub mod probing;
pub mod processors;
pub mod protocol;
pub mod reap;
mod same_core;
pub mod sealed;
pub mod select;
pub mod serve;
pub mod session;
pub mod settings;
pub mod spawned;
pub mod stopwatch;
pub mod testing;
pub mod usable;

pub use backend::{Attribution, Backend, Cleaned, Deployment, Instance, Prepared, RunContext, Target};
pub use stopwatch::{Deadline, Phases};
