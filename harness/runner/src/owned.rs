//! Folders that isobench made itself. A folder is used, and things in it are read, run or removed, only after the checks
//! here: a path alone proves nothing, because anybody can point a variable at a folder or make one in `/tmp` first.

use crate::part;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Marks a state root.
const MARKER: &str = ".isobench-state";
/// Marks a cache (<https://bford.info/cachedir/>): backup programs leave such a folder out.
const TAG: &str = "CACHEDIR.TAG";
/// First line of every cache tag, fixed by the specification.
const TAG_SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55";
/// Second line of a tag that isobench wrote. `scripts/cache.sh` writes the same.
const TAG_OURS: &str = "# This folder is a cache of isobench.";

/// Reasons why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum OwnedError {
    /// The folder cannot be made or looked at.
    #[error("{}: {cause}; set {variable} to a folder that you can write", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The variable that chooses the folder.
        variable: &'static str,
        /// The system's error.
        cause: io::Error,
    },
    /// The path leads to something that isobench did not make, or that others can change.
    #[error("{} {why}, so isobench does not use it; {remedy}", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        why: String,
        /// What to do.
        remedy: String,
    },
}

/// Makes the folder of all runs' state folders, or checks the one that is there: a real folder of mode 0700 that
/// belongs to the caller and carries isobench's marker. An empty folder of the caller's is taken over.
///
/// # Errors
/// Returns an error if the folder cannot be made, is a symlink, belongs to another user, can be written by others, or
/// holds anything but has no marker.
pub fn state_root(path: &Path) -> Result<(), OwnedError> {
    let kind = Kind { variable: "ISOBENCH_STATE", mode: 0o700, others: 0o077 };
    kind.ensure(path, |folder| folder.join(MARKER).symlink_metadata().is_ok_and(|m| m.is_file()), MARKER, "")
}

/// Makes the cache, or checks the one that is there: a real folder that only the caller can write, with isobench's
/// `CACHEDIR.TAG`. An empty folder of the caller's is taken over.
///
/// # Errors
/// As of [`state_root`].
pub fn cache(path: &Path) -> Result<(), OwnedError> {
    let kind = Kind { variable: "ISOBENCH_CACHE", mode: 0o755, others: 0o022 };
    kind.ensure(path, is_our_cache, TAG, &format!("{TAG_SIGNATURE}\n{TAG_OURS}\n"))
}

fn is_our_cache(folder: &Path) -> bool {
    let text = fs::read_to_string(folder.join(TAG)).unwrap_or_default();
    let mut lines = text.lines();
    lines.next() == Some(TAG_SIGNATURE) && lines.next() == Some(TAG_OURS)
}

/// What a folder must be like.
struct Kind {
    variable: &'static str,
    /// Mode of a new folder.
    mode: u32,
    /// Mode bits that the folder may not have.
    others: u32,
}

