//! Reads the machine's description: what makes two runs comparable, or not.

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
        hypervisor: hypervisor(&cpuinfo),
        cgroup: cgroup_mode().into(),
        thp: text("/sys/kernel/mm/transparent_hugepage/enabled")
            .and_then(|t| Some(t.split_once('[')?.1.split_once(']')?.0.to_string())),
        ksm: text("/sys/kernel/mm/ksm/run").map(|t| t == "1"),
        swap_bytes: field(&meminfo, "SwapTotal:").unwrap_or(0),
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

/// Processor time so far, in clock ticks over all cores: `(stolen by the hypervisor, all)`.
pub fn steal_ticks() -> Option<(u64, u64)> {
    let stat = text("/proc/stat")?;
    let ticks: Vec<u64> = stat.lines().next()?.split_whitespace().skip(1).filter_map(|w| w.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest time is part of user time already.
    Some((*ticks.get(7)?, ticks.iter().take(8).sum()))
}

/// Microseconds so far in which some task waited for a processor, where the kernel accounts for pressure.
pub fn cpu_pressure_us() -> Option<u64> {
    let pressure = text("/proc/pressure/cpu")?;
    let some = pressure.lines().find(|l| l.starts_with("some"))?;
    some.rsplit_once("total=")?.1.trim().parse().ok()
}

/// Tasks of the whole machine that run or want to at this instant, without the caller.
pub fn others_runnable() -> Option<u64> {
    let stat = text("/proc/stat")?;
    let running = stat.lines().find_map(|l| l.strip_prefix("procs_running "))?;
    Some(running.trim().parse::<u64>().ok()?.saturating_sub(1))
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

/// Mean frequency of the processors now, where the system tells: from `cpufreq`, else from `/proc/cpuinfo` (which in
/// many virtual machines never changes).
pub fn khz() -> Option<u64> {
    let scaling = |n: usize| text(format!("/sys/devices/system/cpu/cpu{n}/cpufreq/scaling_cur_freq"))?.parse().ok();
    let mut all: Vec<u64> = (0..).map_while(scaling).collect();
    if all.is_empty() {
        let cpuinfo = text("/proc/cpuinfo")?;
        let mhz = cpuinfo.lines().filter(|l| l.starts_with("cpu MHz")).filter_map(|l| l.rsplit_once(':'));
        all = mhz.filter_map(|(_, mhz)| mhz.trim().parse().ok()).map(|mhz: f64| (mhz * 1e3) as u64).collect();
    }
    (all.iter().sum::<u64>()).checked_div(all.len() as u64)
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
