//! The runner program of the `containerd` backend, and the agent of its probe container.

use isobench_containerd::Containerd;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The probe container holds this very program: a static one that is sure to be here. Commands of the runner
    // protocol are words; an agent's arguments begin with `--connect`.
    if std::env::args().nth(1).is_some_and(|first| first.starts_with("--")) {
        return isobench_oci::probe_agent();
    }
    isobench_runner::serve::main(&Containerd)
}
