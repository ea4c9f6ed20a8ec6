//! Whether KVM can be used: only if a guest really boots under it. `/dev/kvm` may open and still run no guest, in nested
//! virtual machines above all.

use crate::initramfs::{self, Root};
use crate::kernel::Kernel;
use crate::machine::{Accel, Machine, PORT, memory_mib};
use crate::vm::{Image, Vm};
use isobench_core::{Fault, sha256_hex};
use isobench_runner::part;
use isobench_runner::{Deadline, Phases, RunContext};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::Duration;

/// The agent of the probe guest.
pub const PROBE_AGENT: &str = "isobench-qemu-probe";

/// Longest wait for a probe guest; under a working KVM it boots in half a second.
pub const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// The version of the rules by which answers are kept. 2: only conclusive ones; 1 also kept those of guests that were late.
const RULES: &str = "rules 2";

/// Said of an answer that is not kept.
const AGAIN: &str = "the next run asks again";

/// How many times longer may take what runs under KVM on a machine that is emulated itself: it boots a probe guest in 2
/// to 12 s.
const EMULATED_TIMES: u32 = 10;

/// What a probe found, kept per [rules](RULES), kernel, processor, host kernel and QEMU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Why a guest does not boot; absent where it does.
    pub failed: Option<String>,
}

/// KVM where a guest boots under it; else emulation, and why. `machine` is what would be booted.
pub fn choose(ctx: &RunContext, machine: &Machine) -> (Accel, Option<String>) {
    let emulated = |why: String| (Accel::Tcg, Some(format!("the processor is emulated (TCG): {why}")));
    if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        return emulated(format!("/dev/kvm: {error}"));
    }
    let agent = ctx.programs.join(PROBE_AGENT);
    if !agent.is_file() {
        return emulated(format!("{} is missing, `make build` builds it", agent.display()));
    }
    match ask(ctx, &machine.kernel, &machine.qemu.version, "boot under KVM", || boots(ctx, machine, &agent)).failed {
        None => (Accel::Kvm, None),
        Some(why) => emulated(why),
    }
}

/// Whether a probe guest does `what` (`boot under KVM`) with this kernel and the VMM that `vmm` tells from all others:
/// as `probe` finds, or as it found before.
pub fn ask(
    ctx: &RunContext,
    kernel: &Kernel,
    vmm: &str,
    what: &str,
    probe: impl FnOnce() -> Result<(), Fault>,
) -> Answer {
    let host = isobench_runner::machine::describe();
    let facts = format!("{RULES} {} {} {} {vmm} {what}", kernel.sha256, host.cpu, host.kernel);
    let name = format!("{}.json", &sha256_hex(facts.as_bytes())[..32]);
    let (path, of_run) = (ctx.cache.join("kvm").join(&name), ctx.state.with_file_name(format!("kvm-{name}")));
    // Relative to the cache: the note goes into run.json, which people publish.
    let kept = path.strip_prefix(&ctx.cache).unwrap_or(&path).display();
    let explained = |why| {
        let again = if path.is_file() { format!("to ask again, remove {kept} in the cache") } else { AGAIN.into() };
        format!("a probe guest did not {what} ({why}); {again}")
    };
    let failed = remembered(&path, &of_run, probe).failed;
    Answer { failed: failed.map(explained) }
}

/// The answer in the cache or of this run, or a new one. It is kept in the cache if it is conclusive: a guest that was
/// only late may boot on a less busy machine, so that answer is kept for this run alone.
fn remembered(path: &Path, of_run: &Path, probe: impl FnOnce() -> Result<(), Fault>) -> Answer {
    let read = |file: &Path| serde_json::from_slice(&fs::read(file).ok()?).ok();
    if let Some(answer) = read(path).or_else(|| read(of_run)) {
        return answer;
    }
    let probed = probe();
    let conclusive = probed.as_ref().err().is_none_or(Fault::is_conclusive);
    let answer = Answer { failed: probed.err().map(|fault| fault.message) };
    // An answer that cannot be kept is asked for again.
    if let Ok(bytes) = serde_json::to_vec(&answer) {
        let _ = part::write(if conclusive { path } else { of_run }, bytes);
    }
    answer
}

/// Boots the probe guest under KVM.
fn boots(ctx: &RunContext, machine: &Machine, agent: &Path) -> Result<(), Fault> {
    let bytes = fs::read(agent).map_err(|e| Fault::backend(format!("{}: {e}", agent.display())))?;
    let args = ["--connect".to_string(), format!("port:{PORT}")];
    let modules = &machine.kernel.modules;
    let root = Root { agent, guest: None, args: &args, modules, content: &sha256_hex(&bytes) };
    let image = Image {
        machine: Machine { accel: Accel::Kvm, ..machine.clone() },
        memory_mib: memory_mib(0, bytes.len() as u64),
        initramfs: initramfs::build(ctx, &root)?,
        state: ctx.state.clone(),
        frame_limit: 1 << 10,
    };
    fs::create_dir_all(&ctx.state).map_err(|e| Fault::backend(format!("{}: {e}", ctx.state.display())))?;
    Vm::start(&image, &mut Phases::new(), within(PROBE_DEADLINE)).map(drop)
}

/// A deadline for a probe guest that is to take no longer on a real machine.
pub fn within(limit: Duration) -> Deadline {
    Deadline::after(if isobench_runner::machine::is_emulated() { limit * EMULATED_TIMES } else { limit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use isobench_core::FaultKind;

    #[test]
    fn an_answer_that_older_rules_have_kept_is_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let ctx = RunContext { run: "test".into(), state: at("p-qemu"), cache: at("cache"), programs: at("programs") };
        let (image, release, source, sha256) = (at("bzImage"), "6.1".into(), "test".into(), "ab".into());
        let kernel = Kernel { image, release, source, sha256, modules: Vec::new() };
        let host = isobench_runner::machine::describe();
        let facts = format!("ab {} {} qemu boot", host.cpu, host.kernel);
        let old = ctx.cache.join(format!("kvm/{}.json", &sha256_hex(facts.as_bytes())[..32]));
        part::write(&old, r#"{"failed":"the agent did not connect: nothing after 10000 ms"}"#).unwrap();
        assert_eq!(ask(&ctx, &kernel, "qemu", "boot", || Ok(())).failed, None);
        assert_eq!(ask(&ctx, &kernel, "qemu", "boot", || panic!("asked twice")).failed, None);
    }

    #[test]
    fn a_probe_is_asked_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kvm/answer.json");
        let run = dir.path().join("run/kvm.json");
        let no = remembered(&path, &run, || Err(Fault::backend("no guest")));
        assert_eq!(no.failed.as_deref(), Some("no guest"));
        assert_eq!(remembered(&path, &run, || panic!("asked twice")), no);

        let path = dir.path().join("kvm/late.json");
        for kind in [FaultKind::DeadlineExceeded, FaultKind::NoHello] {
            let run = dir.path().join(format!("{kind}/kvm.json"));
            let late = remembered(&path, &run, || Err(Fault::new(kind, "nothing after 10000 ms")));
            assert_eq!(late.failed.as_deref(), Some("nothing after 10000 ms"));
            assert!(!path.exists(), "a guest that was only late is asked again by the next run");
            assert_eq!(remembered(&path, &run, || panic!("asked twice in a run")), late);
        }

        let path = dir.path().join("kvm/other.json");
        assert_eq!(remembered(&path, &run, || Ok(())).failed, None);
        assert_eq!(remembered(&path, &run, || panic!("asked twice")).failed, None);
    }
}
