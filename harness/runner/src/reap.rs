//! Nothing is left behind: every process that descends from a run carries a cookie in its environment, so that even
//! one that left its process group and parent is found and killed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The environment variable of the cookie: `<state folder of the run>/<owner or block>`.
pub const COOKIE: &str = "ISOBENCH_COOKIE";

/// File in a run's state folder that names its coordinator: `pid start-time`.
const COORDINATOR: &str = "coordinator";

/// A run's state folder, which says whose it is. Dropping it kills what still carries the run's cookie and removes it.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Makes the state folder of a new run, owned by this process.
    pub fn create(root: &Path, run: &str) -> io::Result<StateDir> {
        let path = root.join(run);
        fs::create_dir_all(&path)?;
        let me = std::process::id();
        fs::write(path.join(COORDINATOR), format!("{me} {}\n", start_time(me).unwrap_or(0)))?;
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
        // A mount or file that resists is reported by `isobench clean`.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// State folders whose coordinator is gone.
pub fn dead_runs(root: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let mut dead: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_dir() && !is_alive(p)).collect();
    dead.sort();
    dead
}

fn is_alive(state: &Path) -> bool {
    let Ok(text) = fs::read_to_string(state.join(COORDINATOR)) else { return false };
    let mut words = text.split_whitespace().map(str::parse::<u64>);
    match (words.next(), words.next()) {
        (Some(Ok(pid)), Some(Ok(started))) => start_time(pid as u32) == Some(started),
        _ => false,
    }
}

/// When a process started, in clock ticks since boot (`/proc/PID/stat`, field 22): tells a reused pid apart.
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
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

/// Kills every process whose cookie is `prefix` or lies below it, until none is left (a dying parent may still have
/// forked). Answers with the pids killed.
pub fn kill_cookie(prefix: &Path) -> Vec<u32> {
    let mut killed = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let found = with_cookie(prefix);
        if found.is_empty() || Instant::now() > deadline {
            return killed;
        }
        for pid in found {
            // SAFETY: a signal to a process that is ours by its cookie.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
            if !killed.contains(&pid) {
                killed.push(pid);
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Live processes, other than this one, whose cookie is `prefix` or lies below it.
pub fn with_cookie(prefix: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let me = std::process::id();
    entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok())
        .filter(|&pid| pid != me && cookie_of(pid).is_some_and(|cookie| cookie.starts_with(prefix)))
        .collect()
}

fn cookie_of(pid: u32) -> Option<PathBuf> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let entry = environ.split(|&b| b == 0).find_map(|e| e.strip_prefix(COOKIE.as_bytes())?.strip_prefix(b"="))?;
    Some(PathBuf::from(String::from_utf8_lossy(entry).into_owned()))
}

/// Kills a child's whole process group and waits for the child. Answers with its status if there is one.
pub fn kill_group(child: &mut std::process::Child) -> Option<std::process::ExitStatus> {
    // SAFETY: the child was started as the leader of a group of its own and has not been waited for.
    unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
    child.wait().ok()
}
