//! Which daemon is used: the system's if its containers reach us, else one of our own.

use crate::api::{ANSWER_DEADLINE, ApiError, connect, within};
use crate::container::CONNECT;
use crate::deployment::{Deployed, Image};
use crate::private::PrivateDaemon;
use crate::socket::{self, NoSocket};
use crate::variant::{RUNC, Variant};
use crate::{cause, image, reap};
use bollard::Docker;
use isobench_core::{Fault, Guest, Limits};
use isobench_runner::allowance;
use isobench_runner::chosen::Listener;
use isobench_runner::owner;
use isobench_runner::reap::with_cookie;
use isobench_runner::{Deadline, Deployment, Phases, RunContext, Target};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a person can do where no daemon can be used.
pub const REMEDY: &str = "install Docker Engine (Debian, Ubuntu: `apt-get install docker.io`) and run as root, or let \
                          this user talk to a local daemon (`usermod -aG docker`, DOCKER_HOST)";

/// Longest wait for the whole of a probe container: a second is usual for the first one of a fresh daemon.
const PROBE_DEADLINE: Duration = Duration::from_secs(20);

/// What every block must know of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// Where it listens.
    pub socket: PathBuf,
    /// Started by us, for this run.
    pub private: bool,
    /// Tag of the process that holds it, or prepared the run on it: its images carry it in their names.
    pub owner: String,
    /// dockerd and containerd: counted once in every footprint.
    pub pids: BTreeSet<u32>,
}

impl Shared {
    /// For the blocks.
    pub fn record(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("names and numbers")
    }

    /// From what [`Shared::record`] wrote.
    pub fn read(record: &serde_json::Value) -> Result<Shared, Fault> {
        serde_json::from_value(record.clone()).map_err(|e| Fault::backend(format!("the owner's record: {e}")))
    }
}

/// A daemon whose containers reach us. Dropping it takes down what is ours of it.
pub struct Chosen {
    /// For the blocks.
    pub shared: Shared,
    /// A connection.
    pub docker: Docker,
    facts: Facts,
    note: String,
    /// Whether isobench's CPU quota and processors bind the daemon and its containers as well.
    pub bound: bool,
    private: Option<PrivateDaemon>,
}

/// What a daemon says of itself.
struct Facts {
    /// The version of every part.
    versions: BTreeMap<String, String>,
    /// The names of its runtimes.
    runtimes: BTreeSet<String>,
    /// Its security options, such as `name=userns`.
    security: Vec<String>,
    /// What tells it from another daemon at the same socket.
    id: String,
}

/// Finds one, and proves it by running a container that connects back. A daemon that the user names is never replaced
/// by another. The error says why no daemon can be used.
pub fn choose(ctx: &RunContext) -> Result<Chosen, String> {
    let no_system = match socket::find() {
        Ok(socket) => {
            let why = match system(ctx, &socket.path) {
                Ok(chosen) => return Ok(chosen),
                Err(fault) => format!("the daemon at {} cannot be used: {fault}", socket.path.display()),
            };
            if let Some(by) = socket.named_by {
                return Err(format!("{by}: {why}"));
            }
            why
        }
        Err(nothing @ NoSocket::NothingListens { .. }) => nothing.to_string(),
        Err(wrongly_named) => return Err(wrongly_named.to_string()),
    };
    match private(ctx) {
        Ok(mut chosen) => {
            chosen.note = format!("a private daemon was started, because {no_system}");
            Ok(chosen)
        }
        Err(fault) => Err(format!("{no_system}; and no private daemon: {}", fault.message)),
    }
}

/// Asks and proves a daemon that is not ours. One that hangs costs a single deadline: nothing is asked of it before it
/// has told its facts, and nothing is to be taken down in it until then.
fn system(ctx: &RunContext, socket: &Path) -> Result<Chosen, Fault> {
    let docker = connect(socket)?;
    let facts = Facts::ask(&docker)?;
    let shared = Shared { socket: socket.into(), private: false, owner: owner::me(), pids: daemons() };
    let note = format!("the daemon at {} is used", socket.display());
    let mut chosen = Chosen { shared, docker, facts, note, bound: true, private: None };
    chosen.bound = chosen.prove(ctx, Variant::ALL[0]).map_err(|fault| {
        let cause = cause::of(&fault.message, &chosen.facts.security, &ctx.state);
        fault.context(format!("a container of it could not start, or not connect back ({cause})"))
    })?;
    Ok(chosen)
}

fn private(ctx: &RunContext) -> Result<Chosen, Fault> {
    let (daemon, docker) = PrivateDaemon::start(ctx)?;
    let facts = Facts::ask(&docker)?;
    let shared = Shared { socket: daemon.socket(), private: true, owner: owner::me(), pids: daemon.pids() };
    let mut chosen = Chosen { shared, docker, facts, note: String::new(), bound: true, private: Some(daemon) };
    chosen.bound = chosen.prove(ctx, Variant::ALL[0])?;
    Ok(chosen)
}

