//! Cgroups with limits, for what has no runtime that makes them.

use super::{CROWDED, Hierarchy, counts_swap, hierarchies};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A limit of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The controller.
    pub controller: &'static str,
    /// Whether the controller is in the hierarchy of version 2.
    pub v2: bool,
    /// The file in a cgroup's folder.
    pub file: &'static str,
    /// What is written to it.
    pub value: String,
}

impl Limit {
    /// So many bytes of memory, no swap where the kernel can forbid it, and so many processes and threads: for
    /// whichever version of cgroups has the controllers on this machine.
    pub fn all(memory: u64, processes: u64) -> Vec<Limit> {
        limits(&hierarchies(), counts_swap(), memory, processes)
    }
}

fn limits(hierarchies: &[Hierarchy], swap: bool, memory: u64, processes: u64) -> Vec<Limit> {
    let v2 = |controller: &str| !hierarchies.iter().any(|h| h.has(controller));
    let limit = |controller, file, value: u64| {
        let value = value.to_string();
        Limit { controller, v2: v2(controller), file, value }
    };
    let (most, with_swap) = match v2("memory") {
        true => ("memory.max", ("memory.swap.max", 0)),
        false => ("memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", memory)),
    };
    let mut all = vec![limit("memory", most, memory), limit("pids", "pids.max", processes)];
    if swap {
        all.insert(1, limit("memory", with_swap.0, with_swap.1));
    }
    all
}

/// Makes cgroups with the same limits. What the machine has is looked up once.
#[derive(Debug)]
pub struct Maker {
    /// Where each hierarchy is mounted that processes are to be moved in, and its limits.
    mounts: Vec<(PathBuf, Vec<Limit>)>,
    /// Where version 2 is mounted, if a limit is there, and which controllers those need.
    delegated: Option<(PathBuf, String)>,
}

impl Maker {
    /// For cgroups with these limits: in the hierarchies of their controllers, in that of version 2 and in systemd's,
    /// by which its tools know what belongs together.
    pub fn new(limits: Vec<Limit>) -> Maker {
        Maker::over(hierarchies(), &limits)
    }

    fn over(hierarchies: Vec<Hierarchy>, limits: &[Limit]) -> Maker {
        let mut maker = Maker { mounts: Vec::new(), delegated: None };
        for h in hierarchies {
            let mine = |limit: &&Limit| limit.v2 == h.v2 && (h.v2 || h.has(limit.controller));
            let limits: Vec<Limit> = limits.iter().filter(mine).cloned().collect();
            if h.v2 && !limits.is_empty() {
                let wanted = limits.iter().map(|limit| format!("+{} ", limit.controller)).collect();
                maker.delegated = Some((h.mount.clone(), wanted));
            }
            if h.v2 || h.has("name=systemd") || !limits.is_empty() {
                maker.mounts.push((h.mount, limits));
            }
        }
        maker
    }

    /// The folders of the cgroup `name`, with the limits of each.
    pub fn folders<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (PathBuf, &'a [Limit])> {
        self.mounts.iter().map(move |(mount, limits)| (mount.join(name), limits.as_slice()))
    }

    /// Makes the cgroup `name`.
    ///
    /// # Errors
    /// That of the system.
    pub fn make(&self, name: &str) -> io::Result<Made> {
        let undelegated = self.delegate(name)?;
        let mut entrances = Vec::with_capacity(self.mounts.len());
        for (folder, limits) in self.folders(name) {
            fs::create_dir_all(&folder).map_err(|e| at(&folder, e))?;
            for limit in limits {
                let file = folder.join(limit.file);
                put(&file, &limit.value).map_err(|e| match &undelegated {
                    Some((parent, why)) if e.kind() == io::ErrorKind::NotFound => not_delegated(&file, parent, why),
                    _ => at(&file, e),
                })?;
            }
            let procs = folder.join("cgroup.procs");
            entrances.push(File::options().write(true).open(&procs).map_err(|e| at(&procs, e))?);
        }
        Ok(Made { entrances })
    }

