//! A guest's code, and what can be done with it before any instance is started.

use crate::boundary::Boundary;
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
    /// A module's text.
    Text(Vec<u8>),
    /// QuickJS's bytecode of a module, written by this very build.
    Bytecode(Vec<u8>),
}

impl Code {
    /// Reads a JS module. Nothing is compiled.
    ///
    /// # Errors
    /// The file cannot be read, or is of a kind that QuickJS does not run.
    pub fn read(guest: Guest, path: &Path) -> Result<Code, Fault> {
        if guest != Guest::Js {
            return Err(Fault::backend(format!("QuickJS runs js guests, not {guest} ones")));
        }
        let text =
            std::fs::read(path).map_err(|e| Fault::new(FaultKind::InvalidGuest, format!("{}: {e}", path.display())))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Code { name, form: Form::Text(text) })
    }

    /// Compiles the guest, so that its instances need not. Nothing of it is run.
    ///
    /// # Errors
    /// Those of [`Boundary::load`] before anything is evaluated.
    pub(crate) fn compile(self, limits: &Limits, deadline: Deadline) -> Result<Code, Fault> {
        let form = Form::Bytecode(Boundary::create(limits)?.compile(&self, deadline)?);
        Ok(Code { name: self.name, form })
    }
}
