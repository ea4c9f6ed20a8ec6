//! A machine saved after its agent's hello, in the cache: one file is the guest's memory, the other all the rest.
//!
//! The memory is never sent anywhere. The machine that is saved has it in a file of ours that lives in memory, from which
//! it is copied; machines that are restored map the copy, each for itself, and the page cache is what they share of it.

use crate::machine::Beginning;
use crate::vm::{Image, Vm};
use isobench_core::{Fault, sha256_hex};
use isobench_runner::part::Part;
use isobench_runner::{Deadline, Phases, RunContext, machine};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Grows with every change of what is saved, so that no state of an older layout is taken.
const LAYOUT: u32 = 1;

/// Longest wait for QEMU to write what is not memory: some 60 KB.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// Memory is copied in pieces of this size; those that hold nothing but zeros become holes.
const PIECE: usize = 64 << 10;

/// States that nobody has used for so long are removed when a new one is made: each is the size of a guest's memory, and
/// every build of an agent makes others.
const UNUSED: Duration = Duration::from_secs(24 * 3600);

/// The file of a saved machine's memory, in its folder.
pub const MEMORY: &str = "memory";
/// The file of all the rest, in its folder.
pub const STATE: &str = "state";

/// A saved machine.
#[derive(Debug, Clone)]
pub struct Saved {
    /// The file with the guest's memory.
    pub memory: PathBuf,
    /// The file with everything else.
    pub state: PathBuf,
}

impl Saved {
    /// The state of a machine of `image`, made if no block has done so before.
    pub fn of(ctx: &RunContext, image: &Image, deadline: Deadline) -> Result<Saved, Fault> {
        Saved::kept(ctx, &key(image), image.memory_mib, |dir| save(image, dir, deadline))
    }

    /// The machine of `memory_mib` that is kept under a name of all that it depends on. If no block has done so before,
    /// `save` writes [`MEMORY`] and [`STATE`] of one into a folder.
    ///
    /// # Errors
    /// Those of `save`, and of what is damaged.
    pub fn kept(
        ctx: &RunContext,
        key: &str,
        memory_mib: u64,
        save: impl FnOnce(&Path) -> Result<(), Fault>,
    ) -> Result<Saved, Fault> {
        let states = ctx.cache.join("state");
        let home = states.join(key);
        let saved = Saved { memory: home.join(MEMORY), state: home.join(STATE) };
        let failed = |e: io::Error| Fault::backend(format!("saving a machine in {}: {e}", home.display()));
        if !home.is_dir() {
            fs::create_dir_all(&states).map_err(failed)?;
            remove_unused(&states);
            // Made aside and renamed, so that whoever sees the folder sees all of it.
            let part = Part::beside(&home).map_err(failed)?;
            fs::create_dir(part.path()).map_err(failed)?;
            save(part.path())?;
            match part.persist(&home) {
                // Another process was faster, with as good a machine.
                Err(_) if home.is_dir() => {}
                renamed => renamed.map_err(failed)?,
            }
        }
        let damaged = |why: String| Fault::backend(format!("the saved machine {} {why}; remove it", home.display()));
        // QEMU would make a short file longer, with nothing in it.
        match fs::metadata(&saved.memory) {
            Ok(memory) if memory.len() == memory_mib << 20 => {}
            Ok(memory) => return Err(damaged(format!("has {} bytes of memory", memory.len()))),
            Err(e) => return Err(damaged(format!("has no memory: {e}"))),
        }
        let used = OpenOptions::new().append(true).open(&saved.state).and_then(|f| f.set_modified(SystemTime::now()));
        used.map_err(|e| damaged(format!("has no state: {e}")))?;
        Ok(saved)
    }

    /// Everything but the memory, to be handed to QEMU.
    pub fn open(&self) -> Result<File, Fault> {
        File::open(&self.state).map_err(|e| Fault::backend(format!("{}: {e}", self.state.display())))
    }
}

/// What the state depends on. Not the measured rate of the clock, which is another each time by some parts per million.
fn key(image: &Image) -> String {
    let machine = &image.machine;
    let facts = [
        LAYOUT.to_string(),
        machine.qemu.version.clone(),
        machine.kernel.sha256.clone(),
        machine.accel.to_string(),
        machine.acpi.to_string(),
        machine::describe().cpu,
        image.memory_mib.to_string(),
        image.initramfs.display().to_string(),
    ];
    sha256_hex(facts.join("\n").as_bytes())[..32].into()
}

