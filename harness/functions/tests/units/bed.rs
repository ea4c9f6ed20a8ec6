//! Units as `isobench export` makes them, and their processes.

use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{HeaderMap, Method};
use isobench_core::{Fault, Guest, Limits, Workload, sha256_hex, workload};
use isobench_functions::export::{self, Platform};
use isobench_runner::http::{Answer, Http, within};
use isobench_runner::place::Places;
use isobench_runner::{Deadline, RunContext, Target, agents, guests, reap, testing};
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;

/// Longest wait for what happens at once.
pub const SOON: Duration = Duration::from_secs(60);

/// Answers are at most so long.
const LIMIT: u64 = 64 << 20;

/// Who forks while a program is being written has it open for writing until it calls `exec`, and whoever starts that
/// program meanwhile is told `ETXTBSY`: units are made and processes are started one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An exported unit in a folder of its own.
pub struct Unit {
    dir: tempfile::TempDir,
    pub workload: Workload,
}

/// The checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the checkout")
}

/// Our programs.
fn programs() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_isobench-function")).parent().expect("a folder").into()
}

/// Whether the agent for these guests has been built; says so where not.
pub fn has_agent(guest: Guest) -> bool {
    let Some(engine) = guest.usual_engine() else { return true };
    let there = agents::agent_program(&context(Path::new("")), engine);
    if let Err(fault) = &there {
        testing::skip(fault);
    }
    there.is_ok()
}

fn context(state: &Path) -> RunContext {
    RunContext { run: "test".into(), state: state.into(), cache: programs().join("test-cache"), programs: programs() }
}

impl Unit {
    /// The unit of a workload of the checkout.
    pub fn of(platform: &str, workload: &str, guest: Guest) -> Unit {
        Unit::with(platform, workload, guest, |_| {})
    }

    /// The same with other limits.
    pub fn with(platform: &str, folder: &str, guest: Guest, limit: impl FnOnce(&mut Limits)) -> Unit {
        let _alone = alone();
        let unit = Unit::new(folder, guest);
        let context = context(unit.dir.path());
        let places = Places {
            root: root(),
            cache: context.cache.clone(),
            state: context.state.clone(),
            programs: context.programs.clone(),
        };
        let built = guests::build(&places, unit.workload.clone(), &|_| true, &|line| eprintln!("{line}"));
        let artifact = built.artifacts[&guest].as_ref().expect("the guest builds");
        unit.export(platform, guest, &artifact.path, limit)
    }

    /// A unit of a guest that misbehaves.
    pub fn bad(platform: &str, guest: Guest, source: &[u8], limit: impl FnOnce(&mut Limits)) -> Unit {
        let _alone = alone();
        let unit = Unit::new("workloads/echo", guest);
        let artifact = unit.dir.path().join("artifact");
        fs::write(&artifact, source).expect("a guest");
        unit.export(platform, guest, &artifact, limit)
    }

    fn new(folder: &str, guest: Guest) -> Unit {
        // In /tmp whatever TMPDIR says, because a socket's path may have 107 bytes only.
        let dir = tempfile::Builder::new().prefix("isobench-unit-").tempdir_in("/tmp").expect("a folder");
        fs::create_dir(dir.path().join("tmp")).expect("a folder");
        let mut workload = workload::load(&root().join(folder)).expect("a workload");
        workload.sources.retain(|&source, _| source == guest);
        Unit { dir, workload }
    }

    fn export(self, platform: &str, guest: Guest, artifact: &Path, limit: impl FnOnce(&mut Limits)) -> Unit {
        let mut limits = self.workload.limits.clone();
        limit(&mut limits);
        let target = Target {
            workload: self.workload.name.clone(),
            variant: platform.into(),
            guest,
            engine: guest.usual_engine().map(Into::into),
            artifact: artifact.into(),
            artifact_sha256: sha256_hex(&fs::read(artifact).expect("the artifact")),
            limits,
            emulated: false,
        };
        let platform = Platform::named(platform).expect("a platform");
        export::export(platform, &context(self.dir.path()), &target, &self.folder()).expect("a unit");
        self
    }

