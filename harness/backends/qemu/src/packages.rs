//! The distribution's cloud kernel, as a package that is downloaded and unpacked but not installed.

use crate::kernel::{KERNEL_VARIABLE, Missing};
use isobench_runner::helper::Helper;
use isobench_runner::part::Part;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The packages that depend on the current cloud kernel: Debian's and Ubuntu's.
const META_PACKAGES: [&str; 2] = ["linux-image-cloud-amd64", "linux-image-virtual"];

/// Longest wait for apt's own database.
const ASK_DEADLINE: Duration = Duration::from_secs(30);
/// Longest wait for a download; 27 MB on Debian, 80 MB with modules on Ubuntu.
const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(120);
/// Longest wait for unpacking.
const UNPACK_DEADLINE: Duration = Duration::from_secs(60);

/// An unpacked kernel package; the folder goes when this is dropped.
#[derive(Debug)]
pub struct Unpacked {
    /// Everything of the package.
    pub dir: Part,
    /// The bzImage in it.
    pub image: PathBuf,
    /// Package and version.
    pub source: String,
}

/// Downloads and unpacks the kernel package, and the package of its modules where it has one, below `cache`.
pub fn fetch_kernel(cache: &Path) -> Result<Unpacked, Missing> {
    let failed = |reason: String| {
        Missing::new(
            format!("no kernel for the guest: {reason}"),
            format!("`sudo apt-get update` and a network once, or {KERNEL_VARIABLE}=/path/to/vmlinux-or-bzImage"),
        )
    };
    let (image, modules) = current_packages().map_err(failed)?;
    // With this process's owner tag in its name: what is left after a kill goes with the next `isobench clean`.
    let part = Part::beside(&cache.join("package")).map_err(|e| failed(e.to_string()))?;
    let dir = part.path();
    fs::create_dir(dir).map_err(|e| failed(format!("{}: {e}", dir.display())))?;
    let mut names = vec![image];
    names.extend(modules);
    ask(Command::new("apt-get").arg("download").args(&names).current_dir(dir), DOWNLOAD_DEADLINE).map_err(failed)?;
    let mut source = Vec::new();
    for package in files(dir, |name| name.ends_with(".deb")) {
        ask(Command::new("dpkg-deb").arg("-x").arg(&package).arg(dir), UNPACK_DEADLINE).map_err(failed)?;
        let name = package.file_stem().unwrap_or_default().to_string_lossy();
        // `linux-image-6.1.0-56-cloud-amd64_6.1.192-2_amd64`: name, version, architecture.
        source.push(name.rsplit_once('_').map_or(&*name, |(name, _)| name).replace('_', " "));
        fs::remove_file(&package).map_err(|e| failed(format!("{}: {e}", package.display())))?;
    }
    let kernel = files(&dir.join("boot"), |name| name.starts_with("vmlinuz-")).pop();
    let image = kernel.ok_or_else(|| failed(format!("{names:?} hold no boot/vmlinuz-*")))?;
    source.sort();
    Ok(Unpacked { dir: part, image, source: source.join(", ") })
}

/// The packages of the current kernel and of its modules, where those are apart.
fn current_packages() -> Result<(String, Option<String>), String> {
    let mut why = String::new();
    for meta in META_PACKAGES {
        match dependency(meta, "linux-image-") {
            Ok(Some(image)) => {
                let modules = dependency(&image, "linux-modules-")?;
                return Ok((image, modules));
            }
            Ok(None) => why = format!("apt knows neither {} nor {}", META_PACKAGES[0], META_PACKAGES[1]),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// The first package of that prefix on which `package` depends.
fn dependency(package: &str, prefix: &str) -> Result<Option<String>, String> {
    // An unknown package is no error but an empty answer to us; apt-cache itself ends with 100.
    match ask(Command::new("apt-cache").args(["depends", package]), ASK_DEADLINE) {
        Ok(text) => Ok(depends(&text).find(|name| name.starts_with(prefix)).map(str::to_string)),
        Err(error) if error.contains("No packages found") || error.contains("Unable to locate") => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names in apt-cache's answer; alternatives have a bar before `Depends`.
fn depends(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim_start_matches([' ', '|']).strip_prefix("Depends: "))
}

fn files(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        entries.filter(|e| e.file_name().to_str().is_some_and(&wanted)).map(|e| e.path()).collect();
    files.sort();
    files
}

/// Runs a program of the host with a deadline and answers with what it printed.
pub fn ask(command: &mut Command, allowed: Duration) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut helper = Helper::spawn(command).map_err(|e| format!("{name}: {e}"))?;
    let out = drain(helper.child().stdout.take());
    let err = drain(helper.child().stderr.take());
    let status = helper.wait(allowed)?;
    let text = |reader: std::thread::JoinHandle<String>| reader.join().unwrap_or_default();
    match status.success() {
        true => Ok(text(out)),
        false => Err(format!("{name}: {status}: {}", text(err).trim())),
    }
}

/// Reads on a thread of its own, so that a full pipe stops nobody.
fn drain(stream: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What could be read is all there is to say.
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_packages_are_read_out_of_apts_answer() {
        let debian = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(depends(debian).collect::<Vec<_>>(), ["linux-image-6.1.0-56-cloud-amd64"]);
        let ubuntu = "linux-image-6.8.0-88-generic\n  Depends: kmod\n |Depends: linux-base\n  Depends: linux-modules-6.8.0-88-generic\n  Conflicts: x\n";
        assert_eq!(depends(ubuntu).collect::<Vec<_>>(), ["kmod", "linux-base", "linux-modules-6.8.0-88-generic"]);
    }

    #[test]
    fn a_program_that_hangs_or_is_missing_is_named() {
        let hung = ask(Command::new("sleep").arg("60"), Duration::from_millis(20)).unwrap_err();
        assert_eq!(hung, "sleep: not done after 0 s");
        assert!(ask(&mut Command::new("/nonexistent"), ASK_DEADLINE).unwrap_err().starts_with("/nonexistent: "));
    }
}
