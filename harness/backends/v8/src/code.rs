//! A guest's code, and what can be done with it before any instance is started.

use crate::boundary::Boundary;
use crate::snapshot::Snapshot;
use crate::{js, wasm};
use isobench_core::{Fault, FaultKind, Guest, Limits};
use isobench_runner::stopwatch::Deadline;
use std::path::Path;

/// A guest's code, as an instance is given it.
pub struct Code {
    pub(crate) name: String,
    pub(crate) form: Form,
}

/// How far the code has come.
pub(crate) enum Form {
    /// A JS module.
    Js(Vec<u8>),
    /// A JS module and V8's code cache of it.
    JsCached(Vec<u8>, Vec<u8>),
    /// A JS module that has been evaluated.
    JsEvaluated(Snapshot),
    /// A Wasm binary.
    Wasm(Vec<u8>),
    /// A compiled Wasm module.
    WasmCompiled(v8::CompiledWasmModule),
}

impl Code {
    /// Reads a JS module or a Wasm binary. Nothing is compiled.
    ///
    /// # Errors
    /// The file cannot be read, or is of a kind that V8 does not run.
    pub fn read(guest: Guest, path: &Path) -> Result<Code, Fault> {
        let form = match guest {
            Guest::Js => Form::Js,
            Guest::Wasm => Form::Wasm,
            Guest::Native => return Err(Fault::backend("V8 runs js and wasm guests, not native ones")),
        };
        let bytes =
            std::fs::read(path).map_err(|e| Fault::new(FaultKind::InvalidGuest, format!("{}: {e}", path.display())))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Code { name, form: form(bytes) })
    }

    /// Compiles the guest, so that its instances need not: every function of a JS module into V8's code cache, a Wasm
    /// binary into a module that isolates share. Nothing of the guest is run.
    ///
    /// # Errors
    /// Those of [`Boundary::load`] before anything is evaluated.
    pub(crate) fn compile(self, limits: &Limits, deadline: Deadline) -> Result<Code, Fault> {
        let boundary = Boundary::create(limits);
        let (what, failed, name) = ("compiling the guest", self.failure(), self.name);
        let form = match self.form {
            Form::Js(text) => {
                let cache =
                    boundary.attempt(what, failed, Some(deadline), |scope| js::code_cache(scope, &name, &text))?;
                Form::JsCached(text, cache)
            }
            Form::Wasm(binary) => {
                let module =
                    boundary.attempt(what, failed, Some(deadline), |scope| wasm::compile(scope, &name, &binary))?;
                Form::WasmCompiled(module)
            }
            compiled => compiled,
        };
        Ok(Code { name, form })
    }

    /// Evaluates a JS module, so that its instances need not.
    ///
    /// # Errors
    /// Those of [`Boundary::load`].
    pub(crate) fn evaluate(self, limits: &Limits, deadline: Deadline) -> Result<Code, Fault> {
        let form = match self.form {
            Form::Js(text) => Form::JsEvaluated(Snapshot::take(&self.name, &text, limits, deadline)?),
            other => other,
        };
        Ok(Code { name: self.name, form })
    }

    /// What the guest did when it fails without breaking the contract.
    pub(crate) fn failure(&self) -> FaultKind {
        match self.form {
            Form::Wasm(_) | Form::WasmCompiled(_) => FaultKind::GuestTrap,
            Form::Js(_) | Form::JsCached(..) | Form::JsEvaluated(_) => FaultKind::GuestThrow,
        }
    }
}
