//! What is left when something is killed, hangs or has no room: nothing, at the latest after the next block or a clean.
//! One test, so that what is counted is its own.

use isobench_core::FaultKind;
use isobench_oci::runtime::RUNC;
use isobench_runner::testing::TestBed;
use isobench_runner::testing::debris::Debris;

#[test]
fn whatever_is_killed_hangs_or_has_no_room_leaves_nothing() {
    let bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-oci"));
    if !bed.available() {
        return;
    }
    let mut debris = Debris {
        bed,
        variant: RUNC,
        cgroup: "isobench-oci-",
        runtime: RUNC,
        start: "*' run '*",
        faults: (&[FaultKind::BackendFailed], FaultKind::DeadlineExceeded),
    };
    // The runner, and the agent.
    debris.a_killed_runner(2);
    debris.leftovers_of_a_runner_that_is_gone();
    // When the bundle, or the runtime's records, are to be written.
    debris.no_space(0..3);
    debris.a_killed_runtime();
    debris.with_runtime("case \" $* \" in *' delete '*) exit 1;; esac; exec REAL \"$@\"", |debris| {
        let outcome = debris.bed.run(&debris.echo());
        assert!(outcome.expect_fault(FaultKind::BackendFailed).message.contains("runc delete"));
    });
}
