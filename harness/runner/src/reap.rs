//! Nothing is left behind: every process that descends from a run carries a cookie in its environment, so that even
//! one that left its process group and parent is found and killed.

use crate::owner::{self, Life};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The environment variable of the cookie: `<state folder of the run>/<owner or block>`.
pub const COOKIE: &str = "ISOBENCH_COOKIE";

/// State folder of the run of this process.
static RUN: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The cookie for helper programs of this process's run; `None` outside a run, and in a runner, whose children inherit
/// its own.
pub fn run_cookie() -> Option<PathBuf> {
    RUN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// File in a run's state folder that holds the owner tag of its coordinator.
const COORDINATOR: &str = "coordinator";
/// Begins the name of a state folder that is being made; the owner tag of its maker follows.
const NEW: &str = ".new-";
/// Numbers the state folders of this process while they are made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A run's state folder, which says whose it is. Dropping it kills what still carries the run's cookie and removes it.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Makes the state folder of a new run, owned by this process. It appears at once with its owner tag in it, so that
    /// a clean-up at the same time never sees it without an owner.
    ///
    /// # Errors
    /// Returns an error if the folder exists already or cannot be made.
    pub fn create(root: &Path, run: &str) -> io::Result<StateDir> {
        let made = root.join(format!("{NEW}{}.{}", owner::me(), MADE.fetch_add(1, Ordering::Relaxed)));
        let path = root.join(run);
        fs::create_dir(&made)?;
        // A folder with a file in it is never replaced by a rename.
        let named = fs::write(made.join(COORDINATOR), owner::me()).and_then(|()| fs::rename(&made, &path));
        if let Err(cause) = named {
            // This process has just made the folder under a name that holds its own tag.
            let _ = fs::remove_dir_all(&made);
            return Err(cause);
        }
        *RUN.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.clone());
        Ok(StateDir { path })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        kill_cookie(&self.path);
        *RUN.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // `create` made the folder for this process. A mount or file that resists is reported by `isobench clean`.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// What lies in a state root and is not in use by a live run.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// State folders of runs whose coordinator is provably gone.
    pub dead: Vec<PathBuf>,
    /// What is left alone: the path and the reason.
    pub left_alone: Vec<String>,
}

/// Looks through a state root that isobench has checked to be its own ([`crate::owned::state_root`]).
pub fn leftovers(root: &Path) -> Leftovers {
    let mut all = Leftovers::default();
    let mut entries: Vec<_> = fs::read_dir(root).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries.into_iter().filter(|entry| entry.file_type().is_ok_and(|t| !t.is_file())) {
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let tag = if let Some(tag) = name.strip_prefix(NEW) {
            tag.split('.').next().map(String::from)
        } else if is_run_name(&name) && entry.file_type().is_ok_and(|t| t.is_dir()) {
            fs::read_to_string(path.join(COORDINATOR)).ok()
        } else {
            None
        };
        let life = tag.map_or(Life::Unknown("isobench did not make it"), |tag| owner::life(tag.trim()));
        match life {
            Life::Alive => {}
            Life::Gone => all.dead.push(path),
            // A run that has ended since the folder was listed has taken it along.
            Life::Unknown(_) if path.symlink_metadata().is_err() => {}
            Life::Unknown(why) => {
                let path = path.display();
                all.left_alone.push(format!("{path}: {why}; if no isobench uses it, remove it with `rm -r {path}`"));
            }
        }
    }
    all
}

/// Whether a folder's name is one that a run's state folder has: a run id (`20261130-120000-123`), or a command's name
/// and an id (`doctor-20261130-120000-123`).
fn is_run_name(name: &str) -> bool {
    let mut parts = name.rsplitn(4, '-');
    let digits = |part: Option<&str>, n| part.is_some_and(|p| p.len() == n && p.bytes().all(|b| b.is_ascii_digit()));
    let id = digits(parts.next(), 3) && digits(parts.next(), 6) && digits(parts.next(), 8);
    id && parts.next().is_none_or(|command| command.bytes().all(|b| b.is_ascii_lowercase()))
}

