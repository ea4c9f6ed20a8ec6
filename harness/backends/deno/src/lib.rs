//! Deno: a process of its own for each instance, as `node`'s, with the same script as its agent. Deno denies what was not
//! allowed: here all but the guest's file and the socket. [`Deno`] is the backend.

use isobench_core::{Availability, Description, Fault, Guest, Model, Preparation, VariantInfo};
use isobench_node::code_cache::CodeCache;
use isobench_node::script::{AGENT, Home, SOCKET, START, Scripted, refused};
use isobench_runner::agents::{self, AgentPackage, report_of, run_to_end};
use isobench_runner::place;
use isobench_runner::spawned::{Origin, Spawning};
use isobench_runner::{Backend, Deployment, Prepared, RunContext, Target};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Longest wait for a Deno to say what it is: a hundred times what it takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a person does who has none.
const REMEDY: &str = "`scripts/deno.sh`, or set ISOBENCH_DENO to a Deno of yours (2.5 or newer)";

/// A way of running the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Everything inside the clock.
    Fresh,
    /// Compiled ahead: Deno's code cache, which is on unless one says otherwise.
    CodeCache,
}

impl Variant {
    /// Every variant.
    pub const ALL: [Variant; 2] = [Variant::Fresh, Variant::CodeCache];

    /// Its name, a row's.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Fresh => "fresh",
            Variant::CodeCache => "code-cache",
        }
    }

    /// The one of that name.
    ///
    /// # Errors
    /// The fault of a name that none has.
    pub fn named(name: &str) -> Result<Variant, Fault> {
        let found = Variant::ALL.into_iter().find(|variant| variant.name() == name);
        found.ok_or_else(|| Fault::backend(format!("deno has no variant `{name}`")))
    }

    fn describe(self) -> VariantInfo {
        let (preparation, prepared, also_shared) = match self {
            Variant::Fresh => (
                Preparation::Nothing,
                "Deno's file, the agent's and the guest's in the page cache; what Deno found out of them",
                "",
            ),
            Variant::CodeCache => (
                Preparation::Code,
                "Deno's file, the agent's and the guest's in the page cache; what Deno found out of them; the \
                 bytecode of agent and guest",
                ", the database of that code",
            ),
        };
        VariantInfo {
            name: self.name().into(),
            guests: vec![Guest::Js],
            prepared: prepared.into(),
            preparation: preparation.of(&[Guest::Js]),
            shared: format!("kernel, Deno's cache folder, and the pages of Deno's file{also_shared}"),
            quick: false,
            ..VariantInfo::default()
        }
    }
}

/// `ISOBENCH_DENO`, else the pinned one in `cache`, else the first on the path.
///
/// # Errors
/// The fault of a machine that has none.
pub fn program(cache: &Path) -> Result<PathBuf, Fault> {
    place::fetched(cache, "deno").ok_or_else(|| Fault::backend("there is no Deno: `scripts/deno.sh` fetches one"))
}

/// The option that keeps Deno from saying what it does.
const QUIET: &str = "--quiet";
/// The option with which Deno says, among much else, whether it took the code of each script from its code cache.
const REPORT: &str = "--log-level=debug";

