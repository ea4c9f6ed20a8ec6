//! QEMU microVMs: the `microvm` machine boots a distribution's kernel straight into our agent, which dials us over a
//! virtio-serial port. See the README beside this crate for the choices made and what is unfair about them.
//!
//! | module | what it does |
//! |---|---|
//! | [`variant`] | the ways to a running machine |
//! | [`kernel`], [`packages`], [`unpack`], [`minimal`] | the guest's kernel: found, fetched, taken apart |
//! | [`initramfs`], [`cpio`] | the guest's root: agent, arguments, guest, modules |
//! | [`machine`], [`tsc`], [`accel`] | QEMU's command line, the clock's rate, KVM or not |
//! | [`vm`], [`process`], [`vmm`], [`control`] | one running instance |
//! | [`saved`], [`paused`] | machines that were booted before the clock started |

pub mod accel;
pub mod control;
pub mod cpio;
pub mod initramfs;
pub mod kernel;
pub mod machine;
pub mod minimal;
pub mod packages;
pub mod paused;
pub mod process;
pub mod saved;
pub mod tsc;
pub mod unpack;
pub mod variant;
pub mod vm;
pub mod vmm;

use accel::choose;
use initramfs::{GUEST_FILE, Root};
use isobench_core::{Availability, Description, Fault, FaultKind, Model};
use isobench_runner::agents::AgentPackage;
use isobench_runner::{Attribution, Backend, Deadline, Deployment, Instance, Phases, Prepared, RunContext, Target};
use kernel::{Kernel, Missing};
use machine::{Accel, Machine, Machines, PORT, Qemu, memory_mib};
use paused::Ahead;
use saved::Saved;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use variant::Variant;
use vm::{Image, Vm};

/// The backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct QemuBackend;

impl Backend for QemuBackend {
    fn describe(&self) -> Description {
        Description {
            backend: "qemu".into(),
            model: Model::Microvm,
            variants: Variant::ALL.map(Variant::describe).into(),
            in_process: false,
            hidden: false,
            footprint_instances: 16,
            engines: Vec::new(),
        }
    }

    fn probe(&self, ctx: &RunContext) -> Availability {
        match find(ctx) {
            Err(missing) => Availability::unavailable(missing.reason, missing.remedy),
            Ok(found) => {
                let Machines { general, minimal } = &found.machines;
                let accel = general.accel.to_string();
                let mut versions: BTreeMap<String, String> = [
                    ("qemu", &general.qemu.version),
                    ("kernel", &general.kernel.release),
                    ("kernel_source", &general.kernel.source),
                    ("kernel_sha256", &general.kernel.sha256),
                    ("accel", &accel),
                ]
                .map(|(name, version)| (name.to_string(), version.clone()))
                .into();
                if let Some(Machine { kernel, .. }) = minimal {
                    versions.insert("minimal_kernel_source".into(), kernel.source.clone());
                    versions.insert("minimal_kernel_sha256".into(), kernel.sha256.clone());
                }
                Availability::Available {
                    versions,
                    emulated: general.accel == Accel::Tcg,
                    notes: found.note.into_iter().collect(),
                    absent: found.absent,
                }
            }
        }
    }

    fn prepare(&self, ctx: &RunContext) -> Result<Box<dyn Prepared>, Fault> {
        let found = find(ctx).map_err(|missing| Fault::backend(missing.to_string()))?;
        Ok(Box::new(Ready(found.machines)))
    }

    fn open(&self, _ctx: &RunContext, record: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Ready(written_down(record)?)))
    }
}

/// What `prepare` of a backend wrote down as `record`.
///
/// # Errors
/// The fault of something else.
pub fn written_down<T: DeserializeOwned>(record: &serde_json::Value) -> Result<T, Fault> {
    T::deserialize(record).map_err(|e| Fault::new(FaultKind::Internal, format!("what `prepare` wrote down: {e}")))
}

/// What can be run here.
struct Found {
    machines: Machines,
    /// Why KVM is not used where it is not.
    note: Option<String>,
    /// The variants that cannot be run, and why.
    absent: BTreeMap<String, String>,
}

fn find(ctx: &RunContext) -> Result<Found, Missing> {
    if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) {
        return Err(Missing::new("the qemu backend runs x86-64 guests on x86-64 Linux", "use such a machine"));
    }
    let mut general = Machine::new(Qemu::find()?, Kernel::find(ctx)?, Accel::Tcg);
    let (accel, note) = choose(ctx, &general);
    general.accel = accel;
    let mut absent = BTreeMap::new();
    let minimal = match minimal::find(ctx) {
        Ok(kernel) => Some(general.with_minimal(kernel)),
        Err(missing) => {
            absent.insert(Variant::BootMinimal.name().into(), missing.to_string());
            None
        }
    };
    Ok(Found { machines: Machines { general, minimal }, note, absent })
}

/// Machines that can be deployed to.
#[derive(Debug)]
struct Ready(Machines);

impl Prepared for Ready {
    fn record(&self) -> serde_json::Value {
        serde_json::to_value(&self.0).expect("strings and numbers")
    }

    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        let image = image(&self.0, ctx, target)?;
        let allowed = target.limits.start_deadline(target.emulated);
        Ok(Box::new(match Variant::named(&target.variant)? {
            Variant::Boot | Variant::BootMinimal => Deployed::Booted(image),
            Variant::Restore => {
                let saved = Saved::of(ctx, &image, Deadline::after(allowed))?;
                Deployed::Restored(image, saved)
            }
            Variant::Paused => Deployed::Paused(Ahead::new(image, allowed)?),
        }))
    }
}

/// What `target`'s instances are started from.
pub fn image(machines: &Machines, ctx: &RunContext, target: &Target) -> Result<Image, Fault> {
    let machine = machines.of(&target.variant)?;
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

/// A guest in a root file system, and how far it has come before it is started.
#[derive(Debug)]
enum Deployed {
    Booted(Image),
    Restored(Image, Saved),
    Paused(Arc<Ahead<Vm>>),
}

impl Deployment for Deployed {
    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        Ok(match self {
            Deployed::Booted(image) => Box::new(Vm::start(image, phases, deadline)?),
            Deployed::Restored(image, saved) => Box::new(Vm::restore(image, saved, phases, deadline)?),
            Deployed::Paused(ahead) => ahead.start(phases, deadline)?,
        })
    }

    fn footprint(&self) -> Attribution {
        match self {
            // Nothing is there before an instance is, and nothing is shared but page cache.
            Deployed::Booted(_) | Deployed::Restored(..) => Attribution::default(),
            Deployed::Paused(ahead) => ahead.footprint(),
        }
    }
}
