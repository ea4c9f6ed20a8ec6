//! The engine's settings: one function for the runner, the agent and the hand-written loop, because a module compiled
//! under other settings does not load, and a comparison under other settings is none.

use crate::variant::Variant;
use std::env::consts::{ARCH, OS};
use std::thread;
use std::time::Duration;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Strategy};

/// The version of Wasmtime.
pub const VERSION: &str = env!("ISOBENCH_WASMTIME_VERSION");

/// Slots of a runner's pool: the footprint's 256 instances, and some for those of a throughput visit.
pub const RUNNER_SLOTS: u32 = 320;

/// Slots of an agent's pool: an agent holds one instance.
pub const AGENT_SLOTS: u32 = 1;

/// How often the epoch advances, and so how exactly a deadline is kept. 5 ms against deadlines of seconds; 200 wake-ups
/// a second are about 0.1 % of a core.
pub const TICK: Duration = Duration::from_millis(5);

/// The longest memory of any instance: all that 32-bit Wasm can address, so that no module is refused for the size of
/// its slot. What an instance may really use is its workload's limit.
const SLOT_BYTES: usize = 4 << 30;

/// How much of its memory, and of its table, a free slot of `pooling-resident` may keep. A first call writes to some
/// pages, and these it keeps; the limit is for what a guest fills once and the next one may never touch.
const KEPT_BYTES: usize = 1 << 20;

/// The x86-64 features modules are compiled for: x86-64-v2 and bit manipulation. Everything here since 2013 (Haswell)
/// has them, and so has every QEMU that emulates: AVX came to TCG with QEMU 7.2 only, AVX-512 never did. AVX2 and FMA
/// would be worth 4 % of `nbody` and nothing elsewhere.
const X86_64_FEATURES: [&str; 9] = [
    "has_sse3",
    "has_ssse3",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
    "has_cmpxchg16b",
    "has_lzcnt",
    "has_bmi1",
    "has_bmi2",
];

/// The engine of a variant, with `slots` places for instances where it has a pool. Nothing runs in it until [`beat`] is
/// called for it.
pub fn engine(variant: Variant, slots: u32) -> Result<Engine> {
    let mut config = Config::new();
    config
        .target(&triple())?
        .strategy(if variant == Variant::Winch { Strategy::Winch } else { Strategy::Cranelift })
        .allocation_strategy(allocation(variant, slots))
        .memory_init_cow(variant != Variant::PoolingNoCow)
        .epoch_interruption(true);
    if ARCH == "x86_64" {
        for feature in X86_64_FEATURES {
            // SAFETY: the engine refuses to load code for a feature that it does not find on the host.
            unsafe { config.cranelift_flag_enable(feature) };
        }
    }
    Engine::new(&config)
}

/// Where the memories and tables of instances come from.
fn allocation(variant: Variant, slots: u32) -> InstanceAllocationStrategy {
    if matches!(variant, Variant::Compile | Variant::Precompiled | Variant::OnDemand) {
        return InstanceAllocationStrategy::OnDemand;
    }
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(slots).total_memories(slots).total_tables(slots).max_memory_size(SLOT_BYTES);
    if variant == Variant::PoolingResident {
        keep_resident(&mut pool);
    }
    InstanceAllocationStrategy::Pooling(pool)
}

/// What makes a pool that of `pooling-resident`.
pub fn keep_resident(pool: &mut PoolingAllocationConfig) {
    // The scan finds the pages that were written; without it the first bytes are cleared whether written or not.
    pool.linear_memory_keep_resident(KEPT_BYTES).table_keep_resident(KEPT_BYTES).pagemap_scan(Enabled::Auto);
}

/// The host's target, spelled out: only an explicit one keeps the compiler from using what this very processor has.
fn triple() -> String {
    match OS {
        "macos" => format!("{ARCH}-apple-darwin"),
        os => format!("{ARCH}-unknown-{os}-gnu"),
    }
}

/// Advances the engine's epoch every [`TICK`] for as long as the engine lives.
pub fn beat(engine: &Engine) {
    let engine = engine.weak();
    thread::spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    });
}

/// Ticks until a deadline that is `allowed` away: rounded up, and one for the tick in progress.
pub fn ticks(allowed: Duration) -> u64 {
    (allowed.as_nanos() / TICK.as_nanos()) as u64 + 2
}
