//! Which cells there are, and what a visit to each does.

pub mod estimate;
pub mod load;
mod rows;

pub use crate::select::Filter;
pub use rows::engines;

use crate::experiments::FOOTPRINT_STEPS;
use crate::guests::{Artifact, Built};
use crate::protocol::{Series, StartCount, Visit};
use isobench_core::load::Rates;
use isobench_core::run::{Absent, Plan};
use isobench_core::{
    Availability, Cell, CellEntry, Description, EngineInfo, Experiment, Flag, Limits, Side, VariantInfo, Workload,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What a runner process itself may take to start, deploy from the cache and end.
const BLOCK_GRACE: Duration = Duration::from_secs(5);

/// The workload of which quick runs take footprint and throughput, beside those that are asked for by name.
pub const HEADLINE_WORKLOAD: &str = "echo";

/// Every cell that can run here and is wanted, and every pair that cannot, with its reason. `engines` are those that
/// can be carried behind boundaries: a matrix has a column for each.
pub fn cells(
    backends: &[(Description, Availability)],
    engines: &[EngineInfo],
    workloads: &[Built],
    filter: &Filter,
    plan: &Plan,
) -> (Vec<CellEntry>, Vec<Absent>) {
    let mut entries: Vec<CellEntry> = Vec::new();
    let mut absent = Vec::new();
    for (description, availability) in backends {
        for (variant, guest, engine) in rows::rows(description, engines, filter, plan) {
            for built in workloads.iter().filter(|built| variant.answers(&built.workload.name)) {
                let what = format!("{}/{}/{guest}/{}", description.backend, variant.name, built.workload.name);
                if let Some(Err(reason)) = built.artifacts.get(&guest) {
                    let wanted = |case: &String| filter.wants(&format!("{what}/{case}"));
                    if engine.is_none() && wanted_cases(built, filter).iter().any(wanted) {
                        absent.push(Absent { what, reason: reason.clone() });
                    }
                    continue;
                }
                if !built.artifacts.contains_key(&guest) || !availability.is_available() {
                    continue;
                }
                for case in wanted_cases(built, filter) {
                    let cell = Cell {
                        backend: description.backend.clone(),
                        variant: variant.name.clone(),
                        guest,
                        engine: engine.clone(),
                        workload: built.workload.name.clone(),
                        case,
                    };
                    let under_load = plan.load.is_none() || load::wants(filter, &cell);
                    if !filter.wants(&cell.to_string()) || !under_load || too_slow(&cell, availability, filter, plan) {
                        continue;
                    }
                    if let Some(reason) = availability.why_absent(&variant.name) {
                        let missing = Absent { what: cell.row(), reason: reason.into() };
                        if !absent.contains(&missing) {
                            absent.push(missing);
                        }
                        continue;
                    }
                    let experiments = experiments(&cell, description, variant, filter, plan);
                    if experiments.is_empty() {
                        continue;
                    }
                    let flags = availability.is_emulated().then_some(Flag::Emulated).into_iter().collect();
                    entries.push(CellEntry {
                        id: entries.len() as u32,
                        cell,
                        side: None,
                        experiments,
                        blocks: 0,
                        flags,
                        faults: Vec::new(),
                    });
                }
            }
        }
    }
    (entries, absent)
}

/// A quick run does not wait for emulated machines to compute, which compares with nothing: they have the headline
/// workload, unless their backend or the workload is asked for by name.
fn too_slow(cell: &Cell, availability: &Availability, filter: &Filter, plan: &Plan) -> bool {
    plan.quick && availability.is_emulated() && !filter.names(&cell.backend) && !is_headline(&cell.workload, filter)
}

/// Whether quick runs take memory and throughput of a workload: the usual one, and each that is asked for by name.
fn is_headline(workload: &str, filter: &Filter) -> bool {
    workload == HEADLINE_WORKLOAD || filter.names_workload(workload)
}

/// The cells to be measured twice (A/A): of every row that is not emulated one, on the headline workload where it has
/// that; a row whose processor is emulated only where there is no other. What a cell and its twin differ by is noise.
pub fn twins(cells: &[CellEntry]) -> Vec<CellEntry> {
    let fit = |c: &&CellEntry| c.side != Some(Side::B) && c.faults.is_empty();
    let emulated = |c: &CellEntry| c.flags.contains(&Flag::Emulated);
    let mut chosen: Vec<&CellEntry> = Vec::new();
    for entry in cells.iter().filter(fit).filter(|c| !emulated(c)) {
        match chosen.iter_mut().find(|c| c.cell.row() == entry.cell.row()) {
            Some(c) if c.cell.workload != HEADLINE_WORKLOAD && entry.cell.workload == HEADLINE_WORKLOAD => *c = entry,
            Some(_) => {}
            None => chosen.push(entry),
        }
    }
    if chosen.is_empty() {
        chosen.extend(cells.iter().find(fit));
    }
    chosen.into_iter().map(|c| CellEntry { side: Some(Side::Again), ..c.clone() }).collect()
}

/// The cells there would be if every backend could run here.
pub fn cells_everywhere(
    descriptions: Vec<Description>,
    workloads: &[Built],
    filter: &Filter,
    plan: &Plan,
) -> Vec<CellEntry> {
    let available = || Availability::Available {
        versions: BTreeMap::new(),
        emulated: false,
        notes: Vec::new(),
        absent: BTreeMap::new(),
    };
    let engines = engines(&descriptions);
    let backends: Vec<_> = descriptions.into_iter().map(|d| (d, available())).collect();
    cells(&backends, &engines, workloads, filter, plan).0
}

/// The workload as if each of its guests had been built: enough where only names are wanted.
pub fn as_if_built(workload: Workload) -> Built {
    let artifact = || Ok(Artifact { path: PathBuf::new(), sha256: String::new() });
    Built { artifacts: workload.sources.keys().map(|&guest| (guest, artifact())).collect(), workload }
}

fn wanted_cases(built: &Built, filter: &Filter) -> Vec<String> {
    let names = built.workload.cases.iter().map(|c| c.name.clone());
    if !filter.small_only {
        return names.collect();
    }
    let small = built.workload.cases.iter().find(|c| c.name == "small").unwrap_or(&built.workload.cases[0]);
    names.filter(|name| *name == small.name || filter.names_case(name)).collect()
}

fn experiments(
    cell: &Cell,
    description: &Description,
    variant: &VariantInfo,
    filter: &Filter,
    plan: &Plan,
) -> Vec<Experiment> {
    let mut experiments = match &plan.load {
        Some(load) => load::experiments(load),
        None if plan.quick && !is_headline(&cell.workload, filter) => {
            vec![Experiment::ColdStart, Experiment::WarmCall]
        }
        None => Experiment::STANDARD.to_vec(),
    };
    if description.footprint_instances == 0 {
        experiments.retain(|e| !matches!(e, Experiment::Footprint | Experiment::Density));
    }
    if variant.never_cold {
        experiments.retain(|e| *e != Experiment::ColdStart);
    }
    experiments
}

/// The visits that answer a cell's experiments.
pub fn visits(entry: &CellEntry, description: &Description, plan: &Plan) -> Vec<Visit> {
    let emulated = entry.flags.contains(&Flag::Emulated);
    if let Some(load) = &plan.load {
        return load::visits(load, plan, description, emulated);
    }
    let quick = plan.quick;
    let mut visits = Vec::new();
    // Warm calls follow a start, whether or not that counts as a cold one.
    if entry.experiments.iter().any(|e| matches!(e, Experiment::ColdStart | Experiment::WarmCall)) {
        visits.push(cold_start(description.in_process, emulated, quick));
    }
    if entry.experiments.contains(&Experiment::Footprint) {
        visits.push(footprint(description, emulated, quick));
    }
    if entry.experiments.contains(&Experiment::Throughput) {
        visits.push(throughput(emulated, quick, processors()));
    }
    visits
}

fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u32)
}

