//! Summary to HTML, terminal table and the formats of other tools. Nothing here measures, and nothing here sees a backend: a report is made from
//! `run.json` and `samples.jsonl` alone and can be deleted and made again.
//!
//! | module | what it does |
//! |---|---|
//! | [`units`] | units and rounding, the only place where a number loses digits |
//! | [`rows`] | which workload is shown first, and its rows |
//! | [`answer`] | the answer in sentences |
//! | `degrees` | of these the ones about cold starts, each within a degree of preparation |
//! | [`load`] | the same for load beyond the closed loop |
//! | [`matrix`] | boundaries × engines: what each boundary alone adds |
//! | [`ladders`] | the rungs of one technology side by side |
//! | [`starts`] | the same for starts by a rising number of starters |
//! | [`compare`] | two runs side by side: what differs around them, what changed; text, Markdown, the gate |
//! | [`html`] | one self-contained page a run, and the index of all runs |
//! | [`export`] | CSV, Markdown, JSON and what other tools read |
//! | [`terminal`] | the table printed after a run, the line printed after a cell |
//! | [`files`] | reads a run's folder, writes its report |

pub mod answer;
pub mod compare;
mod degrees;
pub mod export;
pub mod files;
pub mod html;
pub mod ladders;
pub mod load;
pub mod matrix;
pub mod rows;
pub mod starts;
pub mod terminal;
pub mod units;

pub use files::{Report, ReportError, append_text, read, read_partial, write, write_hdr_logs, write_text};
