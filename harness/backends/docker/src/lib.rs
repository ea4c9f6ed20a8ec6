//! Docker containers, driven through the Engine's API.
//!
//! - `daemon`: which daemon is used, and the proof that its containers reach us;
//! - `cause`: why containers of a daemon do not reach us;
//! - `private`: a daemon of our own, for machines where none runs;
//! - `image`, `padded`, `container`: what the Engine is asked to make;
//! - `variant`: the rungs of the ladder;
//! - `deployment`, `exec`: the traits of a started guest;
//! - `reap`: whose things are, and how they are found again after a `kill -9`.

mod api;
mod cause;
pub mod container;
mod daemon;
mod deployment;
mod exec;
mod image;
mod padded;
mod private;
mod reap;
mod socket;
pub mod variant;

pub use api::connect;
pub use daemon::Shared;
pub use deployment::image_of;

use crate::api::ANSWER_DEADLINE;
use crate::daemon::Chosen;
use crate::deployment::{Deployed, Image};
use crate::variant::Variant;
use isobench_core::{Availability, Description, Fault, Model};
use isobench_runner::agents::AgentPackage;
use isobench_runner::chosen;
use isobench_runner::{Backend, Cleaned, Deadline, Deployment, Prepared, RunContext, Target};
use std::path::PathBuf;
use std::time::Duration;

/// Longest wait for an image to be imported: up to 200 MB through a daemon on a slow disk.
const IMPORT_DEADLINE: Duration = Duration::from_secs(60);

/// Longest wait for the removal of what dead runs left in a daemon.
const CLEAN_DEADLINE: Duration = Duration::from_secs(20);

/// The backend.
#[derive(Debug)]
pub struct Docker;

impl Backend for Docker {
    fn describe(&self) -> Description {
        Description {
            backend: "docker".into(),
            model: Model::Container,
            variants: Variant::ALL.map(Variant::info).into(),
            in_process: false,
            hidden: false,
            footprint_instances: container::MOST_INSTANCES,
            engines: Vec::new(),
        }
    }

    fn probe(&self, ctx: &RunContext) -> Availability {
        let remembered = daemon::choose(ctx).and_then(|chosen| {
            let noted = chosen.identity().and_then(|identity| chosen::remember(ctx, &identity));
            noted.map(|()| chosen).map_err(|fault| fault.to_string())
        });
        match remembered {
            Ok(chosen) => Availability::Available {
                versions: chosen.versions(),
                emulated: false,
                notes: chosen.notes(),
                absent: chosen.absent(ctx),
            },
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
        let docker = connect(&shared.socket)?;
        // What a killed runner left would share the machine with this block.
        reap::containers(&docker, Deadline::after(ANSWER_DEADLINE));
        Ok(Box::new(Opened { shared, docker }))
    }

    fn clean(&self, _ctx: &RunContext, dead: &[PathBuf]) -> Cleaned {
        let mut cleaned = isobench_runner::daemon::reap("docker", private::CGROUP, dead);
        if let Ok(socket) = socket::find()
            && let Ok(docker) = connect(&socket.path)
        {
            let deadline = Deadline::after(CLEAN_DEADLINE);
            cleaned.extend(reap::containers(&docker, deadline));
            cleaned.extend(reap::images(&docker, None, deadline));
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
        deploy(&self.0.docker, &self.0.shared, ctx, target)
    }
}

/// In a block's runner: a connection to it.
struct Opened {
    shared: Shared,
    docker: bollard::Docker,
}

impl Prepared for Opened {
    fn record(&self) -> serde_json::Value {
        self.shared.record()
    }

    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        deploy(&self.docker, &self.shared, ctx, target)
    }
}

fn deploy(
    docker: &bollard::Docker,
    shared: &Shared,
    ctx: &RunContext,
    target: &Target,
) -> Result<Box<dyn Deployment>, Fault> {
    let package = AgentPackage::pack(ctx, target)?;
    let deadline = Deadline::after(IMPORT_DEADLINE);
    let image = match Variant::named(&target.variant).and_then(|variant| variant.bulk) {
        Some(bulk) => {
            let name = format!("{}-{}", image_of(shared, &package), std::process::id());
            Image::Own(padded::Image::import(docker, name, &package, bulk, deadline)?)
        }
        None => {
            let name = image_of(shared, &package);
            image::ensure(docker, &name, &package.program, package.guest.as_deref(), deadline)?;
            Image::Shared(name)
        }
    };
    let args = package.args(container::CONNECT, container::GUEST);
    Ok(Box::new(Deployed::new(docker.clone(), shared, image, args, ctx, target)?))
}
