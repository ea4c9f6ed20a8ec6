//! What tests of daemons of a run's own want: what must be gone when they are, and something done to them or to a
//! runner while a block is busy.

use super::{Outcome, TestBed};
use crate::protocol::{BlockRequest, CleanRequest};
use crate::reap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Nothing here takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a private daemon's things are found.
#[derive(Debug)]
pub struct Tracks {
    /// The state folder of its owner: every process of it carries a cookie below.
    pub state: PathBuf,
    /// The cgroup that those of its containers are in.
    pub cgroup: String,
}

impl Tracks {
    /// Of the daemon at `<state>/d/s`.
    pub fn of(socket: &Path, cgroup: String) -> Tracks {
        Tracks { state: socket.ancestors().nth(2).expect("<state>/d/s").into(), cgroup }
    }

    /// Panics if a process, file, cgroup or mount of it is left.
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

    /// How many containers it has, by their cgroups.
    pub fn containers(&self) -> usize {
        let inside = |c: &PathBuf| fs::read_dir(c).map_or(0, |d| d.flatten().filter(|e| e.path().is_dir()).count());
        self.cgroups().iter().map(inside).max().unwrap_or(0)
    }

    /// The cgroup in every hierarchy.
    fn cgroups(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let v1 = fs::read_dir(root).expect("cgroups").flatten().map(|e| e.path());
        v1.chain([root.to_path_buf()]).map(|h| h.join(&self.cgroup)).filter(|c| c.is_dir()).collect()
    }
}

/// Kills the processes whose names begin with `name` among those that carry the cookie.
pub fn kill_named(cookie: &Path, name: &str) {
    let is = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim().starts_with(name));
    let found: Vec<u32> = reap::with_cookie(cookie).into_iter().filter(is).collect();
    assert!(!found.is_empty(), "no {name} carries {}", cookie.display());
    for pid in found {
        // SAFETY: a process of this test's.
        unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    }
}

/// Runs `block`, and `deed` once it is `ready`. Answers with the block's outcome.
pub fn amid(
    bed: &TestBed,
    block: &BlockRequest,
    ready: impl Fn(&BlockRequest) -> bool,
    deed: impl FnOnce(&BlockRequest),
) -> Outcome {
    let runner = &bed.runner;
    std::thread::scope(|scope| {
        let running = scope.spawn(|| runner.block(block, PATIENCE));
        let until = Instant::now() + PATIENCE;
        while !ready(block) {
            assert!(Instant::now() < until, "the block is never ready");
            std::thread::sleep(Duration::from_millis(5));
        }
        deed(block);
        Outcome(running.join().expect("the block"))
    })
}

/// Has the backend clean up after the run whose state folder is `dead`. Returns what it removed.
pub fn clean(bed: &TestBed, dead: &Path) -> Vec<String> {
    let request = CleanRequest { ctx: bed.context(), dead: vec![dead.into()] };
    bed.runner.clean(&request).expect("a clean").removed
}

/// Sets an environment variable for as long as it lives.
#[derive(Debug)]
pub struct Variable(&'static str);

impl Variable {
    /// Sets it to `value`.
    pub fn set(name: &'static str, value: &str) -> Variable {
        // SAFETY: the other threads of such a test read pipes.
        unsafe { std::env::set_var(name, value) };
        Variable(name)
    }
}

impl Drop for Variable {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { std::env::remove_var(self.0) };
    }
}
