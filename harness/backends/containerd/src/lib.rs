//! Containers of containerd, through its gRPC API: what Kubernetes pays for one, without the kubelet.
//!
//! - `daemon`: which containerd is used, and the proof that its containers reach us;
//! - `private`: one of our own, where the user names none;
//! - [`api`], [`messages`]: how it is asked, and the part of its API that is used;
//! - `image`, [`spec`], [`container`]: what it is asked to make;
//! - [`variant`]: the runtimes;
//! - `deployment`: the traits of a started guest;
//! - `reap`: whose things are, and how they are found again after a `kill -9`.

pub mod api;
pub mod container;
mod daemon;
mod deployment;
pub mod image;
pub mod messages;
mod private;
mod reap;
pub mod spec;
pub mod variant;

pub use daemon::Shared;
pub use deployment::{Deployed, new_id};

use api::{ANSWER_DEADLINE, Client};
use daemon::Chosen;
use image::REPOSITORY;
use isobench_core::{Availability, Description, Fault, Model};
use isobench_runner::agents::{self, AgentPackage};
use isobench_runner::chosen;
use isobench_runner::{Backend, Cleaned, Deadline, Deployment, Prepared, RunContext, Target};
use std::path::PathBuf;
use std::time::Duration;
use variant::Variant;

/// Longest wait for an image to be imported: 40 MB of agent through a daemon on a slow disk.
const IMPORT_DEADLINE: Duration = Duration::from_secs(60);

/// Longest wait for the removal of what dead runs left in a daemon.
const CLEAN_DEADLINE: Duration = Duration::from_secs(20);

/// Most instances that a footprint visit keeps alive.
const MOST_INSTANCES: u32 = 16;

/// The backend.
#[derive(Debug)]
pub struct Containerd;

impl Backend for Containerd {
    fn describe(&self) -> Description {
        Description {
            backend: "containerd".into(),
            model: Model::Container,
            variants: Variant::ALL.map(Variant::info).into(),
            in_process: false,
            hidden: false,
            footprint_instances: MOST_INSTANCES,
            engines: Vec::new(),
        }
    }

    fn probe(&self, ctx: &RunContext) -> Availability {
        let remembered = daemon::choose(ctx).and_then(|chosen| {
            let noted = chosen.identity().and_then(|identity| chosen::remember(ctx, &identity));
            noted.map(|()| chosen).map_err(|fault| fault.to_string())
        });
        match remembered {
            Ok(chosen) => {
                let absent = chosen.absent(ctx);
                let mut notes = chosen.notes();
                notes.extend(agents::missing_agents(ctx));
                Availability::Available { versions: chosen.versions(ctx, &absent), emulated: false, notes, absent }
            }
            Err(reason) => Availability::unavailable(reason, daemon::REMEDY),
        }
    }

    fn prepare(&self, ctx: &RunContext) -> Result<Box<dyn Prepared>, Fault> {
        let chosen = daemon::choose(ctx).map_err(|reason| Fault::backend(format!("{reason}; {}", daemon::REMEDY)))?;
        chosen::confirm(ctx, &chosen.identity()?)?;
        Ok(Box::new(Held(chosen)))
    }

    fn open(&self, _ctx: &RunContext, record: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        let shared = Shared::read(record)?;
        // What a killed runner left would share the machine with this block.
        reap::containers(&shared.client(), Deadline::after(ANSWER_DEADLINE));
        Ok(Box::new(Opened(shared)))
    }

    fn clean(&self, _ctx: &RunContext, dead: &[PathBuf]) -> Cleaned {
        let mut cleaned = isobench_runner::daemon::reap("containerd", daemon::CGROUP, dead);
        if let Some(socket) = daemon::named_socket() {
            let client = Client::new(&socket, "");
            let deadline = Deadline::after(CLEAN_DEADLINE);
            cleaned.extend(reap::containers(&client, deadline));
            cleaned.extend(reap::images(&client, None, deadline));
        }
        cleaned
    }
}

/// In the owner process: the daemon lives as long as this does.
struct Held(Chosen);

impl Prepared for Held {
    fn record(&self) -> serde_json::Value {
        self.0.shared.record()
    }

    fn is_bound(&self) -> bool {
        self.0.bound
    }

    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        Ok(Box::new(deploy(&self.0.shared, ctx, target)?))
    }
}

/// In a block's runner: what it is told of it.
struct Opened(Shared);

impl Prepared for Opened {
    fn record(&self) -> serde_json::Value {
        self.0.record()
    }

    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        Ok(Box::new(deploy(&self.0, ctx, target)?))
    }
}

/// Imports the image of `target`, unless it is there.
///
/// # Errors
/// The fault of a daemon that is gone, or of a guest that cannot be packed.
pub fn deploy(shared: &Shared, ctx: &RunContext, target: &Target) -> Result<Deployed, Fault> {
    let (client, package) = (shared.client(), AgentPackage::pack(ctx, target)?);
    let name = format!("{REPOSITORY}{}:{}", shared.owner, &package.sha256[..16]);
    let deadline = Deadline::after(IMPORT_DEADLINE);
    let image = image::ensure(&client, &name, &package.program, package.guest.as_deref(), deadline)?;
    Deployed::new(client, shared, image, &package.args(spec::CONNECT, spec::GUEST), ctx, target)
}
