//! What one guest runs in: a context, in an isolate of its own or in one that it shares. Made, loaded, called, thrown
//! away.

use crate::code::{Code, Form};
use crate::host::Host;
use crate::js::Compile;
use crate::snapshot::Snapshot;
use crate::stop::Stop;
use crate::wasm::Source;
use crate::{js, text, wasm};
use isobench_core::{Fault, FaultKind, Limits};
use isobench_runner::stopwatch::Deadline;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// What is called of a loaded guest.
pub(crate) enum Entry {
    Nothing,
    Js(v8::Global<v8::Function>),
    Wasm(wasm::Exports),
}

/// An isolate that contexts of one thread share.
pub(crate) type SharedHost = Rc<RefCell<Host>>;

/// A context and its isolate, with a memory limit and a watch. It lives and dies on the thread that made it, in any
/// order with others.
pub struct Boundary {
    // In the order in which they must go: whatever holds on to the isolate before the isolate.
    entry: Entry,
    context: v8::Global<v8::Context>,
    /// What the guest's promises wait in, where the isolate is not its own.
    _microtasks: Option<v8::MicrotaskQueueHandle>,
    frame_bytes: u64,
    host: SharedHost,
}

impl Boundary {
    /// A fresh isolate with a fresh context. [`engine::initialise`](crate::engine::initialise) comes first.
    pub fn create(limits: &Limits) -> Boundary {
        Boundary::within(Host::fresh(limits), limits)
    }

    /// A fresh context in an isolate of its own.
    pub(crate) fn within(mut host: Host, limits: &Limits) -> Boundary {
        let context = host.enter(None, |scope| new_context(scope, v8::ContextOptions::default()));
        Boundary {
            entry: Entry::Nothing,
            context,
            _microtasks: None,
            frame_bytes: limits.frame_bytes,
            host: Rc::new(RefCell::new(host)),
        }
    }

    /// A fresh context in an isolate that others live in. What one guest leaves pending must not run in the call of
    /// another, so each has a queue of its own for that.
    pub(crate) fn beside(host: &SharedHost, limits: &Limits) -> Boundary {
        let (context, microtasks) = host.borrow_mut().enter(None, |scope| {
            let microtasks = v8::MicrotaskQueue::new(scope, v8::MicrotasksPolicy::Auto);
            let queue = std::ptr::from_ref::<v8::MicrotaskQueue>(&microtasks).cast_mut();
            let options = v8::ContextOptions { microtask_queue: Some(queue), ..v8::ContextOptions::default() };
            (new_context(scope, options), microtasks)
        });
        Boundary {
            entry: Entry::Nothing,
            context,
            _microtasks: Some(microtasks),
            frame_bytes: limits.frame_bytes,
            host: Rc::clone(host),
        }
    }

    /// A fresh isolate with a fresh context, as `code` wants them.
    pub(crate) fn of(code: &Code, limits: &Limits) -> Boundary {
        match &code.form {
            Form::JsEvaluated(snapshot) => Boundary::from_snapshot(snapshot, limits),
            _ => Boundary::create(limits),
        }
    }

    /// An isolate and a context as a snapshot has them: the guest is in it, and evaluated.
    fn from_snapshot(snapshot: &Snapshot, limits: &Limits) -> Boundary {
        let mut host = snapshot.host(limits);
        let context = host.enter(None, |scope| {
            let context = v8::Context::new(scope, v8::ContextOptions::default());
            v8::Global::new(scope, context)
        });
        Boundary {
            entry: Entry::Nothing,
            context,
            _microtasks: None,
            frame_bytes: limits.frame_bytes,
            host: Rc::new(RefCell::new(host)),
        }
    }

    /// Compiles and evaluates the guest. `None` leaves the deadline to whoever started this process.
    ///
    /// # Errors
    /// `invalid_guest` for what does not compile or lacks its exports, `guest_throw` or `guest_trap` for what fails when
    /// evaluated, `out_of_memory`, `deadline_exceeded`.
    pub fn load(&mut self, code: &Code, deadline: Option<Deadline>) -> Result<(), Fault> {
        let name = &code.name;
        let memory = Arc::clone(self.host.borrow().memory());
        self.entry = self.attempt("loading the guest", code.failure(), deadline, |scope| match &code.form {
            Form::Js(text) => js::load(scope, name, text, Compile::Lazily).map(Entry::Js),
            Form::JsCached(text, cache) => js::load(scope, name, text, Compile::From(cache)).map(Entry::Js),
            Form::JsEvaluated(snapshot) => snapshot.handle(scope).map(Entry::Js),
            Form::Wasm(binary) => wasm::load(scope, name, &memory, Source::Binary(binary)).map(Entry::Wasm),
            Form::WasmCompiled(module) => wasm::load(scope, name, &memory, Source::Compiled(module)).map(Entry::Wasm),
        })?;
        Ok(())
    }

