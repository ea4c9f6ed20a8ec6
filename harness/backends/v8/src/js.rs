//! JS guests: an ES module that exports a synchronous `handle(Uint8Array) → Uint8Array`.

use crate::memory::Memory;
use crate::stop::{Stop, caught, describe};
use isobench_core::{Fault, FaultKind};

/// How a module's functions come by their bytecode.
pub(crate) enum Compile<'a> {
    /// Each when it is first called: V8's own way.
    Lazily,
    /// All at once.
    Eagerly,
    /// From V8's code cache of this very source.
    From(&'a [u8]),
}

/// Compiles and evaluates the module; answers with its `handle`.
pub(crate) fn load(
    scope: &mut v8::PinScope<'_, '_>,
    name: &str,
    source: &[u8],
    how: Compile<'_>,
) -> Result<v8::Global<v8::Function>, Stop> {
    v8::tc_scope!(let scope, scope);
    let compiled = compile(scope, name, source, how)?;
    let module = compiled.ok_or_else(|| not_loadable(caught(scope)))?;
    module.instantiate_module(scope, refuse_import).ok_or_else(|| not_loadable(caught(scope)))?;
    let completion = module.evaluate(scope).ok_or_else(|| caught(scope))?;
    if module.get_status() == v8::ModuleStatus::Errored {
        let exception = module.get_exception();
        let message = v8::Exception::create_message(scope, exception);
        return Err(Stop::Thrown(describe(scope, message)));
    }
    if completion.try_cast::<v8::Promise>().is_ok_and(|p| p.state() == v8::PromiseState::Pending) {
        return Err(invalid(format!("{name}: awaits at its top level what never comes: there is no event loop")).into());
    }

    let key = v8::String::new(scope, "handle").expect("a short string").into();
    let namespace = module.get_module_namespace().cast::<v8::Object>();
    let handle = namespace.get(scope, key).and_then(|value| value.try_cast::<v8::Function>().ok());
    let handle = handle.ok_or_else(|| {
        invalid(format!("{name}: exports no function `handle`: it must `export function handle(request)`"))
    })?;
    Ok(v8::Global::new(scope, handle))
}

/// V8's code cache of the module with every function in it. It is not evaluated: what a warm-up call with some request
/// would compile depends on the request, and this does not.
pub(crate) fn code_cache(scope: &mut v8::PinScope<'_, '_>, name: &str, source: &[u8]) -> Result<Vec<u8>, Stop> {
    v8::tc_scope!(let scope, scope);
    let compiled = compile(scope, name, source, Compile::Eagerly)?;
    let module = compiled.ok_or_else(|| not_loadable(caught(scope)))?;
    let cache = module.get_unbound_module_script(scope).create_code_cache();
    let cache = cache.ok_or_else(|| Fault::backend(format!("{name}: V8 could not make a code cache of it")))?;
    Ok(cache.to_vec())
}

/// The module, or `None` where V8 has thrown.
fn compile<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    name: &str,
    source: &[u8],
    how: Compile<'_>,
) -> Result<Option<v8::Local<'s, v8::Module>>, Fault> {
    use v8::script_compiler::{CachedData, CompileOptions, NoCacheReason, Source, compile_module2};
    let text = std::str::from_utf8(source).map_err(|e| invalid(format!("{name}: not UTF-8: {e}")))?;
    let text = v8::String::new(scope, text).ok_or_else(|| invalid(format!("{name}: longer than V8 allows")))?;
    let resource = v8::String::new(scope, name).expect("a file's name is short").into();
    let origin = v8::ScriptOrigin::new(scope, resource, 0, 0, false, -1, None, false, false, true, None);
    let (mut source, options) = match how {
        Compile::Lazily => (Source::new(text, Some(&origin)), CompileOptions::NoCompileOptions),
        Compile::Eagerly => (Source::new(text, Some(&origin)), CompileOptions::EagerCompile),
        Compile::From(cache) => {
            let cache = CachedData::new(cache);
            (Source::new_with_cached_data(text, Some(&origin), cache), CompileOptions::ConsumeCodeCache)
        }
    };
    let module = compile_module2(scope, &mut source, options, NoCacheReason::NoReason);
    // V8 then compiles as if there were none: a row that says it reuses code must not measure that.
    if source.get_cached_data().is_some_and(|cache| cache.rejected()) {
        return Err(Fault::backend(format!("{name}: V8 rejected the code cache that it made of the same source")));
    }
    Ok(module)
}

