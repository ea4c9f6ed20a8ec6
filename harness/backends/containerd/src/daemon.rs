//! Which containerd is used: the one that the user names if its containers reach us, else one of our own.

use crate::api::{ANSWER_DEADLINE, ApiError, Client, unless};
use crate::deployment::Deployed;
use crate::image::{self, REPOSITORY};
use crate::messages::CreateLease;
use crate::spec::CONNECT;
use crate::variant::Variant;
use crate::{private, reap};
use isobench_core::{Fault, Guest, Limits};
use isobench_oci::runtime::Runtime;
use isobench_runner::allowance;
use isobench_runner::chosen::Listener;
use isobench_runner::daemon::Daemon;
use isobench_runner::{Deadline, Deployment, Phases, RunContext, Target, owner};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tonic::Code;

/// What a person can do where no containerd can be used.
pub const REMEDY: &str = "install containerd (Debian, Ubuntu: `apt-get install containerd`) and run as root, or name \
                          the socket of one that this user may talk to in CONTAINERD_ADDRESS";

/// The variable that names a socket, as `ctr` and nerdctl know it.
const ADDRESS: &str = "CONTAINERD_ADDRESS";
/// What the parent of all containers' cgroups is called, before the tag of the owner.
pub const CGROUP: &str = "isobench-containerd-";
/// Leases that are ours are called this, before the tag of the owner.
pub const LEASE: &str = "isobench-";
/// Longest wait for the whole of a probe container: a second is usual for the first one of a fresh daemon.
const PROBE_DEADLINE: Duration = Duration::from_secs(20);

/// What every block must know of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// Where it listens.
    pub socket: PathBuf,
    /// Started by us, for this run.
    pub private: bool,
    /// Tag of the process that holds it, or prepared the run on it: images, the lease and cgroups carry it in their
    /// names.
    pub owner: String,
    /// Its process: counted once in every footprint.
    pub pid: u32,
}

impl Shared {
    /// For the blocks.
    pub fn record(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("names and numbers")
    }

    /// From what [`Shared::record`] wrote.
    ///
    /// # Errors
    /// It is something else.
    pub fn read(record: &serde_json::Value) -> Result<Shared, Fault> {
        serde_json::from_value(record.clone()).map_err(|e| Fault::backend(format!("the owner's record: {e}")))
    }

    /// Who asks it for things.
    pub fn client(&self) -> Client {
        Client::new(&self.socket, &format!("{LEASE}{}", self.owner))
    }

    /// The cgroup that those of the containers are in.
    pub fn cgroup(&self) -> String {
        format!("{CGROUP}{}", self.owner)
    }
}

/// A daemon whose containers reach us. Dropping it takes down what is ours of it.
pub struct Chosen {
    /// For the blocks.
    pub shared: Shared,
    /// Who asks it for things.
    pub client: Client,
    version: String,
    note: String,
    /// Whether isobench's CPU quota and processors bind the daemon and its containers as well.
    pub bound: bool,
    private: Option<Daemon>,
}

/// Finds one, and proves it by running a container that connects back. The error says why there is none.
pub fn choose(ctx: &RunContext) -> Result<Chosen, String> {
    let none_named = match named_socket() {
        None => format!("{ADDRESS} names none"),
        Some(socket) => match Chosen::at(ctx, socket.clone(), None) {
            Ok(chosen) => return Ok(chosen),
            // The user chose it: no other containerd stands in for it.
            Err(fault) => return Err(format!("{ADDRESS}: the one at {} cannot be used: {fault}", socket.display())),
        },
    };
    let private = private::start(ctx, |socket| version(&Client::new(socket, "")).is_ok());
    match private.and_then(|(daemon, socket)| Chosen::at(ctx, socket, Some(daemon))) {
        Ok(mut chosen) => {
            chosen.note = format!("a private containerd was started: {none_named}");
            Ok(chosen)
        }
        Err(fault) => Err(format!("no private containerd: {}; {none_named}", fault.message)),
    }
}

/// The socket that the user names.
pub fn named_socket() -> Option<PathBuf> {
    let address = std::env::var(ADDRESS).ok().filter(|address| !address.is_empty())?;
    Some(address.strip_prefix("unix://").unwrap_or(&address).into())
}

fn version(client: &Client) -> Result<String, ApiError> {
    Ok(client.call((), Deadline::after(ANSWER_DEADLINE))?.version)
}

