//! What is sent fits what Cloud Hypervisor publishes of its API, and what does not is refused.

#[path = "../published.rs"]
mod published;

use super::FAKE;
use isobench_cloud_hypervisor::api::{
    Boot, Console, ConsoleMode, Cpus, INFO, Memory, Pause, Payload, Restore, Resume, Snapshot, VmConfig, Vsock,
};
use isobench_cloud_hypervisor::machine::PROGRAM_VARIABLE;
use isobench_firecracker::client::{Api, ApiError, Request};
use isobench_runner::Deadline;
use isobench_runner::place::installed;
use published::{ENDPOINTS, VERSION, When, endpoint};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

fn config() -> VmConfig<'static> {
    let path = Path::new("/nonexistent/file");
    VmConfig {
        cpus: Cpus { boot_vcpus: 1, max_vcpus: 1 },
        memory: Memory { size: 200 << 20 },
        payload: Payload { kernel: path, cmdline: "console=ttyS0", initramfs: path },
        serial: Console { mode: ConsoleMode::Tty },
        console: Console { mode: ConsoleMode::Off },
        vsock: Vsock { cid: 3, socket: "vsock" },
    }
}

/// Every body that the backend sends; null is none.
fn bodies() -> Vec<(&'static str, &'static str, Value)> {
    fn body<R: Request>(request: R) -> (&'static str, &'static str, Value) {
        (R::METHOD, R::PATH, serde_json::to_value(request).expect("JSON"))
    }
    vec![
        body(config()),
        body(Boot),
        body(Pause),
        body(Resume),
        body(Snapshot { destination_url: "file:///a/path" }),
        body(Restore { source_url: "file:///a/path", resume: true }),
    ]
}

#[test]
fn every_body_is_as_published() {
    let bodies = bodies();
    for (method, path, body) in &bodies {
        let endpoint = endpoint(method, path).unwrap_or_else(|| panic!("{method} {path} is published"));
        assert_eq!(body.is_null(), endpoint.fields.is_empty(), "{method} {path}");
        if body.is_null() {
            continue;
        }
        assert_eq!(endpoint.check(body), Ok(()), "{VERSION}: {method} {path} {body}");
        // The table is no rubber stamp: with a field that is not known, with a value of another type it says no.
        let mut more = body.clone();
        more["surprise"] = json!(1);
        assert!(endpoint.check(&more).unwrap_err().contains("unknown field `surprise`"), "{more}");
        for name in body.as_object().expect("a map").keys() {
            let mut other = body.clone();
            other[name] = json!([]);
            assert!(endpoint.check(&other).is_err(), "{other}");
        }
        for field in endpoint.fields.iter().filter(|field| field.required) {
            let mut less = body.clone();
            less.as_object_mut().expect("a map").remove(field.name);
            assert!(endpoint.check(&less).unwrap_err().contains("missing field"), "{method} {path}: {}", field.name);
        }
    }
    for endpoint in ENDPOINTS {
        let makes = ["create", "boot", "restore"].iter().any(|act| endpoint.path.ends_with(act));
        assert_eq!(endpoint.when == When::PreBoot, makes, "{}", endpoint.path);
        let used = bodies.iter().any(|(method, path, _)| (*method, *path) == (endpoint.method, endpoint.path));
        assert!(used, "{} {} is of use", endpoint.method, endpoint.path);
    }
}

/// A Cloud Hypervisor that has been started and not told anything.
struct Idle {
    child: Child,
    _home: tempfile::TempDir,
}

impl Idle {
    fn of(program: &Path) -> (Idle, Api) {
        let home = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(program);
        command.args(["--api-socket", "api"]).current_dir(home.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a process");
        let socket = home.path().join("api");
        let idle = Idle { child, _home: home };
        let api = Api::connect("Cloud Hypervisor", &socket, soon(), || Ok(())).expect("a socket");
        (idle, api.expect("in time"))
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The fake, and the real one where it is installed and there is a KVM, without which it does not begin.
fn programs() -> Vec<PathBuf> {
    let real = std::env::var_os(PROGRAM_VARIABLE).map(PathBuf::from).or_else(|| installed("cloud-hypervisor"));
    let real = real.filter(|_| Path::new("/dev/kvm").exists());
    if real.is_none() {
        eprintln!("NOTE: not run against the real Cloud Hypervisor: it is not installed, or there is no /dev/kvm");
    }
    [FAKE.into()].into_iter().chain(real).collect()
}

#[derive(serde::Serialize)]
struct Odd(Value);

impl Request for Odd {
    const METHOD: &'static str = "PUT";
    const PATH: &'static str = VmConfig::PATH;
}

#[derive(serde::Serialize)]
struct BootWith(Value);

impl Request for BootWith {
    const METHOD: &'static str = "PUT";
    const PATH: &'static str = Boot::PATH;
}

#[test]
fn what_is_not_as_published_is_refused_with_a_reason() {
    fn refused<R: Request>(api: &mut Api, request: &R, expected: u16, reason: &str) {
        match api.send(request, soon()) {
            Err(ApiError::Refused { status, message, request, .. }) => {
                assert!(message.contains(reason), "{request}: {message} ({status})");
                assert_eq!(status, expected, "{request}: {message}");
            }
            other => panic!("{other:?}, where `{reason}` is the reason"),
        }
    }
    for program in programs() {
        let (_idle, mut api) = Idle::of(&program);
        let api = &mut api;
        assert_eq!(api.state(INFO), None, "there is none");
        refused(api, &Odd(json!({ "payload": 5 })), 400, "");
        // What wants no body takes none.
        refused(api, &BootWith(json!({ "now": true })), 400, "");
        // Before there is a machine.
        refused(api, &Boot, 404, "The VM could not boot: VM config is missing");
        refused(api, &Pause, 500, "VM is not running");
        refused(api, &Resume, 500, "VM is not running");
        refused(api, &Snapshot { destination_url: "file:///nonexistent" }, 500, "VM is not running");
        refused(api, &Restore { source_url: "file:///nonexistent/saved", resume: true }, 500, "");
    }
    // The real one takes a machine that boots nothing, though it publishes that it does not.
    let (_idle, mut api) = Idle::of(Path::new(FAKE));
    refused(&mut api, &Odd(json!({ "cpus": { "boot_vcpus": 1, "max_vcpus": 1 } })), 400, "missing field `payload`");
}
