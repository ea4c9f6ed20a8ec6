//! `run.json`: everything about a run but its samples.

use crate::availability::{Availability, Description};
use crate::fault::Fault;
use crate::load::LoadPlan;
use crate::words::{Cell, CellId, Experiment, Flag, Guest, Side};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of `run.json` and of the sample lines. A reader refuses a newer one.
pub const SCHEMA_VERSION: u32 = 5;

/// The whole of `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunFile {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema: u32,
    /// Name of the run's folder.
    pub id: String,
    /// The exact command line.
    pub command: Vec<String>,
    /// Version of isobench.
    pub isobench: String,
    /// Commit that isobench was built from, with `-dirty` where its sources had changes that were not committed; `unknown`
    /// where it was not built in its repository. Absent in older runs and for Criterion benches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Start, milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// End; absent while the run goes on, and for ever if it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_unix_ms: Option<u64>,
    /// Why it ended before its plan was done: interrupted, disk full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_early: Option<String>,
    /// What was planned.
    pub plan: Plan,
    /// The machine it ran on.
    pub machine: Machine,
    /// Every backend that was asked.
    pub backends: Vec<BackendEntry>,
    /// The workloads, with the content address of each guest that ran.
    pub workloads: Vec<WorkloadEntry>,
    /// Every cell; sample lines name cells by `id`.
    pub cells: Vec<CellEntry>,
    /// Pairs that cannot run here, and why.
    pub absent: Vec<Absent>,
}

/// What was planned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Seed of the shuffle.
    pub seed: u64,
    /// How blocks were ordered.
    pub order: Order,
    /// A quick run: small cases, footprint and throughput on `echo`.
    pub quick: bool,
    /// Boundaries × engines: the same guests on every engine, bare and behind every boundary.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub matrix: bool,
    /// Time budget in milliseconds, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_ms: Option<u64>,
    /// `--only` patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// `--skip` patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<String>,
    /// Blocks of a cell go on until the interval of its median is this narrow: half its width over the median, in parts
    /// per million. Absent where blocks were not chosen so (schema 1, Criterion).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision_ppm: Option<u64>,
    /// Load beyond the closed loop, where that is what the run measures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadPlan>,
    /// The two configurations of an A/B run; none in any other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configurations: Vec<Configuration>,
}

/// One configuration of an A/B run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The side that carries it.
    pub side: Side,
    /// Its name: that of its file, without the extension, or the `name` in it.
    pub name: String,
    /// What is set in the environment of its runner processes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The folder its runners and agents come from, where it names one: another build of isobench.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programs: Option<String>,
}

/// How blocks were ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Blocks of all cells shuffled together.
    #[default]
    Shuffled,
    /// One cell after another (Criterion).
    Sequential,
}

/// One backend on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendEntry {
    /// What it is.
    pub description: Description,
    /// Whether it can run here.
    pub availability: Availability,
    /// The configuration it was asked and prepared under, in an A/B run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// How long `prepare` took, engine initialisation included; absent where it did not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare_ns: Option<u64>,
}

/// One workload as it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadEntry {
    /// Name of its folder.
    pub name: String,
    /// One line.
    pub summary: String,
    /// SHA-256 of each guest's artifact.
    pub guests: BTreeMap<Guest, String>,
}

/// One cell and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CellEntry {
    /// Its id in the sample lines.
    pub id: CellId,
    /// The cell.
    pub cell: Cell,
    /// Which of several that measure the same cell; absent for most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// The experiments planned for it.
    pub experiments: Vec<Experiment>,
    /// Blocks finished without a fault.
    pub blocks: u32,
    /// Flags known from the run itself (`emulated`, `sequential`); the summary adds those it computes.
    pub flags: Vec<Flag>,
    /// The faults of its blocks, each kind once with its first message: any makes it an error row.
    pub faults: Vec<CellFault>,
}

/// A fault of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CellFault {
    /// The experiment in progress.
    pub experiment: Experiment,
    /// What went wrong.
    pub fault: Fault,
    /// Blocks it ended.
    pub blocks: u32,
}

/// A pair that cannot run here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Absent {
    /// `backend/variant/guest/workload`, as far as it goes.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// The machine: what makes numbers comparable or not. Absent facts could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Tells this machine from others without naming it: the start of a hash of `/etc/machine-id`. Absent before
    /// schema 4, and where there is no such file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Model name of the processor.
    pub cpu: String,
    /// Microcode revision.
    pub microcode: Option<String>,
    /// Logical processors this process may run on.
    pub cores: u32,
    /// `MemTotal`.
    pub memory_bytes: u64,
    /// Kernel release.
    pub kernel: String,
    /// Name of the operating system's release.
    pub os: String,
    /// `/sys/devices/system/cpu/vulnerabilities`: name → state.
    pub mitigations: BTreeMap<String, String>,
    /// Frequency governor.
    pub governor: Option<String>,
    /// What the kernel's clock counts: `tsc`, `kvm-clock`, `hpet`, … Absent in runs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clocksource: Option<String>,
    /// Median round trip of a byte between two programs on two processors, nanoseconds: with the processors left to halt,
    /// and kept awake. Absent on one processor, where they cannot be kept awake, and before schema 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake_up_ns: Option<[u64; 2]>,
    /// Hypervisor the machine itself runs under.
    pub hypervisor: Option<String>,
    /// `v1`, `v2` or `hybrid`.
    pub cgroup: String,
    /// Transparent huge pages setting.
    pub thp: Option<String>,
    /// Whether kernel same-page merging runs: it changes memory figures.
    pub ksm: Option<bool>,
    /// Swap in bytes.
    pub swap_bytes: u64,
    /// The part of the machine that isobench may use. Absent in runs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowance: Option<Allowance>,
}

/// Clock sources that a process reads without a system call: the counter of the processor, as it is or by way of a
/// hypervisor's page.
const FAST_CLOCKS: [&str; 4] = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];

impl Machine {
    /// The clock source, if each reading of it is a system call that takes about a microsecond and adds to every short
    /// time: the kernel has given up the counter of the processor.
    pub fn slow_clock(&self) -> Option<&str> {
        self.clocksource.as_deref().filter(|source| !FAST_CLOCKS.contains(source))
    }

    /// Processors that isobench may run on, whatever quota of their time it has.
    pub fn processors(&self) -> u32 {
        self.allowance.as_ref().map_or(self.cores, |allowance| allowance.processors)
    }
}

/// The part of the machine that isobench may use. Limits that are absent do not exist or could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// The processors of its affinity, as a list such as `0-3,8`.
    pub cpus: String,
    /// How many those are.
    pub processors: u32,
    /// CPU quota of its cgroups, in thousandths of a processor: the smallest on the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_quota_milli: Option<u64>,
    /// Memory limit of its cgroups: the smallest on the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Most processes and threads in its cgroups (`pids.max`): the smallest on the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Open files: the soft limit that isobench found, and the hard limit, which it works with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<[u64; 2]>,
    /// Processes and threads of the user (`ulimit -u`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Address space of a process (`ulimit -v`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_space_bytes: Option<u64>,
}
