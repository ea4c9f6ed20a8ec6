//! What is left when something is killed, hangs or has no room: nothing, at the latest after the next block or a clean.
//! One test, so that what is counted is its own.

use isobench_core::{FaultKind, Guest};
use isobench_oci::runtime::RUNC;
use isobench_runner::cgroup;
use isobench_runner::place::installed;
use isobench_runner::protocol::{BlockRequest, CleanRequest};
use isobench_runner::testing::{Outcome, TestBed, assert_nothing_left, one_start, skip, suite};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Nothing here takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What this backend's cgroups are called, before their owner's tag.
const CGROUP: &str = "isobench-oci-";

#[test]
fn whatever_is_killed_hangs_or_has_no_room_leaves_nothing() {
    let mut bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-oci"));
    if !bed.available() {
        return;
    }
    a_killed_runner(&bed);
    leftovers_of_a_runner_that_is_gone(&bed);
    no_space(&bed);
    let path = std::env::var("PATH").unwrap_or_default();
    let real = installed(RUNC).expect("the bed is available");
    let mut with_runc = |script: &str, test: &dyn Fn(&TestBed)| {
        let fake = bed.write(RUNC, format!("#!/bin/sh\n{}", script.replace("REAL", &real.to_string_lossy())));
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).expect("an executable script");
        let folder = fake.parent().expect("the bed's folder").display();
        bed.runner.env.insert("PATH".into(), format!("{folder}:{path}"));
        test(&bed);
        nothing_left();
    };
    // The runtime is killed in each stretch of its work; a later one may be too late, and then all is well.
    for delay in ["0", "0.01", "0.02", "0.04", "0.08", "0.16"] {
        let kill = format!("REAL \"$@\" & sleep {delay}; kill -9 $!; wait $!; exit");
        let script = format!("case \" $* \" in *' run '*) {kill};; esac; exec REAL \"$@\"");
        with_runc(&script, &|bed| {
            let outcome = bed.run(&echo(bed));
            assert!(outcome.fault().is_none_or(|f| f.kind == FaultKind::BackendFailed), "{delay}: {outcome:?}");
        });
    }
    with_runc("case \" $* \" in *' run '*) exec sleep 600;; esac; exec REAL \"$@\"", &|bed| {
        let mut request = echo(bed);
        request.target.limits.start_deadline_ms = 300;
        bed.run(&request).expect_fault(FaultKind::DeadlineExceeded);
    });
    with_runc("case \" $* \" in *' delete '*) exit 1;; esac; exec REAL \"$@\"", &|bed| {
        let outcome = bed.run(&echo(bed));
        assert!(outcome.expect_fault(FaultKind::BackendFailed).message.contains("runc delete"));
    });
    with_runc("exec REAL \"$@\"", &|bed| drop(bed.run(&echo(bed)).expect_ok()));
}

fn echo(bed: &TestBed) -> BlockRequest {
    let echo = bed.artifact("workloads/echo", Guest::Native);
    bed.request(RUNC, Guest::Native, &echo, b"hello", b"hello", one_start())
}

/// No cgroup of ours whose owner is gone, with what may be in it; no mount of a container out here.
fn nothing_left() {
    let left = cgroup::gone_owners(CGROUP);
    assert!(left.is_empty(), "cgroups of {left:?}");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let left = mounts.lines().find(|line| line.contains("/agent") || line.contains("/b0/"));
    assert_eq!(left, None, "mounts");
}

fn clean(bed: &TestBed) -> Vec<String> {
    bed.runner.clean(&CleanRequest { ctx: bed.context(), dead: Vec::new() }).expect("a clean")
}

fn a_killed_runner(bed: &TestBed) {
    // The runner, and the agent.
    suite::a_killed_runner(bed, RUNC, 2);
    // The agent went by its cookie; its cgroup is found by the tag of its owner.
    clean(bed);
    nothing_left();
    assert_eq!(clean(bed), Vec::<String>::new(), "there is nothing left to clean");
}

/// A container of a run that was killed: a process in a cgroup with a dead owner's tag and the name that a first
/// container has. The next block takes it down, and is not disturbed by it.
fn leftovers_of_a_runner_that_is_gone(bed: &TestBed) {
    let sleeper = || Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep");
    let mut left = sleeper();
    let name = format!("{CGROUP}4194303-1/0");
    // A folder with the memory figure exists where the machine has such a controller.
    let folder = |mount: &str| Path::new(mount).join(&name);
    let mounts = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
    let mount = mounts.into_iter().find(|mount| fs::create_dir_all(folder(mount)).is_ok()).expect("cgroups");
    fs::write(folder(mount).join("cgroup.procs"), left.id().to_string()).expect("moved there");
    assert_eq!(cgroup::members(&name).len(), 1);
    bed.run(&echo(bed)).expect_ok();
    assert!(!left.wait().expect("it was killed").success());
    nothing_left();
}

/// A state folder that is full when the bundle, or the runtime's records, are to be written.
fn no_space(bed: &TestBed) {
    for pages in 0..3 {
        let request = echo(bed);
        let Some(full) = Full::mount(&request.ctx.state, pages) else { return };
        let outcome = Outcome(bed.runner.block(&request, PATIENCE));
        let message = &outcome.expect_fault(FaultKind::BackendFailed).message;
        assert!(message.to_lowercase().contains("no space left"), "{pages} pages: {message}");
        drop(full);
        assert_nothing_left(&request.ctx);
        nothing_left();
    }
}

/// A file system in memory with room for some pages.
struct Full(PathBuf);

impl Full {
    fn mount(at: &Path, pages: u32) -> Option<Full> {
        fs::create_dir_all(at).expect("a folder");
        // No pages at all would mean no limit.
        let size = format!("size={},nr_inodes=64", 4096 * (pages + 1));
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        if !mounted.is_ok_and(|out| out.status.success()) {
            skip("mounting a tmpfs needs root");
            return None;
        }
        let full = Full(at.into());
        // One page is somebody else's.
        fs::write(at.join("ballast"), [0; 4096]).expect("room for it");
        Some(full)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = fs::remove_dir_all(&self.0);
    }
}