impl Chosen {
    fn at(ctx: &RunContext, socket: PathBuf, private: Option<Daemon>) -> Result<Chosen, Fault> {
        let listener = Listener::at(&socket).map_err(|e| Fault::backend(format!("{}: {e}", socket.display())))?;
        let pid = listener
            .pid()
            .ok_or_else(|| Fault::backend("no visible process listens on this socket (another PID namespace?)"))?;
        let note = format!("the containerd at {} is used", socket.display());
        let shared = Shared { socket, private: private.is_some(), owner: owner::me(), pid };
        let client = shared.client();
        let version = version(&client)?;
        let mut chosen = Chosen { shared, client, version, note, bound: true, private };
        let lease = CreateLease { id: chosen.client.lease().into() };
        unless(Code::AlreadyExists, chosen.client.call(lease, Deadline::after(ANSWER_DEADLINE)))?;
        chosen.bound = chosen.prove(ctx, Variant::ALL[0])?;
        Ok(chosen)
    }

    /// What tells this daemon from another: also from one that has taken its place at the same socket.
    ///
    /// # Errors
    /// Returns an error if no process listens any more.
    pub fn identity(&self) -> Result<String, Fault> {
        let socket = self.shared.socket.display();
        if self.private.is_some() {
            return Ok("no containerd but a private one".into());
        }
        let listener = Listener::at(&self.shared.socket).map_err(|e| Fault::backend(format!("{socket}: {e}")))?;
        Ok(format!("the containerd at {socket} (version {}, {listener})", self.version))
    }

    /// The variants whose runtime is not installed or whose containers do not reach us, and why.
    pub fn absent(&self, ctx: &RunContext) -> BTreeMap<String, String> {
        // The first has been proved.
        let others = Variant::ALL.into_iter().skip(1);
        others.filter_map(|v| Some((v.name.to_string(), self.prove(ctx, v).err()?.message))).collect()
    }

    /// One container through the whole of what a cell does, its agent being this very program. Returns whether isobench's
    /// CPU quota and processors bind its processes and the daemon's.
    fn prove(&self, ctx: &RunContext, variant: Variant) -> Result<bool, Fault> {
        let program = ctx.programs.join("isobench-runner-containerd");
        let name = format!("{REPOSITORY}{}:probe", self.shared.owner);
        fs::create_dir_all(&ctx.state).map_err(|e| Fault::backend(format!("{}: {e}", ctx.state.display())))?;
        // Before an image is made for a runtime that is not there.
        variant.runtime(ctx)?;
        let deadline = Deadline::after(PROBE_DEADLINE);
        let image = image::ensure(&self.client, &name, &program, None, deadline)?;
        let target = Target {
            workload: "probe".into(),
            variant: variant.name.into(),
            guest: Guest::Native,
            engine: None,
            artifact: program,
            artifact_sha256: String::new(),
            limits: Limits::default(),
            emulated: false,
        };
        let args = ["--connect".to_string(), CONNECT.to_string()];
        let deployed = Deployed::new(self.client.clone(), &self.shared, image, &args, ctx, &target)?;
        let mut instance = deployed.start(&mut Phases::new(), deadline)?;
        let answer = instance.call(b"?", deadline)?;
        let mut all = deployed.footprint();
        all.unite(instance.footprint());
        instance.stop(deadline)?;
        if answer != b"?" {
            return Err(Fault::backend("the probe container answered wrongly"));
        }
        Ok(allowance::binds(&all.pids))
    }

    /// What a reader should know.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![self.note.clone()];
        // SAFETY: cannot fail.
        if unsafe { libc::getuid() } != 0 {
            notes.push("footprint leaves out containerd and the shims: only root may read their memory".into());
        }
        notes
    }

    /// The version of every part that works.
    pub fn versions(&self, ctx: &RunContext, absent: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let works = Variant::ALL.into_iter().filter(|variant| !absent.contains_key(variant.name));
        let runtimes = works.filter_map(|v| Some((v.name.to_string(), Runtime::find(ctx, v.name).ok()?.version())));
        let mut versions: BTreeMap<String, String> = runtimes.collect();
        versions.insert("containerd".into(), self.version.clone());
        versions
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        // A private daemon takes everything with it.
        if self.private.is_none() {
            let deadline = Deadline::after(ANSWER_DEADLINE);
            reap::containers(&self.client, deadline);
            reap::images(&self.client, Some(&self.shared.owner), deadline);
            isobench_runner::cgroup::clear(&self.shared.cgroup());
        }
    }
}
