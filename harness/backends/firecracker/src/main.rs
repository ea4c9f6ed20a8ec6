//! The runner of Firecracker microVMs.

use std::process::ExitCode;

fn main() -> ExitCode {
    isobench_runner::serve::main(&isobench_firecracker::Firecracker)
}
