//! A guest as a variant starts it: the files, and what Node is told.

use crate::Variant;
use crate::program::Program;
use crate::script::{AGENT, Home, START, Scripted, refused};
use isobench_core::Fault;
use isobench_runner::agents::run_to_end;
use isobench_runner::part::Part;
use isobench_runner::{RunContext, Target};
use std::path::PathBuf;
use std::process::Command;

const BUNDLE: &str = include_str!("agent/bundle.cjs");

/// Makes the files of `target` unless a block has done so before.
///
/// # Errors
/// The fault of a variant that is none, of a file that cannot be written, or of the guest where it is loaded ahead.
pub fn deployed(ctx: &RunContext, target: &Target, program: &Program) -> Result<Scripted, Fault> {
    let variant = Variant::named(&target.variant)?;
    let home = Home::of(ctx, "node", &program.path, target, BUNDLE)?;
    let heap = format!("--max-heap-size={}", target.limits.memory_bytes >> 20);
    let text = |path: PathBuf| path.display().to_string();
    let (guest, agent, blob) = (home.file("guest.mjs"), home.file("agent.cjs"), home.file("guest.blob"));
    let (options, env) = match variant {
        Variant::Fresh => (vec![heap.clone(), text(agent.clone())], vec![]),
        Variant::CompileCache => {
            (vec![heap.clone(), text(agent.clone())], vec![("NODE_COMPILE_CACHE", home.file("code").into())])
        }
        Variant::Snapshot => (vec![heap.clone(), "--snapshot-blob".into(), text(blob.clone()), "--".into()], vec![]),
    };
    let deployed = Scripted { guest, options, env };
    if home.file("ready").is_file() {
        return Ok(deployed);
    }

    home.put_guest(target)?;
    home.put("agent.cjs", if variant == Variant::Snapshot { AGENT.into() } else { format!("{AGENT}{START}") })?;
    let node = |act: &dyn Fn(&mut Command)| {
        let mut command = Command::new(&program.path);
        act(command.env_remove("NODE_OPTIONS"));
        run_to_end(&mut command, target.limits.start_deadline(target.emulated)).map_err(|words| refused(&words))
    };
    match variant {
        Variant::Fresh => {}
        // Node writes the cache when it ends.
        Variant::CompileCache => node(&|command| deployed.tell_to_load(command))?,
        Variant::Snapshot => {
            let bundle = home.put("bundle.cjs", BUNDLE)?;
            let script = ctx.state.join("guest.snapshot.cjs");
            node(&|command| {
                command.arg("--expose-internals").args([&bundle, &deployed.guest, &agent, &script]);
            })?;
            // With the limit it will live under: Node wants the flags to be those that it was taken with.
            let failed = |e: std::io::Error| Fault::backend(format!("{}: {e}", blob.display()));
            let part = Part::beside(&blob).map_err(failed)?;
            node(&|command| {
                command.arg(&heap).arg("--snapshot-blob").arg(part.path()).arg("--build-snapshot").arg(&script);
            })?;
            part.persist(&blob).map_err(failed)?;
        }
    }
    home.put("ready", "")?;
    Ok(deployed)
}
