//! A Cloud Hypervisor that is none: it takes the real one's arguments, serves its API, and where a machine would run it
//! runs the agent out of the root file system as a process, which dials our vsock's socket as a guest would. Machine,
//! faults and HTTP are those of Firecracker's fake.
//!
//! `ISOBENCH_FAKE_FAULT` names one thing to do wrong, and when: see [`fault`].

#[path = "../../../firecracker/tests/fake/fault.rs"]
mod fault;
#[path = "../../../firecracker/tests/fake/guest.rs"]
mod guest;
#[path = "../../../firecracker/tests/fake/http.rs"]
mod http;
#[path = "../published.rs"]
mod published;
#[path = "../../../firecracker/tests/fake/userfault.rs"]
mod userfault;

use fault::Plan;
use guest::Machine;
use http::{Asked, Connection};
use published::{VERSION, When, endpoint};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;

/// A machine and what it was told to be.
struct Told {
    machine: Machine,
    config: Option<Value>,
}

/// A status, and what went wrong.
type No = (u16, String);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let socket = match args[..] {
        ["--version"] => {
            println!("cloud-hypervisor v{VERSION}\nMigration Protocol Versions: 0");
            return ExitCode::SUCCESS;
        }
        ["--api-socket", socket] => socket,
        _ => {
            eprintln!("error: unexpected argument: {args:?}");
            return ExitCode::from(2);
        }
    };
    let plan = Plan::from_environment();
    plan.at_spawn();
    let listener = match UnixListener::bind(socket) {
        Ok(listener) => listener,
        Err(e) => {
            eprintln!("Error: Error creating API server's socket: {e}");
            return ExitCode::FAILURE;
        }
    };
    let mut told = Told { machine: Machine::new(plan.clone()), config: None };
    loop {
        let (stream, _) = listener.accept().expect("a connection");
        let mut connection = Connection::new(stream);
        while let Some(asked) = connection.next() {
            if plan.at_request(&asked, &mut connection) {
                break;
            }
            match told.obey(&asked) {
                Ok(None) => connection.answer(204, None),
                Ok(Some(value)) => connection.answer(200, Some(&value)),
                Err((status, message)) => connection.answer(status, Some(&refusal(&message))),
            }
        }
    }
}

/// The body of a no: an error, what it came from, and so on.
fn refusal(message: &str) -> Value {
    json!(["Error from API", message])
}

impl Told {
    /// Does what is asked, or says why not.
    fn obey(&mut self, asked: &Asked) -> Result<Option<Value>, No> {
        let Asked { method, path, body } = asked;
        if (method.as_str(), path.as_str()) == ("GET", "/api/v1/vm.info") {
            let config = self.config.clone().ok_or((404, "The VM info is not available: VM is not created".into()))?;
            let state = if self.machine.started() { self.machine.state() } else { "Created" };
            return Ok(Some(json!({ "config": config, "state": state })));
        }
        let endpoint = endpoint(method, path).ok_or((404, "Not Found".to_string()))?;
        let body: Value = match (body, endpoint.fields.is_empty()) {
            (Some(_), true) | (None, false) => return Err((400, "Bad Request".into())),
            (None, true) => json!({}),
            (Some(body), false) => serde_json::from_slice(body).map_err(|e| (400, e.to_string()))?,
        };
        endpoint.check(&body).map_err(|why| (400, format!("Failed to deserialize JSON: {why}")))?;
        match (endpoint.when, self.machine.started()) {
            (When::PreBoot, true) => return Err((500, "VM is already running".into())),
            (When::PostBoot, false) => return Err((500, "VM is not running".into())),
            _ => {}
        }
        let url = |name: &str| {
            let folder = body[name].as_str().and_then(|url| url.strip_prefix("file://")).map(PathBuf::from);
            folder.ok_or((500, format!("{name}: a URL of a file")))
        };
        let machine = &mut self.machine;
        let done = match path.rsplit_once('.').expect("a published path").1 {
            "create" => {
                let text = |name: &str| body["payload"][name].as_str().unwrap_or_default();
                let memory = body["memory"]["size"].as_u64().expect("what the backend sends");
                let described = machine
                    .configure(memory >> 20)
                    .and_then(|()| machine.boot_source(text("kernel"), text("initramfs"), text("cmdline")));
                self.config = Some(body);
                described
            }
            "boot" => {
                let config = self.config.as_ref().ok_or((404, "The VM could not boot: VM config is missing".into()))?;
                let socket = config["vsock"]["socket"].as_str().unwrap_or_default();
                machine.vsock(socket).and_then(|()| machine.start())
            }
            "pause" => machine.pause(true),
            "resume" => machine.pause(false),
            "snapshot" => {
                let to = url("destination_url")?;
                let config = self.config.as_ref().expect("a machine").to_string();
                let written = fs::write(to.join("config.json"), config).map_err(|e| e.to_string());
                let file = |name: &str| to.join(name).display().to_string();
                written.and_then(|()| machine.save(&file("state.json"), &file("memory-ranges")))
            }
            _ => {
                let from = url("source_url")?;
                let config = fs::read(from.join("config.json")).map_err(|e| (500, e.to_string()))?;
                self.config = Some(serde_json::from_slice(&config).map_err(|e| (500, e.to_string()))?);
                let memory = json!({ "backend_type": "File", "backend_path": from.join("memory-ranges") });
                machine.load(&from.join("state.json").display().to_string(), &memory, body["resume"] == true)
            }
        };
        done.map(|()| None).map_err(|why| (500, why))
    }
}