/// Boots a machine and saves it into `dir`.
fn save(image: &Image, dir: &Path, deadline: Deadline) -> Result<(), Fault> {
    let failed = |what: &str, e: io::Error| Fault::backend(format!("saving a machine: {what}: {e}"));
    let memory = memory_file(image.memory_mib << 20).map_err(|e| failed("its memory", e))?;
    let beginning = Beginning::Boot { memory: Some(memory.as_raw_fd()) };
    let mut vm = Vm::boot(image, &beginning, &mut Phases::new(), deadline)?;

    let socket = image.state.join("save.sock");
    let written = Deadline::after(WRITE_DEADLINE);
    let listener = UnixListener::bind(&socket).map_err(|e| failed("socket", e))?;
    let asked = vm.qemu.control.save(&socket.to_string_lossy());
    let state = asked.and_then(|()| connected(&listener, written)).and_then(|stream| read(stream, written));
    let _ = fs::remove_file(&socket);
    let state = state.map_err(|e| vm.qemu.failed("saving the machine", &e, &written))?;
    let end = vm.qemu.control.saved().map_err(|e| failed("asking QEMU", e))?;
    if end != "completed" {
        return Err(Fault::backend(format!("saving a machine: QEMU says it is {end}")));
    }
    fs::write(dir.join(STATE), state).map_err(|e| failed("its state", e))?;
    copy(&memory, &dir.join(MEMORY)).map_err(|e| failed("its memory", e))
}

/// A file without a name that lives in memory.
fn memory_file(bytes: u64) -> io::Result<File> {
    // SAFETY: a C string that lives through the call; the new descriptor is owned here alone.
    let file = unsafe {
        match libc::memfd_create(c"guest".as_ptr(), libc::MFD_CLOEXEC) {
            ..0 => return Err(io::Error::last_os_error()),
            fd => File::from_raw_fd(fd),
        }
    };
    file.set_len(bytes)?;
    Ok(file)
}

fn connected(listener: &UnixListener, deadline: Deadline) -> io::Result<UnixStream> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && !deadline.passed() => {
                std::thread::sleep(Duration::from_millis(1));
            }
            accepted => return accepted.map(|(stream, _)| stream),
        }
    }
}

fn read(mut stream: UnixStream, deadline: Deadline) -> io::Result<Vec<u8>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(deadline.remaining().max(Duration::from_millis(1))))?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Copies what is not zero: the copy has holes where the memory was never touched.
///
/// # Errors
/// Those of the files.
pub fn copy(memory: &File, to: &Path) -> io::Result<()> {
    let length = memory.metadata()?.len();
    let copy = File::create_new(to)?;
    copy.set_len(length)?;
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < length {
        let piece = &mut piece[..PIECE.min((length - at) as usize)];
        memory.read_exact_at(piece, at)?;
        if piece.iter().any(|&byte| byte != 0) {
            copy.write_all_at(piece, at)?;
        }
        at += piece.len() as u64;
    }
    Ok(())
}

/// Removes states that nobody has used of late. What resists is tried again with the next one.
fn remove_unused(states: &Path) {
    for dir in fs::read_dir(states).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let used = fs::metadata(dir.join(STATE)).or_else(|_| fs::metadata(&dir)).and_then(|m| m.modified());
        if used.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > UNUSED)) {
            // Only isobench writes into this folder of its cache, whose tag the coordinator has checked.
            let _ = fs::remove_dir_all(dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_copy_is_the_same_and_has_holes() {
        let dir = tempfile::tempdir().unwrap();
        let memory = memory_file((8 << 20) + 5).unwrap();
        memory.write_all_at(b"here", 3 << 20).unwrap();
        memory.write_all_at(b"end", (8 << 20) + 2).unwrap();
        let to = dir.path().join("memory");
        copy(&memory, &to).unwrap();
        let bytes = fs::read(&to).unwrap();
        assert_eq!(bytes.len(), (8 << 20) + 5);
        assert_eq!((&bytes[3 << 20..][..4], &bytes[(8 << 20) + 2..]), (&b"here"[..], &b"end"[..]));
        assert_eq!(bytes.iter().filter(|&&byte| byte != 0).count(), 7);
        assert!(fs::metadata(&to).unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn only_what_nobody_uses_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["used", "unused"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("state"), name).unwrap();
        }
        let old = File::options().append(true).open(dir.path().join("unused/state")).unwrap();
        old.set_modified(SystemTime::now() - 2 * UNUSED).unwrap();
        remove_unused(dir.path());
        assert!(dir.path().join("used").exists() && !dir.path().join("unused").exists());
    }
}
