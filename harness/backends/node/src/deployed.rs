//! A guest as a variant starts it: the files, and what Node is told.

use crate::Variant;
use crate::program::Program;
use isobench_core::{Fault, FaultKind, sha256_hex};
use isobench_guest::fault::AgentFault;
use isobench_guest::frame::PROTOCOL_VERSION;
use isobench_runner::agents::{AgentPackage, program_stamp, run_to_end};
use isobench_runner::{RunContext, Target};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const AGENT: &str = include_str!("agent/agent.cjs");
const START: &str = include_str!("agent/start.cjs");
const BUNDLE: &str = include_str!("agent/bundle.cjs");

/// A guest that is ready to be started.
#[derive(Debug)]
pub struct Deployed {
    /// The guest's file: the artifact under a name by which Node knows a module.
    pub guest: PathBuf,
    /// Node's options, and what it runs where that is no snapshot.
    options: Vec<String>,
    /// Where the compile cache lies.
    cache: Option<PathBuf>,
}

impl Deployed {
    /// Makes the files of `target` unless a block has done so before.
    ///
    /// # Errors
    /// The fault of a variant that is none, of a file that cannot be written, or of the guest where it is loaded ahead.
    pub fn new(ctx: &RunContext, target: &Target, program: &Program) -> Result<Deployed, Fault> {
        let variant = Variant::named(&target.variant)?;
        let (memory, artifact) = (target.limits.memory_bytes, &target.artifact_sha256);
        let stamp =
            format!("{} {variant:?} {memory} {artifact} {AGENT} {START} {BUNDLE}", program_stamp(&program.path)?);
        let home = Home(ctx.cache.join("node").join("guests").join(sha256_hex(stamp.as_bytes())));
        let file = |name: &str| home.0.join(name);
        let heap = format!("--max-heap-size={}", memory >> 20);
        let text = |path: PathBuf| path.display().to_string();
        let (guest, agent, blob) = (file("guest.mjs"), file("agent.cjs"), file("guest.blob"));
        let (options, cache) = match variant {
            Variant::Fresh => (vec![heap.clone(), text(agent.clone())], None),
            Variant::CompileCache => (vec![heap.clone(), text(agent.clone())], Some(file("code"))),
            Variant::Snapshot => (vec![heap.clone(), "--snapshot-blob".into(), text(blob.clone()), "--".into()], None),
        };
        let deployed = Deployed { guest, options, cache };
        let ready = file("ready");
        if ready.is_file() {
            return Ok(deployed);
        }

        let source = fs::read(&target.artifact);
        let source = source.map_err(|e| Fault::backend(format!("{}: {e}", target.artifact.display())))?;
        home.put("guest.mjs", &source)?;
        home.put("agent.cjs", if variant == Variant::Snapshot { AGENT.into() } else { format!("{AGENT}{START}") })?;
        let node = |act: &dyn Fn(&mut Command)| {
            let mut command = Command::new(&program.path);
            act(command.env_remove("NODE_OPTIONS"));
            run_to_end(&mut command, target.limits.start_deadline(target.emulated)).map_err(|words| refused(&words))
        };
        match variant {
            Variant::Fresh => {}
            // Node writes the cache when it ends.
            Variant::CompileCache => node(&|command| {
                deployed.set(command);
                command.arg("--guest").arg(&deployed.guest);
            })?,
            Variant::Snapshot => {
                let bundle = home.put("bundle.cjs", BUNDLE)?;
                let script = ctx.state.join("guest.snapshot.cjs");
                node(&|command| {
                    command.arg("--expose-internals").args([&bundle, &deployed.guest, &agent, &script]);
                })?;
                // With the limit it will live under: Node wants the flags to be those that it was taken with.
                let part = file(&format!("guest.blob.part{}", std::process::id()));
                node(&|command| {
                    command.arg(&heap).arg("--snapshot-blob").arg(&part).arg("--build-snapshot").arg(&script);
                })?;
                fs::rename(&part, &blob).map_err(|e| Fault::backend(format!("{}: {e}", blob.display())))?;
            }
        }
        home.put("ready", "")?;
        Ok(deployed)
    }

    /// Tells `command`, which is Node, to be an agent that dials `socket`.
    pub fn tell(&self, command: &mut Command, package: &AgentPackage, socket: &Path) {
        self.set(command);
        command.args(package.args(&format!("unix:{}", socket.display()), &self.guest.display().to_string()));
        command.args(["--protocol", &PROTOCOL_VERSION.to_string()]);
    }

    fn set(&self, command: &mut Command) {
        command.args(&self.options).envs(self.cache.as_ref().map(|cache| ("NODE_COMPILE_CACHE", cache)));
    }
}

/// The folder of a guest's files in the cache.
struct Home(PathBuf);

impl Home {
    /// Writes a file that is whole whenever it is there.
    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf, Fault> {
        let (path, part) = (self.0.join(name), self.0.join(format!("{name}.part{}", std::process::id())));
        let written = fs::create_dir_all(&self.0)
            .and_then(|()| fs::write(&part, content))
            .and_then(|()| fs::rename(&part, &path));
        written.map(|()| path).map_err(|e| Fault::backend(format!("{}: {e}", part.display())))
    }
}

/// Why Node did not load a guest ahead: what the agent's scripts say of it, or else Node itself.
fn refused(words: &str) -> Fault {
    if let Some(told) = words.lines().find_map(|line| AgentFault::parse(line.as_bytes())) {
        return Fault::new(FaultKind::from_name(told.kind), told.message);
    }
    let kind = match words {
        _ if words.contains("SyntaxError") => FaultKind::InvalidGuest,
        _ if words.contains(": not done after ") => FaultKind::DeadlineExceeded,
        _ => FaultKind::BackendFailed,
    };
    Fault::new(kind, words.split_whitespace().collect::<Vec<_>>().join(" "))
}
