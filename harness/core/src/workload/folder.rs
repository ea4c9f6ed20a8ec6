//! What may lie in a workload's folder: regular files, folders, and links that stay inside. Reading a named pipe waits
//! forever, and a link out of the folder makes a guest of what is not the workload's.

use super::WorkloadError;
use std::fs::{self, FileType};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// A kind of thing that a workload names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
}

/// Finds `name` in the workload's folder `root`. `None` if there is no such entry.
///
/// # Errors
/// Returns an error if the entry is a link out of the folder or to nothing, or is of another kind.
pub(super) fn find(root: &Path, name: &str, kind: Kind) -> Result<Option<PathBuf>, WorkloadError> {
    let path = root.join(name);
    let Ok(entry) = path.symlink_metadata() else { return Ok(None) };
    let wrong = |message: String| WorkloadError { file: path.clone(), line: None, message };
    let real = if entry.is_symlink() { inside(root, &path)? } else { path.clone() };
    let metadata = fs::metadata(&real).map_err(|e| wrong(e.to_string()))?;
    match kind {
        Kind::File if metadata.is_file() => Ok(Some(path)),
        Kind::Folder if metadata.is_dir() => Ok(Some(path)),
        Kind::File => Err(wrong(format!("is {}: put a regular file here", called(metadata.file_type())))),
        Kind::Folder => Err(wrong(format!("is {}: put a folder here", called(metadata.file_type())))),
    }
}

/// Checks everything below the folder `dir` of the workload in `root`, build output (`target`) excepted.
///
/// # Errors
/// Returns an error that names the first entry that is neither a regular file, nor a folder, nor a link to one that lies
/// in the workload's folder.
pub(super) fn check_below(root: &Path, dir: &Path) -> Result<(), WorkloadError> {
    let failed = |file: &Path, message: String| WorkloadError { file: file.into(), line: None, message };
    let entries = fs::read_dir(dir).map_err(|e| failed(dir, e.to_string()))?;
    for entry in entries {
        let entry = entry.map_err(|e| failed(dir, e.to_string()))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|e| failed(&path, e.to_string()))?;
        if kind.is_dir() && entry.file_name() == "target" {
            continue;
        }
        if kind.is_dir() {
            check_below(root, &path)?;
        } else if kind.is_symlink() {
            // One to a folder could lead round in a circle.
            if !inside(root, &path)?.is_file() {
                return Err(failed(&path, "is a link, but not to a regular file: put the content here".into()));
            }
        } else if !kind.is_file() {
            return Err(failed(&path, format!("is {}: remove it, it is no source", called(kind))));
        }
    }
    Ok(())
}

/// Where the link `path` leads, which is inside the workload's folder `root`.
fn inside(root: &Path, path: &Path) -> Result<PathBuf, WorkloadError> {
    let failed = |message: String| WorkloadError { file: path.into(), line: None, message };
    let root = root.canonicalize().map_err(|e| failed(e.to_string()))?;
    let real = path.canonicalize().map_err(|e| failed(format!("is a link that leads nowhere: {e}")))?;
    if real.starts_with(root) {
        return Ok(real);
    }
    Err(failed(format!("leads out of the workload's folder, to {}: put a copy here", real.display())))
}

fn called(kind: FileType) -> &'static str {
    match kind {
        _ if kind.is_file() => "a file",
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a named pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::load;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    const TOML: &str = "name = \"w\"\nsummary = \"s\"\n[[case]]\nname = \"small\"\ninput = \"in\"\nexpected = \"in\"\n";

    /// A workload with an input, a script, a crate, and what `add` puts there.
    fn with(add: impl Fn(&Path)) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let w = dir.path().join("w");
        fs::create_dir_all(w.join("rust/src")).unwrap();
        for (name, text) in
            [("workload.toml", TOML), ("in", ""), ("guest.js", ""), ("rust/Cargo.toml", ""), ("rust/src/main.rs", "")]
        {
            fs::write(w.join(name), text).unwrap();
        }
        add(&w);
        load(&w).map(drop).map_err(|e| e.to_string())
    }

    fn pipe(path: &Path) {
        let _ = fs::remove_file(path);
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    fn link(to: &str, path: &Path) {
        let _ = fs::remove_file(path);
        symlink(to, path).unwrap();
    }

    #[test]
    fn what_is_no_regular_file_is_named_and_never_opened() {
        for name in ["guest.js", "guest.wasm", "workload.toml", "rust/src/main.rs", "rust/pipe"] {
            let error = with(|w| pipe(&w.join(name))).unwrap_err();
            assert!(error.contains(&format!("w/{name}: is a named pipe")), "{error}");
        }
        let error = with(|w| fs::create_dir(w.join("guest.wat")).unwrap()).unwrap_err();
        assert!(error.contains("w/guest.wat: is a folder: put a regular file here"), "{error}");
        let error = with(|w| drop(UnixListener::bind(w.join("rust/s")).unwrap())).unwrap_err();
        assert!(error.contains("w/rust/s: is a socket"), "{error}");
        let rust_is_a_file = |w: &Path| {
            fs::remove_dir_all(w.join("rust")).unwrap();
            fs::write(w.join("rust"), "").unwrap();
        };
        let error = with(rust_is_a_file).unwrap_err();
        assert!(error.contains("w/rust: is a file: put a folder here"), "{error}");
    }

    #[test]
    fn links_stay_in_the_folder() {
        for name in ["guest.js", "workload.toml", "rust/src/main.rs", "rust/src/deep.rs", "rust/Cargo.toml"] {
            let error = with(|w| link("/etc/passwd", &w.join(name))).unwrap_err();
            let wanted = format!("w/{name}: leads out of the workload's folder, to /etc/passwd");
            assert!(error.contains(&wanted), "{error}");
            let error = with(|w| link("nothing", &w.join(name))).unwrap_err();
            assert!(error.contains(&format!("w/{name}: is a link that leads nowhere")), "{error}");
        }
        let error = with(|w| link("..", &w.join("rust/src/up"))).unwrap_err();
        assert!(error.contains("w/rust/src/up: is a link, but not to a regular file"), "{error}");
        let built = |w: &Path| {
            fs::create_dir(w.join("rust/target")).unwrap();
            link("/etc", &w.join("rust/target/etc"));
        };
        assert_eq!(with(built), Ok(()), "build output is no source");
        assert_eq!(with(|w| link("../../in", &w.join("rust/src/inside.rs"))), Ok(()));
    }
}
