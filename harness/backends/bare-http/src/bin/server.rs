//! A bare HTTP server in front of a native guest: the adapter of deployed units. It is started like workerd, with the
//! socket it is to listen at, and holds the guest's agent.

use std::process::ExitCode;

fn main() -> ExitCode {
    isobench_functions::adapter::on_socket()
}
