//! Frames: `u32` length of the payload (little endian), one byte kind, payload.
//!
//! The guest dials the host and speaks first: [`Kind::Up`], then [`Kind::Hello`] once the guest is loaded; after that it
//! answers each [`Kind::Call`] with one [`Kind::Answer`] or one [`Kind::Fault`], and [`Kind::Memory`] with its like. Deadlines are the channel's affair (a
//! socket's timeouts come back as [`FrameError::Io`]).

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};

/// The version an agent states in its hello. It grows with every change of the frames or of their meaning.
pub const PROTOCOL_VERSION: u16 = 2;

/// Length and kind: what stands before every payload, in bytes.
pub const HEADER_LEN: usize = 5;

/// A frame up to this size is copied together and written at once. A virtio port has no gathering write: two pieces
/// would be two exits from the virtual machine. Larger frames are not worth the copy.
const ONE_WRITE: usize = 4096;

/// What a frame says.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Agent: I run. Its first act, before the guest is loaded. Empty.
    Up = 1,
    /// Agent: the guest is loaded and awaits calls. See [`Hello`].
    Hello = 2,
    /// Host: one request, its bytes.
    Call = 3,
    /// Agent: the answer to a call, its bytes.
    Answer = 4,
    /// Agent: loading or a call failed. See [`crate::fault::AgentFault`].
    Fault = 5,
    /// Host, to an instance that was restored or resumed: see [`Wake`]. Answered with a new hello.
    Wake = 6,
    /// Host: leave. Empty, not answered.
    Stop = 7,
    /// Host: what does your kernel say of memory? Empty. Agent: see [`Memory`].
    Memory = 8,
}

impl TryFrom<u8> for Kind {
    type Error = FrameError;

    fn try_from(byte: u8) -> Result<Self, FrameError> {
        Ok(match byte {
            1 => Self::Up,
            2 => Self::Hello,
            3 => Self::Call,
            4 => Self::Answer,
            5 => Self::Fault,
            6 => Self::Wake,
            7 => Self::Stop,
            8 => Self::Memory,
            unknown => return Err(FrameError::UnknownKind(unknown)),
        })
    }
}

/// Why no frame could be read.
#[derive(Debug)]
pub enum FrameError {
    /// The frame announces more bytes than the reader accepts. The channel is out of step afterwards.
    TooLarge {
        /// Announced length of the payload in bytes.
        len: usize,
        /// The reader's limit in bytes.
        limit: usize,
    },
    /// The kind byte is none of [`Kind`]. The peer does not speak this protocol.
    UnknownKind(u8),
    /// The peer closed the channel between two frames.
    Closed,
    /// The peer closed the channel inside a frame.
    Short,
    /// The channel failed, a timeout included.
    Io(io::Error),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { len, limit } => write!(f, "a frame of {len} bytes is over the limit of {limit} bytes"),
            Self::UnknownKind(byte) => {
                write!(f, "a frame of unknown kind {byte}: the peer does not speak this protocol")
            }
            Self::Closed => f.write_str("the peer closed the channel"),
            Self::Short => f.write_str("the peer closed the channel in the middle of a frame"),
            Self::Io(error) => write!(f, "the channel failed: {error}"),
        }
    }
}

