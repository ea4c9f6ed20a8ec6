//! For the integration tests of backends: a place to run in, requests from parts, and what every test wants to know of
//! the records. A test drives the real runner program through the real [`client`](crate::client).
//!
//! ```no_run
//! use isobench_core::{FaultKind, Guest};
//! use isobench_runner::testing::{TestBed, one_start};
//!
//! let bed = TestBed::new("/path/to/isobench-runner-x"); // env!("CARGO_BIN_EXE_isobench-runner-x")
//! let guest = bed.write("loop.js", "export function handle() { for (;;); }");
//! let mut request = bed.request("fresh", Guest::Js, &guest, b"", b"", one_start());
//! request.target.limits.call_deadline_ms = 100;
//! bed.run(&request).expect_fault(FaultKind::DeadlineExceeded);
//! ```
//!
//! [`TestBed::run`] itself asserts that no process and no file of the block is left.

pub mod contract;
pub mod daemons;
pub mod debris;
pub mod js;
pub mod suite;

use crate::backend::{RunContext, Target};
use crate::client::{Owner, Runner};
use crate::guests::{self, Built};
use crate::machine;
use crate::place::Places;
use crate::protocol::{BlockRequest, Density, OpenLoop, Series, Visit};
use crate::reap;
use isobench_core::load::{Rates, StartLimit};
use isobench_core::record::Policy;
use isobench_core::{Experiment, Fault, FaultKind, Guest, Limits, Record, sha256_hex};
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for a block; far over every deadline inside one, so that it shows only where those fail.
const BLOCK_DEADLINE: Duration = Duration::from_secs(120);
/// The same on a machine that is emulated itself.
const EMULATED_BLOCK_DEADLINE: Duration = Duration::from_secs(600);

/// Where the tests of one backend run: a runner program, a temporary folder for fixtures and state, and a cache that is
/// kept between tests.
#[derive(Debug)]
pub struct TestBed {
    /// The backend's runner.
    pub runner: Runner,
    dir: tempfile::TempDir,
    programs: PathBuf,
    prepared: serde_json::Value,
    blocks: Cell<u32>,
}

impl TestBed {
    /// A bed for the runner at `program`, whose folder holds the agents too. Panics where the runner does not answer.
    pub fn new(program: &str) -> TestBed {
        let runner = Runner::at(program).expect("the runner describes itself");
        // In /tmp whatever TMPDIR says, because a socket's path may have 107 bytes only; open as a run's state folder
        // is, for containers whose users have no rights here.
        let open = fs::Permissions::from_mode(0o755);
        let dir = tempfile::Builder::new().prefix("isobench-test-").permissions(open).tempdir_in("/tmp");
        let dir = dir.expect("a temporary folder");
        let programs = Path::new(program).parent().expect("a program lies in a folder").into();
        TestBed { runner, dir, programs, prepared: serde_json::Value::Null, blocks: Cell::new(0) }
    }

    /// A context with a state folder of its own.
    pub fn context(&self) -> RunContext {
        let n = self.blocks.replace(self.blocks.get() + 1);
        RunContext {
            run: "test".into(),
            state: self.dir.path().join(n.to_string()),
            cache: self.programs.join("test-cache"),
            programs: self.programs.clone(),
        }
    }

