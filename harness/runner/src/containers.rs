//! What containers without a daemon have in common, whoever makes them: what one sees, what it may use, whose it is.

mod ids;

pub use ids::Ids;

use crate::backend::{Attribution, Cleaned, Deployment, Prepared, RunContext, Target};
use crate::cgroup::Own;
use crate::{cgroup, owner, reap};
use isobench_core::{Fault, FaultKind, Limits};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the agent lies in a container.
pub const AGENT: &str = "/agent";
/// Where the prepared guest lies in a container.
pub const GUEST: &str = "/guest";
/// Where the socket lies in a container. It can be dialled through a read-only mount.
pub const SOCKET: &str = "/socket";

/// What a container may use beside its guest's memory, in bytes: the agent's own heap, stacks, page tables, and the
/// page cache of a 39 MB agent. V8 wants the most: 35 MB of its own, and array buffers up to the guest's limit once more
/// (64 MiB by default).
pub const ENGINE_ROOM: u64 = 192 << 20;
/// Most processes and threads of a container: V8 starts up to 16 workers, and a guest starts none.
pub const PIDS: u64 = 64;

/// The memory limit of a container, in bytes.
pub fn memory_limit(limits: &Limits) -> u64 {
    limits.memory_bytes.saturating_add(ENGINE_ROOM)
}

/// Makes a root folder of nothing but mount points: the three files that an agent needs, and `folders`.
///
/// # Errors
/// The fault of what cannot be made.
pub fn empty_root(root: &Path, folders: &[&str]) -> Result<(), Fault> {
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    let made = fs::create_dir_all(root)
        .and_then(|()| folders.iter().try_for_each(|folder| fs::create_dir_all(inside(folder))))
        .and_then(|()| [AGENT, GUEST, SOCKET].iter().try_for_each(|file| fs::File::create(inside(file)).map(drop)));
    made.map_err(|e| Fault::backend(format!("the root folder {}: {e}", root.display())))
}

/// Numbers the containers of this process: some names are the whole machine's.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// The cgroups of this process's containers: a tree that carries its tag, so that who finds it knows whose it was.
/// Dropping it removes the tree as far as it is empty.
#[derive(Debug)]
pub struct Tree(String);

impl Tree {
    /// That of a backend, whose trees' names begin with `prefix`.
    pub fn new(prefix: &str) -> Tree {
        Tree(format!("{prefix}{}", owner::me()))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The number of the next container, and the name of its cgroup.
    pub fn next(&self) -> (u32, String) {
        let n = STARTED.fetch_add(1, Ordering::Relaxed);
        (n, format!("{}/{n}", self.0))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // Runtimes remove their containers' cgroups, not the parent. One with containers of another deployment stays.
        cgroup::remove_empty(&self.0);
    }
}

/// Takes down the containers of processes that are gone, by the trees of cgroups that carry their tags.
pub fn reap(backend: &str, prefix: &str) -> Cleaned {
    let mut cleaned = Cleaned::default();
    for tag in cgroup::owners(prefix) {
        let name = format!("{prefix}{tag}");
        let remedy = format!("find /sys/fs/cgroup -depth -type d -path '*/{name}*' -exec rmdir {{}} +");
        cleaned.judge(&format!("{backend}: cgroups {name} and the processes in them"), &tag, &remedy, || {
            cgroup::clear(&name);
            true
        });
    }
    cleaned
}

/// As [`Prepared::deploy`], without anything prepared.
pub type Deploy = fn(&RunContext, &Target) -> Result<Box<dyn Deployment>, Fault>;

/// What a run's cells share where containers need no daemon: nothing. Dropping it, in the owner process at the end of
/// the run, takes down what killed runners left.
#[derive(Debug)]
pub struct NoDaemon {
    /// Makes a guest ready.
    pub deploy: Deploy,
    /// Takes down the containers of processes that are gone.
    pub reap: fn() -> Cleaned,
    /// Whether a container has a cgroup of its own in version 1's hierarchy for the CPU too, if there is one.
    pub cpu_cgroup: bool,
}

impl Prepared for NoDaemon {
    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        (self.deploy)(ctx, target)
    }

    /// Their trees of cgroups are at the top of the hierarchies, so the quota of isobench's own cgroup does not reach them.
    fn is_bound(&self) -> bool {
        Own::find().cpu_quota_milli().is_none() || (!self.cpu_cgroup && cgroup::is_in_v1("cpu"))
    }
}

impl Drop for NoDaemon {
    fn drop(&mut self) {
        (self.reap)();
    }
}

/// The processes in a container's cgroup, and its memory.
pub fn attribution(cgroup: &str) -> Attribution {
    let (pids, cgroups) = (cgroup::members(cgroup), cgroup::memory_folder(cgroup).into_iter().collect());
    Attribution { pids, cgroups, ..Attribution::default() }
}

/// Whether the process `pid`, a number that a daemon tells, is of the container `id`. A daemon may be in another PID
/// namespace, where its numbers mean other processes than here. So the container's id, which no other has, must be in the
/// path of the process's cgroup, in its command line, or in that of its parent (a shim).
pub fn is_of(pid: u32, id: &str) -> bool {
    let names = |pid: u32, file: &str| {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        text.windows(id.len().max(1)).any(|part| part == id.as_bytes())
    };
    names(pid, "cgroup") || names(pid, "cmdline") || reap::parent(pid).is_some_and(|shim| names(shim, "cmdline"))
}

/// The processes of the container `id`, by `members`, if the process `pid` that its daemon tells is [of it](is_of).
pub fn proven(pid: u32, id: &str, members: impl FnOnce() -> Attribution) -> Attribution {
    if is_of(pid, id) {
        return members();
    }
    Attribution::unknown(format!(
        "the daemon says that container {id} is process {pid}, but nothing of that process here names the container: the \
         daemon is in another PID namespace, so the container's memory cannot be read; run isobench in the daemon's"
    ))
}

/// The fault of a container in whose cgroup the kernel has killed for want of memory.
pub fn out_of_memory(cgroup: &str) -> Option<Fault> {
    (cgroup::oom_kills(&cgroup::memory_folder(cgroup)?) > 0).then(at_its_limit)
}

/// The fault of a container that the kernel killed at its memory limit.
pub fn at_its_limit() -> Fault {
    let message = "the kernel killed the container at its memory limit; memory_mib in the workload's [limits] can \
                   allow more";
    Fault::new(FaultKind::OutOfMemory, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;
    use std::io::Read;
    use std::process::{Command, Stdio};

    const ID: &str = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

    #[test]
    fn the_memory_of_another_process_is_never_that_of_a_container() {
        let me = std::process::id();
        let unknown = proven(me, ID, Attribution::this_process);
        assert!(unknown.pids.is_empty());
        let mut all = Attribution::this_process();
        all.unite(unknown);
        let fault = memory::read(&all).unwrap_err();
        assert!(fault.message.contains(&format!("{ID} is process {me}")), "{fault}");
        assert!(fault.message.contains("another PID namespace"), "{fault}");
    }

    #[test]
    fn a_process_that_names_its_container_is_that_of_the_container() {
        let mut shim = Command::new("sh");
        shim.args(["-c", "echo; cat; exit", ID]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shim = shim.spawn().unwrap();
        // Once it has said something, the kernel has its command line in place.
        shim.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let found = proven(shim.id(), ID, || Attribution::process(shim.id()));
        assert_eq!(found, Attribution::process(shim.id()));
        drop(shim.stdin.take());
        shim.wait().unwrap();
    }
}