fn cold_start(in_process: bool, emulated: bool, quick: bool) -> Visit {
    // In process, the first start of a block is told apart, so a block needs several, and ten others for its own p90;
    // outside, a block is one boundary.
    // Where a start takes less than a millisecond there are a hundred and one, so that the first ones, which find cold
    // caches, are told from the rest.
    let starts = match (in_process, quick, emulated) {
        (true, true, _) => StartCount { min: 11, max: 101, max_ms: 100 },
        (true, false, _) => StartCount { min: 31, max: 301, max_ms: 300 },
        (false, true, _) | (false, false, true) => 1.into(),
        (false, false, false) => 5.into(),
    };
    let series = match (quick, emulated) {
        (true, false) => Series { min_calls: 100, min_ms: 50, max_calls: 1_000, max_ms: 400 },
        (true, true) => Series { min_calls: 50, min_ms: 50, max_calls: 500, max_ms: 600 },
        (false, false) => Series { min_calls: 300, min_ms: 500, max_calls: 20_000, max_ms: 3_000 },
        (false, true) => Series { min_calls: 100, min_ms: 500, max_calls: 2_000, max_ms: 6_000 },
    };
    Visit::ColdStart { starts, warm: Some(series) }
}

fn footprint(description: &Description, emulated: bool, quick: bool) -> Visit {
    let most = match (description.in_process, emulated, quick) {
        (true, _, true) => 64,
        (true, _, false) => 256,
        (false, true, true) => 2,
        (false, true, false) => 4,
        (false, false, true) => 8,
        (false, false, false) => 16,
    };
    let most = most.min(description.footprint_instances);
    Visit::Footprint { instances: FOOTPRINT_STEPS.into_iter().filter(|&n| n <= most).collect() }
}

