//! The same numbers for other tools. Nothing is measured or summed up here; every format is a view of one summary, but
//! for the HdrHistogram logs, which hold what was recorded.
//!
//! | module | for |
//! |---|---|
//! | [`csv()`] | spreadsheets and data frames: a row for every number |
//! | [`markdown()`] | people who read text; [`github`] the same for a job's summary in GitHub Actions |
//! | [`json()`] | programs: the whole summary |
//! | [`bencher()`] | bencher.dev: Bencher Metric Format |
//! | [`hdr_log`] | HdrHistogram's tools: a log for every load |

mod bencher;
mod csv;
mod github;
pub mod hdr_log;
mod json;
mod markdown;
mod numbers;

pub use bencher::{Bencher, bencher};
pub use csv::csv;
pub use github::github;
pub use json::json;
pub use markdown::markdown;
