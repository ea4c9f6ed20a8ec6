//! The ladder: what is done before the clock, what instances share, for each variant.

use crate::boundary::Boundary;
use crate::code::Code;
use crate::host;
use isobench_core::{Fault, Guest, Limits, Preparation, VariantInfo};
use isobench_runner::stopwatch::Deadline;

/// A rung of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Everything inside the clock.
    Fresh,
    /// Compiled ahead.
    Bytecode,
    /// The runtime living on, with contexts that come and go.
    Context,
}

impl Variant {
    pub(crate) const ALL: [Variant; 3] = [Variant::Fresh, Variant::Bytecode, Variant::Context];

    pub(crate) fn named(name: &str) -> Result<Variant, Fault> {
        let found = Variant::ALL.into_iter().find(|variant| variant.name() == name);
        found.ok_or_else(|| {
            let known = Variant::ALL.map(Variant::name).join(", ");
            Fault::backend(format!("quickjs has no variant `{name}`, but {known}"))
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Variant::Fresh => "fresh",
            Variant::Bytecode => "bytecode",
            Variant::Context => "context",
        }
    }

    pub(crate) fn describe(self) -> VariantInfo {
        let (prepared, also_shared) = match self {
            Variant::Fresh => ("the guest's file read into memory", ""),
            Variant::Bytecode => ("the bytecode of all the guest's functions, in memory", ""),
            Variant::Context => (
                "the guest's file read into memory; the living runtime, on the thread that deploys",
                ", and on a thread the runtime: its heap and collector, the memory limit, the queue of promises",
            ),
        };
        let preparation = match self {
            Variant::Fresh => Preparation::Nothing,
            Variant::Bytecode => Preparation::Code,
            Variant::Context => Preparation::Instance,
        };
        VariantInfo {
            name: self.name().into(),
            guests: vec![Guest::Js],
            prepared: prepared.into(),
            preparation: preparation.of(&[Guest::Js]),
            shared: format!("the host process and its allocator{also_shared}"),
            quick: self == Variant::Fresh,
            ..VariantInfo::default()
        }
    }

    /// All that happens before a request arrives.
    pub(crate) fn deploy(self, code: Code, limits: &Limits, deadline: Deadline) -> Result<Code, Fault> {
        match self {
            Variant::Bytecode => return code.compile(limits, deadline),
            Variant::Context => drop(host::living(limits)?),
            Variant::Fresh => {}
        }
        Ok(code)
    }

    /// The boundary of one instance, to be loaded.
    pub(crate) fn create(self, limits: &Limits) -> Result<Boundary, Fault> {
        match self {
            Variant::Fresh | Variant::Bytecode => Boundary::create(limits),
            Variant::Context => Boundary::within(&host::living(limits)?, limits),
        }
    }
}
