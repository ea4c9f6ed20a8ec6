//! A Firecracker that is none: it takes the real one's arguments, serves its API as strictly, and where a machine would
//! run it runs the agent out of the root file system as a process, which dials our vsock's socket as a guest would.
//!
//! `ISOBENCH_FAKE_FAULT` names one thing to do wrong, and when: see [`fault`].

mod fault;
mod guest;
mod http;
#[path = "../published.rs"]
mod published;
mod userfault;

use fault::Plan;
use guest::Machine;
use http::{Asked, Connection};
use published::{VERSION, When, check, endpoint};
use serde_json::{Value, json};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // What a jailer says before what it was told to.
    let own = match args[..] {
        ["--id", _, "--start-time-us", _, "--start-time-cpu-us", _, "--parent-cpu-time-us", _, ref rest @ ..] => rest,
        _ => &args[..],
    };
    let socket = match own {
        ["--version"] => {
            println!("Firecracker v{VERSION}\n");
            return ExitCode::SUCCESS;
        }
        ["--api-sock", socket, "--level", "Error"] => Path::new(socket),
        _ => {
            eprintln!("Error: ParseArguments: {args:?}");
            return ExitCode::from(153);
        }
    };
    let plan = Plan::from_environment();
    plan.at_spawn();
    let listener = match UnixListener::bind(socket) {
        Ok(listener) => listener,
        Err(e) => {
            eprintln!("Error: RunWithApi(FailedToBindSocket({e}))");
            return ExitCode::FAILURE;
        }
    };
    let mut machine = Machine::new(plan.clone());
    loop {
        let (stream, _) = listener.accept().expect("a connection");
        let mut connection = Connection::new(stream);
        while let Some(asked) = connection.next() {
            if plan.at_request(&asked, &mut connection) {
                break;
            }
            match obey(&mut machine, &asked) {
                Ok(None) => connection.answer(204, None),
                Ok(Some(value)) => connection.answer(200, Some(&value)),
                Err(message) => connection.answer(400, Some(&refusal(&message))),
            }
        }
    }
}

/// The body of a no.
fn refusal(message: &str) -> Value {
    json!({ "fault_message": message })
}

/// Does what is asked, or says why not in the real one's words.
fn obey(machine: &mut Machine, asked: &Asked) -> Result<Option<Value>, String> {
    let Asked { method, path, body } = asked;
    if (method.as_str(), path.as_str()) == ("GET", "/") {
        return match body {
            Some(_) => Err("GET request cannot have a body.".into()),
            None => Ok(Some(json!({
                "id": "anonymous-instance", "state": machine.state(), "vmm_version": VERSION, "app_name": "Firecracker",
            }))),
        };
    }
    let invalid = || format!("Invalid request method and/or path: {method} {path}.");
    let endpoint = endpoint(method, path).ok_or_else(invalid)?;
    let body = body.as_ref().ok_or_else(|| format!("Empty {method} request."))?;
    let not_json = |why: String| format!("An error occurred when deserializing the json body of a request: {why}.");
    let body: Value = serde_json::from_slice(body).map_err(|e| not_json(e.to_string()))?;
    check(endpoint, &body).map_err(not_json)?;
    match (endpoint.when, machine.started()) {
        (When::PreBoot, true) => {
            return Err("The requested operation is not supported after starting the microVM.".into());
        }
        (When::PostBoot, false) => {
            return Err("The requested operation is not supported before starting the microVM.".into());
        }
        _ => {}
    }
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    match path.as_str() {
        "/machine-config" => machine.configure(body["mem_size_mib"].as_u64().expect("checked")),
        "/boot-source" => machine.boot_source(text("kernel_image_path"), text("initrd_path"), text("boot_args")),
        "/vsock" => machine.vsock(text("uds_path")),
        "/actions" if text("action_type") == "InstanceStart" => machine.start(),
        "/actions" => Err("The requested operation is not supported before starting the microVM.".into()),
        "/vm" => machine.pause(text("state") == "Paused"),
        "/snapshot/create" => machine.save(text("snapshot_path"), text("mem_file_path")),
        _ => machine.load(text("snapshot_path"), &body["mem_backend"], body["resume_vm"] == true),
    }
    .map(|()| None)
}
