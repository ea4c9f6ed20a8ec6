//! cargo bench, one bench per backend.
