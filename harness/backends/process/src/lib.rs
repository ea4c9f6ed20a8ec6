//! Plain processes: the baseline.
