//! The virtual machine as all cells share it, and QEMU's command line for one instance of it.

use crate::kernel::{Kernel, Missing};
use crate::packages;
use crate::tsc;
use crate::variant::Variant;
use isobench_core::Fault;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The program.
const QEMU: &str = "qemu-system-x86_64";

/// Longest wait for `--version`; the first start after boot reads 30 MB from disk.
const VERSION_DEADLINE: Duration = Duration::from_secs(20);

/// The virtio-serial port's name, in QEMU's command line and in the agent's arguments.
pub const PORT: &str = "isobench";

/// Memory for what is not the guest, in bytes: Debian's cloud kernel keeps 45 MiB of 128 for itself and does not boot in
/// 72; page tables and the agent's own needs come on top.
const KERNEL_MEMORY: u64 = 72 << 20;

/// What an agent may use beside the guest's memory before it must say that memory is out; the native agent's own
/// headroom, so that its limit is reached before the machine's.
const AGENT_HEADROOM: u64 = 64 << 20;

/// Who runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// The processor itself, under the kernel's hypervisor.
    Kvm,
    /// QEMU's translator: an emulated processor.
    Tcg,
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg",
        })
    }
}

/// The installed QEMU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Qemu {
    /// The program.
    pub program: PathBuf,
    /// Its version, for example `7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)`.
    pub version: String,
}

impl Qemu {
    /// Finds it in `PATH` and asks for its version.
    pub fn find() -> Result<Qemu, Missing> {
        let remedy = "`sudo apt-get install qemu-system-x86` (elsewhere: QEMU's x86 system emulator, 5.0 or newer)";
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path).map(|dir| dir.join(QEMU)).find(|p| p.is_file());
        let program = program.ok_or_else(|| Missing::new(format!("{QEMU} is not installed"), remedy))?;
        let text = packages::ask(Command::new(&program).arg("--version"), VERSION_DEADLINE)
            .map_err(|error| Missing::new(error, remedy))?;
        let line = text.lines().next().unwrap_or_default();
        Ok(Qemu { version: line.trim_start_matches("QEMU emulator version ").into(), program })
    }
}

/// What every microVM with one kernel is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The VMM.
    pub qemu: Qemu,
    /// The guest's kernel.
    pub kernel: Kernel,
    /// Who runs the guest's instructions.
    pub accel: Accel,
    /// Rate of the host's time-stamp counter.
    pub tsc_khz: u64,
    /// Processors and devices are described by ACPI's tables: a distribution's kernel finds them in no other way. Else by
    /// an MP table and the kernel's command line.
    pub acpi: bool,
}

/// The machines of a run: written down by `prepare`, read by the blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machines {
    /// With a distribution's kernel.
    pub general: Machine,
    /// With the kernel built for it, if there is one.
    pub minimal: Option<Machine>,
}

impl Machines {
    /// The machine of a variant.
    ///
    /// # Errors
    /// There is no such variant, or its kernel is missing.
    pub fn of(&self, variant: &str) -> Result<&Machine, Fault> {
        match Variant::named(variant)? {
            Variant::BootMinimal => {
                self.minimal.as_ref().ok_or_else(|| Fault::backend("the minimal kernel is missing"))
            }
            Variant::Boot | Variant::Restore | Variant::Paused => Ok(&self.general),
        }
    }
}

/// What a machine is when it begins to run.
#[derive(Debug, Clone, Copy)]
pub enum Beginning<'a> {
    /// Just switched on: the kernel boots.
    Boot {
        /// The open file that is to be its memory, where somebody wants to look at that; else nobody's but its own.
        memory: Option<RawFd>,
    },
    /// What another machine was when it was saved.
    Saved {
        /// The file that holds its memory: mapped, and copied where it is written to.
        memory: &'a Path,
        /// The open file that holds the rest.
        state: RawFd,
    },
}

impl Beginning<'_> {
    /// The open file that QEMU inherits.
    pub fn inherited(&self) -> Option<RawFd> {
        match self {
            Beginning::Boot { memory } => *memory,
            Beginning::Saved { state, .. } => Some(*state),
        }
    }
}

/// What is an instance's own.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// What it begins as.
    pub beginning: Beginning<'a>,
    /// The root file system.
    pub initramfs: &'a Path,
    /// The guest's memory.
    pub memory_mib: u64,
    /// The socket on which the host listens for the agent.
    pub socket: &'a Path,
    /// Where the guest's console goes.
    pub log: &'a Path,
    /// QEMU's end of the control socket, which it inherits.
    pub control: RawFd,
}

