//! The runtimes: which there are, where they are installed, how each is called.

use crate::probe;
use isobench_core::{Fault, sha256_hex};
use isobench_runner::RunContext;
use isobench_runner::agents;
use isobench_runner::part;
use isobench_runner::place::installed;
use isobench_runner::spawned::Role;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A runtime that is known here: each is a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its program, and the variant's name.
    pub name: &'static str,
    /// What a person does who has none.
    pub remedy: &'static str,
    /// What its instances share beside what all do.
    pub shared: &'static str,
}

/// Every one of them.
pub const KNOWN: [Known; 4] = [
    Known { name: RUNC, remedy: "`apt install runc`", shared: "the host's kernel" },
    Known { name: "crun", remedy: "`apt install crun`", shared: "the host's kernel" },
    Known { name: "youki", remedy: "https://github.com/youki-dev/youki/releases", shared: "the host's kernel" },
    Known {
        name: RUNSC,
        remedy: "`apt install runsc`",
        shared: "nothing of a kernel but what the Sentry, a kernel of each container's own, asks of the host's",
    },
];

/// What is left out of no run.
pub const RUNC: &str = "runc";
/// gVisor's.
const RUNSC: &str = "runsc";
/// How gVisor's Sentry catches system calls, best first.
const PLATFORMS: [&str; 3] = ["systrap", "kvm", "ptrace"];
/// Longest wait for a runtime to say its version.
const PATIENCE: Duration = Duration::from_secs(10);
/// The version of the rules by which answers are kept. 2: only conclusive ones; 1 also kept a platform because a
/// better one was late.
const RULES: &str = "rules 2";
/// Folder of the cache with the platforms that were found to work.
const CACHE: &str = "oci";

/// An installed runtime and how it is called.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Which it is.
    pub known: Known,
    /// Its program's whole path.
    pub program: PathBuf,
    /// What it is told before any command.
    pub flags: Vec<String>,
    /// gVisor's platform.
    pub platform: Option<String>,
    /// What it said of platforms that do not work here.
    pub notes: Vec<String>,
}

impl Runtime {
    /// The runtime of a variant, found working here. Which of gVisor's platforms works is cached, because one that does
    /// not may take seconds to be found out.
    ///
    /// # Errors
    /// The fault of a variant that is none, or of a runtime that is missing or does not work.
    pub fn find(ctx: &RunContext, variant: &str) -> Result<Runtime, Fault> {
        let known = KNOWN.into_iter().find(|known| known.name == variant);
        let known = known.ok_or_else(|| Fault::backend(format!("oci has no variant `{variant}`")))?;
        let program = installed(known.name)
            .ok_or_else(|| Fault::backend(format!("{} is not installed: {}", known.name, known.remedy)))?;
        let runtime = Runtime { known, program, flags: Vec::new(), platform: None, notes: Vec::new() };
        if known.name == RUNSC { runtime.with_platform(ctx) } else { Ok(runtime) }
    }

    /// What the process that it reports is to the agent: gVisor's is the Sentry, which ends as the guest did.
    pub fn role(&self) -> Role {
        if self.platform.is_some() { Role::Keeper } else { Role::Agent }
    }

    /// Whether each container has a kernel of its own: gVisor's Sentry is one.
    pub fn own_kernel(&self) -> bool {
        self.platform.is_some()
    }

    /// Its version, with the platform.
    pub fn version(&self) -> String {
        let text = agents::text_of(Command::new(&self.program).arg("--version"), PATIENCE).unwrap_or_default();
        // `runc version 1.1.5`, `runsc version release-2024`.
        let version = text.lines().next().and_then(|line| line.split_whitespace().last()).unwrap_or("unknown");
        match &self.platform {
            Some(platform) => format!("{version} ({platform})"),
            None => version.into(),
        }
    }

    fn on(&self, platform: &str) -> Runtime {
        let flags = [format!("--platform={platform}"), "--network=none".into(), "--host-uds=open".into()];
        Runtime { flags: flags.into(), platform: Some(platform.into()), ..self.clone() }
    }

    fn with_platform(&self, ctx: &RunContext) -> Result<Runtime, Fault> {
        let kernel = fs::read_to_string("/proc/version").unwrap_or_default();
        // Whether this user can use it, which may differ from another user of the same cache.
        let kvm = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        let facts = format!("{RULES} {} {kernel} {kvm}", agents::program_stamp(&self.program)?);
        let key = sha256_hex(facts.as_bytes());
        let cached = ctx.cache.join(CACHE).join(format!("{RUNSC}-{}", &key[..16]));
        // Kept for this run alone, beside the folders of its blocks.
        let of_run = ctx.state.with_file_name(format!("{RUNSC}-{}", &key[..16]));
        let remembered = fs::read_to_string(&cached).or_else(|_| fs::read_to_string(&of_run)).unwrap_or_default();
        let mut lines = remembered.lines();
        if let Some(platform) = lines.next().filter(|line| PLATFORMS.contains(line)) {
            return Ok(Runtime { notes: lines.map(String::from).collect(), ..self.on(platform) });
        }
        let (mut notes, mut conclusive) = (Vec::new(), true);
        for platform in PLATFORMS {
            if platform == "kvm" && !kvm {
                notes.push("gVisor's platform kvm is not used: /dev/kvm cannot be opened".into());
                continue;
            }
            match probe::try_one(ctx, &self.on(platform)) {
                Ok(()) => {
                    // A platform that was only late may be in time on a less busy machine: the next run tries again.
                    // Nothing is lost by an answer that is not remembered but that time.
                    let kept = if conclusive { &cached } else { &of_run };
                    let _ = part::write(kept, format!("{platform}\n{}", notes.join("\n")));
                    return Ok(Runtime { notes, ..self.on(platform) });
                }
                Err(fault) => {
                    conclusive &= fault.is_conclusive();
                    notes.push(format!("gVisor's platform {platform} does not work here: {}", fault.message));
                }
            }
        }
        Err(Fault::backend(notes.join("; ")))
    }
}
