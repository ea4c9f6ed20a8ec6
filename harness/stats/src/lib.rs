//! Pure statistics: samples to summary.
