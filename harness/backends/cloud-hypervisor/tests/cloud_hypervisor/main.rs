//! Against a Cloud Hypervisor that is none (`tests/fake`), and against the real one.

mod api;
mod faults;
#[path = "../../../firecracker/tests/monitor.rs"]
mod monitor;

use isobench_cloud_hypervisor::machine::PROGRAM_VARIABLE;
use isobench_cloud_hypervisor::variant::Variant;
use isobench_core::Experiment;
use monitor::Tested;

const FAKE: &str = env!("CARGO_BIN_EXE_isobench-fake-cloud-hypervisor");

const CLOUD_HYPERVISOR: Tested = Tested {
    name: "Cloud Hypervisor",
    runner: env!("CARGO_BIN_EXE_isobench-runner-cloud-hypervisor"),
    fake: FAKE,
    variable: PROGRAM_VARIABLE,
    variants: Variant::ALL.len(),
    processes: ["cloud-hyper", "isobench-fake-c"],
    save: "PUT /api/v1/vm.snapshot",
    saved: ["state.json", "memory-ranges"],
    damaged: "Cloud Hypervisor refused PUT /api/v1/vm.restore",
    releases: "github.com/cloud-hypervisor/cloud-hypervisor/releases",
    start: "PUT /api/v1/vm.boot",
    with_fake: |_| {},
    with_real: |_| {},
};

#[test]
fn a_native_guest_answers_every_experiment() {
    CLOUD_HYPERVISOR.every_experiment(|_, variant, footprint| {
        assert_eq!(footprint.values(Experiment::Footprint, "guest_used").len(), 2, "{variant}");
    });
}

#[test]
fn wasm_and_js_guests_answer() {
    CLOUD_HYPERVISOR.wasm_and_js_guests();
}

#[test]
fn a_killed_runner_leaves_no_process_no_socket_and_no_folder() {
    CLOUD_HYPERVISOR.killed_runner(|_| {});
}