impl Facts {
    fn ask(docker: &Docker) -> Result<Facts, ApiError> {
        let deadline = Deadline::after(ANSWER_DEADLINE);
        let version = within(deadline, "version", docker.version())?;
        let info = within(deadline, "info", docker.info())?;
        let again = within(deadline, "info", docker.info())?;
        let mut versions = BTreeMap::new();
        for part in version.components.unwrap_or_default() {
            versions.insert(part.name.to_lowercase(), part.version);
        }
        let facts = [
            ("engine", version.version),
            ("api", Some(docker.client_version().to_string())),
            ("storage driver", info.driver),
            ("cgroup driver", info.cgroup_driver.map(|d| d.to_string())),
            ("cgroup version", info.cgroup_version.map(|v| v.to_string())),
        ];
        versions.extend(facts.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))));
        // Podman makes up another id for each answer.
        let id = info.id.filter(|id| again.id.as_ref() == Some(id)).unwrap_or_default();
        let runtimes = info.runtimes.unwrap_or_default().into_keys().collect();
        Ok(Facts { versions, runtimes, security: info.security_options.unwrap_or_default(), id })
    }
}

impl Chosen {
    /// What tells this daemon from another: also from one that has taken its place at the same socket.
    ///
    /// # Errors
    /// Returns an error if no process listens any more.
    pub fn identity(&self) -> Result<String, Fault> {
        let socket = self.shared.socket.display();
        if self.private.is_some() {
            return Ok("no daemon but a private one".into());
        }
        let listener = Listener::at(&self.shared.socket).map_err(|e| Fault::backend(format!("{socket}: {e}")))?;
        let engine = self.facts.versions.get("engine").map_or("?", String::as_str);
        Ok(format!("the daemon at {socket} (engine {engine}, id `{}`, {listener})", self.facts.id))
    }

    /// The variants whose runtime this daemon does not offer or whose containers do not reach us, and why. Once the
    /// daemon has stopped answering, the others are not tried.
    pub fn absent(&self, ctx: &RunContext) -> BTreeMap<String, String> {
        let (mut absent, mut lost) = (BTreeMap::new(), None);
        for variant in Variant::ALL {
            let Some(why) = lost.clone().or_else(|| self.why_absent(ctx, variant)) else { continue };
            absent.insert(variant.name.to_string(), why);
            let asked = || within(Deadline::after(ANSWER_DEADLINE), "version", self.docker.version());
            lost = lost.or_else(|| Some(asked().err()?.to_string()));
        }
        absent
    }

    fn why_absent(&self, ctx: &RunContext, variant: Variant) -> Option<String> {
        if variant.runtime != RUNC && !self.facts.runtimes.contains(variant.runtime) {
            return Some(format!("the daemon offers no runtime `{}`: install it, and configure it", variant.runtime));
        }
        // The others run as `runc` does, which has been proved.
        let proved = variant.runtime == RUNC && variant.network == "none";
        if proved { None } else { self.prove(ctx, variant).err().map(|fault| fault.message) }
    }

    /// One container through the whole of what a cell does, its agent being this very program. Returns whether isobench's
    /// CPU quota and processors bind its processes and the daemon's.
    fn prove(&self, ctx: &RunContext, variant: Variant) -> Result<bool, Fault> {
        let program = ctx.programs.join("isobench-runner-docker");
        let image = format!("{}{}:probe", image::REPOSITORY, self.shared.owner);
        let deadline = Deadline::after(PROBE_DEADLINE);
        image::ensure(&self.docker, &image, &program, None, deadline)?;
        fs::create_dir_all(&ctx.state).map_err(|e| Fault::backend(format!("{}: {e}", ctx.state.display())))?;
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
        let args = vec!["--connect".into(), CONNECT.into()];
        let deployed = Deployed::new(self.docker.clone(), &self.shared, Image::Shared(image), args, ctx, &target)?;
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
            notes
                .push("footprint leaves out dockerd, containerd and the shims: only root may read their memory".into());
        }
        notes
    }

    /// The version of every part, as the daemon states it.
    pub fn versions(&self) -> BTreeMap<String, String> {
        self.facts.versions.clone()
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        // A private daemon takes everything with it.
        if self.private.is_none() {
            let deadline = Deadline::after(ANSWER_DEADLINE);
            reap::containers(&self.docker, deadline);
            reap::images(&self.docker, Some(&self.shared.owner), deadline);
        }
    }
}

/// The system's dockerd and containerd: those that no run of ours started.
fn daemons() -> BTreeSet<u32> {
    let ours: BTreeSet<u32> = with_cookie(Path::new("/")).into_iter().collect();
    let mut pids = named("dockerd");
    pids.extend(named("containerd"));
    pids.difference(&ours).copied().collect()
}

/// Processes of that name.
pub fn named(name: &str) -> BTreeSet<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeSet::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim() == name)).collect()
}
