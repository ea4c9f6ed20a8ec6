//! Owner tags. Anything that may outlive its process (container, cgroup, image, folder) carries the tag of the process
//! that made it, so that clean-up can tell the leftovers of a dead run from resources in use.

use crate::reap::{start_time, started_in};
use std::fs;
use std::io;
use std::sync::LazyLock;

/// First digits of the boot id in a tag: 48 of its 128 bits, because tags are part of names with limited lengths.
const BOOT_DIGITS: usize = 12;

/// What is known about the process of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// The process runs.
    Alive,
    /// The process provably does not run any more: same boot, same PID namespace, and no process has its id and its
    /// start time.
    Gone,
    /// Neither can be proven; the text says why. Such a resource is left alone.
    Unknown(&'static str),
}

/// Returns this process's tag: `<boot id>-<PID namespace>-<pid>-<start time>`.
///
/// The boot id has 12 hexadecimal digits (`/proc/sys/kernel/random/boot_id`), the namespace is the hexadecimal inode of
/// `/proc/self/ns/pid`, the start time is in clock ticks since boot (`proc(5)`, `/proc/PID/stat`, field 22).
pub fn me() -> String {
    let pid = std::process::id();
    tag(pid, start_time(pid).unwrap_or(0))
}

/// Returns the tag that a process with that id and start time has in this PID namespace.
pub fn tag(pid: u32, started: u64) -> String {
    format!("{}-{:x}-{pid}-{started}", boot(), namespace())
}

/// Says whether the process of `tag` still runs.
pub fn life(tag: &str) -> Life {
    let Some((boot_id, space, pid, started)) = parse(tag) else {
        return Life::Unknown("its owner tag is not of this version of isobench");
    };
    // A daemon or a folder may be shared with another machine, whose boots are not known here.
    if boot_id != boot() {
        return Life::Unknown("its owner ran on another machine, or before the last boot");
    }
    if space != namespace() {
        return Life::Unknown("its owner belongs to another PID namespace");
    }
    if !proc_shows_this_namespace() {
        return Life::Unknown("/proc shows another PID namespace");
    }
    match fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) if started_in(&stat) == Some(started) => Life::Alive,
        // Another process has the id now, or only a zombie is left.
        Ok(_) => Life::Gone,
        Err(_) if exists(pid) => Life::Unknown("its owner's process cannot be looked at (/proc mounted with hidepid?)"),
        Err(_) => Life::Gone,
    }
}

/// Whether the process of `tag` is provably gone.
pub fn is_gone(tag: &str) -> bool {
    life(tag) == Life::Gone
}

/// Returns the process id in a tag.
pub fn pid_of(tag: &str) -> Option<u32> {
    parse(tag).map(|(_, _, pid, _)| pid)
}

fn parse(tag: &str) -> Option<(&str, u64, u32, u64)> {
    let mut parts = tag.split('-');
    let (boot_id, space, pid, started) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let numbers = (u64::from_str_radix(space, 16).ok()?, pid.parse().ok()?, started.parse().ok()?);
    let whole = parts.next().is_none() && boot_id.len() == BOOT_DIGITS;
    whole.then_some((boot_id, numbers.0, numbers.1, numbers.2))
}

/// The first digits of this boot's id; zeros if the kernel does not tell it, which no other boot has. Read once: a tag
/// is made in the middle of some cold starts.
fn boot() -> &'static str {
    static BOOT: LazyLock<String> = LazyLock::new(|| {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(BOOT_DIGITS).collect();
        format!("{digits:0<BOOT_DIGITS$}")
    });
    &BOOT
}

/// The inode of this process's PID namespace, which a process never leaves; 0 if /proc does not tell it.
fn namespace() -> u64 {
    static NAMESPACE: LazyLock<u64> = LazyLock::new(|| {
        let link = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let text = link.to_string_lossy();
        text.trim_start_matches("pid:[").trim_end_matches(']').parse().unwrap_or(0)
    });
    *NAMESPACE
}

/// Whether the process ids in /proc are those of this process's namespace: `unshare --pid` without a new /proc leaves
/// the one of the parent.
fn proc_shows_this_namespace() -> bool {
    fs::read_link("/proc/self").is_ok_and(|link| link.to_string_lossy() == std::process::id().to_string())
}

fn exists(pid: u32) -> bool {
    let Ok(pid) = i32::try_from(pid) else { return false };
    // SAFETY: signal 0 is never delivered; the call only checks whether the process exists.
    let answer = unsafe { libc::kill(pid, 0) };
    answer == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_boot_and_namespace_can_be_proven_dead() {
        assert_eq!(life(&me()), Life::Alive);
        assert_eq!(life(&tag(std::process::id(), 1)), Life::Gone, "a reused pid is not its former owner");
        assert_eq!(life(&tag(u32::MAX, 5)), Life::Gone, "a pid that no kernel gives out");
        let [boot_id, space, pid, started] = me().split('-').map(String::from).collect::<Vec<_>>().try_into().unwrap();
        let other_boot = format!("{}-{space}-4194303-1", "f".repeat(boot_id.len()));
        assert!(matches!(life(&other_boot), Life::Unknown(_)));
        let other_space = format!("{boot_id}-1-4194303-1");
        assert!(matches!(life(&other_space), Life::Unknown(_)));
        for text in ["latest", "4194303-1", &format!("{pid}-{started}"), &format!("{}-1", me()), ""] {
            assert!(matches!(life(text), Life::Unknown(_)), "{text}");
        }
        assert_eq!(pid_of(&me()), Some(std::process::id()));
    }

    #[test]
    fn a_tag_fits_into_every_name_that_holds_one() {
        let longest = tag(4_194_304, 9_999_999_999_999);
        // A machine's name has at most 64 characters (`HOST_NAME_MAX`), and repositories are in lower case.
        assert!(format!("isobench-{longest}-999").len() <= 64, "{longest}");
        assert!(longest.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase() || c == '-'), "{longest}");
    }
}
