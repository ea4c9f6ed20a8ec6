//! What a platform runs Firecracker in: the jailer, which comes with it, gives each a root folder of its own, a user, a
//! cgroup and a PID namespace, and then becomes it.

use isobench_core::{Fault, FaultKind};
use isobench_qemu::vmm::{Log, Vmm};
use isobench_runner::agents::text_of;
use isobench_runner::cgroup::{self, Limit};
use isobench_runner::containers::{Ids, Tree};
use isobench_runner::place::installed;
use isobench_runner::{Deadline, RunContext};
use serde::{Deserialize, Serialize};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Names a jailer to use instead of the one beside Firecracker or in `PATH`.
pub const JAILER_VARIABLE: &str = "ISOBENCH_JAILER";

/// The program, and what messages call it.
const PROGRAM: &str = "jailer";
const NAME: &str = "the jailer";

/// How its `--version` begins.
const VERSION_PREFIX: &str = "Jailer v";

/// Longest wait for `--version`, in a jail and outside.
const VERSION_DEADLINE: Duration = Duration::from_secs(20);

/// What the cgroups are called, before their owner's tag.
pub const CGROUP: &str = "isobench-jail-";

/// What Firecracker may use beside the guest's memory, in bytes. It promises 5 MiB of its own; page tables come on top.
const VMM_ROOM: u64 = 64 << 20;

/// Most processes and threads of one: three and one per processor.
const PIDS: u64 = 16;

/// The users of jails, each its own: the first of a range that nobody gives away (systemd's "Users, Groups, UIDs and
/// GIDs on systemd Systems" marks it so).
const FIRST_USER: u32 = 0x7000_0000;

/// Files in a jail, beside those that the jailer makes.
pub const KERNEL: &str = "kernel";
/// The guest's root file system, in a jail.
pub const ROOT: &str = "root";

/// The installed jailer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jailer {
    program: PathBuf,
    /// What it is to put into a jail, and what the folder is named after.
    firecracker: PathBuf,
    /// The version of cgroups that it is to use, which has the controller of memory.
    cgroup_version: u8,
}

impl Jailer {
    /// Finds the jailer of the Firecracker of that version, and has it jail one that only tells its version.
    ///
    /// # Errors
    /// Why none can be used.
    pub fn find(ctx: &RunContext, firecracker: &Path, version: &str) -> Result<Jailer, String> {
        // SAFETY: a plain system call.
        if unsafe { libc::geteuid() } != 0 {
            return Err("the jailer makes devices and gives up a user: run as root".into());
        }
        let named = std::env::var_os(JAILER_VARIABLE).map(PathBuf::from);
        let beside = || Some(firecracker.with_file_name(PROGRAM)).filter(|path| path.is_file());
        let program = named.or_else(beside).or_else(|| installed(PROGRAM)).ok_or_else(|| {
            format!("no jailer beside Firecracker or in PATH: a release has both, or {JAILER_VARIABLE} names it")
        })?;
        let said = text_of(Command::new(&program).arg("--version"), VERSION_DEADLINE)?;
        if said.lines().next().and_then(|line| line.strip_prefix(VERSION_PREFIX)).map(str::trim) != Some(version) {
            return Err(format!("{} is not the jailer of Firecracker {version}: `{said}`", program.display()));
        }
        let limits = Limit::all(0, 0);
        let in_v2 = limits.iter().any(|limit| limit.controller == "memory" && limit.v2);
        let jailer = Jailer { program, firecracker: firecracker.into(), cgroup_version: if in_v2 { 2 } else { 1 } };
        jailer.works(ctx).map_err(|why| format!("no Firecracker runs in a jail: {why}"))?;
        Ok(jailer)
    }

    /// Jails a Firecracker that ends at once. One that is not static does not even begin.
    fn works(&self, ctx: &RunContext) -> Result<(), String> {
        fs::create_dir_all(&ctx.state).map_err(|e| format!("{}: {e}", ctx.state.display()))?;
        let home = tempfile::tempdir_in(&ctx.state).map_err(|e| e.to_string())?;
        let tree = Tree::new(CGROUP);
        let jail = Jail::new(self, &tree, home.path()).map_err(|fault| fault.message)?;
        // In this PID namespace, so that its end is waited for.
        let mut command = self.command(&jail, home.path(), 0);
        let log = Log::sealed().map_err(|fault| fault.message)?;
        let vmm = Vmm::spawn(NAME, command.args(["--", "--version"]), log, || Ok(()));
        vmm.and_then(|mut vmm| done(&mut vmm, Deadline::after(VERSION_DEADLINE))).map_err(|fault| fault.message)?;
        // A file system may forbid devices, and a container those that it does not know.
        let kvm = jail.root.join("dev/kvm");
        let opened = fs::OpenOptions::new().read(true).write(true).open(&kvm);
        opened.map(drop).map_err(|e| format!("a jail's /dev/kvm: {e}"))
    }

    /// The jailer's command line but for its end: how Firecracker is called.
    fn command(&self, jail: &Jail, home: &Path, memory: u64) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--id").arg(&jail.id).arg("--exec-file").arg(&self.firecracker);
        command.args(["--uid", &jail.user.uid.to_string(), "--gid", &jail.user.gid.to_string()]);
        command.arg("--chroot-base-dir").arg(home);
        command.args(["--cgroup-version", &self.cgroup_version.to_string(), "--parent-cgroup", &jail.tree]);
        for limit in Limit::all(memory + VMM_ROOM, PIDS) {
            if limit.v2 == (self.cgroup_version == 2) {
                command.arg("--cgroup").arg(format!("{}={}", limit.file, limit.value));
            }
        }
        command
    }
}

