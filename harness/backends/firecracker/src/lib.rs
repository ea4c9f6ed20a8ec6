//! Firecracker microVMs: the VMM of AWS Lambda boots a minimal kernel straight into our agent, which dials us over a
//! vsock. See the README beside this crate for the choices made and what is unfair about them.
//!
//! | module | what it does |
//! |---|---|
//! | [`variant`] | the ways to a running machine |
//! | [`machine`], [`api`] | Firecracker and kernel, found; what it is asked |
//! | [`jail`] | what a platform runs Firecracker in |
//! | [`uffd`] | a restored machine's memory, page by page |
//! | [`monitor`], [`client`], [`vm`] | any monitor with an API like this: described, asked, one running instance |
//!
//! Kernel, root file system, saved and standing machines are those of [`isobench_qemu`].

pub mod api;
pub mod client;
pub mod jail;
pub mod machine;
pub mod monitor;
pub mod uffd;
pub mod variant;
pub mod vm;

use isobench_core::{Availability, Description, Fault, Model};
use isobench_qemu::paused::Ahead;
use isobench_runner::containers;
use isobench_runner::{Backend, Cleaned, Deadline, Deployment, Prepared, RunContext, Target};
use jail::CGROUP;
use machine::{Machine, With};
use monitor::Image;
use std::path::PathBuf;
use uffd::Memory;
use variant::Variant;
use vm::{Deployed, Vm};

/// The backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct Firecracker;

impl Backend for Firecracker {
    fn describe(&self) -> Description {
        Description {
            backend: "firecracker".into(),
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
            Ok(machine) => monitor::available("firecracker", &machine, machine.absent(ctx)),
        }
    }

    fn prepare(&self, ctx: &RunContext) -> Result<Box<dyn Prepared>, Fault> {
        let machine = Machine::find(ctx).map_err(|missing| Fault::backend(missing.to_string()))?;
        Ok(Box::new(Ready(machine)))
    }

    fn open(&self, _ctx: &RunContext, record: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Ready(isobench_qemu::written_down(record)?)))
    }

    fn clean(&self, _: &RunContext, _: &[PathBuf]) -> Cleaned {
        reap()
    }
}

/// Ends jailed machines of runners that are gone. Their environment is empty, so it is their cgroups that lead to them.
fn reap() -> Cleaned {
    containers::reap("firecracker", CGROUP)
}

/// A machine that can be deployed to.
#[derive(Debug)]
struct Ready(Machine);

impl Drop for Ready {
    fn drop(&mut self) {
        // At the end of the run in its owner, and of each block.
        reap();
    }
}

impl Prepared for Ready {
    fn record(&self) -> serde_json::Value {
        serde_json::to_value(&self.0).expect("strings")
    }

    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        let image = Image::of(ctx, &self.0, target)?;
        let allowed = target.limits.start_deadline(target.emulated);
        let saved = || Vm::saved(ctx, &image, Deadline::after(allowed));
        Ok(Box::new(match Variant::named(&target.variant)? {
            Variant::Boot => Deployed::Booted(image),
            Variant::Jailer => {
                reap();
                Deployed::Booted(self.0.jailed(ctx, image)?)
            }
            Variant::Restore => {
                let saved = saved()?;
                Deployed::Restored(image, saved)
            }
            Variant::RestoreUffd => {
                let saved = saved()?;
                let with = With { jails: None, pages: Some(Memory::map(&saved.memory)?) };
                Deployed::Restored(Image { with, ..image }, saved)
            }
            Variant::Paused => Deployed::Paused(Ahead::new(image, allowed)?),
        }))
    }
}
