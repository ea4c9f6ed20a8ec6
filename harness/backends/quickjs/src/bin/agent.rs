//! The agent that runs JS guests on QuickJS behind other boundaries: the same engine in the same configuration, and the
//! frame protocol.

use isobench_core::{Fault, FaultKind, Guest, Limits};
use isobench_guest::agent::{self, Args};
use isobench_guest::fault::{self, AgentFault};
use isobench_quickjs::{Boundary, Code};
use isobench_runner::stopwatch::Deadline;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    agent::serve(&format!("js quickjs-ng {}", isobench_quickjs::version()), |args| load(args).map_err(by_name))
}

fn load(args: &Args) -> Result<Js, Fault> {
    let missing = || Fault::new(FaultKind::InvalidGuest, "--guest is missing: the JS module to run");
    let code = Code::read(Guest::Js, args.guest.as_ref().ok_or_else(missing)?)?;
    let limits = Limits { memory_bytes: args.memory, frame_bytes: args.frame as u64, ..Limits::default() };
    let mut boundary = Boundary::create(&limits)?;
    // The host has a deadline for the start and ends the boundary; an agent is told that of calls only.
    boundary.load(&code, None)?;
    Ok(Js { boundary, deadline: args.deadline })
}

struct Js {
    boundary: Boundary,
    deadline: Duration,
}

impl agent::Guest for Js {
    fn handle(&mut self, request: &[u8]) -> Result<Vec<u8>, AgentFault> {
        self.boundary.call(request, Deadline::after(self.deadline)).map_err(by_name)
    }
}

/// A fault as agents spell it. What has no name among guests' failures kept the guest from being loaded.
fn by_name(fault: Fault) -> AgentFault {
    let name = fault.kind.to_string();
    let kind = fault::KINDS.into_iter().find(|known| *known == name).unwrap_or(fault::INVALID_GUEST);
    AgentFault::new(kind, fault.message)
}