    /// Where its files lie.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("unit")
    }

    /// Starts a program of it, or one that runs it, with nothing of this test's environment but PATH.
    pub fn start(&self, program: impl AsRef<Path>, args: &[&str], env: &[(&str, &str)]) -> Running {
        let log = self.dir.path().join("log");
        let mut command = Command::new(self.folder().join(program));
        command
            .args(args)
            .current_dir(self.folder())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TMPDIR", self.dir.path().join("tmp"))
            .env(reap::COOKIE, self.dir.path())
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).expect("a log"));
        let _alone = alone();
        Running { child: command.spawn().expect("it starts"), log }
    }

    /// Starts it where it is called over HTTP, with the port in variable `named`, and waits until it answers.
    pub fn listen(&self, named: &str) -> (Running, u16) {
        let port = free_port();
        let running = self.start("isobench-function", &[], &[(named, &port.to_string())]);
        wait_for_port(port);
        (running, port)
    }

    /// Every case is answered by `call` as it is to be.
    pub fn verify(&self, mut call: impl FnMut(&[u8]) -> Vec<u8>) {
        for case in &self.workload.cases {
            let answer = call(&fs::read(&case.input).expect("the input"));
            let starts = String::from_utf8_lossy(&answer[..answer.len().min(100)]).into_owned();
            assert_eq!(sha256_hex(&answer), case.expected_sha256, "{}: {starts}", case.name);
        }
    }

    /// The processes that it has started and are left.
    pub fn processes(&self) -> Vec<u32> {
        reap::with_cookie(self.dir.path())
    }

    /// Nothing is left, once what has been killed is gone: no process, no file.
    pub fn assert_nothing_left(&self) {
        wait_for("its processes to end", || self.processes().is_empty());
        let files: Vec<_> = fs::read_dir(self.dir.path().join("tmp")).expect("the folder").collect();
        assert!(files.is_empty(), "{files:?}");
    }
}

/// A process of a test; dropping it kills it.
pub struct Running {
    pub child: Child,
    log: PathBuf,
}

impl Running {
    /// Its end within the deadline, by itself.
    pub fn ends(&mut self) -> ExitStatus {
        wait_for("the program to end", || self.child.try_wait().expect("a child").is_some());
        self.child.wait().expect("a child")
    }

    /// What it has said on standard error.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("its log")
    }

    /// What is left of its standard output, once it has ended.
    pub fn output(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        self.child.stdout.take().expect("piped").read_to_end(&mut output).expect("its output");
        output
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that is kept.
pub fn connect(port: u16) -> Http {
    let headers = HeaderMap::from_iter([
        (HOST, HeaderValue::from_static("function")),
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
    ]);
    within(Deadline::after(SOON), "a connection", async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| Fault::backend(e.to_string()))?;
        Http::over(stream, headers, LIMIT).await
    })
    .expect("a connection")
}

/// One request on it.
pub fn post(http: &mut Http, path: &str, body: &[u8]) -> Answer {
    http.ask(Method::POST, path, body, Deadline::after(SOON)).expect("an answer")
}

/// Calls at `path`, each answered with status 200.
pub fn calling<'a>(port: u16, path: &'a str) -> impl FnMut(&[u8]) -> Vec<u8> + 'a {
    let mut http = connect(port);
    move |body| {
        // A server may close it after each answer.
        if !http.lives() {
            http = connect(port);
        }
        let answer = post(&mut http, path, body);
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.body.into()
    }
}

/// A port at which nobody listens. Below those that the system gives away, or another test's connection might have it by
/// the time that a unit wants it.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another run of these tests begins elsewhere.
    let first = 10_000 + (std::process::id() % 100) as u16 * 200;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// Whether a process sleeps on purpose, as the guest that misbehaves does for ever when told to hang. A kernel that does
/// not tell says 0.
pub fn sleeps(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|place| place.contains("nanosleep") || place == "0")
}

pub fn wait_for_port(port: u16) {
    wait_for("somebody to listen", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
}

/// Waits until `happened`, or fails.
#[track_caller]
pub fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let until = Deadline::after(SOON);
    while !happened() {
        assert!(!until.passed(), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
