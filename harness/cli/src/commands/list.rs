//! `isobench list`: workloads and cells. Asks the backends what they are, not whether they can run: cheap.

use crate::output;
use anyhow::Result;
use isobench_core::run::Plan;
use isobench_core::text::one_line;
use isobench_core::workload;
use isobench_runner::client;
use isobench_runner::guests::Built;
use isobench_runner::place::Places;
use isobench_runner::plan::{self, Filter};
use std::process::ExitCode;

/// List the workloads, or with --cells the name of every cell, whether it can run here or not
#[derive(clap::Args)]
pub struct Args {
    /// Print the name of every cell: what --only and --skip match against
    #[arg(long)]
    cells: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let places = Places::find()?;
    let mut workloads = Vec::new();
    let mut broken = false;
    for loaded in workload::load_all(&places.workloads())? {
        match loaded {
            Ok(workload) => workloads.push(workload),
            Err(error) => {
                broken = true;
                output::note(format!("isobench: {}", one_line(&error.to_string())));
            }
        }
    }
    if !args.cells {
        for workload in &workloads {
            let cases: Vec<&str> = workload.cases.iter().map(|c| c.name.as_str()).collect();
            let guests: Vec<String> = workload.sources.keys().map(ToString::to_string).collect();
            output::line(format!(
                "{:10} {}\n{:10} cases {}; guests {}",
                one_line(&workload.name),
                one_line(&workload.summary),
                "",
                cases.join(", "),
                guests.join(", ")
            ));
        }
        return Ok(super::finished(broken));
    }
    let runners = client::discover(&places.programs).into_iter().flatten();
    let descriptions = runners.map(|r| r.description).filter(|d| !d.hidden).collect();
    let named: Vec<Built> = workloads.into_iter().map(plan::as_if_built).collect();
    let cells = plan::cells_everywhere(descriptions, &named, &Filter::default(), &Plan::default());
    for entry in cells {
        output::line(entry.cell.to_string());
    }
    Ok(super::finished(broken))
}
