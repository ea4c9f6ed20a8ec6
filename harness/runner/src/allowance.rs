//! What this machine and its administrator allow this process: processors, quota, memory, descriptors, processes.

use crate::cgroup::Own;
use crate::processors::OURS;
use isobench_core::run::Allowance;
use std::collections::BTreeSet;
use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

/// The environment variable in which runners learn the limit of open files before isobench raised it.
pub const OPEN_FILES: &str = "ISOBENCH_OPEN_FILES";

/// The soft limit of open files before this process raised it.
static FOUND_OPEN_FILES: OnceLock<u64> = OnceLock::new();

/// Reads what this process is allowed.
pub fn describe() -> Allowance {
    let own = Own::find();
    let limited = |resource| limit(resource).ok().map(|limit| limit.rlim_cur).filter(|n| *n != libc::RLIM_INFINITY);
    let files = limit(libc::RLIMIT_NOFILE).ok();
    Allowance {
        cpus: OURS.list(),
        processors: OURS.count() as u32,
        cpu_quota_milli: own.cpu_quota_milli(),
        memory_bytes: own.memory_limit(),
        pids: own.pids_limit(),
        open_files: files.map(|limit| [found_open_files().unwrap_or(limit.rlim_cur), limit.rlim_max]),
        processes: limited(libc::RLIMIT_NPROC),
        address_space_bytes: limited(libc::RLIMIT_AS),
    }
}

/// Whether the CPU quota and the processors that bind this process bind all of `pids` too. Processes that a daemon makes,
/// and those in cgroups elsewhere, are not bound by what binds isobench.
pub fn binds(pids: &BTreeSet<u32>) -> bool {
    let own = Own::find();
    pids.iter().all(|pid| own.cpu_quota_binds(*pid) && OURS.bind(*pid))
}

/// Raises the soft limit of open files to the hard one: a coordinator and its runners hold several descriptors for each
/// instance. A limit that cannot be raised stays, and is named when it is reached.
pub fn raise_open_files() {
    let Ok(mut files) = limit(libc::RLIMIT_NOFILE) else { return };
    FOUND_OPEN_FILES.get_or_init(|| {
        let told = env::var(OPEN_FILES).ok().and_then(|text| text.parse().ok());
        told.unwrap_or(files.rlim_cur)
    });
    files.rlim_cur = files.rlim_max;
    // SAFETY: a plain system call on a valid struct.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &files) };
}

/// The soft limit of open files before isobench raised it; `None` if it has not.
pub fn found_open_files() -> Option<u64> {
    FOUND_OPEN_FILES.get().copied()
}

/// Gives `command` the limit of open files that isobench found. Daemons need that: they hand theirs to containers, where
/// programs close every descriptor up to the limit, and a private daemon must not differ from the system's. Agents are
/// spawned without it. The call would cost them `posix_spawn`, and nothing in an agent depends on the limit.
pub fn with_found_open_files(command: &mut Command) {
    let Some(found) = found_open_files() else { return };
    let restore = move || {
        let mut files = limit(libc::RLIMIT_NOFILE)?;
        files.rlim_cur = found.min(files.rlim_max);
        // SAFETY: a plain system call on a valid struct.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &files) } == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: between `fork` and `exec` there are only system calls.
    unsafe { command.pre_exec(restore) };
}

fn limit(resource: libc::__rlimit_resource_t) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a plain system call on a valid struct.
    if unsafe { libc::getrlimit(resource, &mut limit) } == 0 { Ok(limit) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_here_and_a_daemon_gets_the_one_that_was_found() {
        raise_open_files();
        let allowed = describe();
        let [found, hard] = allowed.open_files.unwrap();
        assert_eq!(limit(libc::RLIMIT_NOFILE).unwrap().rlim_cur, hard);
        assert!(allowed.processors > 0);
        let mut shell = Command::new("sh");
        with_found_open_files(shell.args(["-c", "ulimit -Sn"]));
        let said = String::from_utf8(shell.output().unwrap().stdout).unwrap();
        assert_eq!(said.trim(), if found == libc::RLIM_INFINITY { "unlimited".into() } else { found.to_string() });
    }
}
