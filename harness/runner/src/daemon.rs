//! A daemon of our own: its data, socket, cgroups and mounts are apart from everyone else's, and go with it.
//!
//! It runs in a mount and a network namespace of its own. So whatever it and its containers mount, and a bridge, is
//! seen by nobody else, and the kernel removes it when the last of them is killed: taking it down, politely or after a
//! `kill -9`, is to kill processes, which are found by cookie (the daemon, its helpers, shims) and by cgroup (what runs
//! in containers).

use crate::backend::Cleaned;
use crate::stopwatch::Deadline;
use crate::{allowance, cgroup, containers, reap, usable};
use isobench_core::Fault;
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest wait for it to answer: 0.3 s is usual, a busy machine with a slow disk takes many times longer.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// Longest wait for its folder to be removable: the kernel unmounts behind the killed processes.
const REMOVE_DEADLINE: Duration = Duration::from_secs(5);
/// Its standard output and error, in its folder.
const LOG: &str = "log";

/// A running daemon. Dropping it leaves nothing of it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    name: String,
    dir: PathBuf,
    cgroup: String,
}

impl Daemon {
    /// Starts `command`, all of whose files are below `dir`, which exists. `cgroup` is the tree that its containers are
    /// in. `hidden` are folders that it uses wherever its files lie: in its namespace, each is an empty one.
    ///
    /// # Errors
    /// The fault of a user who is not root, or of the system.
    pub fn spawn(
        mut command: Command,
        dir: &Path,
        cgroup: String,
        hidden: &'static [&'static CStr],
    ) -> Result<Daemon, Fault> {
        // SAFETY: cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return Err(Fault::backend("only root can start one"));
        }
        // Snapshots lie below the folder, and overlayfs has its folders from one line of mount options.
        let usable = usable::without(dir, ",:\\", "the overlay file system", usable::STATE_REMEDY);
        usable.map_err(|e| Fault::backend(e.to_string()))?;
        let program = PathBuf::from(command.get_program());
        let mut spawn = || {
            for folder in hidden {
                fs::create_dir_all(folder.to_str().expect("ASCII"))?;
            }
            let log = File::create(dir.join(LOG))?;
            command.env(reap::COOKIE, dir).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            allowance::with_found_open_files(&mut command);
            // SAFETY: only system calls between fork and exec.
            unsafe { command.pre_exec(move || enter_namespace(hidden)) };
            command.spawn()
        };
        let failed = |e: io::Error| format!("starting {} in {}: {e}", program.display(), dir.display());
        let child = spawn().map_err(|e| Fault::backend(failed(e)))?;
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Daemon { child, name, dir: dir.into(), cgroup })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Every process that it has started, and itself.
    pub fn family(&self) -> BTreeSet<u32> {
        reap::with_cookie(&self.dir).into_iter().collect()
    }

    /// Waits until it `answers`.
    ///
    /// # Errors
    /// The fault of a daemon that has ended or does not answer within 30 s, with its last line.
    pub fn wait<T>(&mut self, mut answers: impl FnMut() -> Option<T>) -> Result<T, Fault> {
        let deadline = Deadline::after(START_DEADLINE);
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Fault::backend(format!("{} ended with {status}: {}", self.name, self.last_words())));
            }
            if let Some(answer) = answers() {
                return Ok(answer);
            }
            if deadline.passed() {
                return Err(deadline.fault(format!("{} did not come up: {}", self.name, self.last_words())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.dir.join(LOG)).unwrap_or_default();
        log.lines().rev().find(|l| !l.is_empty()).unwrap_or("it said nothing").to_string()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // First the daemon, which could start something, then what it started. All of it carries the cookie or is in the
        // cgroup of this process, which made the folder.
        reap::kill_cookie(&self.dir);
        let _ = self.child.wait();
        cgroup::clear(&self.cgroup);
        let deadline = Deadline::after(REMOVE_DEADLINE);
        // The folder was made for this daemon alone, inside the state folder of this process.
        while fs::remove_dir_all(&self.dir).is_err() && self.dir.exists() && !deadline.passed() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Takes down what is left of a backend's daemons whose owners are gone: `dead` are the state folders of dead runs,
/// `cgroups` is what its trees are called before their owners' tags.
pub fn reap(backend: &str, cgroups: &str, dead: &[PathBuf]) -> Cleaned {
    let mut cleaned = Cleaned::default();
    for dir in dead {
        let killed = reap::kill_cookie(dir);
        if !killed.is_empty() {
            cleaned.removed.push(format!("{backend}: {} processes of {}", killed.len(), dir.display()));
        }
    }
    cleaned.extend(containers::reap(backend, cgroups));
    cleaned
}

/// In the child: a mount namespace and a network of its own, and death with the owner.
fn enter_namespace(hidden: &[&CStr]) -> io::Result<()> {
    let none = std::ptr::null();
    let check = |answer: libc::c_int| if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: all pointers are to constants; null where the kernel ignores the argument.
    unsafe {
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        check(libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET))?;
        // The host's mounts keep coming in, ours do not get out.
        check(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_SLAVE, none.cast()))?;
        for folder in hidden {
            check(libc::mount(c"tmpfs".as_ptr(), folder.as_ptr(), c"tmpfs".as_ptr(), 0, c"mode=711".as_ptr().cast()))?;
        }
    }
    Ok(())
}
