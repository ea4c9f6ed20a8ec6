//! A settings file: one configuration of an A/B run.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What runners are told by the harness itself and no settings file may change.
const RESERVED: [&str; 4] = ["ISOBENCH_COOKIE", "ISOBENCH_ROOT", "ISOBENCH_STATE", "ISOBENCH_PROGRAMS"];

/// What one side of an A/B run is measured under. In a file:
///
/// ```toml
/// name = "minimal kernel"          # default: the file's name
/// programs = "../other/release"    # runners and agents of another build; default: this one's
/// [env]                            # set for every runner of this side
/// ISOBENCH_KERNEL = "/boot/vmlinux-minimal"
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What reports call it.
    #[serde(default)]
    pub name: String,
    /// The folder that its runners and agents come from, relative to the file's.
    #[serde(default)]
    pub programs: Option<PathBuf>,
    /// The environment of its runners, beside their usual one.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// What is wrong with a settings file.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read.
    #[error("{}: {cause}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It says what cannot be.
    #[error("{}:{line}: {message}; a settings file has `name`, `programs` and a table `[env]`", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

impl Settings {
    /// Reads and checks a file.
    pub fn read(file: &Path) -> Result<Settings, SettingsError> {
        let text = std::fs::read_to_string(file).map_err(|cause| SettingsError::Io { file: file.into(), cause })?;
        let invalid = |at: usize, message: String| {
            let line = text[..at.min(text.len())].matches('\n').count() + 1;
            SettingsError::Invalid { file: file.into(), line, message }
        };
        let mut settings: Settings = toml::from_str(&text)
            .map_err(|e| invalid(e.span().map_or(0, |span| span.start), e.message().replace('\n', " ")))?;
        let at = |word: &str| text.find(word).unwrap_or(0);
        if let Some(name) = settings.env.keys().find(|name| RESERVED.contains(&name.as_str())) {
            return Err(invalid(at(name), format!("`{name}` is set by isobench itself")));
        }
        if let Some(name) = settings.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
            return Err(invalid(at(name), format!("`{name}` cannot be the name of a variable")));
        }
        if settings.name.is_empty() {
            settings.name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        }
        if let Some(programs) = &mut settings.programs {
            let folder = file.parent().unwrap_or(Path::new("")).join(&*programs);
            *programs = folder
                .canonicalize()
                .map_err(|e| invalid(at("programs"), format!("`programs`: {}: {e}", folder.display())))?;
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("side.toml");
        std::fs::create_dir(dir.path().join("built")).unwrap();
        std::fs::write(&file, text).unwrap();
        Settings::read(&file).map_err(|e| e.to_string().split_once("side.toml").unwrap().1.to_string())
    }

    #[test]
    fn a_file_names_itself_and_its_programs() {
        assert_eq!(read("").unwrap(), Settings { name: "side".into(), programs: None, env: BTreeMap::new() });
        let settings = read("name = 'x'\nprograms = 'built'\n[env]\nA = '1'").unwrap();
        assert_eq!((settings.name.as_str(), settings.env["A"].as_str()), ("x", "1"));
        assert!(settings.programs.unwrap().ends_with("built"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        assert!(read("name = 'x'\ncolour = 1").unwrap_err().starts_with(":2: unknown field `colour`"));
        assert!(read("[env]\nISOBENCH_ROOT = '/'").unwrap_err().starts_with(":2: `ISOBENCH_ROOT` is set by isobench"));
        assert!(read("programs = 'gone'").unwrap_err().starts_with(":1: `programs`: "));
        assert!(read("[env]\nA = 1").unwrap_err().starts_with(":2: invalid type"));
    }
}
