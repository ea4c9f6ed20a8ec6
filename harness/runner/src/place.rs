//! Where things lie: the checkout, the cache, the state folders, our own programs.

use crate::helper::Helper;
use crate::{owned, usable};
use anyhow::{Context, Result, bail};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The places of one invocation.
#[derive(Debug, Clone)]
pub struct Places {
    /// The checkout: holds `workloads/`, `results/` and `reports/`.
    pub root: PathBuf,
    /// Content-addressed artifacts, kept between runs.
    pub cache: PathBuf,
    /// One folder per live run, with sockets and temporary files.
    pub state: PathBuf,
    /// Runners and agents.
    pub programs: PathBuf,
}

/// Where a program is installed: in PATH, or in the folders of system programs, which a user's PATH often lacks.
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders = env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A program that the set-up fetches: the one that `ISOBENCH_<NAME>` names, else the pinned one that `scripts/<name>.sh`
/// has put into the cache, else an installed one.
pub fn fetched(cache: &Path, name: &str) -> Option<PathBuf> {
    let named = env::var_os(format!("ISOBENCH_{}", name.to_uppercase())).filter(|n| !n.is_empty()).map(PathBuf::from);
    let pinned = || cache.join(name).join("pinned").canonicalize().ok().filter(|file| file.is_file());
    named.or_else(pinned).or_else(|| installed(name))
}

impl Places {
    /// Finds them: `ISOBENCH_ROOT`, or the first folder upwards with `workloads/`; `ISOBENCH_CACHE`, or `isobench` in
    /// the user's cache folder; `ISOBENCH_STATE`, or `/tmp/isobench-<uid>`; `ISOBENCH_PROGRAMS`, or the folder of this
    /// program. An empty variable counts as unset.
    ///
    /// # Errors
    /// Returns an error if there is no checkout, if a path cannot be used ([`usable`]), or if the cache or the state
    /// folder cannot be made or is not isobench's own ([`owned`]).
    pub fn find() -> Result<Places> {
        let places = Places {
            root: match set("ISOBENCH_ROOT")? {
                Some(root) => root,
                None => find_root(&env::current_dir().context("current folder")?)?,
            },
            cache: cache_folder()?,
            state: state_folder()?,
            programs: programs()?,
        };
        // Before anything is made at such a path.
        usable::plain(&places.root, "move the checkout to a folder without it")?;
        usable::plain(&places.programs, "set ISOBENCH_PROGRAMS to a folder without it")?;
        usable::plain(&places.cache, usable::CACHE_REMEDY)?;
        usable::plain(&places.state, usable::STATE_REMEDY)?;
        owned::cache(&places.cache)?;
        owned::state_root(&places.state)?;
        Ok(places)
    }

    /// `workloads/`.
    pub fn workloads(&self) -> PathBuf {
        self.root.join("workloads")
    }

    /// `results/`.
    pub fn results(&self) -> PathBuf {
        self.root.join("results")
    }

    /// `reports/`.
    pub fn reports(&self) -> PathBuf {
        self.root.join("reports")
    }
}

/// Returns the absolute path that a variable names; `None` if it is unset or empty.
fn set(variable: &str) -> Result<Option<PathBuf>> {
    let value = env::var_os(variable).filter(|value| !value.is_empty());
    value
        .map(|value| std::path::absolute(&value).with_context(|| format!("{variable}={}", value.display())))
        .transpose()
}

fn cache_folder() -> Result<PathBuf> {
    if let Some(cache) = set("ISOBENCH_CACHE")? {
        return Ok(cache);
    }
    // The XDG base directory specification has relative paths ignored.
    let user = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    match (user("XDG_CACHE_HOME"), user("HOME")) {
        (Some(base), _) => Ok(base.join("isobench")),
        (None, Some(home)) => Ok(home.join(".cache/isobench")),
        (None, None) => bail!("no cache folder: set ISOBENCH_CACHE, or HOME, to an absolute path"),
    }
}

