//! The ways to a running machine, each a row of its own.

use isobench_core::{Fault, Guest, Preparation, VariantInfo};

/// A variant of the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// A kernel boots.
    Boot,
    /// A machine that was saved after its hello is restored.
    Restore,
    /// A machine that was booted ahead and stands still is resumed.
    Paused,
}

impl Variant {
    /// All of them.
    pub const ALL: [Variant; 3] = [Variant::Boot, Variant::Restore, Variant::Paused];

    /// The variant of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Variant, Fault> {
        let found = Variant::ALL.into_iter().find(|variant| variant.name() == name);
        found.ok_or_else(|| {
            let known = Variant::ALL.map(Variant::name).join(", ");
            Fault::backend(format!("cloud-hypervisor has no variant `{name}`, but {known}"))
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Boot => "boot",
            Variant::Restore => "restore",
            Variant::Paused => "paused",
        }
    }

    /// What it is, for the report.
    pub fn describe(self) -> VariantInfo {
        let alone = "nothing: a kernel of its own in a process of its own";
        let copy = "by copy what the saved machine had drawn: addresses, canaries, seeds of its programs. Not the \
                    kernel's random numbers nor the time, which `load` renews";
        let (prepared, shared) = match self {
            Variant::Boot => ("kernel (a distribution's) and root file system, in the page cache", alone),
            Variant::Restore => {
                ("a machine booted as in `boot`, its guest loaded, saved: its memory in the page cache", copy)
            }
            Variant::Paused => {
                ("a machine booted as in `boot`, its guest loaded, stopped. `destroy` boots the next", alone)
            }
        };
        let preparation = match self {
            Variant::Boot => Preparation::of_agents(&Guest::ALL),
            Variant::Restore => Preparation::Code.of(&Guest::ALL),
            Variant::Paused => Preparation::Instance.of(&Guest::ALL),
        };
        VariantInfo {
            name: self.name().into(),
            guests: Guest::ALL.into(),
            prepared: prepared.into(),
            preparation,
            // Stands in for Firecracker.
            representative: if matches!(self, Variant::Boot | Variant::Restore | Variant::Paused) { 2 } else { 0 },
            shared: shared.into(),
            quick: false,
            ..VariantInfo::default()
        }
    }
}
