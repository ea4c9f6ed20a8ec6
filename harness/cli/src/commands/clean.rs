//! `isobench clean`: reaps whatever a killed run left.

use anyhow::Result;
use isobench_runner::client;
use isobench_runner::place::Places;
use isobench_runner::protocol::CleanRequest;
use isobench_runner::{RunContext, reap};
use std::process::ExitCode;

/// Reap whatever a killed run left: processes, containers, VMs, mounts, sockets, temporary files
///
/// Runs in progress are left alone. Safe to call at any time; prints a line for each thing reaped.
#[derive(clap::Args)]
pub struct Args {
    /// Also empty the cache (compiled guests, images, kernels): the next run makes it again
    #[arg(long)]
    cache: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let places = Places::find()?;
    let mut reaped = clean(&places)?;
    if args.cache {
        std::fs::remove_dir_all(&places.cache)?;
        reaped.push(format!("cache {}", places.cache.display()));
    }
    for line in &reaped {
        println!("reaped {line}");
    }
    if reaped.is_empty() {
        println!("nothing to clean");
    }
    Ok(ExitCode::SUCCESS)
}

/// Reaps what dead runs left; a line for each thing.
pub fn clean(places: &Places) -> Result<Vec<String>> {
    let dead = reap::dead_runs(&places.state);
    let mut reaped = Vec::new();
    for run in &dead {
        reaped.extend(reap::kill_cookie(run).into_iter().map(|pid| format!("process {pid}")));
    }
    let state = places.state.join(format!("clean-{}", std::process::id()));
    for runner in client::discover(&places.programs).into_iter().flatten() {
        let ctx = RunContext {
            run: "clean".into(),
            state: state.clone(),
            cache: places.cache.clone(),
            programs: places.programs.clone(),
        };
        match runner.clean(&CleanRequest { ctx, dead: dead.clone() }) {
            Ok(lines) => reaped.extend(lines),
            Err(fault) => eprintln!("isobench clean: {}: {fault}", runner.description.backend),
        }
    }
    for run in &dead {
        match std::fs::remove_dir_all(run) {
            Ok(()) => reaped.push(format!("folder {}", run.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => eprintln!("isobench clean: {}: {e}", run.display()),
        }
    }
    Ok(reaped)
}