/// When a process started, in clock ticks since boot (`/proc/PID/stat`, field 22): tells a reused pid apart.
pub fn start_time(pid: u32) -> Option<u64> {
    started_in(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The start time in the content of `/proc/PID/stat`; `None` of a zombie, which is dead but for its parent's wait.
pub(crate) fn started_in(stat: &[u8]) -> Option<u64> {
    let stat = String::from_utf8_lossy(stat);
    // The command's name may hold spaces and parentheses: fields are counted after the last one.
    let (_, rest) = stat.rsplit_once(')')?;
    if rest.trim_start().starts_with('Z') {
        return None;
    }
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// The parent of a process.
pub fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// Kills every process whose cookie is `prefix` or lies below it, and what descends from such a process without a cookie,
/// until none is left (a dying parent may still have forked). Returns the pids killed.
pub fn kill_cookie(prefix: &Path) -> Vec<u32> {
    let mut killed = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let found = and_descendants(with_cookie(prefix));
        if found.is_empty() || Instant::now() > deadline {
            return killed;
        }
        for pid in found {
            // SAFETY: a signal to a process that is ours by its cookie, or by that of an ancestor.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
            if !killed.contains(&pid) {
                killed.push(pid);
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// These processes, and those that descend from one of them: a guest can clear its environment.
fn and_descendants(found: Vec<u32>) -> Vec<u32> {
    if found.is_empty() {
        return found;
    }
    let parents: BTreeMap<u32, u32> = pids().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut all: BTreeSet<u32> = found.into_iter().collect();
    loop {
        let below = parents.iter().filter(|(pid, parent)| all.contains(parent) && !all.contains(pid));
        let below: Vec<u32> = below.map(|(&pid, _)| pid).filter(|&pid| start_time(pid).is_some()).collect();
        if below.is_empty() {
            return all.into_iter().collect();
        }
        all.extend(below);
    }
}

/// Makes this process the parent of every process that descends from it and loses its own parent, as one does that forks
/// twice: then [`kill_children`] finds it.
pub fn adopt_orphans() {
    // SAFETY: a plain system call that changes nothing but who becomes a parent.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

/// Kills the children of this process and what they leave to it, until none is left. For the end of a block, when no
/// instance lives any more.
pub fn kill_children() {
    let me = std::process::id();
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let children: Vec<u32> = pids().filter(|&pid| parent(pid) == Some(me)).collect();
        if children.is_empty() {
            return;
        }
        for pid in children {
            // SAFETY: signals to a child of this process, which no other code of it waits for at this point.
            unsafe {
                libc::kill(pid as i32, libc::SIGKILL);
                libc::waitpid(pid as i32, std::ptr::null_mut(), libc::WNOHANG);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok())
}

/// Live processes, other than this one, whose cookie is `prefix` or lies below it.
pub fn with_cookie(prefix: &Path) -> Vec<u32> {
    let me = std::process::id();
    pids().filter(|&pid| pid != me && cookie_of(pid).is_some_and(|cookie| cookie.starts_with(prefix))).collect()
}

fn cookie_of(pid: u32) -> Option<PathBuf> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let entry = environ.split(|&b| b == 0).find_map(|e| e.strip_prefix(COOKIE.as_bytes())?.strip_prefix(b"="))?;
    Some(PathBuf::from(String::from_utf8_lossy(entry).into_owned()))
}

/// Has the kernel kill the process of `command` when the thread that spawns it ends, be it by the death of this process. For
/// programs that do not notice that nobody calls them any more. The price is a `fork`: the C library's `posix_spawn` cannot
/// do this.
pub fn die_with_parent(command: &mut Command) -> &mut Command {
    let parent = std::process::id();
    let arm = move || {
        // SAFETY: plain system calls.
        let (armed, now) = unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0, libc::getppid()) };
        match armed {
            // The parent died before the kernel was asked.
            true if now as u32 != parent => Err(io::Error::from_raw_os_error(libc::ESRCH)),
            true => Ok(()),
            false => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between `fork` and `exec` there are only system calls.
    unsafe { command.pre_exec(arm) }
}

/// Kills a child's whole process group and waits for the child. Answers with its status if there is one.
pub fn kill_group(child: &mut std::process::Child) -> Option<std::process::ExitStatus> {
    // SAFETY: the child was started as the leader of a group of its own and has not been waited for.
    unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
    child.wait().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    /// A state folder whose coordinator has the tag.
    fn run_of(root: &Path, run: &str, tag: &str) -> PathBuf {
        let path = root.join(run);
        fs::create_dir(&path).unwrap();
        fs::write(path.join(COORDINATOR), tag).unwrap();
        path
    }

    #[test]
    fn only_folders_of_provably_dead_runs_are_leftovers() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let dead_tag = owner::tag(std::process::id(), 1);
        let dead = run_of(root, "20261130-120000-001", &dead_tag);
        let half_made = root.join(format!("{NEW}{dead_tag}.0"));
        fs::create_dir(&half_made).unwrap();
        let live = StateDir::create(root, "doctor-20261130-120000-002").unwrap();
        let elsewhere = format!("{}-1-1-1", owner::me().split('-').next().unwrap());
        run_of(root, "20261130-120000-003", &elsewhere);
        run_of(root, "thesis", &dead_tag);
        fs::create_dir(root.join("20261130-120000-004")).unwrap();
        std::os::unix::fs::symlink(&dead, root.join("20261130-120000-005")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        let found = leftovers(root);
        assert_eq!(found.dead, [half_made, dead]);
        let left: Vec<_> = found.left_alone.iter().map(|line| line.split(':').next().unwrap()).collect();
        let names = ["20261130-120000-003", "20261130-120000-004", "20261130-120000-005", "thesis"];
        assert_eq!(left, names.map(|name| root.join(name).display().to_string()));
        assert!(found.left_alone[0].contains("another PID namespace"), "{:?}", found.left_alone);
        drop(live);
    }

    #[test]
    fn a_state_folder_is_never_seen_without_its_owner() {
        let root = tempfile::tempdir().unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..300 {
                    drop(StateDir::create(root.path(), &format!("20261130-120000-{n:03}")).unwrap());
                }
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                assert_eq!(leftovers(root.path()).dead, [] as [PathBuf; 0]);
            }
        });
    }

    #[test]
    fn two_runs_never_share_a_state_folder() {
        let root = tempfile::tempdir().unwrap();
        let _first = StateDir::create(root.path(), "20261130-120000-001").unwrap();
        assert!(StateDir::create(root.path(), "20261130-120000-001").is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
