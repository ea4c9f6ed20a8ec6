//! The coordinator's end of the runner protocol: finds runners, asks them, spawns one per block, and outlives all of
//! them.

use crate::allowance;
use crate::backend::{Cleaned, RunContext};
use crate::cgroup::{Around, Own};
use crate::machine;
use crate::protocol::{BlockRequest, CleanRequest, Event, Owned, Visit};
use crate::reap::{self, COOKIE};
use isobench_core::record::{FaultRecord, LINE_LIMIT};
use isobench_core::{Availability, Description, Experiment, Fault, FaultKind, Record};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longest wait for `describe`.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(20);
/// Longest wait for `probe` and `prepare`: a KVM probe boots a guest, a private dockerd starts, a kernel is unpacked.
const PREPARE_DEADLINE: Duration = Duration::from_secs(180);
/// Longest wait for an owner to take its things down, and for `clean`.
const RELEASE_DEADLINE: Duration = Duration::from_secs(60);
/// How often a wait looks whether the run was interrupted.
const INTERRUPT_CHECK: Duration = Duration::from_millis(100);
/// Bytes of a runner's standard error kept for messages.
const STDERR_KEPT: usize = 4096;

/// Set by Ctrl-C: every wait of this module then ends at once.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// A runner program and what it says of itself.
#[derive(Debug, Clone)]
pub struct Runner {
    /// The program.
    pub program: PathBuf,
    /// Its answer to `describe`.
    pub description: Description,
    /// What is set in its environment from here on, beside the usual.
    pub env: BTreeMap<String, String>,
}

/// Finds every `isobench-runner-*` in `programs` and asks what it is. One that does not answer is reported, not fatal.
pub fn discover(programs: &Path) -> Vec<Result<Runner, Fault>> {
    discover_under(programs, &BTreeMap::new())
}

/// The same where `env` is set for them, then and later.
pub fn discover_under(programs: &Path, env: &BTreeMap<String, String>) -> Vec<Result<Runner, Fault>> {
    let Ok(entries) = std::fs::read_dir(programs) else {
        return vec![Err(Fault::backend(format!("{}: no such folder", programs.display())))];
    };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| {
            p.file_name()
                .and_then(|n| n.to_str())
                .is_some_and(|n| n.starts_with("isobench-runner-") && !n.contains('.'))
        })
        .collect();
    paths.sort();
    paths.into_iter().map(|program| Runner::under(program, env.clone())).collect()
}

impl Runner {
    /// Asks the program at a path what it is.
    pub fn at(program: impl Into<PathBuf>) -> Result<Runner, Fault> {
        Runner::under(program, BTreeMap::new())
    }

    /// The same where `env` is set for it, then and later.
    pub fn under(program: impl Into<PathBuf>, env: BTreeMap<String, String>) -> Result<Runner, Fault> {
        let program = program.into();
        let description = ask(&program, &env, "describe", &(), Path::new(""), DESCRIBE_DEADLINE)?;
        Ok(Runner { program, description, env })
    }

    /// How much longer than its limits say a visit to a variant may take.
    pub fn longer(&self, variant: &str, visit: &Visit) -> Duration {
        let starts = match visit {
            Visit::ColdStart { starts, .. } => starts.min,
            // As many as `block_deadline` counts: the first that takes too long ends the visit.
            _ => 3,
        };
        let info = self.description.variants.iter().find(|info| info.name == variant);
        info.map_or(Duration::ZERO, |info| Duration::from_millis(info.longer_ms) * starts)
    }

    /// Asks whether the backend can run here. A runner that dies or hangs makes it unavailable, with that reason.
    pub fn probe(&self, ctx: &RunContext) -> Availability {
        let asked = ask(&self.program, &self.env, "probe", ctx, &ctx.state, PREPARE_DEADLINE);
        let availability: Availability = asked.unwrap_or_else(|fault| {
            Availability::unavailable(
                format!("its probe failed: {fault}"),
                "run `isobench doctor`; rebuild with `make build`",
            )
        });
        if machine::is_emulated() { availability.on_emulated_machine() } else { availability }
    }

