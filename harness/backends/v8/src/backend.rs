//! The backend: V8 behind the harness's traits.

use crate::boundary::Boundary;
use crate::code::Code;
use crate::engine::{self, Compilers};
use crate::variant::Variant;
use isobench_core::{Availability, Description, EngineInfo, Fault, Guest, Limits, Model};
use isobench_runner::stopwatch::{Deadline, Phases};
use isobench_runner::{Attribution, Backend, Deployment, Instance, Prepared, RunContext, Target};
use std::collections::BTreeMap;

/// Most isolates a footprint visit keeps alive: what the design asks of in-process backends.
const FOOTPRINT_INSTANCES: u32 = 256;

/// The `v8` backend.
pub struct V8;

impl Backend for V8 {
    fn describe(&self) -> Description {
        Description {
            backend: "v8".into(),
            model: Model::Isolate,
            variants: Variant::ALL.into_iter().map(Variant::describe).collect(),
            in_process: true,
            hidden: false,
            footprint_instances: FOOTPRINT_INSTANCES,
            engines: vec![EngineInfo {
                name: "v8".into(),
                guests: vec![Guest::Js, Guest::Wasm],
                variant: "fresh".into(),
            }],
        }
    }

    fn probe(&self, _: &RunContext) -> Availability {
        Availability::Available {
            versions: [("v8".into(), engine::version().into())].into(),
            emulated: false,
            notes: Vec::new(),
            absent: BTreeMap::new(),
        }
    }

    fn prepare(&self, _: &RunContext) -> Result<Box<dyn Prepared>, Fault> {
        // Every runner process initialises an engine of its own; the owner does so to tell how long that takes.
        engine::initialise(Limits::default().memory_bytes, Compilers::All, engine::abort_out_of_memory)?;
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
        let variant = Variant::named(&target.variant)?;
        engine::initialise(target.limits.memory_bytes, variant.compilers(), engine::abort_out_of_memory)?;
        let code = Code::read(target.guest, &target.artifact)?;
        let deadline = Deadline::after(target.limits.start_deadline(target.emulated));
        let code = variant.deploy(code, &target.limits, deadline)?;
        Ok(Box::new(Deployed { variant, code, limits: target.limits.clone() }))
    }
}

struct Deployed {
    variant: Variant,
    code: Code,
    limits: Limits,
}

impl Deployment for Deployed {
    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        let mut boundary = self.variant.create(&self.code, &self.limits);
        phases.end("create");
        boundary.load(&self.code, Some(deadline))?;
        Ok(Box::new(Isolate { boundary, variant: self.variant, limits: self.limits.clone() }))
    }

    fn footprint(&self) -> Attribution {
        Attribution::this_process()
    }
}

struct Isolate {
    boundary: Boundary,
    variant: Variant,
    limits: Limits,
}

impl Instance for Isolate {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.boundary.call(request, deadline)
    }

    fn footprint(&self) -> Attribution {
        Attribution::this_process()
    }

    fn stop(self: Box<Self>, _: Deadline) -> Result<(), Fault> {
        // Freeing an isolate runs none of the guest's code: it cannot hang, and dropping is all there is to it.
        let Isolate { boundary, variant, limits } = *self;
        drop(boundary);
        variant.replace(&limits);
        Ok(())
    }
}
