//! The ladder: what is done before the clock, what instances share, for each variant.

use crate::boundary::Boundary;
use crate::code::Code;
use crate::engine::Compilers;
use crate::kept;
use isobench_core::{Fault, Guest, Limits, Preparation, VariantInfo};
use isobench_runner::stopwatch::Deadline;

/// A rung of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Everything inside the clock.
    Fresh,
    /// Compiled ahead: V8's code cache.
    CodeCache,
    /// Compiled ahead: a module that isolates share.
    ModuleCache,
    /// Evaluated ahead: V8's startup snapshot.
    Snapshot,
    /// The isolate made ahead, for one use.
    Pool,
    /// The isolate living on, with contexts that come and go.
    Context,
    /// No code is generated.
    Jitless,
}

const JS: &[Guest] = &[Guest::Js];
const WASM: &[Guest] = &[Guest::Wasm];
const BOTH: &[Guest] = &[Guest::Wasm, Guest::Js];

/// What instances share in every variant.
const ALWAYS_SHARED: &str = "the host process, V8's read-only heap and built-ins, its worker threads";

impl Variant {
    pub(crate) const ALL: [Variant; 7] = [
        Variant::Fresh,
        Variant::CodeCache,
        Variant::ModuleCache,
        Variant::Snapshot,
        Variant::Pool,
        Variant::Context,
        Variant::Jitless,
    ];

    pub(crate) fn named(name: &str) -> Result<Variant, Fault> {
        let found = Variant::ALL.into_iter().find(|variant| variant.name() == name);
        found.ok_or_else(|| {
            let known = Variant::ALL.map(Variant::name).join(", ");
            Fault::backend(format!("v8 has no variant `{name}`, but {known}"))
        })
    }

    fn name(self) -> &'static str {
        match self {
            Variant::Fresh => "fresh",
            Variant::CodeCache => "code-cache",
            Variant::ModuleCache => "module-cache",
            Variant::Snapshot => "snapshot",
            Variant::Pool => "pool",
            Variant::Context => "context",
            Variant::Jitless => "jitless",
        }
    }

    pub(crate) fn describe(self) -> VariantInfo {
        let (guests, prepared, also_shared) = match self {
            Variant::Fresh => (
                BOTH,
                "the guest's file read into memory",
                "; compiled Wasm while another instance of the module lives",
            ),
            Variant::CodeCache => (JS, "the bytecode of all the guest's functions in V8's code cache, in memory", ""),
            Variant::ModuleCache => (
                WASM,
                "the guest compiled to a module that lives on; its functions when one instance first calls them",
                ", the guest's machine code",
            ),
            Variant::Snapshot => (
                JS,
                "a snapshot of a heap in which the guest has been compiled and evaluated, in memory; an idle isolate, with \
                 which V8's read-only heap lives on",
                ", and as copies whatever the guest drew at its top level (random numbers, the time)",
            ),
            Variant::Pool => (
                BOTH,
                "the guest's file read into memory; isolates with a context, on the thread that deploys. `destroy` makes \
                 the next one",
                "; compiled Wasm while another instance of the module lives",
            ),
            Variant::Context => (
                BOTH,
                "the guest's file read into memory; the living isolate, on the thread that deploys",
                ", and on a thread the isolate: its heap and garbage collector, the memory limit, compiled code, the \
                 generator behind random numbers",
            ),
            Variant::Jitless => (JS, "the guest's file read into memory", ""),
        };
        let preparation = match self {
            Variant::Fresh | Variant::Jitless => Preparation::Nothing,
            Variant::CodeCache | Variant::ModuleCache | Variant::Snapshot => Preparation::Code,
            Variant::Pool | Variant::Context => Preparation::Instance,
        };
        let representative = matches!(self, Variant::Fresh | Variant::ModuleCache | Variant::Snapshot | Variant::Pool);
        VariantInfo {
            name: self.name().into(),
            guests: guests.into(),
            prepared: format!("V8 initialised in the host process; {prepared}"),
            preparation: preparation.of(guests),
            representative: representative.into(),
            shared: format!("{ALWAYS_SHARED}{also_shared}"),
            quick: matches!(self, Variant::Fresh | Variant::Snapshot),
            ..VariantInfo::default()
        }
    }

    /// What of V8 the process is initialised with.
    pub(crate) fn compilers(self) -> Compilers {
        if self == Variant::Jitless { Compilers::None } else { Compilers::All }
    }

    /// All that happens before a request arrives.
    pub(crate) fn deploy(self, code: Code, limits: &Limits, deadline: Deadline) -> Result<Code, Fault> {
        match self {
            Variant::CodeCache | Variant::ModuleCache => return code.compile(limits, deadline),
            Variant::Snapshot => {
                // A snapshot is taken while no isolate lives.
                kept::keep_idle(None);
                let code = code.evaluate(limits, deadline)?;
                kept::keep_idle(Some(Boundary::of(&code, limits)));
                return Ok(code);
            }
            Variant::Pool => kept::fill(limits),
            Variant::Context => drop(kept::living(limits)),
            Variant::Fresh | Variant::Jitless => {}
        }
        Ok(code)
    }

    /// The boundary of one instance, to be loaded.
    pub(crate) fn create(self, code: &Code, limits: &Limits) -> Boundary {
        match self {
            Variant::Fresh | Variant::CodeCache | Variant::ModuleCache | Variant::Snapshot | Variant::Jitless => {
                Boundary::of(code, limits)
            }
            Variant::Pool => kept::take(limits),
            Variant::Context => Boundary::beside(&kept::living(limits), limits),
        }
    }

    /// What remains to be done once an instance is gone.
    pub(crate) fn replace(self, limits: &Limits) {
        if self == Variant::Pool {
            kept::refill(limits);
        }
    }
}
