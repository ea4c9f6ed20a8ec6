//! The runner of the Wasmtime backend.

use std::process::ExitCode;

fn main() -> ExitCode {
    isobench_runner::serve::main(&isobench_wasmtime::Wasmtime)
}
