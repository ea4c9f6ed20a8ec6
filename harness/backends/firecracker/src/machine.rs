//! What every microVM of a run shares: the installed Firecracker and the guest's kernel. And whether one boots here.

use crate::jail::{Jailer, Jails};
use crate::uffd;
use crate::variant::Variant;
use crate::vm::{Image, Vm};
use isobench_core::{Fault, sha256_hex};
use isobench_qemu::accel::{self, PROBE_AGENT, PROBE_DEADLINE};
use isobench_qemu::initramfs::{self, GUEST_FILE, Root};
use isobench_qemu::kernel::{Kernel, Missing};
use isobench_qemu::machine::memory_mib;
use isobench_qemu::minimal;
use isobench_qemu::paused::Standing;
use isobench_runner::agents::{self, AgentPackage};
use isobench_runner::place::installed;
use isobench_runner::{Phases, RunContext, Target};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Names a Firecracker to use instead of the one in `PATH`.
pub const PROGRAM_VARIABLE: &str = "ISOBENCH_FIRECRACKER";

/// The program.
const PROGRAM: &str = "firecracker";

/// What a person does who has none.
const REMEDY: &str = "take `firecracker` from a release (https://github.com/firecracker-microvm/firecracker/releases) \
                      and put it into PATH, or let ISOBENCH_FIRECRACKER name it";

/// How its `--version` begins.
const VERSION_PREFIX: &str = "Firecracker v";

/// Longest wait for `--version`.
const VERSION_DEADLINE: Duration = Duration::from_secs(20);

/// Longest wait for a machine that stood still to answer; it takes milliseconds.
const RESUME_DEADLINE: Duration = Duration::from_secs(2);

/// The port of the host that agents dial.
pub const PORT: u32 = 52;

/// The modules that make a vsock on virtio-mmio, those they need not named.
const VSOCK_MODULES: [&str; 2] = ["virtio_mmio", "vmw_vsock_virtio_transport"];

/// The first version whose restored guests are told that their connections are gone; before it they wait for ever.
const TELLS_OF_RESETS: (u32, u32) = (1, 10);

/// What every microVM of a run is: written down by `prepare`, read by the blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The VMM.
    pub program: PathBuf,
    /// Its version, for example `1.16.1`.
    pub version: String,
    /// The guest's kernel.
    pub kernel: Kernel,
    /// The jailer, or why none can be used.
    pub jailer: Result<Jailer, String>,
}

