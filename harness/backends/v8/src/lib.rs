//! V8 isolates.
