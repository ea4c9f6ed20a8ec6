//! The microVM's root file system: the agent as `/init`, its arguments, the prepared guest and the kernel's modules.

use crate::cpio::Archive;
use isobench_core::{Fault, sha256_hex};
use isobench_guest::agent::init::{ARGS_FILE, MODULES_FILE};
use isobench_runner::part::Part;
use isobench_runner::{RunContext, sealed};
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// Where the prepared guest lies in the machine.
pub const GUEST_FILE: &str = "/guest";

/// Grows with every change of what [`write`] puts where, so that no archive of an older layout is taken.
const LAYOUT: u32 = 1;

/// What goes into a root file system.
#[derive(Debug, Clone, Copy)]
pub struct Root<'a> {
    /// The agent: a static program.
    pub agent: &'a Path,
    /// The prepared guest it loads.
    pub guest: Option<&'a Path>,
    /// The agent's arguments; none holds a line break.
    pub args: &'a [String],
    /// The kernel's modules, in the order of loading.
    pub modules: &'a [PathBuf],
    /// Content address of agent and guest.
    pub content: &'a str,
}

/// The archive of `root`, made unless it is whole in the cache.
pub fn build(ctx: &RunContext, root: &Root) -> Result<PathBuf, Fault> {
    let key = sha256_hex(format!("{LAYOUT} {} {:?} {:?}", root.content, root.args, root.modules).as_bytes());
    let path = ctx.cache.join("initramfs").join(format!("{}.cpio", &key[..32]));
    if sealed::is_whole(&path) {
        return Ok(path);
    }
    let make = || -> io::Result<()> {
        // Written aside and renamed, so that a block beside us sees all of it or nothing.
        let part = Part::beside(&path)?;
        write(root, BufWriter::new(&File::create_new(part.path())?))?;
        sealed::put(part, &path)
    };
    make().map_err(|e| Fault::backend(format!("making the root file system {}: {e}", path.display())))?;
    Ok(path)
}

fn write(root: &Root, out: BufWriter<&File>) -> io::Result<()> {
    let mut archive = Archive::new(out);
    archive.directory("dev")?;
    // The kernel opens the console for init, and Rust's runtime wants a null device where it could not.
    archive.device("dev/console", 5, 1)?;
    archive.device("dev/null", 1, 3)?;
    archive.directory("proc")?;
    archive.directory("sys")?;
    if !root.modules.is_empty() {
        archive.directory("modules")?;
        let mut order = String::new();
        for module in root.modules {
            let name = module.file_name().unwrap_or_default().to_string_lossy();
            archive.file(&format!("modules/{name}"), 0o644, &read(module)?)?;
            order.push_str(&format!("{name}\n"));
        }
        archive.file(relative(MODULES_FILE), 0o644, order.as_bytes())?;
    }
    archive.file(relative(ARGS_FILE), 0o644, root.args.join("\n").as_bytes())?;
    if let Some(guest) = root.guest {
        archive.file(relative(GUEST_FILE), 0o644, &read(guest)?)?;
    }
    archive.file("init", 0o755, &read(root.agent)?)?;
    archive.finish().map(drop)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
}

/// An archive's names have no leading slash.
fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let agent = dir.path().join("agent");
        fs::write(&agent, "agent").unwrap();
        let ctx = RunContext {
            run: "test".into(),
            state: dir.path().into(),
            cache: dir.path().join("cache"),
            programs: dir.path().into(),
        };
        let args = ["--connect".to_string(), "port:isobench".to_string()];
        let root = Root { agent: &agent, guest: None, args: &args, modules: &[], content: "a" };
        let first = build(&ctx, &root).unwrap();
        assert_eq!(build(&ctx, &root).unwrap(), first);
        assert_ne!(build(&ctx, &Root { content: "b", ..root }).unwrap(), first);
        let entries = fs::read_dir(ctx.cache.join("initramfs")).unwrap().count();
        assert_eq!(entries, 4, "two archives and their seals: nothing half-made is left");

        let whole = fs::read(&first).unwrap();
        for damage in ["", "agent"] {
            fs::write(&first, damage).unwrap();
            assert_eq!(fs::read(build(&ctx, &root).unwrap()).unwrap(), whole);
        }
        let missing = Root { agent: Path::new("/nonexistent/agent"), content: "c", ..root };
        assert!(build(&ctx, &missing).unwrap_err().message.contains("/nonexistent/agent"));
    }
}
