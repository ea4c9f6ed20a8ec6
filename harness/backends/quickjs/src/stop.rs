//! Why a guest stopped short of an answer, before it is known whose fault that is.

use isobench_core::{Fault, FaultKind};
use rquickjs::{Ctx, Value};

/// Why a guest stopped.
pub(crate) enum Stop {
    /// It threw.
    Thrown(Thrown),
    /// It was interrupted at its deadline.
    Expired,
    /// It stopped by itself and broke the contract.
    Fault(Fault),
}

/// What it threw.
pub(crate) struct Thrown {
    /// What throwing means where it happened.
    pub(crate) kind: FaultKind,
    /// Where and what, in one line: `guest.js:3: Error: boom`.
    pub(crate) text: String,
    /// QuickJS says like this that it has no memory.
    pub(crate) no_memory: bool,
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

/// What QuickJS says when it has no memory: that, what it says where that does not fit, or nothing.
const NO_MEMORY: [&str; 3] = ["out of memory", "Invalid error message", ""];

/// What QuickJS says of an import, before the module's name.
const NO_MODULE: &str = "could not load module ";

/// What the context has thrown last, in the file `guest`.
pub(crate) fn caught(ctx: &Ctx<'_>, guest: &str, kind: FaultKind) -> Stop {
    let thrown = ctx.catch();
    // Where not even an error fits into what memory is left, QuickJS throws `null`.
    let mut no_memory = thrown.is_null();
    let text = if thrown.is_error() {
        let [name, message, stack] = ["name", "message", "stack"].map(|key| property(&thrown, key));
        no_memory = name == "InternalError" && NO_MEMORY.contains(&message.as_str());
        let place = line(&stack, guest).map(|line| format!("{guest}:{line}")).unwrap_or_else(|| guest.into());
        match message.strip_prefix(NO_MODULE) {
            // Before the guest runs: it says this itself where it likes.
            Some(module) if kind == FaultKind::InvalidGuest => {
                format!("{place}: imports {module}: a guest is one file without imports; bundle it")
            }
            _ => format!("{place}: {name}: {message}"),
        }
    } else {
        format!("{guest}: threw {}", plain(&thrown))
    };
    Stop::Thrown(Thrown { kind, text, no_memory })
}

/// A property of an error, if it is a string. A getter of the guest's runs under the deadline of whatever threw.
fn property(error: &Value<'_>, key: &str) -> String {
    let value = error.as_object().and_then(|error| error.get::<_, Value<'_>>(key).ok());
    if value.is_none() {
        // What the getter threw must not be found by whoever looks for an exception next.
        error.ctx().catch();
    }
    value.and_then(|value| value.as_string()?.to_string().ok()).unwrap_or_default()
}

/// What was thrown and is no error. Nothing of the guest's is called to say so.
fn plain(thrown: &Value<'_>) -> String {
    match thrown.as_string().and_then(|text| text.to_string().ok()) {
        Some(text) => text,
        None => match (thrown.as_bool(), thrown.as_number()) {
            (Some(value), _) => value.to_string(),
            (_, Some(number)) => number.to_string(),
            _ => format!("what is no Error ({})", thrown.type_name()),
        },
    }
}

/// The line of the topmost frame in the guest's own file, from a stack like `    at handle (guest.js:2:9)`.
fn line(stack: &str, guest: &str) -> Option<u32> {
    let after = stack.split_once(&format!("{guest}:"))?.1;
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    after[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn the_line_is_that_of_the_topmost_frame_in_the_guest() {
        let stack = "    at map (native)\n    at f (guest.js:12:9)\n    at handle (guest.js:3:1)\n";
        assert_eq!(line(stack, "guest.js"), Some(12));
        assert_eq!(line("    at guest.js:2:11\n", "guest.js"), Some(2));
        for strange in ["", "    at f (native)", "guest.js:", "guest.js:x", "guest.js:99999999999"] {
            assert_eq!(line(strange, "guest.js"), None, "{strange}");
        }
    }
}
