//! The agent as a zygote: an agent that has loaded its guest and answers no requests but makes copies of itself, each of
//! which dials an address of its own and is from then on like any other agent.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use super::args::parse_connect;
use super::connect;
use crate::frame::{FrameError, Kind, read_frame, write_frame};

/// The longest address, in bytes: a socket's path has 107 at most.
const ADDRESS_LIMIT: usize = 256;

/// Makes a copy of this process for every call, whose request is the address that the copy is to dial, and answers with
/// its process id (`u32`, little endian). True in a copy, where `channel` leads to that address; false once the host has
/// had enough.
///
/// # Errors
/// A sentence for the standard error.
pub(super) fn copies(channel: &File) -> Result<bool, String> {
    let mut incoming = BufReader::with_capacity(ADDRESS_LIMIT, channel);
    let mut address = Vec::new();
    loop {
        match read_frame(&mut incoming, ADDRESS_LIMIT, &mut address) {
            Ok(Kind::Call) => {}
            Ok(Kind::Stop) | Err(FrameError::Closed) => return Ok(false),
            Ok(kind) => return Err(format!("the host sent {kind:?} to a zygote")),
            Err(error) => return Err(error.to_string()),
        }
        match copy().map_err(|error| format!("can't make a copy: {error}"))? {
            0 => return dial(&address, channel).map(|()| true),
            pid => write_frame(&mut &*channel, Kind::Answer, &pid.to_le_bytes())
                .map_err(|error| format!("can't write to the host: {error}"))?,
        }
    }
}

/// A copy is the child of whoever started the zygote, so that its end is told to who cares: 0 in the copy.
fn copy() -> io::Result<u32> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: as `fork`, which knows no such flag; a zygote has one thread, so the copy finds no lock that is held.
    match unsafe { libc::syscall(libc::SYS_clone, libc::c_long::from(flags), 0, 0, 0, 0) } {
        ..0 => Err(io::Error::last_os_error()),
        pid => Ok(pid as u32),
    }
}

/// Puts a connection to the address in the place of `channel`, so that a copy has no way to speak as its zygote.
fn dial(address: &[u8], channel: &File) -> Result<(), String> {
    let to = parse_connect(OsStr::from_bytes(address))?;
    let failed = |error: io::Error| format!("can't reach the host at {to}: {error}");
    let own = connect(&to).map_err(failed)?;
    // SAFETY: both descriptors are open.
    match unsafe { libc::dup3(own.as_raw_fd(), channel.as_raw_fd(), libc::O_CLOEXEC) } {
        ..0 => Err(failed(io::Error::last_os_error())),
        _ => Ok(()),
    }
}
