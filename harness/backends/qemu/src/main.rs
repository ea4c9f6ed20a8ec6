//! The runner of QEMU microVMs.

use std::process::ExitCode;

fn main() -> ExitCode {
    isobench_runner::serve::main(&isobench_qemu::QemuBackend)
}
