//! The agent for guests on V8 behind other boundaries: the same engine in the same configuration, and the frame protocol.
//!
//! `isobench-agent-v8 prepare SOURCE DESTINATION` copies a Wasm module: V8 compiles where it runs, bare as well.

use isobench_core::{Fault, FaultKind, Guest, Limits};
use isobench_guest::agent::{self, Args};
use isobench_guest::fault::{self, AgentFault};
use isobench_runner::stopwatch::Deadline;
use isobench_v8::engine::{self, Compilers};
use isobench_v8::{Boundary, Code};
use std::ffi::c_char;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// What a Wasm module begins with, and no text does.
const WASM_MAGIC: [u8; 4] = *b"\0asm";

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match &args[..] {
        [command, source, destination] if command == "prepare" => {
            match prepare(source.as_ref(), destination.as_ref()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(message) => {
                    eprintln!("{message}");
                    ExitCode::FAILURE
                }
            }
        }
        _ => agent::serve(&format!("v8 {}", engine::version()), |args| load(args).map_err(by_name)),
    }
}

fn prepare(source: &Path, destination: &Path) -> Result<(), String> {
    if kind(source).map_err(|fault| fault.message)? != Guest::Wasm {
        return Err("not a valid Wasm module: it does not begin like one".into());
    }
    std::fs::copy(source, destination).map(|_| ()).map_err(|e| e.to_string())
}

fn load(args: &Args) -> Result<V8, Fault> {
    // So that `wake` can still set one; V8 forbids that by default against attackers in the process.
    v8::V8::set_flags_from_string("--no-freeze-flags-after-init");
    engine::initialise(args.memory, Compilers::All, last_words)?;
    let missing = || Fault::new(FaultKind::InvalidGuest, "--guest is missing: the JS or Wasm module to run");
    let path = args.guest.as_ref().ok_or_else(missing)?;
    let code = Code::read(kind(path)?, path)?;
    let limits = Limits { memory_bytes: args.memory, frame_bytes: args.frame as u64, ..Limits::default() };
    let mut boundary = Boundary::create(&limits);
    // The host has a deadline for the start and ends the boundary; an agent is told that of calls only.
    boundary.load(&code, None)?;
    Ok(V8 { boundary, deadline: args.deadline })
}

/// The kind of a guest by its first bytes: behind a boundary its file has no telling name.
fn kind(path: &Path) -> Result<Guest, Fault> {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(WASM_MAGIC.len() as u64).read_to_end(&mut start));
    read.map_err(|e| Fault::new(FaultKind::InvalidGuest, format!("{}: {e}", path.display())))?;
    Ok(if start == WASM_MAGIC { Guest::Wasm } else { Guest::Js })
}

struct V8 {
    boundary: Boundary,
    deadline: Duration,
}

impl agent::Guest for V8 {
    fn handle(&mut self, request: &[u8]) -> Result<Vec<u8>, AgentFault> {
        self.boundary.call(request, Deadline::after(self.deadline)).map_err(by_name)
    }

    /// The isolate has drawn its seed before it was copied. A context that has not yet drawn from it (`Math.random` has
    /// not been called) takes this one instead; V8 offers no way to seed one that has.
    fn wake(&mut self, entropy: &[u8; 32], _: u64) {
        // 31 bits is what the flag holds, and 0 is no seed to it.
        let seed = u32::from_le_bytes([entropy[0], entropy[1], entropy[2], entropy[3]]) >> 1 | 1;
        v8::V8::set_flags_from_string(&format!("--random-seed={seed}"));
    }
}

/// V8 cannot go on: the host is told before the process ends.
unsafe extern "C" fn last_words(_: *const c_char, _: &v8::OomDetails) {
    agent::exit_out_of_memory()
}

/// A fault as agents spell it. What has no name among guests' failures kept the guest from being loaded.
fn by_name(fault: Fault) -> AgentFault {
    let name = fault.kind.to_string();
    let kind = fault::KINDS.into_iter().find(|known| *known == name).unwrap_or(fault::INVALID_GUEST);
    AgentFault::new(kind, fault.message)
}
