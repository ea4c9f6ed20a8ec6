//! The backend: V8 behind the harness's traits.

use crate::boundary::{Boundary, Code};
use crate::engine;
use isobench_core::{Availability, Description, Fault, Guest, Limits, Model, VariantInfo};
use isobench_runner::stopwatch::{Deadline, Phases};
use isobench_runner::{Attribution, Backend, Deployment, Instance, Prepared, RunContext, Target};

/// Most isolates a footprint visit keeps alive: what the design asks of in-process backends.
const FOOTPRINT_INSTANCES: u32 = 256;

/// The `v8` backend.
pub struct V8;

impl Backend for V8 {
    fn describe(&self) -> Description {
        Description {
            backend: "v8".into(),
            model: Model::Isolate,
            variants: vec![VariantInfo {
                name: "fresh".into(),
                guests: vec![Guest::Wasm, Guest::Js],
                prepared: "V8 initialised in the host process, the guest's file read into memory".into(),
                shared: "the host process, V8's read-only heap and built-ins, its worker threads; compiled Wasm while \
                         another instance of the same module lives"
                    .into(),
                quick: true,
            }],
            in_process: true,
            hidden: false,
            footprint_instances: FOOTPRINT_INSTANCES,
        }
    }

    fn probe(&self, _: &RunContext) -> Availability {
        Availability::Available {
            versions: [("v8".into(), engine::version().into())].into(),
            emulated: false,
            notes: Vec::new(),
        }
    }

    fn prepare(&self, _: &RunContext) -> Result<Box<dyn Prepared>, Fault> {
        // Every runner process initialises an engine of its own; the owner does so to tell how long that takes.
        engine::initialise(Limits::default().memory_bytes, engine::abort_out_of_memory)?;
        Ok(Box::new(Ready))
    }

    fn open(&self, _: &RunContext, _: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Ready))
    }
}

/// Isolates share nothing that would have to be prepared outside their process.
struct Ready;

impl Prepared for Ready {
    fn deploy(&self, _: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        engine::initialise(target.limits.memory_bytes, engine::abort_out_of_memory)?;
        let code = Code::read(target.guest, &target.artifact)?;
        Ok(Box::new(Deployed { code, limits: target.limits.clone() }))
    }
}

struct Deployed {
    code: Code,
    limits: Limits,
}

impl Deployment for Deployed {
    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        let mut boundary = Boundary::create(&self.limits);
        phases.end("create");
        boundary.load(&self.code, Some(deadline))?;
        Ok(Box::new(Isolate(boundary)))
    }

    fn footprint(&self) -> Attribution {
        Attribution::this_process()
    }
}

struct Isolate(Boundary);

impl Instance for Isolate {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.0.call(request, deadline)
    }

    fn footprint(&self) -> Attribution {
        Attribution::this_process()
    }

    fn stop(self: Box<Self>, _: Deadline) -> Result<(), Fault> {
        // Freeing an isolate runs none of the guest's code: it cannot hang, and dropping is all there is to it.
        Ok(())
    }
}
