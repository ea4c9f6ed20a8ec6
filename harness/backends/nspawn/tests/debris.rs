//! What is left when something is killed or hangs: nothing, at the latest after the next block or a clean. One test, so
//! that what is counted is its own. A full disk is no matter: a start writes no file but its socket.

use isobench_core::FaultKind;
use isobench_nspawn::Variant;
use isobench_runner::testing::TestBed;
use isobench_runner::testing::debris::Debris;
use std::fs;
use std::path::Path;

#[test]
fn whatever_is_killed_or_hangs_leaves_nothing() {
    let bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-nspawn"));
    if !bed.available() {
        return;
    }
    let mut debris = Debris {
        bed,
        variant: Variant::Plain.name(),
        cgroup: "isobench-nspawn-",
        runtime: "systemd-nspawn",
        start: "*' --register=no '*",
        faults: (&[FaultKind::ChannelClosed, FaultKind::NoHello], FaultKind::NoHello),
    };
    // The runner, nspawn, and the agent.
    debris.a_killed_runner(3);
    no_folder();
    debris.leftovers_of_a_runner_that_is_gone();
    debris.a_killed_runtime();
    no_folder();
    // What nspawn has for a machine, where runner and nspawn were killed in the same moment.
    let dead = isobench_runner::owner::tag(std::process::id(), 1);
    let left = &Path::new("/run/systemd/nspawn/propagate").join(format!("isobench-{dead}-0"));
    fs::create_dir_all(left).expect("a folder");
    debris.bed.run(&debris.echo()).expect_ok();
    no_folder();
}

/// No machine of ours is left in nspawn's folders.
fn no_folder() {
    for folder in ["propagate", "unix-export"] {
        let Ok(entries) = fs::read_dir(Path::new("/run/systemd/nspawn").join(folder)) else { continue };
        let left = entries.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with("isobench-"));
        assert!(left.is_none(), "{left:?}");
    }
}
