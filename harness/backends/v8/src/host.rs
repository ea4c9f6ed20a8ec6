//! An isolate with its memory limit and its watch: what contexts live in.

use crate::engine;
use crate::memory::Memory;
use crate::watchdog::Watch;
use isobench_core::Limits;
use isobench_runner::stopwatch::Deadline;
use std::sync::Arc;

/// An isolate. It lives and dies on the thread that made it, in any order with others.
pub(crate) struct Host {
    watch: Watch,
    memory: Arc<Memory>,
    /// Entered only while it is used, so that many can live on one thread. Gone once it has become a snapshot.
    isolate: Option<v8::OwnedIsolate>,
    expired: bool,
}

impl Host {
    /// A fresh isolate. [`engine::initialise`] comes first.
    pub(crate) fn fresh(limits: &Limits) -> Host {
        let memory = Memory::new(limits.memory_bytes);
        let isolate = v8::Isolate::new(memory.create_params());
        Host::around(isolate, memory)
    }

    /// Puts an isolate that has just been made, with `memory`'s parameters, under its guards.
    pub(crate) fn around(mut isolate: v8::OwnedIsolate, memory: Arc<Memory>) -> Host {
        isolate.set_oom_error_handler(engine::out_of_memory());
        isolate.set_slot(Arc::clone(&memory));
        memory.guard(&mut isolate);
        let watch = Watch::new(isolate.thread_safe_handle());
        // SAFETY: making it entered it, on this thread.
        unsafe { isolate.exit() };
        Host { watch, memory, isolate: Some(isolate), expired: false }
    }

    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Whether what was last run was terminated at its deadline, be it after `act` had what it came for.
    pub(crate) fn expired(&self) -> bool {
        self.expired
    }

    /// Runs `act` in the isolate, under the watchdog's eyes.
    pub(crate) fn enter<T>(
        &mut self,
        deadline: Option<Deadline>,
        act: impl FnOnce(&mut v8::PinScope<'_, '_, ()>) -> T,
    ) -> T {
        let isolate = self.isolate.as_mut().expect("present until it becomes a snapshot");
        // SAFETY: on the thread that made it; exited below, on every path but that of a panic, which only a bug of ours
        // is.
        unsafe { isolate.enter() };
        if let Some(deadline) = deadline {
            self.watch.arm(deadline);
        }
        let done = {
            v8::scope!(let scope, &mut **isolate);
            act(scope)
        };
        self.expired = deadline.is_some() && self.watch.disarm();
        if self.expired {
            isolate.cancel_terminate_execution();
        }
        // SAFETY: entered above.
        unsafe { isolate.exit() };
        done
    }

    /// Writes the isolate down. It must have been made by `Isolate::snapshot_creator`, have a default context, and no
    /// handle to anything in it may be left.
    pub(crate) fn into_snapshot(mut self) -> Option<v8::StartupData> {
        let isolate = self.isolate.take().expect("present until it becomes a snapshot");
        // SAFETY: on the thread that made it, where it is not entered. Writing it down exits and ends it.
        unsafe { isolate.enter() };
        isolate.create_blob(v8::FunctionCodeHandling::Keep)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(isolate) = self.isolate.take() {
            // The crate insists that an isolate is the entered one when it is dropped, and exits it itself. What it
            // points to (`memory`) is dropped later.
            // SAFETY: on the thread that made it, where it is not entered.
            unsafe { isolate.enter() };
            drop(isolate);
        }
    }
}
