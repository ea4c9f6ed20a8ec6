//! QEMU microVMs: the `microvm` machine boots a distribution's kernel straight into our agent, which dials us over a
//! virtio-serial port. See the README beside this crate for the choices made and what is unfair about them.
//!
//! | module | what it does |
//! |---|---|
//! | [`kernel`], [`packages`], [`unpack`] | the guest's kernel: found, fetched, taken apart |
//! | [`initramfs`], [`cpio`] | the guest's root: agent, arguments, guest, modules |
//! | [`machine`], [`tsc`], [`accel`] | QEMU's command line, the clock's rate, KVM or not |
//! | [`vm`], [`control`] | one running instance |

pub mod accel;
pub mod control;
pub mod cpio;
pub mod initramfs;
pub mod kernel;
pub mod machine;
pub mod packages;
pub mod tsc;
pub mod unpack;
pub mod vm;

use accel::choose;
use initramfs::{GUEST_FILE, Root};
use isobench_core::{Availability, Description, Fault, FaultKind, Guest, Model, VariantInfo};
use isobench_runner::agents::AgentPackage;
use isobench_runner::{Attribution, Backend, Deadline, Deployment, Instance, Phases, Prepared, RunContext, Target};
use kernel::{Kernel, Missing};
use machine::{Accel, Machine, PORT, Qemu, memory_mib};
use std::collections::BTreeMap;
use std::fs;
use vm::{Image, Vm};

/// The backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct QemuBackend;

impl Backend for QemuBackend {
    fn describe(&self) -> Description {
        Description {
            backend: "qemu".into(),
            model: Model::Microvm,
            variants: vec![VariantInfo {
                name: "boot".into(),
                guests: Guest::ALL.to_vec(),
                prepared: "kernel (out of its bzImage) and root file system, in the page cache".into(),
                shared: "nothing: a kernel of its own in a process of its own".into(),
                quick: true,
                matrix: true,
            }],
            in_process: false,
            hidden: false,
            footprint_instances: 16,
            engines: Vec::new(),
        }
    }

    fn probe(&self, ctx: &RunContext) -> Availability {
        match find(ctx) {
            Err(missing) => Availability::unavailable(missing.reason, missing.remedy),
            Ok((machine, note)) => Availability::Available {
                versions: [
                    ("qemu", &machine.qemu.version),
                    ("kernel", &machine.kernel.release),
                    ("kernel_source", &machine.kernel.source),
                    ("kernel_sha256", &machine.kernel.sha256),
                    ("accel", &machine.accel.to_string()),
                ]
                .map(|(name, version)| (name.to_string(), version.clone()))
                .into(),
                emulated: machine.accel == Accel::Tcg,
                notes: note.into_iter().collect(),
                absent: BTreeMap::new(),
            },
        }
    }

    fn prepare(&self, ctx: &RunContext) -> Result<Box<dyn Prepared>, Fault> {
        let (machine, _) = find(ctx).map_err(|missing| Fault::backend(missing.to_string()))?;
        Ok(Box::new(Ready(machine)))
    }

    fn open(&self, _ctx: &RunContext, record: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        let machine = serde_json::from_value(record.clone())
            .map_err(|e| Fault::new(FaultKind::Internal, format!("what `prepare` wrote down: {e}")))?;
        Ok(Box::new(Ready(machine)))
    }
}

/// The machine that can be run here, and why KVM is not used where it is not.
fn find(ctx: &RunContext) -> Result<(Machine, Option<String>), Missing> {
    if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) {
        return Err(Missing::new("the qemu backend runs x86-64 guests on x86-64 Linux", "use such a machine"));
    }
    let mut machine = Machine::new(Qemu::find()?, Kernel::find(ctx)?, Accel::Tcg);
    let (accel, note) = choose(ctx, &machine);
    machine.accel = accel;
    Ok((machine, note))
}

/// A machine that can be deployed to.
#[derive(Debug)]
struct Ready(Machine);

impl Prepared for Ready {
    fn record(&self) -> serde_json::Value {
        serde_json::to_value(&self.0).expect("strings and numbers")
    }

    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        Ok(Box::new(Deployed(image(&self.0, ctx, target)?)))
    }
}

/// What `target`'s instances are started from.
pub fn image(machine: &Machine, ctx: &RunContext, target: &Target) -> Result<Image, Fault> {
    let package = AgentPackage::pack(ctx, target)?;
    let root = Root {
        agent: &package.program,
        guest: package.guest.as_deref(),
        args: &package.args(&format!("port:{PORT}"), GUEST_FILE),
        modules: &machine.kernel.modules,
        content: &package.sha256,
    };
    let initramfs = initramfs::build(ctx, &root)?;
    let bytes = fs::metadata(&initramfs).map_err(|e| Fault::backend(format!("{}: {e}", initramfs.display())))?.len();
    Ok(Image {
        machine: machine.clone(),
        memory_mib: memory_mib(target.limits.memory_bytes, bytes),
        initramfs,
        state: ctx.state.clone(),
        frame_limit: target.limits.frame_bytes,
    })
}

/// A guest in a root file system.
#[derive(Debug)]
struct Deployed(Image);

impl Deployment for Deployed {
    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        Ok(Box::new(Vm::start(&self.0, phases, deadline)?))
    }

    fn footprint(&self) -> Attribution {
        // Nothing is there before an instance is, and nothing is shared but page cache.
        Attribution::default()
    }
}
