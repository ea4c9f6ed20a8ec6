//! The agent as the first process of a microVM: what an init must do before an agent can run, and no more.
//!
//! The host puts these files into the guest's file system: `/isobench.args` (the parameters, one per line; its presence
//! is what tells a microVM from a container), and, where the kernel needs modules, `/modules/order` (file names under
//! `/modules`, one per line, in the order of loading).
//!
//! On the kernel's command line `panic=-1` turns a kernel that ran out of memory, or an init that was killed, into the end
//! of the machine instead of a hang; `reboot=t` and QEMU's `-no-reboot` make that end quick.

use std::ffi::{CStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Args;
use crate::frame::Wake;

/// The parameters, one per line.
pub const ARGS_FILE: &str = "/isobench.args";
/// The kernel modules to load, one file name per line.
pub const MODULES_FILE: &str = "/modules/order";

const PORTS: &str = "/sys/class/virtio-ports";
/// The kernel announces ports some time after it has started init; on an emulated CPU that can take long.
const PORT_DEADLINE: Duration = Duration::from_secs(5);

/// Are we the first process of a microVM made by isobench?
pub(super) fn is_init() -> bool {
    std::process::id() == 1 && !std::env::args_os().any(|arg| arg == "--connect") && Path::new(ARGS_FILE).exists()
}

/// Mounts what an agent needs, loads the modules and reads the parameters.
pub(super) fn set_up() -> Result<Args, String> {
    mount(c"devtmpfs", c"/dev")?;
    mount(c"proc", c"/proc")?;
    mount(c"sysfs", c"/sys")?;
    load_modules()?;
    let args = fs::read(ARGS_FILE).map_err(|error| format!("can't read {ARGS_FILE}: {error}"))?;
    let lines = args.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Args::parse(lines.map(|line| OsString::from_vec(line.to_vec()))).map_err(|error| format!("{ARGS_FILE}: {error}"))
}

fn mount(kind: &CStr, at: &CStr) -> Result<(), String> {
    // SAFETY: all pointers are C strings that live through the call.
    unsafe {
        libc::mkdir(at.as_ptr(), 0o755);
        if libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) == 0 {
            return Ok(());
        }
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::EBUSY) {
        return Ok(());
    }
    Err(format!("can't mount {kind:?} on {at:?}: {error}"))
}

fn load_modules() -> Result<(), String> {
    let order = match fs::read_to_string(MODULES_FILE) {
        Ok(order) => order,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("can't read {MODULES_FILE}: {error}")),
    };
    for name in order.lines().filter(|name| !name.is_empty()) {
        let path = Path::new("/modules").join(name);
        load_module(&path).map_err(|error| format!("can't load the kernel module {}: {error}", path.display()))?;
    }
    Ok(())
}

fn load_module(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // SAFETY: the descriptor is open and the parameter string is a C string; both live through the call.
    if unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::EEXIST) { Ok(()) } else { Err(error) }
}

/// Opens the virtio-serial port of that name, waiting for the kernel to announce it.
pub(super) fn open_port(name: &str) -> io::Result<File> {
    let give_up = Instant::now() + PORT_DEADLINE;
    loop {
        if let Some(device) = find_port(name) {
            match OpenOptions::new().read(true).write(true).open(Path::new("/dev").join(device)) {
                // The name is announced a moment before the device node.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => return opened,
            }
        }
        if Instant::now() > give_up {
            let message = format!("no virtio port has this name after {} s", PORT_DEADLINE.as_secs());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        sleep(Duration::from_millis(1));
    }
}

fn find_port(name: &str) -> Option<OsString> {
    fs::read_dir(PORTS).ok()?.flatten().find_map(|entry| {
        let announced = fs::read_to_string(entry.path().join("name")).ok()?;
        (announced.trim_end() == name).then(|| entry.file_name())
    })
}

/// Makes a machine that is one of several copies, or has stood still, a machine of its own: the kernel's generator of
/// random numbers is seeded anew and the clock is set. Both need the right to, which an init has.
pub(super) fn wake(wake: &Wake) -> io::Result<()> {
    // linux/random.h. The first counts the entropy in, which alone would only stir a pool that copies share; the second
    // makes the generator draw on that pool now and not in a minute.
    const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;
    const RNDRESEEDCRNG: libc::c_ulong = 0x5207;
    #[repr(C)]
    struct PoolInfo {
        entropy_bits: libc::c_int,
        bytes: libc::c_int,
        entropy: [u8; 32],
    }
    let info = PoolInfo { entropy_bits: 256, bytes: 32, entropy: wake.entropy };
    let time = libc::timespec {
        tv_sec: (wake.unix_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (wake.unix_ns % 1_000_000_000) as libc::c_long,
    };
    let device = File::open("/dev/urandom")?;
    // SAFETY: an open descriptor, and structs of the layouts that the calls read, which live through them.
    let done = unsafe {
        libc::ioctl(device.as_raw_fd(), RNDADDENTROPY as _, &info) == 0
            && libc::ioctl(device.as_raw_fd(), RNDRESEEDCRNG as _) == 0
            && libc::clock_settime(libc::CLOCK_REALTIME, &time) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Says on the console what went wrong, if anything did, and ends the machine. Nothing is worth a sync.
pub(super) fn end_machine(outcome: Result<(), String>) -> ! {
    if let Err(message) = outcome {
        // Not the kernel's log: under `loglevel=0`, which a fast boot wants, no level of it reaches the console.
        if let Ok(mut console) = OpenOptions::new().write(true).open("/dev/console") {
            let _ = writeln!(console, "isobench agent: {message}");
            // SAFETY: the descriptor is open. Without the wait the machine ends before a serial line has sent the text.
            unsafe { libc::tcdrain(console.as_raw_fd()) };
        }
    }
    reboot()
}

/// Restarts the machine, which ends a QEMU that runs with `-no-reboot`.
pub(super) fn reboot() -> ! {
    // SAFETY: takes no pointer.
    unsafe { libc::reboot(libc::RB_AUTOBOOT) };
    // Only reached where we are not allowed to; the exit of init ends the machine as well, with a panic.
    std::process::exit(1)
}