impl Machine {
    /// Measures the clock; the rest is given.
    pub fn new(qemu: Qemu, kernel: Kernel, accel: Accel) -> Machine {
        Machine { qemu, kernel, accel, tsc_khz: tsc::khz(), acpi: true }
    }

    /// The same machine with a kernel that was built for it.
    pub fn with_minimal(&self, kernel: Kernel) -> Machine {
        Machine { kernel, acpi: false, ..self.clone() }
    }

    /// QEMU's arguments for one instance.
    pub fn arguments(&self, parts: &Parts) -> Vec<OsString> {
        let cpu = match self.accel {
            Accel::Kvm => "host",
            // The baseline models boot, but V8 does not run on them.
            Accel::Tcg => "max",
        };
        let mut args: Vec<OsString> = Vec::new();
        let mut option = |name: &str, value: OsString| args.extend([name.into(), value]);
        let (memory, shared) = match parts.beginning {
            Beginning::Boot { memory: None } => (None, ""),
            Beginning::Boot { memory: Some(fd) } => (Some(PathBuf::from(format!("/proc/self/fd/{fd}"))), "on"),
            Beginning::Saved { memory, .. } => (Some(memory.to_path_buf()), "off"),
        };
        // Without the real-time clock the kernel waits two seconds for one. Timer and interrupt controller of old stay:
        // a kernel without ACPI that is refused them boots, and has no timer then.
        let mut machine = String::from(if self.acpi { "microvm,rtc=on" } else { "microvm,acpi=off,rtc=on" });
        if let Some(path) = memory {
            let before = format!("memory-backend-file,id=memory,size={}M,share={shared},mem-path=", parts.memory_mib);
            option("-object", joined(&before, &path, ""));
            machine.push_str(",memory-backend=memory");
        }
        option("-M", machine.into());
        option("-accel", self.accel.to_string().into());
        option("-cpu", cpu.into());
        option("-m", parts.memory_mib.to_string().into());
        match parts.beginning {
            Beginning::Boot { .. } => {
                option("-kernel", self.kernel.image.clone().into());
                option("-initrd", parts.initramfs.into());
                option("-append", self.command_line().into());
            }
            // What QMP will name; kernel and root are in its memory already.
            Beginning::Saved { .. } => option("-incoming", "defer".into()),
        }
        option("-device", "virtio-serial-device".into());
        option("-chardev", joined("socket,id=agent,path=", parts.socket, ""));
        option("-device", format!("virtserialport,chardev=agent,name={PORT}").into());
        option("-chardev", joined("file,id=console,path=", parts.log, ",append=on"));
        option("-serial", "chardev:console".into());
        option("-chardev", format!("socket,id=control,fd={}", parts.control).into());
        option("-mon", "chardev=control,mode=control".into());
        args.extend(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot"].map(OsString::from));
        args
    }

    /// The kernel's command line.
    fn command_line(&self) -> String {
        // `reboot=t` ends the machine at once (a triple fault) where the kernel would try the keyboard controller first;
        // `panic=-1` lets a panic end it too. The root is a ramfs, because a tmpfs holds half of the memory only and
        // cuts a large agent short without a word. Level 1 lets nothing but a panic's words onto the console.
        let mut line = String::from(
            "console=ttyS0 loglevel=1 reboot=t panic=-1 rootfstype=ramfs cryptomgr.notests no_timer_check",
        );
        if self.accel == Accel::Tcg {
            line.push_str(&format!(" tsc_early_khz={}", self.tsc_khz));
        }
        line
    }
}

/// The memory of a machine whose guest may use `limit` bytes, in MiB: what the kernel and an agent need, the guest's
/// limit, and the root file system twice, because the archive is still there while it is unpacked.
pub fn memory_mib(limit: u64, initramfs_bytes: u64) -> u64 {
    (KERNEL_MEMORY + AGENT_HEADROOM + limit + 2 * initramfs_bytes).div_ceil(8 << 20) * 8
}

/// An option with a path in it, whose commas QEMU wants twice.
fn joined(before: &str, path: &Path, after: &str) -> OsString {
    let path = path.to_string_lossy().replace(',', ",,");
    format!("{before}{path}{after}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_with_the_guest_and_twice_with_its_root() {
        assert_eq!(memory_mib(64 << 20, 0), 200);
        assert_eq!(memory_mib(64 << 20, 40 << 20), 280);
        assert_eq!(memory_mib(64 << 20, 1), 208);
    }

    #[test]
    fn a_comma_in_a_path_does_not_end_the_option() {
        assert_eq!(joined("file,path=", Path::new("/a,b"), ",x=1"), "file,path=/a,,b,x=1");
    }
}
