//! What [`handler!`](crate::handler) runs natively: an agent whose engine is the function itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use crate::agent::{self, Args, Guest};
use crate::fault::{self, AgentFault};

/// What a native agent may use beside the guest's memory: its stack, its buffers and the allocator's slack, in bytes.
const HEADROOM: u64 = 64 << 20;

/// The `main` of a native guest: serves `handler` until the host has had enough. See [`agent::serve`].
pub fn serve(name: &str, handler: fn(&[u8]) -> Vec<u8>) -> ExitCode {
    // The panic's message travels to the host as a fault; on the standard error it would be said twice.
    panic::set_hook(Box::new(|_| {}));
    agent::serve(name, |args| {
        limit_memory(args)?;
        Ok(Handler(handler))
    })
}

struct Handler(fn(&[u8]) -> Vec<u8>);

impl Guest for Handler {
    fn handle(&mut self, request: &[u8]) -> Result<Vec<u8>, AgentFault> {
        panic::catch_unwind(AssertUnwindSafe(|| (self.0)(request)))
            .map_err(|payload| AgentFault::new(fault::GUEST_TRAP, format!("panicked: {}", message(&*payload))))
    }

    // One thread, and no call has been answered before.
    fn survives_fork(&self) -> bool {
        true
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

/// Limits the data segment rather than the address space: what counts is what the guest can write to.
fn limit_memory(args: &Args) -> Result<(), AgentFault> {
    let bytes = args.memory + HEADROOM;
    let limit = libc::rlimit { rlim_cur: bytes as libc::rlim_t, rlim_max: bytes as libc::rlim_t };
    // SAFETY: reads one struct that lives through the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_DATA, &limit) } == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(AgentFault::new(fault::INVALID_GUEST, format!("can't limit the guest's memory to {bytes} bytes: {error}")))
}

/// The system's allocator, except that running out of memory is told to the host by name before the process ends.
pub struct Allocator;

// SAFETY: every block comes from the system's allocator and goes back to it.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        there_or_exit(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        there_or_exit(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        there_or_exit(unsafe { System.realloc(block, layout, size) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

fn there_or_exit(block: *mut u8) -> *mut u8 {
    if block.is_null() {
        agent::exit_out_of_memory();
    }
    block
}
