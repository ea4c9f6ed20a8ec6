//! What a run has outside its own files while it lives, and whether all of it is gone afterwards.

use super::Checkout;
use isobench_runner::{owner, reap};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// What every agent in a container is told to dial.
const IN_CONTAINER: &str = "unix:/run/isobench/s";
/// What tests of other programs, and other runs, may have in the folder for temporary files meanwhile.
const OF_OTHERS: [&str; 3] = ["isobench-test-", "isobench-cli-", "isobench-0"];

/// The traces of the runs of one checkout.
pub struct Tracks {
    state: PathBuf,
    /// In the lists of mounts and sockets; a mount's source lacks the mount point that it is on.
    needle: String,
    cgroups: BTreeSet<PathBuf>,
    interfaces: BTreeSet<OsString>,
    temporary: BTreeSet<OsString>,
}

impl Tracks {
    /// To be asked for before the run.
    pub fn of(checkout: &Checkout) -> Tracks {
        let state = checkout.path("state");
        let folder = checkout.dir.path().file_name().unwrap().to_string_lossy();
        Tracks {
            needle: format!("{folder}/state"),
            state,
            cgroups: BTreeSet::new(),
            interfaces: names("/sys/class/net"),
            temporary: temporary(),
        }
    }

    /// Processes of that name that belong to a run.
    pub fn processes(&self, name: &str) -> Vec<u32> {
        let all = reap::with_cookie(&self.state).into_iter();
        all.filter(|pid| read(*pid, "comm").starts_with(name)).collect()
    }

    /// Processes with that word on their command line.
    pub fn told(&self, word: &str) -> Vec<u32> {
        reap::with_cookie(&self.state).into_iter().filter(|pid| read(*pid, "cmdline").contains(word)).collect()
    }

    /// The command lines of the agents in the blocks' containers: whatever daemon runs them, a folder of the block is
    /// mounted there. The probe's container does not count.
    pub fn containers(&mut self) -> Vec<String> {
        let agents = pids().map(|pid| (pid, read(pid, "cmdline"))).filter(|(_, line)| line.contains(IN_CONTAINER));
        let is_block = |folder: &str| folder.split('/').nth(2).is_some_and(|part| part.starts_with('b'));
        let in_block = |pid| read(pid, "mountinfo").split(&self.needle).skip(1).any(is_block);
        let ours: Vec<_> = agents.filter(|(pid, _)| in_block(*pid)).map(|(_, line)| line).collect();
        self.note_cgroups();
        ours
    }

    /// Those of one block.
    pub fn containers_of(&self, block: &Path) -> Vec<String> {
        let folder = block.strip_prefix(&self.state).unwrap().to_string_lossy();
        let mounted = format!("{}/{folder}/", self.needle);
        let agents = pids().map(|pid| (pid, read(pid, "cmdline"))).filter(|(_, line)| line.contains(IN_CONTAINER));
        agents
            .filter(|(pid, _)| read(*pid, "mountinfo").replace(' ', "/ ").contains(&mounted))
            .map(|(_, l)| l)
            .collect()
    }

    /// The folders of blocks in progress.
    pub fn blocks(&self) -> Vec<PathBuf> {
        let runs = children(&self.state).into_iter();
        let is_block = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with('b'));
        runs.flat_map(|run| children(&run)).filter(is_block).collect()
    }

    /// Whether a guest in a virtual machine has written that on its console.
    pub fn console_says(&self, word: &str) -> bool {
        self.blocks().iter().any(|block| self.console_of(block, word))
    }

    /// The same of one block.
    pub fn console_of(&self, block: &Path, word: &str) -> bool {
        let mut files = children(block).into_iter().filter(|p| p.is_file());
        files.any(|file| fs::read(file).is_ok_and(|text| String::from_utf8_lossy(&text).contains(word)))
    }

    /// The cgroups of containers: each tree is named after a backend and the owner, which is a process of the run.
    pub fn note_cgroups(&mut self) {
        let owners: BTreeSet<u32> = reap::with_cookie(&self.state).into_iter().collect();
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let tag = name.strip_prefix("isobench-").and_then(|rest| Some(rest.split_once('-')?.1));
            tag.and_then(owner::pid_of).is_some_and(|pid| owners.contains(&pid))
        };
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = children(root).into_iter().chain([root.to_path_buf()]);
        self.cgroups.extend(hierarchies.flat_map(|h| children(&h)).filter(is_ours));
    }

    /// No process, container, virtual machine, mount, socket, cgroup, interface or temporary file of the runs is left.
    #[track_caller]
    pub fn assert_gone(&mut self, checkout: &Checkout) {
        checkout.assert_nothing_left();
        assert_eq!(self.containers(), [] as [String; 0], "containers");
        let state = self.state.to_string_lossy().into_owned();
        let told: Vec<_> = pids().map(|pid| read(pid, "cmdline")).filter(|line| line.contains(&state)).collect();
        assert_eq!(told, [] as [String; 0], "processes without a cookie");
        let mounted: Vec<_> = pids().filter(|pid| read(*pid, "mountinfo").contains(&self.needle)).collect();
        assert_eq!(mounted, [] as [u32; 0], "processes with mounts");
        let sockets = fs::read_to_string("/proc/net/unix").unwrap();
        assert_eq!(sockets.lines().find(|l| l.contains(&self.needle)), None, "sockets");
        let cgroups: Vec<_> = self.cgroups.iter().filter(|c| c.exists()).collect();
        assert!(cgroups.is_empty(), "cgroups: {cgroups:?}");
        assert_eq!(names("/sys/class/net"), self.interfaces, "network interfaces");
        let files: Vec<_> = temporary().difference(&self.temporary).cloned().collect();
        assert!(files.is_empty(), "temporary files: {files:?}");
    }
}

fn pids() -> impl Iterator<Item = u32> {
    names("/proc").into_iter().filter_map(|name| name.to_str()?.parse().ok())
}

/// A file of a process, or nothing if it is gone.
fn read(pid: u32, file: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn names(folder: &str) -> BTreeSet<OsString> {
    fs::read_dir(folder).unwrap().flatten().map(|e| e.file_name()).collect()
}

fn temporary() -> BTreeSet<OsString> {
    let of_others = |name: &str| OF_OTHERS.iter().any(|other| name.starts_with(other));
    let ours = |name: &OsString| name.to_str().is_some_and(|n| n.starts_with("isobench") && !of_others(n));
    names("/tmp").into_iter().filter(ours).collect()
}

fn children(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map_or_else(|_| Vec::new(), |entries| entries.flatten().map(|e| e.path()).collect())
}
