//! The limits that a runtime asks about while it runs: memory at each allocation, the deadline every ten thousand jumps
//! and calls.

use isobench_runner::stopwatch::Deadline;
use rquickjs::allocator::Allocator;
use std::cell::Cell;
use std::ffi::c_void;
use std::rc::Rc;

/// What a runtime may allocate beyond its limit once its deadline has passed: the interpreter needs an object for the
/// exception that no `catch` sees, and a guest that has used up its memory could else catch what is thrown instead.
const UNWIND: usize = 64 << 10;

/// What a runtime may use and has used.
pub(crate) struct Guard {
    limit: usize,
    /// Whether the limit holds: not while QuickJS makes what it cannot live without (see [`Guard::making`]).
    holds: Cell<bool>,
    /// Bytes that the runtime has from the system's allocator.
    used: Cell<usize>,
    /// An allocation was refused since the last call began.
    refused: Cell<bool>,
    /// The runtime is of no use to another guest: an allocation was refused, or a guest left promises that wait.
    spent: Cell<bool>,
    deadline: Cell<Option<Deadline>>,
    /// The deadline passed while the guest ran.
    expired: Cell<bool>,
}

impl Guard {
    pub(crate) fn new(limit: u64) -> Rc<Guard> {
        Rc::new(Guard {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            holds: Cell::new(true),
            used: Cell::new(0),
            refused: Cell::new(false),
            spent: Cell::new(false),
            deadline: Cell::new(None),
            expired: Cell::new(false),
        })
    }

    /// Begins a call or a load, which may take until `deadline`.
    pub(crate) fn arm(&self, deadline: Option<Deadline>) {
        self.deadline.set(deadline);
        self.expired.set(false);
        self.refused.set(false);
    }

    /// Whether the guest is to be interrupted. Once it is, it stays so until the next call: what runs on in a function
    /// that caught nothing is interrupted again.
    pub(crate) fn interrupt(&self) -> bool {
        if !self.expired.get() && self.deadline.get().is_some_and(|deadline| deadline.passed()) {
            self.expired.set(true);
        }
        self.expired.get()
    }

    /// The guest was interrupted.
    pub(crate) fn expired(&self) -> bool {
        self.expired.get()
    }

    /// An allocation was refused since the call began; whether the guest failed of it is for the exception to tell.
    pub(crate) fn refused(&self) -> bool {
        self.refused.get()
    }

    /// Whether the runtime is of no use to another guest.
    pub(crate) fn spent(&self) -> bool {
        self.spent.get()
    }

    /// Keeps the runtime from further guests: what a guest has left in its queue of promises would run in their calls.
    pub(crate) fn retire(&self) {
        self.spent.set(true);
    }

    /// Makes a runtime or a context, however much memory that takes, because QuickJS does not survive a refusal there.
    /// What does not fit into the limit is for the caller to drop.
    ///
    /// # Errors
    /// The bytes that the runtime has then, if they are more than the limit.
    pub(crate) fn making<T>(&self, make: impl FnOnce() -> T) -> (T, Result<(), usize>) {
        self.holds.set(false);
        let made = make();
        self.holds.set(true);
        let used = self.used.get();
        if used <= self.limit {
            return (made, Ok(()));
        }
        self.spent.set(true);
        (made, Err(used))
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether `more` bytes may be allocated.
    fn has_room(&self, more: usize) -> bool {
        let limit = self.limit.saturating_add(if self.expired.get() { UNWIND } else { 0 });
        let room = !self.holds.get() || self.used.get().checked_add(more).is_some_and(|sum| sum <= limit);
        if !room {
            self.refused.set(true);
            self.spent.set(true);
        }
        room
    }

    /// Counts a block that the system's allocator has given.
    fn took(&self, block: *mut c_void) -> *mut u8 {
        self.used.set(self.used.get() + size(block));
        block.cast()
    }

    fn gave_back(&self, bytes: usize) {
        self.used.set(self.used.get() - bytes);
    }
}

/// The system's allocator, under a limit. QuickJS carves small objects out of blocks of 4 KiB, so this is asked rarely.
pub(crate) struct Limited(pub(crate) Rc<Guard>);

// SAFETY: blocks are those of the system's allocator, whole and unchanged, or null.
unsafe impl Allocator for Limited {
    fn alloc(&mut self, size: usize) -> *mut u8 {
        if !self.0.has_room(size) {
            return std::ptr::null_mut();
        }
        // SAFETY: no precondition.
        self.0.took(unsafe { libc::malloc(size) })
    }

    fn calloc(&mut self, count: usize, size: usize) -> *mut u8 {
        if !count.checked_mul(size).is_some_and(|bytes| self.0.has_room(bytes)) {
            return std::ptr::null_mut();
        }
        // SAFETY: no precondition.
        self.0.took(unsafe { libc::calloc(count, size) })
    }

    unsafe fn dealloc(&mut self, block: *mut u8) {
        self.0.gave_back(size(block.cast()));
        // SAFETY: QuickJS gives back what one of the others gave it, once.
        unsafe { libc::free(block.cast()) };
    }

    unsafe fn realloc(&mut self, block: *mut u8, new: usize) -> *mut u8 {
        let old = size(block.cast());
        if !self.0.has_room(new.saturating_sub(old)) {
            return std::ptr::null_mut();
        }
        // SAFETY: as for `dealloc`.
        let moved = unsafe { libc::realloc(block.cast(), new) };
        if !moved.is_null() {
            self.0.gave_back(old);
            self.0.took(moved);
        }
        moved.cast()
    }

    unsafe fn usable_size(block: *mut u8) -> usize {
        size(block.cast())
    }
}

/// Bytes of a living block of the system's allocator; 0 for null.
fn size(block: *mut c_void) -> usize {
    // SAFETY: all callers have it from the allocator.
    unsafe { libc::malloc_usable_size(block) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_counted_is_what_lives() {
        let guard = Guard::new(1 << 20);
        let mut memory = Limited(Rc::clone(&guard));
        let (small, zeroed) = (memory.alloc(1000), memory.calloc(10, 100));
        assert!(guard.used.get() >= 2000 && !small.is_null() && !zeroed.is_null());
        // SAFETY: blocks of this allocator, each given back once.
        unsafe {
            let large = memory.realloc(small, 500_000);
            assert!(guard.used.get() >= 501_000);
            assert!(memory.realloc(large, 2 << 20).is_null() && guard.refused(), "over the limit");
            assert!(memory.calloc(usize::MAX, 2).is_null());
            memory.dealloc(large);
            memory.dealloc(zeroed);
        }
        assert_eq!(guard.used.get(), 0);
        guard.arm(None);
        assert!(!guard.refused() && guard.spent(), "a runtime that was refused memory once is known by it");
    }

    #[test]
    fn a_deadline_interrupts_until_the_next_call() {
        let guard = Guard::new(1 << 20);
        assert!(!guard.interrupt(), "no deadline, no interruption");
        guard.arm(Some(Deadline::after(Duration::from_secs(3600))));
        assert!(!guard.interrupt());
        guard.arm(Some(Deadline::after(Duration::ZERO)));
        assert!(guard.interrupt() && guard.interrupt() && guard.expired());
        guard.arm(None);
        assert!(!guard.interrupt() && !guard.expired());
    }
}
