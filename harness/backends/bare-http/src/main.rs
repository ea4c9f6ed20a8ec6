//! The runner of the bare-http backend.

use std::process::ExitCode;

fn main() -> ExitCode {
    isobench_runner::serve::main(&isobench_bare_http::BareHttp)
}
