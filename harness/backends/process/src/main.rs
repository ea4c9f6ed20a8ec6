//! The runner of the process backend.

use std::process::ExitCode;

fn main() -> ExitCode {
    isobench_runner::serve::main(&isobench_process::Process)
}
