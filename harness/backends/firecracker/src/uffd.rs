//! Who brings the pages of a restored machine whose memory no kernel does: Firecracker hands over a `userfaultfd`, on
//! which each page that is touched for the first time is told of, and waits until it has been copied there.
//!
//! One thread per machine, in the runner. One page per fault: what is asked for, and no guess at what comes next.

use isobench_core::Fault;
use serde::Deserialize;
use std::fs::File;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The pages of memory that Firecracker maps unless huge ones are asked for.
const PAGE: u64 = 4096;

/// The longest description of a machine's memory taken in: one region is some 120 bytes, and there are two at most.
const LONGEST: usize = 4096;

/// linux/userfaultfd.h: the requests, `_IOWR(0xAA, 3, 40 bytes)` and `_IOR(0xAA, 2, 16 bytes)`, and the event of a
/// fault.
const UFFDIO_COPY: libc::c_ulong = 0xc028_aa03;
const UFFDIO_WAKE: libc::c_ulong = 0x8010_aa02;
const UFFD_EVENT_PAGEFAULT: u8 = 0x12;

/// A saved machine's memory, mapped. Shared by the machines that are restored from it.
#[derive(Debug)]
pub struct Memory {
    at: *mut libc::c_void,
    length: usize,
}

// SAFETY: the mapping is only read, by the kernel, and lives as long as this.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps the file.
    ///
    /// # Errors
    /// That of the system.
    pub fn map(path: &Path) -> Result<Arc<Memory>, Fault> {
        let failed = |e: io::Error| Fault::backend(format!("{}: {e}", path.display()));
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len() as usize;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
        };
        if at == libc::MAP_FAILED {
            Err(failed(io::Error::last_os_error()))
        } else {
            Ok(Arc::new(Memory { at, length }))
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping that was made, of which nobody has a part any more.
        unsafe { libc::munmap(self.at, self.length) };
    }
}

/// A region of a machine's memory, as Firecracker describes it.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Region {
    /// Where it lies in Firecracker.
    base_host_virt_addr: u64,
    /// Its bytes.
    size: u64,
    /// Where its content lies in the saved memory.
    offset: u64,
    /// The size of its pages, in bytes.
    page_size: u64,
}

impl Region {
    /// Where the page that holds `address` lies in Firecracker, and its content in the saved memory.
    fn page(&self, address: u64) -> Option<(u64, u64)> {
        let page = address & !(PAGE - 1);
        let within = page.checked_sub(self.base_host_virt_addr)?;
        (within < self.size).then(|| (page, self.offset + within))
    }

    /// Whether all of it is there.
    fn fits(&self, length: usize) -> bool {
        let ends = self.offset.checked_add(self.size).is_some_and(|end| end <= length as u64);
        ends && self.page_size == PAGE && (self.base_host_virt_addr | self.size | self.offset).is_multiple_of(PAGE)
    }
}

/// Who brings the pages of one machine. Dropping it ends the thread; Firecracker must be gone by then.
#[derive(Debug)]
pub struct Pager {
    stop: Arc<OwnedFd>,
    failed: Arc<Mutex<Option<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Pager {
    /// Listens at `socket`, which Firecracker will dial.
    ///
    /// # Errors
    /// Those of the system.
    pub fn listen(socket: &Path, memory: &Arc<Memory>) -> Result<Pager, Fault> {
        let failed = |e: io::Error| Fault::backend(format!("{}: {e}", socket.display()));
        let listener = UnixListener::bind(socket).map_err(failed)?;
        // SAFETY: a plain system call; the new descriptor is owned here alone.
        let stop = unsafe { owned(libc::eventfd(0, libc::EFD_CLOEXEC)) }.map_err(failed)?;
        let (stop, why, memory) = (Arc::new(stop), Arc::new(Mutex::new(None)), Arc::clone(memory));
        let (stopped, said) = (Arc::clone(&stop), Arc::clone(&why));
        let life = move || {
            if let Err(e) = serve(&listener, &stopped, &memory) {
                *said.lock().unwrap_or_else(PoisonError::into_inner) = Some(e.to_string());
            }
        };
        let thread = std::thread::Builder::new().name("pager".into()).spawn(life).map_err(failed)?;
        Ok(Pager { stop, failed: why, thread: Some(thread) })
    }

    /// Why no more pages are brought, if so: the machine then waits for one without end.
    pub fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight readable bytes. Once written to, the descriptor stays readable.
        unsafe { libc::write(self.stop.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Why no `userfaultfd` can be made here that also tells of the faults of a virtual machine, if so.
pub fn missing() -> Option<String> {
    if File::options().read(true).write(true).open("/dev/userfaultfd").is_ok() {
        return None;
    }
    // SAFETY: a plain system call; the new descriptor is owned here alone.
    let made = unsafe { owned(libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) as RawFd) };
    made.err().map(|e| format!("userfaultfd: {e}; give this user /dev/userfaultfd, or run as root"))
}

/// # Safety
/// `fd` is negative, the last error then says why, or a new descriptor.
unsafe fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: as demanded of the caller.
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(unsafe { OwnedFd::from_raw_fd(fd) }) }
}

/// Takes in what Firecracker hands over, and brings pages until told to stop.
fn serve(listener: &UnixListener, stop: &OwnedFd, memory: &Memory) -> io::Result<()> {
    if !readable(listener.as_raw_fd(), stop)? {
        return Ok(());
    }
    let (stream, _) = listener.accept()?;
    if !readable(stream.as_raw_fd(), stop)? {
        return Ok(());
    }
    let (text, uffd) = receive(&stream)?;
    let regions: Vec<Region> = serde_json::from_slice(&text)?;
    if let Some(odd) = regions.iter().find(|region| !region.fits(memory.length)) {
        return Err(io::Error::other(format!(
            "{odd:?} is not of the saved {} bytes in pages of {PAGE}",
            memory.length
        )));
    }
    while readable(uffd.as_raw_fd(), stop)? {
        let Some(address) = fault(&uffd)? else { continue };
        let page = regions.iter().find_map(|region| region.page(address));
        let (to, from) = page.ok_or_else(|| io::Error::other(format!("a fault at {address:#x}, in no region")))?;
        bring(&uffd, to, memory.at as u64 + from)?;
    }
    Ok(())
}

/// Waits until `fd` can be read; not if told to stop.
fn readable(fd: RawFd, stop: &OwnedFd) -> io::Result<bool> {
    let of = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut polls = [of(stop.as_raw_fd()), of(fd)];
    loop {
        // SAFETY: two valid pollfds. Without a deadline: `stop` comes, at the latest when the instance is dropped.
        if unsafe { libc::poll(polls.as_mut_ptr(), 2, -1) } < 0 {
            match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => continue,
                e => return Err(e),
            }
        }
        if polls[0].revents != 0 {
            return Ok(false);
        }
        if polls[1].revents & libc::POLLIN != 0 {
            return Ok(true);
        }
        // An error, and no end to it: what is left is to be told to stop.
        polls[1].fd = -1;
    }
}

