//! Pure statistics: samples to summary. No clock, no file, no engine; the same samples give the same summary.
//!
//! Records stream into an [`Accumulator`]; [`Accumulator::finish`] gives the [`Summary`]. What each number means:
//!
//! | module | what it defines |
//! |---|---|
//! | [`quantile`] | quantiles, and from how many samples each is given at all |
//! | [`spread`] | how far to trust a number: an interval from the values of blocks, or their range |
//! | [`ratio`] | how many times as large one set of block values is as another |
//! | [`slope`] | cost per instance by Theil–Sen |
//! | [`undisturbed`] | which samples no neighbour disturbed, by the contention probe |
//! | [`settle`] | when warm calls have settled, by [`changepoint`] |
//! | [`noise`] | what disturbed a block, when a cell is noisy |
//! | [`metric`] | the headline numbers, each with the values of its blocks |
//! | [`permutation`] | the test for a difference, and its correction for many rows |
//! | [`detect`] | how small a difference would have shown |
//! | [`compare`] | two measurements of the same cells: difference, test, noise floor |
//! | [`of_runs`] | several runs a side, the run as the unit |
//! | [`load`] | latency against rate and its knee, bursts, density |
//! | [`starters`] | starts per second and how long one takes, by the number of starters |
//! | [`summary`] | the result as types |

mod accumulate;
mod cell;
pub mod changepoint;
pub mod compare;
pub mod detect;
mod flags;
mod judge;
pub mod load;
pub mod metric;
pub mod noise;
pub mod of_runs;
pub mod permutation;
pub mod quantile;
pub mod ratio;
pub mod settle;
pub mod slope;
pub mod spread;
pub mod starters;
mod student;
pub mod summary;
pub mod undisturbed;

pub use accumulate::{Accumulator, block_values};
pub use metric::{Headline, Metric};
pub use spread::{Estimate, Spread};
pub use summary::{CellSummary, Measure, Starts, Summary, Throughput, Verdict, WarmCall, Yardstick};
