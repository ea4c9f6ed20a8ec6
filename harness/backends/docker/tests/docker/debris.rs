//! What is left when something of us is killed: nothing, at the latest after the next clean.

use crate::{bed, request};
use bollard::query_parameters::{ListContainersOptions, ListImagesOptions};
use isobench_core::FaultKind;
use isobench_docker::Shared;
use isobench_runner::client::Owner;
use isobench_runner::protocol::{BlockRequest, CleanRequest, Series, Visit};
use isobench_runner::testing::daemons::{Tracks, Variable, amid, clean, kill_named};
use isobench_runner::testing::{self, Outcome, TestBed};
use isobench_runner::{Cleaned, RunContext, reap};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub fn tracks(owner: &Owner) -> Tracks {
    let shared = Shared::read(&owner.record).expect("the record");
    assert!(shared.private, "a daemon was started for the test");
    tracks_of(&shared)
}

fn tracks_of(shared: &Shared) -> Tracks {
    Tracks::of(&shared.socket, format!("isobench-docker-{}", shared.owner))
}

pub fn no_container_in(owner: &Owner) {
    if Shared::read(&owner.record).expect("the record").private {
        assert_eq!(tracks(owner).containers(), 0, "containers");
    }
}

/// A block that is still busy when something is done to it: with warm calls, or with one that does not end.
fn busy(bed: &TestBed, input: &[u8]) -> BlockRequest {
    let series = Series { min_calls: 1, min_ms: 3_000, max_calls: 1 << 22, max_ms: 3_000 };
    let mut block = request(bed, input, Visit::ColdStart { starts: 1.into(), warm: Some(series) });
    // Not for the answers, but for what comes after them.
    block.target.limits.stop_deadline_ms = 5_000;
    block
}

/// Runs `deed` while a block sends `input`; answers with the block's outcome.
fn amid_a_block(bed: &TestBed, tracks: &Tracks, input: &[u8], deed: impl FnOnce(&Path)) -> Outcome {
    // An instance has been started when its socket has been removed.
    let ready = |block: &BlockRequest| tracks.containers() > 0 && !block.ctx.state.join("0/s").exists();
    amid(bed, &busy(bed, input), ready, |block| deed(&block.ctx.state))
}

pub fn killed_runner(bed: &TestBed) {
    let again = request(bed, b"hello", testing::one_start());
    let shared = Shared::read(&again.prepared).expect("the record");
    let tracks = tracks_of(&shared);
    let outcome = amid_a_block(bed, &tracks, b"hello", |state| kill_named(state, "isobench-runner"));
    outcome.expect_fault(FaultKind::RunnerDied);
    assert_eq!(inventory(&shared.socket).0, 1, "the container outlives the runner");
    bed.run(&again).expect_ok();
    assert_eq!(inventory(&shared.socket).0, 0);
}

pub fn killed_dockerd() {
    let mut bed = bed();
    let owner = bed.own();
    let tracks = tracks(&owner);
    let outcome = amid_a_block(&bed, &tracks, b"hello", |_| kill_named(&tracks.state, "dockerd"));
    outcome.expect_fault(FaultKind::BackendFailed);
    let next = bed.run(&request(&bed, b"hello", testing::one_start()));
    next.expect_fault(FaultKind::BackendFailed);
    owner.release();
    tracks.assert_gone();
}

pub fn killed_shim() {
    let mut bed = bed();
    let owner = bed.own();
    let tracks = tracks(&owner);
    let outcome = amid_a_block(&bed, &tracks, b"hello", |_| kill_named(&tracks.state, "containerd-shim"));
    // What containerd does about it ends the container.
    outcome.expect_fault(FaultKind::ChannelClosed);
    bed.run(&request(&bed, b"hello", testing::one_start())).expect_ok();
    assert_eq!(tracks.containers(), 0);
    owner.release();
    tracks.assert_gone();
}

pub fn killed_containerd() {
    let mut bed = bed();
    let owner = bed.own();
    let tracks = tracks(&owner);
    let deed = |_: &Path| {
        let is = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("containerd"));
        for pid in reap::with_cookie(&tracks.state).into_iter().filter(is) {
            // SAFETY: a process of this test's.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        }
    };
    // The container itself runs on; dockerd starts another containerd, and what it is asked for meanwhile may fail.
    let outcome = amid_a_block(&bed, &tracks, b"hello", deed);
    let kinds = [FaultKind::BackendFailed, FaultKind::DeadlineExceeded];
    assert!(outcome.fault().is_none_or(|fault| kinds.contains(&fault.kind)), "{outcome:?}");
    owner.release();
    tracks.assert_gone();
}

