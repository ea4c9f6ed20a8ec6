//! A runtime with its guard: what contexts live in.

use crate::guard::{Guard, Limited};
use crate::text;
use isobench_core::{Fault, Limits};
use rquickjs::{Context, Runtime, qjs};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A runtime. It lives and dies on the thread that made it, in any order with others; clones are the same one.
#[derive(Clone)]
pub(crate) struct Host {
    runtime: Runtime,
    pub(crate) guard: Rc<Guard>,
    /// What its class of text decoders has for a number; zero before there is a context.
    decoder: Rc<Cell<qjs::JSClassID>>,
}

impl Host {
    pub(crate) fn fresh(limits: &Limits) -> Result<Host, Fault> {
        let guard = Guard::new(limits.memory_bytes);
        let (runtime, fits) = guard.making(|| Runtime::new_with_alloc(Limited(Rc::clone(&guard))));
        let runtime = runtime.map_err(|e| not_made("runtime", &e))?;
        fits.map_err(|used| too_large(limits, used))?;
        let watched = Rc::clone(&guard);
        runtime.set_interrupt_handler(Some(Box::new(move || watched.interrupt())));
        Ok(Host { runtime, guard, decoder: Rc::default() })
    }

    /// A fresh context with all of ECMAScript, and with what the contract adds.
    pub(crate) fn context(&self, limits: &Limits) -> Result<Context, Fault> {
        let (context, fits) = self.guard.making(|| {
            let context = Context::full(&self.runtime).map_err(|e| not_made("context", &e))?;
            context.with(|ctx| text::install(&ctx, &self.decoder))?;
            Ok(context)
        });
        let context = context?;
        fits.map_err(|used| too_large(limits, used))?;
        Ok(context)
    }
}

fn not_made(what: &str, why: &rquickjs::Error) -> Fault {
    Fault::backend(format!("QuickJS made no {what}: {why}"))
}

fn too_large(limits: &Limits, used: usize) -> Fault {
    let limit = limits.memory_bytes;
    Fault::backend(format!(
        "the guest may have {limit} bytes (`memory_mib` in [limits]), and QuickJS has taken {used} before it is loaded"
    ))
}

thread_local! {
    static LIVING: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// This thread's living runtime. Those in one that is spent keep it until they are gone; the next guest gets
/// another.
pub(crate) fn living(limits: &Limits) -> Result<Host, Fault> {
    LIVING.with_borrow_mut(|living| match living {
        Some(host) if !host.guard.spent() => Ok(host.clone()),
        _ => Ok(living.insert(Host::fresh(limits)?).clone()),
    })
}
