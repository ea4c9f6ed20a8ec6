//! The names under which a guest's failures are reported, and the line that carries one across a boundary.

use std::fmt;

/// The guest trapped (Wasm) or panicked (native).
pub const GUEST_TRAP: &str = "guest_trap";
/// The guest threw an exception (JavaScript).
pub const GUEST_THROW: &str = "guest_throw";
/// The call was still running at its deadline.
pub const DEADLINE_EXCEEDED: &str = "deadline_exceeded";
/// The guest wanted more memory than its limit.
pub const OUT_OF_MEMORY: &str = "out_of_memory";
/// A request or an answer is longer than the frame limit.
pub const FRAME_TOO_LARGE: &str = "frame_too_large";
/// The guest can't be loaded: it does not compile, lacks an export, or wants an import.
pub const INVALID_GUEST: &str = "invalid_guest";
/// The guest answered something that is no answer: not bytes, or bytes outside its memory.
pub const BAD_ANSWER: &str = "bad_answer";

/// Every name a fault can have.
pub const KINDS: [&str; 7] =
    [GUEST_TRAP, GUEST_THROW, DEADLINE_EXCEEDED, OUT_OF_MEMORY, FRAME_TOO_LARGE, INVALID_GUEST, BAD_ANSWER];

/// A failure of the guest, as an agent reports it: it concerns one load or one call, and the agent itself is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFault {
    /// One of [`KINDS`].
    pub kind: &'static str,
    /// What happened, in one line.
    pub message: String,
}

impl AgentFault {
    /// The longest message in bytes; a guest must not flood the report with its own text.
    const MESSAGE_LIMIT: usize = 1000;

    /// A fault of the given kind. Line breaks in the message become spaces, and a very long message is cut.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > Self::MESSAGE_LIMIT {
            message.truncate(message.floor_char_boundary(Self::MESSAGE_LIMIT));
            message.push('…');
        }
        if message.contains(['\n', '\r']) {
            message = message.replace(['\n', '\r'], " ");
        }
        Self { kind, message }
    }

    /// Reads the payload of a fault frame; `None` if it is not `kind: message` with a known kind.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (kind, message) = std::str::from_utf8(payload).ok()?.split_once(": ")?;
        let kind = KINDS.into_iter().find(|known| *known == kind)?;
        Some(Self::new(kind, message))
    }
}

impl fmt::Display for AgentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for AgentFault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_its_line() {
        let fault = AgentFault::new(GUEST_TRAP, "index out of bounds: the len is 3\nbut the index is 4");
        assert_eq!(fault.to_string(), "guest_trap: index out of bounds: the len is 3 but the index is 4");
        assert_eq!(AgentFault::parse(fault.to_string().as_bytes()), Some(fault));
    }

    #[test]
    fn an_unknown_kind_or_no_kind_is_not_a_fault() {
        assert_eq!(AgentFault::parse(b"guest_sulked: no"), None);
        assert_eq!(AgentFault::parse(b"guest_trap"), None);
        assert_eq!(AgentFault::parse(b"guest_trap: \xff"), None);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let fault = AgentFault::new(GUEST_THROW, "é".repeat(2000));
        assert!(fault.message.len() < 1010 && fault.message.ends_with('…'));
    }
}