    /// Writes a fixture and answers with its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).expect("writing a fixture");
        path
    }

    /// Assembles WebAssembly text to a fixture.
    pub fn write_wat(&self, name: &str, text: &str) -> PathBuf {
        self.write(name, wat::parse_str(text).expect("the fixture assembles"))
    }

    /// Builds the guests of a workload of the checkout, or of a fixture folder laid out like one.
    pub fn build(&self, folder: &Path) -> Built {
        self.build_some(folder, |_| true)
    }

    /// Builds one guest of such a folder; panics where it does not build.
    pub fn artifact(&self, folder: &str, guest: Guest) -> PathBuf {
        let built = self.build_some(Path::new(folder), |other| other == guest);
        built.artifacts[&guest].as_ref().expect("the guest builds").path.clone()
    }

    fn build_some(&self, folder: &Path, wanted: impl Fn(Guest) -> bool) -> Built {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the checkout");
        let places = Places {
            cache: self.programs.join("test-cache"),
            state: self.dir.path().into(),
            programs: self.programs.clone(),
            root: root.clone(),
        };
        let mut workload = isobench_core::workload::load(&root.join(folder)).expect("a valid fixture");
        workload.sources.retain(|&guest, _| wanted(guest));
        guests::build(&places, workload, &|_| true, &|line| eprintln!("{line}"))
    }

    /// Whether the backend can run here; if not, the test is to return, and says so (see [`skip`]).
    pub fn available(&self) -> bool {
        match self.runner.probe(&self.context()) {
            isobench_core::Availability::Available { .. } => true,
            isobench_core::Availability::Unavailable { reason, remedy } => {
                skip(format!("{}: {reason}; {remedy}", self.runner.description.backend));
                false
            }
        }
    }

    /// The variants that can run here; says of every other one why it is left out. For backends whose variants each
    /// need another program: which of them must be there is for the test to say.
    pub fn variants(&self) -> Vec<String> {
        let availability = self.runner.probe(&self.context());
        let names = self.runner.description.variants.iter().map(|variant| variant.name.clone());
        let offered = |name: &String| match availability.why_absent(name) {
            None => availability.is_available(),
            Some(reason) => {
                eprintln!("LEFT OUT: {}/{name}: {reason}", self.runner.description.backend);
                false
            }
        };
        names.filter(offered).collect()
    }

    /// Whether the agent for a kind of guest has been built; if not, as [`TestBed::available`].
    pub fn has_agent(&self, guest: Guest) -> bool {
        let agent = crate::agents::agent_program(&self.context(), guest.usual_engine().unwrap_or_default());
        if let Err(fault) = &agent {
            skip(fault);
        }
        agent.is_ok()
    }

    /// Starts the owner of what the blocks share; later requests carry its record.
    pub fn own(&mut self) -> Owner {
        let owner = self.runner.own(&self.context()).expect("the backend prepares");
        self.prepared = owner.record.clone();
        owner
    }

    /// A request from its parts, with default limits; a test that needs others changes the fields.
    pub fn request(
        &self,
        variant: &str,
        guest: Guest,
        artifact: &Path,
        input: &[u8],
        expected: &[u8],
        visit: Visit,
    ) -> BlockRequest {
        let ctx = self.context();
        let n = ctx.state.file_name().expect("joined in `context`").to_string_lossy().into_owned();
        BlockRequest {
            input: self.write(&format!("{n}.in"), input),
            expected_sha256: sha256_hex(expected),
            target: Target {
                workload: "fixture".into(),
                variant: variant.into(),
                guest,
                engine: guest.usual_engine().map(Into::into),
                artifact: artifact.into(),
                artifact_sha256: sha256_hex(&fs::read(artifact).expect("the artifact")),
                limits: Limits::default(),
                emulated: machine::is_emulated(),
            },
            ctx,
            prepared: self.prepared.clone(),
            cell: 0,
            block: 0,
            in_process: self.runner.description.in_process,
            visit,
        }
    }

    /// Runs a block and asserts that nothing of it is left.
    pub fn run(&self, request: &BlockRequest) -> Outcome {
        self.run_within(request, if machine::is_emulated() { EMULATED_BLOCK_DEADLINE } else { BLOCK_DEADLINE })
    }

    /// The same with a deadline for the whole block, for one that is meant to hang.
    pub fn run_within(&self, request: &BlockRequest, deadline: Duration) -> Outcome {
        let outcome = Outcome(self.runner.block(request, deadline));
        assert_nothing_left(&request.ctx);
        outcome
    }
}

/// What `test` says of every variant that can run here, if the backend can; `least` must be among them.
pub fn of_each(program: &str, least: &str, test: impl Fn(&TestBed, &str)) {
    let bed = TestBed::new(program);
    if bed.available() {
        let variants = bed.variants();
        assert!(variants.iter().any(|variant| variant == least), "{least} is what is tested at least: {variants:?}");
        variants.iter().for_each(|variant| test(&bed, variant));
    }
}

/// Panics if a process, socket or file of the block or owner that ran in `ctx` is left.
pub fn assert_nothing_left(ctx: &RunContext) {
    let left = reap::with_cookie(&ctx.state);
    assert!(left.is_empty(), "processes {left:?} are left of {}", ctx.state.display());
    assert!(!ctx.state.exists(), "{} is left", ctx.state.display());
}