fn throughput(emulated: bool, quick: bool, processors: u32) -> Visit {
    let duration_ms = match (quick, emulated) {
        (true, _) => 250,
        (false, false) => 1_000,
        (false, true) => 2_000,
    };
    let fresh = if quick { vec![1] } else { vec![1, 2, 4] };
    Visit::Throughput { warm: concurrencies(processors), fresh, duration_ms }
}

/// Requests in flight on warm instances: one, few, and as many as there are processors, because that is what a report
/// calls all cores. More than 16 instances are not kept for it.
fn concurrencies(processors: u32) -> Vec<u32> {
    let mut all = vec![1, 2, 4, processors.clamp(1, 16)];
    all.sort_unstable();
    all.dedup();
    all
}

/// An unrecorded visit: fills the page cache and the caches of `deploy`.
pub fn page_cache_visit() -> Visit {
    Visit::ColdStart { starts: 1.into(), warm: None }
}

/// The last resort: how long the coordinator waits for a whole block before it kills the runner. Every wait inside the
/// block has its own, shorter deadline; this one holds where the runner itself hangs.
pub fn block_deadline(visit: &Visit, limits: &Limits, emulated: bool) -> Duration {
    let instance = limits.start_deadline(emulated) + limits.call_deadline(emulated);
    let (instances, rest) = match visit {
        Visit::ColdStart { starts, warm } => {
            (starts.min, Duration::from_millis(warm.map_or(0, |w| w.max_ms) + starts.max_ms))
        }
        Visit::Footprint { instances } => (instances.iter().copied().max().unwrap_or(0) + 1, Duration::ZERO),
        Visit::Throughput { warm, fresh, duration_ms } => {
            let lanes = warm.iter().sum::<u32>() + fresh.iter().sum::<u32>();
            (lanes, Duration::from_millis(*duration_ms) * (warm.len() + fresh.len()) as u32)
        }
        Visit::OpenLoop(asked) => {
            let rates = match &asked.rates {
                Rates::Fixed(rates) => rates.len() as u32,
                // And the one that finds the capacity.
                Rates::Sweep(percents) => percents.len() as u32 + 1,
            };
            // After its last arrival a rate goes on for as long as a request may wait.
            let one = Duration::from_millis(asked.longest_ms) + limits.call_deadline(emulated);
            (asked.most_instances, one * rates)
        }
        // The step in progress may take as long as all before it.
        Visit::Burst { sizes, longest_ms } => {
            (sizes.iter().copied().max().unwrap_or(1), Duration::from_millis(*longest_ms))
        }
        Visit::Density(asked) => (asked.count, Duration::from_millis(asked.longest_ms)),
        Visit::Starts { starters, step_ms } => {
            // Together and beside one, each as long as its last start.
            let step = Duration::from_millis(*step_ms) + limits.start_deadline(emulated);
            (starters.iter().copied().max().unwrap_or(1), step * 2 * starters.len() as u32)
        }
    };
    // Many instances do not each hang for their whole deadline: the first that does ends the visit. Three stand for
    // one that hangs, one that just does not, and the engine's own start.
    instance * instances.min(3)
        + limits.stop_deadline()
        + rest * 2
        + Duration::from_millis(50) * instances
        + BLOCK_GRACE
}

#[cfg(test)]
mod tests {
    use super::*;
    use isobench_core::{Guest, Model};

