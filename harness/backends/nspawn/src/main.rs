//! The runner program of the `nspawn` backend, and the agent of its probe container.

use std::process::ExitCode;

fn main() -> ExitCode {
    isobench_runner::probing::main(&isobench_nspawn::Nspawn)
}
