//! What one guest runs in: a context, in a runtime of its own or in one that it shares. Made, loaded, called, thrown
//! away.

use crate::code::{Code, Form};
use crate::guard::Guard;
use crate::host::Host;
use crate::stop::{Stop, caught};
use isobench_core::{Fault, FaultKind, Limits};
use isobench_runner::stopwatch::Deadline;
use rquickjs::{Context, Ctx, Function, Module, Persistent, Value, WriteOptions, qjs};
use std::rc::Rc;

/// A context and its runtime, with a memory limit and a deadline. It lives and dies on the thread that made it, in any
/// order with others.
pub struct Boundary {
    // In the order in which they must go: what holds on to the runtime before the runtime.
    handle: Option<Persistent<Function<'static>>>,
    context: Context,
    guard: Rc<Guard>,
    /// The guest's file, as errors name it.
    name: String,
    frame_bytes: u64,
}

impl Boundary {
    /// A fresh runtime with a fresh context.
    ///
    /// # Errors
    /// The memory limit is too small for them.
    pub fn create(limits: &Limits) -> Result<Boundary, Fault> {
        Boundary::within(&Host::fresh(limits)?, limits)
    }

    /// A fresh context in a runtime that others may live in.
    pub(crate) fn within(host: &Host, limits: &Limits) -> Result<Boundary, Fault> {
        host.guard.arm(None);
        let context = host.context(limits)?;
        let guard = Rc::clone(&host.guard);
        Ok(Boundary { handle: None, context, guard, name: String::new(), frame_bytes: limits.frame_bytes })
    }

    /// Compiles and evaluates the guest. `None` leaves the deadline to whoever started this process.
    ///
    /// # Errors
    /// `invalid_guest` for what does not compile or lacks its export, `guest_throw` for what throws when evaluated,
    /// `out_of_memory`, `deadline_exceeded`.
    pub fn load(&mut self, code: &Code, deadline: Option<Deadline>) -> Result<(), Fault> {
        self.name.clone_from(&code.name);
        let handle = self.attempt("loading the guest", deadline, |ctx| {
            let handle = load(ctx, &self.guard, code)?;
            Ok(Persistent::save(ctx, handle))
        })?;
        self.handle = Some(handle);
        Ok(())
    }

    /// QuickJS's bytecode of the guest, which is not evaluated. Without its text, which nothing needs but
    /// `Function.prototype.toString`; with the lines that errors name.
    pub(crate) fn compile(&self, code: &Code, deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.attempt("compiling the guest", Some(deadline), |ctx| {
            let options = WriteOptions { strip_source: true, ..WriteOptions::default() };
            declare(ctx, code)?.write(options).map_err(|_| caught(ctx, &code.name, FaultKind::InvalidGuest))
        })
    }

    /// One request.
    ///
    /// # Errors
    /// `guest_throw`, `bad_answer`, `frame_too_large`, `out_of_memory`, `deadline_exceeded`.
    pub fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        self.attempt("the call", Some(deadline), |ctx| {
            let handle = self.handle.clone().and_then(|handle| handle.restore(ctx).ok());
            let handle = handle.ok_or_else(|| Fault::new(FaultKind::Internal, "called before it was loaded"))?;
            let answer = to_uint8_array(ctx, request).and_then(|request| handle.call::<_, Value<'_>>((request,)));
            let answer = answer.map_err(|_| caught(ctx, &self.name, FaultKind::GuestThrow))?;
            if self.guard.expired() {
                // An async function makes a rejected promise of an interruption, and its caller goes on.
                return Err(Stop::Expired);
            }
            // What the call left pending runs before anyone looks at its answer, and no longer than the deadline.
            finish_jobs(ctx, &self.guard);
            if self.guard.expired() {
                return Err(Stop::Expired);
            }
            Ok(copy_answer(ctx, &answer, self.frame_bytes)?)
        })
    }

