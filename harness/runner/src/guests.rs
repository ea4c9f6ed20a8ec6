//! Fixtures to artifacts: what a workload's guests are made of, built where they need building, content-addressed.

use crate::agents::{self, output_of, run_to_end};
use crate::part::{self, Part};
use crate::place::Places;
use crate::{sealed, usable};
use isobench_core::workload::GuestSource;
use isobench_core::{Guest, Workload, sha256_hex};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Longest wait for one guest to build: a cold Rust toolchain with the standard library needs a minute or two.
const BUILD_DEADLINE: Duration = Duration::from_secs(600);

/// The file beside the guests that names the compiler that was used last.
const LAST_COMPILER: &str = "compiler";

/// Longest wait for `rustc` to say its version.
const COMPILER_DEADLINE: Duration = Duration::from_secs(60);

/// A guest's artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256.
    pub sha256: String,
}

/// A workload with its artifacts, or the reason why one is absent.
#[derive(Debug, Clone)]
pub struct Built {
    /// The workload.
    pub workload: Workload,
    /// Artifacts by guest; guests that the workload does not have are not in it.
    pub artifacts: BTreeMap<Guest, Result<Artifact, String>>,
}

/// Builds the `wanted` guests of `workload` that are not in the cache yet. `say` hears what takes long.
pub fn build(places: &Places, workload: Workload, wanted: &dyn Fn(Guest) -> bool, say: &dyn Fn(&str)) -> Built {
    let artifacts = workload
        .sources
        .iter()
        .filter(|(guest, _)| wanted(**guest))
        .map(|(&guest, source)| {
            let artifact = build_one(places, &workload, guest, source, say).and_then(|path| {
                let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                Ok(Artifact { sha256: sha256_hex(&bytes), path })
            });
            (guest, artifact)
        })
        .collect();
    Built { workload, artifacts }
}

fn build_one(
    places: &Places,
    workload: &Workload,
    guest: Guest,
    source: &GuestSource,
    say: &dyn Fn(&str),
) -> Result<PathBuf, String> {
    match source {
        GuestSource::File(path) if path.extension().is_some_and(|e| e == "wat") => {
            assemble(places, &workload.name, path)
        }
        GuestSource::File(path) => Ok(path.clone()),
        GuestSource::Rust(dir) => from_crate(places, &workload.name, guest, dir, say),
    }
}

/// The guest of a Rust crate: from the cache, or built.
fn from_crate(
    places: &Places,
    workload: &str,
    guest: Guest,
    dir: &Path,
    say: &dyn Fn(&str),
) -> Result<PathBuf, String> {
    let guests = places.cache.join("guests");
    let source = || Ok::<_, String>(format!("{workload}-{guest}-{}", source_key(places, dir, guest)?));
    let compiler = match compiler_key() {
        Ok(compiler) => compiler,
        // A guest that has been built from these sources needs no compiler.
        Err(missing) => return built_before(&guests, &source()?).map_err(|why| format!("{missing}{why}")),
    };
    remember(&guests, &compiler);
    let path = guests.join(format!("{}-{compiler}", source()?));
    if sealed::is_whole(&path) {
        return Ok(path);
    }
    say(&format!("building the {guest} guest of {workload}"));
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let part = Part::beside(&path).map_err(failed)?;
    match guest {
        Guest::Native => build_native(places, dir, part.path())?,
        _ => build_wasm(places, workload, part.path())?,
    }
    // The first build of a crate makes its Cargo.lock, which is one of the sources.
    let path = guests.join(format!("{}-{compiler}", source()?));
    sealed::put(part, &path).map_err(failed)?;
    Ok(path)
}

/// `.wat` to `.wasm`; the error names file, line and column.
fn assemble(places: &Places, workload: &str, path: &Path) -> Result<PathBuf, String> {
    let wasm = wat::parse_file(path).map_err(|e| e.to_string().trim().to_string())?;
    // With the workload's name, for a backend that refuses it names this file.
    let out = places.cache.join("guests").join(format!("{workload}-wat-{}.wasm", &sha256_hex(&wasm)[..16]));
    if !sealed::is_whole(&out) {
        let failed = |e: std::io::Error| format!("{}: {e}", out.display());
        let part = Part::beside(&out).map_err(failed)?;
        fs::write(part.path(), wasm).and_then(|()| sealed::put(part, &out)).map_err(failed)?;
    }
    Ok(out)
}

