//! A guest that has been evaluated, written down: isolates start from it as V8's own start from V8's snapshot.

use crate::boundary::{Boundary, Entry};
use crate::host::Host;
use crate::js::{self, Compile};
use crate::memory::Memory;
use crate::stop::Stop;
use crate::text;
use isobench_core::{Fault, FaultKind, Limits};
use isobench_runner::stopwatch::Deadline;

/// An isolate's heap with one context and the guest in it.
///
/// V8 wants all isolates that live at the same time to have their read-only heap from the same snapshot: once this one
/// is taken, no isolate of the process may be started from another while any lives.
pub(crate) struct Snapshot {
    /// Never freed: V8 reads it for as long as an isolate of it lives. A process has one.
    blob: &'static [u8],
    /// Where the context's data has the guest's `handle`.
    handle: usize,
}

impl Snapshot {
    /// Evaluates a JS module, with every function of it compiled, and takes the snapshot. No isolate may be alive.
    ///
    /// # Errors
    /// Those of [`Boundary::load`].
    pub(crate) fn take(name: &str, text: &[u8], limits: &Limits, deadline: Deadline) -> Result<Snapshot, Fault> {
        let memory = Memory::new(limits.memory_bytes);
        let creator = v8::Isolate::snapshot_creator(Some(text::references()), Some(memory.create_params()));
        let boundary = Boundary::within(Host::around(creator, memory), limits);
        let evaluated = boundary.attempt("loading the guest", FaultKind::GuestThrow, Some(deadline), |scope| {
            let handle = js::load(scope, name, text, Compile::Eagerly)?;
            let (context, handle) = (scope.get_current_context(), v8::Local::new(scope, handle));
            Ok(scope.add_context_data(context, handle))
        });
        // Also where the guest failed: an isolate that was made to be written down can only end like that.
        boundary.inside(None, |scope, _: &Entry| {
            let context = scope.get_current_context();
            scope.set_default_context(context);
        });
        let written = boundary.into_host().into_snapshot();
        let handle = evaluated?;
        let written = written.ok_or_else(|| Fault::backend(format!("{name}: V8 could not take a snapshot of it")))?;
        Ok(Snapshot { blob: written.to_vec().leak(), handle })
    }

    /// An isolate that starts from it; its default context is the guest's.
    pub(crate) fn host(&self, limits: &Limits) -> Host {
        let memory = Memory::new(limits.memory_bytes);
        let params = memory.create_params().snapshot_blob(self.blob.into()).external_references(text::references());
        Host::around(v8::Isolate::new(params), memory)
    }

    /// The guest's `handle`, in a context of such an isolate.
    pub(crate) fn handle(&self, scope: &mut v8::PinScope<'_, '_>) -> Result<v8::Global<v8::Function>, Stop> {
        let handle = scope.get_context_data_from_snapshot_once::<v8::Function>(self.handle);
        let handle = handle.map_err(|e| Fault::backend(format!("the guest's `handle` is not in the snapshot: {e}")))?;
        Ok(v8::Global::new(scope, handle))
    }
}
