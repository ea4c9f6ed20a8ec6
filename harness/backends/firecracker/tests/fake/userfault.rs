//! A restored machine's memory of which nothing is there yet, handed to who brings its pages, as the real one does it.

use crate::guest::CONTENT;
use serde_json::json;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// linux/userfaultfd.h.
const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
const UFFD_USER_MODE_ONLY: libc::c_int = 1;
const UFFD_API: u64 = 0xaa;
const REGISTER_MODE_MISSING: u64 = 1;

/// Pages that are brought, and what was kept for it.
#[derive(Debug)]
pub struct Touched {
    _uffd: OwnedFd,
    _stream: UnixStream,
}

/// Maps `bytes` that are not there, lets who listens at `socket` bring them, and looks at what comes.
pub fn hand_over(socket: &Path, bytes: u64) -> io::Result<Touched> {
    let last = |failed: bool| if failed { Err(io::Error::last_os_error()) } else { Ok(()) };
    let length = bytes as usize;
    // SAFETY: a new mapping, a new descriptor, and requests with structs of the layouts that the kernel reads.
    let (at, uffd) = unsafe {
        let (rights, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let at = libc::mmap(std::ptr::null_mut(), length, rights, kind, -1, 0);
        last(at == libc::MAP_FAILED)?;
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | UFFD_USER_MODE_ONLY;
        let fd = libc::syscall(libc::SYS_userfaultfd, flags) as RawFd;
        last(fd < 0)?;
        let uffd = OwnedFd::from_raw_fd(fd);
        let mut api = [UFFD_API, 0, 0];
        last(libc::ioctl(fd, UFFDIO_API as _, api.as_mut_ptr()) < 0)?;
        let mut register = [at as u64, bytes, REGISTER_MODE_MISSING, 0];
        last(libc::ioctl(fd, UFFDIO_REGISTER as _, register.as_mut_ptr()) < 0)?;
        (at.cast::<u8>(), uffd)
    };
    // Two regions, as a machine has that is larger than the gap below 4 GiB.
    let half = bytes / 2;
    let region = |offset: u64| {
        json!({
            "base_host_virt_addr": at as u64 + offset, "size": half, "offset": offset, "page_size": 4096,
            "page_size_kib": 4096,
        })
    };
    let stream = UnixStream::connect(socket)?;
    send(&stream, json!([region(0), region(half)]).to_string().as_bytes(), &uffd)?;
    let look = |offset: u64, expected: &[u8]| {
        // SAFETY: within the mapping; a page that is missing is waited for.
        let there = unsafe { std::slice::from_raw_parts(at.add(offset as usize), expected.len()) };
        assert_eq!(there, expected, "the page at {offset:#x} is what was saved");
    };
    look(CONTENT.1, CONTENT.0);
    look(0, b"this is a memory");
    look(bytes - 4096, &[0; 4096]);
    Ok(Touched { _uffd: uffd, _stream: stream })
}

fn send(stream: &UnixStream, text: &[u8], with: &OwnedFd) -> io::Result<()> {
    let mut part = libc::iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: text.len() };
    let mut room = [0_u64; 4];
    let size = mem::size_of::<RawFd>() as u32;
    // SAFETY: a struct for which zeros are a value; all that it points to lives on and has the room that is said.
    let sent = unsafe {
        let mut message: libc::msghdr = MaybeUninit::zeroed().assume_init();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = room.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size) as _;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(with.as_raw_fd());
        libc::sendmsg(stream.as_raw_fd(), &raw const message, 0)
    };
    if sent == text.len() as isize { Ok(()) } else { Err(io::Error::last_os_error()) }
}
