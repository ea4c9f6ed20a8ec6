//! The processors that isobench may use, and what goes on there. On a machine of which a process may use a part, the
//! rest of the machine disturbs nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// The number of the initial PID namespace, which is the same on every machine (`PROC_PID_INIT_INO`).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// The processors that this process may run on, as they were when it first asked.
pub static OURS: LazyLock<Processors> = LazyLock::new(Processors::find);

/// A set of processors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processors {
    allowed: BTreeSet<usize>,
    online: BTreeSet<usize>,
}

impl Processors {
    fn find() -> Processors {
        let online = text("/sys/devices/system/cpu/online").map(|list| parse(&list)).unwrap_or_default();
        Processors { allowed: affinity().unwrap_or_else(|| online.clone()), online }
    }

    /// Their numbers, rising.
    pub fn each(&self) -> impl Iterator<Item = usize> {
        self.allowed.iter().copied()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.allowed.len()
    }

    /// Whether they are all that are online.
    pub fn are_all(&self) -> bool {
        self.online.is_subset(&self.allowed)
    }

    /// Their numbers as the kernel writes such lists, for example `0-3,8`.
    pub fn list(&self) -> String {
        list(&self.allowed)
    }

    /// Their numbers as a list if they are not all of the machine: what a daemon has to be told, which does not inherit
    /// them.
    pub fn restriction(&self) -> Option<String> {
        (!self.are_all() && !self.allowed.is_empty()).then(|| self.list())
    }

    /// Whether the process `pid` may run on no others. False if that cannot be seen.
    pub fn bind(&self, pid: u32) -> bool {
        self.are_all() || text(format!("/proc/{pid}/status")).is_some_and(|status| self.hold(&status))
    }

    fn hold(&self, status: &str) -> bool {
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        allowed.is_some_and(|list| parse(list).is_subset(&self.allowed))
    }

    /// Processor time so far, in clock ticks over all of them: `(stolen by the hypervisor, all)`.
    pub fn steal_ticks(&self) -> Option<(u64, u64)> {
        steal_ticks(&text("/proc/stat")?, &self.allowed)
    }

    /// Microseconds so far in which some task waited for a processor. The kernel counts them for the whole machine, so
    /// `None` if isobench may use a part of it; `None` also if the kernel does not account for pressure.
    pub fn pressure_us(&self) -> Option<u64> {
        let pressure = self.are_all().then(|| text("/proc/pressure/cpu"))??;
        let some = pressure.lines().find(|l| l.starts_with("some"))?;
        some.rsplit_once("total=")?.1.trim().parse().ok()
    }

    /// Tasks that run or want to run on one of them at this instant, without the caller. `None` if isobench may use a
    /// part of the machine and cannot see the tasks of others (another PID namespace, `hidepid`).
    pub fn others_runnable(&self) -> Option<u64> {
        if self.are_all() {
            let stat = text("/proc/stat")?;
            let running = stat.lines().find_map(|l| l.strip_prefix("procs_running "))?;
            return Some(running.trim().parse::<u64>().ok()?.saturating_sub(1));
        }
        let first = fs::read_link("/proc/self/ns/pid").is_ok_and(|ns| ns.as_os_str() == FIRST_PID_NAMESPACE);
        let sees_all = first && Path::new("/proc/1/stat").exists();
        sees_all.then(|| running_tasks(&self.allowed))
    }

    /// Mean frequency now, if the system tells: from `cpufreq`, else from `/proc/cpuinfo` (which in many virtual
    /// machines never changes).
    pub fn khz(&self) -> Option<u64> {
        let scaling =
            |n: &usize| text(format!("/sys/devices/system/cpu/cpu{n}/cpufreq/scaling_cur_freq"))?.parse().ok();
        let mut all: Vec<u64> = self.allowed.iter().filter_map(scaling).collect();
        if all.is_empty() {
            all = listed_khz(&text("/proc/cpuinfo")?, &self.allowed);
        }
        (all.iter().sum::<u64>()).checked_div(all.len() as u64)
    }
}

fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|t| t.trim().to_string())
}

/// Lets the thread `tid` (0: the calling one) run on `numbers` alone; whether the kernel agreed.
pub fn pin(tid: i32, numbers: impl IntoIterator<Item = usize>) -> bool {
    // SAFETY: an all-zero set is valid, the macro checks the index against its size, and the call only reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        numbers.into_iter().for_each(|n| libc::CPU_SET(n, &mut set));
        libc::sched_setaffinity(tid, size_of::<libc::cpu_set_t>(), &set) == 0
    }
}

/// `None` on a machine with more processors than the C library's set has room for.
fn affinity() -> Option<BTreeSet<usize>> {
    // SAFETY: an all-zero set is valid, the call fills it or fails, and every index is below its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let size = size_of::<libc::cpu_set_t>();
        let got = libc::sched_getaffinity(0, size, &mut set);
        (got == 0).then(|| (0..size * 8).filter(|&n| libc::CPU_ISSET(n, &set)).collect())
    }
}

/// Reads a list such as `0-3,8`.
fn parse(list: &str) -> BTreeSet<usize> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.trim().parse::<usize>().ok()?..=to.trim().parse::<usize>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

