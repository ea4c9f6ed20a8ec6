//! What [`handler!`](crate::handler) exports on `wasm32`: the two buffers of the contract, owned by the guest and reused.

use std::cell::UnsafeCell;

struct Buffers {
    request: Vec<u8>,
    answer: Vec<u8>,
}

struct Shared(UnsafeCell<Buffers>);

// SAFETY: a guest has one thread and the host calls in from outside, never from within a call.
unsafe impl Sync for Shared {}

static BUFFERS: Shared = Shared(UnsafeCell::new(Buffers { request: Vec::new(), answer: Vec::new() }));

/// The export `alloc`: room for a request of `len` bytes. The previous request's memory is used again and the previous
/// answer is given back, so that a thousand calls need no more memory than one.
pub fn alloc(len: i32) -> i32 {
    // SAFETY: one thread, no reentry (see above), and the reference ends with this function.
    let buffers = unsafe { &mut *BUFFERS.0.get() };
    buffers.answer = Vec::new();
    buffers.request.resize(len as u32 as usize, 0);
    buffers.request.as_mut_ptr() as i32
}

/// The export `handle`: the answer's pointer in the high 32 bits and its length in the low 32.
pub fn handle(handler: fn(&[u8]) -> Vec<u8>, ptr: i32, len: i32) -> i64 {
    // SAFETY: the contract wants a request that the host wrote where `alloc` said.
    let request = unsafe { std::slice::from_raw_parts(ptr as *const u8, len as u32 as usize) };
    let answer = handler(request);
    let packed = (answer.as_ptr() as u64) << 32 | answer.len() as u64;
    // SAFETY: as in `alloc`. Replacing the answer does not move its bytes.
    unsafe { (*BUFFERS.0.get()).answer = answer };
    packed as i64
}
