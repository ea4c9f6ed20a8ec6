//! The runner of the http backend.

use std::process::ExitCode;

fn main() -> ExitCode {
    isobench_runner::serve::main(&isobench_http::Http::from_env())
}
