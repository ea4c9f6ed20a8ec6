//! `isobench doctor`: what can run here, which versions, what is missing and how to get it.

use crate::output;
use anyhow::{Result, bail};
use isobench_core::run::Allowance;
use isobench_core::text::one_line;
use isobench_core::{Availability, Guest, workload};
use isobench_runner::place::{self, Places};
use isobench_runner::processors::OURS;
use isobench_runner::reap::StateDir;
use isobench_runner::{RunContext, client, guests, machine};
use serde_json::json;
use std::process::ExitCode;

/// Fewest open files that no row needs more of: three descriptors for each of 256 instances at once.
const FEW_FILES: u64 = 1024;

/// Say what can run here, which versions, what is missing and how to get it
///
/// Fetches and caches what a run would need first (a guest kernel, the KVM probe's answer). Exit code 0 where at least
/// one backend can run; with --strict, 0 only where all can.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Fail unless every backend and every guest can run
    #[arg(long)]
    strict: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let places = Places::find()?;
    place::leaves_room_for_sockets(&places.state)?;
    let state = StateDir::create(&places.state, &format!("doctor-{}", place::new_run_id()))?;
    let (runners, broken): (Vec<_>, Vec<_>) = client::discover(&places.programs).into_iter().partition(Result::is_ok);
    let runners: Vec<_> = runners.into_iter().flatten().filter(|r| !r.description.hidden).collect();
    if runners.is_empty() {
        bail!("no isobench-runner-* program in {}: `make build` builds them", places.programs.display());
    }
    let availabilities = client::probe_all(&runners, |name| RunContext {
        run: "doctor".into(),
        state: state.path().join(name),
        cache: places.cache.clone(),
        programs: places.programs.clone(),
    });
    let absent_guests = absent_guests(&places)?;
    let machine = machine::describe();
    if args.json {
        let backends: Vec<_> = runners
            .iter()
            .zip(&availabilities)
            .map(|(r, a)| json!({ "description": r.description, "availability": a }))
            .collect();
        let broken: Vec<String> = broken.iter().filter_map(|b| Some(b.as_ref().err()?.to_string())).collect();
        let all = json!({
            "isobench": env!("CARGO_PKG_VERSION"), "machine": machine, "backends": backends,
            "broken_runners": broken, "absent_guests": absent_guests, "cache": places.cache, "state": places.state,
        });
        output::line(serde_json::to_string_pretty(&all)?);
    } else {
        output::line(format!(
            "{} · {} cores · {} · kernel {} · cgroup {}",
            machine.cpu, machine.cores, machine.os, machine.kernel, machine.cgroup
        ));
        if let Some(source) = machine.slow_clock() {
            output::line(format!(
                "clock source {source}: every reading is a slow system call, which adds to short times"
            ));
        }
        if let Some(limits) = machine.allowance.as_ref().and_then(limits) {
            output::line(format!("limits: {limits}"));
        }
        for (runner, availability) in runners.iter().zip(&availabilities) {
            print_backend(&runner.description.backend, &runner.description.model.to_string(), availability);
        }
        for fault in broken.iter().filter_map(|b| b.as_ref().err()) {
            output::line(format!("✗ {}", one_line(&fault.to_string())));
        }
        for line in &absent_guests {
            output::line(format!("✗ {}", one_line(line)));
        }
    }
    let available = availabilities.iter().filter(|a| a.is_available()).count();
    let enough = match args.strict {
        true => available == availabilities.len() && broken.is_empty() && absent_guests.is_empty(),
        false => available > 0,
    };
    Ok(if enough { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The limits of isobench that can change a number, in a line. `None` if there are none.
fn limits(allowance: &Allowance) -> Option<String> {
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let limits = [
        OURS.restriction().map(|cpus| format!("processors {cpus}")),
        allowance.cpu_quota_milli.map(|milli| format!("CPU quota of {} processors", milli as f64 / 1e3)),
        allowance.memory_bytes.map(|bytes| format!("{} of memory in the cgroup", mib(bytes))),
        allowance.pids.map(|n| format!("{n} processes in the cgroup")),
        allowance.address_space_bytes.map(|bytes| format!("{} of address space (ulimit -v)", mib(bytes))),
        allowance.open_files.filter(|[_, hard]| *hard < FEW_FILES).map(|[_, hard]| format!("{hard} open files")),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    (!limits.is_empty()).then(|| limits.join(", "))
}

fn print_backend(name: &str, model: &str, availability: &Availability) {
    match availability {
        Availability::Available { versions, emulated, notes, absent } => {
            let versions: Vec<String> = versions.iter().map(|(part, version)| format!("{part} {version}")).collect();
            let emulated = if *emulated { " · EMULATED processor" } else { "" };
            output::line(format!("✓ {name} ({model}){emulated}  {}", one_line(&versions.join(", "))));
            for note in notes {
                output::line(format!("    {}", one_line(note)));
            }
            for (variant, reason) in absent {
                output::line(format!("    ✗ {name}/{variant}  {}", one_line(reason)));
            }
        }
        Availability::Unavailable { reason, remedy } => {
            output::line(format!("✗ {name} ({model})  {}", one_line(reason)));
            output::line(format!("    to fix: {}", one_line(remedy)));
        }
    }
}

/// Guests that cannot be built here, and broken fixtures.
fn absent_guests(places: &Places) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for loaded in workload::load_all(&places.workloads())? {
        match loaded {
            Ok(workload) => {
                let built = guests::build(places, workload, &|_| true, &|line| output::note(line));
                let absent =
                    built.artifacts.iter().filter_map(|(guest, a): (&Guest, _)| Some((guest, a.as_ref().err()?)));
                lines.extend(absent.map(|(guest, reason)| format!("{} {guest}: {reason}", built.workload.name)));
            }
            Err(error) => lines.push(error.to_string()),
        }
    }
    Ok(lines)
}
