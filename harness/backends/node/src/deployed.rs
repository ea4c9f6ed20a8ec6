//! A guest as a variant starts it: the files, and what Node is told.

use crate::Variant;
use crate::code_cache::CodeCache;
use crate::program::Program;
use crate::script::{AGENT, Home, START, Scripted, refused};
use isobench_core::Fault;
use isobench_runner::agents::{report_of, run_to_end};
use isobench_runner::part::Part;
use isobench_runner::{RunContext, Target, sealed, usable};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const BUNDLE: &str = include_str!("agent/bundle.cjs");

/// With this variable Node reports on its standard error whether it took the code of each script from its compile cache.
const REPORT: (&str, &str) = ("NODE_DEBUG_NATIVE", "COMPILE_CACHE");

/// Makes the files of `target` that are not there yet, or are damaged.
///
/// # Errors
/// Returns a fault if the variant is unknown, a file cannot be written, Node rejects its own compile cache, or the guest
/// cannot be loaded ahead.
pub fn deployed(ctx: &RunContext, target: &Target, program: &Program) -> Result<Scripted, Fault> {
    let variant = Variant::named(&target.variant)?;
    let usable = usable::without(&ctx.cache, "\\", "the module loader of Node", usable::CACHE_REMEDY);
    usable.map_err(|e| Fault::backend(e.to_string()))?;
    let home = Home::of(ctx, "node", &program.path, target, BUNDLE)?;
    let heap = format!("--max-heap-size={}", target.limits.memory_bytes >> 20);
    let text = |path: PathBuf| path.display().to_string();
    let guest = home.put_guest(target)?;
    let agent =
        home.put("agent.cjs", if variant == Variant::Snapshot { AGENT.into() } else { format!("{AGENT}{START}") })?;
    let node = Loading { program: &program.path, allowed: target.limits.start_deadline(target.emulated) };
    match variant {
        Variant::Fresh => Ok(Scripted { guest, options: vec![heap, text(agent)], env: vec![] }),
        Variant::CompileCache => {
            let folder = home.file("code");
            let env = vec![("NODE_COMPILE_CACHE", folder.clone().into())];
            let scripted = Scripted { guest: guest.clone(), options: vec![heap, text(agent.clone())], env };
            let cache = CodeCache {
                home: &home,
                folder,
                scripts: [&agent, &guest],
                allowed: node.allowed,
                load: &|| node.run(|command| scripted.tell_to_load(command)),
                report: &|| {
                    let mut command = node.command();
                    scripted.tell_to_load(command.env(REPORT.0, REPORT.1));
                    report_of(&mut command, node.allowed)
                },
                accepted: |report, script| report.contains(&format!("/{script} was accepted")),
            };
            cache.ensure()?;
            Ok(scripted)
        }
        Variant::Snapshot => {
            let blob = home.file("guest.blob");
            if !sealed::is_whole(&blob) {
                take_snapshot(ctx, &home, &node, &heap, [&guest, &agent, &blob])?;
            }
            Ok(Scripted { guest, options: vec![heap, "--snapshot-blob".into(), text(blob), "--".into()], env: vec![] })
        }
    }
}

/// Puts guest and agent into one script and makes a snapshot of it.
fn take_snapshot(
    ctx: &RunContext,
    home: &Home,
    node: &Loading,
    heap: &str,
    [guest, agent, blob]: [&Path; 3],
) -> Result<(), Fault> {
    let bundle = home.put("bundle.cjs", BUNDLE)?;
    let script = ctx.state.join("guest.snapshot.cjs");
    node.run(|command| {
        command.arg("--expose-internals").args([&bundle, guest, agent, &script]);
    })?;
    // With the limit it will live under: Node wants the flags to be those that it was taken with.
    let failed = |e: std::io::Error| Fault::backend(format!("{}: {e}", blob.display()));
    let part = Part::beside(blob).map_err(failed)?;
    node.run(|command| {
        command.arg(heap).arg("--snapshot-blob").arg(part.path()).arg("--build-snapshot").arg(&script);
    })?;
    sealed::put(part, blob).map_err(failed)
}

/// A Node that ends by itself.
struct Loading<'a> {
    program: &'a Path,
    allowed: Duration,
}

impl Loading<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.env_remove("NODE_OPTIONS");
        command
    }

    fn run(&self, tell: impl FnOnce(&mut Command)) -> Result<(), Fault> {
        let mut command = self.command();
        tell(&mut command);
        run_to_end(&mut command, self.allowed).map_err(|words| refused(&words))
    }
}