impl std::error::Error for FrameError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// Writes one frame: a single `write` for a small one, a gathering write without a copy for a large one.
///
/// # Errors
/// The channel's own, and `InvalidInput` for a payload of 4 GiB and more.
pub fn write_frame(channel: &mut impl Write, kind: Kind, payload: &[u8]) -> io::Result<()> {
    let Ok(len) = u32::try_from(payload.len()) else {
        return Err(io::Error::new(ErrorKind::InvalidInput, "a payload of 4 GiB or more fits no frame"));
    };
    let mut header = [0; HEADER_LEN];
    header[..4].copy_from_slice(&len.to_le_bytes());
    header[4] = kind as u8;

    let total = HEADER_LEN + payload.len();
    if total <= ONE_WRITE {
        let mut frame = [0; ONE_WRITE];
        frame[..HEADER_LEN].copy_from_slice(&header);
        frame[HEADER_LEN..total].copy_from_slice(payload);
        return channel.write_all(&frame[..total]);
    }
    let written = loop {
        match channel.write_vectored(&[IoSlice::new(&header), IoSlice::new(payload)]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => break written,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    if written < HEADER_LEN {
        channel.write_all(&header[written..])?;
    }
    channel.write_all(&payload[written.saturating_sub(HEADER_LEN)..])
}

/// Reads one frame; its payload replaces the contents of `buf`, whose memory is reused.
///
/// Give it a channel that buffers (a [`std::io::BufReader`]), so that header and payload of a small frame cost one
/// `read`. Never more than `limit` bytes of payload are taken in.
///
/// # Errors
/// See [`FrameError`]; `buf` then holds nothing of use.
pub fn read_frame(channel: &mut impl Read, limit: usize, buf: &mut Vec<u8>) -> Result<Kind, FrameError> {
    let mut header = [0; HEADER_LEN];
    let got = loop {
        match channel.read(&mut header) {
            Ok(0) => return Err(FrameError::Closed),
            Ok(got) => break got,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(FrameError::Io(error)),
        }
    };
    fill(channel, &mut header[got..])?;

    let kind = Kind::try_from(header[4])?;
    let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    if len > limit {
        return Err(FrameError::TooLarge { len, limit });
    }
    // Only bytes the buffer grows by are zeroed: a series of equal frames pays for no memset.
    buf.resize(len, 0);
    fill(channel, buf)?;
    Ok(kind)
}

fn fill(channel: &mut impl Read, buf: &mut [u8]) -> Result<(), FrameError> {
    channel.read_exact(buf).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => FrameError::Short,
        _ => FrameError::Io(error),
    })
}

/// The payload of [`Kind::Hello`]: version (`u16`, little endian), then text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The protocol the agent speaks; the host refuses any but [`PROTOCOL_VERSION`].
    pub version: u16,
    /// Names the agent and its engine's version, for `run.json`.
    pub agent: &'a str,
}

impl<'a> Hello<'a> {
    /// The bytes of the payload.
    pub fn encode(&self) -> Vec<u8> {
        [&self.version.to_le_bytes(), self.agent.as_bytes()].concat()
    }

    /// Reads a payload; `None` if it is too short or no UTF-8.
    pub fn decode(payload: &'a [u8]) -> Option<Self> {
        let (version, agent) = payload.split_first_chunk::<2>()?;
        Some(Self { version: u16::from_le_bytes(*version), agent: std::str::from_utf8(agent).ok()? })
    }
}

/// The payload of [`Kind::Wake`]: 32 bytes of entropy, then the time (`u64`, little endian).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wake {
    /// Fresh randomness: two instances restored from one snapshot must not share a random sequence.
    pub entropy: [u8; 32],
    /// The host's clock, in nanoseconds since the Unix epoch.
    pub unix_ns: u64,
}

impl Wake {
    /// The bytes of the payload.
    pub fn encode(&self) -> Vec<u8> {
        [&self.entropy[..], &self.unix_ns.to_le_bytes()].concat()
    }

    /// Reads a payload; `None` if it has not exactly 40 bytes.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (entropy, unix_ns) = payload.split_first_chunk::<32>()?;
        Some(Self { entropy: *entropy, unix_ns: u64::from_le_bytes(unix_ns.try_into().ok()?) })
    }
}

/// An agent's payload of [`Kind::Memory`]: what the kernel on its side of the boundary says in `/proc/meminfo`, in bytes,
/// two `u64`, little endian. Empty where there is no such file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// `MemTotal`.
    pub total: u64,
    /// `MemAvailable`: the kernel's estimate of what could be had without swapping.
    pub available: u64,
}

impl Memory {
    /// The bytes of the payload.
    pub fn encode(&self) -> Vec<u8> {
        [self.total.to_le_bytes(), self.available.to_le_bytes()].concat()
    }

    /// Reads a payload; `None` if it has not exactly 16 bytes.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (total, available) = payload.split_first_chunk::<8>()?;
        Some(Self { total: u64::from_le_bytes(*total), available: u64::from_le_bytes(available.try_into().ok()?) })
    }

    /// Reads the text of `/proc/meminfo`; `None` if it is none.
    pub fn parse(meminfo: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
        };
        Some(Self { total: field("MemTotal")?, available: field("MemAvailable")? })
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
