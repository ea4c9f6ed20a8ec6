//! `workload.toml`: a fixture folder, parsed strictly and checked against what lies in the folder.

mod folder;

use crate::limits::Limits;
use crate::words::Guest;
use folder::Kind;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The file that makes a folder a workload.
const FILE: &str = "workload.toml";

/// A workload whose files have been found; nothing has been built or run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Name: that of the folder.
    pub name: String,
    /// One line.
    pub summary: String,
    /// The folder.
    pub dir: PathBuf,
    /// What each guest is made from.
    pub sources: BTreeMap<Guest, GuestSource>,
    /// The inputs.
    pub cases: Vec<Case>,
    /// Limits, defaults filled in.
    pub limits: Limits,
}

/// What a guest is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuestSource {
    /// A file used as it is (`guest.js`, `guest.wasm`) or after assembling (`guest.wat`).
    File(PathBuf),
    /// A Rust crate to be built.
    Rust(PathBuf),
}

/// A named input with its expected answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Name; quick runs take the case called `small`, or the first one.
    pub name: String,
    /// The request's bytes.
    pub input: PathBuf,
    /// SHA-256 of the expected answer, lower-case hexadecimal.
    pub expected_sha256: String,
}

/// What is wrong with a fixture: file, line where there is one, what is wrong, what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {message}", file.display(), line.map(|l| format!(":{l}")).unwrap_or_default())]
pub struct WorkloadError {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: Option<usize>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl WorkloadError {
    /// The name of the folder with that file: that of the workload.
    pub fn folder(&self) -> String {
        self.file.parent().and_then(|p| p.file_name()).unwrap_or_default().to_string_lossy().into_owned()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    name: toml::Spanned<String>,
    summary: String,
    #[serde(rename = "case")]
    cases: Vec<WireCase>,
    guests: Option<WireGuests>,
    #[serde(default)]
    limits: WireLimits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireCase {
    name: toml::Spanned<String>,
    input: toml::Spanned<String>,
    expected: Option<toml::Spanned<String>>,
    expected_sha256: Option<toml::Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireGuests {
    js: Option<toml::Spanned<String>>,
    wasm: Option<toml::Spanned<String>>,
    rust: Option<toml::Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct WireLimits {
    memory_mib: Option<toml::Spanned<u64>>,
    frame_mib: Option<toml::Spanned<u64>>,
    call_deadline_ms: Option<toml::Spanned<u64>>,
    emulated_call_deadline_ms: Option<toml::Spanned<u64>>,
    start_deadline_ms: Option<toml::Spanned<u64>>,
    emulated_start_deadline_ms: Option<toml::Spanned<u64>>,
}

/// Reads one fixture folder.
pub fn load(dir: &Path) -> Result<Workload, WorkloadError> {
    let file = dir.join(FILE);
    folder::find(dir, FILE, Kind::File)?;
    let text = fs::read_to_string(&file).map_err(|e| WorkloadError {
        file: file.clone(),
        line: None,
        message: format!("{e}; a workload is a folder with a workload.toml (see workloads/README.md)"),
    })?;
    let wire: Wire = toml::from_str(&text).map_err(|e| WorkloadError {
        file: file.clone(),
        line: e.span().map(|s| line_of(&text, s.start)),
        message: e.message().trim().replace('\n', " "),
    })?;
    Checker { dir, file: &file, text: &text }.check(wire)
}

/// Reads every fixture folder below `root`, sorted by name. A broken one costs its own workload, not the others.
pub fn load_all(root: &Path) -> Result<Vec<Result<Workload, WorkloadError>>, WorkloadError> {
    let entries = fs::read_dir(root).map_err(|e| WorkloadError {
        file: root.into(),
        line: None,
        message: format!("{e}; run isobench inside its checkout, or set ISOBENCH_ROOT to it"),
    })?;
    let mut dirs: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.join(FILE).symlink_metadata().is_ok()).collect();
    dirs.sort();
    Ok(dirs.iter().map(|d| load(d)).collect())
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].matches('\n').count() + 1
}

struct Checker<'a> {
    dir: &'a Path,
    file: &'a Path,
    text: &'a str,
}

impl Checker<'_> {
    fn error(&self, at: std::ops::Range<usize>, message: String) -> WorkloadError {
        WorkloadError { file: self.file.into(), line: Some(line_of(self.text, at.start)), message }
    }

    fn check(&self, wire: Wire) -> Result<Workload, WorkloadError> {
        let folder = self.dir.file_name().unwrap_or_default().to_string_lossy();
        let name = wire.name.get_ref();
        if *name != folder {
            return Err(self
                .error(wire.name.span(), format!("name is `{name}`, but the folder is `{folder}`: make them equal")));
        }
        if !is_word(name) {
            return Err(self.error(wire.name.span(), format!("name `{name}`: use a–z, 0–9, `-` and `_`")));
        }
        let mut seen = BTreeSet::new();
        let mut cases = Vec::new();
        for case in wire.cases {
            cases.push(self.case(case, &mut seen)?);
        }
        if cases.is_empty() {
            return Err(self.error(0..0, "no [[case]]: add one with name, input and expected".into()));
        }
        Ok(Workload {
            sources: self.sources(wire.guests)?,
            limits: self.limits(wire.limits)?,
            name: wire.name.into_inner(),
            summary: wire.summary,
            dir: self.dir.into(),
            cases,
        })
    }

