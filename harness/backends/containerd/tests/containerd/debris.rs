//! What is left when something of us is killed, hangs, is spoilt or has no room: nothing, at the latest after the next
//! clean.

use crate::bed;
use isobench_containerd::Shared;
use isobench_containerd::api::{ANSWER_DEADLINE, Client};
use isobench_containerd::messages::{
    Container, CreateContainer, ListContainers, ListImages, ListLeases, PrepareSnapshot,
};
use isobench_core::{Availability, FaultKind, Guest};
use isobench_runner::client::Owner;
use isobench_runner::place::installed;
use isobench_runner::protocol::{BlockRequest, Series, Visit};
use isobench_runner::reap;
use isobench_runner::testing::daemons::{Tracks, Variable, amid, clean, kill_named};
use isobench_runner::testing::{Outcome, TestBed, one_start, suite};
use isobench_runner::{Deadline, Deployment, Phases, RunContext};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const RUNC: &str = "runc";

fn shared(owner: &Owner) -> Shared {
    Shared::read(&owner.record).expect("the record")
}

pub fn tracks(owner: &Owner) -> Tracks {
    let shared = shared(owner);
    assert!(shared.private, "a daemon was started for the test");
    Tracks::of(&shared.socket, shared.cgroup())
}

fn echo(bed: &TestBed) -> BlockRequest {
    let echo = bed.artifact("workloads/echo", Guest::Native);
    bed.request(RUNC, Guest::Native, &echo, b"hello", b"hello", one_start())
}

/// A block that calls for three seconds, or one whose first call does not end.
fn busy(bed: &TestBed, what: &str) -> BlockRequest {
    let mut block = suite::telling(bed, RUNC, what, what);
    let series = Series { min_calls: 1, min_ms: 3_000, max_calls: 1 << 22, max_ms: 3_000 };
    block.visit = Visit::ColdStart { starts: 1.into(), warm: Some(series) };
    block.target.limits.call_deadline_ms = 3_000;
    block
}

/// The runner and the agent carry the block's cookie: the container runs.
fn runs(block: &BlockRequest) -> bool {
    reap::with_cookie(&block.ctx.state).len() == 2
}

/// Containers, images and leases that a daemon has.
fn inventory(shared: &Shared) -> (usize, usize, usize) {
    let (client, deadline) = (Client::new(&shared.socket, ""), Deadline::after(ANSWER_DEADLINE));
    let containers = client.call(ListContainers {}, deadline).expect("containers").containers.len();
    let images = client.call(ListImages {}, deadline).expect("images").images.len();
    (containers, images, client.call(ListLeases {}, deadline).expect("leases").leases.len())
}

pub fn killed_runner() {
    let mut bed = bed();
    let owner = bed.own();
    let (shared, tracks) = (shared(&owner), tracks(&owner));
    let outcome = amid(&bed, &busy(&bed, "hello"), runs, |block| kill_named(&block.ctx.state, "isobench-runner"));
    outcome.expect_fault(FaultKind::RunnerDied);
    assert_eq!(inventory(&shared).0, 1, "the record of the container outlives the runner, its agent does not");
    bed.run(&echo(&bed)).expect_ok();
    assert_eq!(inventory(&shared).0, 0);
    owner.release();
    tracks.assert_gone();
}

/// A container and a snapshot that have the name of the first container of the test's own process.
pub fn leftovers() {
    let mut bed = bed();
    let owner = bed.own();
    let (shared, tracks) = (shared(&owner), tracks(&owner));
    let request = echo(&bed);
    fs::create_dir_all(&request.ctx.state).expect("a state folder");
    let deployed = isobench_containerd::deploy(&shared, &request.ctx, &request.target).expect("deployed");
    let (client, deadline) = (shared.client(), Deadline::after(ANSWER_DEADLINE));
    let next = isobench_containerd::new_id();
    let (prefix, number) = next.rsplit_once('-').expect("a number");
    let id = format!("{prefix}-{}", number.parse::<u32>().expect("a number") + 1);
    let left: PrepareSnapshot = deployed.recipe().snapshot(&id);
    client.call(left, deadline).expect("a snapshot");
    let left = Container {
        spec: Some(Default::default()),
        ..deployed.recipe().container(&id, Path::new("")).container.expect("it")
    };
    client.call(CreateContainer { container: Some(left) }, deadline).expect("a container");
    let mut instance = deployed.start(&mut Phases::new(), deadline).expect("it starts all the same");
    assert_eq!(instance.call(b"hello", deadline).expect("an answer"), b"hello");
    instance.stop(deadline).expect("stopped");
    assert_eq!(inventory(&shared).0, 0);
    drop(deployed);
    owner.release();
    tracks.assert_gone();
}

