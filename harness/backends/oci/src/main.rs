//! The runner program of the `oci` backend, and the agent of its probe container.

use isobench_oci::{Oci, probe_agent};
use std::process::ExitCode;

fn main() -> ExitCode {
    // The probe container holds this very program: a static one that is sure to be here. Commands of the runner
    // protocol are words; an agent's arguments begin with `--connect`.
    if std::env::args().nth(1).is_some_and(|first| first.starts_with("--")) {
        return probe_agent();
    }
    isobench_runner::serve::main(&Oci)
}
