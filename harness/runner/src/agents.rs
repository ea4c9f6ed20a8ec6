//! What an out-of-process backend carries across its boundary: an agent program, the prepared guest, and how to call
//! the one with the other.

use crate::backend::{RunContext, Target};
use crate::helper::Helper;
use crate::part::Part;
use crate::sealed;
use isobench_core::{Fault, FaultKind, Guest, sha256_hex};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Longest wait for an agent to prepare a guest: Cranelift compiles a large module in seconds, a debug build ten times
/// slower.
const PREPARE_DEADLINE: Duration = Duration::from_secs(120);

/// The files and arguments that make a guest answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPackage {
    /// The agent: a static program.
    pub program: PathBuf,
    /// The prepared guest it loads; `None` where the agent is the guest.
    pub guest: Option<PathBuf>,
    /// Bytes of memory for the guest.
    memory: u64,
    /// Longest answer in bytes.
    frame: u64,
    /// Longest call in milliseconds.
    deadline_ms: u128,
    /// Content address of everything above.
    pub sha256: String,
}

impl AgentPackage {
    /// Packs `target`, preparing its guest if no block has done so before.
    pub fn pack(ctx: &RunContext, target: &Target) -> Result<AgentPackage, Fault> {
        let (program, guest) = match target.guest {
            Guest::Native => (target.artifact.clone(), None),
            _ => (agent_program(ctx, engine(target)?)?, Some(prepared_guest(ctx, target)?)),
        };
        AgentPackage::of(target, program, guest)
    }

    /// Packs an agent and a guest that a backend has made itself.
    pub fn of(target: &Target, program: PathBuf, guest: Option<PathBuf>) -> Result<AgentPackage, Fault> {
        let stamp = format!("{} {} {:?}", program_stamp(&program)?, target.artifact_sha256, target.limits);
        Ok(AgentPackage {
            program,
            guest,
            memory: target.limits.memory_bytes,
            frame: target.limits.frame_bytes,
            deadline_ms: target.limits.call_deadline(target.emulated).as_millis(),
            sha256: sha256_hex(stamp.as_bytes()),
        })
    }

    /// The agent's arguments, program name not included. `connect` is where it dials (`unix:/path`, `port:name`),
    /// `guest` where the prepared guest lies behind the boundary.
    pub fn args(&self, connect: &str, guest: &str) -> Vec<String> {
        let mut args = vec!["--connect".into(), connect.into()];
        if self.guest.is_some() {
            args.extend(["--guest".into(), guest.into()]);
        }
        args.extend(["--memory".into(), self.memory.to_string()]);
        args.extend(["--frame".into(), self.frame.to_string()]);
        args.extend(["--deadline-ms".into(), self.deadline_ms.to_string()]);
        args
    }
}

fn engine(target: &Target) -> Result<&str, Fault> {
    let none = || Fault::new(FaultKind::Internal, format!("no engine is named for the {} guest", target.guest));
    target.engine.as_deref().ok_or_else(none)
}

/// The agents that a backend misses for guests on their usual engines: a note for each, because native guests bring
/// their own and a missing one costs its rows only.
pub fn missing_agents(ctx: &RunContext) -> Vec<String> {
    let usual = Guest::ALL.into_iter().filter_map(Guest::usual_engine);
    usual.filter_map(|engine| agent_program(ctx, engine).err()).map(|fault| fault.message).collect()
}

/// The agent that holds an engine, for example `isobench-agent-v8`.
pub fn agent_program(ctx: &RunContext, engine: &str) -> Result<PathBuf, Fault> {
    let path = ctx.programs.join(format!("isobench-agent-{engine}"));
    if !path.is_file() {
        let message = format!("{} is missing: `make build` builds it", path.display());
        return Err(Fault::backend(message));
    }
    Ok(path)
}

/// The guest as it crosses boundaries: JS as it is, Wasm as the engine's agent prepares it. An engine that can compiles
/// it once, for CPU features that every boundary has, and the same artifact is used bare, so that nothing is compiled
/// behind one boundary only.
pub fn prepared_guest(ctx: &RunContext, target: &Target) -> Result<PathBuf, Fault> {
    match target.guest {
        Guest::Wasm => compiled_guest(ctx, target, engine(target)?, &[]),
        _ => Ok(target.artifact.clone()),
    }
}

