//! What every microVM of a run shares: the installed Firecracker and the guest's kernel. And how it is asked for what.

use crate::api::{
    Action, ActionType, BackendType, BootSource, MachineConfig, MemoryBackend, SnapshotCreate, SnapshotLoad,
    SnapshotType, State, Vm as VmState, Vsock,
};
use crate::jail::{self, Jail, Jailer, Jails};
use crate::monitor::{self, GUEST_CID, Image, Monitor, Place, Program, VSOCK};
use crate::uffd::{self, Memory as Pages, Pager};
use crate::variant::Variant;
use crate::vm::{Process, keep_memory};
use isobench_core::Fault;
use isobench_qemu::kernel::{Kernel, Missing};
use isobench_qemu::minimal;
use isobench_qemu::saved::{STATE, Saved};
use isobench_qemu::vmm::Vmm;
use isobench_runner::{Attribution, Deadline, Phases, RunContext, cgroup};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names a Firecracker to use instead of the one in `PATH`.
pub const PROGRAM_VARIABLE: &str = "ISOBENCH_FIRECRACKER";

/// Where it is looked for.
const PROGRAM: Program = Program {
    name: Machine::NAME,
    program: "firecracker",
    variable: PROGRAM_VARIABLE,
    version_prefix: "Firecracker v",
    remedy: "take `firecracker` from a release (https://github.com/firecracker-microvm/firecracker/releases) and put \
             it into PATH, or let ISOBENCH_FIRECRACKER name it",
};

/// The modules that make a vsock on virtio-mmio, those they need not named.
const VSOCK_MODULES: [&str; 2] = ["virtio_mmio", "vmw_vsock_virtio_transport"];

/// The first version whose restored guests are told that their connections are gone; before it they wait for ever.
const TELLS_OF_RESETS: (u32, u32) = (1, 10);

/// The socket of who brings the pages, in a machine's folder.
const PAGES: &str = "pages";

/// The kernel's command line. `reboot=k` (by the keyboard's controller, which is all there is of a keyboard) ends the
/// machine in order, and `panic=-1` lets a panic end it too. The root is a ramfs, because a tmpfs holds half of the
/// memory only and cuts a large agent short without a word. Level 1 lets nothing but a panic's words onto the console.
/// There is no PCI unless Firecracker is told so.
pub const COMMAND_LINE: &str =
    "console=ttyS0 loglevel=1 reboot=k panic=-1 pci=off rootfstype=ramfs cryptomgr.notests no_timer_check";

/// What every microVM of a run is: written down by `prepare`, read by the blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The VMM.
    pub program: PathBuf,
    /// Its version, for example `1.16.1`.
    pub version: String,
    /// The guest's kernel.
    pub kernel: Kernel,
    /// The jailer, or why none can be used.
    pub jailer: Result<Jailer, String>,
}

impl Machine {
    /// Finds both, and boots a guest to see whether one does (or remembers whether one did).
    ///
    /// # Errors
    /// What is missing.
    pub fn find(ctx: &RunContext) -> Result<Machine, Missing> {
        let (program, version) = PROGRAM.find()?;
        let kernel = Kernel::named(ctx, &VSOCK_MODULES).unwrap_or_else(|| minimal::find(ctx))?;
        let jailer = Jailer::find(ctx, &program, &version);
        monitor::that_boots(ctx, Machine { program, version, kernel, jailer })
    }

    /// The variants that cannot be run, and why.
    pub fn absent(&self, ctx: &RunContext) -> BTreeMap<String, String> {
        let unheard = || {
            (!tells_of_resets(&self.version)).then(|| {
                let version = &self.version;
                format!("Firecracker {version} does not tell a restored guest that its connections are gone: 1.10 does")
            })
        };
        let why = |variant: &Variant| match variant {
            Variant::Boot => None,
            Variant::Jailer => self.jailer.clone().err(),
            Variant::Restore => unheard(),
            Variant::RestoreUffd => unheard().or_else(uffd::missing),
            Variant::Paused => monitor::deaf(ctx, self).map(|why| {
                let known = "https://github.com/firecracker-microvm/firecracker/pull/6100";
                format!("{why}. So it is with Firecracker 1.16.0 and 1.16.1 ({known}), not with those before")
            }),
        };
        Variant::ALL.into_iter().filter_map(|variant| Some((variant.name().into(), why(&variant)?))).collect()
    }

    /// An image whose machines run in jails.
    ///
    /// # Errors
    /// There is no jailer, or what jails are made of cannot be made.
    pub fn jailed(&self, ctx: &RunContext, image: Image<Machine>) -> Result<Image<Machine>, Fault> {
        let jailer = self.jailer.clone().map_err(Fault::backend)?;
        let jails = Jails::new(ctx, jailer, &self.kernel.image, &image.initramfs)?;
        Ok(Image { with: With { jails: Some(jails), pages: None }, ..image })
    }
}

