//! `isobench-function`: stands in a deployed unit in front of the guest's agent. See [`isobench_functions::adapter`].

use std::process::ExitCode;

fn main() -> ExitCode {
    isobench_functions::adapter::main()
}