/// A message and the descriptor that comes with it.
fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, OwnedFd)> {
    let mut text = vec![0; LONGEST];
    let mut part = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() };
    // Room for one descriptor, aligned as its header must be.
    let mut room = [0_u64; 4];
    // SAFETY: a struct of integers and pointers, for which zeros are a value; all that it points to lives on, and the
    // header that is found lies in `room`.
    unsafe {
        let mut message: libc::msghdr = MaybeUninit::zeroed().assume_init();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = room.as_mut_ptr().cast();
        message.msg_controllen = mem::size_of_val(&room);
        let got = libc::recvmsg(stream.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC);
        if got < 0 {
            return Err(io::Error::last_os_error());
        }
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if header.is_null() || (*header).cmsg_type != libc::SCM_RIGHTS {
            return Err(io::Error::other("Firecracker handed over no descriptor"));
        }
        let fd = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
        text.truncate(got as usize);
        Ok((text, OwnedFd::from_raw_fd(fd)))
    }
}

/// The address of the fault that is told of; other events are none of ours.
fn fault(uffd: &OwnedFd) -> io::Result<Option<u64>> {
    // struct uffd_msg: the event, seven bytes reserved, and for a fault its flags and its address.
    let mut message = [0_u8; 32];
    // SAFETY: as many writable bytes as are asked for.
    let got = unsafe { libc::read(uffd.as_raw_fd(), message.as_mut_ptr().cast(), message.len()) };
    match got {
        32 if message[0] == UFFD_EVENT_PAGEFAULT => {
            Ok(Some(u64::from_ne_bytes(message[16..24].try_into().expect("eight bytes"))))
        }
        0.. => Ok(None),
        _ => match io::Error::last_os_error() {
            e if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            e => Err(e),
        },
    }
}

/// Copies a page and lets who waits for it go on.
fn bring(uffd: &OwnedFd, to: u64, from: u64) -> io::Result<()> {
    loop {
        // struct uffdio_copy: destination, source, length, mode, and what was copied.
        let mut copy = [to, from, PAGE, 0, 0];
        // SAFETY: a struct of that layout, and a source page that is mapped; the destination is the kernel's to check.
        if unsafe { libc::ioctl(uffd.as_raw_fd(), UFFDIO_COPY as _, copy.as_mut_ptr()) } == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            // Firecracker's mappings are changing at this moment.
            e if e.raw_os_error() == Some(libc::EAGAIN) => {}
            // Another processor touched the page as well: it is there, and both are to be told.
            e if e.raw_os_error() == Some(libc::EEXIST) => {
                let range = [to, PAGE];
                // SAFETY: struct uffdio_range.
                unsafe { libc::ioctl(uffd.as_raw_fd(), UFFDIO_WAKE as _, range.as_ptr()) };
                return Ok(());
            }
            // Firecracker has ended.
            e if matches!(e.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) => return Ok(()),
            e => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_found_in_its_region_and_a_region_must_fit() {
        let region = Region { base_host_virt_addr: 0x10_000, size: 0x3000, offset: 0x1000, page_size: PAGE };
        assert_eq!(region.page(0x10_fff), Some((0x10_000, 0x1000)));
        assert_eq!(region.page(0x12_abc), Some((0x12_000, 0x3000)));
        assert_eq!((region.page(0x13_000), region.page(0xf_fff)), (None, None));
        assert!(region.fits(0x4000) && !region.fits(0x3fff));
        assert!(!Region { page_size: 2 << 20, ..region }.fits(0x4000));
        assert!(!Region { offset: u64::MAX, ..region }.fits(0x4000));
    }
}
