//! The runner of the workerd backend.

use std::process::ExitCode;

fn main() -> ExitCode {
    isobench_runner::serve::main(&isobench_workerd::Workerd)
}
