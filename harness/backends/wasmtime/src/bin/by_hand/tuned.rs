//! As Wasmtime's own bench of instantiation (`benches/instantiation.rs` in its repository) is set up, on one thread:
//! the crate's default settings with a pool (so copy-on-write images, and code for this very processor), imports
//! resolved ahead, a store with nothing in it. No epochs, no limiter: nothing here contains a guest. Around that, the
//! same call as ours.

use isobench_runner::overhead::ByHand;
use isobench_runner::protocol::BlockRequest;
use isobench_wasmtime::engine;
use isobench_wasmtime::variant::Variant;
use std::time::{Duration, Instant};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, InstancePre, Linker, Memory, Module, ModuleExport,
    PoolingAllocationConfig, Store, TypedFunc,
};

/// The name of this hand.
pub const NAME: &str = "tuned";

/// The longest memory of an instance in that bench: 10,000 pages.
const SLOT_BYTES: usize = 10_000 << 16;

pub struct Tuned {
    engine: Engine,
    pre: InstancePre<()>,
    exports: [ModuleExport; 3],
    input: Vec<u8>,
}

impl Tuned {
    /// For `pooling-resident`, whose like that bench does not have, slots keep what they keep in ours.
    pub fn new(block: &BlockRequest) -> Tuned {
        let mut pool = PoolingAllocationConfig::new();
        pool.max_memory_size(SLOT_BYTES);
        if block.target.variant == Variant::PoolingResident.name() {
            engine::keep_resident(&mut pool);
        }
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).expect("an engine");
        // From a file, so that images are mapped from the page cache: from memory they would be copies.
        let compiled = block.ctx.state.join("tuned.cwasm");
        let module = Module::from_file(&engine, &block.target.artifact).expect("a module");
        std::fs::write(&compiled, module.serialize().expect("its code")).expect("a file");
        // SAFETY: the file was written just now, by the same engine.
        let module = unsafe { Module::deserialize_file(&engine, &compiled) }.expect("a module");
        Tuned {
            pre: Linker::new(&engine).instantiate_pre(&module).expect("no imports"),
            exports: ["memory", "alloc", "handle"].map(|name| module.get_export_index(name).expect("an export")),
            input: std::fs::read(&block.input).expect("the case's input"),
            engine,
        }
    }

    fn answered(&self) -> (Store<()>, Vec<u8>) {
        let mut store = Store::new(&self.engine, ());
        let instance = self.pre.instantiate(&mut store).expect("an instance");
        let [memory, alloc, handle] =
            self.exports.each_ref().map(|export| instance.get_module_export(&mut store, export).expect("an export"));
        let memory: Memory = memory.into_memory().expect("a memory");
        let alloc: TypedFunc<i32, i32> = alloc.into_func().expect("a function").typed(&store).expect("alloc");
        let handle: TypedFunc<(i32, i32), i64> = handle.into_func().expect("a function").typed(&store).expect("handle");
        let len = self.input.len() as i32;
        let at = alloc.call(&mut store, len).expect("alloc");
        memory.write(&mut store, at as u32 as usize, &self.input).expect("room for the request");
        let packed = handle.call(&mut store, (at, len)).expect("handle") as u64;
        let (start, len) = ((packed >> 32) as usize, packed as u32 as usize);
        let answer = memory.data(&store)[start..start + len].to_vec();
        (store, answer)
    }
}

impl ByHand for Tuned {
    fn cold_start(&mut self) -> Duration {
        let before = Instant::now();
        let answered = self.answered();
        let took = before.elapsed();
        drop(answered);
        took
    }
}
