//! What is sent fits what Firecracker publishes of its API, and what does not is refused.

#[path = "../published.rs"]
mod published;

use super::FAKE;
use isobench_firecracker::api::{
    Action, ActionType, BackendType, BootSource, MachineConfig, MemoryBackend, SnapshotCreate, SnapshotLoad,
    SnapshotType, State, Vm, Vsock,
};
use isobench_firecracker::client::{Api, ApiError, Request};
use isobench_firecracker::machine::PROGRAM_VARIABLE;
use isobench_runner::Deadline;
use isobench_runner::place::installed;
use published::{ENDPOINTS, VERSION, When, check, endpoint};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

/// Every body that the backend sends.
fn bodies() -> Vec<(&'static str, &'static str, Value)> {
    fn body<R: Request>(request: R) -> (&'static str, &'static str, Value) {
        (R::METHOD, R::PATH, serde_json::to_value(request).expect("JSON"))
    }
    let path = Path::new("/a/path");
    let load = |backend_type| SnapshotLoad {
        snapshot_path: path,
        mem_backend: MemoryBackend { backend_type, backend_path: path },
        resume_vm: true,
    };
    vec![
        body(MachineConfig { vcpu_count: 1, mem_size_mib: 200 }),
        body(BootSource { kernel_image_path: path, initrd_path: path, boot_args: "console=ttyS0" }),
        body(Vsock { guest_cid: 3, uds_path: "vsock" }),
        body(Action { action_type: ActionType::InstanceStart }),
        body(Vm { state: State::Paused }),
        body(Vm { state: State::Resumed }),
        body(SnapshotCreate { snapshot_type: SnapshotType::Full, snapshot_path: path, mem_file_path: path }),
        body(load(BackendType::File)),
        body(load(BackendType::Uffd)),
    ]
}

#[test]
fn every_body_is_as_published() {
    let bodies = bodies();
    for (method, path, body) in &bodies {
        let endpoint = endpoint(method, path).unwrap_or_else(|| panic!("{method} {path} is published"));
        assert_eq!(check(endpoint, body), Ok(()), "{VERSION}: {method} {path} {body}");
        // The table is no rubber stamp: without a field that is required, with one that is not known, with a value of
        // another type it says no.
        let mut more = body.clone();
        more["surprise"] = json!(1);
        assert!(check(endpoint, &more).unwrap_err().contains("unknown field `surprise`"), "{more}");
        for name in body.as_object().expect("a map").keys() {
            let mut other = body.clone();
            other[name] = json!([]);
            assert!(check(endpoint, &other).is_err(), "{other}");
        }
        assert!(check(endpoint, &json!({})).unwrap_err().contains("missing field"), "{method} {path}");
    }
    for endpoint in ENDPOINTS {
        // What changes a machine that runs is a PATCH, or saves it.
        let changes = endpoint.method == "PATCH" || endpoint.path.ends_with("create");
        assert_eq!(endpoint.when == When::PostBoot, changes, "{}", endpoint.path);
        let used = bodies.iter().any(|(method, path, _)| (*method, *path) == (endpoint.method, endpoint.path));
        assert!(used, "{} {} is of use", endpoint.method, endpoint.path);
    }
}

/// A Firecracker that has been started and not told anything.
struct Idle {
    child: Child,
    home: tempfile::TempDir,
}

impl Idle {
    fn of(program: &Path) -> (Idle, Api) {
        let home = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(program);
        command.args(["--api-sock", "api", "--level", "Error"]).current_dir(home.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a process");
        let idle = Idle { child, home };
        let api = Api::connect("Firecracker", &idle.home.path().join("api"), soon(), || Ok(())).expect("a socket");
        (idle, api.expect("in time"))
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The fake, and the real one where it is installed: without a machine its API needs no KVM.
fn programs() -> Vec<PathBuf> {
    let real = std::env::var_os(PROGRAM_VARIABLE).map(PathBuf::from).or_else(|| installed("firecracker"));
    if real.is_none() {
        eprintln!("NOTE: not run against the real Firecracker: it is not installed");
    }
    [FAKE.into()].into_iter().chain(real).collect()
}

/// A body that the backend never sends.
macro_rules! odd {
    ($name:ident, $method:literal, $path:literal) => {
        #[derive(Serialize)]
        struct $name(Value);
        impl Request for $name {
            const METHOD: &'static str = $method;
            const PATH: &'static str = $path;
        }
    };
}

odd!(Machine, "PUT", "/machine-config");
odd!(Load, "PUT", "/snapshot/load");
odd!(NoPath, "PUT", "/no-such-thing");
odd!(NoMethod, "POST", "/actions");

#[test]
fn what_is_not_as_published_is_refused_with_a_reason() {
    fn refused<R: Request>(api: &mut Api, request: &R, reason: &str) {
        match api.send(request, soon()) {
            Err(ApiError::Refused { status, message, request, .. }) => {
                assert_eq!(status, 400, "{request}");
                assert!(message.contains(reason), "{request}: {message}");
            }
            other => panic!("{other:?}, where `{reason}` is the reason"),
        }
    }
    for program in programs() {
        let (idle, mut api) = Idle::of(&program);
        let api = &mut api;
        assert_eq!(api.state("/").as_deref(), Some("Not started"));
        let machine = |fields: Value| Machine(fields);
        refused(api, &machine(json!({ "vcpu_count": 1, "mem_size_mib": 200, "surprise": 1 })), "surprise");
        refused(api, &machine(json!({ "vcpu_count": "one", "mem_size_mib": 200 })), "invalid type");
        refused(api, &machine(json!({ "vcpu_count": 1 })), "missing field `mem_size_mib`");
        refused(api, &Load(json!({ "snapshot_path": "/x" })), "`mem_backend` or `mem_file_path`");
        refused(api, &NoPath(json!({ "x": 1 })), "Invalid request method and/or path");
        // Before there is a machine.
        refused(api, &Vm { state: State::Paused }, "before starting the microVM");
        let path = Path::new("/nonexistent/file");
        let save = SnapshotCreate { snapshot_type: SnapshotType::Full, snapshot_path: path, mem_file_path: path };
        refused(api, &save, "before starting the microVM");
        refused(api, &Action { action_type: ActionType::InstanceStart }, "without kernel configuration");
        let boot = BootSource { kernel_image_path: path, initrd_path: path, boot_args: "" };
        refused(api, &boot, "kernel file cannot be opened");
        // What is right is done, on the same connection.
        api.send(&MachineConfig { vcpu_count: 1, mem_size_mib: 200 }, soon()).expect("a machine");
        api.send(&Vsock { guest_cid: 3, uds_path: "vsock" }, soon()).expect("a vsock");
        assert!(idle.home.path().join("vsock").exists(), "the socket is made at once, in the folder it runs in");
        // A machine that is described is not restored.
        let mem_backend = MemoryBackend { backend_type: BackendType::File, backend_path: path };
        let load = SnapshotLoad { snapshot_path: path, mem_backend, resume_vm: true };
        refused(api, &load, "not allowed after configuring");
    }
    // The real one drops what has a method that it does not know.
    let (_idle, mut api) = Idle::of(Path::new(FAKE));
    refused(&mut api, &NoMethod(json!({ "action_type": "InstanceStart" })), "Invalid request method");
}
