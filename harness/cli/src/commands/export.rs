//! `isobench export`: a guest as a unit that a function platform takes.

use crate::output;
use crate::progress::Progress;
use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;
use isobench_core::{Guest, workload};
use isobench_functions::export::{self, PLATFORMS, Platform};
use isobench_runner::place::Places;
use isobench_runner::select::NoMatch;
use isobench_runner::{RunContext, Target, guests};
use std::path::PathBuf;
use std::process::ExitCode;

/// Make a unit to deploy on a function platform: a folder, its README.md says how
///
/// What runs there is the guest of every other boundary, with an adapter in front that speaks the platform's protocol.
/// Once it is deployed, `isobench run --only http/ --target` measures it. Nothing is deployed and no network is used.
#[derive(clap::Args)]
#[command(after_help = targets())]
pub struct Args {
    /// The platform
    #[arg(value_parser = PossibleValuesParser::new(PLATFORMS.iter().map(|platform| platform.name)))]
    target: String,
    /// The workload
    workload: String,
    /// The guest [default: the first that the platform takes and the workload has]
    #[arg(long, value_parser = guest)]
    guest: Option<Guest>,
    /// The engine that runs the guest where an agent of ours does: one of `isobench-agent-ENGINE` [default: v8, wasmtime]
    #[arg(long)]
    engine: Option<String>,
    /// The folder to make [default: TARGET-WORKLOAD-GUEST here]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// What --help says of the platforms.
fn targets() -> String {
    let rows = PLATFORMS.iter().map(|platform| {
        let guests: Vec<String> = platform.guests.iter().map(ToString::to_string).collect();
        let (about, guests, deploy) = (platform.about, guests.join(", "), platform.deploy);
        format!("  {:13} {about}\n  {:13} guests {guests}; then: {deploy}\n", platform.name, "")
    });
    format!(
        "Targets:\n{}\nExamples:\n  \
         isobench export workers echo                         workers-echo-js/, its README.md says how to deploy it\n  \
         isobench export lambda json --guest wasm --out json  another guest than the first, another folder\n  \
         isobench export cloud-run echo --guest js --engine quickjs\n  \
         isobench run --only http/ --target https://the.url.it.got/",
        rows.collect::<String>()
    )
}

fn guest(name: &str) -> Result<Guest, String> {
    let found = Guest::ALL.into_iter().find(|guest| guest.to_string() == name);
    found.ok_or_else(|| format!("a guest is one of {}", Guest::ALL.map(|guest| guest.to_string()).join(", ")))
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let places = Places::find()?;
    let platform = Platform::named(&args.target).expect("clap has looked");
    let folder = places.workloads().join(&args.workload);
    if args.workload.contains(['/', '.']) || !folder.is_dir() {
        let loaded = workload::load_all(&places.workloads())?;
        let names = loaded.iter().flatten().map(|workload| workload.name.as_str());
        bail!(NoMatch::workload(&args.workload, names));
    }
    let mut workload = workload::load(&folder)?;
    let offered = platform.guests.iter().find(|guest| workload.sources.contains_key(guest)).copied();
    let guest = args.guest.or(offered).with_context(|| {
        format!("`{}` has no guest that {} takes: add one to its folder", args.workload, platform.name)
    })?;
    if !platform.guests.contains(&guest) {
        bail!(export::ExportError::Guest { platform, guest });
    }
    if args.engine.is_some() && (guest == Guest::Native || platform.brings_engine()) {
        bail!("--engine: no engine of ours runs the {guest} guest on {}", platform.name);
    }
    workload.sources.retain(|&source, _| source == guest);
    let progress = Progress::new();
    let built = guests::build(&places, workload, &|_| true, &|step| progress.step(step));
    progress.finish();
    let Some(artifact) = built.artifacts.get(&guest) else { bail!("`{}` has no {guest} guest", args.workload) };
    let artifact = artifact.as_ref().map_err(|reason| anyhow::anyhow!("{reason}"))?;
    let target = Target {
        workload: args.workload.clone(),
        variant: platform.name.into(),
        guest,
        engine: args.engine.clone().or_else(|| guest.usual_engine().map(Into::into)),
        artifact: artifact.path.clone(),
        artifact_sha256: artifact.sha256.clone(),
        limits: built.workload.limits,
        emulated: false,
    };
    let out = args.out.clone().unwrap_or_else(|| format!("{}-{}-{guest}", platform.name, args.workload).into());
    let ctx = RunContext { run: "export".into(), state: places.state, cache: places.cache, programs: places.programs };
    let files = export::export(platform, &ctx, &target, &out)?;
    let list: String = files.iter().map(|file| format!("  {file}\n")).collect();
    let read = out.join("README.md");
    output::print(&format!("{}\n{list}{} says how to deploy and to measure it\n", out.display(), read.display()));
    Ok(ExitCode::SUCCESS)
}
