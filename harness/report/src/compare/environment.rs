//! What two runs were made on and with, as far as it differs: before any number is looked at.

use crate::units;
use isobench_core::run::{BackendEntry, Configuration, Order, Plan, RunFile};
use isobench_core::words::{Cell, Guest, Side};
use isobench_core::{Availability, Machine};
use std::collections::{BTreeMap, BTreeSet};

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What.
    pub what: String,
    /// As it was in the base.
    pub base: String,
    /// As it is in the new run.
    pub new: String,
    /// It makes numbers incomparable: the ratio would be that of two other things.
    pub grave: bool,
    /// The cells that it concerns.
    pub scope: Scope,
}

/// The cells that a difference concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Everything,
    /// Those of one backend.
    Backend(String),
    /// Those that run one guest of one workload.
    Artifact(String, Guest),
}

impl Difference {
    /// Whether it concerns `cell`.
    pub fn touches(&self, cell: &Cell) -> bool {
        match &self.scope {
            Scope::Everything => true,
            Scope::Backend(backend) => cell.backend == *backend,
            Scope::Artifact(workload, guest) => cell.workload == *workload && cell.guest == *guest,
        }
    }
}

/// Memory that differs by less than this is the same: the kernel reserves a little more or less at each start.
const SAME_MEMORY: f64 = 0.01;

/// What differs between two runs, what is grave first. Seeds and times are not told: they differ always.
pub fn between(base: &RunFile, new: &RunFile) -> Vec<Difference> {
    let mut list = List::default();
    machine(&mut list, &base.machine, &new.machine);
    list.add("isobench", &base.isobench, &new.isobench);
    list.maybe("commit of isobench", &base.commit, &new.commit);
    plans(&mut list, &base.plan, &new.plan);
    let order = |run: &RunFile| match run.plan.order {
        Order::Shuffled => "shuffled",
        Order::Sequential => "one cell after another",
    };
    list.add("order of blocks", order(base), order(new));
    backends(&mut list, &entries(base, Side::A), &entries(new, Side::A));
    artifacts(&mut list, base, new);
    list.sorted()
}

/// What differs between any run of one side and any of the other, then between the runs of one side, each once.
pub fn among(base: &[RunFile], new: &[RunFile]) -> Vec<Difference> {
    let across = base.iter().flat_map(|b| new.iter().flat_map(move |n| between(b, n)));
    let within = |side: &'static str, runs: &'_ [RunFile]| -> Vec<Difference> {
        let others = runs.iter().skip(1).flat_map(|run| between(&runs[0], run));
        others.map(|d| Difference { what: format!("{} (within the {side} runs)", d.what), ..d }).collect()
    };
    let mut list = List::default();
    for difference in across.chain(within("base", base)).chain(within("new", new)) {
        if !list.0.contains(&difference) {
            list.0.push(difference);
        }
    }
    list.sorted()
}

/// What differs between the sides of an A/B run: their configurations, and what backends say of themselves under each.
pub fn between_sides(run: &RunFile) -> Vec<Difference> {
    let mut list = List::default();
    let of = |side| run.plan.configurations.iter().find(|c| c.side == side);
    if let (Some(a), Some(b)) = (of(Side::A), of(Side::B)) {
        configurations(&mut list, a, b);
    }
    backends(&mut list, &entries(run, Side::A), &entries(run, Side::B));
    list.sorted()
}

#[derive(Default)]
struct List(Vec<Difference>);

impl List {
    fn push(&mut self, what: &str, (base, new): (String, String), grave: bool, scope: Scope) {
        if base != new {
            self.0.push(Difference { what: what.into(), base, new, grave, scope });
        }
    }

    fn add(&mut self, what: &str, base: impl ToString, new: impl ToString) {
        self.push(what, (base.to_string(), new.to_string()), false, Scope::Everything);
    }

    fn maybe(&mut self, what: &str, base: &Option<String>, new: &Option<String>) {
        let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".into());
        self.add(what, said(base), said(new));
    }

    /// Entries of two maps; `absent` is what an entry that only one of them has is called in the other.
    fn maps(
        &mut self,
        name: impl Fn(&str) -> String,
        base: &BTreeMap<String, String>,
        new: &BTreeMap<String, String>,
        absent: &str,
    ) {
        for key in base.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let of = |map: &BTreeMap<String, String>| map.get(key).cloned().unwrap_or_else(|| absent.into());
            self.add(&name(key), of(base), of(new));
        }
    }

    fn sorted(mut self) -> Vec<Difference> {
        self.0.sort_by_key(|difference| !difference.grave);
        self.0
    }
}

