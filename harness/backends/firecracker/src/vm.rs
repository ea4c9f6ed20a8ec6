//! One microVM: a Firecracker process in a folder of its own, its API, and the agent's channel.

use crate::api::{
    Action, ActionType, BackendType, BootSource, MachineConfig, MemoryBackend, Request, SnapshotCreate, SnapshotLoad,
    SnapshotType, State, Vm as VmState, Vsock,
};
use crate::client::{Api, ApiError};
use crate::jail::{self, Jail, Jails};
use crate::machine::{Machine, PORT};
use crate::uffd::{Memory as Pages, Pager};
use isobench_core::{Fault, FaultKind, sha256_hex};
use isobench_guest::frame::Memory;
use isobench_qemu::paused::Standing;
use isobench_qemu::saved::{MEMORY, STATE, Saved, copy};
use isobench_qemu::vmm::{Log, Vmm};
use isobench_runner::channel::{Channel, Listener};
use isobench_runner::{Attribution, Deadline, Instance, Phases, RunContext, cgroup, machine};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Numbers the machines of this process: their folders lie side by side.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Files in a machine's folder, which is where its Firecracker runs: it names its sockets relative to it, and so does a
/// machine that is restored, each in its own.
const API: &str = "api";
const VSOCK: &str = "vsock";
const PAGES: &str = "pages";

/// The guest's own number on its vsock. 0 to 2 mean others.
const GUEST_CID: u32 = 3;

/// Longest wait for Firecracker to write a machine.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// Grows with every change of what is saved, so that no state of an older layout is taken.
const LAYOUT: u32 = 1;

/// The kernel's command line. `reboot=k` (by the keyboard's controller, which is all there is of a keyboard) ends the
/// machine in order, and `panic=-1` lets a panic end it too. The root is a ramfs, because a tmpfs holds half of the
/// memory only and cuts a large agent short without a word. Level 1 lets nothing but a panic's words onto the console.
/// There is no PCI unless Firecracker is told so.
pub const COMMAND_LINE: &str =
    "console=ttyS0 loglevel=1 reboot=k panic=-1 pci=off rootfstype=ramfs cryptomgr.notests no_timer_check";

/// What a machine is started from.
#[derive(Debug, Clone)]
pub struct Image {
    /// Firecracker and kernel.
    pub machine: Machine,
    /// The guest's memory.
    pub memory_mib: u64,
    /// The root file system.
    pub initramfs: PathBuf,
    /// What Firecracker is jailed in, if it is.
    pub jails: Option<Jails>,
    /// The folder that machines' folders are made in.
    pub state: PathBuf,
    /// The longest frame taken in.
    pub frame_limit: u64,
}

/// A machine's folder. Dropping it removes it.
#[derive(Debug)]
struct Home(PathBuf);

