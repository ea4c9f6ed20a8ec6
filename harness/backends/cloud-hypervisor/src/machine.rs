//! What every microVM of a run shares: the installed Cloud Hypervisor and the guest's kernel. And how it is asked for
//! what.

use crate::api::{
    Boot, Console, ConsoleMode, Cpus, INFO, Memory, Pause, Payload, Restore, Resume, Snapshot, VmConfig, Vsock,
};
use crate::variant::Variant;
use isobench_core::Fault;
use isobench_firecracker::monitor::{self, API, GUEST_CID, Image, Monitor, Program, VSOCK};
use isobench_firecracker::vm::{Process, keep_memory};
use isobench_qemu::kernel::{Kernel, Missing};
use isobench_qemu::saved::{MEMORY, STATE, Saved};
use isobench_runner::{Deadline, RunContext};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Names a Cloud Hypervisor to use instead of the one in `PATH`.
pub const PROGRAM_VARIABLE: &str = "ISOBENCH_CLOUD_HYPERVISOR";

/// Where it is looked for.
const PROGRAM: Program = Program {
    name: Machine::NAME,
    program: "cloud-hypervisor",
    variable: PROGRAM_VARIABLE,
    version_prefix: "cloud-hypervisor v",
    remedy: "take `cloud-hypervisor-static` from a release \
             (https://github.com/cloud-hypervisor/cloud-hypervisor/releases) and put it into PATH as \
             `cloud-hypervisor`, or let ISOBENCH_CLOUD_HYPERVISOR name it",
};

/// The modules that make a vsock on virtio-pci, those they need not named.
const VSOCK_MODULES: [&str; 2] = ["virtio_pci", "vmw_vsock_virtio_transport"];

/// The file that remembers the distribution's kernel with them.
const KERNEL_RECORD: &str = "distribution-pci.json";

/// The kernel's command line. `panic=-1` lets a panic restart the machine at once. The root is a ramfs, because a
/// tmpfs holds half of the memory only and cuts a large agent short without a word. Level 1 lets nothing but a panic's
/// words onto the console.
const COMMAND_LINE: &str = "console=ttyS0 loglevel=1 panic=-1 rootfstype=ramfs cryptomgr.notests no_timer_check";

/// The files of a saved machine, by Cloud Hypervisor's names: its memory, and what is not memory. A third has what it
/// was told to make.
const THEIR_MEMORY: &str = "memory-ranges";
const THEIR_STATE: &str = "state.json";

/// What every microVM of a run is: written down by `prepare`, read by the blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The VMM.
    pub program: PathBuf,
    /// Its version, for example `53.0`.
    pub version: String,
    /// The guest's kernel.
    pub kernel: Kernel,
}

impl Machine {
    /// Finds both, and boots a guest to see whether one does (or remembers whether one did).
    ///
    /// # Errors
    /// What is missing.
    pub fn find(ctx: &RunContext) -> Result<Machine, Missing> {
        let (program, version) = PROGRAM.find()?;
        let kernel = Kernel::with(ctx, &VSOCK_MODULES, KERNEL_RECORD)?;
        monitor::that_boots(ctx, Machine { program, version, kernel })
    }

    /// The variants that cannot be run, and why.
    pub fn absent(&self, ctx: &RunContext) -> BTreeMap<String, String> {
        let why = |variant: &Variant| match variant {
            Variant::Boot => None,
            Variant::Restore => monitor::lost(ctx, self).map(|why| {
                format!("{why}. Before version 52 a restored guest is not told that its connections are gone")
            }),
            Variant::Paused => monitor::deaf(ctx, self),
        };
        Variant::ALL.into_iter().filter_map(|variant| Some((variant.name().into(), why(&variant)?))).collect()
    }
}

impl Monitor for Machine {
    const NAME: &'static str = "Cloud Hypervisor";
    const ARGUMENTS: &'static [&'static str] = &["--api-socket", API];
    const INFO: &'static str = INFO;

    type With = ();
    type Own = ();

    fn program(&self) -> &Path {
        &self.program
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    fn configure(image: &Image<Machine>, process: &mut Process<Machine>, deadline: Deadline) -> Result<(), Fault> {
        let config = VmConfig {
            cpus: Cpus { boot_vcpus: 1, max_vcpus: 1 },
            memory: Memory { size: image.memory_mib << 20 },
            payload: Payload {
                kernel: &image.machine.kernel.image,
                cmdline: COMMAND_LINE,
                initramfs: &image.initramfs,
            },
            serial: Console { mode: ConsoleMode::Tty },
            console: Console { mode: ConsoleMode::Off },
            vsock: Vsock { cid: GUEST_CID, socket: VSOCK },
        };
        process.send(&config, deadline)
    }

    fn boot(process: &mut Process<Machine>, deadline: Deadline) -> Result<(), Fault> {
        process.send(&Boot, deadline)
    }

    /// All of the memory is read. The vsock's socket is that of the saved machine by its name, which is relative.
    fn load(
        _: &Image<Machine>,
        saved: &Saved,
        process: &mut Process<Machine>,
        deadline: Deadline,
    ) -> Result<(), Fault> {
        let source_url = &url(saved.state.parent().unwrap_or(&saved.state));
        process.send(&Restore { source_url, resume: true }, deadline)
    }

    fn pause(process: &mut Process<Machine>, deadline: Deadline) -> Result<(), Fault> {
        process.send(&Pause, deadline)
    }

    fn resume(process: &mut Process<Machine>, deadline: Deadline) -> Result<(), Fault> {
        process.send(&Resume, deadline)
    }

    fn save(process: &mut Process<Machine>, dir: &Path, deadline: Deadline) -> Result<(), Fault> {
        process.send(&Snapshot { destination_url: &url(dir) }, deadline)?;
        keep_memory(&dir.join(THEIR_MEMORY), dir)?;
        // Cloud Hypervisor asks for its own names.
        let link = |from: &str, to: &str| fs::hard_link(dir.join(from), dir.join(to));
        let linked = link(MEMORY, THEIR_MEMORY).and_then(|()| link(THEIR_STATE, STATE));
        linked.map_err(|e| Fault::backend(format!("{}: {e}", dir.display())))
    }
}

fn url(folder: &Path) -> String {
    format!("file://{}", folder.display())
}
