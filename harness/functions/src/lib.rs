//! Guests as deployable units of function platforms.
//!
//! | module | what it does |
//! |---|---|
//! | [`adapter`] | what stands in a unit in front of the guest's agent |
//! | [`export`](mod@export) | makes units |

pub mod adapter;
pub mod export;