impl Machine {
    /// Finds both, and boots a guest to see whether one does (or remembers whether one did).
    ///
    /// # Errors
    /// What is missing.
    pub fn find(ctx: &RunContext) -> Result<Machine, Missing> {
        if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) {
            return Err(Missing::new(
                "the firecracker backend runs x86-64 guests on x86-64 Linux",
                "use such a machine",
            ));
        }
        let (program, version) = find_program()?;
        let kernel = Kernel::named(ctx, &VSOCK_MODULES).unwrap_or_else(|| minimal::find(ctx))?;
        let jailer = Jailer::find(ctx, &program, &version);
        let machine = Machine { program, version, kernel, jailer };
        match machine.ask(ctx, "boot under KVM", || machine.booted(ctx).map(drop)) {
            None => Ok(machine),
            Some(why) => Err(Missing::new(
                why,
                "Firecracker needs a KVM that boots guests, which virtual machines rarely have: a bare machine, or \
                 nested virtualisation, and the right to open /dev/kvm",
            )),
        }
    }

    /// The variants that cannot be run, and why.
    pub fn absent(&self, ctx: &RunContext) -> BTreeMap<String, String> {
        let unheard = || {
            (!tells_of_resets(&self.version)).then(|| {
                let version = &self.version;
                format!("Firecracker {version} does not tell a restored guest that its connections are gone: 1.10 does")
            })
        };
        let why = |variant: &Variant| match variant {
            Variant::Boot => None,
            Variant::Jailer => self.jailer.clone().err(),
            Variant::Restore => unheard(),
            Variant::RestoreUffd => unheard().or_else(uffd::missing),
            Variant::Paused => self.deaf(ctx),
        };
        Variant::ALL.into_iter().filter_map(|variant| Some((variant.name().into(), why(&variant)?))).collect()
    }

    /// Why a machine that stood still does not hear its host, if so.
    fn deaf(&self, ctx: &RunContext) -> Option<String> {
        let why = self.ask(ctx, "hear its host after it stood still", || {
            let mut vm = self.booted(ctx)?;
            vm.pause(accel::within(RESUME_DEADLINE))?;
            vm.resume(&mut Phases::new(), accel::within(RESUME_DEADLINE))
        })?;
        let known = "https://github.com/firecracker-microvm/firecracker/pull/6100";
        Some(format!("{why}. So it is with Firecracker 1.16.0 and 1.16.1 ({known}), not with those before"))
    }

    /// Why a probe guest does not do `what`, as `probe` finds or found before.
    fn ask(&self, ctx: &RunContext, what: &str, probe: impl FnOnce() -> Result<(), Fault>) -> Option<String> {
        match agents::program_stamp(&self.program) {
            Ok(stamp) => accel::ask(ctx, &self.kernel, &stamp, what, probe).failed,
            Err(fault) => Some(fault.message),
        }
    }

    /// What `target`'s instances are started from.
    ///
    /// # Errors
    /// The fault of an agent, a guest or a root file system that cannot be made.
    pub fn image(&self, ctx: &RunContext, target: &Target) -> Result<Image, Fault> {
        let package = AgentPackage::pack(ctx, target)?;
        let args = package.args(&format!("vsock:{PORT}"), GUEST_FILE);
        let (guest, content) = (package.guest.as_deref(), &package.sha256);
        let frame_limit = target.limits.frame_bytes;
        self.image_of(ctx, &package.program, guest, &args, content, target.limits.memory_bytes, frame_limit)
    }

    #[expect(clippy::too_many_arguments, reason = "parts of one thing, named at both of its callers")]
    fn image_of(
        &self,
        ctx: &RunContext,
        agent: &Path,
        guest: Option<&Path>,
        args: &[String],
        content: &str,
        memory: u64,
        frame_limit: u64,
    ) -> Result<Image, Fault> {
        let root = Root { agent, guest, args, modules: &self.kernel.modules, content };
        let initramfs = initramfs::build(ctx, &root)?;
        let bytes =
            fs::metadata(&initramfs).map_err(|e| Fault::backend(format!("{}: {e}", initramfs.display())))?.len();
        Ok(Image {
            machine: self.clone(),
            memory_mib: memory_mib(memory, bytes),
            initramfs,
            jails: None,
            state: ctx.state.clone(),
            frame_limit,
        })
    }

    /// The same in jails.
    ///
    /// # Errors
    /// There is no jailer, or what jails are made of cannot be made.
    pub fn jailed(&self, ctx: &RunContext, image: Image) -> Result<Image, Fault> {
        let jailer = self.jailer.clone().map_err(Fault::backend)?;
        let jails = Jails::new(ctx, jailer, &image.machine.kernel.image, &image.initramfs)?;
        Ok(Image { jails: Some(jails), ..image })
    }

    /// The probe guest, booted.
    fn booted(&self, ctx: &RunContext) -> Result<Vm, Fault> {
        let agent = ctx.programs.join(PROBE_AGENT);
        let bytes = fs::read(&agent)
            .map_err(|e| Fault::backend(format!("{}: {e}; `make build` builds it", agent.display())))?;
        let args = ["--connect".to_string(), format!("vsock:{PORT}")];
        let image = self.image_of(ctx, &agent, None, &args, &sha256_hex(&bytes), 0, 1 << 10)?;
        fs::create_dir_all(&ctx.state).map_err(|e| Fault::backend(format!("{}: {e}", ctx.state.display())))?;
        Vm::start(&image, &mut Phases::new(), accel::within(PROBE_DEADLINE))
    }
}

/// The program and its version.
fn find_program() -> Result<(PathBuf, String), Missing> {
    let named = std::env::var_os(PROGRAM_VARIABLE).map(PathBuf::from);
    let program = named.or_else(|| installed(PROGRAM));
    let program = program.ok_or_else(|| Missing::new("Firecracker is not installed", REMEDY))?;
    // Instances run in folders of their own, where a relative path would lead elsewhere.
    let program = fs::canonicalize(&program)
        .map_err(|e| Missing::new(format!("Firecracker at {}: {e}", program.display()), REMEDY))?;
    let text = agents::text_of(Command::new(&program).arg("--version"), VERSION_DEADLINE)
        .map_err(|error| Missing::new(error, REMEDY))?;
    let version = text.lines().next().and_then(|line| line.strip_prefix(VERSION_PREFIX));
    let Some(version) = version else {
        return Err(Missing::new(format!("{} says it is no Firecracker: `{text}`", program.display()), REMEDY));
    };
    Ok((program, version.trim().into()))
}

fn tells_of_resets(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= TELLS_OF_RESETS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, tells) in
            [("1.9.1", false), ("1.10.0", true), ("1.16.1", true), ("2.0.0-dev", true), ("x", false)]
        {
            assert_eq!(tells_of_resets(version), tells, "{version}");
        }
    }
}