/// One request.
pub(crate) fn call(
    scope: &mut v8::PinScope<'_, '_>,
    memory: &Memory,
    handle: &v8::Global<v8::Function>,
    request: &[u8],
    frame_bytes: u64,
) -> Result<Vec<u8>, Stop> {
    let argument = to_uint8_array(scope, memory, request)
        .ok_or_else(|| Stop::OutOfMemory("its array buffers leave no room for the request".into()))?;
    let handle = v8::Local::new(scope, handle);
    let this = v8::undefined(scope).into();
    v8::tc_scope!(let scope, scope);
    let answer = handle.call(scope, this, &[argument.into()]).ok_or_else(|| caught(scope))?;
    let bytes = answer.try_cast::<v8::Uint8Array>().map_err(|_| not_bytes(scope, answer))?;
    let len = bytes.byte_length();
    // A detached array looks like an empty one, which can be a right answer. Only then is its buffer looked at: to ask
    // for the buffer of a small array makes one.
    if len == 0 && bytes.buffer(scope).is_some_and(|buffer| buffer.was_detached()) {
        let message = "the answer is detached: its buffer was transferred; answer with an array that keeps its buffer";
        return Err(Fault::new(FaultKind::BadAnswer, message).into());
    }
    check_frame(len, frame_bytes)?;
    let mut copy = Vec::with_capacity(len);
    let copied = bytes.copy_contents_uninit(copy.spare_capacity_mut());
    // SAFETY: that many bytes have been written, and there was room for them.
    unsafe { copy.set_len(copied.min(len)) };
    Ok(copy)
}

/// Refuses an answer of `len` bytes if it is over the frame limit.
pub(crate) fn check_frame(len: usize, frame_bytes: u64) -> Result<(), Fault> {
    if len as u64 <= frame_bytes {
        return Ok(());
    }
    let message = format!("the answer has {len} bytes, the limit is {frame_bytes} (`frame_mib` in [limits])");
    Err(Fault::new(FaultKind::FrameTooLarge, message))
}

fn to_uint8_array<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    memory: &Memory,
    bytes: &[u8],
) -> Option<v8::Local<'s, v8::Uint8Array>> {
    let buffer = memory.buffer(scope, bytes.len())?;
    if let Some(data) = buffer.data() {
        // SAFETY: the buffer is new, has that length, and nobody else knows it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), data.as_ptr().cast(), bytes.len()) };
    }
    v8::Uint8Array::new(scope, buffer, 0, bytes.len())
}

fn not_bytes(scope: &mut v8::PinScope<'_, '_>, answer: v8::Local<'_, v8::Value>) -> Fault {
    let message = if answer.is_promise() {
        "`handle` answered with a Promise: it must be synchronous".to_owned()
    } else {
        let kind = if answer.is_null() { "null".into() } else { answer.type_of(scope).to_rust_string_lossy(scope) };
        format!("`handle` answered with {kind}, not with a Uint8Array")
    };
    Fault::new(FaultKind::BadAnswer, message)
}

fn invalid(message: String) -> Fault {
    Fault::new(FaultKind::InvalidGuest, message)
}

/// What is thrown before evaluation is the file's own fault: syntax, or an import.
fn not_loadable(stop: Stop) -> Stop {
    match stop {
        Stop::Thrown(message) => Stop::Fault(invalid(message)),
        other => other,
    }
}

fn refuse_import<'s>(
    context: v8::Local<'s, v8::Context>,
    specifier: v8::Local<'s, v8::String>,
    _attributes: v8::Local<'s, v8::FixedArray>,
    _referrer: v8::Local<'s, v8::Module>,
) -> Option<v8::Local<'s, v8::Module>> {
    v8::callback_scope!(unsafe scope, context);
    let specifier = specifier.to_rust_string_lossy(scope);
    let text = format!("imports `{specifier}`: a guest is one file without imports; bundle it");
    let text = v8::String::new(scope, &text)?;
    let error = v8::Exception::error(scope, text);
    scope.throw_exception(error);
    None
}
