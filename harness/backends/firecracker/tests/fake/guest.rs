//! The machine: what the real one would keep, and a process in the place of its guest.

use crate::fault::{Plan, hang};
use crate::userfault;
use isobench_guest::frame::{Kind, read_frame, write_frame};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// What the fake writes into a saved machine's memory, and where: what is brought from there later is looked at.
pub const CONTENT: (&[u8], u64) = (b"what was saved", 5 << 20);

/// A page that is there and is not touched before the guest runs.
const FIRST: &str = "this is a memory";

/// How far the machine has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    NotStarted,
    Running,
    Paused,
}

pub struct Machine {
    plan: Plan,
    state: State,
    /// Something has been configured: it cannot be restored any more.
    configured: bool,
    memory_mib: u64,
    initrd: Option<String>,
    vsock: Option<(String, UnixListener)>,
    /// The process in the guest's place.
    guest: Option<u32>,
    userfault: Option<userfault::Touched>,
}

impl Machine {
    pub fn new(plan: Plan) -> Machine {
        Machine {
            plan,
            state: State::NotStarted,
            configured: false,
            memory_mib: 128,
            initrd: None,
            vsock: None,
            guest: None,
            userfault: None,
        }
    }

    pub fn state(&self) -> &'static str {
        match self.state {
            State::NotStarted => "Not started",
            State::Running => "Running",
            State::Paused => "Paused",
        }
    }

    pub fn started(&self) -> bool {
        self.state != State::NotStarted
    }

    pub fn configure(&mut self, memory_mib: u64) -> Result<(), String> {
        self.configured = true;
        self.memory_mib = memory_mib;
        Ok(())
    }

    pub fn boot_source(&mut self, kernel: &str, initrd: &str, args: &str) -> Result<(), String> {
        self.configured = true;
        let found = |what: &str, path: &str| {
            File::open(path).map_err(|e| format!("Boot source error: The {what} file cannot be opened: {e}"))
        };
        found("kernel", kernel)?;
        found("initrd", initrd)?;
        if !args.is_ascii() {
            return Err("Boot source error: The kernel command line is invalid: not ASCII".into());
        }
        self.initrd = Some(initrd.into());
        Ok(())
    }

    pub fn vsock(&mut self, path: &str) -> Result<(), String> {
        self.configured = true;
        let listener = UnixListener::bind(path).map_err(|e| {
            let what = "Cannot create backend for vsock device: Error binding to the host-side Unix socket";
            format!("Vsock config error: {what}: {e}")
        })?;
        self.vsock = Some((path.into(), listener));
        Ok(())
    }

    pub fn start(&mut self) -> Result<(), String> {
        let initrd = self.initrd.clone();
        let initrd = initrd.ok_or("Start microvm error: Cannot start microvm without kernel configuration.")?;
        self.run(&initrd, false)
    }

    pub fn pause(&mut self, stop: bool) -> Result<(), String> {
        let signal = if stop { libc::SIGSTOP } else { libc::SIGCONT };
        // Versions 1.16.0 and 1.16.1 give no guest what comes for it after it stood still.
        let deaf = !stop && self.plan.of_guest() == Some("deaf");
        if let (Some(guest), false) = (self.guest, deaf) {
            // SAFETY: a signal to a child of ours.
            unsafe { libc::kill(guest as i32, signal) };
        }
        self.state = if stop { State::Paused } else { State::Running };
        Ok(())
    }

    pub fn save(&mut self, state: &str, memory: &str) -> Result<(), String> {
        if self.state != State::Paused {
            return Err(
                "Create snapshot error: Cannot save the microVM state: Operation not allowed: not paused".into()
            );
        }
        let vsock = self.vsock.as_ref().map(|(path, _)| path);
        let text = json!({ "memory_mib": self.memory_mib, "initrd": self.initrd, "vsock": vsock }).to_string();
        let write = || -> io::Result<()> {
            fs::write(state, text)?;
            let memory = File::create(memory)?;
            memory.set_len(self.memory_mib << 20)?;
            memory.write_all_at(FIRST.as_bytes(), 0)?;
            memory.write_all_at(CONTENT.0, CONTENT.1)
        };
        write().map_err(|e| format!("Create snapshot error: Cannot write memory file: {e}"))
    }

    pub fn load(&mut self, state: &str, backend: &Value, resume: bool) -> Result<(), String> {
        const WHAT: &str = "Load snapshot error: Failed to restore from snapshot";
        if self.configured {
            return Err("Load snapshot error: Loading a microVM snapshot not allowed after configuring boot-specific \
                        resources."
                .into());
        }
        let text = fs::read(state).map_err(|e| format!("{WHAT}: Failed to get snapshot state from file: {e}"))?;
        let saved: Value = serde_json::from_slice(&text).map_err(|_| {
            format!("{WHAT}: Failed to get snapshot state from file: Failed to load snapshot state: bad CRC")
        })?;
        self.memory_mib = saved["memory_mib"].as_u64().expect("what was saved");
        let memory = Path::new(backend["backend_path"].as_str().expect("checked"));
        let bytes = self.memory_mib << 20;
        if backend["backend_type"] == "Uffd" {
            let touched = userfault::hand_over(memory, bytes).map_err(|e| format!("{WHAT}: Failed to UFFD: {e}"))?;
            self.userfault = Some(touched);
        } else {
            let file = File::open(memory).map_err(|e| format!("{WHAT}: Failed to load guest memory: {e}"))?;
            let mut there = [0; CONTENT.0.len()];
            file.read_exact_at(&mut there, CONTENT.1).expect("the saved memory");
            assert_eq!(&there, CONTENT.0, "the memory is what was saved");
        }
        self.vsock(saved["vsock"].as_str().expect("a machine with a vsock"))?;
        if !resume {
            return Err("this fake only resumes at once".into());
        }
        self.initrd = saved["initrd"].as_str().map(String::from);
        let initrd = self.initrd.clone().expect("a machine with a root");
        self.run(&initrd, true)
    }

    /// Runs the root's `/init` where a guest would run. One that is restored has loaded its guest long ago: it dials,
    /// says `up`, and not `hello` before it is told to wake.
    fn run(&mut self, initrd: &str, restored: bool) -> Result<(), String> {
        let failed = |e: io::Error| format!("Start microvm error: {e}");
        let vsock = self.vsock.as_ref().map(|(path, _)| path.clone());
        let args = extract(&fs::read(initrd).map_err(failed)?).map_err(failed)?;
        let port = args.iter().find_map(|arg| arg.strip_prefix("vsock:")).expect("an agent that dials a vsock");
        let host = format!("{}_{port}", vsock.expect("a machine with a vsock"));
        self.state = State::Running;
        if let Some(what) = self.plan.of_guest().filter(|what| *what != "deaf") {
            let what = what.to_string();
            std::thread::spawn(move || misbehave(&what, &host));
            return Ok(());
        }
        let inner = "inner";
        let dials = if restored { inner } else { host.as_str() };
        let listener = UnixListener::bind(inner).map_err(failed)?;
        let words = File::create("words").map_err(failed)?;
        let mut command = Command::new("./init");
        for arg in &args {
            match arg.as_str() {
                "/guest" => command.arg("./guest"),
                arg if arg.starts_with("vsock:") => command.arg(format!("unix:{dials}")),
                arg => command.arg(arg),
            };
        }
        command.stderr(words);
        // SAFETY: only a system call that is allowed after fork.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            })
        };
        let mut guest = command.spawn().map_err(failed)?;
        self.guest = Some(guest.id());
        let relay = restored.then(|| std::thread::spawn(move || relay(&listener, &host)));
        std::thread::spawn(move || {
            let status = guest.wait().expect("a child of ours");
            // Its last words are on their way.
            if let Some(relay) = relay {
                let _ = relay.join();
            }
            let words = fs::read_to_string("words").unwrap_or_default();
            match status.code() {
                Some(0) => {}
                // What an agent that is an init says, before it ends its machine.
                Some(1) => println!("isobench agent: {}", words.trim()),
                _ => println!("{words}[    1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0300"),
            }
            std::process::exit(0);
        });
        Ok(())
    }
}