    fn case(&self, case: WireCase, seen: &mut BTreeSet<String>) -> Result<Case, WorkloadError> {
        let name = case.name.get_ref().clone();
        if !is_word(&name) {
            return Err(self.error(case.name.span(), format!("case `{name}`: use a–z, 0–9, `-` and `_`")));
        }
        if !seen.insert(name.clone()) {
            return Err(self.error(case.name.span(), format!("case `{name}` appears twice: give each its own name")));
        }
        let input = self.file(&case.input)?;
        let expected_sha256 = match (case.expected, case.expected_sha256) {
            (Some(path), None) => {
                let path = self.file(&path)?;
                let bytes =
                    fs::read(&path).map_err(|e| WorkloadError { file: path, line: None, message: e.to_string() })?;
                crate::sha256_hex(&bytes)
            }
            (None, Some(hash)) => {
                let text = hash.get_ref();
                if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
                    return Err(self.error(hash.span(), "expected_sha256: 64 lower-case hexadecimal digits".into()));
                }
                hash.into_inner()
            }
            _ => {
                let message = format!("case `{name}`: give either expected (a file) or expected_sha256, and not both");
                return Err(self.error(case.name.span(), message));
            }
        };
        Ok(Case { name, input, expected_sha256 })
    }

    /// A regular file inside the workload's own folder: reading a named pipe would wait forever.
    fn file(&self, path: &toml::Spanned<String>) -> Result<PathBuf, WorkloadError> {
        let full = self.inside(path)?;
        if full.is_file() {
            return Ok(full);
        }
        let what = if full.is_dir() { "is a folder" } else { "is no regular file" };
        Err(self.error(path.span(), format!("`{}` {what}: name a file", path.get_ref())))
    }

    /// A file or folder that exists and lies inside the workload's own folder.
    fn inside(&self, path: &toml::Spanned<String>) -> Result<PathBuf, WorkloadError> {
        let relative = Path::new(path.get_ref());
        let plain = relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        let full = self.dir.join(relative);
        let outside = || {
            self.error(
                path.span(),
                format!("`{}` leads out of the workload's folder: use a path inside it", path.get_ref()),
            )
        };
        if !plain {
            return Err(outside());
        }
        let (real, root) = match (full.canonicalize(), self.dir.canonicalize()) {
            (Ok(real), Ok(root)) => (real, root),
            _ => {
                return Err(
                    self.error(path.span(), format!("`{}` does not exist in {}", path.get_ref(), self.dir.display()))
                );
            }
        };
        if real.starts_with(root) { Ok(full) } else { Err(outside()) }
    }

    fn sources(&self, guests: Option<WireGuests>) -> Result<BTreeMap<Guest, GuestSource>, WorkloadError> {
        let mut sources = BTreeMap::new();
        let (js, wasm, rust) = match guests {
            Some(g) => {
                let file = |p: Option<toml::Spanned<String>>| p.map(|p| self.file(&p)).transpose();
                (file(g.js)?, file(g.wasm)?, g.rust.map(|p| self.inside(&p)).transpose()?)
            }
            None => {
                let file = |name| folder::find(self.dir, name, Kind::File);
                let wasm = file("guest.wasm")?.map_or_else(|| file("guest.wat"), |file| Ok(Some(file)))?;
                (file("guest.js")?, wasm, folder::find(self.dir, "rust", Kind::Folder)?)
            }
        };
        if let Some(rust) = rust {
            folder::check_below(self.dir, &rust)?;
            let manifest = rust.join("Cargo.toml");
            if !manifest.is_file() {
                return Err(WorkloadError {
                    file: manifest,
                    line: None,
                    message: "missing: rust/ is a Rust crate with a src/main.rs".into(),
                });
            }
            sources.insert(Guest::Native, GuestSource::Rust(rust.clone()));
            sources.insert(Guest::Wasm, GuestSource::Rust(rust));
        }
        if let Some(wasm) = wasm {
            sources.insert(Guest::Wasm, GuestSource::File(wasm));
        }
        if let Some(js) = js {
            sources.insert(Guest::Js, GuestSource::File(js));
        }
        if sources.is_empty() {
            return Err(self.error(0..0, "no guest: add guest.js, guest.wasm, guest.wat or rust/".into()));
        }
        Ok(sources)
    }

    fn limits(&self, wire: WireLimits) -> Result<Limits, WorkloadError> {
        let mut limits = Limits::default();
        let set = |value: Option<toml::Spanned<u64>>, unit: u64, most: u64, field: &mut u64| {
            let Some(value) = value else { return Ok(()) };
            if *value.get_ref() == 0 || *value.get_ref() > most {
                return Err(self.error(value.span(), format!("a limit of {}: use 1 to {most}", value.get_ref())));
            }
            *field = value.get_ref() * unit;
            Ok(())
        };
        set(wire.memory_mib, 1 << 20, 4096, &mut limits.memory_bytes)?;
        set(wire.frame_mib, 1 << 20, 1024, &mut limits.frame_bytes)?;
        set(wire.call_deadline_ms, 1, 600_000, &mut limits.call_deadline_ms)?;
        set(wire.emulated_call_deadline_ms, 1, 600_000, &mut limits.emulated_call_deadline_ms)?;
        set(wire.start_deadline_ms, 1, 600_000, &mut limits.start_deadline_ms)?;
        set(wire.emulated_start_deadline_ms, 1, 600_000, &mut limits.emulated_start_deadline_ms)?;
        Ok(limits)
    }
}

fn is_word(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}
