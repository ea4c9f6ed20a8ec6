//! `isobench check`: every case once on every guest, verified. How a fixture's author tests it.

use crate::output;
use crate::progress::Progress;
use anyhow::{Result, bail};
use isobench_core::run::{Absent, Order, Plan};
use isobench_core::text::one_line;
use isobench_core::workload::{self, WorkloadError};
use isobench_core::{CellId, Model, Record, Workload};
use isobench_runner::place::Places;
use isobench_runner::plan::{self, Filter};
use isobench_runner::select::{Component, NoMatch};
use isobench_runner::session::{Options, Session};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Run every case once on every guest and verify the answers; nothing is recorded
///
/// Uses one or two variants of each backend that starts at once (process, quickjs, v8, wasmtime); --all adds those of
/// the containers and microVMs that quick runs measure. Backends that quick runs leave out (node, deno, workerd, lxc,
/// nspawn, containerd, …) check their answers in every run of their own: `isobench run --quick --only node/`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this workload: a name or a glob
    workload: Option<Component>,
    /// Also behind the containers and microVMs of quick runs
    #[arg(long)]
    all: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let places = Places::find()?;
    let progress = Progress::new();
    let filter = Filter { workload: args.workload.iter().cloned().collect(), ..Filter::default() };
    known(&places, &filter)?;
    let options = Options {
        command: super::command_line(),
        filter: filter.clone(),
        plan: Plan { order: Order::Sequential, quick: true, ..Plan::default() },
        results: None,
        models: if args.all { Vec::new() } else { vec![Model::Process, Model::Isolate, Model::Wasm] },
        configurations: Vec::new(),
        env: BTreeMap::new(),
    };
    let mut session = Session::begin(&places, options, &|step| progress.step(step))?;
    let about = |name: &str| args.workload.as_ref().is_none_or(|w| w.matches(name));
    let mut failed = 0;
    for error in session.broken.iter().filter(|e| about(&e.folder())) {
        failed += 1;
        progress.line(&format!("✗ {}", one_line(&error.to_string())));
    }
    for (guest, reason) in unbuilt(&session.run.absent) {
        failed += 1;
        progress.line(&format!("✗ {guest} cannot be built:\n{}", indented(&reason)));
    }
    for absent in session.run.absent.iter().filter(|a| guest_of(a).is_none() && !a.what.starts_with("workload ")) {
        progress.line(&format!("– {}: {}", absent.what, one_line(&absent.reason)));
    }
    for backend in session.run.backends.iter().filter(|b| !b.availability.is_available()) {
        if let isobench_core::Availability::Unavailable { reason, remedy } = &backend.availability {
            let why = one_line(&format!("{reason}; to fix: {remedy}"));
            progress.line(&format!("– {} cannot run here: {why}", backend.description.backend));
        }
    }
    if session.run.cells.is_empty() && failed == 0 {
        progress.finish();
        bail!("nothing to check: no backend that can run here takes a guest of it (see `isobench doctor`)");
    }
    let mut passed = 0;
    let ids: Vec<CellId> = session.run.cells.iter().map(|c| c.id).collect();
    for id in ids {
        let name = session.entry(id).cell.to_string();
        progress.step(&name);
        let records = session.visit(id, &plan::page_cache_visit(), None)?;
        let fault = records.iter().find_map(Record::fault);
        match fault {
            None => {
                passed += 1;
                progress.line(&format!("✓ {name}"));
            }
            Some(fault) => {
                failed += 1;
                progress.line(&format!("✗ {name}: {}", one_line(&fault.to_string())));
            }
        }
    }
    session.finish(None)?;
    progress.finish();
    output::line(format!("{passed} passed, {failed} failed"));
    Ok(super::finished(failed > 0))
}

/// The guests that could not be built, each once with its reason, however many rows want it.
fn unbuilt(absent: &[Absent]) -> BTreeMap<String, String> {
    absent.iter().filter_map(|absent| Some((guest_of(absent)?, absent.reason.clone()))).collect()
}

/// What is absent, if that is a guest and not a whole variant that cannot run here: `backend/variant/guest/workload`.
fn guest_of(absent: &Absent) -> Option<String> {
    let parts: Vec<&str> = absent.what.split('/').collect();
    (parts.len() == 4).then(|| format!("the {} guest of {}", parts[2], parts[3]))
}

/// The lines of a compiler, set off from the list.
fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Returns an error if a workload is named and there is none of that name.
fn known(places: &Places, filter: &Filter) -> Result<()> {
    let names: Vec<String> = workload::load_all(&places.workloads())?.iter().map(name).collect();
    match filter.workload.iter().find(|wanted| !names.iter().any(|name| wanted.matches(name))) {
        Some(unknown) => Err(NoMatch::workload(&unknown.to_string(), names.iter().map(String::as_str)).into()),
        None => Ok(()),
    }
}

fn name(loaded: &Result<Workload, WorkloadError>) -> String {
    loaded.as_ref().map_or_else(WorkloadError::folder, |workload| workload.name.clone())
}
