//! The options that choose cells, and the check that each of them matches one.

use anyhow::Result;
use clap::Args;
use isobench_core::run::Plan;
use isobench_core::{Cell, Description, workload};
use isobench_runner::client;
use isobench_runner::guests::Built;
use isobench_runner::place::Places;
use isobench_runner::plan::{self, Filter};
use isobench_runner::select::{Component, Pattern};
use std::collections::BTreeMap;

// No doc comment: clap would take it for that of the whole command.
#[derive(Args)]
pub struct SelectArgs {
    /// Only cells whose name matches PATTERN (may be given several times, for any of them)
    ///
    /// A cell's name is backend/variant/guest/workload/case. A pattern is one or more parts with `/` between them; each
    /// is a glob for a whole part (`*`, `?`, `[ab]`), and together they match neighbouring parts anywhere in the name:
    /// `v8/`, `process/spawn`, `v8/*/js`, `*/echo/small`, `/echo/`. A slash at either end says nothing more. A pattern
    /// that matches no cell is an error (exit code 2).
    #[arg(long, value_name = "PATTERN")]
    pub only: Vec<Pattern>,
    /// No cell whose name matches PATTERN (may be given several times)
    #[arg(long, value_name = "PATTERN")]
    pub skip: Vec<Pattern>,
    /// Only this backend: a name or a glob (may be given several times); combines with the other conditions by AND
    #[arg(long, value_name = "NAME")]
    backend: Vec<Component>,
    /// Only this guest: native, wasm or js
    #[arg(long, value_name = "NAME")]
    guest: Vec<Component>,
    /// Only this workload
    #[arg(long, value_name = "NAME")]
    workload: Vec<Component>,
    /// Only this case, such as small or large
    #[arg(long, value_name = "NAME")]
    case: Vec<Component>,
}

impl SelectArgs {
    /// The cells that these options choose.
    pub fn filter(&self, small_only: bool) -> Filter {
        Filter {
            only: self.only.clone(),
            skip: self.skip.clone(),
            backend: self.backend.clone(),
            guest: self.guest.clone(),
            workload: self.workload.clone(),
            case: self.case.clone(),
            small_only,
        }
    }
}

/// Returns an error unless every pattern matches a cell that exists, and one that the plan has if it can run here. Asks
/// the backends what they are, not whether they can run, and builds nothing. `env` is the runners' environment.
pub fn check(places: &Places, filter: &Filter, plan: &Plan, env: &BTreeMap<String, String>) -> Result<()> {
    let mut workloads = Vec::new();
    for loaded in workload::load_all(&places.workloads())? {
        match loaded {
            Ok(workload) => workloads.push(plan::as_if_built(workload)),
            // The run says what is wrong with it.
            Err(error) if filter.names_workload(&error.folder()) => return Ok(()),
            Err(_) => {}
        }
    }
    let runners = client::discover_under(&places.programs, env).into_iter().flatten();
    let descriptions: Vec<Description> =
        runners.map(|r| r.description).filter(|d| !d.hidden || filter.names(&d.backend)).collect();
    // `http` without a target: the run says that it has no cell.
    if descriptions.iter().any(|d| d.variants.is_empty() && filter.names(&d.backend)) {
        return Ok(());
    }
    let cells = |filter: &Filter, plan: &Plan| everywhere(&descriptions, &workloads, filter, plan);
    let mut every = cells(&Filter::default(), &Plan::default());
    if plan.matrix {
        every.extend(cells(&Filter::default(), &Plan { matrix: true, ..Plan::default() }));
    }
    filter.check(&every)?;
    filter.check_planned(&cells(filter, plan))?;
    Ok(())
}

fn everywhere(descriptions: &[Description], workloads: &[Built], filter: &Filter, plan: &Plan) -> Vec<Cell> {
    let entries = plan::cells_everywhere(descriptions.to_vec(), workloads, filter, plan);
    entries.into_iter().map(|entry| entry.cell).collect()
}