    /// Reaps what dead runs left.
    pub fn clean(&self, request: &CleanRequest) -> Result<Cleaned, Fault> {
        ask(&self.program, &self.env, "clean", request, &request.ctx.state, RELEASE_DEADLINE)
    }

    /// Starts the owner of what the backend's cells share.
    pub fn own(&self, ctx: &RunContext) -> Result<Owner, Fault> {
        let (mut process, stdin) = Process::spawn(&self.program, &self.env, "own", &ctx.state, ctx)?;
        let fault = match process.line::<Owned>(Instant::now() + PREPARE_DEADLINE) {
            Ok(Some(Owned::Prepared { record, took_ns, bound })) => {
                let (runner, ctx) = (self.clone(), ctx.clone());
                return Ok(Owner { record, took_ns, bound, stdin: Some(stdin), process: Some(process), runner, ctx });
            }
            Ok(Some(Owned::Failed(fault))) => return Err(fault),
            Ok(None) => process.died("prepare"),
            Err(fault) => fault,
        };
        drop(process);
        self.clean_after_owner(ctx);
        Err(fault)
    }

    /// Has the backend remove what an owner had outside its own processes (cgroups, containers), after that owner was
    /// killed or crashed. What a clean-up cannot remove now is left to `isobench clean`.
    fn clean_after_owner(&self, ctx: &RunContext) {
        let ctx = RunContext { state: ctx.state.with_extension("clean"), ..ctx.clone() };
        let _ = self.clean(&CleanRequest { ctx, dead: Vec::new() });
    }

    /// One block in a fresh runner process. Whatever happens, the answer is records, and no process of it is left.
    pub fn block(&self, request: &BlockRequest, deadline: Duration) -> Vec<Record> {
        let mut records = Vec::new();
        if let Err(fault) = self.try_block(request, deadline, &mut records) {
            // The experiment in progress: a runner that died in the warm series had reported its cold start.
            let experiment = match &request.visit {
                Visit::ColdStart { starts, .. } => {
                    let started = |r: &&Record| matches!(r, Record::Samples(s) if s.metric == "total");
                    if records.iter().filter(started).count() as u32 >= starts.min {
                        Experiment::WarmCall
                    } else {
                        Experiment::ColdStart
                    }
                }
                visit => visit.experiment(),
            };
            records.push(Record::Fault(FaultRecord { cell: request.cell, block: request.block, experiment, fault }));
        }
        records
    }

    fn try_block(&self, request: &BlockRequest, deadline: Duration, records: &mut Vec<Record>) -> Result<(), Fault> {
        let (mut process, _stdin) = Process::spawn(&self.program, &self.env, "block", &request.ctx.state, request)?;
        let until = Instant::now() + deadline;
        loop {
            match process.line::<Event>(until)? {
                Some(Event::Record(record)) => records.push(record),
                Some(Event::Done) => return Ok(()),
                None => return Err(process.died("block")),
            }
        }
    }
}

/// Asks every backend at once: a KVM probe boots a guest while another starts nothing but a version command.
pub fn probe_all(runners: &[Runner], context: impl Fn(&str) -> RunContext + Sync) -> Vec<Availability> {
    std::thread::scope(|scope| {
        let context = &context;
        let threads: Vec<_> =
            runners.iter().map(|r| scope.spawn(move || r.probe(&context(&r.description.backend)))).collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|_| Availability::unavailable("its probe panicked", "report it")))
            .collect()
    })
}

/// One question, one answer.
fn ask<T: DeserializeOwned>(
    program: &Path,
    env: &BTreeMap<String, String>,
    command: &str,
    request: &impl Serialize,
    cookie: &Path,
    allowed: Duration,
) -> Result<T, Fault> {
    let (mut process, _stdin) = Process::spawn(program, env, command, cookie, request)?;
    process.line(Instant::now() + allowed)?.ok_or_else(|| process.died(command))
}