fn machine(list: &mut List, base: &Machine, new: &Machine) {
    list.push("processor", (base.cpu.clone(), new.cpu.clone()), true, Scope::Everything);
    list.add("cores", base.cores, new.cores);
    let quota = |m: &Machine| {
        let milli = m.allowance.as_ref().and_then(|allowance| allowance.cpu_quota_milli);
        milli.map_or_else(|| "none".into(), |milli| format!("{} processors", milli as f64 / 1e3))
    };
    list.add("processors allowed", base.processors(), new.processors());
    list.add("CPU quota", quota(base), quota(new));
    list.maybe("microcode", &base.microcode, &new.microcode);
    list.add("kernel", &base.kernel, &new.kernel);
    list.add("operating system", &base.os, &new.os);
    let hypervisor = |m: &Machine| m.hypervisor.clone().unwrap_or_else(|| "none seen".into());
    list.add("hypervisor", hypervisor(base), hypervisor(new));
    list.maps(|name| format!("mitigation of {name}"), &base.mitigations, &new.mitigations, "not listed");
    list.maybe("frequency governor", &base.governor, &new.governor);
    // Runs of earlier versions did not record it.
    if let (Some(base), Some(new)) = (&base.clocksource, &new.clocksource) {
        list.add("clock source", base, new);
    }
    list.add("control groups", &base.cgroup, &new.cgroup);
    list.maybe("transparent huge pages", &base.thp, &new.thp);
    let ksm = |m: &Machine| m.ksm.map_or("unknown", |on| if on { "on" } else { "off" });
    list.add("same-page merging", ksm(base), ksm(new));
    for (what, base, new) in
        [("memory", base.memory_bytes, new.memory_bytes), ("swap", base.swap_bytes, new.swap_bytes)]
    {
        if !same_size(base, new) {
            list.add(what, units::bytes(base as f64), units::bytes(new as f64));
        }
    }
}

/// Whether two sizes of memory are those of one machine.
pub(super) fn same_size(base: u64, new: u64) -> bool {
    base.abs_diff(new) as f64 <= SAME_MEMORY * base.max(new) as f64
}

/// What was asked for. Cells that run beside others find other caches, and a longer run sees more of the machine.
fn plans(list: &mut List, base: &Plan, new: &Plan) {
    let kind = |plan: &Plan| if plan.quick { "quick" } else { "full" };
    list.add("plan", kind(base), kind(new));
    let patterns = |patterns: &[String]| if patterns.is_empty() { "none".into() } else { patterns.join(" ") };
    list.add("--only", patterns(&base.only), patterns(&new.only));
    list.add("--skip", patterns(&base.skip), patterns(&new.skip));
    let budget = |plan: &Plan| plan.budget_ms.map_or_else(|| "none".into(), |ms| units::time(ms as f64 * 1e6));
    list.add("budget", budget(base), budget(new));
    let precision = |plan: &Plan| {
        plan.precision_ppm.map_or_else(|| "none".into(), |ppm| format!("±{}", units::percent(ppm as f64 / 1e6)))
    };
    list.add("precision asked for", precision(base), precision(new));
}

/// The backends of one side: those that carry it, and those without a side, which all sides share.
fn entries(run: &RunFile, side: Side) -> BTreeMap<&str, &BackendEntry> {
    let of = |wanted| run.backends.iter().filter(move |b| b.side == wanted);
    of(None).chain(of(Some(side))).map(|b| (b.description.backend.as_str(), b)).collect()
}

fn backends(list: &mut List, base: &BTreeMap<&str, &BackendEntry>, new: &BTreeMap<&str, &BackendEntry>) {
    for (name, b) in base {
        let Some(n) = new.get(name) else { continue };
        match (&b.availability, &n.availability) {
            (
                Availability::Available { versions: old, emulated: was, .. },
                Availability::Available { versions, emulated: is, .. },
            ) => {
                let said = |emulated: &bool| if *emulated { "emulated" } else { "real" }.to_string();
                let scope = Scope::Backend((*name).into());
                list.push(&format!("{name}: processor of the guests"), (said(was), said(is)), true, scope);
                list.maps(
                    |part| if part == *name { part.into() } else { format!("{name}: {part}") },
                    old,
                    versions,
                    "not there",
                );
            }
            (b, n) => {
                let said = |a: &Availability| match a {
                    Availability::Available { .. } => "can run".to_string(),
                    Availability::Unavailable { reason, .. } => format!("cannot run: {reason}"),
                };
                if b.is_available() != n.is_available() {
                    list.add(name, said(b), said(n));
                }
            }
        }
    }
}

fn artifacts(list: &mut List, base: &RunFile, new: &RunFile) {
    for b in &base.workloads {
        let Some(n) = new.workloads.iter().find(|n| n.name == b.name) else { continue };
        for (guest, old) in &b.guests {
            let Some(hash) = n.guests.get(guest) else { continue };
            // Enough to see that they differ; run.json has them whole.
            let short = |hash: &str| hash.get(..12).unwrap_or(hash).to_string();
            let scope = Scope::Artifact(b.name.clone(), *guest);
            list.push(&format!("{} guest of {}", guest, b.name), (short(old), short(hash)), true, scope);
        }
    }
}

fn configurations(list: &mut List, a: &Configuration, b: &Configuration) {
    list.maps(str::to_string, &a.env, &b.env, "not set");
    let programs = |c: &Configuration| c.programs.clone().unwrap_or_else(|| "isobench's own".into());
    list.add("programs", programs(a), programs(b));
}
