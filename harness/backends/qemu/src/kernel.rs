//! The guest's kernel: the one `ISOBENCH_KERNEL` names, else the distribution's cloud kernel, fetched as a package and
//! never installed. Either is imported into the cache once: the kernel proper taken out of its bzImage, the modules that
//! the channel needs unpacked and in the order of loading.

use crate::packages;
use crate::unpack;
use isobench_core::sha256_hex;
use isobench_runner::part::{self, Part};
use isobench_runner::{RunContext, sealed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Names a kernel to use instead of the distribution's: a `vmlinux` or a bzImage.
pub const KERNEL_VARIABLE: &str = "ISOBENCH_KERNEL";
/// Names the folder of its modules, searched with all below it; a kernel without one has all that is needed built in.
pub const MODULES_VARIABLE: &str = "ISOBENCH_KERNEL_MODULES";

/// The modules that make a virtio-serial port on the `microvm` machine, those they need not named.
const PORT_MODULES: [&str; 2] = ["virtio_mmio", "virtio_console"];

/// The file that describes an imported kernel.
const RECORD: &str = "kernel.json";
/// The file that says which imported kernel is the distribution's, with those modules.
const DISTRIBUTION: &str = "distribution.json";

/// A kernel in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// What QEMU is given: the `vmlinux`, or the bzImage where the one could not be taken out of the other.
    pub image: PathBuf,
    /// `uname -r` of the guest.
    pub release: String,
    /// Package and version, or the file that `ISOBENCH_KERNEL` named.
    pub source: String,
    /// SHA-256 of the kernel as it came, before anything was taken out of it.
    pub sha256: String,
    /// Modules to load, in order.
    pub modules: Vec<PathBuf>,
}

/// Why there is something we cannot do without, and what a person can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; {remedy}")]
pub struct Missing {
    /// Why.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

impl Missing {
    /// Something is missing.
    pub fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Missing {
        Missing { reason: reason.into(), remedy: remedy.into() }
    }

    fn file(path: &Path, error: &io::Error) -> Missing {
        Missing::new(format!("{}: {error}", path.display()), "see that the file can be read and the cache written to")
    }
}

impl Kernel {
    /// The kernel to boot, fetched and imported if it is not in the cache yet (27 MB, once).
    pub fn find(ctx: &RunContext) -> Result<Kernel, Missing> {
        Kernel::with(ctx, &PORT_MODULES, DISTRIBUTION)
    }

    /// The same with other modules; `record` is the name of the file that remembers it.
    pub fn with(ctx: &RunContext, wanted: &[&str], record: &str) -> Result<Kernel, Missing> {
        let cache = ctx.cache.join("kernel");
        fs::create_dir_all(&cache).map_err(|e| Missing::file(&cache, &e))?;
        if let Some(kernel) = Kernel::named(ctx, wanted) {
            return kernel;
        }
        let distribution = cache.join(record);
        if let Some(kernel) = Kernel::read(&distribution) {
            return Ok(kernel);
        }
        let unpacked = packages::fetch_kernel(&cache)?;
        let kernel = Kernel::import(&cache, &unpacked.image, &unpacked.source, Some(unpacked.dir.path()), wanted)?;
        kernel.write(&distribution).map_err(|e| Missing::file(&distribution, &e))?;
        Ok(kernel)
    }

    /// The kernel that `ISOBENCH_KERNEL` names, if it does, with those of `wanted` of its modules that are not built in.
    pub fn named(ctx: &RunContext, wanted: &[&str]) -> Option<Result<Kernel, Missing>> {
        let image = PathBuf::from(std::env::var_os(KERNEL_VARIABLE)?);
        let modules = std::env::var_os(MODULES_VARIABLE).map(PathBuf::from);
        let cache = ctx.cache.join("kernel");
        let made = fs::create_dir_all(&cache).map_err(|e| Missing::file(&cache, &e));
        let source = image.display().to_string();
        Some(made.and_then(|()| Kernel::import(&cache, &image, &source, modules.as_deref(), wanted)))
    }

