//! What the harness itself costs, and how far it is from the best that can be had by hand: its cold starts beside a
//! hand-written loop, both in one process and in turn or each in a process of its own. Programs named
//! `isobench-by-hand-<backend>` serve this; `cargo bench --bench overhead` and `--bench best` ask them.

use crate::backend::{Attribution, Backend};
use crate::experiments::ColdStarts;
use crate::helper::Helper;
use crate::memory;
use crate::protocol::BlockRequest;
use crate::reap;
use crate::stopwatch::nanos;
use anyhow::{Context, ensure};
use isobench_guest::frame::{Kind, read_frame, write_frame};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The hand that every by-hand program has: the same settings as the harness's.
pub const PLAIN: &str = "plain";

/// Longest wait for one by-hand program.
const DEADLINE: Duration = Duration::from_secs(180);

/// The hand-written side: what an engineer would write who only wanted this one number.
pub trait ByHand {
    /// One cold start: from nothing to the first answer, timed with two clock readings, then taken down outside them.
    fn cold_start(&mut self) -> Duration;

    /// Makes `n` more instances that have each answered once, and keeps them alive.
    fn hold(&mut self, n: u32) {
        let _ = n;
    }

    /// Takes down what `hold` made.
    fn release(&mut self) {}
}

/// Makes the hand-written side for a block, with all that it prepares before its clock starts.
pub type Make<'a> = &'a dyn Fn(&BlockRequest) -> Box<dyn ByHand>;

/// An agent's conversation as a hand has it, to its first answer: no deadline, no fault has a name.
///
/// # Panics
/// The agent says anything else than that it is up, hello, and an answer.
pub fn first_answer(agent: &mut (impl Read + Write), frame_limit: usize, input: &[u8]) {
    let mut buffer = Vec::new();
    for expected in [Kind::Up, Kind::Hello] {
        assert_eq!(read_frame(agent, frame_limit, &mut buffer).expect("the agent's frame"), expected);
    }
    write_frame(agent, Kind::Call, input).expect("the call");
    assert_eq!(read_frame(agent, frame_limit, &mut buffer).expect("the answer"), Kind::Answer);
}

/// A command as a person types it into a shell: its program and its arguments, not its environment.
pub fn shell_line(command: &Command) -> String {
    let quoted = |word: &OsStr| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"));
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

/// The clock of a hand whose agent dials a socket, from before the socket is there to the first answer.
pub struct Dialled {
    socket: PathBuf,
    frame_limit: usize,
    input: Vec<u8>,
}

impl Dialled {
    /// For the guest and the request of `block`.
    ///
    /// # Panics
    /// The case's input cannot be read.
    pub fn new(block: &BlockRequest) -> Dialled {
        Dialled {
            socket: block.ctx.state.join("hand.sock"),
            frame_limit: block.target.limits.frame_bytes as usize,
            input: fs::read(&block.input).expect("the case's input"),
        }
    }

    /// Where the agent is to dial.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// One cold start of what `launch` makes, and what that is: still to be waited for and taken down.
    ///
    /// # Panics
    /// Anything goes wrong.
    pub fn cold_start<T>(&self, launch: impl FnOnce() -> T) -> (Duration, T) {
        let before = Instant::now();
        let listener = UnixListener::bind(&self.socket).expect("a socket");
        let launched = launch();
        let (mut agent, _) = listener.accept().expect("the agent");
        first_answer(&mut agent, self.frame_limit, &self.input);
        let took = before.elapsed();
        drop((agent, listener));
        fs::remove_file(&self.socket).expect("the socket's file");
        (took, launched)
    }
}

/// What a by-hand program is told on its standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OverheadRequest {
    /// What to deploy and call, as for a block.
    pub block: BlockRequest,
    /// Which of its hands the program is to use; all have [`PLAIN`].
    pub hand: String,
    /// What to measure.
    pub task: Task,
}

/// What a by-hand program measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// So many cold starts of both sides, in turn.
    Pairs(u32),
    /// So many cold starts of the hand-written side alone, where both cannot be in one process.
    Alone(u32),
    /// The memory of so many instances of one side. A process of its own for each: what one leaves would hide the other.
    Memory(Side, u32),
}

/// Whose memory is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The harness.
    Harness,
    /// The hand-written loop.
    Hand,
}

/// What it answers on its standard output.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OverheadAnswer {
    /// The harness's cold starts, in nanoseconds.
    pub harness_ns: Vec<u64>,
    /// The hand-written ones, pair by pair.
    pub by_hand_ns: Vec<u64>,
    /// The memory that was asked for.
    pub memory: Option<Counted>,
}

/// Growth of a process's PSS, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// What is kept with no instance alive: from before anything is prepared until one instance has come and gone.
    pub kept: u64,
    /// What the instances add while they live, all together.
    pub live: u64,
    /// What is left of that once they are gone: slots, pools, free memory of the heap.
    pub left: u64,
}

/// `main` of a by-hand program that has no other hand than [`PLAIN`].
pub fn main(backend: &dyn Backend, make: Make) -> ExitCode {
    main_of(backend, &[(PLAIN, make)])
}

