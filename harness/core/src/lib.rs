//! The words of isobench as types, and its file formats. No clock, no engine, nothing of ours below it.
//!
//! | module | what it defines |
//! |---|---|
//! | [`words`] | model, guest, experiment, cell, flag: the vocabulary every other crate speaks |
//! | [`fault`] | what can go wrong with a cell, by name |
//! | [`harness_limit`] | which errors are limits of the harness and not the row's |
//! | [`limits`] | the stated defaults of every limit |
//! | [`workload`] | `workload.toml`, parsed and checked against its folder |
//! | [`availability`] | what a backend says of itself and of this machine |
//! | [`record`] | the lines of `samples.jsonl` |
//! | [`run`] | `run.json`: plan, machine, versions, verdicts |
//! | [`schema`] | JSON Schemas of both files |
//! | [`store`] | reading and writing a run's folder |
//! | [`whole`] | which blocks of a run are whole |

pub mod availability;
pub mod fault;
pub mod harness_limit;
pub mod limits;
pub mod load;
pub mod record;
pub mod run;
pub mod schema;
pub mod store;
pub mod text;
pub mod whole;
pub mod words;
pub mod workload;

pub use availability::{Availability, Description, EngineInfo, VariantInfo};
pub use fault::{Fault, FaultKind};
pub use limits::Limits;
pub use record::{Record, SampleFlag, Unit};
pub use run::{CellEntry, Machine, RunFile};
pub use words::{Cell, CellId, Experiment, Flag, Guest, Model, Preparation, Side};
pub use workload::{Case, Workload};

/// A seed out of a text: the first eight bytes of its SHA-256, so that no two texts share one.
pub fn seed_of(text: &[u8]) -> u64 {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(text);
    u64::from_be_bytes(hash[..8].try_into().expect("a hash has 32 bytes"))
}

/// Lower-case hexadecimal SHA-256 of `bytes`: the content address used for artifacts, answers and cache entries.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex(&sha2::Sha256::digest(bytes))
}

/// The same of all that can be read from `source`, which is not held in memory.
///
/// # Errors
/// Returns the error of a read.
pub fn sha256_of(source: impl std::io::Read) -> std::io::Result<String> {
    use sha2::Digest;
    let mut source = std::io::BufReader::with_capacity(1 << 18, source);
    let mut hash = sha2::Sha256::new();
    loop {
        let piece = std::io::BufRead::fill_buf(&mut source)?;
        if piece.is_empty() {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(piece);
        let length = piece.len();
        std::io::BufRead::consume(&mut source, length);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