    /// Puts a kernel into the cache, under its release and the hash of its parts: those of `wanted` and of what they
    /// depend on that are found below the folder `modules`.
    pub fn import(
        cache: &Path,
        image: &Path,
        source: &str,
        modules: Option<&Path>,
        wanted: &[&str],
    ) -> Result<Kernel, Missing> {
        let bytes = fs::read(image).map_err(|e| Missing::file(image, &e))?;
        let sha256 = sha256_hex(&bytes);
        let modules = modules.map_or_else(|| Ok(Vec::new()), |dir| find_modules(dir, wanted))?;
        let parts: String = modules.iter().map(|(name, ko)| format!("{name} {}\n", sha256_hex(ko))).collect();
        let key = &sha256_hex(format!("{source}\n{sha256}\n{parts}").as_bytes())[..16];

        // A kernel whose compression we don't know boots all the same, unpacking itself on the guest's processor.
        let (name, kernel) = match unpack::vmlinux(&bytes) {
            _ if bytes.starts_with(unpack::ELF) => ("vmlinux", bytes),
            Ok(vmlinux) => ("vmlinux", vmlinux),
            Err(_) if bytes.get(0x202..0x206) == Some(b"HdrS") => ("bzImage", bytes),
            Err(error) => {
                return Err(Missing::new(
                    format!("{} is no x86 Linux kernel: {error}", image.display()),
                    format!("let {KERNEL_VARIABLE} name a vmlinux or a bzImage"),
                ));
            }
        };
        let release = release(&kernel).unwrap_or_else(|| "unknown".into());
        let home = cache.join(format!("{release}-{key}"));
        if let Some(kernel) = Kernel::read(&home.join(RECORD)) {
            return Ok(kernel);
        }
        let imported = Kernel {
            image: home.join(name),
            release,
            source: source.into(),
            sha256,
            modules: modules.iter().map(|(name, _)| home.join(format!("{name}.ko"))).collect(),
        };
        // Made aside and renamed, so that whoever sees the folder sees all of it.
        let fill = || -> io::Result<()> {
            if home.exists() {
                // Damaged. Only an import makes a folder of such a name below isobench's own cache.
                fs::remove_dir_all(&home)?;
            }
            let part = Part::beside(&home)?;
            fs::create_dir(part.path())?;
            sealed::write(&part.path().join(name), &kernel)?;
            for (name, ko) in &modules {
                sealed::write(&part.path().join(format!("{name}.ko")), ko)?;
            }
            imported.write(&part.path().join(RECORD))?;
            match part.persist(&home) {
                // Another process was faster, with the same content.
                Err(_) if Kernel::read(&home.join(RECORD)).is_some() => Ok(()),
                renamed => renamed,
            }
        };
        fill().map_err(|e| Missing::file(&home, &e))?;
        Ok(imported)
    }

    /// Reads a record whose kernel is still whole. One that was imported before there were seals is kept: what would be
    /// fetched in its place could be another version, and runs with the two would not compare.
    fn read(record: &Path) -> Option<Kernel> {
        let kernel: Kernel = serde_json::from_slice(&fs::read(record).ok()?).ok()?;
        let whole = kernel.modules.iter().chain([&kernel.image]).all(|file| sealed::is_whole_since_first_seen(file));
        whole.then_some(kernel)
    }

    fn write(&self, record: &Path) -> io::Result<()> {
        part::write(record, serde_json::to_vec_pretty(self)?)
    }
}

/// What follows `Linux version ` in a kernel, or what a bzImage's header points to (0x20e, counted from 0x200).
fn release(kernel: &[u8]) -> Option<String> {
    if let Some([low, high]) = kernel.get(0x20e..0x210)
        && kernel.get(0x202..0x206) == Some(b"HdrS")
    {
        let text = kernel.get(0x200 + usize::from(u16::from_le_bytes([*low, *high]))..)?;
        return Some(std::str::from_utf8(text.split(|&b| b == b' ' || b == 0).next()?).ok()?.to_string());
    }
    const BANNER: &[u8] = b"Linux version ";
    // A vmlinux holds the text more than once, first as a format string in some builds.
    let mut starts = (0..kernel.len()).filter(|&at| kernel[at] == b'L' && kernel[at..].starts_with(BANNER));
    starts.find_map(|at| {
        let rest = &kernel[at + BANNER.len()..][..64.min(kernel.len() - at - BANNER.len())];
        let word = std::str::from_utf8(rest.split(|&b| b == b' ').next()?).ok()?;
        word.starts_with(|c: char| c.is_ascii_digit()).then(|| word.to_string())
    })
}

/// The needed modules and those they depend on, in the order of loading. One that is not among the files is built in.
fn find_modules(dir: &Path, wanted: &[&str]) -> Result<Vec<(String, Vec<u8>)>, Missing> {
    let mut files = BTreeMap::new();
    collect(dir, &mut files).map_err(|e| Missing::file(dir, &e))?;
    let mut order = Vec::new();
    for name in wanted {
        add_with_dependencies(name, &files, &mut order)?;
    }
    Ok(order)
}

/// Every file `NAME.ko` or `NAME.ko.SUFFIX` below `dir`, by its name as the kernel spells it.
fn collect(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Not through links: `build` and `source` lead out of the folder.
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else if let Some((name, rest)) = entry.file_name().to_str().and_then(|n| n.split_once(".ko"))
            && (rest.is_empty() || rest.starts_with('.'))
        {
            files.insert(name.replace('-', "_"), entry.path());
        }
    }
    Ok(())
}

