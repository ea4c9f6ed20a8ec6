//! What the five benches share: `cargo bench --bench NAME` is Criterion in front of one model, and from the very same
//! samples a run under `results/` and a page under `reports/`.

use anyhow::{Context, Result, bail};
use criterion::Criterion;
use isobench_core::Model;
use isobench_core::run::{Order, Plan};
use isobench_core::workload;
use isobench_runner::client::{self, INTERRUPTED};
use isobench_runner::criterion_glue::{self as glue, Action};
use isobench_runner::place::{self, Places};
use isobench_runner::plan::{self, Filter};
use isobench_runner::session::{Options, Session};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

/// `main` of a bench: every backend of one model.
pub fn main(name: &str, model: Model) -> ExitCode {
    match run(name, model) {
        Ok(()) if INTERRUPTED.load(Ordering::Relaxed) => ExitCode::from(130),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, model: Model) -> Result<()> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))?;
    let args = args();
    let action = Action::of(&args);
    place::build_programs()?;
    let places = Places::find()?;
    let filter = Filter { small_only: !std::env::var("ISOBENCH_CASES").is_ok_and(|v| v == "all"), ..Filter::default() };
    let mut criterion = Criterion::default().configure_from_args();
    if action == Action::List {
        list(&places, &mut criterion, &filter, model)?;
        return Ok(());
    }
    let options = Options {
        command: ["cargo", "bench", "--bench", name].map(String::from).into_iter().chain(user_args(&args)).collect(),
        filter,
        plan: Plan { seed: place::unix_ms(), order: Order::Sequential, quick: true, ..Plan::default() },
        results: (action == Action::Bench).then(|| places.results()),
        models: vec![model],
        configurations: Vec::new(),
        env: BTreeMap::new(),
    };
    let mut session = Session::begin(&places, options, &|step| eprintln!("{step}"))?;
    for absent in &session.run.absent {
        eprintln!("left out: {}: {}", absent.what, absent.reason);
    }
    if session.run.cells.is_empty() {
        for backend in &session.run.backends {
            eprintln!("{}: {:?}", backend.description.backend, backend.availability);
        }
        bail!("no cell can run here: see `isobench doctor`");
    }
    let measured = glue::bench(&mut criterion, &mut session).and_then(|whole| {
        // With a filter, only what it matched is wanted: footprint and throughput belong to a whole bench.
        if action == Action::Bench && whole { glue::beside(&mut session) } else { Ok(()) }
    });
    let early = measured.as_ref().err().map(ToString::to_string);
    let (run, dir) = session.finish(early)?;
    criterion.final_summary();
    if let Some(dir) = dir {
        let report = isobench_report::read_partial(&dir).context("reading the samples for the report")?;
        let page = isobench_report::write(&report, &dir, &places.reports()).context("writing the report")?;
        println!("run    {}\nreport {}", dir.path().display(), page.display());
    }
    measured?;
    match run.cells.iter().filter(|c| !c.faults.is_empty()).count() {
        0 => Ok(()),
        n => bail!("{n} cells are error rows: see the report"),
    }
}

/// `main` of a bench that only measures: Cargo passes every bench the same arguments, so it also names itself and has
/// nothing to test. `run` gets the filters that are left, as Criterion's.
pub fn measure(name: &str, run: impl FnOnce(&[&str]) -> Result<()>) -> ExitCode {
    let args = args();
    match Action::of(&args) {
        Action::List => {
            println!("{name}: benchmark");
            return ExitCode::SUCCESS;
        }
        Action::Test => {
            println!("{name}: nothing to test, it only measures");
            return ExitCode::SUCCESS;
        }
        Action::Bench | Action::Profile => {}
    }
    let wanted: Vec<&str> = args[1..].iter().map(String::as_str).filter(|a| !a.starts_with('-')).collect();
    match run(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The arguments of this program. Bytes that are not UTF-8 become U+FFFD.
fn args() -> Vec<String> {
    std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect()
}

/// A session that such a bench drives by itself and keeps nothing of.
pub fn by_hand(name: &str, places: &Places, filter: Filter) -> Result<Session> {
    let options = Options {
        command: vec![name.into()],
        filter,
        plan: Plan { order: Order::Sequential, quick: true, ..Plan::default() },
        results: None,
        models: Vec::new(),
        configurations: Vec::new(),
        env: BTreeMap::new(),
    };
    Ok(Session::begin(places, options, &|step| eprintln!("{step}"))?)
}

fn list(places: &Places, criterion: &mut Criterion, filter: &Filter, model: Model) -> Result<()> {
    let descriptions = client::discover(&places.programs)
        .into_iter()
        .flatten()
        .map(|r| r.description)
        .filter(|d| d.model == model)
        .collect();
    let mut workloads = Vec::new();
    for workload in workload::load_all(&places.workloads())? {
        workloads.push(plan::as_if_built(workload?));
    }
    glue::list(
        criterion,
        &plan::cells_everywhere(descriptions, &workloads, filter, &Plan { quick: true, ..Plan::default() }),
    );
    Ok(())
}

/// What the user gave, without the program and Cargo's own `--bench`.
fn user_args(args: &[String]) -> Vec<String> {
    args.iter().skip(1).filter(|a| *a != "--bench").cloned().collect()
}