/// A Wasm guest compiled once by the `prepare` of an engine's agent with `options`. Options make another artifact than
/// the one that crosses boundaries: for a variant that differs in what is compiled.
pub fn compiled_guest(ctx: &RunContext, target: &Target, engine: &str, options: &[&str]) -> Result<PathBuf, Fault> {
    let agent = agent_program(ctx, engine)?;
    let stamp = format!("{} {} {options:?}", program_stamp(&agent)?, target.artifact_sha256);
    let key = sha256_hex(stamp.as_bytes());
    let path = ctx.cache.join("prepared").join(format!("{key}.cwasm"));
    if !sealed::is_whole(&path) {
        let failed = |e: std::io::Error| Fault::backend(format!("{}: {e}", path.display()));
        let part = Part::beside(&path).map_err(failed)?;
        let mut command = Command::new(&agent);
        command.arg("prepare").args(options).arg(&target.artifact).arg(part.path());
        run_to_end(&mut command, PREPARE_DEADLINE).map_err(|message| {
            Fault::new(FaultKind::InvalidGuest, format!("{}: {message}", target.artifact.display()))
        })?;
        sealed::put(part, &path).map_err(failed)?;
    }
    Ok(path)
}

/// Tells one build of a program from another: the hash of its content. Package managers that give every file the same
/// time (Nix, ostree) and builds of equal size leave nothing else. A process reads each program once.
///
/// # Errors
/// Returns a fault if the program cannot be read.
pub fn program_stamp(program: &Path) -> Result<String, Fault> {
    static READ: Mutex<BTreeMap<PathBuf, String>> = Mutex::new(BTreeMap::new());
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(stamp) = read.get(program) {
        return Ok(stamp.clone());
    }
    let stamp = sealed::sha256_of_file(program);
    let stamp = stamp.map_err(|e| Fault::backend(format!("{}: {e}", program.display())))?;
    read.insert(program.into(), stamp.clone());
    Ok(stamp)
}

/// Runs a helper program with a deadline.
///
/// # Errors
/// Returns the end of its standard error, or why it has none, if it cannot be started, fails, takes longer, or the run
/// is interrupted.
pub fn run_to_end(command: &mut Command, allowed: Duration) -> Result<(), String> {
    streams_of(command, allowed).map(drop)
}

/// Runs a helper program with a deadline. Returns its standard output.
///
/// # Errors
/// As of [`run_to_end`].
pub fn output_of(command: &mut Command, allowed: Duration) -> Result<String, String> {
    streams_of(command, allowed).map(|[output, _]| output)
}

/// Runs a helper program with a deadline. Returns its standard error, for a program that reports there what it does.
///
/// # Errors
/// As of [`run_to_end`].
pub fn report_of(command: &mut Command, allowed: Duration) -> Result<String, String> {
    streams_of(command, allowed).map(|[_, report]| report)
}

/// Runs a helper program with a deadline. Returns its standard output and its standard error.
fn streams_of(command: &mut Command, allowed: Duration) -> Result<[String; 2], String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |e: std::io::Error| format!("{name}: {e}");
    let (said, log) = (tempfile::tempfile().map_err(failed)?, tempfile::tempfile().map_err(failed)?);
    command.stdin(Stdio::null()).stdout(said.try_clone().map_err(failed)?).stderr(log.try_clone().map_err(failed)?);
    let status = Helper::spawn(command).map_err(failed)?.wait(allowed)?;
    if status.success() {
        return Ok([read_back(said).map_err(failed)?, read_back(log).map_err(failed)?]);
    }
    let text = read_back(log).unwrap_or_default();
    let tail: Vec<&str> = text.trim().lines().rev().take(20).collect();
    Err(if tail.is_empty() {
        format!("{name}: {status}")
    } else {
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    })
}

/// What a program that explains itself (`--version`) writes to its standard output, trimmed, within `allowed`.
///
/// # Errors
/// Returns a text that names the program if it cannot be started, fails, takes longer, or the run is interrupted.
pub fn text_of(command: &mut Command, allowed: Duration) -> Result<String, String> {
    let name = format!("{command:?}");
    let failed = |e: std::io::Error| format!("{name}: {e}");
    let said = tempfile::tempfile().map_err(failed)?;
    command.stdin(Stdio::null()).stdout(said.try_clone().map_err(failed)?).stderr(Stdio::null());
    let status = Helper::spawn(command).map_err(failed)?.wait(allowed)?;
    if !status.success() {
        return Err(format!("{name}: {status}"));
    }
    Ok(read_back(said).map_err(failed)?.trim().into())
}

fn read_back(mut log: fs::File) -> std::io::Result<String> {
    use std::io::{Read, Seek};
    log.rewind()?;
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn two_builds_of_one_size_and_time_have_stamps_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let build = |name: &str, content: &str| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            let file = fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
            path
        };
        let (one, other, same) = (build("one", "a build"), build("other", "A build"), build("same", "a build"));
        let stamp = |path: &Path| program_stamp(path).unwrap();
        assert_ne!(stamp(&one), stamp(&other));
        assert_eq!(stamp(&one), stamp(&same), "a program that was moved is the same one");
        assert!(program_stamp(&dir.path().join("none")).unwrap_err().message.contains("none: No such file"));
    }
}