fn add_with_dependencies(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    order: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), Missing> {
    let Some(path) = files.get(name) else { return Ok(()) };
    if order.iter().any(|(known, _)| known == name) {
        return Ok(());
    }
    let mut module = fs::read(path).map_err(|e| Missing::file(path, &e))?;
    if !module.starts_with(unpack::ELF) {
        module = unpack::decompress(&module).map_err(|e| Missing::file(path, &e))?;
    }
    for dependency in dependencies(&module) {
        add_with_dependencies(&dependency, files, order)?;
    }
    order.push((name.into(), module));
    Ok(())
}

/// What a module says it needs: the entry `depends=a,b` of its `.modinfo` section, whose entries end in NUL.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|w| w == KEY) else { return Vec::new() };
    let value = module[at + KEY.len()..].split(|&b| b == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value).replace('-', "_");
    names.split(',').filter(|name| !name.is_empty()).map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_needs() {
        assert_eq!(dependencies(b"\x7fELF\0license=GPL\0depends=virtio,virtio-ring\0x"), ["virtio", "virtio_ring"]);
        assert!(dependencies(b"\x7fELF\0depends=\0x").is_empty());
    }

    #[test]
    fn dependencies_are_loaded_first_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("lib/modules/drivers");
        fs::create_dir_all(&deep).unwrap();
        let module = |name: &str, needs: &str| {
            fs::write(deep.join(name), format!("\x7fELF\0depends={needs}\0")).unwrap();
        };
        module("virtio.ko", "virtio_ring");
        module("virtio-ring.ko", "");
        module("virtio_mmio.ko", "virtio_ring,virtio");
        module("virtio_console.ko", "virtio_ring,virtio,hvc_driver");
        module("virtio_net.ko", "");
        let order: Vec<String> =
            find_modules(dir.path(), &PORT_MODULES).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(order, ["virtio_ring", "virtio", "virtio_mmio", "virtio_console"]);
    }

    #[test]
    fn a_file_that_is_no_kernel_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("kernel");
        fs::write(&image, vec![7; 4096]).unwrap();
        let missing = Kernel::import(dir.path(), &image, "test", None, &[]).unwrap_err();
        assert!(missing.reason.contains("is no x86 Linux kernel"), "{missing}");
        assert!(missing.remedy.contains(KERNEL_VARIABLE), "{missing}");
    }

    #[test]
    fn an_import_is_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        fs::write(&image, b"\x7fELF....Linux version %s ....Linux version 6.1.0-56-cloud-amd64 (debian)").unwrap();
        let first = Kernel::import(dir.path(), &image, "test", None, &[]).unwrap();
        assert_eq!(first.release, "6.1.0-56-cloud-amd64");
        assert!(first.image.is_file());
        assert_eq!(Kernel::import(dir.path(), &image, "test", None, &[]).unwrap(), first);
        let whole = fs::read(&image).unwrap();
        for damage in ["", "\x7fELF...."] {
            fs::write(&first.image, damage).unwrap();
            assert_eq!(Kernel::import(dir.path(), &image, "test", None, &[]).unwrap(), first);
            assert_eq!(fs::read(&first.image).unwrap(), whole, "a damaged kernel is imported again");
        }
        let folders = fs::read_dir(dir.path()).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
        assert_eq!(folders, 1, "nothing half-made is left");
    }

    #[test]
    fn an_image_of_unknown_compression_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let mut image = vec![0; 0x400];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        image[0x300..0x30f].copy_from_slice(b"6.8.0-88 (buil)");
        fs::write(&path, &image).unwrap();
        let kernel = Kernel::import(dir.path(), &path, "test", None, &[]).unwrap();
        assert_eq!(kernel.release, "6.8.0-88");
        assert!(kernel.image.ends_with("bzImage"));
        assert_eq!(fs::read(&kernel.image).unwrap(), image);
    }
}
