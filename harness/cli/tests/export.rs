//! `isobench export`: what it refuses, and units on loopback that `isobench run --target` measures.

mod common;

use common::{Checkout, wait_for};
use isobench_core::Guest;
use isobench_runner::place::{self, Places};
use isobench_runner::testing;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process that goes with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port at which nobody listens.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port()
}

fn serve(command: &mut Command, port: u16) -> Server {
    let server = Server(command.stdin(Stdio::null()).spawn().unwrap());
    wait_for("the unit to listen", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    server
}

/// Measures what answers there, each answer verified.
fn measured(checkout: &Checkout, port: u16, guest: Guest) {
    let target = format!("[targets.unit]\nurl = 'http://127.0.0.1:{port}/'\nguest = '{guest}'\n");
    fs::write(checkout.path("targets.toml"), target).unwrap();
    let args = ["run", "--quick", "--only", "http/", "--rounds", "1", "--target", "targets.toml"];
    checkout.run(&args).expect(0).says("http/unit").says("http/unit-close");
    let (run, _) = checkout.read_run();
    assert!(run.cells.iter().all(|entry| entry.blocks > 0 && entry.faults.is_empty()), "{:?}", run.cells);
    checkout.assert_nothing_left();
}

#[test]
fn a_container_is_measured_as_a_target() {
    let checkout = Checkout::real();
    checkout.copy_workload("echo");
    checkout
        .run(&["export", "cloud-run", "echo", "--guest", "wasm", "--engine", "winch", "--out", "unit"])
        .expect(0)
        .says("  isobench-function\n")
        .says("unit/README.md says how to deploy");
    let port = free_port();
    let mut unit = Command::new(checkout.path("unit/isobench-function"));
    let server = serve(unit.env("PORT", port.to_string()).env("TMPDIR", checkout.path("tmp")), port);
    measured(&checkout, port, Guest::Wasm);
    drop(server);
}

#[test]
fn a_worker_is_measured_as_a_target() {
    let Some(workerd) = place::fetched(&Places::find().unwrap().cache, "workerd") else {
        return testing::skip("there is no workerd: `scripts/workerd.sh` fetches it");
    };
    let checkout = Checkout::real();
    checkout.copy_workload("echo");
    checkout.run(&["export", "workers", "echo"]).expect(0).says("workers-echo-js/README.md");
    let port = free_port();
    let config = format!(
        "using Workerd = import \"/workerd/workerd.capnp\";\nconst config :Workerd.Config = (\n\
         services = [(name = \"main\", worker = .worker)],\n\
         sockets = [(name = \"http\", address = \"127.0.0.1:{port}\", http = (), service = \"main\")]);\n\
         const worker :Workerd.Worker = (compatibilityDate = \"2026-01-01\", modules = [\n\
         (name = \"worker.js\", esModule = embed \"worker.js\"), (name = \"guest.js\", esModule = embed \"guest.js\"),\n\
         (name = \"limits.json\", json = embed \"limits.json\")]);\n"
    );
    let folder = checkout.path("workers-echo-js");
    fs::write(folder.join("config.capnp"), config).unwrap();
    let _server = serve(Command::new(workerd).args(["serve", "config.capnp"]).current_dir(&folder), port);
    measured(&checkout, port, Guest::Js);
}

#[test]
fn what_cannot_be_exported_is_refused_and_nothing_is_left() {
    let checkout = Checkout::new();
    checkout.fixture("w", "", &[("guest.js", "export const handle = (r) => r;")]);
    checkout.run(&["export", "heroku", "w"]).expect(2).says("workers, lambda, azure, gcf, cloud-run, openwhisk");
    checkout.run(&["export", "workers"]).expect(2).says("<WORKLOAD>");
    checkout.run(&["export", "workers", "w", "--guest", "java"]).expect(2).says("native, wasm, js");
    for nobody in ["nobody", "../w", "."] {
        checkout.run(&["export", "workers", nobody]).expect(2).says("isobench list");
    }
    checkout.run(&["export", "workers", "w", "--guest", "native"]).expect(1).says("workers takes no native guest");
    checkout.run(&["export", "lambda", "w", "--guest", "wasm"]).expect(1).says("`w` has no wasm guest");
    checkout.run(&["export", "workers", "w", "--engine", "v8"]).expect(1).says("no engine of ours");
    checkout.run(&["export", "lambda", "w", "--engine", "none"]).expect(1).says("isobench-agent-none is missing");
    checkout.run(&["export", "openlambda", "w", "--out", "a/b/c"]).expect(1).says("isobench-agent-v8 is missing");
    assert!(!checkout.path("a").exists() && !checkout.path("lambda-w-js").exists());
    fs::create_dir(checkout.path("full")).unwrap();
    fs::write(checkout.path("full/mine"), "mine").unwrap();
    checkout.run(&["export", "workers", "w", "--out", "full"]).expect(1).says("exists and is not empty");
    checkout.run(&["export", "workers", "w", "--out", "full/mine"]).expect(1).says("full/mine");
    assert_eq!(fs::read_to_string(checkout.path("full/mine")).unwrap(), "mine");
    fs::create_dir(checkout.path("empty")).unwrap();
    checkout.run(&["export", "workers", "w", "--out", "empty"]).expect(0).says("worker.js");
    let hidden = |folder: &Path| {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with('.')).count()
    };
    assert_eq!((hidden(checkout.dir.path()), hidden(&checkout.path("full"))), (0, 0));
    checkout.run(&["export", "--help"]).expect(0).says("cloud-run").says("then: ol admin install");
    checkout.assert_nothing_left();
}
