//! Entries of the cache that carry their own content address, so that one that was damaged (cut by a full disk, changed
//! by hand) is made again and never run.

use crate::part::{self, Part};
use isobench_core::{sha256_hex, sha256_of};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Whether the entry is there and holds what it was sealed with.
pub fn is_whole(entry: &Path) -> bool {
    let sealed = fs::read_to_string(seal_of(entry));
    sealed.is_ok_and(|sealed| sha256_of_file(entry).is_ok_and(|sha256| sha256 == sealed.trim()))
}

/// The same for an entry that another program has made, such as a script of the set-up: one without a seal is taken as it
/// is and sealed, so that later damage is seen.
pub fn is_whole_since_first_seen(entry: &Path) -> bool {
    let seal = || -> io::Result<()> { part::write(&seal_of(entry), sha256_of_file(entry)?) };
    is_whole(entry) || (!seal_of(entry).exists() && seal().is_ok())
}

/// Gives the finished file its place as `entry`, with its seal.
///
/// # Errors
/// Returns an error if the file cannot be read or renamed, or the seal cannot be written.
pub fn put(finished: Part, entry: &Path) -> io::Result<()> {
    let sha256 = sha256_of_file(finished.path())?;
    // The entry first: a seal without one is not whole either, and who makes the same entry writes the same seal.
    finished.persist(entry)?;
    part::write(&seal_of(entry), sha256)
}

/// Writes an entry with its seal.
///
/// # Errors
/// Returns an error if a file cannot be written.
pub fn write(entry: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    part::write(entry, &content)?;
    part::write(&seal_of(entry), sha256_hex(content.as_ref()))
}

/// Lower-case hexadecimal SHA-256 of a file's content.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub fn sha256_of_file(path: &Path) -> io::Result<String> {
    sha256_of(File::open(path)?)
}

fn seal_of(entry: &Path) -> PathBuf {
    let mut name = OsString::from(entry);
    name.push(".sha256");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_entry_is_not_whole() {
        let dir = tempfile::tempdir().unwrap();
        let entry = dir.path().join("a.cwasm");
        let make = |content: &str| {
            let part = Part::beside(&entry).unwrap();
            fs::write(part.path(), content).unwrap();
            put(part, &entry).unwrap();
        };
        assert!(!is_whole(&entry));
        make("machine code");
        assert!(is_whole(&entry));
        for damaged in ["", "machine", "machine c0de"] {
            fs::write(&entry, damaged).unwrap();
            assert!(!is_whole(&entry), "{damaged}");
            make("machine code");
            assert!(is_whole(&entry));
        }
        fs::remove_file(seal_of(&entry)).unwrap();
        assert!(!is_whole(&entry), "an entry without a seal may be anything");

        assert!(is_whole_since_first_seen(&entry) && is_whole(&entry), "another program's entry is sealed once");
        fs::write(&entry, "damaged").unwrap();
        assert!(!is_whole_since_first_seen(&entry));
    }
}
