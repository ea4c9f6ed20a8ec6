//! The backend: QuickJS behind the harness's traits.

use crate::boundary::Boundary;
use crate::code::Code;
use crate::variant::Variant;
use isobench_core::{Availability, Description, EngineInfo, Fault, Guest, Limits, Model};
use isobench_runner::stopwatch::{Deadline, Phases};
use isobench_runner::{Attribution, Backend, Deployment, Instance, Prepared, RunContext, Target};
use std::collections::BTreeMap;

/// Most runtimes a footprint visit keeps alive: what the design asks of in-process backends.
const FOOTPRINT_INSTANCES: u32 = 256;

/// The `quickjs` backend.
pub struct QuickJs;

impl Backend for QuickJs {
    fn describe(&self) -> Description {
        let fresh = Variant::Fresh.name().into();
        Description {
            backend: "quickjs".into(),
            model: Model::Isolate,
            variants: Variant::ALL.into_iter().map(Variant::describe).collect(),
            in_process: true,
            hidden: false,
            footprint_instances: FOOTPRINT_INSTANCES,
            engines: vec![EngineInfo { name: "quickjs".into(), guests: vec![Guest::Js], variant: fresh }],
        }
    }

    fn probe(&self, _: &RunContext) -> Availability {
        Availability::Available {
            versions: [("quickjs-ng".into(), crate::version().into())].into(),
            emulated: false,
            notes: Vec::new(),
            absent: BTreeMap::new(),
        }
    }

    fn open(&self, _: &RunContext, _: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Ready))
    }
}

/// QuickJS has no state outside its runtimes: there is nothing to prepare.
struct Ready;

impl Prepared for Ready {
    fn deploy(&self, _: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        let variant = Variant::named(&target.variant)?;
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
        let mut boundary = self.variant.create(&self.limits)?;
        phases.end("create");
        boundary.load(&self.code, Some(deadline))?;
        Ok(Box::new(Running { boundary }))
    }

    fn footprint(&self) -> Attribution {
        Attribution::this_process()
    }
}

struct Running {
    boundary: Boundary,
}

impl Instance for Running {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.boundary.call(request, deadline)
    }

    fn footprint(&self) -> Attribution {
        Attribution::this_process()
    }

    fn stop(self: Box<Self>, _: Deadline) -> Result<(), Fault> {
        // Freeing a context runs none of the guest's code: it cannot hang, and dropping is all there is to it.
        Ok(())
    }
}
