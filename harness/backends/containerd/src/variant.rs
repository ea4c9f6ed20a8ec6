//! The variants: who makes the container's processes, as containerd names it.

use crate::messages::{Any, RuncOptions, Runtime, RuntimeOptions};
use isobench_core::availability::VariantInfo;
use isobench_core::{Fault, Guest, Preparation};
use isobench_oci::runtime::{RUNC, Runtime as Installed};
use isobench_runner::RunContext;
use isobench_runner::place::installed;
use prost::Message;
use std::fs;

/// A way of running the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// Its name, a row's.
    pub name: &'static str,
    shim: Shim,
    shared: &'static str,
}

/// The kinds of shims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shim {
    /// containerd's own, around an OCI runtime.
    Runc,
    /// gVisor's.
    Runsc,
    /// Kata's.
    Kata,
}

const HOST: &str = "the host's kernel, containerd; no network";

impl Variant {
    /// Every variant. What is not installed is absent.
    pub const ALL: [Variant; 5] = [
        Variant { name: RUNC, shim: Shim::Runc, shared: HOST },
        Variant { name: "crun", shim: Shim::Runc, shared: HOST },
        Variant { name: "youki", shim: Shim::Runc, shared: HOST },
        Variant {
            name: "runsc",
            shim: Shim::Runsc,
            shared: "containerd, and of the host's kernel what the Sentry, a kernel of each container's own, asks of \
                     it; no network",
        },
        Variant { name: "kata", shim: Shim::Kata, shared: "containerd; a kernel of its own; no network" },
    ];

    /// The variant of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Variant, Fault> {
        let found = Variant::ALL.into_iter().find(|variant| variant.name == name);
        found.ok_or_else(|| Fault::backend(format!("containerd has no variant `{name}`")))
    }

    /// What containerd is told of it, if what it needs is installed.
    ///
    /// # Errors
    /// What is not.
    pub fn runtime(self, ctx: &RunContext) -> Result<Runtime, Fault> {
        let (name, program, remedy) = match self.shim {
            Shim::Runc => ("io.containerd.runc.v2", "containerd-shim-runc-v2", "`apt install containerd`"),
            Shim::Runsc => {
                ("io.containerd.runsc.v1", "containerd-shim-runsc-v1", "https://gvisor.dev/docs/user_guide/install")
            }
            Shim::Kata => ("io.containerd.kata.v2", "containerd-shim-kata-v2", "https://katacontainers.io"),
        };
        if installed(program).is_none() {
            return Err(Fault::backend(format!("{program} is not installed: {remedy}")));
        }
        let options = match self.shim {
            Shim::Runc => {
                let binary_name = Installed::find(ctx, self.name)?.program.to_string_lossy().into_owned();
                Some(any("containerd.runc.v1.Options", &RuncOptions { binary_name }))
            }
            Shim::Runsc => Some(any("runtimeoptions.v1.Options", &runsc(ctx)?)),
            Shim::Kata => None,
        };
        Ok(Runtime { name: name.into(), options })
    }

    /// What `describe` says of it.
    pub fn info(self) -> VariantInfo {
        VariantInfo {
            name: self.name.into(),
            guests: Guest::ALL.to_vec(),
            prepared: "daemon running, image imported and unpacked, its files in the page cache".into(),
            preparation: Preparation::of_agents(&Guest::ALL),
            // Stands in for Docker and for the bare runtime.
            representative: if self.name == RUNC { 3 } else { 0 },
            shared: self.shared.into(),
            quick: false,
            ..VariantInfo::default()
        }
    }
}

/// gVisor's shim reads a file of what it tells runsc: as `oci`'s runtime is told.
fn runsc(ctx: &RunContext) -> Result<RuntimeOptions, Fault> {
    let runtime = Installed::find(ctx, "runsc")?;
    let flags = runtime.flags.iter().filter_map(|flag| flag.trim_start_matches("--").split_once('='));
    let flags: String = flags.map(|(name, value)| format!("{name} = \"{value}\"\n")).collect();
    let path = ctx.state.join("runsc.toml");
    let text = format!("binary_name = \"{}\"\n[runsc_config]\n{flags}", runtime.program.display());
    fs::write(&path, text).map_err(|e| Fault::backend(format!("{}: {e}", path.display())))?;
    let config_path = path.to_string_lossy().into_owned();
    Ok(RuntimeOptions { type_url: "io.containerd.runsc.v1.options".into(), config_path })
}

fn any(type_url: &str, message: &impl Message) -> Any {
    Any { type_url: type_url.into(), value: message.encode_to_vec() }
}
