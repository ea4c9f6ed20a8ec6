//! A guest as a unit that a platform takes: a folder of files, and how to deploy them.

mod platforms;

pub use platforms::{PLATFORMS, Platform};

use crate::adapter::{self, Unit};
use isobench_core::{Fault, Guest};
use isobench_runner::agents::AgentPackage;
use isobench_runner::{RunContext, Target, contract};
use platforms::{Runs, Text};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The adapter's program, among ours.
pub const ADAPTER: &str = "isobench-function";

/// What the agent is called in a unit.
const AGENT: &str = "agent";

/// Why there is no unit.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The platform cannot run that kind of guest.
    #[error("{} takes no {guest} guest: it takes {}", platform.name, names(platform.guests))]
    Guest {
        /// The platform.
        platform: &'static Platform,
        /// The guest.
        guest: Guest,
    },
    /// What is there already is kept.
    #[error("{}: exists and is not empty: name another folder, or remove it", .0.display())]
    NotEmpty(PathBuf),
    /// A part is missing or could not be made.
    #[error(transparent)]
    Part(#[from] Fault),
    /// A file could not be read or written.
    #[error("{}: {error}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What happened.
        error: io::Error,
    },
}

fn names(guests: &[Guest]) -> String {
    guests.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A file of a unit.
struct File {
    name: String,
    content: Content,
    program: bool,
}

enum Content {
    Text(String),
    Copy(PathBuf),
}

/// Writes the unit of `target` for `platform` into `folder`, which is made. Answers with the files' names in order. The
/// same guest, programs and limits make the same bytes.
///
/// # Errors
/// Nothing is left then.
pub fn export(
    platform: &'static Platform,
    ctx: &RunContext,
    target: &Target,
    folder: &Path,
) -> Result<Vec<String>, ExportError> {
    if !platform.guests.contains(&target.guest) {
        return Err(ExportError::Guest { platform, guest: target.guest });
    }
    contract::check_guest(target.guest, &target.artifact)?;
    let failed = |file: &Path| {
        let file = file.to_path_buf();
        move |error| ExportError::File { file, error }
    };
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(ExportError::NotEmpty(folder.into()));
    }
    let files = files(platform, ctx, target, folder)?;
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(above).map_err(failed(above))?;
    // Under another name until it is whole.
    let part = tempfile::Builder::new().prefix(".isobench-export-").tempdir_in(above).map_err(failed(above))?;
    for file in &files {
        let path = part.path().join(&file.name);
        write(file, &path).map_err(failed(&path))?;
    }
    fs::set_permissions(part.path(), Permissions::from_mode(0o755)).map_err(failed(part.path()))?;
    fs::rename(part.path(), folder).map_err(failed(folder))?;
    // Its folder has gone.
    let _ = part.keep();
    Ok(files.into_iter().map(|file| file.name).collect())
}

fn write(file: &File, path: &Path) -> io::Result<()> {
    fs::create_dir_all(path.parent().expect("joined to a folder"))?;
    match &file.content {
        Content::Text(text) => fs::write(path, text)?,
        Content::Copy(from) => drop(fs::copy(from, path)?),
    }
    fs::set_permissions(path, Permissions::from_mode(if file.program { 0o755 } else { 0o644 }))
}

fn files(platform: &Platform, ctx: &RunContext, target: &Target, folder: &Path) -> Result<Vec<File>, ExportError> {
    let copy = |name: &str, from: PathBuf, program| File { name: name.into(), content: Content::Copy(from), program };
    let mut files = Vec::new();
    let mut words = vec![
        ("@WORKLOAD@", target.workload.clone()),
        ("@GUEST@", target.guest.to_string()),
        ("@FOLDER@", folder.file_name().unwrap_or_default().to_string_lossy().into_owned()),
    ];
    if platform.brings_engine() {
        let name = if target.guest == Guest::Wasm { "guest.wasm" } else { "guest.js" };
        files.push(copy(name, target.artifact.clone(), false));
        let limits = serde_json::json!({ "frame": target.limits.frame_bytes, "memory": target.limits.memory_bytes });
        files.push(File { name: "limits.json".into(), content: Content::Text(limits.to_string()), program: false });
    } else {
        let package = AgentPackage::pack(ctx, target)?;
        let guest_file = package.guest.as_ref().map(|_| match target.guest {
            Guest::Wasm => "guest.prepared",
            _ => "guest.js",
        });
        words.extend(agents_words(&package, target, guest_file));
        if let Runs::Adapter(protocol, program) = platform.runs {
            let unit = Unit {
                protocol,
                workload: target.workload.clone(),
                guest: target.guest,
                agent: AGENT.into(),
                guest_file: guest_file.map(Into::into),
                limits: target.limits.clone(),
            };
            let text = serde_json::to_string_pretty(&unit).expect("plain data") + "\n";
            files.push(File { name: adapter::UNIT.into(), content: Content::Text(text), program: false });
            files.push(copy(program, present(ctx.programs.join(ADAPTER))?, true));
        }
        files.push(copy(AGENT, package.program, true));
        files.extend(guest_file.zip(package.guest).map(|(name, from)| copy(name, from, false)));
    }
    for Text { name, text, only } in platform.texts {
        if only.is_none_or(|guest| guest == target.guest) {
            let content = Content::Text(fill(text, &words));
            files.push(File { name: fill(name, &words), content, program: false });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// What stands in texts for how the agent is called.
fn agents_words(package: &AgentPackage, target: &Target, guest_file: Option<&str>) -> Vec<(&'static str, String)> {
    let file = guest_file.unwrap_or_default();
    let args = package.args("@SOCKET@", "@GUEST_PATH@");
    // A list of strings is the same in JSON and in Python.
    let args = serde_json::to_string(&args).expect("strings");
    let seconds = |duration: std::time::Duration| duration.as_secs_f64().to_string();
    vec![
        ("@ARGS@", args),
        ("@GUEST_FILE@", file.into()),
        ("@GUEST_FILE_OR_AGENT@", if file.is_empty() { AGENT } else { file }.into()),
        ("@FRAME_BYTES@", target.limits.frame_bytes.to_string()),
        ("@START_S@", seconds(target.limits.start_deadline(false))),
        ("@CALL_S@", seconds(target.limits.call_deadline(false))),
    ]
}

fn present(program: PathBuf) -> Result<PathBuf, Fault> {
    if program.is_file() {
        return Ok(program);
    }
    Err(Fault::backend(format!("{} is missing: `make build` builds it", program.display())))
}

fn fill(text: &str, words: &[(&str, String)]) -> String {
    words.iter().fold(text.to_string(), |text, (word, with)| text.replace(word, with))
}
