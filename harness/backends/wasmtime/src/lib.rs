//! Wasm instances on Wasmtime.
//!
//! - [`engine`]: the settings, the same for the runner, the agent and the hand-written loop;
//! - [`module`]: modules and instances under the workload contract, shared by the runner and the agent;
//! - [`Wasmtime`]: the backend, whose instances live in the runner process.

pub mod engine;
pub mod module;

use isobench_core::{Availability, Description, Fault, FaultKind, Guest, Model, VariantInfo};
use isobench_guest::fault::AgentFault;
use isobench_runner::{
    Attribution, Backend, Deadline, Deployment, Instance, Phases, Prepared, RunContext, Target, agents,
};
use module::{Live, Program};
use std::time::Duration;
use wasmtime::{Engine, Linker, Module, Store};

/// The smallest module: its magic and version. Loading it checks the processor against what modules are compiled for.
const EMPTY_MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";

/// The backend.
pub struct Wasmtime;

impl Backend for Wasmtime {
    fn describe(&self) -> Description {
        Description {
            backend: "wasmtime".into(),
            model: Model::Wasm,
            variants: vec![VariantInfo {
                name: "pooling".into(),
                guests: vec![Guest::Wasm],
                prepared: "module compiled and loaded, imports resolved; the pool's address space reserved, and after \
                           the first start a slot that held the same module before"
                    .into(),
                shared: "process, address space, compiled code, read-only pages of the memory image".into(),
                quick: true,
            }],
            in_process: true,
            hidden: false,
            footprint_instances: 256,
        }
    }

    fn probe(&self, ctx: &RunContext) -> Availability {
        if let Err(fault) = agents::agent_program(ctx, Guest::Wasm) {
            return Availability::unavailable(fault.message, "build isobench's programs: `make build`");
        }
        let started = engine::engine(engine::RUNNER_SLOTS).and_then(|engine| {
            let module = Module::from_binary(&engine, &EMPTY_MODULE)?;
            Linker::new(&engine).instantiate(Store::new(&engine, ()), &module)
        });
        match started {
            Ok(_) => Availability::Available {
                versions: [("wasmtime".into(), engine::VERSION.into())].into(),
                emulated: false,
                notes: Vec::new(),
            },
            Err(error) => Availability::unavailable(
                format!("Wasmtime does not start: {error:#}"),
                "it needs an x86-64 processor with BMI2 (2013 and later) or AArch64, and 1.3 TiB of address space \
                 (`ulimit -v unlimited`)",
            ),
        }
    }

    fn prepare(&self, ctx: &RunContext) -> Result<Box<dyn Prepared>, Fault> {
        self.open(ctx, &serde_json::Value::Null)
    }

    fn open(&self, _ctx: &RunContext, _record: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        let engine = engine::engine(engine::RUNNER_SLOTS).map_err(|e| Fault::backend(format!("Wasmtime: {e:#}")))?;
        Ok(Box::new(Opened { engine }))
    }
}

struct Opened {
    engine: Engine,
}

impl Prepared for Opened {
    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        // The artifact that crosses boundaries, made by the agent's engine: what is timed bare is what is timed there.
        let compiled = agents::prepared_guest(ctx, target)?;
        let program = Program::load(&self.engine, &compiled).map_err(named)?;
        engine::beat(&self.engine);
        Ok(Box::new(Deployed { program, memory: target.limits.memory_bytes, frame: target.limits.frame_bytes }))
    }
}

struct Deployed {
    program: Program,
    memory: u64,
    frame: u64,
}

impl Deployment for Deployed {
    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        // The epoch is counted from here; the deadline was set just before, and asking what is left of it costs a
        // reading of the clock.
        let allowed: Duration = deadline.allowed();
        let created = self.program.create(self.memory, self.frame, allowed).map_err(named)?;
        phases.end("create");
        let live = created.initialize(&self.program, allowed).map_err(named)?;
        Ok(Box::new(Pooled(live)))
    }

    fn footprint(&self) -> Attribution {
        Attribution::this_process()
    }
}

struct Pooled(Live);

impl Instance for Pooled {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.0.call(request, deadline.allowed()).map_err(named)
    }

    fn footprint(&self) -> Attribution {
        Attribution::this_process()
    }

    fn stop(self: Box<Self>, _deadline: Deadline) -> Result<(), Fault> {
        // The slot goes back to the pool and its pages to the kernel before this returns.
        drop(self);
        Ok(())
    }
}

fn named(fault: AgentFault) -> Fault {
    Fault::new(FaultKind::from_name(fault.kind), fault.message)
}