/// The native agent: the workload's own crate, a static program where the platform can link one.
fn build_native(places: &Places, dir: &Path, out: &Path) -> Result<(), String> {
    let manifest = dir.join("Cargo.toml");
    // A target folder for each workload: in a shared one, packages of one name overwrite each other's program.
    let folder = sha256_hex(dir.as_os_str().as_encoded_bytes());
    let target_dir = places.cache.join("guests/target").join(&folder[..16]);
    // Cargo joins folders by colons, and LLVM's linker fills in what follows a percent sign.
    usable::without(&target_dir, ":%", "a build with Cargo", usable::CACHE_REMEDY).map_err(|e| e.to_string())?;
    let mut command = Command::new("cargo");
    command
        .args(["build", "--release", "--quiet", "--message-format", "json-render-diagnostics", "--manifest-path"])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&target_dir)
        // Cargo's configuration (static linking, the explicit target) is found from the working directory upwards.
        .current_dir(&places.root);
    let messages = output_of(&mut command, BUILD_DEADLINE).map_err(|e| format!("{}: {e}", manifest.display()))?;
    match programs(&messages).as_slice() {
        [built] => fs::copy(built, out).map(drop).map_err(|e| format!("{}: {e}", built.display())),
        [] => Err(format!("{}: no program was built: the crate needs a src/main.rs", manifest.display())),
        many => Err(format!("{}: the crate has {} programs, but a guest is one", manifest.display(), many.len())),
    }
}

/// Returns the paths of the programs that Cargo says it has built, from its JSON messages
/// (<https://doc.rust-lang.org/cargo/reference/external-tools.html>).
fn programs(messages: &str) -> Vec<PathBuf> {
    let message = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok();
    messages.lines().filter_map(message).filter_map(|m| Some(m["executable"].as_str()?.into())).collect()
}

/// The Wasm module of a workload that has no committed one, by the same script that makes the committed ones.
fn build_wasm(places: &Places, workload: &str, out: &Path) -> Result<(), String> {
    let mut command = Command::new(places.workloads().join("build-wasm.sh"));
    command.arg("--out").arg(out).arg(workload).current_dir(&places.root);
    run_to_end(&mut command, BUILD_DEADLINE)
}

/// Content address of the sources of a Rust guest: its own folder, the guest crate, Cargo's configuration.
fn source_key(places: &Places, dir: &Path, guest: Guest) -> Result<String, String> {
    let mut files = Vec::new();
    for root in [dir.to_path_buf(), places.root.join("harness/guest"), places.root.join(".cargo")] {
        collect(&root, &mut files);
    }
    files.sort();
    let mut text = format!("{guest}\n");
    for file in files {
        let bytes = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let name = file.strip_prefix(&places.root).unwrap_or(&file);
        text.push_str(&format!("{} {}\n", name.display(), sha256_hex(&bytes)));
    }
    Ok(sha256_hex(text.as_bytes())[..16].to_string())
}

/// Content address of the Rust toolchain.
fn compiler_key() -> Result<String, String> {
    let rustc = agents::text_of(Command::new("rustc").arg("-vV"), COMPILER_DEADLINE)
        .map_err(|e| format!("{e}; Rust guests need a Rust toolchain"))?;
    Ok(sha256_hex(rustc.as_bytes())[..16].to_string())
}

/// Keeps which compiler was used last, for runs without one.
fn remember(guests: &Path, compiler: &str) {
    let last = guests.join(LAST_COMPILER);
    if fs::read_to_string(&last).is_ok_and(|key| key == compiler) {
        return;
    }
    // Where it cannot be kept, a guest built by several compilers wants one of them.
    let _ = part::write(&last, compiler);
}

/// The whole guest in the cache that was built from these sources by the compiler that was used last here. Where no other
/// is there, whichever compiler built it.
///
/// # Errors
/// Returns an addition to the reason why there is no compiler: empty if no guest is there, else why none is taken.
fn built_before(guests: &Path, source: &str) -> Result<PathBuf, String> {
    let last = fs::read_to_string(guests.join(LAST_COMPILER)).unwrap_or_default();
    let by_last = guests.join(format!("{source}-{last}"));
    if sealed::is_whole(&by_last) {
        return Ok(by_last);
    }
    let entries = fs::read_dir(guests).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(source));
    let found: Vec<PathBuf> = named.map(|entry| entry.path()).filter(|path| sealed::is_whole(path)).collect();
    match found.as_slice() {
        [] => Err(String::new()),
        [only] => Ok(only.clone()),
        many => Err(format!("; {} holds the guests of {} other compilers", guests.display(), many.len())),
    }
}

/// Every file below `dir` but build output.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        match path.is_dir() {
            true if entry.file_name() == "target" => {}
            true => collect(&path, files),
            false => files.push(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_compiler_the_guest_of_the_last_one_is_taken_and_never_any_of_many() {
        let dir = tempfile::tempdir().unwrap();
        let guest = |compiler: &str| dir.path().join(format!("echo-native-0-{compiler}"));
        let built = |compiler: &str| sealed::write(&guest(compiler), compiler).unwrap();
        let found = || built_before(dir.path(), "echo-native-0");
        assert_eq!(found(), Err(String::new()));
        built("a");
        assert_eq!(found(), Ok(guest("a")));
        built("b");
        let why = found().unwrap_err();
        assert!(why.contains("the guests of 2 other compilers"), "{why}");
        remember(dir.path(), "a");
        assert_eq!(found(), Ok(guest("a")));
        remember(dir.path(), "b");
        assert_eq!(found(), Ok(guest("b")));
        fs::write(guest("b"), "damaged").unwrap();
        assert_eq!(found(), Ok(guest("a")), "the only whole one");
    }
}
