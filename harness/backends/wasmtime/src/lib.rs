//! Wasm instances on Wasmtime.
//!
//! - [`variant`]: the rungs of the ladder;
//! - [`engine`]: the settings, the same for the runner, the agent and the hand-written loop;
//! - [`module`]: modules and instances under the workload contract, shared by the runner and the agent;
//! - [`agent`]: what its agents do;
//! - [`Wasmtime`]: the backend, whose instances live in the runner process.

pub mod agent;
pub mod engine;
pub mod module;
pub mod variant;

use isobench_core::{Availability, Description, EngineInfo, Fault, FaultKind, Guest, Model};
use isobench_guest::fault::AgentFault;
use isobench_runner::{
    Attribution, Backend, Deadline, Deployment, Instance, Phases, Prepared, RunContext, Target, agents,
};
use module::{Live, Program};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use variant::Variant;
use wasmtime::{Engine, Linker, Module, PoolingAllocationConfig, Store};

/// What its agents are called after.
const ENGINE: &str = "wasmtime";
const WINCH: &str = "winch";

/// The smallest module: its magic and version. Loading it checks the processor against what modules are compiled for.
const EMPTY_MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";

/// The backend.
pub struct Wasmtime;

impl Backend for Wasmtime {
    fn describe(&self) -> Description {
        Description {
            backend: "wasmtime".into(),
            model: Model::Wasm,
            variants: Variant::ALL.map(Variant::info).into(),
            in_process: true,
            hidden: false,
            footprint_instances: 256,
            engines: [(ENGINE, Variant::Pooling), (WINCH, Variant::Winch)]
                .map(|(name, variant)| EngineInfo {
                    name: name.into(),
                    guests: vec![Guest::Wasm],
                    variant: variant.name().into(),
                })
                .into(),
        }
    }

    fn probe(&self, ctx: &RunContext) -> Availability {
        if let Err(fault) = agents::agent_program(ctx, ENGINE) {
            return Availability::unavailable(fault.message, "build isobench's programs: `make build`");
        }
        let started = engine::engine(Variant::Pooling, engine::RUNNER_SLOTS).and_then(|engine| {
            let module = Module::from_binary(&engine, &EMPTY_MODULE)?;
            Linker::new(&engine).instantiate(Store::new(&engine, ()), &module)
        });
        match started {
            Ok(_) => Availability::Available {
                versions: [("wasmtime".into(), engine::VERSION.into())].into(),
                emulated: false,
                notes: notes(),
                absent: BTreeMap::new(),
            },
            Err(error) => Availability::unavailable(
                format!("Wasmtime does not start: {error:#}"),
                "it needs an x86-64 processor with BMI2 (2013 and later) or AArch64, and 1.3 TiB of address space \
                 (`ulimit -v unlimited`)",
            ),
        }
    }

    fn prepare(&self, ctx: &RunContext) -> Result<Box<dyn Prepared>, Fault> {
        // Blocks have engines of their own; this one is made because the time of `prepare` is on record.
        engine_of(Variant::Pooling)?;
        self.open(ctx, &serde_json::Value::Null)
    }

    fn open(&self, _ctx: &RunContext, _record: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Opened))
    }
}

fn engine_of(variant: Variant) -> Result<Engine, Fault> {
    engine::engine(variant, engine::RUNNER_SLOTS).map_err(|e| Fault::backend(format!("Wasmtime: {e:#}")))
}

/// What a reader should know of rungs that depend on the kernel.
fn notes() -> Vec<String> {
    let note = "pooling-resident clears the first MiB of a memory on each stop, written or not: this kernel cannot tell \
                which pages were written (PAGEMAP_SCAN, Linux 6.7)";
    if PoolingAllocationConfig::is_pagemap_scan_available() { Vec::new() } else { vec![note.into()] }
}

/// Variants share nothing that would have to be prepared: each has an engine of its own, made with the deployment.
struct Opened;

