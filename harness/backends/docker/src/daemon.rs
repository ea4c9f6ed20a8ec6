//! Which daemon is used: the system's if its containers reach us, else one of our own.

use crate::api::{ANSWER_DEADLINE, connect, within};
use crate::container::CONNECT;
use crate::deployment::{Deployed, Image};
use crate::private::PrivateDaemon;
use crate::variant::{RUNC, Variant};
use crate::{image, reap, socket};
use bollard::Docker;
use isobench_core::{Fault, Guest, Limits};
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

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Longest wait for the probe container to answer: a second is usual for the first one of a fresh daemon.
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
    note: String,
    private: Option<PrivateDaemon>,
}

/// Finds one, and proves it by running a container that connects back. A daemon that the user names is never replaced
/// by another. The error says why no daemon can be used.
pub fn choose(ctx: &RunContext) -> Result<Chosen, String> {
    let no_system = match socket::find()? {
        None => format!("no daemon listens at {DEFAULT_SOCKET} or where Podman and rootless Docker do"),
        Some(socket) => {
            let why = match system(ctx, &socket.path) {
                Ok(chosen) => return Ok(chosen),
                Err(fault) => format!("the daemon at {} cannot be used: {fault}", socket.path.display()),
            };
            if let Some(by) = socket.named_by {
                return Err(format!("{by}: {why}"));
            }
            why
        }
    };
    match private(ctx) {
        Ok(mut chosen) => {
            chosen.note = format!("a private daemon was started, because {no_system}");
            Ok(chosen)
        }
        Err(fault) => Err(format!("{no_system}; and no private daemon: {}", fault.message)),
    }
}

/// Chooses for `prepare` what the probe of the same run has chosen, so that versions and settings in the run's record
/// are those of the daemon that is measured.
///
/// # Errors
/// Returns why there is no daemon any more, or why it is another one.
pub fn choose_again(ctx: &RunContext) -> Result<Chosen, String> {
    let chosen = choose(ctx)?;
    match fs::read_to_string(choice_file(ctx)) {
        Ok(probed) if probed != chosen.identity() => Err(format!(
            "the probe found {probed}, and now {} is found: start the daemon, or stop it, and run again",
            chosen.identity()
        )),
        _ => Ok(chosen),
    }
}

/// Beside the state folders of probe (`p-docker`) and owner (`o-docker`) of one run, and of one side of an A/B run.
fn choice_file(ctx: &RunContext) -> PathBuf {
    let name = ctx.state.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let of = name.strip_prefix("p-").or_else(|| name.strip_prefix("o-")).unwrap_or(&name).to_string();
    ctx.state.with_file_name(format!("chosen-{of}"))
}

fn system(ctx: &RunContext, socket: &Path) -> Result<Chosen, Fault> {
    let docker = connect(socket)?;
    let shared = Shared { socket: socket.into(), private: false, owner: owner::me(), pids: daemons() };
    let note = format!("the daemon at {} is used", socket.display());
    let chosen = Chosen { shared, docker, note, private: None };
    chosen.versions()?;
    chosen.prove(ctx, Variant::ALL[0]).map_err(|fault| {
        let cause = cause(&fault.message, ctx);
        fault.context(format!("a container of it could not connect back ({cause})"))
    })?;
    Ok(chosen)
}

/// What usually keeps a container from a socket of ours, by the daemon's words.
fn cause(words: &str, ctx: &RunContext) -> String {
    if words.contains("bind source path does not exist") {
        return format!(
            "the daemon does not see {}: it is a Snap, or a service with PrivateTmp, or isobench is; set ISOBENCH_STATE to \
             a folder that both see",
            ctx.state.display()
        );
    }
    "Docker Desktop, a rootless daemon, userns-remap or a daemon on another machine keeps it from our socket".into()
}

fn private(ctx: &RunContext) -> Result<Chosen, Fault> {
    let (daemon, docker) = PrivateDaemon::start(ctx)?;
    let shared = Shared { socket: daemon.socket(), private: true, owner: owner::me(), pids: daemon.pids() };
    let chosen = Chosen { shared, docker, note: String::new(), private: Some(daemon) };
    chosen.prove(ctx, Variant::ALL[0])?;
    Ok(chosen)
}

impl Chosen {
    /// Writes down which daemon the probe has chosen, for [`choose_again`].
    pub fn remember(&self, ctx: &RunContext) {
        // Without the note, `prepare` chooses anew.
        let _ = fs::write(choice_file(ctx), self.identity());
    }

    /// What tells this daemon from another.
    fn identity(&self) -> String {
        match &self.private {
            Some(_) => "no daemon but a private one".into(),
            None => format!("the daemon at {}", self.shared.socket.display()),
        }
    }

    /// The variants whose runtime this daemon does not offer or whose containers do not reach us, and why.
    pub fn absent(&self, ctx: &RunContext) -> BTreeMap<String, String> {
        let offered = within(Deadline::after(ANSWER_DEADLINE), "info", self.docker.info());
        let offered = offered.ok().and_then(|info| info.runtimes).unwrap_or_default();
        let why = |variant: Variant| {
            if variant.runtime != RUNC && !offered.contains_key(variant.runtime) {
                return Some(format!(
                    "the daemon offers no runtime `{}`: install it, and configure it",
                    variant.runtime
                ));
            }
            // The others run as `runc` does, which has been proved.
            let proved = variant.runtime == RUNC && variant.network == "none";
            if proved { None } else { self.prove(ctx, variant).err().map(|fault| fault.message) }
        };
        Variant::ALL.into_iter().filter_map(|variant| Some((variant.name.to_string(), why(variant)?))).collect()
    }

    /// One container through the whole of what a cell does, its agent being this very program.
    fn prove(&self, ctx: &RunContext, variant: Variant) -> Result<(), Fault> {
        let program = ctx.programs.join("isobench-runner-docker");
        let image = format!("{}{}:probe", image::REPOSITORY, self.shared.owner);
        image::ensure(&self.docker, &image, &program, None, Deadline::after(PROBE_DEADLINE))?;
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
        let mut instance = deployed.start(&mut Phases::new(), Deadline::after(PROBE_DEADLINE))?;
        let answer = instance.call(b"?", Deadline::after(PROBE_DEADLINE))?;
        instance.stop(Deadline::after(PROBE_DEADLINE))?;
        if answer != b"?" {
            return Err(Fault::backend("the probe container answered wrongly"));
        }
        Ok(())
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
    pub fn versions(&self) -> Result<BTreeMap<String, String>, Fault> {
        let deadline = Deadline::after(ANSWER_DEADLINE);
        let version = within(deadline, "version", self.docker.version())?;
        let info = within(deadline, "info", self.docker.info())?;
        let mut versions = BTreeMap::new();
        for part in version.components.unwrap_or_default() {
            versions.insert(part.name.to_lowercase(), part.version);
        }
        let facts = [
            ("engine", version.version),
            ("api", Some(self.docker.client_version().to_string())),
            ("storage driver", info.driver),
            ("cgroup driver", info.cgroup_driver.map(|d| d.to_string())),
            ("cgroup version", info.cgroup_version.map(|v| v.to_string())),
        ];
        versions.extend(facts.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))));
        Ok(versions)
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        // A private daemon takes everything with it.
        if self.private.is_none() {
            reap::containers(&self.docker);
            reap::images(&self.docker, Some(&self.shared.owner));
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