/// The process that holds what a backend's cells share, until it is released.
#[derive(Debug)]
pub struct Owner {
    /// What blocks are told.
    pub record: serde_json::Value,
    /// How long `prepare` took.
    pub took_ns: u64,
    /// Whether isobench's CPU quota and processors bind the instances as well.
    pub bound: bool,
    stdin: Option<ChildStdin>,
    /// `None` once it has been dropped.
    process: Option<Process>,
    runner: Runner,
    ctx: RunContext,
}

impl Owner {
    /// Ends it: closes its standard input and waits until everything is down.
    pub fn release(self) {
        drop(self);
    }

    /// Whether the process ends by itself within the deadline and says that it took everything down.
    fn ends_well(&mut self) -> bool {
        drop(self.stdin.take());
        let until = Instant::now() + RELEASE_DEADLINE;
        while Instant::now() < until {
            match self.process.as_mut().map(|process| process.child.try_wait()) {
                Some(Ok(None)) => std::thread::sleep(Duration::from_millis(10)),
                Some(Ok(Some(status))) => return status.success(),
                _ => return false,
            }
        }
        false
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let well = self.ends_well();
        drop(self.process.take());
        if !well {
            self.runner.clean_after_owner(&self.ctx);
        }
    }
}

/// A runner process. Dropping it kills its group and everything that carries its cookie.
#[derive(Debug)]
struct Process {
    name: String,
    cookie: PathBuf,
    child: Child,
    lines: Receiver<std::io::Result<Vec<u8>>>,
    stderr: Arc<Mutex<VecDeque<u8>>>,
    around: Option<Around>,
    /// Kills at the memory limit of isobench's own cgroups, when it was spawned.
    oom_kills: u64,
}

