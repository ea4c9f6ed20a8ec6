//! A jailer that is none: it takes the real one's arguments and does what can be seen of it from outside. The jail's
//! root folder, its devices and their user, cgroup, mount and PID namespace, no environment, the file with the process.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io::{self, Error};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Its arguments: those with a value, all `--cgroup`s, whether there is to be a namespace, and what Firecracker gets.
struct Asked {
    values: BTreeMap<String, String>,
    cgroups: Vec<(String, String)>,
    new_pid_ns: bool,
    rest: Vec<String>,
}

impl Asked {
    fn new(mut words: impl Iterator<Item = String>) -> Option<Asked> {
        let mut asked = Asked { values: BTreeMap::new(), cgroups: Vec::new(), new_pid_ns: false, rest: Vec::new() };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--" => asked.rest = words.by_ref().collect(),
                "--new-pid-ns" => asked.new_pid_ns = true,
                "--cgroup" => {
                    let (file, value) = words.next()?.split_once('=').map(|(f, v)| (f.to_string(), v.to_string()))?;
                    asked.cgroups.push((file, value));
                }
                "--id" | "--exec-file" | "--uid" | "--gid" | "--chroot-base-dir" | "--cgroup-version"
                | "--parent-cgroup" => drop(asked.values.insert(word, words.next()?)),
                _ => return None,
            }
        }
        Some(asked)
    }

    fn value(&self, name: &str) -> &str {
        self.values.get(name).unwrap_or_else(|| panic!("Argument '{name}' required, but not found."))
    }

    fn number(&self, name: &str) -> u32 {
        self.value(name).parse().expect("a number")
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words == ["--version"] {
        println!("Jailer v1.16.1\n");
        return ExitCode::SUCCESS;
    }
    let Some(asked) = Asked::new(words.into_iter()) else {
        eprintln!("Failed to parse arguments: not one of them");
        return ExitCode::FAILURE;
    };
    match jail(&asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err((what, e)) => {
            eprintln!("Failed to {what}: {e}");
            ExitCode::FAILURE
        }
    }
}

fn jail(asked: &Asked) -> Result<(), (&'static str, Error)> {
    let to = |what: &'static str| move |e: Error| (what, e);
    let (uid, gid) = (asked.number("--uid"), asked.number("--gid"));
    let program = Path::new(asked.value("--exec-file"));
    let name = program.file_name().expect("a file");
    let root = Path::new(asked.value("--chroot-base-dir")).join(name).join(asked.value("--id")).join("root");
    fs::create_dir_all(&root).and_then(|()| fs::copy(program, root.join(name))).map_err(to("copy"))?;
    cgroups(asked).map_err(to("make cgroups"))?;
    enter(&root).map_err(to("chroot"))?;
    for folder in ["/", "/dev", "/dev/net", "/run"] {
        let made = fs::create_dir_all(folder)
            .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o700)))
            .and_then(|()| chown(folder, Some(uid), Some(gid)));
        made.map_err(to("make folders"))?;
    }
    device(c"/dev/kvm", 232).and_then(|()| chown("/dev/kvm", Some(uid), Some(gid))).map_err(to("mknod"))?;

    let inside = Path::new("/").join(name);
    let mut pid_file = inside.clone().into_os_string();
    pid_file.push(".pid");
    if asked.new_pid_ns {
        // SAFETY: plain system calls, and there is one thread.
        let child = unsafe {
            match libc::unshare(libc::CLONE_NEWPID) {
                0 => libc::fork(),
                failed => failed,
            }
        };
        match child {
            0 => {}
            ..0 => return Err(("clone", Error::last_os_error())),
            pid => return fs::write(pid_file, pid.to_string()).map_err(to("write the pid")),
        }
    } else {
        fs::write(pid_file, std::process::id().to_string()).map_err(to("write the pid"))?;
    }
    let mut command = Command::new(&inside);
    command.args(["--id", asked.value("--id"), "--start-time-us", "1", "--start-time-cpu-us", "1"]);
    command.args(["--parent-cpu-time-us", "1"]).args(&asked.rest).env_clear().uid(uid).gid(gid);
    Err(("exec into Firecracker", command.exec()))
}

/// Enters the cgroups with their limits.
fn cgroups(asked: &Asked) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let v2 = asked.value("--cgroup-version") == "2";
    let name = Path::new(asked.value("--parent-cgroup")).join(asked.value("--id"));
    for (file, value) in &asked.cgroups {
        let controller = file.split('.').next().expect("a word");
        let mount = mounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let found =
                if v2 { fields[2] == "cgroup2" } else { fields[3].split(',').any(|option| option == controller) };
            found.then(|| PathBuf::from(fields[1]))
        });
        let mount = mount.ok_or_else(|| Error::other(format!("no controller {controller}")))?;
        let folder = mount.join(&name);
        fs::create_dir_all(&folder)?;
        if v2 {
            for above in name.ancestors().skip(1) {
                fs::write(mount.join(above).join("cgroup.subtree_control"), format!("+{controller}"))?;
            }
        }
        fs::write(folder.join(file), value)?;
        fs::write(folder.join("cgroup.procs"), "0")?;
    }
    Ok(())
}

/// Makes `root` this process's root, in a mount namespace of its own.
fn enter(root: &Path) -> io::Result<()> {
    let root = CString::new(root.as_os_str().as_encoded_bytes())?;
    let none = std::ptr::null();
    // SAFETY: system calls with C strings that live through them.
    let done = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, c"/".as_ptr(), none, libc::MS_SLAVE | libc::MS_REC, none.cast()) == 0
            && libc::chroot(root.as_ptr()) == 0
            && libc::chdir(c"/".as_ptr()) == 0
    };
    if done { Ok(()) } else { Err(Error::last_os_error()) }
}

/// Makes a device of the kind that has miscellaneous ones.
fn device(path: &std::ffi::CStr, minor: u32) -> io::Result<()> {
    const MISC: u32 = 10;
    // SAFETY: a C string.
    match unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(MISC, minor)) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}
