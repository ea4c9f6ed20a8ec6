//! Cgroups: the memory figure of a container, and trees of ours, which outlive a `kill -9` and lead to what is in them.
//!
//! Works on v1, v2 and both at once: every mounted hierarchy is looked at. A tree's name is its path below each
//! hierarchy's mount: a backend's prefix and its owner's tag ([`crate::owner`]). [`Maker`] makes those that no runtime
//! does.

mod maker;
mod own;

pub use maker::{Limit, Made, Maker};
pub use own::Own;

use crate::owner;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Begins the names of the trees around the runners of a run; the coordinator's owner tag follows.
pub const RUN_CGROUP: &str = "isobench-run-";

/// Longest wait for killed processes to leave their cgroups.
const EMPTY_DEADLINE: Duration = Duration::from_secs(5);

/// Returns the tags of the owners of all trees whose names are `prefix` and a tag.
pub fn owners(prefix: &str) -> BTreeSet<String> {
    let entries = hierarchies().into_iter().filter_map(|h| fs::read_dir(h.mount).ok()).flatten().flatten();
    entries.filter_map(|e| Some(e.file_name().to_str()?.strip_prefix(prefix)?.to_string())).collect()
}

/// A cgroup around a runner and everything that descends from it, whatever that does with its session, its parent and
/// its environment. Dropping it kills what is left inside. It has no controller, so nothing is limited or accounted.
#[derive(Debug)]
pub struct Around(String);

impl Around {
    /// Moves a process that has no children yet into a cgroup of its own. `None` if this machine has no hierarchy
    /// without controllers for that (only hybrid ones have: version 2 beside version 1), or permits it not.
    ///
    /// With version 2 alone, a cgroup at the top would take the runner out of isobench's own limits, and one below isobench's
    /// own would keep a service manager or container from handing controllers down there (no processes beside children). There,
    /// the end of a block kills what its runner has adopted ([`crate::reap::kill_children`]); only after a `kill -9` of the
    /// runner, a process that has cleared its environment and lost its parent is not found.
    pub fn process(pid: u32) -> Option<Around> {
        let hierarchies = hierarchies();
        let unified = hierarchies.iter().find(|h| h.v2)?;
        hierarchies.iter().find(|h| h.has("memory"))?;
        let name = format!("{RUN_CGROUP}{}/{pid}", owner::me());
        let folder = unified.mount.join(&name);
        // Another thread may just be removing the empty parent.
        (0..3).find(|_| fs::create_dir_all(&folder).is_ok())?;
        let around = Around(name);
        fs::write(folder.join("cgroup.procs"), pid.to_string()).ok()?;
        Some(around)
    }
}

impl Drop for Around {
    fn drop(&mut self) {
        clear(&self.0);
        // The tree of this process as well, if this was the last one in it.
        if let Some((tree, _)) = self.0.split_once('/') {
            roots(tree).iter().for_each(|root| drop(fs::remove_dir(root)));
        }
    }
}