/// Puts the files of the archive into this folder. Answers with the agent's arguments.
fn extract(archive: &[u8]) -> io::Result<Vec<String>> {
    let mut rest = archive;
    let mut args = Vec::new();
    loop {
        assert!(rest.starts_with(b"070701"), "an archive of the form newc");
        let field = |n: usize| {
            let text = std::str::from_utf8(&rest[6 + 8 * n..][..8]).expect("a header of digits");
            usize::from_str_radix(text, 16).expect("a header of digits")
        };
        let (mode, size, name_size) = (field(1), field(6), field(11));
        let name = String::from_utf8_lossy(&rest[110..][..name_size - 1]).into_owned();
        let begin = (110 + name_size).next_multiple_of(4);
        let content = &rest[begin..][..size];
        match name.as_str() {
            "TRAILER!!!" => return Ok(args),
            "isobench.args" => args = String::from_utf8_lossy(content).lines().map(String::from).collect(),
            "init" | "guest" => {
                fs::write(&name, content)?;
                fs::set_permissions(&name, fs::Permissions::from_mode(mode as u32 & 0o777))?;
            }
            _ => {}
        }
        rest = &rest[(begin + size).next_multiple_of(4)..];
    }
}

/// Carries bytes between an agent that has just begun and a host that knows it from before: the first `hello` is not
/// told.
fn relay(agents: &UnixListener, host: &str) {
    let (mut agent, _) = agents.accept().expect("the agent");
    let mut host = UnixStream::connect(host).expect("the host listens");
    let mut payload = Vec::new();
    for expected in [Kind::Up, Kind::Hello] {
        let kind = read_frame(&mut agent, 1 << 20, &mut payload).expect("a frame");
        if kind != expected {
            let _ = write_frame(&mut host, kind, &payload);
            break;
        }
        if kind == Kind::Up {
            write_frame(&mut host, kind, &payload).expect("the host reads");
        }
    }
    let (mut from, mut to) = (host.try_clone().expect("a socket"), agent.try_clone().expect("a socket"));
    std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut agent, &mut host);
    let _ = host.shutdown(Shutdown::Write);
}

/// A guest that is no agent.
fn misbehave(what: &str, host: &str) {
    let connect = || UnixStream::connect(host).expect("the host listens");
    match what {
        "silent" => hang(),
        "mute" => {
            let _kept = connect();
            hang();
        }
        "garbage" => {
            let _ = connect().write_all(&[0xff; 64]);
            hang();
        }
        "leave" => {
            drop(connect());
            hang();
        }
        "panic" => {
            println!("[    1.0] Kernel panic - not syncing: as told");
            std::process::exit(0);
        }
        what => panic!("guest: {what}?"),
    }
}
