//! One isolate and its context: made, loaded, called, thrown away.

use crate::memory::Memory;
use crate::stop::Stop;
use crate::watchdog::Watch;
use crate::{engine, js, text, wasm};
use isobench_core::{Fault, FaultKind, Guest, Limits};
use isobench_runner::stopwatch::Deadline;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;

/// A guest's code, as it lies in its file.
#[derive(Debug)]
pub struct Code {
    guest: Guest,
    name: String,
    bytes: Vec<u8>,
}

impl Code {
    /// Reads a JS module or a Wasm binary. Nothing is compiled.
    ///
    /// # Errors
    /// The file cannot be read, or is of a kind that V8 does not run.
    pub fn read(guest: Guest, path: &Path) -> Result<Code, Fault> {
        if guest == Guest::Native {
            return Err(Fault::backend("V8 runs js and wasm guests, not native ones"));
        }
        let bytes =
            std::fs::read(path).map_err(|e| Fault::new(FaultKind::InvalidGuest, format!("{}: {e}", path.display())))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Code { guest, name, bytes })
    }
}

/// What is called of a loaded guest.
enum Entry {
    Nothing,
    Js(v8::Global<v8::Function>),
    Wasm(wasm::Exports),
}

/// An isolate with its context, its memory limit and its watch. It lives and dies on the thread that made it, in any
/// order with others.
pub struct Boundary {
    entry: Entry,
    context: Option<v8::Global<v8::Context>>,
    watch: Watch,
    memory: Arc<Memory>,
    frame_bytes: u64,
    /// Entered only while it is used, so that many can live on one thread. Dropped by hand, entered once more.
    isolate: ManuallyDrop<v8::OwnedIsolate>,
}

impl Boundary {
    /// A fresh isolate with a fresh context. [`engine::initialise`] comes first.
    pub fn create(limits: &Limits) -> Boundary {
        let memory = Memory::new(limits.memory_bytes);
        let mut isolate = v8::Isolate::new(memory.create_params());
        isolate.set_oom_error_handler(engine::out_of_memory());
        isolate.set_slot(Arc::clone(&memory));
        memory.guard(&mut isolate);
        let context = {
            v8::scope!(let scope, &mut isolate);
            let context = v8::Context::new(scope, v8::ContextOptions::default());
            let scope = &mut v8::ContextScope::new(scope, context);
            text::install(scope, context);
            v8::Global::new(scope, context)
        };
        let watch = Watch::new(isolate.thread_safe_handle());
        // SAFETY: `new` entered it, on this thread.
        unsafe { isolate.exit() };
        Boundary {
            entry: Entry::Nothing,
            context: Some(context),
            watch,
            memory,
            frame_bytes: limits.frame_bytes,
            isolate: ManuallyDrop::new(isolate),
        }
    }

    /// Compiles and evaluates the guest. `None` leaves the deadline to whoever started this process.
    ///
    /// # Errors
    /// `invalid_guest` for what does not compile or lacks its exports, `guest_throw` or `guest_trap` for what fails when
    /// evaluated, `out_of_memory`, `deadline_exceeded`.
    pub fn load(&mut self, code: &Code, deadline: Option<Deadline>) -> Result<(), Fault> {
        let loaded = self.inside(deadline, |scope, _| match code.guest {
            Guest::Wasm => wasm::load(scope, &code.name, &code.bytes).map(Entry::Wasm),
            _ => js::load(scope, &code.name, &code.bytes).map(Entry::Js),
        });
        self.entry = loaded.map_err(|stop| {
            let failed = if code.guest == Guest::Wasm { FaultKind::GuestTrap } else { FaultKind::GuestThrow };
            self.judge(stop, failed, deadline, "loading the guest")
        })?;
        Ok(())
    }