/// What a block answered.
#[derive(Debug)]
pub struct Outcome(pub Vec<Record>);

impl Outcome {
    /// Every value of a metric, in order.
    pub fn values(&self, experiment: Experiment, metric: &str) -> Vec<u64> {
        let lines = self.0.iter().filter_map(|record| match record {
            Record::Samples(s) if s.experiment == experiment && s.metric == metric => Some(&s.values),
            _ => None,
        });
        lines.flatten().copied().collect()
    }

    /// The metric of every line of samples, in order.
    pub fn metrics(&self, experiment: Experiment) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(move |record| match record {
            Record::Samples(s) if s.experiment == experiment => Some(s.metric.as_str()),
            _ => None,
        })
    }

    /// The visit's throughput histograms: mode, concurrency and calls of each.
    pub fn histograms(&self) -> Vec<(isobench_core::record::Mode, u32, u64)> {
        let lines = self.0.iter().filter_map(|record| match record {
            Record::Histogram(h) => Some((h.mode, h.n, h.calls)),
            _ => None,
        });
        lines.collect()
    }

    /// The fault that ended the visit, if one did.
    pub fn fault(&self) -> Option<&Fault> {
        self.0.iter().find_map(|record| match record {
            Record::Fault(f) => Some(&f.fault),
            _ => None,
        })
    }

    /// Panics unless the visit ended in a fault of that name; answers with it.
    pub fn expect_fault(&self, kind: FaultKind) -> &Fault {
        match self.fault() {
            Some(fault) if fault.kind == kind => fault,
            Some(fault) => panic!("expected {kind}, got {fault}"),
            None => panic!("expected {kind}, got no fault but {:?}", self.0),
        }
    }

    /// Panics if the visit ended in a fault.
    pub fn expect_ok(self) -> Outcome {
        if let Some(fault) = self.fault() {
            panic!("unexpected fault: {fault}");
        }
        self
    }
}

/// One cold start, nothing else.
pub fn one_start() -> Visit {
    Visit::ColdStart { starts: 1.into(), warm: None }
}

/// Three cold starts and a hundred warm calls on the last instance.
pub fn starts_and_calls() -> Visit {
    Visit::ColdStart {
        starts: 3.into(),
        warm: Some(Series { min_calls: 100, min_ms: 0, max_calls: 100, max_ms: 60_000 }),
    }
}

/// Both modes of throughput at concurrency 1, 2 and 4, each for 30 ms.
pub fn all_throughput() -> Visit {
    Visit::Throughput { warm: vec![1, 2, 4], fresh: vec![1, 2, 4], duration_ms: 30 }
}

/// Every experiment of load, each small: three policies at 100 requests a second for 50 ms, a burst of up to 4, 4
/// instances side by side, and up to 2 starters.
pub fn all_load() -> Vec<Visit> {
    let open_loop = |policy| {
        let rates = Rates::Fixed(vec![100_000]);
        let (requests, shortest_ms, longest_ms) = (1, 50, 50);
        Visit::OpenLoop(OpenLoop { policy, rates, seed: 1, requests, shortest_ms, longest_ms, most_instances: 2 })
    };
    let policies = [Policy::Warm(2), Policy::Fresh, Policy::KeepAlive(10)];
    let density = Density { memory_bytes: None, count: 4, start: StartLimit::Times(1_000), longest_ms: 60_000 };
    let burst = Visit::Burst { sizes: vec![1, 2, 4], longest_ms: 60_000 };
    let starts = Visit::Starts { starters: vec![1, 2], step_ms: 50 };
    policies.into_iter().map(open_loop).chain([burst, Visit::Density(density), starts]).collect()
}

/// Says loudly that a test is skipped, and why; panics where `ISOBENCH_NO_SKIP=1` forbids it (CI).
pub fn skip(reason: impl std::fmt::Display) {
    assert!(std::env::var_os("ISOBENCH_NO_SKIP").is_none_or(|v| v != "1"), "must not be skipped: {reason}");
    eprintln!("SKIPPED: {reason}");
}
