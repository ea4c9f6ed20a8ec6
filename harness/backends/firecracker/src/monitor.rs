//! A virtual machine monitor as a backend describes it: one that is asked over HTTP through a Unix socket, and that
//! dials Unix sockets where its guest dials a vsock. Firecracker is one, Cloud Hypervisor another.

use crate::vm::{Process, Vm};
use isobench_core::{Availability, Fault, sha256_hex};
use isobench_qemu::accel::{self, PROBE_AGENT, PROBE_DEADLINE};
use isobench_qemu::initramfs::{self, GUEST_FILE, Root};
use isobench_qemu::kernel::{Kernel, Missing};
use isobench_qemu::machine::memory_mib;
use isobench_qemu::paused::Standing;
use isobench_qemu::saved::Saved;
use isobench_qemu::vmm::{Log, Vmm};
use isobench_runner::agents::{self, AgentPackage};
use isobench_runner::place::installed;
use isobench_runner::{Attribution, Deadline, Phases, RunContext, Target};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The port of the host that agents dial.
pub const PORT: u32 = 52;

/// The guest's own number on its vsock. 0 to 2 mean others.
pub const GUEST_CID: u32 = 3;

/// Files in a machine's folder, which is where its monitor runs: it names its sockets relative to it, and so does a
/// machine that is restored, each in its own. The API's socket.
pub const API: &str = "api";
/// The vsock's socket: where the guest dials a port of the host the monitor dials this, an underscore and the port.
pub const VSOCK: &str = "vsock";

/// Longest wait for `--version`.
const VERSION_DEADLINE: Duration = Duration::from_secs(20);

/// Longest wait for a machine that stood still to answer; it takes milliseconds.
const RESUME_DEADLINE: Duration = Duration::from_secs(2);

/// A monitor that has been found, and the kernel of its machines. Its requests are answered when they are done.
pub trait Monitor: Clone + Debug + Send + Sync + 'static {
    /// What messages call it.
    const NAME: &'static str;

    /// How it is called, its API at [`API`] in the folder that it runs in.
    const ARGUMENTS: &'static [&'static str];

    /// What a `GET` of this answers has a field `state`.
    const INFO: &'static str;

    /// What an image has beside kernel and root, where a variant wants more.
    type With: Clone + Debug + Default + Send + Sync + 'static;

    /// What a machine has beside its process, dropped after that.
    type Own: Debug + Default + Send;

    /// The program.
    fn program(&self) -> &Path;

    /// Its version.
    fn version(&self) -> &str;

    /// The guest's kernel.
    fn kernel(&self) -> &Kernel;

    /// Where the monitor of a machine with the folder `home` is to run, and what that machine has.
    ///
    /// # Errors
    /// The fault of what cannot be made.
    fn make(_image: &Image<Self>, home: &Path) -> Result<(PathBuf, Self::Own), Fault> {
        Ok((home.into(), Self::Own::default()))
    }

    /// Starts the monitor.
    ///
    /// # Errors
    /// The fault of a program that cannot be had.
    fn spawn(
        image: &Image<Self>,
        _own: &Self::Own,
        place: &Place,
        _phases: &mut Phases,
        _deadline: Deadline,
    ) -> Result<Vmm, Fault> {
        plain(image, place)
    }

    /// Tells a monitor that has just been started what to make.
    ///
    /// # Errors
    /// Those of its API; so those below.
    fn configure(image: &Image<Self>, process: &mut Process<Self>, deadline: Deadline) -> Result<(), Fault>;

    /// Has it make that and run it.
    fn boot(process: &mut Process<Self>, deadline: Deadline) -> Result<(), Fault>;

    /// Has a monitor that has just been started become a saved machine, and run it.
    fn load(image: &Image<Self>, saved: &Saved, process: &mut Process<Self>, deadline: Deadline) -> Result<(), Fault>;

    /// Stops the machine where it is.
    fn pause(process: &mut Process<Self>, deadline: Deadline) -> Result<(), Fault>;

    /// Lets one that stands still run on.
    fn resume(process: &mut Process<Self>, deadline: Deadline) -> Result<(), Fault>;

    /// Saves one that stands still into the folder `dir`, as [`Saved::kept`] wants it.
    fn save(process: &mut Process<Self>, dir: &Path, deadline: Deadline) -> Result<(), Fault>;

    /// Adds to a fault what is known of what the machine has.
    fn explain(_own: &Self::Own, fault: Fault) -> Fault {
        fault
    }

    /// Whose memory is the machine's; `id` is its process.
    fn footprint(_own: &Self::Own, id: u32) -> Attribution {
        Attribution::process(id)
    }
}

