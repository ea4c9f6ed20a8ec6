//! The kernel of `boot-minimal`, and of Firecracker's machines, built for this machine from the distribution's source.
//! That takes minutes, so the set-up does it (`kernel/build.sh` in this crate), and here it is only looked for.

use crate::kernel::{Kernel, Missing};
use isobench_core::sha256_hex;
use isobench_runner::{RunContext, sealed};
use std::fs;
use std::path::{Path, PathBuf};

/// What it is built by and with: another script or other options are another kernel.
const RECIPE: &str = concat!(include_str!("../kernel/build.sh"), include_str!("../kernel/minimal.config"));

/// The kernel, if the set-up could build it.
pub fn find(ctx: &RunContext) -> Result<Kernel, Missing> {
    let kernels = ctx.cache.join("kernel");
    let missing = |reason: String| {
        Missing::new(
            reason,
            "`make build` builds it once (harness/backends/qemu/kernel/build.sh), and says why it cannot",
        )
    };
    let home = folder(&kernels).ok_or_else(|| missing("the minimal kernel has not been built".into()))?;
    let image = home.join("vmlinux");
    if !sealed::is_whole_since_first_seen(&image) {
        let remedy = format!("remove {}, and `make build` builds it again", home.display());
        return Err(Missing::new(format!("{} is damaged", image.display()), remedy));
    }
    let source = fs::read_to_string(home.join("source"))
        .map_err(|e| missing(format!("{}: {e}", home.join("source").display())))?;
    Kernel::import(&kernels, &image, source.trim(), None, &[])
}

/// Where the script has put it below `kernels`: the name ends in the version of the source's package.
pub fn folder(kernels: &Path) -> Option<PathBuf> {
    let prefix = format!("minimal-{}-", &sha256_hex(RECIPE.as_bytes())[..16]);
    let entries = fs::read_dir(kernels).ok()?.flatten();
    entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&prefix)))
}
