//! Units whose adapter is in the platform's own language: run in the real workerd, in Node.js, in Python. And what all
//! units have in common.

use crate::bed::{Running, Unit, calling, connect, free_port, has_agent, post, sleeps, wait_for, wait_for_port};
use crate::{MISBEHAVING, WORKLOADS};
use hyper::Method;
use isobench_core::Guest;
use isobench_functions::export::PLATFORMS;
use isobench_runner::place::{self, Places};
use isobench_runner::{Deadline, reap, testing};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A program that the set-up fetches, or an installed one; says so where there is none.
fn program(name: &str) -> Option<PathBuf> {
    let found = place::fetched(&Places::find().expect("a cache").cache, name);
    if found.is_none() {
        testing::skip(format!("there is no {name}"));
    }
    found
}

/// A unit that runs, and the port where it is called.
type Started = (Running, u16);

/// The unit's own files in workerd, as wrangler would hand them to it.
fn workers(unit: &Unit) -> Option<Started> {
    let module = |name: &str| {
        let kind = match Path::new(name).extension()?.to_str()? {
            "js" => "esModule",
            "json" => "json",
            "wasm" => "wasm",
            _ => return None,
        };
        Some(format!("(name = \"{name}\", {kind} = embed \"{name}\")"))
    };
    let mut modules: Vec<String> = files(&unit.folder()).keys().filter_map(|name| module(name)).collect();
    // The main one first.
    modules.sort_by_key(|module| !module.contains("worker.js"));
    let port = free_port();
    let text = format!(
        "using Workerd = import \"/workerd/workerd.capnp\";\nconst config :Workerd.Config = (\n\
         services = [(name = \"main\", worker = .worker)],\n\
         sockets = [(name = \"http\", address = \"127.0.0.1:{port}\", http = (), service = \"main\")]);\n\
         const worker :Workerd.Worker = (modules = [{}], compatibilityDate = \"2026-01-01\");\n",
        modules.join(", ")
    );
    fs::write(unit.folder().join("config.capnp"), text).expect("a configuration");
    let running = unit.start(program("workerd")?, &["serve", "config.capnp"], &[]);
    wait_for_port(port);
    Some((running, port))
}

fn gcf(unit: &Unit) -> Option<Started> {
    let port = free_port();
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/units/host.mjs");
    let index = unit.folder().join("index.js");
    let args = [host.to_str()?, index.to_str()?, &port.to_string()];
    let running = unit.start(program("node")?, &args, &[]);
    wait_for_port(port);
    Some((running, port))
}

fn openlambda(unit: &Unit) -> Option<Started> {
    let port = free_port();
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/units/host.py");
    let env = [("PYTHONDONTWRITEBYTECODE", "1")];
    let running = unit.start(program("python3")?, &[host.to_str()?, &port.to_string()], &env);
    wait_for_port(port);
    Some((running, port))
}

fn answers(platform: &str, guests: &[Guest], start: impl Fn(&Unit) -> Option<Started>) {
    for &guest in guests {
        for workload in WORKLOADS {
            let unit = Unit::of(platform, workload, guest);
            let Some((running, port)) = start(&unit) else { return };
            unit.verify(calling(port, "/"));
            let soon = || Deadline::after(crate::bed::SOON);
            let ready = connect(port).ask(Method::GET, "/", b"", soon()).expect("an answer");
            assert_eq!((ready.status.as_u16(), &ready.body[..]), (200, &b"ready"[..]));
            for method in [Method::PUT, Method::DELETE] {
                assert_eq!(connect(port).ask(method, "/", b"", soon()).expect("an answer").status, 405);
            }
            drop(running);
            unit.assert_nothing_left();
        }
    }
}

/// Guests of the platform's own engine, and what their faults are called.
fn faults(platform: &str, start: impl Fn(&Unit) -> Option<Started>) {
    let wat = |handle: &str| {
        let text = format!(
            r#"(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) i32.const 64)
               (func (export "handle") (param i32 i32) (result i64) {handle}))"#
        );
        wat::parse_str(text).expect("it assembles")
    };
    let js = |body: &str| format!("export function handle(request) {{ {body} }}").into_bytes();
    for (guest, source, line) in [
        (Guest::Js, js("throw new Error('as told')"), "guest_throw: guest.js:1: Error: as told"),
        (Guest::Js, js("return 'text'"), "bad_answer: "),
        (Guest::Js, js("return new Uint8Array(2 ** 24 + 1)"), "frame_too_large: "),
        (Guest::Wasm, wat("unreachable"), "guest_trap: "),
        (Guest::Wasm, wat("i64.const 0x40000000"), "frame_too_large: "),
        (Guest::Wasm, wat("i64.const 0xffff0000000f"), "bad_answer: "),
    ] {
        let unit = Unit::bad(platform, guest, &source, |_| {});
        let Some((running, port)) = start(&unit) else { return };
        for _ in 0..2 {
            let answer = post(&mut connect(port), "/", b"hi");
            let text = String::from_utf8_lossy(&answer.body);
            assert!(answer.status == 500 && text.starts_with(line), "{platform}: {} {text}", answer.status);
        }
        drop(running);
        unit.assert_nothing_left();
    }
}

