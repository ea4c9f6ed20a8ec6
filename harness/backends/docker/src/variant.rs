//! The variants: a runtime, a network, and how much of a container there is before the clock starts.

use crate::padded::Bulk;
use isobench_core::availability::VariantInfo;
use isobench_core::{Guest, Preparation};

/// How an instance comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The container is created and started.
    Run,
    /// It was created ahead, and is started.
    Precreated,
    /// It was started ahead and paused, and is unpaused.
    Unpause,
    /// Another agent is executed in a container that lives as long as the deployment.
    Exec,
}

/// A way of running the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// Its name, a row's.
    pub name: &'static str,
    /// The runtime, as the daemon names it.
    pub runtime: &'static str,
    /// The network: `none`, or the daemon's `bridge`.
    pub network: &'static str,
    /// How an instance comes to be.
    pub way: Way,
    /// How large the image is made; `None`: as large as what must be in it.
    pub bulk: Option<Bulk>,
    guests: &'static [Guest],
    prepared: &'static str,
    shared: &'static str,
    quick: bool,
    matrix: bool,
}

/// What every daemon has.
pub const RUNC: &str = "runc";

const READY: &str = "daemon running, image imported, its files in the page cache";
const HOST: &str = "the host's kernel, dockerd and containerd; no network";

const fn runtime(name: &'static str, shared: &'static str) -> Variant {
    Variant {
        name,
        runtime: name,
        network: "none",
        way: Way::Run,
        bulk: None,
        guests: &Guest::ALL,
        prepared: READY,
        shared,
        quick: false,
        matrix: false,
    }
}

const fn ahead(name: &'static str, way: Way, prepared: &'static str, shared: &'static str) -> Variant {
    Variant { name, runtime: RUNC, way, prepared, ..runtime(RUNC, shared) }
}

/// An image of so many megabytes in so many layers. The native guest alone is small enough for the smallest.
const fn image(name: &'static str, megabytes: usize, layers: usize, prepared: &'static str) -> Variant {
    let bulk = Some(Bulk { bytes: megabytes * 1_000_000, layers });
    Variant { name, runtime: RUNC, bulk, guests: &[Guest::Native], prepared, ..runtime(RUNC, HOST) }
}

impl Variant {
    /// Whether a container under its runtime has a kernel of its own.
    pub fn own_kernel(self) -> bool {
        ["runsc", "kata"].contains(&self.runtime)
    }

    /// Every variant. Runtimes that this list knows and a daemon does not offer are absent there.
    pub const ALL: [Variant; 13] = [
        Variant { quick: true, matrix: true, ..runtime(RUNC, HOST) },
        Variant {
            name: "bridge",
            network: "bridge",
            ..runtime(RUNC, "the host's kernel, dockerd and containerd; the daemon's default bridge")
        },
        Variant {
            matrix: true,
            ..runtime(
                "runsc",
                "dockerd and containerd, and of the host's kernel what the Sentry, a kernel of each container's own, \
                 asks of it; no network",
            )
        },
        runtime("crun", HOST),
        runtime("youki", HOST),
        runtime("kata", "dockerd and containerd; a kernel of its own; no network"),
        ahead(
            "precreated",
            Way::Precreated,
            "daemon running, image imported, its files in the page cache; a container created, not started",
            HOST,
        ),
        ahead(
            "unpause",
            Way::Unpause,
            "daemon running, image imported, its files in the page cache; a container started, its guest loaded, \
             and paused",
            HOST,
        ),
        ahead(
            "exec",
            Way::Exec,
            "daemon running, image imported, its files in the page cache; a container that lives, with an agent of \
             its own",
            "all that processes of one container share: kernel, namespaces, files, memory limit",
        ),
        image(
            "image-1mb",
            1,
            1,
            "daemon running, image imported just before: 1 MB or the guest alone where it is larger",
        ),
        image("image-40mb", 40, 1, "daemon running, image imported just before, padded to 40 MB of 64 KiB files"),
        image("image-200mb", 200, 1, "daemon running, image imported just before, padded to 200 MB of 64 KiB files"),
        image(
            "image-40mb-layers",
            40,
            20,
            "daemon running, image imported just before, padded to 40 MB of 64 KiB files in 20 layers",
        ),
    ];

    /// The variant of that name.
    pub fn named(name: &str) -> Option<Variant> {
        Variant::ALL.into_iter().find(|variant| variant.name == name)
    }

    /// What `describe` says of it.
    pub fn info(self) -> VariantInfo {
        let preparation = match self.way {
            Way::Run => Preparation::of_agents(self.guests),
            Way::Precreated | Way::Unpause | Way::Exec => Preparation::Instance.of(self.guests),
        };
        VariantInfo {
            name: self.name.into(),
            guests: self.guests.to_vec(),
            prepared: self.prepared.into(),
            preparation,
            // The container that most readers know, and its paused form.
            representative: u8::from(self.name == RUNC || self.way == Way::Unpause),
            shared: self.shared.into(),
            quick: self.quick,
            matrix: self.matrix,
            ..VariantInfo::default()
        }
    }
}
