//! Wasmtime instances.
