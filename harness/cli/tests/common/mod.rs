//! A checkout of its own for each test: workloads of the scripted null backend, and `isobench` run as a person does.
#![allow(dead_code, reason = "each test program uses a part of it")]

use isobench_core::store::RunDir;
use isobench_core::{Record, RunFile, sha256_hex};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for `isobench` in these tests.
const DEADLINE: Duration = Duration::from_secs(120);

pub struct Checkout {
    pub dir: tempfile::TempDir,
}

impl Checkout {
    /// An empty checkout whose only backend is the null one.
    pub fn new() -> Checkout {
        let dir = tempfile::Builder::new().prefix("isobench-cli-").tempdir_in("/tmp").unwrap();
        for folder in ["workloads", "programs", "cache", "state"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let built = Path::new(env!("CARGO_BIN_EXE_isobench")).with_file_name("isobench-runner-null");
        assert!(
            built.is_file(),
            "{} is missing: run the tests with --workspace, or `make build` first",
            built.display()
        );
        std::os::unix::fs::symlink(built, dir.path().join("programs/isobench-runner-null")).unwrap();
        Checkout { dir }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// A workload whose one guest is a script for the null backend, and whose answer is its request.
    pub fn script(&self, name: &str, script: &str) {
        self.workload(name, &format!("[limits]\ncall_deadline_ms = 300\nstart_deadline_ms = 300\n"), script);
    }

    pub fn workload(&self, name: &str, more: &str, script: &str) {
        let dir = self.path("workloads").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("in"), name).unwrap();
        fs::write(dir.join("guest.js"), script).unwrap();
        let expected = sha256_hex(name.as_bytes());
        let toml = format!(
            "name = \"{name}\"\nsummary = \"a test\"\n[[case]]\nname = \"small\"\ninput = \"in\"\nexpected_sha256 = \"{expected}\"\n{more}"
        );
        fs::write(dir.join("workload.toml"), toml).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isobench"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("ISOBENCH_ROOT", self.dir.path())
            .env("ISOBENCH_CACHE", self.path("cache"))
            .env("ISOBENCH_STATE", self.path("state"))
            .env("ISOBENCH_PROGRAMS", self.path("programs"))
            .stdin(Stdio::null());
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

    /// Nothing of any run is left: no process, no state folder.
    pub fn assert_nothing_left(&self) {
        let processes = isobench_runner::reap::with_cookie(&self.path("state"));
        assert_eq!(processes, [] as [u32; 0], "processes left");
        let files: Vec<_> = fs::read_dir(self.path("state")).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(files, [] as [PathBuf; 0], "state left");
    }
}

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
