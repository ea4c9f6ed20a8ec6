//! The one memory yardstick for all models: what the kernel says of the attributed processes and cgroups.

use crate::backend::Attribution;
use crate::cgroup;
use isobench_core::{Fault, FaultKind};
use std::fs;
use std::io;
use std::path::Path;

/// One reading, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Proportional set size: private pages whole, shared pages divided by their users.
    pub pss: u64,
    /// Unique set size: private pages alone.
    pub uss: u64,
    /// Resident set size: shared pages in full, in every process.
    pub rss: u64,
    /// What the cgroups were charged; `None` where there is no cgroup.
    pub cgroup: Option<u64>,
    /// The kernel's `MemAvailable`, for the whole machine.
    pub available: u64,
    /// What the instances' own kernels say is in use, `MemTotal` less `MemAvailable`, summed; `None` without such.
    pub guest_used: Option<u64>,
}

/// Reads every yardstick for what is attributed. A process that cannot be read is a fault, as is one without a figure:
/// its memory would silently be zero. So is a cgroup that no process is in: an instance that lives was moved out of it.
///
/// # Errors
/// Returns an error if a process or cgroup has no figure, or if a process that belongs there is not known.
pub fn read(attribution: &Attribution) -> Result<Reading, Fault> {
    if let Some(why) = &attribution.unknown {
        return Err(Fault::backend(why.clone()));
    }
    let mut reading = Reading::default();
    for pid in &attribution.pids {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).map_err(|e| unreadable(*pid, &path, &e))?;
        let pss = field(&text, "Pss:").ok_or_else(|| Fault::backend(format!("{path}: no line `Pss:`")))?;
        reading.pss += pss;
        reading.uss += field(&text, "Private_Clean:").unwrap_or(0) + field(&text, "Private_Dirty:").unwrap_or(0);
        reading.rss += field(&text, "Rss:").unwrap_or(0);
    }
    for cgroup in &attribution.cgroups {
        reading.cgroup = Some(reading.cgroup.unwrap_or(0) + cgroup_bytes(cgroup)?);
        if cgroup::is_deserted(cgroup) {
            return Err(Fault::backend(format!(
                "{}: no process is in this cgroup any more: another program (systemd, a cgroup daemon) moved the \
                 instance's processes, so their memory is charged elsewhere; stop that program while isobench runs",
                cgroup.display()
            )));
        }
    }
    let meminfo = fs::read_to_string("/proc/meminfo")
        .map_err(|e| Fault::new(FaultKind::Internal, format!("/proc/meminfo: {e}")))?;
    reading.available = field(&meminfo, "MemAvailable:").unwrap_or(0);
    Ok(reading)
}

/// Why the memory of a process that belongs to a row cannot be read.
fn unreadable(pid: u32, path: &str, error: &io::Error) -> Fault {
    let exists = Path::new(&format!("/proc/{pid}")).exists();
    let why = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => {
            "the process belongs to another user, or a security module (Yama's kernel.yama.ptrace_scope, a container's \
             profile) forbids reading it: run isobench as root or as that user"
        }
        Some(libc::ENOENT) if exists => "the kernel does not offer this file (CONFIG_PROC_PAGE_MONITOR, gVisor)",
        Some(libc::ENOENT | libc::ESRCH) => {
            "the process ended, or it cannot be seen from here: it is in another PID namespace (a daemon outside of this \
             container), or /proc is mounted with hidepid"
        }
        _ => "the kernel gives no memory figure for the process",
    };
    Fault::backend(format!("{path}: {error}: {why}"))
}

/// `memory.current` (v2) or `memory.usage_in_bytes` (v1).
fn cgroup_bytes(cgroup: &Path) -> Result<u64, Fault> {
    let read = |name: &str| fs::read_to_string(cgroup.join(name)).ok()?.trim().parse().ok();
    read("memory.current")
        .or_else(|| read("memory.usage_in_bytes"))
        .ok_or_else(|| Fault::backend(format!("{}: no memory figure: the cgroup is gone", cgroup.display())))
}

/// A `Name:   123 kB` field, in bytes. `smaps_rollup` has each name once.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory() {
        let reading = read(&Attribution::this_process()).unwrap();
        assert!(reading.uss > 0 && reading.uss <= reading.pss && reading.pss <= reading.rss);
        assert!(reading.available > 0);
        assert_eq!(reading.cgroup, None);
    }

    #[test]
    fn a_cgroup_that_its_processes_were_moved_out_of_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        let attribution = Attribution { cgroups: [dir.path().into()].into(), ..Attribution::default() };
        fs::write(dir.path().join("memory.current"), "4096\n").unwrap();
        for (processes, expected) in [("17\n", Some(4096)), ("", None)] {
            fs::write(dir.path().join("cgroup.procs"), processes).unwrap();
            let read = read(&attribution);
            match expected {
                Some(_) => assert_eq!(read.unwrap().cgroup, expected),
                None => assert!(read.unwrap_err().message.contains("moved the instance's processes")),
            }
        }
    }

    #[test]
    fn a_process_that_is_gone_is_a_fault_not_zero() {
        let fault = read(&Attribution::process(u32::MAX)).unwrap_err();
        assert_eq!(fault.kind, FaultKind::BackendFailed);
    }
}