    /// Does something else than calling the guest in its context; `failed` is what an exception there means.
    pub(crate) fn attempt<T>(
        &self,
        what: &str,
        failed: FaultKind,
        deadline: Option<Deadline>,
        act: impl FnOnce(&mut v8::PinScope<'_, '_>) -> Result<T, Stop>,
    ) -> Result<T, Fault> {
        self.finish(deadline, |scope, _| act(scope)).map_err(|stop| self.judge(stop, failed, deadline, what))
    }

    /// One request.
    ///
    /// # Errors
    /// `guest_throw` or `guest_trap`, `bad_answer`, `frame_too_large`, `out_of_memory`, `deadline_exceeded`. After
    /// `out_of_memory` of the heap, every later call of whatever lives in the isolate fails in the same way.
    pub fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        let memory = Arc::clone(self.host.borrow().memory());
        if memory.heap_exhausted() {
            return Err(self.out_of_memory("its heap was exhausted by an earlier call"));
        }
        let frame_bytes = self.frame_bytes;
        let answer = self.finish(Some(deadline), |scope, entry| match entry {
            Entry::Js(handle) => js::call(scope, &memory, handle, request, frame_bytes),
            Entry::Wasm(exports) => {
                let answer = wasm::call(scope, exports, request, frame_bytes);
                answer.map_err(|stop| wasm::refused_memory(scope, exports, &memory, stop))
            }
            Entry::Nothing => Err(Fault::new(FaultKind::Internal, "called before it was loaded").into()),
        });
        answer.map_err(|stop| {
            let failed =
                if matches!(self.entry, Entry::Wasm(_)) { FaultKind::GuestTrap } else { FaultKind::GuestThrow };
            self.judge(stop, failed, Some(deadline), "the call")
        })
    }

    /// Runs `act` in the context. Its success counts only if what the guest left pending, which V8 runs before it
    /// returns, has kept the deadline and the memory limit too.
    fn finish<T>(
        &self,
        deadline: Option<Deadline>,
        act: impl FnOnce(&mut v8::PinScope<'_, '_>, &Entry) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let done = self.inside(deadline, act)?;
        let host = self.host.borrow();
        if host.expired() || host.memory().heap_exhausted() { Err(Stop::Terminated) } else { Ok(done) }
    }

    /// Runs `act` in the context, under the watchdog's eyes.
    pub(crate) fn inside<T>(
        &self,
        deadline: Option<Deadline>,
        act: impl FnOnce(&mut v8::PinScope<'_, '_>, &Entry) -> T,
    ) -> T {
        self.host.borrow_mut().enter(deadline, |scope| {
            let context = v8::Local::new(scope, &self.context);
            let scope = &mut v8::ContextScope::new(scope, context);
            act(scope, &self.entry)
        })
    }

    /// The isolate alone, without any handle to what is in it.
    pub(crate) fn into_host(self) -> Host {
        let Boundary { host, .. } = self;
        Rc::into_inner(host).expect("the isolate is its own").into_inner()
    }

    /// Gives a stop its name.
    fn judge(&self, stop: Stop, failed: FaultKind, deadline: Option<Deadline>, what: &str) -> Fault {
        let memory = Arc::clone(self.host.borrow().memory());
        if memory.heap_exhausted() {
            return self.out_of_memory("its heap came near the limit and it was terminated");
        }
        match (stop, deadline) {
            (Stop::Fault(fault), _) => fault,
            (Stop::OutOfMemory(how), _) => self.out_of_memory(&how),
            // The texts of V8 for a refused buffer, whatever asked for it.
            (Stop::Thrown(message), _) if memory.buffer_refused() && message.contains("allocation failed") => {
                self.out_of_memory(&message)
            }
            (Stop::Thrown(message), _) => Fault::new(failed, message),
            (Stop::Terminated, Some(deadline)) => deadline.fault(what),
            (Stop::Terminated, None) => Fault::new(FaultKind::Internal, format!("{what} was terminated by nobody")),
        }
    }

    fn out_of_memory(&self, how: &str) -> Fault {
        let limit = self.host.borrow().memory().limit();
        let message = format!("the guest may have {limit} bytes (`memory_mib` in [limits]): {how}");
        Fault::new(FaultKind::OutOfMemory, message)
    }
}

fn new_context(scope: &mut v8::PinScope<'_, '_, ()>, options: v8::ContextOptions<'_>) -> v8::Global<v8::Context> {
    let context = v8::Context::new(scope, options);
    let scope = &mut v8::ContextScope::new(scope, context);
    text::install(scope, context);
    v8::Global::new(scope, context)
}