pub fn killed_shim() {
    let mut bed = bed();
    let owner = bed.own();
    let tracks = tracks(&owner);
    let outcome = amid(&bed, &busy(&bed, "hello"), runs, |_| kill_named(&tracks.state, "containerd-shim"));
    // What containerd does about it ends the container; in the middle of a start it is the start that fails.
    let kinds = [FaultKind::ChannelClosed, FaultKind::BackendFailed, FaultKind::NoHello];
    assert!(outcome.fault().is_some_and(|fault| kinds.contains(&fault.kind)), "{outcome:?}");
    bed.run(&echo(&bed)).expect_ok();
    assert_eq!(tracks.containers(), 0);
    owner.release();
    tracks.assert_gone();
}

pub fn killed_containerd() {
    let kinds = [FaultKind::BackendFailed, FaultKind::DeadlineExceeded, FaultKind::ChannelClosed, FaultKind::NoHello];
    // The time of an import and of a start: one that is late may be too late, and then all is well but the end.
    for delay in [0, 10, 20, 40, 60, 80, 100, 150, 300] {
        let mut bed = bed();
        let owner = bed.own();
        let (pid, tracks) = (shared(&owner).pid, tracks(&owner));
        let started = |block: &BlockRequest| !reap::with_cookie(&block.ctx.state).is_empty();
        let outcome = amid(&bed, &busy(&bed, "hello"), started, |_| {
            std::thread::sleep(Duration::from_millis(delay));
            // SAFETY: the test's own daemon.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        });
        assert!(outcome.fault().is_some_and(|fault| kinds.contains(&fault.kind)), "{delay} ms: {outcome:?}");
        assert_eq!(reap::with_cookie(&tracks.state).len().min(1), 1, "the owner lives");
        bed.run(&echo(&bed)).expect_fault(FaultKind::BackendFailed);
        owner.release();
        tracks.assert_gone();
    }
}

pub fn killed_runtime() {
    let mut bed = bed();
    let real = installed(RUNC).expect("the bed is available");
    let fake = bed.write(RUNC, "");
    let folder = fake.parent().expect("the bed's folder").display().to_string();
    bed.runner.env.insert("PATH".into(), format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()));
    let write = |script: &str| {
        let script = format!("#!/bin/sh\n{}\n", script.replace("REAL", &real.to_string_lossy()));
        fs::write(&fake, script).expect("a script");
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).expect("an executable script");
    };
    write("exec REAL \"$@\"");
    let owner = bed.own();
    let tracks = tracks(&owner);
    // Killed in each stretch of its work; a late one may be too late, and then all is well.
    for command in ["create", "start"] {
        for delay in ["0", "0.01", "0.02", "0.04"] {
            let kill = format!("REAL \"$@\" & sleep {delay}; kill -9 $!; wait $!; exit");
            write(&format!("case \" $* \" in *' {command} '*) {kill};; esac; exec REAL \"$@\""));
            let outcome = bed.run(&echo(&bed));
            let kinds = [FaultKind::BackendFailed, FaultKind::NoHello];
            assert!(outcome.fault().is_none_or(|f| kinds.contains(&f.kind)), "{command}, {delay} s: {outcome:?}");
            assert_eq!(tracks.containers(), 0, "{command}, {delay} s");
        }
        write(&format!("case \" $* \" in *' {command} '*) exec sleep 5;; esac; exec REAL \"$@\""));
        let mut request = echo(&bed);
        request.target.limits.start_deadline_ms = 500;
        bed.run(&request).expect_fault(FaultKind::DeadlineExceeded);
    }
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o644)).expect("no program any more");
    let message = bed.run(&echo(&bed)).expect_fault(FaultKind::BackendFailed).message.clone();
    write("exec REAL \"$@\"");
    assert!(message.contains("runc"), "{message}");
    bed.run(&echo(&bed)).expect_ok();
    owner.release();
    tracks.assert_gone();
}

pub fn corrupt_image_and_full_disk() {
    let mut bed = bed();
    let owner = bed.own();
    let tracks = tracks(&owner);
    bed.run(&echo(&bed)).expect_ok();
    let root = tracks.state.join("d/r");
    let snapshots = root.join("io.containerd.snapshotter.v1.overlayfs/snapshots");
    for snapshot in fs::read_dir(&snapshots).expect("snapshots").flatten() {
        let agent = snapshot.path().join("fs/agent");
        if agent.exists() {
            fs::write(agent, "nonsense").expect("spoilt");
        }
    }
    let outcome = bed.run(&echo(&bed));
    let kinds = [FaultKind::InvalidGuest, FaultKind::NoHello];
    assert!(outcome.fault().is_some_and(|fault| kinds.contains(&fault.kind)), "{outcome:?}");

    // Another image, for which there is no room.
    let full = Full::mount(shared(&owner).pid, root.join("io.containerd.content.v1.content/ingest"));
    let other = suite::telling(&bed, RUNC, "hello", "hello");
    let message = bed.run(&other).expect_fault(FaultKind::DiskFull).message.clone();
    assert!(message.contains("no space left"), "{message}");
    drop(full);
    bed.run(&suite::telling(&bed, RUNC, "hello", "hello")).expect_ok();
    owner.release();
    tracks.assert_gone();
}