    #[test]
    fn a_variant_that_cannot_run_here_is_absent_once_where_it_is_wanted() {
        let variant = |name: &str| VariantInfo {
            name: name.into(),
            guests: Guest::ALL.into(),
            prepared: String::new(),
            shared: String::new(),
            quick: true,
            ..VariantInfo::default()
        };
        let description = Description {
            backend: "oci".into(),
            model: Model::Container,
            variants: vec![variant("runc"), variant("youki")],
            in_process: false,
            hidden: false,
            footprint_instances: 1,
            engines: Vec::new(),
        };
        let availability = Availability::Available {
            versions: BTreeMap::new(),
            emulated: false,
            notes: Vec::new(),
            absent: BTreeMap::from([("youki".into(), "it is not installed".into())]),
        };
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workloads/echo");
        let workload = isobench_core::workload::load(&root).expect("the workload of the checkout");
        let planned = |only: &[&str]| {
            let filter = Filter { only: only.iter().map(|p| p.parse().unwrap()).collect(), ..Filter::default() };
            let backends = [(description.clone(), availability.clone())];
            cells(&backends, &[], &[as_if_built(workload.clone())], &filter, &Plan::default())
        };
        let (entries, absent) = planned(&[]);
        assert!(!entries.is_empty() && entries.iter().all(|e| e.cell.variant == "runc"));
        assert_eq!(absent, [Absent { what: "oci/youki".into(), reason: "it is not installed".into() }]);
        assert_eq!(planned(&["runc"]).1, []);
    }

    #[test]
    fn a_variant_that_nothing_makes_cold_is_asked_for_warm_calls_and_no_cold_start() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workloads/echo");
        let workload = as_if_built(isobench_core::workload::load(&root).expect("the workload of the checkout"));
        let variant =
            VariantInfo { name: "url".into(), guests: vec![Guest::Js], never_cold: true, ..VariantInfo::default() };
        let description = Description {
            backend: "http".into(),
            model: Model::Remote,
            variants: vec![variant],
            in_process: false,
            hidden: false,
            footprint_instances: 0,
            engines: Vec::new(),
        };
        let entries = cells_everywhere(vec![description.clone()], &[workload], &Filter::default(), &Plan::default());
        assert!(!entries.is_empty());
        for entry in &entries {
            assert_eq!(entry.experiments, [Experiment::WarmCall, Experiment::Throughput]);
            let visits = visits(entry, &description, &Plan::default());
            assert!(matches!(visits[0], Visit::ColdStart { warm: Some(_), .. }), "a start, and calls after it");
        }
    }

    #[test]
    fn a_variant_that_answers_some_workloads_has_no_cell_of_another() {
        let answering = |workload: &str| {
            let variant = VariantInfo {
                name: "mine".into(),
                guests: vec![Guest::Js],
                workloads: [workload.to_string()].into(),
                ..VariantInfo::default()
            };
            let description = Description {
                backend: "http".into(),
                model: Model::Remote,
                variants: vec![variant],
                in_process: false,
                hidden: false,
                footprint_instances: 0,
                engines: Vec::new(),
            };
            let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workloads/echo");
            let workload = isobench_core::workload::load(&root).expect("the workload of the checkout");
            // Not even as one that cannot run: it has no artifact.
            let built = Built { artifacts: [(Guest::Js, Err("none".into()))].into(), ..as_if_built(workload.clone()) };
            let available = Availability::Available {
                versions: BTreeMap::new(),
                emulated: false,
                notes: Vec::new(),
                absent: BTreeMap::new(),
            };
            let absent =
                cells(&[(description.clone(), available)], &[], &[built], &Filter::default(), &Plan::default()).1;
            let everywhere = [as_if_built(workload)];
            (cells_everywhere(vec![description], &everywhere, &Filter::default(), &Plan::default()).len(), absent.len())
        };
        let (cells, absent) = answering("echo");
        assert!(cells > 0 && absent == 1);
        assert_eq!(answering("json"), (0, 0));
    }

    #[test]
    fn a_quick_run_spares_emulated_machines_what_is_not_asked_for() {
        let cell = |workload: &str| Cell {
            backend: "qemu".into(),
            variant: "boot".into(),
            guest: Guest::Wasm,
            engine: None,
            workload: workload.into(),
            case: "small".into(),
        };
        let emulated = |emulated| Availability::Available {
            versions: BTreeMap::new(),
            emulated,
            notes: Vec::new(),
            absent: BTreeMap::new(),
        };
        let only =
            |only: &[&str]| Filter { only: only.iter().map(|p| p.parse().unwrap()).collect(), ..Filter::default() };
        let quick = Plan { quick: true, ..Plan::default() };
        assert!(too_slow(&cell("json"), &emulated(true), &only(&[]), &quick));
        assert!(!too_slow(&cell(HEADLINE_WORKLOAD), &emulated(true), &only(&[]), &quick));
        assert!(!too_slow(&cell("json"), &emulated(false), &only(&[]), &quick));
        assert!(!too_slow(&cell("json"), &emulated(true), &only(&[]), &Plan::default()));
        assert!(!too_slow(&cell("json"), &emulated(true), &only(&["qemu/"]), &quick));
        assert!(!too_slow(&cell("json"), &emulated(true), &only(&["/json/"]), &quick));
    }
}