impl Prepared for Opened {
    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        let unknown = || Fault::backend(format!("wasmtime has no variant `{}`", target.variant));
        let variant = Variant::named(&target.variant).ok_or_else(unknown)?;
        let engine = engine_of(variant)?;
        // The artifact that crosses boundaries, made by the agent's engine: what is timed bare is what is timed there.
        // A rung that compiles by itself gets its guest checked by this, as a platform checks what is uploaded to it.
        let compiled = match variant.compiled_as() {
            Variant::Pooling => agents::compiled_guest(ctx, target, ENGINE, &[])?,
            Variant::Winch => agents::compiled_guest(ctx, target, WINCH, &[])?,
            other => agents::compiled_guest(ctx, target, ENGINE, &[other.name()])?,
        };
        engine::beat(&engine);
        let code = match variant {
            Variant::Compile => {
                let source = target.artifact.clone();
                let bytes = fs::read(&source).map_err(|e| Fault::backend(format!("{}: {e}", source.display())))?;
                Code::Bytes { engine, bytes, source }
            }
            Variant::Precompiled => Code::Compiled { engine, file: compiled },
            _ => Code::Ready(Program::load(&engine, &compiled).map_err(named)?),
        };
        Ok(Box::new(Deployed { code, memory: target.limits.memory_bytes, frame: target.limits.frame_bytes }))
    }
}

/// What there is of a guest before the clock starts.
enum Code {
    /// The module as it was written.
    Bytes { engine: Engine, bytes: Vec<u8>, source: PathBuf },
    /// The file that the compiled module lies in.
    Compiled { engine: Engine, file: PathBuf },
    /// A module that every instance is made of.
    Ready(Program),
}

struct Deployed {
    code: Code,
    memory: u64,
    frame: u64,
}

impl Deployed {
    /// An instance of a module that was made for it alone, inside the clock. The instance's store keeps the module, and
    /// drops it when the instance stops.
    fn start_alone(
        &self,
        program: Result<Program, AgentFault>,
        phases: &mut Phases,
        deadline: Deadline,
    ) -> Result<Box<dyn Instance>, Fault> {
        let program = program.map_err(named)?;
        phases.end("create.module");
        // The compiler cannot be interrupted: what comes too late is refused here at the latest.
        if deadline.passed() {
            return Err(deadline.fault("making the module"));
        }
        self.start_of(&program, "create.instance", phases, deadline)
    }

    fn start_of(
        &self,
        program: &Program,
        phase: &'static str,
        phases: &mut Phases,
        deadline: Deadline,
    ) -> Result<Box<dyn Instance>, Fault> {
        // The epoch is counted from here; the deadline was set just before, and asking what is left of it costs a
        // reading of the clock.
        let allowed: Duration = deadline.allowed();
        let created = program.create(self.memory, self.frame, allowed).map_err(named)?;
        phases.end(phase);
        let live = created.initialize(program, allowed).map_err(named)?;
        Ok(Box::new(Running(live)))
    }
}

impl Deployment for Deployed {
    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        match &self.code {
            Code::Ready(program) => self.start_of(program, "create", phases, deadline),
            Code::Compiled { engine, file } => self.start_alone(Program::load(engine, file), phases, deadline),
            Code::Bytes { engine, bytes, source } => {
                self.start_alone(Program::compile(engine, bytes, source), phases, deadline)
            }
        }
    }

    fn footprint(&self) -> Attribution {
        Attribution::this_process()
    }
}

struct Running(Live);

impl Instance for Running {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.0.call(request, deadline.allowed()).map_err(named)
    }

    fn footprint(&self) -> Attribution {
        Attribution::this_process()
    }

    fn stop(self: Box<Self>, _deadline: Deadline) -> Result<(), Fault> {
        // What it has goes back before this returns: the slot to the pool, its pages and mappings to the kernel.
        drop(self);
        Ok(())
    }
}

fn named(fault: AgentFault) -> Fault {
    Fault::new(FaultKind::from_name(fault.kind), fault.message)
}