/// Where a monitor runs.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The machine's folder.
    pub home: &'a Path,
    /// The folder that it runs in: that one, or one in it.
    pub folder: &'a Path,
    /// The socket in it at which we listen.
    pub listener: &'a Path,
}

/// The monitor as a process of ours.
///
/// # Errors
/// The fault of a program that cannot be started.
pub fn plain<M: Monitor>(image: &Image<M>, place: &Place) -> Result<Vmm, Fault> {
    let mut command = Command::new(image.machine.program());
    command.args(M::ARGUMENTS).current_dir(place.folder);
    Vmm::spawn(M::NAME, &mut command, Log::sealed()?, || Ok(()))
}

/// What a machine is started from.
#[derive(Debug, Clone)]
pub struct Image<M: Monitor> {
    /// Monitor and kernel.
    pub machine: M,
    /// The guest's memory.
    pub memory_mib: u64,
    /// The root file system.
    pub initramfs: PathBuf,
    /// The folder that machines' folders are made in.
    pub state: PathBuf,
    /// The longest frame taken in.
    pub frame_limit: u64,
    /// What a variant wants more.
    pub with: M::With,
}

impl<M: Monitor> Image<M> {
    /// What `target`'s instances are started from.
    ///
    /// # Errors
    /// The fault of an agent, a guest or a root file system that cannot be made.
    pub fn of(ctx: &RunContext, machine: &M, target: &Target) -> Result<Image<M>, Fault> {
        let package = AgentPackage::pack(ctx, target)?;
        let root = Root {
            agent: &package.program,
            guest: package.guest.as_deref(),
            args: &package.args(&format!("vsock:{PORT}"), GUEST_FILE),
            modules: &machine.kernel().modules,
            content: &package.sha256,
        };
        Image::with_root(ctx, machine, &root, target.limits.memory_bytes, target.limits.frame_bytes)
    }

    /// The probe guest's.
    fn of_probe(ctx: &RunContext, machine: &M) -> Result<Image<M>, Fault> {
        let agent = ctx.programs.join(PROBE_AGENT);
        let bytes = fs::read(&agent)
            .map_err(|e| Fault::backend(format!("{}: {e}; `make build` builds it", agent.display())))?;
        let args = ["--connect".to_string(), format!("vsock:{PORT}")];
        let (modules, content) = (&machine.kernel().modules, sha256_hex(&bytes));
        let root = Root { agent: &agent, guest: None, args: &args, modules, content: &content };
        fs::create_dir_all(&ctx.state).map_err(|e| Fault::backend(format!("{}: {e}", ctx.state.display())))?;
        Image::with_root(ctx, machine, &root, 0, 1 << 10)
    }

    fn with_root(ctx: &RunContext, machine: &M, root: &Root, memory: u64, frame_limit: u64) -> Result<Image<M>, Fault> {
        let initramfs = initramfs::build(ctx, root)?;
        let bytes =
            fs::metadata(&initramfs).map_err(|e| Fault::backend(format!("{}: {e}", initramfs.display())))?.len();
        Ok(Image {
            machine: machine.clone(),
            memory_mib: memory_mib(memory, bytes),
            initramfs,
            state: ctx.state.clone(),
            frame_limit,
            with: M::With::default(),
        })
    }
}

/// Where a monitor is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// What messages call it.
    pub name: &'static str,
    /// The program's name in `PATH`.
    pub program: &'static str,
    /// The variable that names another.
    pub variable: &'static str,
    /// How its `--version` begins; the version is the rest of the line.
    pub version_prefix: &'static str,
    /// What a person does who has none.
    pub remedy: &'static str,
}