impl Drop for Home {
    fn drop(&mut self) {
        // What resists goes with the block's folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Firecracker in its folder, and how it is spoken to: a machine that has no agent yet.
#[derive(Debug)]
struct Process {
    // Fields are dropped in this order: Firecracker before who brings its pages, and both before their files.
    vmm: Vmm,
    pager: Option<Pager>,
    api: Option<Api>,
    listener: Listener,
    jail: Option<Jail>,
    home: Home,
}

/// A running microVM. Dropping it kills Firecracker.
#[derive(Debug)]
pub struct Vm {
    process: Process,
    channel: Channel,
}

impl Vm {
    /// Boots a machine to its agent's hello. `create.jail` ends when the jailer does, if there is one, `create.spawn`
    /// when Firecracker's API is there, `create.configure` when it has been told what to make, `create.start` when it
    /// says that it runs, `boot` at the agent's `up`.
    ///
    /// # Errors
    /// The fault of a machine that does not come up.
    pub fn start(image: &Image, phases: &mut Phases, deadline: Deadline) -> Result<Vm, Fault> {
        let mut process = Process::spawn(image, phases, deadline)?;
        let (kernel, root) = match image.jails {
            None => (image.machine.kernel.image.as_path(), image.initramfs.as_path()),
            Some(_) => (Path::new(jail::KERNEL), Path::new(jail::ROOT)),
        };
        process.send(&MachineConfig { vcpu_count: 1, mem_size_mib: image.memory_mib }, deadline)?;
        process
            .send(&BootSource { kernel_image_path: kernel, initrd_path: root, boot_args: COMMAND_LINE }, deadline)?;
        process.send(&Vsock { guest_cid: GUEST_CID, uds_path: VSOCK }, deadline)?;
        phases.end("create.configure");
        process.send(&Action { action_type: ActionType::InstanceStart }, deadline)?;
        phases.end("create.start");
        let mut vm = process.connected(image.frame_limit, phases, deadline)?;
        vm.channel.expect_hello(deadline).map_err(|fault| vm.process.explain(fault))?;
        Ok(vm)
    }

    /// Restores a saved machine and wakes it. `create.load` ends when Firecracker says that it runs, `boot` when its
    /// agent has dialled again. The memory is mapped and comes when it is touched; where there are `pages`, from there.
    ///
    /// # Errors
    /// The fault of a machine that does not come up.
    pub fn restore(
        image: &Image,
        saved: &Saved,
        pages: Option<&Arc<Pages>>,
        phases: &mut Phases,
        deadline: Deadline,
    ) -> Result<Vm, Fault> {
        let mut process = Process::spawn(image, phases, deadline)?;
        let mut mem_backend = MemoryBackend { backend_type: BackendType::File, backend_path: &saved.memory };
        if let Some(pages) = pages {
            process.pager = Some(Pager::listen(&process.home.0.join(PAGES), pages)?);
            mem_backend = MemoryBackend { backend_type: BackendType::Uffd, backend_path: Path::new(PAGES) };
        }
        process.send(&SnapshotLoad { snapshot_path: &saved.state, mem_backend, resume_vm: true }, deadline)?;
        phases.end("create.load");
        let mut vm = process.connected(image.frame_limit, phases, deadline)?;
        vm.wake(deadline)?;
        Ok(vm)
    }

    /// A saved machine of `image`, made if no block has done so before.
    ///
    /// # Errors
    /// The fault of a machine that cannot be saved.
    pub fn saved(ctx: &RunContext, image: &Image, deadline: Deadline) -> Result<Saved, Fault> {
        Saved::kept(ctx, &key(image), image.memory_mib, |dir| save(image, dir, deadline))
    }

    fn wake(&mut self, deadline: Deadline) -> Result<(), Fault> {
        self.channel.wake(deadline).map(drop).map_err(|fault| self.process.explain(fault))
    }
}

impl Process {
    /// Starts Firecracker and waits until its API answers.
    fn spawn(image: &Image, phases: &mut Phases, deadline: Deadline) -> Result<Process, Fault> {
        let home = Home(image.state.join(format!("vm{}", NEXT.fetch_add(1, Ordering::Relaxed))));
        fs::create_dir(&home.0).map_err(|e| Fault::backend(format!("{}: {e}", home.0.display())))?;
        let jail = image.jails.as_ref().map(|jails| jails.make(&home.0)).transpose()?;
        // Where it runs: what it names is relative to it.
        let place = jail.as_ref().map_or(&home.0, |jail| &jail.root).clone();
        let listener = Listener::bind(place.join(format!("{VSOCK}_{PORT}")))?;
        // What it logs shares a file with the guest's console, and would push that out.
        let arguments = ["--api-sock", API, "--level", "Error"];
        let mut vmm = match (&image.jails, &jail) {
            (Some(jails), Some(jail)) => {
                jail.give(listener.path())?;
                let vmm = jails.spawn(jail, &home.0, &arguments, image.memory_mib << 20, deadline)?;
                phases.end("create.jail");
                vmm
            }
            _ => {
                let mut command = Command::new(&image.machine.program);
                command.args(arguments).current_dir(&place);
                Vmm::spawn("Firecracker", &mut command, Log::sealed()?, || Ok(()))?
            }
        };
        let api = Api::connect(&place.join(API), deadline, || vmm.alive())?;
        let mut process = Process { vmm, pager: None, api, listener, jail, home };
        if process.api.is_none() {
            return Err(process.explain(Fault::new(FaultKind::NoHello, deadline.fault("Firecracker's API").message)));
        }
        phases.end("create.spawn");
        Ok(process)
    }

    /// Asks Firecracker for something.
    fn send<R: Request>(&mut self, request: &R, deadline: Deadline) -> Result<(), Fault> {
        let api = self.api.as_mut().ok_or_else(|| Fault::backend("Firecracker's API is not connected"))?;
        let fault = match api.send(request, deadline) {
            Ok(()) => return Ok(()),
            Err(ApiError::Silent { request }) => {
                // What comes later would be taken for an answer to something else.
                self.api = None;
                Fault::new(FaultKind::NoHello, deadline.fault(&request).message)
            }
            Err(closed @ ApiError::Closed { .. }) => Fault::new(FaultKind::ChannelClosed, closed.to_string()),
            Err(error) => Fault::backend(error.to_string()),
        };
        Err(self.explain(fault))
    }

    /// Waits for the agent's `up`.
    fn connected(mut self, frame_limit: u64, phases: &mut Phases, deadline: Deadline) -> Result<Vm, Fault> {
        let vmm = &mut self.vmm;
        let alive = || match vmm.wait(Duration::ZERO)? {
            None => Ok(()),
            Some(_) => Err(Fault::new(FaultKind::ChannelClosed, "the agent did not connect")),
        };
        let up = self.listener.accept(frame_limit, deadline, alive).and_then(|mut channel| {
            let at = channel.expect_up(deadline)?;
            Ok((channel, at))
        });
        let (channel, at) = up.map_err(|fault| self.explain(fault))?;
        phases.end_at("boot", at);
        Ok(Vm { process: self, channel })
    }

    /// Adds to a fault what Firecracker, the guest's console and who brings the pages know about it.
    fn explain(&mut self, fault: Fault) -> Fault {
        let (api, pager) = (&mut self.api, &self.pager);
        let state = || api.as_mut().and_then(Api::state).unwrap_or_else(|| "silent".into());
        let fault = self.vmm.explain(fault, state);
        match pager.as_ref().and_then(Pager::failed) {
            Some(why) => Fault::new(fault.kind, format!("{}; no more pages: {why}", fault.message)),
            None => fault,
        }
    }
}

impl Standing for Vm {
    type Image = Image;

    fn start(image: &Image, phases: &mut Phases, deadline: Deadline) -> Result<Vm, Fault> {
        Vm::start(image, phases, deadline)
    }

    fn pause(&mut self, deadline: Deadline) -> Result<(), Fault> {
        self.process.send(&VmState { state: State::Paused }, deadline)
    }

    /// `boot` ends when Firecracker says that it runs.
    fn resume(&mut self, phases: &mut Phases, deadline: Deadline) -> Result<(), Fault> {
        self.process.send(&VmState { state: State::Resumed }, deadline)?;
        phases.end("boot");
        self.wake(deadline)
    }
}

impl Instance for Vm {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.channel.call(request, deadline).map_err(|fault| self.process.explain(fault))
    }

    fn footprint(&self) -> Attribution {
        let memory = self.process.jail.as_ref().and_then(|jail| cgroup::memory_folder(&jail.cgroup()));
        Attribution { cgroups: memory.into_iter().collect(), ..Attribution::process(self.process.vmm.id()) }
    }

    fn own_memory(&mut self, deadline: Deadline) -> Result<Option<Memory>, Fault> {
        self.channel.memory(deadline).map_err(|fault| self.process.explain(fault))
    }

    fn stop(mut self: Box<Self>, deadline: Deadline) -> Result<(), Fault> {
        // There is no other way but to ask the guest, and nothing in it that wants saving.
        self.process.vmm.end(deadline)
    }
}

/// What a saved machine depends on.
fn key(image: &Image) -> String {
    let Machine { program, version, kernel, .. } = &image.machine;
    let facts = [
        format!("firecracker {LAYOUT} {version} {}", program.display()),
        kernel.sha256.clone(),
        machine::describe().cpu,
        image.memory_mib.to_string(),
        image.initramfs.display().to_string(),
    ];
    sha256_hex(facts.join("\n").as_bytes())[..32].into()
}

/// Boots a machine and saves it into `dir`.
fn save(image: &Image, dir: &Path, deadline: Deadline) -> Result<(), Fault> {
    let mut vm = Vm::start(image, &mut Phases::new(), deadline)?;
    vm.pause(deadline)?;
    let full = dir.join("full");
    let request =
        SnapshotCreate { snapshot_type: SnapshotType::Full, snapshot_path: &dir.join(STATE), mem_file_path: &full };
    vm.process.send(&request, Deadline::after(WRITE_DEADLINE)).map_err(|fault| fault.context("saving a machine"))?;
    drop(vm);
    // Firecracker writes all of the memory, whether it was touched or not.
    let lean = File::open(&full).and_then(|from| copy(&from, &dir.join(MEMORY))).and_then(|()| fs::remove_file(&full));
    lean.map_err(|e| Fault::backend(format!("saving a machine: its memory: {e}")))
}
