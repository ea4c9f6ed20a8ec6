//! Reads the machine's description: what makes two runs comparable, or not.

use crate::allowance;
use crate::memory::field;
use isobench_core::Machine;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Describes this machine. What cannot be read is absent.
pub fn describe() -> Machine {
    let cpuinfo = text("/proc/cpuinfo").unwrap_or_default();
    let cpu_field = |name: &str| {
        let line = cpuinfo.lines().find(|l| l.split(':').next().is_some_and(|k| k.trim() == name))?;
        Some(line.split_once(':')?.1.trim().to_string())
    };
    let meminfo = text("/proc/meminfo").unwrap_or_default();
    Machine {
        id: id(),
        cpu: cpu_field("model name").unwrap_or_else(|| "unknown".into()),
        microcode: cpu_field("microcode"),
        cores: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
        memory_bytes: field(&meminfo, "MemTotal:").unwrap_or(0),
        kernel: text("/proc/sys/kernel/osrelease").unwrap_or_default(),
        os: os_name().unwrap_or_else(|| "unknown".into()),
        mitigations: mitigations(),
        governor: text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        wake_up_ns: None,
        clocksource: text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        hypervisor: hypervisor(&cpuinfo),
        cgroup: cgroup_mode().into(),
        thp: text("/sys/kernel/mm/transparent_hugepage/enabled")
            .and_then(|t| Some(t.split_once('[')?.1.split_once(']')?.0.to_string())),
        ksm: text("/sys/kernel/mm/ksm/run").map(|t| t == "1"),
        swap_bytes: field(&meminfo, "SwapTotal:").unwrap_or(0),
        allowance: Some(allowance::describe()),
    }
}

/// Digits of a machine's id: enough that two machines of a fleet do not share one.
const ID_DIGITS: usize = 16;

/// A name of this machine that does not give the machine id away: machine-id(5) asks programs to publish a hash of it,
/// keyed by the program, and never the id itself.
fn id() -> Option<String> {
    let own =
        text("/etc/machine-id").filter(|id| id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    Some(isobench_core::sha256_hex(format!("isobench {own}").as_bytes())[..ID_DIGITS].to_string())
}

/// Whether this machine's own processor is an emulation: QEMU's TCG signs so at the first of the leaves that CPUID keeps
/// for hypervisors. Whatever runs here has no time worth comparing then, KVM's guests included.
pub fn is_emulated() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let leaf = std::arch::x86_64::__cpuid(0x4000_0000);
        let name = [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes).concat();
        name == b"TCGTCGTCGTCG"
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Times so far that the kernel took the processor from the processes this one has waited for, and theirs.
pub fn involuntary_switches() -> u64 {
    // SAFETY: an all-zero rusage is valid, and the call fills it or fails.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    u64::try_from(usage.ru_nivcsw).unwrap_or(0)
}

fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|t| t.trim().to_string())
}

fn os_name() -> Option<String> {
    let release = text("/etc/os-release")?;
    let line = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="))?;
    Some(line.trim_matches('"').to_string())
}

fn mitigations() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else { return BTreeMap::new() };
    entries.flatten().filter_map(|e| Some((e.file_name().into_string().ok()?, text(e.path())?))).collect()
}

fn hypervisor(cpuinfo: &str) -> Option<String> {
    let flagged = cpuinfo.lines().any(|l| l.starts_with("flags") && l.split_whitespace().any(|f| f == "hypervisor"));
    flagged.then(|| {
        text("/sys/class/dmi/id/sys_vendor")
            .filter(|v| !v.is_empty())
            .unwrap_or_else(|| "a hypervisor that gives no name".into())
    })
}

fn cgroup_mode() -> &'static str {
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let v1 = Path::new("/sys/fs/cgroup/memory").exists();
    let unified = Path::new("/sys/fs/cgroup/unified").exists();
    match (v2, v1, unified) {
        (true, _, _) => "v2",
        (false, true, true) => "hybrid",
        (false, true, false) => "v1",
        (false, false, _) => "none",
    }
}
