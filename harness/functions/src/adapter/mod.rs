//! What stands in a deployed unit in front of the guest's agent, and speaks its platform's protocol.
//!
//! | module | protocol |
//! |---|---|
//! | `http` | POST, bytes in and bytes out: Cloud Run, Azure's custom handlers, any platform of containers |
//! | `lambda` | AWS Lambda's Runtime API, events of function URLs |
//! | `openwhisk` | `/init` and `/run` |
//! | `ironfunctions` | standard input and output |
//! | `agent` | the agent, and the deaths of both |
//!
//! A fault is answered as in every adapter of ours: status 500 and the line that agents send (`guest_throw: …`), by
//! which the `http` backend names it. After a fault that leaves the agent unusable the adapter ends, and with it the
//! instance: a platform replaces it.

mod agent;
mod http;
mod ironfunctions;
mod lambda;
mod openwhisk;

use agent::Agent;
pub use http::on_socket;
use isobench_core::{Fault, Guest, Limits};
use isobench_runner::Target;
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, exit};

/// The file that tells the adapter what it stands in front of. It lies beside the adapter.
pub const UNIT: &str = "unit.json";

/// What an adapter stands in front of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// How it is called.
    pub protocol: Protocol,
    /// The workload's name.
    pub workload: String,
    /// The kind of its guest.
    pub guest: Guest,
    /// The agent's program, relative to the unit's folder.
    pub agent: PathBuf,
    /// The prepared guest, relative to the unit's folder; absent where the agent is the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_file: Option<PathBuf>,
    /// The workload's limits. Those of start and call hold here too, unless the platform's are shorter.
    pub limits: Limits,
}

/// How an adapter is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP on the port that the platform names.
    Http,
    /// AWS Lambda's Runtime API.
    Lambda,
    /// OpenWhisk's action interface.
    Openwhisk,
    /// IronFunctions' formats `default` and `http`.
    Ironfunctions,
}

impl Unit {
    /// Reads a unit's file. Its relative paths become those from here.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read(file: &Path) -> Result<Unit, String> {
        let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
        let text = std::fs::read(file).map_err(|e| wrong(&e))?;
        let mut unit: Unit = serde_json::from_slice(&text).map_err(|e| wrong(&e))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        unit.agent = folder.join(&unit.agent);
        unit.guest_file = unit.guest_file.map(|guest| folder.join(guest));
        Ok(unit)
    }

    /// What the harness calls it.
    fn target(&self) -> Target {
        Target {
            workload: self.workload.clone(),
            variant: "function".into(),
            guest: self.guest,
            engine: None,
            artifact: self.agent.clone(),
            artifact_sha256: String::new(),
            limits: self.limits.clone(),
            emulated: false,
        }
    }

    /// The longest message of a protocol that carries bodies in base64 within JSON: a third more, and the rest of the
    /// message.
    fn message_bytes(&self) -> u64 {
        self.limits.frame_bytes.saturating_mul(2) + (1 << 20)
    }
}

/// The `main` of `isobench-function`: `isobench-function [UNIT]`, where the unit's file is the one beside the program
/// unless another is named.
pub fn main() -> ExitCode {
    // The first process of a container does not die of a signal unless it says so. The agent goes with it.
    ended(ctrlc::set_handler(|| exit(0)).map_err(|e| e.to_string()).and_then(|()| serve(&unit()?)))
}

/// The exit code of an adapter that served so, and its last words.
fn ended(served: Result<(), String>) -> ExitCode {
    let Err(message) = served else { return ExitCode::SUCCESS };
    let program = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    eprintln!("{}: {message}", program.file_name().unwrap_or_default().display());
    ExitCode::FAILURE
}

fn unit() -> Result<Unit, String> {
    let file = match std::env::args_os().nth(1) {
        Some(file) => PathBuf::from(file),
        None => std::env::current_exe().map_err(|e| format!("the path of this program: {e}"))?.with_file_name(UNIT),
    };
    Unit::read(&file)
}