impl Kind {
    fn ensure(&self, path: &Path, marked: impl Fn(&Path) -> bool, file: &str, text: &str) -> Result<(), OwnedError> {
        let io = |cause| self.io(path, cause);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io)?;
        }
        match DirBuilder::new().mode(self.mode).create(path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(io(e)),
            _ => {}
        }
        self.check_owner(path)?;
        if !marked(path) {
            self.refuse_content(path, &marked)?;
            // From here on nobody else can add anything; what was added before is seen by the second look.
            fs::set_permissions(path, fs::Permissions::from_mode(self.mode)).map_err(io)?;
            self.refuse_content(path, &marked)?;
            part::write(&path.join(file), text).map_err(io)?;
        }
        let mode = fs::symlink_metadata(path).map_err(io)?.mode() & 0o7777;
        if mode & self.others != 0 {
            return Err(self.refuse(path, format!("has mode {mode:04o}, so other users can reach into it")));
        }
        Ok(())
    }

    /// Refuses a folder without a marker that holds anything. The marker is the first thing in a folder of isobench's,
    /// so only another isobench that is writing the marker at this moment may have a file there.
    fn refuse_content(&self, path: &Path, marked: impl Fn(&Path) -> bool) -> Result<(), OwnedError> {
        let entries = fs::read_dir(path).map_err(|cause| self.io(path, cause))?;
        if entries.flatten().any(|entry| !part::is_part(&entry.file_name())) && !marked(path) {
            return Err(self.refuse(path, "is not empty and was not made by this version of isobench".into()));
        }
        Ok(())
    }

    fn io(&self, path: &Path, cause: io::Error) -> OwnedError {
        OwnedError::Io { path: path.into(), variable: self.variable, cause }
    }

    fn check_owner(&self, path: &Path) -> Result<(), OwnedError> {
        let meta = fs::symlink_metadata(path).map_err(|cause| self.io(path, cause))?;
        // SAFETY: geteuid cannot fail.
        let me = unsafe { libc::geteuid() };
        if meta.is_symlink() {
            return Err(self.refuse(path, "is a symbolic link".into()));
        }
        if !meta.is_dir() {
            return Err(self.refuse(path, "is not a folder".into()));
        }
        if meta.uid() != me {
            return Err(self.refuse(path, format!("belongs to user {}, not to you (user {me})", meta.uid())));
        }
        Ok(())
    }

    fn refuse(&self, path: &Path, why: String) -> OwnedError {
        let remedy = format!(
            "set {} to a new or empty folder of your own, or remove this one if an earlier isobench made it",
            self.variable
        );
        OwnedError::NotOurs { path: path.into(), why, remedy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_new_or_empty_folder_is_marked_and_found_again() {
        for (ensure, name) in [(state_root as fn(&Path) -> _, MARKER), (cache, TAG)] {
            let dir = folder();
            let path = dir.path().join("a/new");
            ensure(&path).unwrap();
            fs::create_dir(path.join("content")).unwrap();
            ensure(&path).unwrap();
            assert!(path.join(name).is_file());
            let empty = dir.path().join("empty");
            fs::create_dir(&empty).unwrap();
            fs::set_permissions(&empty, fs::Permissions::from_mode(0o755)).unwrap();
            ensure(&empty).unwrap();
        }
        let dir = folder();
        state_root(&dir.path().join("s")).unwrap();
        assert_eq!(fs::metadata(dir.path().join("s")).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_isobench_did_not_make_is_refused_untouched() {
        for ensure in [state_root as fn(&Path) -> Result<(), OwnedError>, cache] {
            let dir = folder();
            fs::create_dir(dir.path().join("thesis")).unwrap();
            let refused = ensure(dir.path()).unwrap_err().to_string();
            assert!(refused.contains("is not empty") && refused.contains("set ISOBENCH_"), "{refused}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was added");
            let link = folder();
            symlink(dir.path(), link.path().join("l")).unwrap();
            assert!(ensure(&link.path().join("l")).unwrap_err().to_string().contains("symbolic link"));
            fs::write(link.path().join("f"), "").unwrap();
            assert!(ensure(&link.path().join("f")).unwrap_err().to_string().contains("not a folder"));
        }
    }

    #[test]
    fn a_folder_that_others_can_change_is_refused() {
        for ensure in [state_root as fn(&Path) -> Result<(), OwnedError>, cache] {
            let dir = folder();
            let path = dir.path().join("s");
            ensure(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
            assert!(ensure(&path).unwrap_err().to_string().contains("mode 0777"));
        }
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        let dir = folder();
        let path = dir.path().join("s");
        state_root(&path).unwrap();
        if std::os::unix::fs::chown(&path, Some(65_534), Some(65_534)).is_err() {
            return crate::testing::skip("giving a folder to another user needs root");
        }
        assert!(state_root(&path).unwrap_err().to_string().contains("belongs to user 65534"));
    }

    #[test]
    fn a_link_in_the_place_of_the_marker_is_not_followed() {
        for (ensure, name) in [(state_root as fn(&Path) -> Result<(), OwnedError>, MARKER), (cache, TAG)] {
            let dir = folder();
            let victim = dir.path().join("victim");
            fs::write(&victim, "content").unwrap();
            let path = dir.path().join("s");
            fs::create_dir(&path).unwrap();
            symlink(&victim, path.join(name)).unwrap();
            assert!(ensure(&path).unwrap_err().to_string().contains("is not empty"));
            assert_eq!(fs::read_to_string(&victim).unwrap(), "content");
        }
    }

    #[test]
    fn processes_that_make_one_folder_at_once_all_get_it() {
        for ensure in [state_root as fn(&Path) -> Result<(), OwnedError>, cache] {
            for _ in 0..20 {
                let dir = folder();
                let path = dir.path().join("s");
                std::thread::scope(|scope| {
                    for n in 0..8 {
                        let path = &path;
                        scope.spawn(move || {
                            ensure(path).unwrap();
                            fs::write(path.join(format!("content-{n}")), "").unwrap();
                        });
                    }
                });
            }
        }
    }

    #[test]
    fn the_tag_of_another_program_does_not_make_a_cache_ours() {
        let dir = folder();
        fs::write(dir.path().join(TAG), format!("{TAG_SIGNATURE}\n# made by cargo\n")).unwrap();
        fs::write(dir.path().join("x"), "").unwrap();
        assert!(cache(dir.path()).is_err());
    }
}