/// What a variant has more.
#[derive(Debug, Clone, Default)]
pub struct With {
    /// What Firecracker is jailed in, if it is.
    pub jails: Option<Jails>,
    /// Where a restored machine's memory comes from, if not by the kernel from the file.
    pub pages: Option<Arc<Pages>>,
}

/// What a machine has. Who brings its pages goes before its jail.
#[derive(Debug, Default)]
pub struct Own {
    pager: Option<Pager>,
    jail: Option<Jail>,
}

impl Monitor for Machine {
    const NAME: &'static str = "Firecracker";
    // What it logs shares a file with the guest's console, and would push that out.
    const ARGUMENTS: &'static [&'static str] = &["--api-sock", monitor::API, "--level", "Error"];
    const INFO: &'static str = "/";

    type With = With;
    type Own = Own;

    fn program(&self) -> &Path {
        &self.program
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// In a jail, if there are any.
    fn make(image: &Image<Machine>, home: &Path) -> Result<(PathBuf, Own), Fault> {
        let jail = image.with.jails.as_ref().map(|jails| jails.make(home)).transpose()?;
        let place = jail.as_ref().map_or(home, |jail| &jail.root).into();
        Ok((place, Own { pager: None, jail }))
    }

    /// `create.jail` ends when the jailer does, if there is one.
    fn spawn(
        image: &Image<Machine>,
        own: &Own,
        place: &Place,
        phases: &mut Phases,
        deadline: Deadline,
    ) -> Result<Vmm, Fault> {
        let (Some(jails), Some(jail)) = (&image.with.jails, &own.jail) else { return monitor::plain(image, place) };
        jail.give(place.listener)?;
        let vmm = jails.spawn(jail, place.home, Machine::ARGUMENTS, image.memory_mib << 20, deadline)?;
        phases.end("create.jail");
        Ok(vmm)
    }

    fn configure(image: &Image<Machine>, process: &mut Process<Machine>, deadline: Deadline) -> Result<(), Fault> {
        let (kernel, root) = match image.with.jails {
            None => (image.machine.kernel.image.as_path(), image.initramfs.as_path()),
            Some(_) => (Path::new(jail::KERNEL), Path::new(jail::ROOT)),
        };
        let boot = BootSource { kernel_image_path: kernel, initrd_path: root, boot_args: COMMAND_LINE };
        process.send(&MachineConfig { vcpu_count: 1, mem_size_mib: image.memory_mib }, deadline)?;
        process.send(&boot, deadline)?;
        process.send(&Vsock { guest_cid: GUEST_CID, uds_path: VSOCK }, deadline)
    }

    fn boot(process: &mut Process<Machine>, deadline: Deadline) -> Result<(), Fault> {
        process.send(&Action { action_type: ActionType::InstanceStart }, deadline)
    }

    /// The memory is mapped and comes when it is touched; where there are pages, from there.
    fn load(
        image: &Image<Machine>,
        saved: &Saved,
        process: &mut Process<Machine>,
        deadline: Deadline,
    ) -> Result<(), Fault> {
        let mut mem_backend = MemoryBackend { backend_type: BackendType::File, backend_path: &saved.memory };
        if let Some(pages) = &image.with.pages {
            process.own.pager = Some(Pager::listen(&process.home().join(PAGES), pages)?);
            mem_backend = MemoryBackend { backend_type: BackendType::Uffd, backend_path: Path::new(PAGES) };
        }
        process.send(&SnapshotLoad { snapshot_path: &saved.state, mem_backend, resume_vm: true }, deadline)
    }

    fn pause(process: &mut Process<Machine>, deadline: Deadline) -> Result<(), Fault> {
        process.send(&VmState { state: State::Paused }, deadline)
    }

    fn resume(process: &mut Process<Machine>, deadline: Deadline) -> Result<(), Fault> {
        process.send(&VmState { state: State::Resumed }, deadline)
    }

    fn save(process: &mut Process<Machine>, dir: &Path, deadline: Deadline) -> Result<(), Fault> {
        let (full, state) = (dir.join("full"), dir.join(STATE));
        let snapshot_type = SnapshotType::Full;
        process.send(&SnapshotCreate { snapshot_type, snapshot_path: &state, mem_file_path: &full }, deadline)?;
        keep_memory(&full, dir)
    }

    fn explain(own: &Own, fault: Fault) -> Fault {
        match own.pager.as_ref().and_then(Pager::failed) {
            Some(why) => Fault::new(fault.kind, format!("{}; no more pages: {why}", fault.message)),
            None => fault,
        }
    }

    fn footprint(own: &Own, id: u32) -> Attribution {
        let memory = own.jail.as_ref().and_then(|jail| cgroup::memory_folder(&jail.cgroup()));
        Attribution { cgroups: memory.into_iter().collect(), ..Attribution::process(id) }
    }
}

fn tells_of_resets(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= TELLS_OF_RESETS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, tells) in
            [("1.9.1", false), ("1.10.0", true), ("1.16.1", true), ("2.0.0-dev", true), ("x", false)]
        {
            assert_eq!(tells_of_resets(version), tells, "{version}");
        }
    }
}
