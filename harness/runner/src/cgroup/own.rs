//! The cgroups that this process itself is in: what they allow it, and how much of that is left.

use super::{Hierarchy, hierarchies};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// At and above this, version 1 means no limit: the largest number of whole pages.
const NO_LIMIT: u64 = 1 << 60;

/// The cgroups of one process, each with those above it as far as they are mounted. A limit of any of them holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    cpu: Vec<PathBuf>,
    memory: Vec<PathBuf>,
    pids: Vec<PathBuf>,
}

impl Own {
    /// Finds the cgroups of this process.
    pub fn find() -> Own {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Own::of(&hierarchies(), &text)
    }

    /// Whether the CPU quotas of these cgroups bind the process `pid` as well: it is in each cgroup that has one. False
    /// if that cannot be seen.
    pub fn cpu_quota_binds(&self, pid: u32) -> bool {
        let memberships = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        self.quota_binds(&hierarchies(), &memberships)
    }

    fn quota_binds(&self, hierarchies: &[Hierarchy], memberships: &str) -> bool {
        let mut limited = self.cpu.iter().filter(|folder| quota_milli(folder).is_some());
        // A path like `/../other` is beside or above what this cgroup namespace shows.
        let seen = !memberships.contains(":/..");
        let others = path(hierarchies, memberships, "cpu").filter(|_| seen).unwrap_or_default();
        limited.all(|folder| others.contains(folder))
    }

    /// `memberships` has the lines of `/proc/PID/cgroup`.
    fn of(hierarchies: &[Hierarchy], memberships: &str) -> Own {
        let up = |controller: &str| path(hierarchies, memberships, controller).unwrap_or_default();
        Own { cpu: up("cpu"), memory: up("memory"), pids: up("pids") }
    }

    /// The CPU quota in thousandths of a processor: the smallest on the path. `None` if there is none.
    pub fn cpu_quota_milli(&self) -> Option<u64> {
        self.cpu.iter().filter_map(|folder| quota_milli(folder)).min()
    }

    /// How long the CPU quotas have kept the cgroups from running so far. `None` if the kernel does not report it: no
    /// cgroup on the path has the controller.
    pub fn throttled(&self) -> Option<Duration> {
        self.cpu.iter().filter_map(|folder| throttled(folder)).reduce(|a, b| a + b)
    }

    /// The memory limit in bytes: the smallest on the path. `None` if there is none.
    pub fn memory_limit(&self) -> Option<u64> {
        self.memory.iter().filter_map(|folder| memory_limit(folder)).min()
    }

    /// The bytes of memory that are left under the limits on the path. What the kernel can take back at once, the
    /// inactive part of the page cache, counts as left, as it does in `MemAvailable`.
    pub fn memory_left(&self) -> Option<u64> {
        let left = |folder: &PathBuf| Some(memory_limit(folder)?.saturating_sub(memory_used(folder)?));
        self.memory.iter().filter_map(left).min()
    }

    /// How often the kernel killed a process in the cgroups that have a memory limit, because it was reached.
    pub fn oom_kills(&self) -> u64 {
        let limited = self.memory.iter().filter(|folder| memory_limit(folder).is_some());
        limited.map(|folder| super::oom_kills(folder)).sum()
    }

    /// Most processes and threads: the smallest limit on the path. `None` if there is none.
    pub fn pids_limit(&self) -> Option<u64> {
        self.pids.iter().filter_map(|folder| number(folder, "pids.max")).min()
    }
}

/// The folder of the cgroup that `controller` puts the process in, then those above it up to the mount.
fn path(hierarchies: &[Hierarchy], memberships: &str, controller: &str) -> Option<Vec<PathBuf>> {
    let v1 = hierarchies.iter().find(|h| h.has(controller));
    let hierarchy = v1.or_else(|| hierarchies.iter().find(|h| h.v2))?;
    let within = memberships.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let mine = if hierarchy.v2 { controllers.is_empty() } else { controllers.split(',').any(|c| c == controller) };
        mine.then_some(path)
    })?;
    // In a container the names of the cgroups above it are not those of what is mounted: its own is the mount itself.
    let within = Path::new(within).strip_prefix(&hierarchy.root).unwrap_or(Path::new(""));
    let own = hierarchy.mount.join(within);
    let up = own.ancestors().take_while(|folder| folder.starts_with(&hierarchy.mount));
    Some(up.map(Path::to_path_buf).collect())
}

fn text(folder: &Path, file: &str) -> Option<String> {
    fs::read_to_string(folder.join(file)).ok()
}

/// A file that holds one number. `max` and `-1` are none.
fn number(folder: &Path, file: &str) -> Option<u64> {
    text(folder, file)?.trim().parse().ok()
}

