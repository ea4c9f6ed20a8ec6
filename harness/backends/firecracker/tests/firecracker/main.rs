//! Against a Firecracker that is none, strict about its API (`tests/fake`), and against the real one.

mod api;
mod faults;
#[path = "../monitor.rs"]
mod monitor;

use isobench_core::Experiment;
use isobench_firecracker::jail::JAILER_VARIABLE;
use isobench_firecracker::machine::PROGRAM_VARIABLE;
use isobench_firecracker::variant::Variant;
use isobench_qemu::kernel::KERNEL_VARIABLE;
use isobench_qemu::minimal;
use isobench_runner::overhead::{self, OverheadRequest, PLAIN, Task};
use isobench_runner::place::Places;
use monitor::{Tested, echo, one};
use std::path::Path;

const FAKE: &str = env!("CARGO_BIN_EXE_isobench-fake-firecracker");
const FAKE_JAILER: &str = env!("CARGO_BIN_EXE_isobench-fake-jailer");

const FIRECRACKER: Tested = Tested {
    name: "Firecracker",
    runner: env!("CARGO_BIN_EXE_isobench-runner-firecracker"),
    fake: FAKE,
    variable: PROGRAM_VARIABLE,
    variants: Variant::ALL.len(),
    processes: ["firecracker", "isobench-fake-f"],
    save: "PUT /snapshot/create",
    saved: ["state", "memory"],
    damaged: "Firecracker refused PUT /snapshot/load: Load snapshot error",
    releases: "github.com/firecracker-microvm/firecracker/releases",
    start: "PUT /actions",
    with_fake: |bed| {
        // The real jailer puts a fake into a jail as well.
        if std::env::var_os(JAILER_VARIABLE).is_none() {
            bed.runner.env.insert(JAILER_VARIABLE.into(), FAKE_JAILER.into());
        }
    },
    with_real: |bed| {
        // The kernel that the set-up built is not in the cache of tests.
        if std::env::var_os(KERNEL_VARIABLE).is_none()
            && let Some(built) = minimal::folder(&Places::find().expect("a cache").cache.join("kernel"))
        {
            bed.runner.env.insert(KERNEL_VARIABLE.into(), built.join("vmlinux").display().to_string());
        }
    },
};

#[test]
fn a_native_guest_answers_every_experiment() {
    FIRECRACKER.every_experiment(|bed, variant, footprint| {
        // Where the fake is jailed its guest has no /proc.
        let blind = variant == "jailer" && bed.runner.env.contains_key(PROGRAM_VARIABLE);
        assert!(blind || footprint.values(Experiment::Footprint, "guest_used").len() == 2, "{variant}");
        // A jail has a cgroup.
        assert_eq!(footprint.values(Experiment::Footprint, "cgroup").is_empty(), variant != "jailer", "{variant}");
    });
}

#[test]
fn wasm_and_js_guests_answer() {
    FIRECRACKER.wasm_and_js_guests();
}

#[test]
fn a_start_by_hand_answers() {
    let program = Path::new(env!("CARGO_BIN_EXE_isobench-by-hand-firecracker"));
    for bed in FIRECRACKER.fake_bed().into_iter().chain(FIRECRACKER.real_bed()) {
        let request =
            OverheadRequest { block: one(&bed, "boot", &echo(&bed)), hand: PLAIN.into(), task: Task::Pairs(1) };
        let answer = overhead::ask(program, &request).expect("an answer");
        assert_eq!((answer.harness_ns.len(), answer.by_hand_ns.len()), (1, 1));
        assert!(!request.block.ctx.state.exists());
    }
}

#[test]
fn a_killed_runner_leaves_no_process_no_socket_and_no_folder() {
    FIRECRACKER.killed_runner(|bed| {
        // The fake always has one.
        let fake = bed.runner.env.contains_key(PROGRAM_VARIABLE);
        if fake || bed.variants().iter().any(|variant| variant == "jailer") {
            faults::a_killed_runner_of_a_jail(bed);
        }
    });
}
