//! V8 itself, initialised once per process.

use isobench_core::Fault;
use std::ffi::CStr;
use std::sync::OnceLock;

/// Bytes of a page of WebAssembly memory.
const WASM_PAGE: u64 = 64 << 10;

/// What ends the process when V8 finds no memory to go on with. It must not return.
pub type OutOfMemory = v8::OomErrorCallback;

/// Which of V8's compilers may generate machine code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compilers {
    /// All, as V8 chooses.
    All,
    /// None: JavaScript is interpreted, and there is no WebAssembly.
    None,
}

/// What the process was initialised with.
struct Engine {
    memory_bytes: u64,
    compilers: Compilers,
    out_of_memory: OutOfMemory,
}

static ENGINE: OnceLock<Engine> = OnceLock::new();

/// Initialises V8 for guests with `memory_bytes` of memory; doing so again is free. Must happen on a thread that all
/// threads with isolates descend from: V8 protects its code with a memory key that threads inherit.
///
/// # Errors
/// The process was initialised for another limit or other compilers. Flags are read once, and these are flags.
pub fn initialise(memory_bytes: u64, compilers: Compilers, out_of_memory: OutOfMemory) -> Result<(), Fault> {
    let engine = ENGINE.get_or_init(|| {
        // Linear memory is taken from the kernel and not from the array-buffer allocator, so it needs a limit of its own.
        v8::V8::set_flags_from_string(&format!("--wasm-max-mem-pages={}", memory_bytes / WASM_PAGE));
        if compilers == Compilers::None {
            v8::V8::set_flags_from_string("--jitless");
        }
        // V8's default platform, with as many workers as it chooses for the machine: concurrent compilation and
        // collection is how every runtime in production runs V8, and a single thread would show its JIT's pauses as
        // the guest's. No idle tasks: nobody would run them.
        v8::V8::initialize_platform(v8::new_default_platform(0, false).make_shared());
        v8::V8::initialize();
        // Guard pages instead of a comparison before each access to linear memory, as in browsers and Node. Where the
        // handler cannot be installed V8 compares; nothing else changes.
        v8::V8::enable_web_assembly_trap_handler(true);
        Engine { memory_bytes, compilers, out_of_memory }
    });
    if (engine.memory_bytes, engine.compilers) == (memory_bytes, compilers) {
        return Ok(());
    }
    Err(Fault::backend(format!(
        "V8 was initialised for guests with {} bytes of memory ({:?} compilers) and cannot be for {memory_bytes} \
         ({compilers:?}) in the same process: deploy them in processes of their own",
        engine.memory_bytes, engine.compilers
    )))
}

/// The version of V8.
pub fn version() -> &'static str {
    v8::V8::get_version()
}

pub(crate) fn out_of_memory() -> OutOfMemory {
    ENGINE.get().expect("initialised before the first isolate").out_of_memory
}

/// Says why and aborts: the coordinator knows a runner that died of its guest's memory by these words and the signal.
///
/// # Safety
/// For V8 to call, with C strings or null.
pub unsafe extern "C" fn abort_out_of_memory(location: *const std::ffi::c_char, details: &v8::OomDetails) {
    let text = |at: *const std::ffi::c_char| {
        // SAFETY: V8 passes C strings or null.
        let text = (!at.is_null()).then(|| unsafe { CStr::from_ptr(at) });
        text.unwrap_or_default().to_string_lossy()
    };
    eprintln!("V8: out of memory: {} {}", text(location), text(details.detail));
    std::process::abort()
}