/// Makes the files of `target` that are not there yet, or are damaged.
///
/// # Errors
/// Returns a fault if the variant is unknown, a file cannot be written, Deno rejects its own code cache, or the guest,
/// whose code is to be cached, cannot be loaded.
pub fn deployed(ctx: &RunContext, target: &Target, program: &Path) -> Result<Scripted, Fault> {
    let variant = Variant::named(&target.variant)?;
    let home = Home::of(ctx, "deno", program, target, "")?;
    let guest = home.put_guest(target)?;
    let agent = home.put("agent.cjs", format!("{AGENT}{START}"))?;
    let mut options: Vec<String> =
        ["run", QUIET, "--no-config", "--no-lock", "--no-remote", "--no-npm", "--no-prompt"].map(String::from).into();
    options.extend((variant == Variant::Fresh).then(|| "--no-code-cache".into()));
    options.extend([
        format!("--v8-flags=--max-heap-size={}", target.limits.memory_bytes >> 20),
        format!("--allow-read={},{SOCKET}", guest.display()),
        format!("--allow-write={SOCKET}"),
        format!("--allow-net=unix:{SOCKET}"),
        agent.display().to_string(),
    ]);
    let folder = home.file("cache");
    let env = vec![("DENO_DIR", folder.clone().into()), ("DENO_NO_UPDATE_CHECK", "1".into()), ("NO_COLOR", "1".into())];
    let scripted = Scripted { guest: guest.clone(), options, env };
    let allowed = target.limits.start_deadline(target.emulated);
    let load = || {
        let mut command = Command::new(program);
        scripted.tell_to_load(&mut command);
        run_to_end(&mut command, allowed).map_err(|words| refused(&words))
    };
    let report = || {
        let mut telling = scripted.clone();
        telling.options.iter_mut().filter(|option| *option == QUIET).for_each(|option| *option = REPORT.into());
        let mut command = Command::new(program);
        telling.tell_to_load(&mut command);
        report_of(&mut command, allowed)
    };
    match variant {
        // What Deno found out of a script it keeps from the first time on. A guest that cannot be loaded is this
        // variant's to find out at a start.
        Variant::Fresh => drop(load()),
        Variant::CodeCache => {
            CodeCache {
                home: &home,
                folder,
                scripts: [&agent, &guest],
                allowed,
                load: &load,
                report: &report,
                accepted,
            }
            .ensure()?;
        }
    }
    Ok(scripted)
}

/// Whether Deno found the code of `script`, and did not have to compile it anew because V8 rejected what was found.
fn accepted(report: &str, script: &str) -> bool {
    let says = |what: &str| report.lines().any(|line| line.contains(what) && line.contains(&format!("/{script}")));
    says("V8 code cache hit for ") && !says("Updating V8 code cache for ")
}

/// The backend.
#[derive(Debug)]
pub struct Deno;

impl Backend for Deno {
    fn describe(&self) -> Description {
        Description {
            backend: "deno".into(),
            model: Model::Process,
            variants: Variant::ALL.map(Variant::describe).into(),
            in_process: false,
            hidden: false,
            footprint_instances: 16,
            engines: Vec::new(),
        }
    }

    fn probe(&self, ctx: &RunContext) -> Availability {
        if let Some((folder, variable)) = split_by_deno(ctx) {
            return Availability::unavailable(
                format!("Deno splits its lists of permissions at the comma of {}", folder.display()),
                format!("set {variable} to a folder without a comma"),
            );
        }
        match program(&ctx.cache).map_err(|fault| fault.message).and_then(|program| versions(&program)) {
            Ok(versions) => {
                Availability::Available { versions, emulated: false, notes: Vec::new(), absent: BTreeMap::new() }
            }
            Err(reason) => Availability::unavailable(reason, REMEDY),
        }
    }

    fn open(&self, _: &RunContext, _: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Opened))
    }
}

/// The folder of the run that Deno cannot be given, and the variable that names another. Deno has no way to write a
/// comma into a permission.
fn split_by_deno(ctx: &RunContext) -> Option<(&Path, &'static str)> {
    let folders = [(ctx.state.as_path(), "ISOBENCH_STATE"), (ctx.cache.as_path(), "ISOBENCH_CACHE")];
    folders.into_iter().find(|(folder, _)| folder.as_os_str().as_encoded_bytes().contains(&b','))
}

/// What `--version` says: a line each, of Deno, of V8, of TypeScript.
fn versions(program: &Path) -> Result<BTreeMap<String, String>, String> {
    let said = agents::text_of(Command::new(program).arg("--version"), PATIENCE)?;
    let version = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
    match (version("deno "), version("v8 ")) {
        (Some(deno), Some(v8)) => Ok([("deno".into(), deno.into()), ("deno's v8".into(), v8.into())].into()),
        _ => Err(format!("{} is no Deno: it said `{said}`", program.display())),
    }
}

/// Processes share nothing that would have to be prepared.
struct Opened;

impl Prepared for Opened {
    fn deploy(&self, ctx: &RunContext, target: &Target) -> Result<Box<dyn Deployment>, Fault> {
        let program = program(&ctx.cache)?;
        let deployed = deployed(ctx, target, &program)?;
        let origin = Origin::of(AgentPackage::of(target, program, Some(deployed.guest.clone()))?)?;
        Ok(Box::new(Spawning::new(ctx, target, origin, deployed)))
    }
}
