//! Why a guest stopped short of an answer, before it is known whose fault that is.

use isobench_core::Fault;

/// A scope that catches what the guest throws.
type Catch<'p, 't, 's, 'i> = v8::PinnedRef<'p, v8::TryCatch<'t, 's, v8::HandleScope<'i>>>;

/// Why a guest stopped.
pub(crate) enum Stop {
    /// It threw: where and what, in one line.
    Thrown(String),
    /// It was terminated, at its deadline or for its memory.
    Terminated,
    /// It wanted more memory than it may have: how that showed.
    OutOfMemory(String),
    /// It stopped by itself and broke the contract.
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

/// What `scope` caught.
pub(crate) fn caught(scope: &mut Catch<'_, '_, '_, '_>) -> Stop {
    if scope.has_terminated() {
        return Stop::Terminated;
    }
    match scope.message() {
        Some(message) => Stop::Thrown(describe(scope, message)),
        // Without a message there was no exception: only a termination ends JavaScript like that.
        None => Stop::Terminated,
    }
}

/// `guest.js:3: Error: boom`. V8 makes the text without running any of the guest's code.
pub(crate) fn describe(scope: &mut v8::PinScope<'_, '_>, message: v8::Local<'_, v8::Message>) -> String {
    let text = message.get(scope).to_rust_string_lossy(scope);
    let text = text.strip_prefix("Uncaught ").unwrap_or(&text);
    match message.get_wasm_function_index() {
        function @ 0.. => return format!("{text} in wasm function {function}"),
        _none => {}
    }
    let resource = message.get_script_resource_name(scope).filter(|name| name.is_string());
    let line = message.get_line_number(scope);
    match (resource, line) {
        (Some(name), Some(line)) => format!("{}:{line}: {text}", name.to_rust_string_lossy(scope)),
        _ => text.to_owned(),
    }
}