/// A line `name value` of a file of statistics.
fn statistic(folder: &Path, file: &str, name: &str) -> Option<u64> {
    let text = text(folder, file)?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn quota_milli(folder: &Path) -> Option<u64> {
    let v2 = || {
        let max = text(folder, "cpu.max")?;
        let (quota, period) = max.trim().split_once(' ')?;
        Some((quota.parse::<u64>().ok()?, period.parse::<u64>().ok()?))
    };
    let v1 = || Some((number(folder, "cpu.cfs_quota_us")?, number(folder, "cpu.cfs_period_us")?));
    let (quota, period) = v2().or_else(v1)?;
    (quota * 1000).checked_div(period)
}

fn throttled(folder: &Path) -> Option<Duration> {
    let v2 = statistic(folder, "cpu.stat", "throttled_usec").map(Duration::from_micros);
    v2.or_else(|| statistic(folder, "cpu.stat", "throttled_time").map(Duration::from_nanos))
}

fn memory_limit(folder: &Path) -> Option<u64> {
    let limit = number(folder, "memory.max").or_else(|| number(folder, "memory.limit_in_bytes"));
    limit.filter(|bytes| *bytes < NO_LIMIT)
}

fn memory_used(folder: &Path) -> Option<u64> {
    let (used, cache) = match number(folder, "memory.current") {
        Some(used) => (used, "inactive_file"),
        None => (number(folder, "memory.usage_in_bytes")?, "total_inactive_file"),
    };
    Some(used.saturating_sub(statistic(folder, "memory.stat", cache).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    /// A folder with files in place of what the kernel shows.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    #[test]
    fn the_smallest_limit_on_the_path_holds_in_version_2() {
        let dir = tree(&[
            ("job/cpu.max", "150000 100000\n"),
            ("job/cpu.stat", "usage_usec 9\nnr_throttled 3\nthrottled_usec 2000\n"),
            ("job/memory.max", "1073741824\n"),
            ("job/memory.events", "oom 3\noom_kill 2\n"),
            ("job/run/memory.events", "oom 1\noom_kill 1\n"),
            ("job/memory.current", "700000000\n"),
            ("job/memory.stat", "anon 1\ninactive_file 100000000\n"),
            ("job/pids.max", "64\n"),
            ("job/run/cpu.max", "max 100000\n"),
            ("job/run/cpu.stat", "nr_throttled 0\nthrottled_usec 0\n"),
            ("job/run/memory.max", "max\n"),
            ("job/run/memory.current", "500\n"),
            ("job/run/pids.max", "max\n"),
            ("cpu.stat", "usage_usec 9\n"),
        ]);
        let mounts = parse(&format!("35 24 0:30 / {} rw - cgroup2 cgroup2 rw\n", dir.path().display()));
        let own = Own::of(&mounts, "0::/job/run\n");
        assert_eq!(own.cpu_quota_milli(), Some(1500));
        assert_eq!(own.throttled(), Some(Duration::from_millis(2)));
        assert_eq!(own.memory_limit(), Some(1 << 30));
        assert_eq!(own.memory_left(), Some((1 << 30) - 600_000_000));
        assert_eq!((own.pids_limit(), own.oom_kills()), (Some(64), 2));
    }

    #[test]
    fn version_1_has_a_path_for_each_controller() {
        let dir = tree(&[
            ("cpu/a/cpu.cfs_quota_us", "50000\n"),
            ("cpu/a/cpu.cfs_period_us", "100000\n"),
            ("cpu/a/cpu.stat", "nr_periods 5\nnr_throttled 1\nthrottled_time 7000000\n"),
            ("memory/b/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/b/memory.usage_in_bytes", "5000\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        let at = dir.path().display();
        let mounts = parse(&format!(
            "33 31 0:30 / {at}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n35 31 0:32 / {at}/memory rw - cgroup cgroup rw,memory\n"
        ));
        let own = Own::of(&mounts, "4:memory:/b\n3:cpu,cpuacct:/a\n0::/elsewhere\n");
        assert_eq!((own.cpu_quota_milli(), own.throttled()), (Some(500), Some(Duration::from_millis(7))));
        assert_eq!((own.memory_limit(), own.memory_left(), own.pids_limit()), (None, None, None));
    }

    #[test]
    fn a_quota_binds_the_processes_below_its_cgroup() {
        let dir = tree(&[("job/cpu.max", "50000 100000\n"), ("job/run/cpu.max", "max 100000\n")]);
        let mounts = parse(&format!("35 24 0:30 / {} rw - cgroup2 cgroup2 rw\n", dir.path().display()));
        let own = Own::of(&mounts, "0::/job/run\n");
        for (member, bound) in [
            ("0::/job/other\n", true),
            ("0::/docker/ab\n", false),
            ("0::/\n", false),
            ("0::/../job\n", false),
            ("", false),
        ] {
            assert_eq!(own.quota_binds(&mounts, member), bound, "{member}");
        }
        let free = Own::of(&mounts, "0::/elsewhere\n");
        assert!(free.quota_binds(&mounts, "0::/docker/ab\n"), "no quota is in force");
    }

    #[test]
    fn in_a_container_the_mount_is_the_cgroup() {
        let dir = tree(&[("memory.max", "4096\n"), ("memory.current", "96\n")]);
        let at = dir.path().display();
        for (root, member) in [("/", "0::/\n"), ("/docker/ab", "0::/docker/ab\n"), ("/docker/ab", "0::/../cd\n")] {
            let mounts = parse(&format!("35 24 0:30 {root} {at} rw - cgroup2 cgroup2 rw\n"));
            let own = Own::of(&mounts, member);
            assert_eq!((own.memory_limit(), own.memory_left()), (Some(4096), Some(4000)), "{root} {member}");
            assert_eq!(own.throttled(), None, "not reported is not the same as not throttled");
        }
    }
}