    /// Has every cgroup above `name` hand the controllers down, for only so are they there. Answers with the first that
    /// does not, and why. This need not matter: a controller may have been handed down already.
    fn delegate(&self, name: &str) -> io::Result<Option<(PathBuf, io::Error)>> {
        let Some((mount, wanted)) = &self.delegated else { return Ok(None) };
        let mut refused = None;
        let cgroup = mount.join(name);
        let above: Vec<_> = cgroup.ancestors().skip(1).take_while(|parent| parent.starts_with(mount)).collect();
        for parent in above.into_iter().rev() {
            fs::create_dir_all(parent).map_err(|e| at(parent, e))?;
            if let Err(error) = put(&parent.join("cgroup.subtree_control"), wanted) {
                refused.get_or_insert((parent.to_path_buf(), error));
            }
        }
        Ok(refused)
    }
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Writes to a file of the kernel's. A cgroup in which the file is missing must not answer that none can be made there.
fn put(file: &Path, value: &str) -> io::Result<()> {
    File::options().write(true).open(file)?.write_all(value.as_bytes())
}

/// The error of a limit whose file is missing because `parent` does not hand the controller down.
fn not_delegated(file: &Path, parent: &Path, why: &io::Error) -> io::Error {
    let hint = match why.raw_os_error() {
        Some(libc::EBUSY) => format!("; {} has {CROWDED}", parent.display()),
        _ => String::new(),
    };
    let (file, parent) = (file.display(), parent.display());
    io::Error::other(format!("{file} is missing: {parent}/cgroup.subtree_control: {why}{hint}"))
}

/// A cgroup that was made.
#[derive(Debug)]
pub struct Made {
    entrances: Vec<File>,
}

impl Made {
    /// Has the process of `command` enter the cgroup before it becomes its program, so that nothing of that one is
    /// outside. The price is a `fork`: the C library's `posix_spawn` cannot do this.
    pub fn hold(self, command: &mut Command) -> &mut Command {
        let enter = move || self.entrances.iter().try_for_each(|mut entrance| entrance.write_all(b"0"));
        // SAFETY: between `fork` and `exec` there are only writes to open files.
        unsafe { command.pre_exec(enter) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn files(mountinfo: &str, swap: bool) -> Vec<(bool, &'static str, String)> {
        let all = limits(&parse(mountinfo), swap, 4096, 64);
        all.into_iter().map(|limit| (limit.v2, limit.file, limit.value)).collect()
    }

    #[test]
    fn a_limit_is_written_where_its_controller_is() {
        let v2 = "35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let expected = [(true, "memory.max", "4096"), (true, "memory.swap.max", "0"), (true, "pids.max", "64")];
        assert_eq!(files(v2, true), expected.map(|(v2, file, value)| (v2, file, value.to_string())));
        let hybrid = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let expected = [(false, "memory.limit_in_bytes", "4096"), (true, "pids.max", "64")];
        assert_eq!(files(hybrid, false), expected.map(|(v2, file, value)| (v2, file, value.to_string())));
    }

    /// A fake of version 2 with the cgroups `a` and `a/b` and these files in each.
    fn fake(files: &[&str]) -> (tempfile::TempDir, Maker) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        for cgroup in ["", "a", "a/b"] {
            files.iter().for_each(|file| fs::write(dir.path().join(cgroup).join(file), "").unwrap());
        }
        let v2 = parse(&format!("35 24 0:30 / {} rw - cgroup2 cgroup2 rw\n", dir.path().display()));
        let limits = limits(&v2, true, 4096, 64);
        (dir, Maker::over(v2, &limits))
    }

    #[test]
    fn limits_are_written_and_controllers_handed_down() {
        let files = ["cgroup.subtree_control", "cgroup.procs", "memory.max", "memory.swap.max", "pids.max"];
        let (dir, maker) = fake(&files);
        maker.make("a/b").unwrap();
        let read = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
        assert_eq!((read("a/b/memory.max"), read("a/b/pids.max")), ("4096".into(), "64".into()));
        for parent in ["", "a/"] {
            assert!(read(&format!("{parent}cgroup.subtree_control")).contains("+memory"));
        }
        assert_eq!(read("a/b/cgroup.subtree_control"), "");
    }

    #[test]
    fn a_controller_that_is_not_handed_down_is_told_with_the_cgroup_that_does_not() {
        let (dir, maker) = fake(&["cgroup.procs", "memory.max"]);
        let error = maker.make("a/b").unwrap_err().to_string();
        let parent = dir.path().display();
        assert!(error.contains("a/b/memory.swap.max is missing"), "{error}");
        assert!(error.contains(&format!("{parent}/cgroup.subtree_control")), "{error}");
        let busy = not_delegated(Path::new("f"), Path::new("/p"), &io::Error::from_raw_os_error(libc::EBUSY));
        assert!(busy.to_string().contains("--cgroupns=host"), "{busy}");
    }
}