    /// Does something in the context under its guard, and gives a stop its name.
    fn attempt<T>(
        &self,
        what: &str,
        deadline: Option<Deadline>,
        act: impl FnOnce(&Ctx<'_>) -> Result<T, Stop>,
    ) -> Result<T, Fault> {
        self.guard.arm(deadline);
        let done = self.context.with(|ctx| {
            let done = act(&ctx);
            if has_pending_jobs(&ctx) {
                self.guard.retire();
            }
            done
        });
        done.map_err(|stop| match (stop, deadline) {
            (Stop::Fault(fault), _) => fault,
            (Stop::Expired | Stop::Thrown(_), Some(deadline)) if self.guard.expired() => deadline.fault(what),
            (Stop::Expired, _) => Fault::new(FaultKind::Internal, format!("{what} was interrupted by nobody")),
            (Stop::Thrown(thrown), _) if thrown.no_memory && self.guard.refused() => {
                let limit = self.guard.limit();
                let message = format!("the guest may have {limit} bytes (`memory_mib` in [limits]) and wanted more");
                Fault::new(FaultKind::OutOfMemory, message)
            }
            (Stop::Thrown(thrown), _) => Fault::new(thrown.kind, thrown.text),
        })
    }
}

/// Compiles and evaluates the module; answers with its `handle`.
fn load<'js>(ctx: &Ctx<'js>, guard: &Guard, code: &Code) -> Result<Function<'js>, Stop> {
    let name = &code.name;
    // What throws here does so before the guest runs: its own failures are in the promise.
    let evaluated = declare(ctx, code)?.eval();
    let (module, completion) = evaluated.map_err(|_| caught(ctx, name, FaultKind::InvalidGuest))?;
    finish_jobs(ctx, guard);
    if guard.expired() {
        return Err(Stop::Expired);
    }
    match completion.result::<Value<'_>>() {
        Some(Ok(_)) => {}
        Some(Err(_)) => return Err(caught(ctx, name, FaultKind::GuestThrow)),
        None => {
            let message = format!("{name}: awaits at its top level what never comes: there is no event loop");
            return Err(invalid(message).into());
        }
    }
    let handle = module.get::<_, Value<'_>>("handle").ok().and_then(Value::into_function);
    handle.ok_or_else(|| {
        // Reading an export that has no value yet throws; whoever looks for an exception next must not find that.
        ctx.catch();
        invalid(format!("{name}: exports no function `handle`: it must `export function handle(request)`")).into()
    })
}

/// The module, compiled and not evaluated.
fn declare<'js>(ctx: &Ctx<'js>, code: &Code) -> Result<Module<'js>, Stop> {
    let name = code.name.as_str();
    let declared = match &code.form {
        Form::Text(text) => {
            std::str::from_utf8(text).map_err(|e| invalid(format!("{name}: not UTF-8: {e}")))?;
            // With room for the zero that QuickJS wants at the end.
            let mut copy = Vec::with_capacity(text.len() + 1);
            copy.extend_from_slice(text);
            Module::declare(ctx.clone(), name, copy)
        }
        // SAFETY: this program wrote it, and only this program reads it.
        Form::Bytecode(bytecode) => unsafe { Module::load(ctx.clone(), bytecode) },
    };
    declared.map_err(|error| match error {
        rquickjs::Error::Exception => caught(ctx, name, FaultKind::InvalidGuest),
        other => invalid(format!("{name}: {other}")).into(),
    })
}

/// Runs what promises wait for, until nothing is left or the deadline has passed.
fn finish_jobs(ctx: &Ctx<'_>, guard: &Guard) {
    while !guard.expired() && ctx.execute_pending_job() {}
}

/// Whether promises still wait: of any context of the runtime.
fn has_pending_jobs(ctx: &Ctx<'_>) -> bool {
    // SAFETY: a living context; the function only looks at its runtime's queue.
    unsafe { qjs::JS_IsJobPending(qjs::JS_GetRuntime(ctx.as_raw().as_ptr())) }
}

fn to_uint8_array<'js>(ctx: &Ctx<'js>, bytes: &[u8]) -> rquickjs::Result<Value<'js>> {
    // SAFETY: QuickJS copies that many bytes from there; what it answers with is ours.
    let array = unsafe {
        let array = qjs::JS_NewUint8ArrayCopy(ctx.as_raw().as_ptr(), bytes.as_ptr(), bytes.len() as qjs::size_t);
        Value::from_raw(ctx.clone(), array)
    };
    if array.is_exception() { Err(rquickjs::Error::Exception) } else { Ok(array) }
}

fn copy_answer(ctx: &Ctx<'_>, answer: &Value<'_>, frame_bytes: u64) -> Result<Vec<u8>, Fault> {
    // SAFETY: a living value; the function only looks at its class.
    let kind = unsafe { qjs::JS_GetTypedArrayType(answer.as_raw()) };
    if kind != qjs::JSTypedArrayEnum_JS_TYPED_ARRAY_UINT8 as i32 {
        return Err(not_bytes(answer));
    }
    let mut len = 0;
    // SAFETY: a living Uint8Array.
    let data = unsafe { qjs::JS_GetUint8Array(ctx.as_raw().as_ptr(), &mut len, answer.as_raw()) };
    if data.is_null() && ctx.has_exception() {
        ctx.catch();
        return Err(Fault::new(FaultKind::BadAnswer, "`handle` answered with a Uint8Array whose buffer is gone"));
    }
    if len > frame_bytes {
        let message = format!("the answer has {len} bytes, the limit is {frame_bytes} (`frame_mib` in [limits])");
        return Err(Fault::new(FaultKind::FrameTooLarge, message));
    }
    if data.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: that many bytes lie there, and nothing of the guest's runs before they are copied.
    Ok(unsafe { std::slice::from_raw_parts(data, len as usize) }.to_vec())
}

fn not_bytes(answer: &Value<'_>) -> Fault {
    let message = if answer.is_promise() {
        "`handle` answered with a Promise: it must be synchronous".to_owned()
    } else {
        format!("`handle` answered with {}, not with a Uint8Array", answer.type_name())
    };
    Fault::new(FaultKind::BadAnswer, message)
}

fn invalid(message: String) -> Fault {
    Fault::new(FaultKind::InvalidGuest, message)
}
