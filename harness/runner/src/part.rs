//! Files and folders that appear whole or not at all: each is made under a name of its own and then renamed.

use crate::Cleaned;
use crate::owner;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Begins the name of what is being made; its maker's owner tag follows.
const PART: &str = ".part-";
/// Folders below the cache in which parts are looked for. Deeper ones belong to Cargo, npm and kernels.
const DEPTH: usize = 3;

static MADE: AtomicU32 = AtomicU32::new(0);

/// The place where something is made before it gets its name. Dropping it removes what is there.
#[derive(Debug)]
pub struct Part(PathBuf);

impl Part {
    /// Returns a free path in the folder of `path`, which is made if it is missing.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be made.
    pub fn beside(path: &Path) -> io::Result<Part> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let n = MADE.fetch_add(1, Ordering::Relaxed);
        Ok(Part(folder.join(format!("{PART}{}.{n}", owner::me()))))
    }

    /// Where to make it.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Gives what was made its name, in place of a file that has it.
    ///
    /// # Errors
    /// Returns an error if the rename fails; what was made is removed then.
    pub fn persist(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.0, path)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Writes a file that is whole whenever it is there.
///
/// # Errors
/// Returns an error if the file cannot be written; nothing is left then.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let part = Part::beside(path)?;
    // A file or link that has the name already is not this process's.
    File::create_new(part.path())?.write_all(content.as_ref())?;
    part.persist(path)
}

/// Whether a file's name is that of something in the making.
pub fn is_part(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PART.as_bytes())
}

/// Removes what killed processes had begun to write in a cache that isobench has checked to be its own.
pub fn clean(cache: &Path) -> Cleaned {
    let mut cleaned = Cleaned::default();
    look(cache, DEPTH, &mut cleaned);
    cleaned
}

fn look(folder: &Path, depth: usize, cleaned: &mut Cleaned) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        if let Some(tag) = name.to_str().and_then(|name| name.strip_prefix(PART)?.split('.').next()) {
            let thing = format!("unfinished {}", path.display());
            // The name holds the tag of the process that made it.
            cleaned.judge(&thing, tag, &format!("rm -r {}", path.display()), || remove(&path));
        } else if depth > 0 && entry.file_type().is_ok_and(|t| t.is_dir()) {
            look(&path, depth - 1, cleaned);
        }
    }
}

/// Removes a part, whose name proves whose it is.
fn remove(part: &Path) -> bool {
    fs::remove_file(part).or_else(|_| fs::remove_dir_all(part)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let part = Part::beside(&dir.path().join("a/file")).unwrap();
        fs::write(part.path(), "half").unwrap();
        drop(part);
        assert_eq!(names(&dir.path().join("a")), [] as [&str; 0]);
        write(&dir.path().join("a/file"), "whole").unwrap();
        assert_eq!(names(&dir.path().join("a")), ["file"]);
    }

    #[test]
    fn only_parts_of_dead_processes_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("prepared");
        let mine = Part::beside(&folder.join("x")).unwrap();
        fs::write(mine.path(), "").unwrap();
        let dead = format!("{PART}{}.0", owner::tag(std::process::id(), 1));
        fs::write(folder.join(&dead), "").unwrap();
        fs::create_dir(folder.join(format!("{dead}1"))).unwrap();
        fs::write(folder.join(".part-4194303-1.0"), "").unwrap();
        let cleaned = clean(dir.path());
        assert_eq!((cleaned.removed.len(), cleaned.left_alone.len()), (2, 1), "{cleaned:?}");
        assert_eq!(names(&folder).len(), 2);
    }
}
