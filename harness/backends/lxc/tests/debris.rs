//! What is left when something is killed, hangs or has no room: nothing, at the latest after the next block or a clean.
//! One test, so that what is counted is its own.

use isobench_core::FaultKind;
use isobench_lxc::Variant;
use isobench_runner::testing::TestBed;
use isobench_runner::testing::debris::Debris;

#[test]
fn whatever_is_killed_hangs_or_has_no_room_leaves_nothing() {
    for variant in Variant::ALL {
        let bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-lxc"));
        if !bed.available() {
            return;
        }
        let mut debris = Debris {
            bed,
            variant: variant.name(),
            cgroup: "isobench-lxc-",
            runtime: "lxc-start",
            start: "*' -F '*",
            faults: (&[FaultKind::ChannelClosed, FaultKind::NoHello], FaultKind::NoHello),
        };
        // The runner, LXC's monitor, and the agent.
        debris.a_killed_runner(3);
        debris.leftovers_of_a_runner_that_is_gone();
        // When the configuration is to be written.
        debris.no_space(0..1);
        debris.a_killed_runtime();
    }
}
