//! A scripted backend: its guests are scripts that sleep, hang, crash, answer wrongly, print garbage or leave a process
//! behind. The tests of the coordinator and the overhead bench use it; runs leave it out unless it is named.
//!
//! [`script::Script`] is what can be written in a script, [`Null`] the backend.

pub mod script;

use isobench_core::{Availability, Description, Fault, FaultKind, Guest, Model, Preparation, VariantInfo};
use isobench_runner::{Attribution, Backend, Deadline, Deployment, Instance, Phases, Prepared, RunContext, Target};
use script::{Misdeed, Pace, Script};
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The backend.
pub struct Null;

impl Backend for Null {
    fn describe(&self) -> Description {
        Description {
            backend: "null".into(),
            model: Model::Null,
            variants: vec![VariantInfo {
                name: "scripted".into(),
                guests: Guest::ALL.into(),
                prepared: "the script, read".into(),
                preparation: Preparation::Nothing.of(&Guest::ALL),
                representative: 1,
                shared: "everything: there is no boundary".into(),
                quick: true,
                ..VariantInfo::default()
            }],
            in_process: true,
            hidden: true,
            footprint_instances: 256,
            engines: Vec::new(),
        }
    }

    fn probe(&self, _ctx: &RunContext) -> Availability {
        Availability::Available {
            versions: BTreeMap::new(),
            emulated: false,
            notes: Vec::new(),
            absent: BTreeMap::new(),
        }
    }

    fn prepare(&self, _ctx: &RunContext) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Daemon::start()?))
    }

    fn open(&self, _ctx: &RunContext, _record: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Opened))
    }
}

/// What the owner holds: a process that stands for a private daemon, so that tests see what becomes of one.
struct Daemon(Child);

impl Daemon {
    fn start() -> Result<Daemon, Fault> {
        // No parent-death signal: an owner that is killed leaves it, and the coordinator has to find it.
        let child = Command::new("sleep").arg("86400").stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        child.map(Daemon).map_err(|e| Fault::backend(format!("sleep: {e}")))
    }
}

impl Prepared for Daemon {
    fn record(&self) -> serde_json::Value {
        serde_json::json!({ "daemon": self.0.id() })
    }

    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        Opened.deploy(ctx, target)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Opened;

impl Prepared for Opened {
    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        let script = Script::read(&target.artifact)?;
        if script.fault == Some(Misdeed::HangDeploy) {
            script::hang();
        }
        let pace = Pace::of_block(&script, &ctx.state);
        Ok(Box::new(Deployed { script, pace, live: Arc::new(()), started: AtomicU32::new(0) }))
    }
}

struct Deployed {
    script: Script,
    pace: Pace,
    /// Held once here and once by each instance.
    live: Arc<()>,
    started: AtomicU32,
}

impl Deployment for Deployed {
    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        if self.script.grandchild {
            script::leave_grandchild()?;
        }
        phases.end("create");
        let mut script = self.script.clone();
        if self.started.fetch_add(1, Ordering::Relaxed) < script.after_starts {
            script.fault = None;
        }
        if script.fault == Some(Misdeed::HangStart) {
            script::hang();
        }
        self.pace.take(self.script.start_us, deadline, "the script's start")?;
        let live = Arc::clone(&self.live);
        // Itself and the deployment are two of those who hold it.
        if self.script.room > 0 && Arc::strong_count(&live) > self.script.room + 1 {
            return Err(Fault::backend(format!("there is room for {} instances", self.script.room)));
        }
        // Not zero, so that the allocator cannot answer with pages that nobody has touched.
        let memory = vec![1; self.script.memory_kib << 10];
        Ok(Box::new(Scripted { script, pace: self.pace, calls: 0, memory, _live: live }))
    }

    fn footprint(&self) -> Attribution {
        Attribution::this_process()
    }
}

struct Scripted {
    script: Script,
    pace: Pace,
    calls: u32,
    memory: Vec<u8>,
    _live: Arc<()>,
}

impl Instance for Scripted {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.pace.take(self.script.call_us, deadline, "the script's call")?;
        let well = self.calls < self.script.after_calls;
        self.calls += 1;
        let answer = request.to_vec();
        let Some(misdeed) = self.script.fault.filter(|_| !well) else { return Ok(answer) };
        match misdeed {
            Misdeed::HangDeploy | Misdeed::HangStart | Misdeed::HangStop => {}
            Misdeed::HangCall => script::hang(),
            Misdeed::Stall => self.pace.take(script::FOR_EVER_US, deadline, "the script's call")?,
            Misdeed::Crash => script::die_of(libc::SIGSEGV),
            Misdeed::Abort => script::die_of(libc::SIGABRT),
            Misdeed::OutOfMemory => {
                eprintln!("memory allocation of 1073741824 bytes failed");
                script::die_of(libc::SIGABRT)
            }
            Misdeed::Exit => std::process::exit(0),
            Misdeed::Throw => return Err(Fault::new(FaultKind::GuestThrow, "Error: as the script wants it")),
            Misdeed::WrongAnswer => return Ok([&answer[..], b"!"].concat()),
            Misdeed::GarbageStdout => println!("{{\"record\": nonsense"),
            Misdeed::GarbageProtocol => script::garble_protocol(),
        }
        Ok(answer)
    }

    fn footprint(&self) -> Attribution {
        Attribution::this_process()
    }

    fn stop(self: Box<Self>, deadline: Deadline) -> Result<(), Fault> {
        if self.script.fault == Some(Misdeed::HangStop) {
            script::hang();
        }
        drop(self.memory);
        self.pace.take(self.script.stop_us, deadline, "the script's stop")
    }
}