impl Process {
    fn spawn(
        program: &Path,
        env: &BTreeMap<String, String>,
        command: &str,
        cookie: &Path,
        request: &impl Serialize,
    ) -> Result<(Process, ChildStdin), Fault> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let failed =
            |e: &dyn std::fmt::Display| Fault::new(FaultKind::RunnerDied, format!("{}: {e}", program.display()));
        let oom_kills = Own::find().oom_kills();
        let mut child = Command::new(program)
            .arg(command)
            .envs(env)
            .env(COOKIE, cookie)
            .envs(allowance::found_open_files().map(|found| (allowance::OPEN_FILES, found.to_string())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: Ctrl-C in the terminal reaches the coordinator, which ends runners in order.
            .process_group(0)
            .spawn()
            .map_err(|e| failed(&e))?;
        let mut stdin = child.stdin.take().expect("piped");
        let lines = read_lines(child.stdout.take().expect("piped"));
        let stderr = keep_tail(child.stderr.take().expect("piped"));
        // Before it is told what to do: it has no children yet.
        let around = Around::process(child.id());
        let process = Process { name, cookie: cookie.into(), child, lines, stderr, around, oom_kills };
        let mut line = serde_json::to_vec(request).expect("requests have only string keys");
        line.push(b'\n');
        // A runner that died at once shows in its silence, with a better reason than a broken pipe.
        let _ = stdin.write_all(&line);
        Ok((process, stdin))
    }

    /// The next line; `None` at the end of the stream.
    fn line<T: DeserializeOwned>(&mut self, until: Instant) -> Result<Option<T>, Fault> {
        loop {
            if INTERRUPTED.load(Ordering::Relaxed) {
                return Err(Fault::new(FaultKind::RunnerDied, "interrupted"));
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left.min(INTERRUPT_CHECK)) {
                Ok(Ok(line)) => {
                    return serde_json::from_slice(&line).map(Some).map_err(|e| {
                        let text: String = String::from_utf8_lossy(&line).chars().take(200).collect();
                        Fault::new(
                            FaultKind::BadFrame,
                            format!("{}: not a line of the runner protocol ({e}): `{text}`", self.name),
                        )
                    });
                }
                Ok(Err(e)) => return Err(Fault::new(FaultKind::RunnerDied, format!("{}: {e}", self.name))),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                    return Err(Fault::new(
                        FaultKind::DeadlineExceeded,
                        format!("{}: not done in time; it was killed", self.name),
                    ));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Why the stream ended before its time.
    fn died(&mut self, command: &str) -> Fault {
        let status = self.wait_briefly();
        // The readers drain what the dead process left; the tail is complete once its pipe is closed.
        std::thread::sleep(Duration::from_millis(20));
        let tail = self.stderr.lock().map(|t| t.iter().copied().collect::<Vec<u8>>()).unwrap_or_default();
        let tail = String::from_utf8_lossy(&tail);
        let tail = tail.trim();
        let how = match status {
            Some(status) => {
                status.signal().map_or_else(|| format!("ended with {status}"), |s| format!("was killed by signal {s}"))
            }
            None => "closed its standard output".into(),
        };
        let message = format!("{} {command} {how}{}{tail}", self.name, if tail.is_empty() { "" } else { ": " });
        let killed = status.is_some_and(|s| s.signal() == Some(libc::SIGKILL));
        if killed && Own::find().oom_kills() > self.oom_kills {
            let remedy = "raise the memory limit of isobench's cgroup, or ask for fewer instances";
            return Fault::new(
                FaultKind::HarnessLimit,
                format!("{message}: the kernel killed it for memory: {remedy}"),
            );
        }
        Fault::new(death(status, tail), message)
    }

    fn wait_briefly(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + Duration::from_secs(2);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
                _ => return None,
            }
        }
    }
}

/// V8 aborts the process where its heap cannot grow, the allocator where memory is refused, and the kernel's OOM killer
/// sends SIGKILL: each is the guest's memory, told by what was printed.
fn death(status: Option<ExitStatus>, stderr: &str) -> FaultKind {
    let aborted =
        status.and_then(|s| s.signal()).is_some_and(|s| [libc::SIGABRT, libc::SIGTRAP, libc::SIGILL].contains(&s));
    let memory =
        ["out of memory", "OOM", "memory allocation of", "Allocation failed"].iter().any(|w| stderr.contains(w));
    if aborted && memory { FaultKind::OutOfMemory } else { FaultKind::RunnerDied }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            reap::kill_group(&mut self.child);
        }
        // Kills what has neither a cookie nor a parent of ours any more.
        drop(self.around.take());
        if !self.cookie.as_os_str().is_empty() {
            reap::kill_cookie(&self.cookie);
            // This process gave the folder to its child, inside its own run's state folder.
            let _ = std::fs::remove_dir_all(&self.cookie);
        }
    }
}

/// Reads lines on a thread of its own, so that waits can have deadlines. The thread ends with the stream.
fn read_lines(stdout: ChildStdout) -> Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        loop {
            let mut line = Vec::new();
            let read = (&mut reader).take(LINE_LIMIT).read_until(b'\n', &mut line);
            match read {
                Ok(0) => return,
                Ok(_) if sender.send(Ok(line)).is_err() => return,
                Ok(_) => {}
                Err(e) => {
                    let _ = sender.send(Err(e));
                    return;
                }
            }
        }
    });
    receiver
}

fn keep_tail(mut stderr: impl Read + Send + 'static) -> Arc<Mutex<VecDeque<u8>>> {
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    let kept = Arc::clone(&tail);
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(n @ 1..) = stderr.read(&mut buffer) {
            let Ok(mut kept) = kept.lock() else { return };
            kept.extend(&buffer[..n]);
            let excess = kept.len().saturating_sub(STDERR_KEPT);
            kept.drain(..excess);
        }
    });
    tail
}
