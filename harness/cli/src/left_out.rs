//! Why wanted cells cannot run here, each reason once.

use isobench_core::Availability;
use isobench_core::run::{Absent, BackendEntry};
use std::collections::BTreeMap;

/// Most names of what shares one reason; `run.json` has them all.
const NAMES: usize = 3;

/// Returns a line for each backend that cannot run, as `isobench doctor` says it, and one for each other reason.
pub fn lines(backends: &[BackendEntry], absent: &[Absent]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for entry in backends {
        if let Availability::Unavailable { reason, remedy } = &entry.availability {
            let line = format!("{} cannot run here: {reason}; to fix: {remedy}", entry.description.backend);
            // Both sides of an A/B run have it.
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for absent in absent {
        by_reason.entry(&absent.reason).or_default().push(&absent.what);
    }
    lines.extend(by_reason.into_iter().map(|(reason, names)| match names.len().checked_sub(NAMES) {
        Some(more @ 1..) => format!("{} and {more} more: {reason}", names[..NAMES].join(", ")),
        _ => format!("{}: {reason}", names.join(", ")),
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use isobench_core::{Description, Model};

    #[test]
    fn a_reason_is_told_once_with_what_shares_it() {
        let docker = BackendEntry {
            description: Description {
                backend: "docker".into(),
                model: Model::Container,
                variants: Vec::new(),
                in_process: false,
                hidden: false,
                footprint_instances: 1,
                engines: Vec::new(),
            },
            availability: Availability::unavailable("only root may start a daemon", "run it as root"),
            side: None,
            prepare_ns: None,
        };
        let absent = |what: &str, reason: &str| Absent { what: what.into(), reason: reason.into() };
        let no_rust = ["a", "b", "c", "d", "e"].map(|name| absent(&format!("process/spawn/native/{name}"), "no rustc"));
        let mut all = no_rust.to_vec();
        all.push(absent("oci/youki", "it is not installed"));
        assert_eq!(
            lines(&[docker.clone(), docker], &all),
            [
                "docker cannot run here: only root may start a daemon; to fix: run it as root",
                "oci/youki: it is not installed",
                "process/spawn/native/a, process/spawn/native/b, process/spawn/native/c and 2 more: no rustc",
            ]
        );
        assert_eq!(lines(&[], &all[..3])[0].matches("process").count(), 3);
    }
}