/// Kills every process in the tree `name` and removes the tree. Answers with the number of processes killed.
pub fn clear(name: &str) -> usize {
    let roots = roots(name);
    let mut killed = BTreeSet::new();
    let until = Instant::now() + EMPTY_DEADLINE;
    loop {
        let mut left = false;
        for root in roots.iter().filter(|r| r.is_dir()) {
            for pid in processes(root) {
                // SAFETY: a signal to a process in a cgroup that only our containers are in.
                unsafe { libc::kill(pid as i32, libc::SIGKILL) };
                killed.insert(pid);
            }
            left |= !remove(root);
        }
        if !left || Instant::now() > until {
            return killed.len();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Removes the tree `name` as far as nobody is in it.
pub fn remove_empty(name: &str) {
    for root in roots(name) {
        remove(&root);
    }
}

/// Every process in the tree `name`.
pub fn members(name: &str) -> BTreeSet<u32> {
    roots(name).iter().flat_map(|root| processes(root)).collect()
}

/// The folder of the tree `name` that has its memory figure, where there is one.
pub fn memory_folder(name: &str) -> Option<PathBuf> {
    let mut hierarchies = hierarchies();
    // A hybrid machine has both; then v1 holds the memory controller.
    hierarchies.sort_by_key(|h| h.v2);
    let folders = hierarchies.into_iter().filter(|h| h.v2 || h.has("memory")).map(|h| h.mount.join(name));
    folders.into_iter().find(|f| f.join("memory.usage_in_bytes").exists() || f.join("memory.current").exists())
}

/// How often the kernel killed a process for want of memory in the cgroup whose folder this is: `oom_kill` in
/// `memory.events` (v2) or in `memory.oom_control` (v1).
pub fn oom_kills(folder: &Path) -> u64 {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let text = read("memory.events").or_else(|| read("memory.oom_control")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

/// The most memory that there ever was in the tree `name`, in bytes. `None` if the kernel does not count it: version 2
/// does from Linux 5.19 on.
pub fn peak(name: &str) -> Option<u64> {
    peak_of(&memory_folder(name)?)
}

fn peak_of(folder: &Path) -> Option<u64> {
    let read = |file: &str| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok();
    read("memory.peak").or_else(|| read("memory.max_usage_in_bytes"))
}

/// Whether there is a hierarchy of version 2.
pub fn has_v2() -> bool {
    hierarchies().iter().any(|h| h.v2)
}

/// Whether `controller` is in a hierarchy of version 1.
pub fn is_in_v1(controller: &str) -> bool {
    hierarchies().iter().any(|h| h.has(controller))
}

/// Whether a limit of memory with swap can be set: not if the kernel does not count swap.
pub fn counts_swap() -> bool {
    swap_is_counted(&hierarchies(), &fs::read_to_string("/proc/cmdline").unwrap_or_default())
}

/// Version 1 shows in its root whether swap is counted. In version 2 the root has no limits, but the cgroups in it have
/// if they have the memory controller. If there is none yet, the kernel's command line tells.
fn swap_is_counted(hierarchies: &[Hierarchy], command_line: &str) -> bool {
    if let Some(v1) = hierarchies.iter().find(|h| h.has("memory")) {
        return v1.mount.join("memory.memsw.limit_in_bytes").exists();
    }
    let below = hierarchies.iter().filter(|h| h.v2).flat_map(|h| children(&h.mount));
    match below.into_iter().find(|cgroup| cgroup.join("memory.max").exists()) {
        Some(cgroup) => cgroup.join("memory.swap.max").exists(),
        None => !command_line.split_whitespace().any(|word| word == "swapaccount=0"),
    }
}

fn roots(name: &str) -> Vec<PathBuf> {
    hierarchies().into_iter().map(|h| h.mount.join(name)).collect()
}

/// Every process in a cgroup and those below it.
fn processes(cgroup: &Path) -> Vec<u32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<u32> = text.lines().filter_map(|l| l.parse().ok()).collect();
    for child in children(cgroup) {
        pids.extend(processes(&child));
    }
    pids
}

/// Whether the kernel says that no process is in a cgroup or in those below it. Without an answer it is not so.
pub fn is_deserted(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.join("cgroup.procs")).is_ok() && processes(cgroup).is_empty()
}

/// Why cgroups below the one that is mounted cannot have limits here, and what a person does about it. `None` if they can
/// as far as can be told. Version 2 hands controllers down only from a cgroup without processes, or from the real root.
pub fn crowded() -> Option<String> {
    let hierarchies = hierarchies();
    let memory_is_v1 = hierarchies.iter().any(|h| h.has("memory"));
    hierarchies.iter().filter(|h| h.v2 && !memory_is_v1).find_map(|h| crowded_at(&h.mount))
}

fn crowded_at(mount: &Path) -> Option<String> {
    // The real root has no type.
    let is_root = !mount.join("cgroup.type").exists();
    let handed_down = fs::read_to_string(mount.join("cgroup.subtree_control")).ok()?;
    let here = fs::read_to_string(mount.join("cgroup.procs")).ok()?;
    let free = is_root || here.trim().is_empty() || handed_down.split_whitespace().any(|name| name == "memory");
    (!free).then(|| format!("{} has {CROWDED}", mount.display()))
}

/// What a cgroup has that hands no controller down, and the remedy.
const CROWDED: &str = "processes of its own, as in most containers, and so can hand no controller down: move them to a \
                       cgroup below it, or run isobench outside of the container or with its host's cgroups \
                       (--cgroupns=host)";

/// Removes a cgroup and those below it; false while the kernel still finds someone in one.
fn remove(cgroup: &Path) -> bool {
    let below = children(cgroup).iter().all(|child| remove(child));
    below && fs::remove_dir(cgroup).is_ok()
}

fn children(cgroup: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(cgroup) else { return Vec::new() };
    entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// The folder whose memory figure is that of the container `pid` is in, and the processes in it.
pub fn of_process(pid: u32) -> Option<(PathBuf, Vec<u32>)> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let hierarchies = hierarchies();
    // A hybrid machine has both; then v1 holds the memory controller.
    let folder = |wanted: &dyn Fn(&Hierarchy, &str) -> bool| {
        text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let hierarchy = hierarchies.iter().find(|h| wanted(h, controllers))?;
            let path = Path::new(path).strip_prefix(&hierarchy.root).ok()?;
            Some(hierarchy.mount.join(path))
        })
    };
    let memory = |h: &Hierarchy, line: &str| h.has("memory") && line.split(',').any(|c| c == "memory");
    let unified = |h: &Hierarchy, line: &str| h.v2 && line.is_empty();
    let folder = folder(&memory).or_else(|| folder(&unified))?;
    let pids = processes(&folder);
    Some((folder, pids))
}

/// A mounted hierarchy.
struct Hierarchy {
    mount: PathBuf,
    /// The part of it that is mounted: not `/` inside a container.
    root: PathBuf,
    v2: bool,
    /// Its own mount options: of v1 they name the controllers.
    options: String,
}

impl Hierarchy {
    /// Whether this is the v1 hierarchy of a controller, or of a name (`name=systemd`).
    fn has(&self, controller: &str) -> bool {
        !self.v2 && self.options.split(',').any(|option| option == controller)
    }
}

fn hierarchies() -> Vec<Hierarchy> {
    parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// `mountinfo`: id, parent, device, root, mount point, options, optional fields, `-`, type, source, super options.
fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let hierarchy = |line: &str| {
        let (mount, fs) = line.split_once(" - ")?;
        let (mount, mut fs) = (mount.split(' ').collect::<Vec<_>>(), fs.split(' '));
        let v2 = match fs.next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        Some(Hierarchy { root: mount.get(3)?.into(), mount: mount.get(4)?.into(), v2, options: fs.nth(1)?.into() })
    };
    mountinfo.lines().filter_map(hierarchy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_told_apart() {
        let found = parse(
            "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
             37 31 0:37 /docker/ab /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n",
        );
        let seen: Vec<_> = found.iter().map(|h| (h.mount.to_str().unwrap(), h.v2, h.has("memory"))).collect();
        assert_eq!(
            seen,
            [
                ("/sys/fs/cgroup/memory", false, true),
                ("/sys/fs/cgroup/systemd", false, false),
                ("/sys/fs/cgroup/unified", true, false)
            ]
        );
        assert_eq!(found[1].root, Path::new("/docker/ab"));
        assert!(found[1].has("name=systemd"));
    }

    #[test]
    fn swap_is_counted_where_a_cgroup_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let v2 = parse(&format!("35 24 0:30 / {at} rw - cgroup2 cgroup2 rw\n"));
        assert!(swap_is_counted(&v2, "quiet"), "no cgroup has the memory controller yet");
        assert!(!swap_is_counted(&v2, "quiet swapaccount=0"));
        let slice = dir.path().join("system.slice");
        fs::create_dir(&slice).unwrap();
        fs::write(slice.join("memory.max"), "max").unwrap();
        assert!(!swap_is_counted(&v2, "quiet"));
        fs::write(slice.join("memory.swap.max"), "max").unwrap();
        assert!(swap_is_counted(&v2, "quiet"));
        let v1 = parse(&format!("35 24 0:30 / {at} rw - cgroup cgroup rw,memory\n"));
        assert!(!swap_is_counted(&v1, "quiet"));
        fs::write(dir.path().join("memory.memsw.limit_in_bytes"), "9").unwrap();
        assert!(swap_is_counted(&v1, "quiet"));
    }

    #[test]
    fn a_container_of_version_2_is_told_from_the_root_and_from_a_delegated_cgroup() {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(dir.path().join(file), text).unwrap();
        write("cgroup.subtree_control", "\n");
        write("cgroup.procs", "1\n7\n");
        assert_eq!(crowded_at(dir.path()), None, "the real root");
        write("cgroup.type", "domain\n");
        assert!(crowded_at(dir.path()).unwrap().contains("--cgroupns=host"));
        write("cgroup.subtree_control", "cpu memory pids\n");
        assert_eq!(crowded_at(dir.path()), None, "handed down");
        write("cgroup.subtree_control", "\n");
        write("cgroup.procs", "");
        assert_eq!(crowded_at(dir.path()), None, "no process is in the way");
    }

    #[test]
    fn the_peak_is_read_from_either_version() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(peak_of(dir.path()), None);
        fs::write(dir.path().join("memory.max_usage_in_bytes"), "17\n").unwrap();
        assert_eq!(peak_of(dir.path()), Some(17));
        fs::write(dir.path().join("memory.peak"), "18\n").unwrap();
        assert_eq!(peak_of(dir.path()), Some(18));
    }
}
