//! The compiled code that a runtime keeps on disk by itself. Whether a start takes it is the runtime's decision: it
//! looks the code up by the absolute path of each script and checks version, flags and content. So the runtime is asked.

use crate::script::Home;
use isobench_core::Fault;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A runtime's cache of compiled code for one guest.
pub struct CodeCache<'a> {
    /// The guest's home.
    pub home: &'a Home,
    /// The folder in which the runtime keeps the code. It lies in the guest's home.
    pub folder: PathBuf,
    /// The scripts whose code must come from the cache.
    pub scripts: [&'a Path; 2],
    /// Longest wait for another run that makes the same cache.
    pub allowed: Duration,
    /// Loads the guest once, by which the runtime fills the cache.
    pub load: &'a dyn Fn() -> Result<(), Fault>,
    /// Loads the guest once. Returns what the runtime reports about its cache.
    pub report: &'a dyn Fn() -> Result<String, String>,
    /// Whether the report says that the code of this script came from the cache.
    pub accepted: fn(report: &str, script: &str) -> bool,
}

impl CodeCache<'_> {
    /// Makes sure that a start takes its code from the cache. A cache that the runtime rejects is made anew, once.
    ///
    /// # Errors
    /// Returns the fault of a guest that cannot be loaded, or a fault that says that the runtime rejects its own cache.
    pub fn ensure(&self) -> Result<(), Fault> {
        let failed = |e: io::Error| Fault::backend(format!("{}: {e}", self.folder.display()));
        // Two runs may share a cache: one must not remove what the other has just made.
        let _lock = self.home.lock(self.allowed)?;
        if self.folder.exists() {
            match self.rejected() {
                Ok(None) => return Ok(()),
                // Below the home of this guest, which isobench made inside its own cache.
                Ok(Some(_)) => fs::remove_dir_all(&self.folder).map_err(failed)?,
                // The next load fails too, and its words are only those of the guest.
                Err(_) => {}
            }
        }
        (self.load)()?;
        match self.rejected().map_err(Fault::backend)? {
            None => Ok(()),
            Some(script) => Err(Fault::backend(format!(
                "the runtime rejects the code that it has just compiled of {script}: nothing of this row would be \
                 compiled ahead. Is the disk full, or {} not writable?",
                self.folder.display()
            ))),
        }
    }

    /// The first script whose code does not come from the cache.
    fn rejected(&self) -> Result<Option<String>, String> {
        let report = (self.report)()?;
        let mut names = self.scripts.iter().filter_map(|script| script.file_name()?.to_str());
        Ok(names.find(|name| !(self.accepted)(&report, name)).map(String::from))
    }
}
