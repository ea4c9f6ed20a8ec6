//! What is left when something of us is killed: nothing, at the latest after the next clean.

use crate::{bed, request};
use bollard::query_parameters::{ListContainersOptions, ListImagesOptions};
use isobench_core::{Availability, FaultKind};
use isobench_docker::Shared;
use isobench_runner::client::Owner;
use isobench_runner::protocol::{BlockRequest, CleanRequest, Series, Visit};
use isobench_runner::reap;
use isobench_runner::testing::{self, Outcome, TestBed};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Nothing here takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a private daemon's things are found: what must be gone when it is.
pub struct Tracks {
    state: PathBuf,
    cgroup: String,
}

impl Tracks {
    pub fn of(owner: &Owner) -> Tracks {
        let shared = Shared::read(&owner.record).expect("the record");
        assert!(shared.private, "a daemon was started for the test");
        let state = shared.socket.ancestors().nth(2).expect("<state>/d/s").to_path_buf();
        Tracks { state, cgroup: format!("isobench-docker-{}", shared.owner) }
    }

    pub fn assert_gone(&self) {
        assert_eq!(reap::with_cookie(&self.state), Vec::<u32>::new(), "processes");
        assert!(!self.state.exists(), "{} is left", self.state.display());
        assert_eq!(self.cgroups(), Vec::<PathBuf>::new(), "cgroups");
        let state = self.state.to_string_lossy().into_owned();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let mounts = fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
            let left = mounts.lines().find(|l| l.contains(&state));
            assert_eq!(left, None, "mounts of {}", entry.path().display());
        }
    }

    /// The daemon's cgroups in every hierarchy.
    fn cgroups(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let v1 = fs::read_dir(root).expect("cgroups").flatten().map(|e| e.path());
        v1.chain([root.to_path_buf()]).map(|h| h.join(&self.cgroup)).filter(|c| c.is_dir()).collect()
    }

    fn containers(&self) -> usize {
        let inside = |c: &PathBuf| fs::read_dir(c).map_or(0, |d| d.flatten().filter(|e| e.path().is_dir()).count());
        self.cgroups().iter().map(inside).max().unwrap_or(0)
    }
}

pub fn no_container_in(owner: &Owner) {
    if Shared::read(&owner.record).expect("the record").private {
        assert_eq!(Tracks::of(owner).containers(), 0, "containers");
    }
}

/// A block that is still busy when something is done to it: with warm calls, or with one that does not end.
fn busy(bed: &TestBed, input: &[u8]) -> BlockRequest {
    let series = Series { min_calls: 1, min_ms: 3_000, max_calls: 1 << 22, max_ms: 3_000 };
    request(bed, input, Visit::ColdStart { starts: 1, warm: Some(series) })
}

/// Runs `deed` while a block sends `input`; answers with the block's outcome.
fn amid_a_block(bed: &TestBed, tracks: &Tracks, input: &[u8], deed: impl FnOnce(&Path)) -> Outcome {
    let mut block = busy(bed, input);
    // Not for the answers, but for what comes after them.
    block.target.limits.stop_deadline_ms = 5_000;
    let runner = &bed.runner;
    std::thread::scope(|scope| {
        let running = scope.spawn(|| runner.block(&block, PATIENCE));
        wait_for_hello(tracks, &block);
        deed(&block.ctx.state);
        Outcome(running.join().expect("the block"))
    })
}

