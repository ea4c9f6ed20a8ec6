//! What a thread keeps between instances: isolates made ahead, an idle one, or one that instances share. An isolate
//! belongs to the thread that made it, so every thread keeps its own, and it goes with the thread.

use crate::boundary::{Boundary, SharedHost};
use crate::host::Host;
use isobench_core::Limits;
use std::cell::RefCell;
use std::rc::Rc;

/// Isolates that a full pool holds: a small burst's worth. Each is about a megabyte that nobody uses yet.
const POOL: usize = 4;

thread_local! {
    static AHEAD: RefCell<Vec<Boundary>> = const { RefCell::new(Vec::new()) };
    static IDLE: RefCell<Option<Boundary>> = const { RefCell::new(None) };
    static LIVING: RefCell<Option<SharedHost>> = const { RefCell::new(None) };
}

/// Fills this thread's pool.
pub(crate) fn fill(limits: &Limits) {
    while AHEAD.with_borrow(Vec::len) < POOL {
        put_one(limits);
    }
}

/// Replaces what an instance took that is gone. One at a time: what a start takes, its stop pays for.
pub(crate) fn refill(limits: &Limits) {
    if AHEAD.with_borrow(Vec::len) < POOL {
        put_one(limits);
    }
}

fn put_one(limits: &Limits) {
    let made = Boundary::create(limits);
    AHEAD.with_borrow_mut(|ahead| ahead.push(made));
}

/// An isolate and its context that nothing has run in: from this thread's pool, or a new one where that is empty.
pub(crate) fn take(limits: &Limits) -> Boundary {
    AHEAD.with_borrow_mut(Vec::pop).unwrap_or_else(|| Boundary::create(limits))
}

/// Keeps an isolate that nothing will run in, or none any more. With the last isolate of a process goes V8's read-only
/// heap, and the next start makes it anew: that is a third of the start, and no host that serves requests pays it.
pub(crate) fn keep_idle(boundary: Option<Boundary>) {
    IDLE.with_borrow_mut(|idle| *idle = boundary);
}

/// This thread's living isolate. One whose heap was exhausted is of no more use: those in it keep it until they are
/// gone, and whoever comes next gets another.
pub(crate) fn living(limits: &Limits) -> SharedHost {
    LIVING.with_borrow_mut(|living| {
        if living.as_ref().is_some_and(|host| host.borrow().memory().heap_exhausted()) {
            *living = None;
        }
        Rc::clone(living.get_or_insert_with(|| Rc::new(RefCell::new(Host::fresh(limits)))))
    })
}
