//! The host over a vsock: a socket between a virtual machine and its host that needs neither network nor address.
//!
//! A machine that is restored from a snapshot finds its connections gone, for it may be one of many that had them:
//! reset by Firecracker ("transport reset" in virtio's specification), ended one by one by Cloud Hypervisor. The agent
//! dials again; that is how it is found.

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::frame::FrameError;

/// Longest wait for a host to take in last words, in milliseconds: it reads them at once, or is not there.
const LINGER_MS: libc::c_int = 1_000;

/// Connects to the host's `port`. The kernel gives up after 2 s.
pub(super) fn connect(port: u32) -> io::Result<File> {
    let address = libc::sockaddr_vm {
        svm_family: libc::AF_VSOCK as libc::sa_family_t,
        svm_reserved1: 0,
        svm_port: port,
        svm_cid: libc::VMADDR_CID_HOST,
        svm_zero: [0; 4],
    };
    let length = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address is of the length given and lives through the call; the new descriptor is owned here alone.
    unsafe {
        let socket = libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(socket);
        if libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(socket.into())
    }
}

/// Whether a read failed as it does when the machine has been restored and its connections are gone: one was reset,
/// during the read or before it, or has ended.
pub(super) fn is_gone(error: &FrameError) -> bool {
    match error {
        FrameError::Closed => true,
        FrameError::Io(e) => matches!(e.raw_os_error(), Some(libc::ECONNRESET | libc::ENOTCONN)),
        _ => false,
    }
}

/// Waits until the host has taken what was sent, so that a machine can end. A worker of the kernel sends it, some time
/// after `write`, and a restart would overtake it; the host ends the connection, or the machine, when it has it. Needs
/// no memory, and does nothing to a descriptor that is no socket.
pub(super) fn linger(channel: RawFd) {
    let mut poll = libc::pollfd { fd: channel, events: libc::POLLIN, revents: 0 };
    // SAFETY: a descriptor that is not open is refused by the kernel; one valid pollfd.
    unsafe {
        if libc::shutdown(channel, libc::SHUT_WR) == 0 {
            libc::poll(&mut poll, 1, LINGER_MS);
        }
    }
}

/// Puts a new connection in the place of one that is gone, under the same descriptor.
pub(super) fn replace(channel: &File, by: &File) -> io::Result<()> {
    // SAFETY: two open descriptors.
    if unsafe { libc::dup3(by.as_raw_fd(), channel.as_raw_fd(), libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