/// Waits until the block's instance has been started: then its socket has been removed.
fn wait_for_hello(tracks: &Tracks, block: &BlockRequest) {
    let until = Instant::now() + PATIENCE;
    while tracks.containers() == 0 || block.ctx.state.join("0/s").exists() {
        assert!(Instant::now() < until, "no container said hello");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn kill(pid: u32) {
    // SAFETY: a process of this test's.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
}

/// Kills the processes of that name among those that carry the cookie.
fn kill_named(cookie: &Path, name: &str) {
    let is = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim().starts_with(name));
    let found: Vec<u32> = reap::with_cookie(cookie).into_iter().filter(is).collect();
    assert!(!found.is_empty(), "no {name} carries {}", cookie.display());
    found.into_iter().for_each(kill);
}

fn clean(bed: &TestBed, dead: &Path) -> Vec<String> {
    let request = CleanRequest { ctx: bed.context(), dead: vec![dead.into()] };
    bed.runner.clean(&request).expect("a clean")
}

pub fn killed_runner(bed: &TestBed) {
    let again = request(bed, b"hello", testing::one_start());
    let shared = Shared::read(&again.prepared).expect("the record");
    let state = shared.socket.ancestors().nth(2).expect("<state>/d/s").to_path_buf();
    let tracks = Tracks { state, cgroup: format!("isobench-docker-{}", shared.owner) };
    let outcome = amid_a_block(bed, &tracks, b"hello", |state| kill_named(state, "isobench-runner"));
    outcome.expect_fault(FaultKind::RunnerDied);
    assert_eq!(inventory(&shared.socket).0, 1, "the container outlives the runner");
    bed.run(&again).expect_ok();
    assert_eq!(inventory(&shared.socket).0, 0);
}

pub fn killed_dockerd() {
    let mut bed = bed();
    let owner = bed.own();
    let tracks = Tracks::of(&owner);
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
    let tracks = Tracks::of(&owner);
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
    let tracks = Tracks::of(&owner);
    let deed = |_: &Path| {
        let is = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("containerd"));
        reap::with_cookie(&tracks.state).into_iter().filter(is).for_each(kill);
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
    let tracks = Tracks::of(&owner);
    let outcome = amid_a_block(&bed, &tracks, b"loop", |_| kill_named(&tracks.state, "isobench-runner"));
    outcome.expect_fault(FaultKind::DeadlineExceeded);
    assert_eq!(tracks.containers(), 1, "the container outlives the owner");
    drop(owner);
    let reaped = clean(&bed, &tracks.state);
    assert!(!reaped.is_empty());
    tracks.assert_gone();
    assert_eq!(clean(&bed, &tracks.state), Vec::<String>::new(), "there is nothing left to clean");
}

/// Sets an environment variable for as long as it lives.
struct DockerHost;

impl DockerHost {
    fn set(value: &str) -> DockerHost {
        // SAFETY: the other threads of this program read pipes.
        unsafe { std::env::set_var("DOCKER_HOST", value) };
        DockerHost
    }
}

impl Drop for DockerHost {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { std::env::remove_var("DOCKER_HOST") };
    }
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
    let tracks = Tracks::of(&somebody);
    let socket = Shared::read(&somebody.record).expect("the record").socket;
    let before = inventory(&socket);
    let docker_host = DockerHost::set(&format!("unix://{}", socket.display()));

    let mut bed = bed();
    let owner = bed.own();
    assert!(!Shared::read(&owner.record).expect("the record").private, "{:?}", owner.record);
    bed.run(&request(&bed, b"hello", testing::one_start())).expect_ok();
    bed.run(&request(&bed, b"hello", Visit::Footprint { instances: vec![1, 2] })).expect_ok();
    owner.release();
    assert_eq!(inventory(&socket), before, "what a run made is gone with it");

    let owner = bed.own();
    let block = busy(&bed, b"hello");
    let runner = &bed.runner;
    std::thread::scope(|scope| {
        let running = scope.spawn(|| runner.block(&block, PATIENCE));
        wait_for_hello(&tracks, &block);
        kill_named(&block.ctx.state, "isobench-runner");
        running.join().expect("the block");
    });
    let state = block.ctx.state.parent().expect("the bed's folder");
    kill_named(state, "isobench-runner");
    drop(owner);
    assert_ne!(inventory(&socket), before);
    let reaped = clean(&bed, Path::new("/nonexistent"));
    assert_eq!(reaped.len(), 3, "a container, its image and the probe's: {reaped:?}");
    assert_eq!(inventory(&socket), before);

    drop(docker_host);
    somebody.release();
    tracks.assert_gone();
}

pub fn remote_daemon() {
    let _docker_host = DockerHost::set("tcp://192.0.2.1:2375");
    let bed = bed();
    match bed.runner.probe(&bed.context()) {
        Availability::Available { notes, .. } => {
            assert!(notes.iter().any(|n| n.contains("private") && n.contains("is remote")), "{notes:?}");
        }
        Availability::Unavailable { reason, .. } => assert!(reason.contains("is remote"), "{reason}"),
    }
}
