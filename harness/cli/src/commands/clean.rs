//! `isobench clean`: removes what killed runs left.

use crate::output;
use anyhow::{Context, Result};
use isobench_runner::cgroup::RUN_CGROUP;
use isobench_runner::place::{self, Places};
use isobench_runner::protocol::CleanRequest;
use isobench_runner::reap::{self, StateDir};
use isobench_runner::{Cleaned, RunContext, client, containers, part};
use std::fs;
use std::io::ErrorKind;
use std::process::ExitCode;

/// Remove what killed runs left: processes, containers, VMs, mounts, sockets, temporary files
///
/// Safe at any time. Only what belongs to a run that is provably gone is removed. Runs in progress, and things whose
/// owner may still live in another PID namespace or on another machine, are left alone; the latter are listed, with the
/// command that removes them.
#[derive(clap::Args)]
pub struct Args {
    /// Also empty the cache (compiled guests, images, kernels): the next run makes it again
    #[arg(long)]
    cache: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let places = Places::find()?;
    let mut cleaned = clean(&places)?;
    if args.cache {
        // `Places::find` has checked the cache's tag and owner.
        fs::remove_dir_all(&places.cache).with_context(|| format!("removing {}", places.cache.display()))?;
        cleaned.removed.push(format!("cache {}", places.cache.display()));
    }
    let mut lines: Vec<String> = cleaned.removed.iter().map(|line| format!("removed {line}")).collect();
    if lines.is_empty() {
        lines.push("nothing to clean".into());
    }
    lines.extend(cleaned.left_alone.iter().map(|line| format!("left alone {line}")));
    output::line(lines.join("\n"));
    Ok(ExitCode::SUCCESS)
}

/// Removes what dead runs left.
pub fn clean(places: &Places) -> Result<Cleaned> {
    let found = reap::leftovers(&places.state);
    let mut cleaned = Cleaned { removed: Vec::new(), left_alone: found.left_alone };
    for run in &found.dead {
        cleaned.removed.extend(reap::kill_cookie(run).into_iter().map(|pid| format!("process {pid}")));
    }
    let own = StateDir::create(&places.state, &format!("clean-{}", place::new_run_id()))
        .with_context(|| format!("creating a folder in {}", places.state.display()))?;
    for runner in client::discover(&places.programs).into_iter().flatten() {
        let ctx = RunContext {
            run: "clean".into(),
            state: own.path().into(),
            cache: places.cache.clone(),
            programs: places.programs.clone(),
        };
        match runner.clean(&CleanRequest { ctx, dead: found.dead.clone() }) {
            Ok(of_backend) => cleaned.extend(of_backend),
            Err(fault) => output::note(format!("isobench clean: {}: {fault}", runner.description.backend)),
        }
    }
    cleaned.extend(containers::reap("run", RUN_CGROUP));
    for run in &found.dead {
        // `leftovers` has proven that the run's coordinator is gone.
        match fs::remove_dir_all(run) {
            Ok(()) => cleaned.removed.push(format!("folder {}", run.display())),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => output::note(format!("isobench clean: {}: {e}", run.display())),
        }
    }
    cleaned.extend(part::clean(&places.cache));
    Ok(cleaned)
}