/// `main` of a by-hand program with several hands, each with its name.
pub fn main_of(backend: &dyn Backend, hands: &[(&str, Make)]) -> ExitCode {
    match measure(backend, hands) {
        Ok(answer) => {
            println!("{}", serde_json::to_string(&answer).expect("numbers only"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(backend: &dyn Backend, hands: &[(&str, Make)]) -> anyhow::Result<OverheadAnswer> {
    let request: OverheadRequest = serde_json::from_reader(io::stdin().lock())?;
    let block = &request.block;
    let hand = hands.iter().find(|(name, _)| *name == request.hand);
    let make = hand.with_context(|| format!("this program has no hand `{}`", request.hand))?.1;
    fs::create_dir_all(&block.ctx.state)?;
    match request.task {
        Task::Pairs(rounds) => pairs(backend, block, make, rounds),
        Task::Alone(rounds) => {
            let mut by_hand = make(block);
            by_hand.cold_start();
            let by_hand_ns = (0..rounds).map(|_| nanos(by_hand.cold_start())).collect();
            Ok(OverheadAnswer { by_hand_ns, ..OverheadAnswer::default() })
        }
        Task::Memory(side, n) => {
            let memory = match side {
                Side::Harness => harness_memory(backend, block, n)?,
                Side::Hand => hand_memory(block, make, n)?,
            };
            Ok(OverheadAnswer { memory: Some(memory), ..OverheadAnswer::default() })
        }
    }
}

fn pairs(backend: &dyn Backend, block: &BlockRequest, make: Make, rounds: u32) -> anyhow::Result<OverheadAnswer> {
    let prepared = backend.open(&block.ctx, &block.prepared)?;
    let deployment = prepared.deploy(&block.ctx, &block.target)?;
    let mut starts = ColdStarts::new(block, deployment.as_ref())?;
    let mut harness = || {
        let (instance, ns) = starts.start()?;
        starts.stop(instance).map(|()| ns)
    };
    let mut by_hand = make(block);
    // The first pair pays for what a process does once; it is not counted on either side.
    harness()?;
    by_hand.cold_start();
    let mut answer = OverheadAnswer::default();
    for round in 0..rounds {
        // Who goes first alternates, so that neither always finds the caches as the other left them.
        if round % 2 == 0 {
            answer.harness_ns.push(harness()?);
            answer.by_hand_ns.push(nanos(by_hand.cold_start()));
        } else {
            answer.by_hand_ns.push(nanos(by_hand.cold_start()));
            answer.harness_ns.push(harness()?);
        }
    }
    Ok(answer)
}

fn harness_memory(backend: &dyn Backend, block: &BlockRequest, n: u32) -> anyhow::Result<Counted> {
    let mut instances = Vec::with_capacity(n as usize);
    let before = pss()?;
    let prepared = backend.open(&block.ctx, &block.prepared)?;
    let deployment = prepared.deploy(&block.ctx, &block.target)?;
    let mut starts = ColdStarts::new(block, deployment.as_ref())?;
    let (first, _) = starts.start()?;
    starts.stop(first)?;
    let none = pss()?;
    for _ in 0..n {
        instances.push(starts.start()?.0);
    }
    let all = pss()?;
    // In reverse order: V8's isolates want to go as a stack.
    while let Some(instance) = instances.pop() {
        starts.stop(instance)?;
    }
    Ok(Counted::of(before, none, all, pss()?))
}

fn hand_memory(block: &BlockRequest, make: Make, n: u32) -> anyhow::Result<Counted> {
    let before = pss()?;
    let mut by_hand = make(block);
    by_hand.cold_start();
    let none = pss()?;
    by_hand.hold(n);
    let all = pss()?;
    by_hand.release();
    Ok(Counted::of(before, none, all, pss()?))
}

impl Counted {
    fn of(before: u64, none: u64, all: u64, after: u64) -> Counted {
        let grown = |from: u64, to: u64| to.saturating_sub(from);
        Counted { kept: grown(before, none), live: grown(none, all), left: grown(none, after) }
    }

    /// With all instances alive.
    pub fn sum(self) -> u64 {
        self.kept + self.live
    }
}

fn pss() -> anyhow::Result<u64> {
    Ok(memory::read(&Attribution::this_process())?.pss)
}

/// Runs a by-hand program with a deadline, and removes what it leaves; its standard error is ours.
///
/// # Errors
/// It cannot be started, fails, or takes longer than 180 s.
pub fn ask(program: &Path, request: &OverheadRequest) -> anyhow::Result<OverheadAnswer> {
    let mut command = Command::new(program);
    command.env(reap::COOKIE, &request.block.ctx.state);
    let answer = ask_program(&mut command, &serde_json::to_vec(request)?);
    reap::kill_cookie(&request.block.ctx.state);
    // This process's own run gave the folder to the program that has just ended.
    let _ = fs::remove_dir_all(&request.block.ctx.state);
    Ok(serde_json::from_slice(&answer?)?)
}

/// Hands a program its input and answers with what it writes, within 180 s; its standard error is ours.
///
/// # Errors
/// It cannot be started, fails, or takes longer.
pub fn ask_program(command: &mut Command, input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut written = tempfile::tempfile()?;
    let spawned = Helper::spawn(command.stdin(Stdio::piped()).stdout(written.try_clone()?));
    let mut helper = spawned.with_context(|| name.clone())?;
    helper.child().stdin.take().context("piped")?.write_all(input)?;
    let status = helper.wait(DEADLINE).map_err(anyhow::Error::msg)?;
    ensure!(status.success(), "{name}: {status}");
    let mut answer = Vec::new();
    io::Seek::rewind(&mut written)?;
    written.read_to_end(&mut answer)?;
    Ok(answer)
}