fn serve(unit: &Unit) -> Result<(), String> {
    match unit.protocol {
        Protocol::Http => http::on_port(unit),
        Protocol::Lambda => lambda::serve(unit),
        Protocol::Openwhisk => openwhisk::serve(unit),
        Protocol::Ironfunctions => ironfunctions::serve(unit),
    }
}

/// Starts the agent, which dials a socket. It is removed before the first call.
fn start(unit: &Unit) -> Result<Agent, Fault> {
    let temporary = std::env::temp_dir();
    // In a container from scratch nobody has made it. Who may not is told by the agent's own start.
    let _ = std::fs::create_dir_all(&temporary);
    // Who is not root may not write to the former there, but to the latter.
    let folder = if writable(&temporary) { temporary } else { PathBuf::from("/dev/shm") };
    let socket = folder.join(format!("isobench-function-{}.sock", std::process::id()));
    // One that was killed in a container that is started again: numbers are the same there.
    let _ = std::fs::remove_file(&socket);
    Agent::start(unit, &socket)
}

fn writable(folder: &Path) -> bool {
    let name = CString::new(folder.as_os_str().as_bytes()).unwrap_or_default();
    // SAFETY: a valid string.
    unsafe { libc::access(name.as_ptr(), libc::W_OK | libc::X_OK) == 0 }
}

/// An answer, whatever carries it.
struct Answer {
    /// Its status, as HTTP has them.
    status: u16,
    /// Its content's type.
    kind: &'static str,
    body: Vec<u8>,
}

impl Answer {
    fn bytes(body: Vec<u8>) -> Answer {
        Answer { status: 200, kind: "application/octet-stream", body }
    }

    fn text(status: u16, text: impl Into<Vec<u8>>) -> Answer {
        Answer { status, kind: "text/plain; charset=utf-8", body: text.into() }
    }

    fn fault(fault: &Fault) -> Answer {
        let line = fault.to_string().replace(['\r', '\n'], " ");
        eprintln!("isobench-function: {line}");
        Answer::text(500, line)
    }
}

/// What every protocol answers: POST is a call, GET asks whether the guest is ready.
fn answer(agent: &mut Agent, method: &str, body: &[u8]) -> Answer {
    match method {
        "POST" => agent.call(body).map_or_else(|fault| Answer::fault(&fault), Answer::bytes),
        "GET" => Answer::text(200, "ready"),
        _ => Answer::text(405, "POST a request's bytes; GET says `ready`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        r#"{"protocol":"lambda","workload":"echo","guest":"js","agent":"agent","guest_file":"guest.js","#;

    #[test]
    fn a_units_file_says_what_lies_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(UNIT);
        let limits = serde_json::to_string(&Limits::default()).expect("plain data");
        let text = format!("{TEXT}\"limits\":{limits}}}");
        std::fs::write(&file, &text).expect("a file");
        let unit = Unit::read(&file).expect("a unit");
        assert_eq!((unit.protocol, unit.guest), (Protocol::Lambda, Guest::Js));
        assert_eq!(
            (&unit.agent, &unit.guest_file),
            (&folder.path().join("agent"), &Some(folder.path().join("guest.js")))
        );
        let again = Unit { agent: "agent".into(), guest_file: Some("guest.js".into()), ..unit };
        assert_eq!(serde_json::to_string(&again).expect("plain data"), text);

        let wrong = |text: &str| {
            std::fs::write(&file, text).expect("a file");
            Unit::read(&file).expect_err("a mistake")
        };
        assert!(wrong("{}").contains("unit.json: missing field `protocol`"));
        assert!(wrong(&text.replace("lambda", "smtp")).contains("unknown variant `smtp`"));
        assert!(wrong(&text.replace("workload", "word")).contains("unknown field `word`"));
        std::fs::remove_file(&file).expect("the file");
        assert!(Unit::read(&file).expect_err("no file").contains("unit.json: "));
    }
}
