//! Can it run here? Only a container that was really started, and answered, tells.

use crate::container::Bundles;
use crate::runtime::{KNOWN, RUNC, Runtime};
use isobench_core::{Availability, Fault};
use isobench_runner::place::installed;
use isobench_runner::{RunContext, agents, cgroup, probing};
use std::collections::BTreeMap;

pub(crate) fn probe(ctx: &RunContext) -> Availability {
    if let Some(unavailable) = probing::not_root() {
        return unavailable;
    }
    let (mut versions, mut notes, mut absent) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
    for known in KNOWN {
        let found = Runtime::find(ctx, known.name);
        match found.and_then(|runtime| try_one(ctx, &runtime).map(|()| runtime)) {
            Ok(runtime) => {
                versions.insert(known.name.to_string(), runtime.version());
                notes.extend(runtime.notes);
            }
            Err(fault) => {
                absent.insert(known.name.to_string(), fault.message);
            }
        }
    }
    if versions.is_empty() {
        return Availability::unavailable(probing::reasons(&absent), remedy());
    }
    notes.extend(agents::missing_agents(ctx));
    Availability::Available { versions, emulated: false, notes, absent }
}

/// What a person does where no runtime works.
fn remedy() -> String {
    let of_runtimes = || match installed(RUNC) {
        Some(_) => {
            "runc is installed, and its words say what stops it; inside another container that one must be \
                    allowed to mount and to write to /sys/fs/cgroup"
        }
        None => "install runc as root: `apt install runc`",
    };
    cgroup::crowded().unwrap_or_else(|| of_runtimes().into())
}

/// One container through the whole of what a cell does, its agent being the runner's own program.
pub(crate) fn try_one(ctx: &RunContext, runtime: &Runtime) -> Result<(), Fault> {
    probing::try_one(ctx, "oci", runtime.known.name, |target, origin| {
        Bundles::new(ctx, target, origin, runtime.clone())
    })
}
