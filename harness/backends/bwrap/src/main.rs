//! The runner of the bwrap backend.

use std::process::ExitCode;

fn main() -> ExitCode {
    isobench_runner::serve::main(&isobench_bwrap::Bwrap)
}