impl Program {
    /// The program and its version.
    ///
    /// # Errors
    /// It is missing, or another.
    pub fn find(&self) -> Result<(PathBuf, String), Missing> {
        let Program { name, remedy, .. } = self;
        if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) {
            let reason = format!("the backend of {name} runs x86-64 guests on x86-64 Linux");
            return Err(Missing::new(reason, "use such a machine"));
        }
        let named = std::env::var_os(self.variable).map(PathBuf::from);
        let program = named.or_else(|| installed(self.program));
        let program = program.ok_or_else(|| Missing::new(format!("{name} is not installed"), *remedy))?;
        // Instances run in folders of their own, where a relative path would lead elsewhere.
        let program = fs::canonicalize(&program)
            .map_err(|e| Missing::new(format!("{name} at {}: {e}", program.display()), *remedy))?;
        let text = agents::text_of(Command::new(&program).arg("--version"), VERSION_DEADLINE)
            .map_err(|error| Missing::new(error, *remedy))?;
        match text.lines().next().and_then(|line| line.strip_prefix(self.version_prefix)) {
            Some(version) => Ok((program, version.trim().into())),
            None => Err(Missing::new(format!("{} says it is no {name}: `{text}`", program.display()), *remedy)),
        }
    }
}

/// A machine in which guests boot: `machine`, if a probe guest does, now or when it was asked before.
///
/// # Errors
/// None does.
pub fn that_boots<M: Monitor>(ctx: &RunContext, machine: M) -> Result<M, Missing> {
    match ask(ctx, &machine, "boot under KVM", || booted(ctx, &machine).map(drop)) {
        None => Ok(machine),
        Some(why) => {
            let name = M::NAME;
            let remedy = format!(
                "{name} needs a KVM that boots guests, which virtual machines rarely have: a bare machine, or nested \
                 virtualisation, and the right to open /dev/kvm"
            );
            Err(Missing::new(why, remedy))
        }
    }
}

/// Why a machine that stood still does not hear its host, if so.
pub fn deaf<M: Monitor>(ctx: &RunContext, machine: &M) -> Option<String> {
    ask(ctx, machine, "hear its host after it stood still", || {
        let mut vm = booted(ctx, machine)?;
        vm.pause(accel::within(RESUME_DEADLINE))?;
        vm.resume(&mut Phases::new(), accel::within(RESUME_DEADLINE))
    })
}

/// Why a machine that is restored does not dial again, if so.
pub fn lost<M: Monitor>(ctx: &RunContext, machine: &M) -> Option<String> {
    ask(ctx, machine, "dial again after it was saved and restored", || {
        let image = Image::of_probe(ctx, machine)?;
        let saved = Vm::saved(ctx, &image, accel::within(PROBE_DEADLINE))?;
        Vm::restore(&image, &saved, &mut Phases::new(), accel::within(PROBE_DEADLINE)).map(drop)
    })
}

/// Why a probe guest does not do `what`, as `probe` finds or found before.
fn ask<M: Monitor>(
    ctx: &RunContext,
    machine: &M,
    what: &str,
    probe: impl FnOnce() -> Result<(), Fault>,
) -> Option<String> {
    match agents::program_stamp(machine.program()) {
        Ok(stamp) => accel::ask(ctx, machine.kernel(), &stamp, what, probe).failed,
        Err(fault) => Some(fault.message),
    }
}

/// The probe guest, booted.
fn booted<M: Monitor>(ctx: &RunContext, machine: &M) -> Result<Vm<M>, Fault> {
    Vm::start(&Image::of_probe(ctx, machine)?, &mut Phases::new(), accel::within(PROBE_DEADLINE))
}

/// What a probe answers where there is a monitor, whose version is known as `key`, but for the variants that are absent.
pub fn available<M: Monitor>(key: &str, machine: &M, absent: BTreeMap<String, String>) -> Availability {
    let kernel = machine.kernel();
    let versions = [
        (key, machine.version()),
        ("kernel", &kernel.release),
        ("kernel_source", &kernel.source),
        ("kernel_sha256", &kernel.sha256),
    ];
    Availability::Available {
        versions: versions.map(|(name, version)| (name.to_string(), version.to_string())).into(),
        emulated: false,
        notes: Vec::new(),
        absent,
    }
}
