//! The agents that run Wasm guests behind other boundaries, and the compiler that makes what they load.
//!
//! `isobench-agent-… prepare [VARIANT] SOURCE DESTINATION` compiles a module, for other boundaries where no variant of
//! the bare backend is named; any other arguments are an agent's.

use crate::engine;
use crate::module::{self, Live, Program};
use crate::variant::Variant;
use isobench_guest::agent::{self, Args, Guest};
use isobench_guest::fault::{self, AgentFault};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How long a start may take as far as the engine is concerned. The host waits for `hello` no longer than it wants to,
/// and ends the boundary.
const START: Duration = Duration::from_secs(3600);

struct Wasm {
    live: Live,
    deadline: Duration,
}

impl Guest for Wasm {
    fn handle(&mut self, request: &[u8]) -> Result<Vec<u8>, AgentFault> {
        self.live.call(request, self.deadline)
    }
}

fn load(variant: Variant, args: &Args) -> Result<Wasm, AgentFault> {
    let guest = args.guest.as_deref().ok_or_else(|| AgentFault::new(fault::INVALID_GUEST, "no --guest given"))?;
    let engine = engine::engine(variant, engine::AGENT_SLOTS)
        .map_err(|e| AgentFault::new(fault::INVALID_GUEST, format!("Wasmtime does not start: {e:#}")))?;
    let program = Program::load(&engine, guest)?;
    engine::beat(&engine);
    let live = program.create(args.memory, args.frame as u64, START)?.initialize(&program, START)?;
    Ok(Wasm { live, deadline: args.deadline })
}

fn prepare(variant: &str, source: &Path, destination: &Path) -> ExitCode {
    let variant = Variant::named(variant).ok_or_else(|| format!("wasmtime has no variant `{variant}`"));
    match variant.and_then(|variant| module::prepare(variant, source, destination)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// The whole program of the agent whose instances are those of `variant`.
pub fn main(variant: Variant) -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match &args[..] {
        [command, source, destination] if command == "prepare" => {
            prepare(variant.name(), Path::new(source), Path::new(destination))
        }
        [command, variant, source, destination] if command == "prepare" => {
            prepare(&variant.to_string_lossy(), Path::new(source), Path::new(destination))
        }
        _ => {
            let compiler = if variant == Variant::Winch { " (Winch)" } else { "" };
            agent::serve(&format!("wasmtime {}{compiler}", engine::VERSION), |args| load(variant, args))
        }
    }
}