#[test]
fn a_worker_answers_in_workerd() {
    answers("workers", &[Guest::Js, Guest::Wasm], workers);
    faults("workers", workers);
}

#[test]
fn a_google_cloud_function_answers_in_node() {
    answers("gcf", &[Guest::Js, Guest::Wasm], gcf);
    faults("gcf", gcf);
}

#[test]
fn an_openlambda_function_answers_in_python() {
    let guests: Vec<Guest> = Guest::ALL.into_iter().filter(|&guest| has_agent(guest)).collect();
    answers("openlambda", &guests, openlambda);
}

#[test]
fn an_openlambda_function_has_another_agent_after_one_that_is_gone() {
    for (told, line) in [
        ("panic", "guest_trap: "),
        ("segv", "channel_closed: "),
        ("hang", "deadline_exceeded: "),
        ("announce 1 GiB", "frame_too_large: "),
        ("no frame", "bad_frame: "),
        ("eat", "out_of_memory: "),
    ] {
        let unit = Unit::with("openlambda", MISBEHAVING, Guest::Native, |limits| limits.call_deadline_ms = 500);
        let Some((running, port)) = openlambda(&unit) else { return };
        let answer = post(&mut connect(port), "/", told.as_bytes());
        let text = String::from_utf8_lossy(&answer.body);
        assert!(answer.status == 500 && text.starts_with(line), "{told}: {text}");
        assert_eq!(&post(&mut connect(port), "/", b"hello").body[..], b"hello", "{told}");
        assert!(running.said().contains(line), "{}", running.said());
        drop(running);
        unit.assert_nothing_left();
    }
}

#[test]
fn a_killed_handler_takes_its_agent_along() {
    let unit = Unit::of("openlambda", MISBEHAVING, Guest::Native);
    let Some((mut running, port)) = openlambda(&unit) else { return };
    let hanging = std::thread::spawn(move || {
        let _ = connect(port).ask(Method::POST, "/", b"hang", Deadline::after(crate::bed::SOON));
    });
    let python = running.child.id();
    let children = fs::read_to_string(format!("/proc/{python}/task/{python}/children")).expect("the kernel's list");
    let agent = children.trim().parse().expect("one agent");
    wait_for("a call", || sleeps(agent));
    running.child.kill().expect("killed");
    running.ends();
    hanging.join().expect("the client");
    wait_for("the agent to end", || reap::start_time(agent).is_none());
    unit.assert_nothing_left();
}

/// Every file of a unit, with its content and whether it is a program.
fn files(folder: &Path) -> BTreeMap<String, (Vec<u8>, bool)> {
    use std::os::unix::fs::PermissionsExt;
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mode = path.metadata().expect("a file").permissions().mode();
            assert!(mode & 0o777 == 0o755 || mode & 0o777 == 0o644, "{}: {mode:o}", path.display());
            let name = path.strip_prefix(folder).expect("inside").display().to_string();
            found.insert(name, (fs::read(&path).expect("a file"), mode & 0o111 != 0));
        }
    }
    found
}

#[test]
fn a_unit_is_the_same_bytes_each_time_and_says_how_to_measure_it() {
    for platform in &PLATFORMS {
        for &guest in platform.guests.iter().filter(|&&guest| has_agent(guest)) {
            let unit = || files(&Unit::of(platform.name, "workloads/echo", guest).folder());
            let (one, other) = (unit(), unit());
            let names: Vec<&String> = one.keys().collect();
            assert!(one == other, "{} {guest}: {names:?}", platform.name);
            for (name, (content, _)) in one.iter().filter(|(_, (content, program))| !program && content.len() < 100_000)
            {
                let text = String::from_utf8_lossy(content);
                for word in ["@WORKLOAD@", "@GUEST", "@FOLDER@", "@ARGS@", "@FRAME_BYTES@", "_S@"] {
                    assert!(name == "f.py" && word == "@GUEST" || !text.contains(word), "{name}: {word}");
                }
            }
            let readme = String::from_utf8_lossy(&one["README.md"].0).into_owned();
            for name in one.keys().filter(|name| *name != "README.md") {
                assert!(readme.contains(&format!("`{name}`")), "{}: {name} is not explained", platform.name);
            }
            let table = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a table");
            let targets = isobench_http::targets::parse(table).unwrap_or_else(|e| panic!("{e} in\n{table}"));
            let target = &targets[platform.name];
            assert_eq!(target.guest, guest);
            assert_eq!(target.workloads, ["echo".to_string()].into());
        }
    }
}

#[test]
fn a_container_is_made_of_files_that_are_there() {
    for platform in ["cloud-run", "openwhisk", "ironfunctions"] {
        for guest in Guest::ALL.into_iter().filter(|&guest| has_agent(guest)) {
            let files = files(&Unit::of(platform, "workloads/echo", guest).folder());
            let text = String::from_utf8_lossy(&files["Dockerfile"].0).into_owned();
            let copied = text.lines().find_map(|line| line.strip_prefix("COPY ")).expect("a line");
            let mut copied: Vec<&str> = copied.split_whitespace().filter(|word| *word != "/function/").collect();
            copied.extend(["Dockerfile", "README.md"]);
            copied.sort_unstable();
            assert_eq!(copied, files.keys().collect::<Vec<_>>(), "{platform} {guest}");
        }
    }
}