/// A file system in memory with no room, in the daemon's mount namespace.
struct Full(u32, PathBuf);

impl Full {
    fn mount(daemon: u32, at: PathBuf) -> Full {
        let full = Full(daemon, at);
        assert!(full.inside(&["mount", "-t", "tmpfs", "-o", "size=4096", "tmpfs"]), "root may mount");
        let inside = full.1.strip_prefix("/").expect("a whole path");
        let ballast = Path::new(&format!("/proc/{daemon}/root")).join(inside).join("ballast");
        fs::write(ballast, [0; 4096]).expect("room for it");
        full
    }

    fn inside(&self, command: &[&str]) -> bool {
        let mut nsenter = Command::new("nsenter");
        let status = nsenter.args(["--mount", "--target", &self.0.to_string()]).args(command).arg(&self.1).status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        self.inside(&["umount"]);
    }
}

pub fn killed_owner() {
    let mut bed = bed();
    let owner = bed.own();
    let tracks = tracks(&owner);
    amid(&bed, &busy(&bed, "hang"), runs, |_| kill_named(&tracks.state, "isobench-runner"));
    // As if the coordinator had been killed too: it does nothing for its owner.
    std::mem::forget(owner);
    clean(&bed, &tracks.state);
    // The coordinator removes the folder of a dead run; this one is the test's own.
    let _ = fs::remove_dir_all(&tracks.state);
    tracks.assert_gone();
    // Other runs on this machine may leave things of their own.
    let removed = clean(&bed, &tracks.state);
    assert!(!removed.iter().any(|line| line.contains(&tracks.cgroup)), "{removed:?}");
}

pub fn named_daemon() {
    // Somebody's daemon: that it is a bed's own one makes no difference to a runner that is told of it.
    let mut host = bed();
    let somebody = host.own();
    let (daemon, tracks) = (shared(&somebody), tracks(&somebody));
    let before = inventory(&daemon);
    let address = Variable::set("CONTAINERD_ADDRESS", &daemon.socket.to_string_lossy());

    let mut bed = bed();
    let owner = bed.own();
    assert!(!shared(&owner).private, "{:?}", owner.record);
    bed.run(&echo(&bed)).expect_ok();
    let mut footprint = echo(&bed);
    footprint.visit = Visit::Footprint { instances: vec![1, 2] };
    bed.run(&footprint).expect_ok();
    owner.release();
    assert_eq!(inventory(&daemon), before, "what a run made is gone with it");

    let owner = bed.own();
    let mut state = PathBuf::new();
    let outcome: Outcome = amid(&bed, &busy(&bed, "hello"), runs, |block| {
        kill_named(&block.ctx.state, "isobench-runner");
        state = block.ctx.state.parent().expect("the bed's folder").into();
    });
    outcome.expect_fault(FaultKind::RunnerDied);
    kill_named(&state, "isobench-runner");
    // As if the coordinator had been killed too: it does nothing for its owner.
    std::mem::forget(owner);
    assert_ne!(inventory(&daemon), before);
    let reaped = clean(&bed, Path::new("/nonexistent"));
    assert!(reaped.len() >= 4, "a container, two images and a lease: {reaped:?}");
    assert_eq!(inventory(&daemon), before);

    // A run's owner takes the containerd of its probe, and no other.
    let of = |name: &str| RunContext { state: bed.context().state.with_file_name(name), ..bed.context() };
    assert!(bed.runner.probe(&of("p-containerd")).is_available());
    bed.runner.own(&of("o-containerd")).expect("the same").release();
    drop(address);
    let fault = bed.runner.own(&of("o-containerd")).expect_err("another one");
    assert!(fault.message.contains("the probe found the containerd at"), "{fault}");

    somebody.release();
    tracks.assert_gone();
}

pub fn absent_daemon() {
    let _address = Variable::set("CONTAINERD_ADDRESS", "/nonexistent/containerd.sock");
    let bed = bed();
    match bed.runner.probe(&bed.context()) {
        Availability::Available { notes, .. } => panic!("another containerd is used: {notes:?}"),
        Availability::Unavailable { reason, .. } => assert!(reason.contains("/nonexistent"), "{reason}"),
    }
}
