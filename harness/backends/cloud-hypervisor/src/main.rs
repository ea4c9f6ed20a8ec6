//! The runner of Cloud Hypervisor microVMs.

use std::process::ExitCode;

fn main() -> ExitCode {
    isobench_runner::serve::main(&isobench_cloud_hypervisor::CloudHypervisor)
}