/// Waits for a jailer that has nothing more to do.
fn done(jailer: &mut Vmm, deadline: Deadline) -> Result<(), Fault> {
    match jailer.wait(deadline.remaining())? {
        Some(status) if status.success() => Ok(()),
        Some(_) => jailer.alive(),
        None => Err(Fault::new(FaultKind::NoHello, deadline.fault(NAME).message)),
    }
}

/// What the jails of a deployment are made of. Dropping it removes its cgroups.
#[derive(Debug, Clone)]
pub struct Jails {
    jailer: Jailer,
    /// A folder with the files that every jail is to have, on the file system of the jails: a link is enough there.
    files: Arc<PathBuf>,
    tree: Arc<Tree>,
}

impl Jails {
    /// For machines with this kernel and root.
    ///
    /// # Errors
    /// The fault of a file that cannot be copied.
    pub fn new(ctx: &RunContext, jailer: Jailer, kernel: &Path, root: &Path) -> Result<Jails, Fault> {
        // Whom the jailer leaves behind when it ends becomes a child of this process.
        // SAFETY: a plain system call.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
        let files = ctx.state.join("jailed");
        let copy = |from: &Path, name: &str| {
            let to = files.join(name);
            fs::copy(from, &to).and_then(|_| fs::set_permissions(&to, Permissions::from_mode(0o444)))
        };
        let copied = fs::create_dir_all(&files).and_then(|()| copy(kernel, KERNEL)).and_then(|()| copy(root, ROOT));
        copied.map_err(|e| Fault::backend(format!("{}: {e}", files.display())))?;
        Ok(Jails { jailer, files: Arc::new(files), tree: Arc::new(Tree::new(CGROUP)) })
    }

    /// A jail in the folder `home`, with kernel and root in it, in which nothing runs yet.
    ///
    /// # Errors
    /// The fault of a file that cannot be made.
    pub fn make(&self, home: &Path) -> Result<Jail, Fault> {
        let jail = Jail::new(&self.jailer, &self.tree, home)?;
        let link = |name: &str| fs::hard_link(self.files.join(name), jail.root.join(name));
        let linked = link(KERNEL).and_then(|()| link(ROOT));
        linked.map_err(|e| Fault::backend(format!("the jail {}: {e}", jail.root.display())))?;
        Ok(jail)
    }

    /// Has the jailer put Firecracker with `arguments` into the jail, for a guest with so much memory.
    ///
    /// # Errors
    /// The fault of a jailer that does not, in its own words.
    pub fn spawn(
        &self,
        jail: &Jail,
        home: &Path,
        arguments: &[&str],
        memory: u64,
        deadline: Deadline,
    ) -> Result<Vmm, Fault> {
        let mut command = self.jailer.command(jail, home, memory);
        command.args(["--new-pid-ns", "--"]).args(arguments);
        let mut vmm = Vmm::spawn(NAME, &mut command, Log::sealed()?, || Ok(()))?;
        done(&mut vmm, deadline)?;
        let path = jail.pid_file(&self.jailer);
        let pid = fs::read_to_string(&path).and_then(|text| text.trim().parse().map_err(io::Error::other));
        let pid = pid.map_err(|e| Fault::backend(format!("the jailer's {}: {e}", path.display())))?;
        vmm.succeeded_by("Firecracker", pid)?;
        Ok(vmm)
    }
}

/// One jail. Dropping it removes its cgroup; its folder goes with the one that it is in.
#[derive(Debug)]
pub struct Jail {
    id: String,
    tree: String,
    user: Ids,
    /// What Firecracker sees as `/`.
    pub root: PathBuf,
}

impl Jail {
    fn new(jailer: &Jailer, tree: &Tree, home: &Path) -> Result<Jail, Fault> {
        let (n, _) = tree.next();
        let user = FIRST_USER + n;
        let name = jailer.firecracker.file_name().unwrap_or_default();
        let root = home.join(name).join(n.to_string()).join("root");
        fs::create_dir_all(&root).map_err(|e| Fault::backend(format!("the jail {}: {e}", root.display())))?;
        let user = Ids { uid: user, gid: user };
        Ok(Jail { id: n.to_string(), tree: tree.name().into(), user, root })
    }

    /// Lets Firecracker dial a socket in the jail.
    ///
    /// # Errors
    /// The fault of a socket that stays ours.
    pub fn give(&self, socket: &Path) -> Result<(), Fault> {
        self.user.give(socket)
    }

    /// The name of its cgroup.
    pub fn cgroup(&self) -> String {
        format!("{}/{}", self.tree, self.id)
    }

    fn pid_file(&self, jailer: &Jailer) -> PathBuf {
        let mut name = jailer.firecracker.file_name().unwrap_or_default().to_owned();
        name.push(".pid");
        self.root.join(name)
    }
}

impl Drop for Jail {
    fn drop(&mut self) {
        // Also whom the jailer had made when it was killed.
        cgroup::clear(&self.cgroup());
    }
}
