//! The words of isobench as types, and its file formats. No clock, no engine, nothing of ours below it.
//!
//! | module | what it defines |
//! |---|---|
//! | [`words`] | model, guest, experiment, cell, flag: the vocabulary every other crate speaks |
//! | [`fault`] | what can go wrong with a cell, by name |
//! | [`limits`] | the stated defaults of every limit |
//! | [`workload`] | `workload.toml`, parsed and checked against its folder |
//! | [`availability`] | what a backend says of itself and of this machine |
//! | [`record`] | the lines of `samples.jsonl` |
//! | [`run`] | `run.json`: plan, machine, versions, verdicts |
//! | [`schema`] | JSON Schemas of both files |
//! | [`store`] | reading and writing a run's folder |

pub mod availability;
pub mod fault;
pub mod limits;
pub mod load;
pub mod record;
pub mod run;
pub mod schema;
pub mod store;
pub mod words;
pub mod workload;

pub use availability::{Availability, Description, VariantInfo};
pub use fault::{Fault, FaultKind};
pub use limits::Limits;
pub use record::{Record, SampleFlag, Unit};
pub use run::{CellEntry, Machine, RunFile};
pub use words::{Cell, CellId, Experiment, Flag, Guest, Model, Side};
pub use workload::{Case, Workload};

/// Lower-case hexadecimal SHA-256 of `bytes`: the content address used for artifacts, answers and cache entries.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
