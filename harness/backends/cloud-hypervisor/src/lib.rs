//! Cloud Hypervisor microVMs: its API and its vsock are like Firecracker's, its devices are on PCI. See the README
//! beside this crate for the choices made and what is unfair about them.
//!
//! | module | what it does |
//! |---|---|
//! | [`variant`] | the ways to a running machine |
//! | [`machine`], [`api`] | Cloud Hypervisor and kernel, found; what it is asked |
//!
//! How a machine is run, saved and kept is [`isobench_firecracker`]'s (`monitor`, `client`, `vm`) and
//! [`isobench_qemu`]'s.

pub mod api;
pub mod machine;
pub mod variant;

use isobench_core::{Availability, Description, Fault, Model};
use isobench_firecracker::monitor::{self, Image};
use isobench_firecracker::vm::{Deployed, Vm};
use isobench_qemu::paused::Ahead;
use isobench_runner::{Backend, Deadline, Deployment, Prepared, RunContext, Target};
use machine::Machine;
use variant::Variant;

/// The backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloudHypervisor;

impl Backend for CloudHypervisor {
    fn describe(&self) -> Description {
        Description {
            backend: "cloud-hypervisor".into(),
            model: Model::Microvm,
            variants: Variant::ALL.map(Variant::describe).into(),
            in_process: false,
            hidden: false,
            footprint_instances: 16,
            engines: Vec::new(),
        }
    }

    fn probe(&self, ctx: &RunContext) -> Availability {
        match Machine::find(ctx) {
            Err(missing) => Availability::unavailable(missing.reason, missing.remedy),
            Ok(machine) => monitor::available("cloud_hypervisor", &machine, machine.absent(ctx)),
        }
    }

    fn prepare(&self, ctx: &RunContext) -> Result<Box<dyn Prepared>, Fault> {
        let machine = Machine::find(ctx).map_err(|missing| Fault::backend(missing.to_string()))?;
        Ok(Box::new(Ready(machine)))
    }

    fn open(&self, _ctx: &RunContext, record: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Ready(isobench_qemu::written_down(record)?)))
    }
}

/// A machine that can be deployed to.
#[derive(Debug)]
struct Ready(Machine);

impl Prepared for Ready {
    fn record(&self) -> serde_json::Value {
        serde_json::to_value(&self.0).expect("strings")
    }

    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        let image = Image::of(ctx, &self.0, target)?;
        let allowed = target.limits.start_deadline(target.emulated);
        Ok(Box::new(match Variant::named(&target.variant)? {
            Variant::Boot => Deployed::Booted(image),
            Variant::Restore => {
                let saved = Vm::saved(ctx, &image, Deadline::after(allowed))?;
                Deployed::Restored(image, saved)
            }
            Variant::Paused => Deployed::Paused(Ahead::new(image, allowed)?),
        }))
    }
}