fn list(numbers: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &n in numbers {
        match ranges.last_mut() {
            Some((_, to)) if *to + 1 == n => *to = n,
            _ => ranges.push((n, n)),
        }
    }
    let range = |(from, to): (usize, usize)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    ranges.into_iter().map(range).collect::<Vec<_>>().join(",")
}

fn steal_ticks(stat: &str, allowed: &BTreeSet<usize>) -> Option<(u64, u64)> {
    let (mut stolen, mut all, mut seen) = (0, 0, false);
    for line in stat.lines() {
        let mut words = line.split_whitespace();
        let number = words.next().and_then(|name| name.strip_prefix("cpu")?.parse().ok());
        if number.is_some_and(|n| allowed.contains(&n)) {
            // user nice system idle iowait irq softirq steal; guest time is part of user time already.
            let ticks: Vec<u64> = words.take(8).filter_map(|w| w.parse().ok()).collect();
            stolen += *ticks.get(7)?;
            all += ticks.iter().sum::<u64>();
            seen = true;
        }
    }
    seen.then_some((stolen, all))
}

fn listed_khz(cpuinfo: &str, allowed: &BTreeSet<usize>) -> Vec<u64> {
    let field = |line: &str, name: &str| Some(line.strip_prefix(name)?.split_once(':')?.1.trim().to_string());
    let mut current = None;
    let mut all = Vec::new();
    for line in cpuinfo.lines() {
        if let Some(n) = field(line, "processor") {
            current = n.parse().ok();
        }
        let mhz = field(line, "cpu MHz").and_then(|mhz| mhz.parse::<f64>().ok());
        if let (Some(mhz), true) = (mhz, current.is_some_and(|n| allowed.contains(&n))) {
            all.push((mhz * 1e3) as u64);
        }
    }
    all
}

/// Tasks in the state R that were last on one of these processors, without the caller.
fn running_tasks(allowed: &BTreeSet<usize>) -> u64 {
    // SAFETY: cannot fail.
    let me = unsafe { libc::gettid() }.to_string();
    let folders = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    let is_number = |name: &std::ffi::OsStr| name.to_string_lossy().bytes().all(|b| b.is_ascii_digit());
    folders(Path::new("/proc"))
        .filter(|process| is_number(&process.file_name()))
        .flat_map(|process| folders(&process.path().join("task")))
        .filter(|task| task.file_name() != me.as_str())
        .filter_map(|task| fs::read_to_string(task.path().join("stat")).ok())
        .filter(|stat| runs_on(stat).is_some_and(|n| allowed.contains(&n)))
        .count() as u64
}

/// The processor of a task that runs or wants to, from its `stat`.
fn runs_on(stat: &str) -> Option<usize> {
    // The command's name may hold spaces and parentheses: fields are counted after the last one.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    (fields.next()? == "R").then(|| fields.nth(35)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_as_the_kernel_does() {
        for text in ["0", "0-3,8", "1,3,5-6"] {
            assert_eq!(list(&parse(text)), text);
        }
        assert_eq!(parse("0-1,3").into_iter().collect::<Vec<_>>(), [0, 1, 3]);
        let part = Processors { allowed: parse("1"), online: parse("0-1") };
        assert_eq!((part.count(), part.are_all(), part.restriction().as_deref()), (1, false, Some("1")));
        let status = |list: &str| format!("Name:\tx\nCpus_allowed_list:\t{list}\n");
        assert!(part.hold(&status("1")) && !part.hold(&status("0-1")) && !part.hold(""));
        let all = Processors { allowed: parse("0-7"), online: parse("0-1") };
        assert_eq!((all.are_all(), all.restriction()), (true, None));
    }

    #[test]
    fn only_what_may_be_used_is_counted() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 0 1 5 0 0 0 3 0 0\ncpu1 2 0 2 6 0 0 0 40 0 0\nintr 1\n";
        assert_eq!(steal_ticks(stat, &parse("0")), Some((3, 10)));
        assert_eq!(steal_ticks(stat, &parse("0-1")), Some((43, 60)));
        assert_eq!(steal_ticks(stat, &parse("7")), None);
        let cpuinfo = "processor\t: 0\ncpu MHz\t\t: 2000.5\n\nprocessor\t: 1\ncpu MHz\t\t: 3000.0\n";
        assert_eq!(listed_khz(cpuinfo, &parse("1")), [3_000_000]);
    }

    #[test]
    fn a_task_counts_where_it_runs() {
        let fields = "1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 7 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 17 3 0 0 0";
        assert_eq!(runs_on(&format!("42 (a) b (c)) R {fields}")), Some(3));
        assert_eq!(runs_on(&format!("42 (sh) S {fields}")), None);
    }

    #[test]
    fn this_machine_can_be_described() {
        let ours = Processors::find();
        assert!(ours.count() > 0 && !ours.list().is_empty());
        assert!(ours.steal_ticks().is_some());
        let part = Processors { allowed: [usize::MAX].into(), ..ours };
        assert!(matches!(part.others_runnable(), None | Some(0)), "nothing runs on a processor that does not exist");
        assert_eq!(part.pressure_us(), None);
    }
}
