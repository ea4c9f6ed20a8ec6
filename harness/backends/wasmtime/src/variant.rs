//! The rungs of the ladder: from nothing but a module's bytes to a slot that is still warm.

use isobench_core::{Guest, Preparation, VariantInfo};

/// A variant of the backend. Neighbours differ in one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The module is compiled inside the clock.
    Compile,
    /// The compiled module is mapped and loaded inside the clock.
    Precompiled,
    /// The module is ready; memory is mapped for each instance.
    OnDemand,
    /// The module is ready; memory is a slot of a pool. What agents behind other boundaries use.
    Pooling,
    /// The same, and a slot keeps the pages that were written, cleared.
    PoolingResident,
    /// The same as `Pooling`, but data segments are copied into each instance, not mapped.
    PoolingNoCow,
    /// The same as `Pooling`, but the baseline compiler has made the code.
    Winch,
}

impl Variant {
    /// Every rung, from the bottom.
    pub const ALL: [Variant; 7] = [
        Variant::Compile,
        Variant::Precompiled,
        Variant::OnDemand,
        Variant::Pooling,
        Variant::PoolingResident,
        Variant::PoolingNoCow,
        Variant::Winch,
    ];

    /// Its name in rows and on the agent's command line.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Compile => "compile",
            Variant::Precompiled => "precompiled",
            Variant::OnDemand => "on-demand",
            Variant::Pooling => "pooling",
            Variant::PoolingResident => "pooling-resident",
            Variant::PoolingNoCow => "pooling-no-cow",
            Variant::Winch => "winch",
        }
    }

    /// The variant of that name.
    pub fn named(name: &str) -> Option<Variant> {
        Variant::ALL.into_iter().find(|variant| variant.name() == name)
    }

    /// The variant whose engine makes the compiled module that this one loads. An engine refuses code that was made
    /// under another compiler or for another way of filling memory; where memory comes from is not in the code.
    pub fn compiled_as(self) -> Variant {
        match self {
            Variant::PoolingNoCow | Variant::Winch => self,
            _ => Variant::Pooling,
        }
    }

    /// What the harness is told of it.
    pub fn info(self) -> VariantInfo {
        let preparation = if self == Variant::Compile { Preparation::Nothing } else { Preparation::Code };
        VariantInfo {
            name: self.name().into(),
            guests: vec![Guest::Wasm],
            prepared: self.prepared().into(),
            preparation: preparation.of(&[Guest::Wasm]),
            representative: matches!(self, Variant::Compile | Variant::Pooling).into(),
            shared: self.shared().into(),
            quick: self == Variant::Pooling,
            ..VariantInfo::default()
        }
    }

    fn prepared(self) -> &'static str {
        match self {
            Variant::Compile => "the engine; the module's bytes in memory, which were checked once",
            Variant::Precompiled => "the engine; the module compiled to a file, which is in the page cache",
            Variant::OnDemand => "module compiled and loaded, imports resolved",
            Variant::Pooling => {
                "module compiled and loaded, imports resolved; the pool's address space reserved, and after the first \
                 start a slot that held the same module before"
            }
            Variant::PoolingResident => {
                "module compiled and loaded, imports resolved; the pool's address space reserved, and after the \
                 first start a slot that held the same module before, with the pages that the instance before wrote \
                 to, cleared"
            }
            Variant::PoolingNoCow => {
                "module compiled and loaded, imports resolved; the pool's address space reserved, and an empty \
                 slot: nothing of the module is mapped into it"
            }
            Variant::Winch => {
                "module compiled by Wasmtime's baseline compiler and loaded, imports resolved; the pool's address \
                 space reserved, and after the first start a slot that held the same module before"
            }
        }
    }

    fn shared(self) -> &'static str {
        match self {
            Variant::Compile => "process, address space",
            Variant::Precompiled => "process, address space, the compiled file's pages in the page cache",
            Variant::PoolingNoCow => "process, address space, compiled code",
            Variant::OnDemand | Variant::Pooling | Variant::PoolingResident | Variant::Winch => {
                "process, address space, compiled code, read-only pages of the memory image"
            }
        }
    }
}