    /// One request.
    ///
    /// # Errors
    /// `guest_throw` or `guest_trap`, `bad_answer`, `frame_too_large`, `out_of_memory`, `deadline_exceeded`. After
    /// `out_of_memory` of the heap, every later call fails in the same way.
    pub fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        if self.memory.heap_exhausted() {
            return Err(self.out_of_memory("its heap was exhausted by an earlier call"));
        }
        let (memory, frame_bytes) = (Arc::clone(&self.memory), self.frame_bytes);
        let answer = self.inside(Some(deadline), |scope, entry| match entry {
            Entry::Js(handle) => js::call(scope, &memory, handle, request, frame_bytes),
            Entry::Wasm(exports) => wasm::call(scope, exports, request, frame_bytes).map_err(|stop| match stop {
                Stop::Thrown(trap) if wasm::memory_exhausted(scope, exports, &memory, &trap) => {
                    Stop::OutOfMemory(format!("{trap}, with half of that or more in use: an allocation was refused"))
                }
                stop => stop,
            }),
            Entry::Nothing => Err(Fault::new(FaultKind::Internal, "called before it was loaded").into()),
        });
        answer.map_err(|stop| {
            let failed =
                if matches!(self.entry, Entry::Wasm(_)) { FaultKind::GuestTrap } else { FaultKind::GuestThrow };
            self.judge(stop, failed, Some(deadline), "the call")
        })
    }

    /// Runs `act` in the isolate's context, under the watchdog's eyes.
    fn inside<T>(
        &mut self,
        deadline: Option<Deadline>,
        act: impl FnOnce(&mut v8::PinScope<'_, '_>, &Entry) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        // SAFETY: on the thread that made it; exited below, on every path but that of a panic, which only a bug of ours is.
        unsafe { self.isolate.enter() };
        if let Some(deadline) = deadline {
            self.watch.arm(deadline);
        }
        let done = {
            v8::scope!(let scope, &mut **self.isolate);
            let context = v8::Local::new(scope, self.context.as_ref().expect("present until dropped"));
            let scope = &mut v8::ContextScope::new(scope, context);
            act(scope, &self.entry)
        };
        if deadline.is_some() && self.watch.disarm() {
            self.isolate.cancel_terminate_execution();
        }
        // SAFETY: entered above.
        unsafe { self.isolate.exit() };
        done
    }

    /// Gives a stop its name.
    fn judge(&self, stop: Stop, failed: FaultKind, deadline: Option<Deadline>, what: &str) -> Fault {
        if self.memory.heap_exhausted() {
            return self.out_of_memory("its heap came near the limit and it was terminated");
        }
        match (stop, deadline) {
            (Stop::Fault(fault), _) => fault,
            (Stop::OutOfMemory(how), _) => self.out_of_memory(&how),
            // The texts of V8 for a refused buffer, whatever asked for it.
            (Stop::Thrown(message), _) if self.memory.buffer_refused() && message.contains("allocation failed") => {
                self.out_of_memory(&message)
            }
            (Stop::Thrown(message), _) => Fault::new(failed, message),
            (Stop::Terminated, Some(deadline)) => deadline.fault(what),
            (Stop::Terminated, None) => Fault::new(FaultKind::Internal, format!("{what} was terminated by nobody")),
        }
    }

    fn out_of_memory(&self, how: &str) -> Fault {
        let message = format!("the guest may have {} bytes (`memory_mib` in [limits]): {how}", self.memory.limit());
        Fault::new(FaultKind::OutOfMemory, message)
    }
}

impl Drop for Boundary {
    fn drop(&mut self) {
        // The crate insists that an isolate is the entered one when it is dropped, and exits it itself.
        // SAFETY: on the thread that made it, where it is not entered.
        unsafe { self.isolate.enter() };
        self.entry = Entry::Nothing;
        self.context = None;
        // SAFETY: nothing of it is used after this; what it points to (`memory`) is dropped later.
        unsafe { ManuallyDrop::drop(&mut self.isolate) };
    }
}
