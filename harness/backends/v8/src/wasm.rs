//! Wasm guests through V8's WebAssembly: the same `.wasm`, the same contract, called without any JS in between.

use crate::js::check_frame;
use crate::memory::Memory;
use crate::stop::{Stop, caught};
use isobench_core::{Fault, FaultKind};

/// What is called of an instantiated module.
pub(crate) struct Exports {
    memory: v8::Global<v8::WasmMemoryObject>,
    alloc: v8::Global<v8::Function>,
    handle: v8::Global<v8::Function>,
}

/// What a module comes from.
pub(crate) enum Source<'a> {
    /// Its binary, to be compiled.
    Binary(&'a [u8]),
    /// The module that another isolate compiled, to be shared with it.
    Compiled(&'a v8::CompiledWasmModule),
}

/// Compiles the module, for isolates to share.
pub(crate) fn compile(
    scope: &mut v8::PinScope<'_, '_>,
    name: &str,
    binary: &[u8],
) -> Result<v8::CompiledWasmModule, Stop> {
    v8::tc_scope!(let scope, scope);
    let module = v8::WasmModuleObject::compile(scope, binary);
    let module = module.ok_or_else(|| not_loadable(name, caught(scope)))?;
    Ok(module.get_compiled_module())
}

/// Makes the module and instantiates it, and calls `_initialize` if it has one.
pub(crate) fn load(
    scope: &mut v8::PinScope<'_, '_>,
    name: &str,
    memory_limit: &Memory,
    source: Source<'_>,
) -> Result<Exports, Stop> {
    v8::tc_scope!(let scope, scope);
    let module = match source {
        Source::Binary(binary) => v8::WasmModuleObject::compile(scope, binary),
        Source::Compiled(module) => v8::WasmModuleObject::from_compiled_module(scope, module),
    };
    let module = module.ok_or_else(|| not_loadable(name, caught(scope)))?;
    let instance = instantiate(scope, module.into()).ok_or_else(|| match caught(scope) {
        // The start function is code of the guest: its trap is not a fault of the file.
        Stop::Thrown(message) if message.contains("RuntimeError") || message.contains("call stack") => {
            Stop::Thrown(message)
        }
        stop => not_loadable(name, stop),
    })?;
    let exports = get(scope, instance, "exports")
        .and_then(|value| value.try_cast::<v8::Object>().ok())
        .expect("every instance has exports");

    let mut function =
        |export: &str| get(scope, exports, export).and_then(|value| value.try_cast::<v8::Function>().ok());
    let (initialize, alloc, handle) = (function("_initialize"), function("alloc"), function("handle"));
    let memory = get(scope, exports, "memory").and_then(|value| value.try_cast::<v8::WasmMemoryObject>().ok());
    let (Some(memory), Some(alloc), Some(handle)) = (memory, alloc, handle) else {
        let message = format!(
            "{name}: must export `memory`, `alloc(len: i32) -> i32` and `handle(ptr: i32, len: i32) -> i64`; \
             see the workload contract"
        );
        return Err(Fault::new(FaultKind::InvalidGuest, message).into());
    };
    let exports = Exports {
        memory: v8::Global::new(scope, memory),
        alloc: v8::Global::new(scope, alloc),
        handle: v8::Global::new(scope, handle),
    };
    if let Some(initialize) = initialize {
        let this = v8::undefined(scope).into();
        initialize.call(scope, this, &[]).ok_or_else(|| {
            let stop = caught(scope);
            refused_memory(scope, &exports, memory_limit, stop)
        })?;
    }
    Ok(exports)
}

/// One request.
pub(crate) fn call(
    scope: &mut v8::PinScope<'_, '_>,
    exports: &Exports,
    request: &[u8],
    frame_bytes: u64,
) -> Result<Vec<u8>, Stop> {
    let memory = v8::Local::new(scope, &exports.memory);
    let alloc = v8::Local::new(scope, &exports.alloc);
    let handle = v8::Local::new(scope, &exports.handle);
    let this = v8::undefined(scope).into();
    let too_long = |_| Fault::new(FaultKind::FrameTooLarge, "the request is longer than Wasm's 32-bit memory");
    let len = u32::try_from(request.len()).map_err(too_long)?;
    v8::tc_scope!(let scope, scope);

    let len_value = v8::Integer::new_from_unsigned(scope, len).into();
    let at = alloc.call(scope, this, &[len_value]).ok_or_else(|| caught(scope))?;
    let at = at.uint32_value(scope).unwrap_or(u32::MAX);
    let room = within(memory, at, len)
        .ok_or_else(|| Fault::new(FaultKind::BadAnswer, outside("`alloc` answered with room", at, len, memory)))?;
    // SAFETY: `within` checked the range; V8 runs nothing meanwhile, so that the memory neither moves nor shrinks.
    unsafe { std::ptr::copy_nonoverlapping(request.as_ptr(), room, request.len()) };

    let at_value = v8::Integer::new_from_unsigned(scope, at).into();
    let packed = handle.call(scope, this, &[at_value, len_value]).ok_or_else(|| caught(scope))?;
    let packed = packed
        .try_cast::<v8::BigInt>()
        .map_err(|_| Fault::new(FaultKind::BadAnswer, "`handle` must answer with an i64: pointer and length"))?
        .u64_value()
        .0;
    let (at, len) = ((packed >> 32) as u32, packed as u32);
    check_frame(len as usize, frame_bytes)?;
    // Looked up again: the call may have grown the memory, which detaches the buffer it had.
    let answer = within(memory, at, len)
        .ok_or_else(|| Fault::new(FaultKind::BadAnswer, outside("the answer lies", at, len, memory)))?;
    // SAFETY: as above.
    Ok(unsafe { std::slice::from_raw_parts(answer, len as usize) }.to_vec())
}

/// Names a trap `out_of_memory` if it looks like an allocator that gave up: WebAssembly has no other way to say so, and
/// V8 has no hook for a refused growth. A buffer that doubles is refused with half of the limit or more in use.
pub(crate) fn refused_memory(scope: &mut v8::PinScope<'_, '_>, exports: &Exports, memory: &Memory, stop: Stop) -> Stop {
    let size = v8::Local::new(scope, &exports.memory).buffer().byte_length();
    match stop {
        Stop::Thrown(trap) if trap.contains("unreachable") && size >= memory.limit() / 2 => {
            Stop::OutOfMemory(format!("{trap}, with half of that or more in use: an allocation was refused"))
        }
        stop => stop,
    }
}

/// The host's address of `len` bytes at `at` of the guest's memory, if they lie within it.
fn within(memory: v8::Local<'_, v8::WasmMemoryObject>, at: u32, len: u32) -> Option<*mut u8> {
    let buffer = memory.buffer();
    let end = at as usize + len as usize;
    if end > buffer.byte_length() {
        return None;
    }
    // An empty memory has no address; an empty range of it needs none.
    let base = buffer.data().map_or(std::ptr::dangling_mut(), |data| data.as_ptr().cast::<u8>());
    // SAFETY: within the buffer, as just checked.
    Some(unsafe { base.add(at as usize) })
}

fn outside(what: &str, at: u32, len: u32, memory: v8::Local<'_, v8::WasmMemoryObject>) -> String {
    format!("{what} outside the memory: {len} bytes at {at} of {}", memory.buffer().byte_length())
}

fn instantiate<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    module: v8::Local<'s, v8::Value>,
) -> Option<v8::Local<'s, v8::Object>> {
    let global = scope.get_current_context().global(scope);
    let web_assembly = get(scope, global, "WebAssembly")?.try_cast::<v8::Object>().ok()?;
    let constructor = get(scope, web_assembly, "Instance")?.try_cast::<v8::Function>().ok()?;
    constructor.new_instance(scope, &[module])
}

fn get<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    object: v8::Local<'s, v8::Object>,
    key: &str,
) -> Option<v8::Local<'s, v8::Value>> {
    let key = v8::String::new(scope, key)?.into();
    object.get(scope, key)
}

/// What is thrown before any of the guest's code runs is the file's own fault, unless its memory is over the limit.
fn not_loadable(name: &str, stop: Stop) -> Stop {
    match stop {
        Stop::Thrown(message) if message.contains("Out of memory") => Stop::OutOfMemory(format!("{name}: {message}")),
        Stop::Thrown(message) => {
            let message = format!("{name}: {message}; a Wasm guest is a valid module without imports");
            Fault::new(FaultKind::InvalidGuest, message).into()
        }
        other => other,
    }
}