/// The folder of all runs' state folders. In `/tmp` and short, because a socket's path may have 107 bytes only.
fn state_folder() -> Result<PathBuf> {
    // SAFETY: getuid cannot fail.
    let uid = unsafe { libc::getuid() };
    Ok(set("ISOBENCH_STATE")?.unwrap_or_else(|| PathBuf::from(format!("/tmp/isobench-{uid}"))))
}

/// Most bytes of a socket's path: `sun_path` less the byte that ends it.
const SOCKET_PATH: usize = 107;

/// The longest path that a row needs for a socket below the state folder, but for the few that nest deeper (a private
/// daemon, a jail): those name the limit themselves.
const SOCKET_BELOW: &str = "/20260101-000000-000/b99999/by-hand.sock";

/// The path of the state folder leaves no room for the names of sockets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the path of the state folder, {}, has {} bytes: a socket's path has at most {SOCKET_PATH}, of which {room} are left \
     for the folder; set ISOBENCH_STATE to a shorter one, for example /tmp/ib", path.display(), path.as_os_str().len()
)]
pub struct StateTooLong {
    /// The folder.
    path: PathBuf,
    /// Most bytes that its path may have.
    room: usize,
}

/// Checks that the state folder's path leaves room for the names of sockets: once, at the start, and not in every row.
///
/// # Errors
/// Returns an error if the path is too long.
pub fn leaves_room_for_sockets(state: &Path) -> Result<(), StateTooLong> {
    let room = SOCKET_PATH - SOCKET_BELOW.len();
    if state.as_os_str().len() <= room { Ok(()) } else { Err(StateTooLong { path: state.into(), room }) }
}

fn find_root(from: &Path) -> Result<PathBuf> {
    match from.ancestors().find(|dir| dir.join("workloads").is_dir()) {
        Some(root) => Ok(root.into()),
        None => bail!(
            "no `workloads` folder in {} or above: run isobench inside its checkout, or set ISOBENCH_ROOT",
            from.display()
        ),
    }
}

/// The folder of our programs: that of this one, or its parent where this is a test or a bench (`deps/`).
fn programs() -> Result<PathBuf> {
    if let Some(dir) = set("ISOBENCH_PROGRAMS")? {
        return Ok(dir);
    }
    let exe = env::current_exe().context("path of this program")?;
    let dir = exe.parent().context("folder of this program")?;
    Ok(if dir.ends_with("deps") { dir.parent().unwrap_or(dir).into() } else { dir.into() })
}

/// Longest wait for the build of all programs: six times what it takes from nothing on two cores.
const BUILD_DEADLINE: Duration = Duration::from_secs(3600);

/// Builds runners and agents: `cargo bench --bench NAME` builds no other package's programs. Cargo shows its own
/// progress; where all is built it takes a fraction of a second.
///
/// The benches are named too, because then Cargo unites features as it did for the bench itself, and compiles no engine
/// twice. What cannot be built is missing from the run; that is not fatal here.
pub fn build_programs() -> Result<()> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--workspace", "--bins", "--benches", "--keep-going"]);
    let built = Helper::spawn(&mut cargo).context("running cargo to build the runners")?;
    let status = built.wait(BUILD_DEADLINE).map_err(anyhow::Error::msg).context("building the runners")?;
    if !status.success() {
        eprintln!("some programs could not be built ({status}): their cells are missing");
    }
    Ok(())
}

/// Milliseconds since the Unix epoch: for people and file names, never for durations.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// A new run's id: UTC date and time to the millisecond, so that ids sort by time.
pub fn new_run_id() -> String {
    let format = time::macros::format_description!("[year][month][day]-[hour][minute][second]-[subsecond digits:3]");
    time::UtcDateTime::now().format(&format).expect("a fixed format of numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_folder_that_leaves_no_room_is_refused_with_the_remedy() {
        let of = |length: usize| PathBuf::from(format!("/{}", "x".repeat(length - 1)));
        assert_eq!(leaves_room_for_sockets(&of(67)), Ok(()));
        let error = leaves_room_for_sockets(&of(68)).unwrap_err().to_string();
        assert!(error.contains("has 68 bytes") && error.contains("67 are left"), "{error}");
        assert!(error.contains("set ISOBENCH_STATE"), "{error}");
    }
}
