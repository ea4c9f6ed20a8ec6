//! The runner of the scripted backend.

use std::process::ExitCode;

fn main() -> ExitCode {
    isobench_runner::serve::main(&isobench_null::Null)
}
