//! The memory limit: V8's heap, and what lies outside it in array buffers.
//!
//! Each is under the workload's limit. A heap that comes near it is terminated and may grow a little further, so that
//! the termination can unwind; one that needs more at once than that is beyond help, and V8 ends the process.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// What the heap may grow by each time it comes near its limit after it was told to stop. Code that allocates without
/// looking for the termination (a built-in, the collector's own copies) gets this much further.
const UNWIND: usize = 32 << 20;
/// How many times the limit the heap may stand at before V8 is left to abort.
const UNWIND_TIMES: usize = 2;

/// What an isolate may use and has used.
pub(crate) struct Memory {
    limit: usize,
    /// Bytes in array buffers. Freed by V8's sweeper on a thread of its own.
    buffers: AtomicUsize,
    /// A buffer was refused.
    refused: AtomicBool,
    /// The heap came near its limit.
    exhausted: AtomicBool,
    /// What to terminate then.
    isolate: OnceLock<v8::IsolateHandle>,
}

impl Memory {
    pub(crate) fn new(limit: u64) -> Arc<Memory> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let memory = Memory {
            limit,
            buffers: AtomicUsize::new(0),
            refused: AtomicBool::new(false),
            exhausted: AtomicBool::new(false),
            isolate: OnceLock::new(),
        };
        Arc::new(memory)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The heap came near its limit: the isolate is of no more use.
    pub(crate) fn heap_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }

    /// A buffer was refused at some time; whether the guest failed of it is for the exception to tell.
    pub(crate) fn buffer_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// The parameters of an isolate under this limit.
    pub(crate) fn create_params(self: &Arc<Memory>) -> v8::CreateParams {
        // SAFETY: the handle is an `Arc` turned raw, as the functions below expect it, and `drop` takes it back.
        let allocator = unsafe { v8::new_rust_allocator(Arc::into_raw(Arc::clone(self)), &ALLOCATOR) };
        v8::Isolate::create_params().heap_limits(0, self.limit).array_buffer_allocator(allocator)
    }

    /// Has the isolate terminated when its heap comes near the limit. The isolate must be dropped before `self` is.
    pub(crate) fn guard(self: &Arc<Memory>, isolate: &mut v8::Isolate) {
        let _ = self.isolate.set(isolate.thread_safe_handle());
        isolate.add_near_heap_limit_callback(near_heap_limit, Arc::as_ptr(self).cast_mut().cast());
    }

    /// An array buffer for the guest, collecting garbage if that is what stands in the way; `None` when there is no room.
    pub(crate) fn buffer<'s>(
        &self,
        scope: &mut v8::PinScope<'s, '_>,
        len: usize,
    ) -> Option<v8::Local<'s, v8::ArrayBuffer>> {
        // V8 aborts where its own allocation for us is refused, so we ask first. Nobody else allocates meanwhile.
        if !self.has_room(len) {
            scope.low_memory_notification();
            if !self.has_room(len) {
                self.refused.store(true, Ordering::Relaxed);
                return None;
            }
        }
        Some(v8::ArrayBuffer::new(scope, len))
    }

    fn has_room(&self, len: usize) -> bool {
        self.buffers.load(Ordering::Relaxed).checked_add(len).is_some_and(|sum| sum <= self.limit)
    }

    fn take(&self, len: usize) -> bool {
        let taken = self.buffers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(len).filter(|sum| *sum <= self.limit)
        });
        if taken.is_err() {
            self.refused.store(true, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    fn give_back(&self, len: usize) {
        self.buffers.fetch_sub(len, Ordering::Relaxed);
    }
}

unsafe extern "C" fn near_heap_limit(memory: *mut c_void, current: usize, initial: usize) -> usize {
    // SAFETY: `guard` passed a `Memory` that outlives the isolate.
    let memory = unsafe { &*memory.cast::<Memory>() };
    memory.exhausted.store(true, Ordering::Relaxed);
    if let Some(isolate) = memory.isolate.get() {
        isolate.terminate_execution();
    }
    (current + UNWIND).min(initial * UNWIND_TIMES).max(current)
}

static ALLOCATOR: v8::RustAllocatorVtable<Memory> =
    v8::RustAllocatorVtable { allocate, allocate_uninitialized, free, drop: release };

unsafe extern "C" fn allocate(memory: &Memory, len: usize) -> *mut c_void {
    take_or_null(memory, len, || {
        // SAFETY: no precondition.
        unsafe { libc::calloc(len.max(1), 1) }
    })
}

unsafe extern "C" fn allocate_uninitialized(memory: &Memory, len: usize) -> *mut c_void {
    take_or_null(memory, len, || {
        // SAFETY: no precondition.
        unsafe { libc::malloc(len.max(1)) }
    })
}

fn take_or_null(memory: &Memory, len: usize, allocate: impl FnOnce() -> *mut c_void) -> *mut c_void {
    if !memory.take(len) {
        return std::ptr::null_mut();
    }
    let block = allocate();
    if block.is_null() {
        memory.give_back(len);
    }
    block
}

unsafe extern "C" fn free(memory: &Memory, block: *mut c_void, len: usize) {
    // SAFETY: V8 gives back what one of the two above gave it, once.
    unsafe { libc::free(block) };
    memory.give_back(len);
}

unsafe extern "C" fn release(memory: *const Memory) {
    // SAFETY: V8 drops the allocator once; `create_params` made it of an `Arc`.
    drop(unsafe { Arc::from_raw(memory) });
}
