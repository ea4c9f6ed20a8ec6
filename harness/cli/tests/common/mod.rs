//! A checkout of its own for each test: workloads of the scripted null backend, and `isobench` run as a person does.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod debris;

use isobench_core::store::RunDir;
use isobench_core::{Record, RunFile, sha256_hex};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest wait in these tests: only what hangs takes it, even on a busy machine that emulates its guests' processor.
const DEADLINE: Duration = Duration::from_secs(300);

/// A Wasm guest that answers with its request.
pub const ECHO_WAT: &str = r#"(module
  (memory (export "memory") 2)
  (func (export "alloc") (param i32) (result i32) i32.const 64)
  (func (export "handle") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))))"#;

pub struct Checkout {
    pub dir: tempfile::TempDir,
    /// Its own, or that of the real checkout.
    programs: PathBuf,
    cache: Option<PathBuf>,
}

impl Checkout {
    /// An empty checkout whose only backend is the null one.
    pub fn new() -> Checkout {
        let dir = folder(&["workloads", "programs", "cache", "state", "tmp"]);
        let name = "isobench-runner-null";
        let programs = dir.path().join("programs");
        std::os::unix::fs::symlink(program(name), programs.join(name)).unwrap();
        Checkout { programs, cache: Some(dir.path().join("cache")), dir }
    }

    /// A checkout with the harness, the programs and the cache of this one, and no workload yet.
    pub fn real() -> Checkout {
        for backend in ["process", "v8", "quickjs", "wasmtime", "docker", "qemu"] {
            program(&format!("isobench-runner-{backend}"));
        }
        let dir = folder(&["workloads", "state", "tmp"]);
        for shared in ["harness", "benches", ".cargo", "Cargo.toml", "Cargo.lock", "workloads/build-wasm.sh"] {
            std::os::unix::fs::symlink(repository().join(shared), dir.path().join(shared)).unwrap();
        }
        Checkout { dir, programs: program("isobench").parent().unwrap().into(), cache: None }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// A workload whose one guest is a script for the null backend, and whose answer is its request.
    pub fn script(&self, name: &str, script: &str) {
        self.workload(name, "[limits]\ncall_deadline_ms = 300\nstart_deadline_ms = 300\n", script);
    }

    pub fn workload(&self, name: &str, more: &str, script: &str) {
        self.fixture(name, more, &[("guest.js", script)]);
    }

    /// A workload from the text of its files, whose answer is its request; `more` ends its workload.toml.
    pub fn fixture(&self, name: &str, more: &str, files: &[(&str, &str)]) {
        let dir = self.path("workloads").join(name);
        let expected = sha256_hex(name.as_bytes());
        let toml = format!(
            "name = \"{name}\"\nsummary = \"a test\"\n[[case]]\nname = \"small\"\ninput = \"in\"\nexpected_sha256 = \"{expected}\"\n{more}"
        );
        for (file, content) in files.iter().chain(&[("in", name), ("workload.toml", &toml)]) {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    /// A workload with a native guest of that source. It has a Wasm guest too, or one would be built from the source.
    pub fn native(&self, name: &str, more: &str, source: &str) {
        let files = [("rust/Cargo.toml", manifest(name)), ("rust/src/main.rs", source.into())];
        let files = files.each_ref().map(|(file, text)| (*file, text.as_str()));
        self.fixture(name, more, &[&files[..], &[("guest.wat", ECHO_WAT)]].concat());
    }

    /// A workload of the repository.
    pub fn copy_workload(&self, name: &str) {
        let from = repository().join("workloads").join(name);
        let copied = Command::new("cp").arg("-r").arg(from).arg(self.path("workloads")).status().unwrap();
        assert!(copied.success());
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isobench"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("ISOBENCH_ROOT", self.dir.path())
            .env("ISOBENCH_STATE", self.path("state"))
            .env("ISOBENCH_PROGRAMS", &self.programs)
            // Whatever is made in the usual place for temporary files is seen if it is left.
            .env("TMPDIR", self.path("tmp"))
            // The one of the programs, so that the standard library of Wasm guests is built once.
            .env("CARGO_TARGET_DIR", program("isobench").ancestors().nth(3).unwrap())
            .stdin(Stdio::null());
        if let Some(cache) = &self.cache {
            command.env("ISOBENCH_CACHE", cache);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().unwrap();
        Ran::new(output)
    }

    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The folder of the one run there is.
    pub fn the_run(&self) -> RunDir {
        let runs: Vec<PathBuf> = fs::read_dir(self.path("results")).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(runs.len(), 1, "{runs:?}");
        RunDir::new(&runs[0])
    }

    pub fn read_run(&self) -> (RunFile, Vec<Record>) {
        let dir = self.the_run();
        let mut records = Vec::new();
        dir.for_each_record(|r| records.push(r)).unwrap();
        (dir.read_run().unwrap(), records)
    }

    /// The page of the one run there is.
    pub fn page(&self) -> String {
        let run = self.the_run();
        let id = run.path().file_name().unwrap().to_owned();
        fs::read_to_string(self.path("reports").join(id).join("index.html")).unwrap()
    }

    /// Nothing of any run is left: no process, no state folder, no temporary file.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let processes = isobench_runner::reap::with_cookie(&self.path("state"));
        assert_eq!(processes, [] as [u32; 0], "processes left");
        for folder in ["state", "tmp"] {
            // The file that marks a state root stays.
            let files = fs::read_dir(self.path(folder)).unwrap().map(|e| e.unwrap().path());
            let files: Vec<_> = files.filter(|file| !file.ends_with(".isobench-state")).collect();
            assert_eq!(files, [] as [PathBuf; 0], "{folder} left");
        }
    }
}

/// The real checkout.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().into()
}

/// The manifest of a fixture's Rust guest. With echo's profile, so that the standard library of Wasm guests is built once.
pub fn manifest(name: &str) -> String {
    let echo = fs::read_to_string(repository().join("workloads/echo/rust/Cargo.toml")).unwrap();
    echo.replace("\"echo\"", &format!("\"{name}\""))
}

/// One of our programs.
fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_isobench")).with_file_name(name);
    assert!(path.is_file(), "{} is missing: run the tests with --workspace, or `make build` first", path.display());
    path
}

/// A temporary folder with these in it; in /tmp whatever TMPDIR says, because a socket's path may have 107 bytes only.
fn folder(inner: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("isobench-cli-").tempdir_in("/tmp").unwrap();
    for folder in inner {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    dir
}

#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn new(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn expect(&self, code: i32) -> &Ran {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn says(&self, text: &str) -> &Ran {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "no `{text}` in:\n{}\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

/// Waits until `happened`, or fails.
#[track_caller]
pub fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !happened() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The end of a child within the deadline.
pub fn end_of(mut child: Child) -> Ran {
    wait_for("isobench to end", || child.try_wait().unwrap().is_some());
    Ran::new(child.wait_with_output().unwrap())
}