pub fn killed_owner() {
    let mut bed = bed();
    let owner = bed.own();
    let tracks = tracks(&owner);
    let outcome = amid_a_block(&bed, &tracks, b"loop", |_| kill_named(&tracks.state, "isobench-runner"));
    outcome.expect_fault(FaultKind::DeadlineExceeded);
    assert_eq!(tracks.containers(), 1, "the container outlives the owner");
    drop(owner);
    // The coordinator has cleaned up after its owner: nothing is left to `isobench clean`.
    tracks.assert_gone();
    let removed = clean(&bed, &tracks.state);
    assert!(!removed.iter().any(|line| line.contains(&tracks.cgroup)), "{removed:?}");
}

/// Containers and images that a daemon has.
fn inventory(socket: &Path) -> (usize, usize) {
    let docker = isobench_docker::connect(socket).expect("a daemon");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let all = ListContainersOptions { all: true, ..Default::default() };
        let containers = docker.list_containers(Some(all)).await.expect("containers").len();
        (containers, docker.list_images(None::<ListImagesOptions>).await.expect("images").len())
    })
}

pub fn system_daemon() {
    // Somebody's daemon: that it is a bed's own one makes no difference to a runner that is told of it.
    let mut host = bed();
    let somebody = host.own();
    let tracks = tracks(&somebody);
    let socket = Shared::read(&somebody.record).expect("the record").socket;
    let before = inventory(&socket);
    let docker_host = Variable::set("DOCKER_HOST", &format!("unix://{}", socket.display()));

    let mut bed = bed();
    let owner = bed.own();
    assert!(!Shared::read(&owner.record).expect("the record").private, "{:?}", owner.record);
    bed.run(&request(&bed, b"hello", testing::one_start())).expect_ok();
    bed.run(&request(&bed, b"hello", Visit::Footprint { instances: vec![1, 2] })).expect_ok();
    let mut elsewhere = None;
    let outcome = amid_a_block(&bed, &tracks, b"hello", |_| elsewhere = clean_in_pid_namespace(&bed));
    outcome.expect_ok();
    if let Some(cleaned) = elsewhere {
        assert!(!cleaned.removed.iter().any(|line| line.starts_with("docker: ")), "{cleaned:?}");
        let listed = |what: &str| {
            let is = |line: &&String| line.starts_with(what) && line.contains("another PID namespace");
            cleaned.left_alone.iter().filter(is).count()
        };
        assert_eq!(listed("docker: container"), 1, "{cleaned:?}");
        assert!(listed("docker: image") >= 2, "its images and the probe's: {cleaned:?}");
    }
    owner.release();
    assert_eq!(inventory(&socket), before, "what a run made is gone with it");

    let owner = bed.own();
    let mut state = PathBuf::new();
    amid_a_block(&bed, &tracks, b"hello", |block| {
        kill_named(block, "isobench-runner");
        state = block.parent().expect("the bed's folder").into();
    });
    kill_named(&state, "isobench-runner");
    // As if the coordinator had been killed too: it does nothing for its owner.
    std::mem::forget(owner);
    assert_ne!(inventory(&socket), before);
    let mut reaped = clean(&bed, Path::new("/nonexistent"));
    // Cgroups may be those of other runs on this machine.
    reaped.retain(|line| line.starts_with("docker: container") || line.starts_with("docker: image"));
    assert_eq!(reaped.len(), 3, "a container, its image and the probe's: {reaped:?}");
    assert_eq!(inventory(&socket), before);

    drop(docker_host);
    somebody.release();
    tracks.assert_gone();
}

/// What the runner's `clean` does where it cannot see this test's processes; `None` if no such place can be made.
fn clean_in_pid_namespace(bed: &TestBed) -> Option<Cleaned> {
    let mut child = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--"])
        .arg(&bed.runner.program)
        .arg("clean")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let request = CleanRequest { ctx: bed.context(), dead: Vec::new() };
    let mut line = serde_json::to_vec(&request).expect("a request");
    line.push(b'\n');
    child.stdin.take()?.write_all(&line).ok()?;
    let output = child.wait_with_output().ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

/// Checks that `prepare` uses the daemon that the probe found, and fails if another one answers there.
pub fn changed_daemon() {
    let mut host = bed();
    let somebody = host.own();
    let tracks = tracks(&somebody);
    let socket = Shared::read(&somebody.record).expect("the record").socket;
    let bed = bed();
    let of = |name: &str| RunContext { state: bed.context().state.with_file_name(name), ..bed.context() };
    {
        let _docker_host = Variable::set("DOCKER_HOST", &format!("unix://{}", socket.display()));
        let fault = bed.runner.own(&of("o-docker")).expect_err("no probe has chosen one");
        assert!(fault.message.contains("chosen-docker"), "{fault}");
        assert!(bed.runner.probe(&of("p-docker")).is_available());
        bed.runner.own(&of("o-docker")).expect("the same").release();
    }
    let fault = bed.runner.own(&of("o-docker")).expect_err("another one");
    let found = format!("the probe found the daemon at {}", socket.display());
    assert!(fault.message.contains(&found) && fault.message.contains("run again"), "{fault}");
    somebody.release();
    tracks.assert_gone();
}
