//! What an engineer would write who only wanted the cold start of one variant: the same crate, settings and compiled
//! module, two clock readings, no traits, no phases, no names for failures. And beside it what Wasmtime's own bench does.

mod tuned;

use isobench_runner::agents;
use isobench_runner::overhead::{self, ByHand, PLAIN};
use isobench_runner::protocol::BlockRequest;
use isobench_wasmtime::engine;
use isobench_wasmtime::variant::Variant;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use wasmtime::{
    Engine, InstancePre, Linker, Memory, Module, ModuleExport, Store, StoreLimits, StoreLimitsBuilder, TypedFunc,
};

struct Loop {
    engine: Engine,
    pre: InstancePre<StoreLimits>,
    exports: [ModuleExport; 3],
    memory_limit: usize,
    ticks: u64,
    input: Vec<u8>,
    held: Vec<Live>,
}

struct Live {
    store: Store<StoreLimits>,
    memory: Memory,
    alloc: TypedFunc<i32, i32>,
    handle: TypedFunc<(i32, i32), i64>,
}

impl Loop {
    fn new(block: &BlockRequest) -> Loop {
        let variant = Variant::named(&block.target.variant).expect("a variant of wasmtime");
        assert_eq!(
            variant.compiled_as(),
            Variant::Pooling,
            "the hand-written loop loads the module that `pooling` has"
        );
        let engine = engine::engine(variant, engine::RUNNER_SLOTS).expect("an engine");
        let compiled = agents::prepared_guest(&block.ctx, &block.target).expect("a compiled module");
        // SAFETY: the file was written by our own agent.
        let module = unsafe { Module::deserialize_file(&engine, compiled) }.expect("a module");
        let exports = ["memory", "alloc", "handle"].map(|name| module.get_export_index(name).expect("an export"));
        engine::beat(&engine);
        Loop {
            pre: Linker::new(&engine).instantiate_pre(&module).expect("no imports"),
            exports,
            memory_limit: block.target.limits.memory_bytes as usize,
            ticks: engine::ticks(block.target.limits.call_deadline(false)),
            input: std::fs::read(&block.input).expect("the case's input"),
            held: Vec::new(),
            engine,
        }
    }

    fn start(&self) -> Live {
        let mut store = Store::new(&self.engine, StoreLimitsBuilder::new().memory_size(self.memory_limit).build());
        store.limiter(|limits| limits);
        store.set_epoch_deadline(self.ticks);
        let instance = self.pre.instantiate(&mut store).expect("an instance");
        let [memory, alloc, handle] =
            self.exports.each_ref().map(|export| instance.get_module_export(&mut store, export).expect("an export"));
        Live {
            memory: memory.into_memory().expect("a memory"),
            alloc: alloc.into_func().expect("a function").typed(&store).expect("alloc"),
            handle: handle.into_func().expect("a function").typed(&store).expect("handle"),
            store,
        }
    }
}

impl Live {
    fn call(&mut self, request: &[u8], ticks: u64) -> Vec<u8> {
        let len = request.len() as i32;
        self.store.set_epoch_deadline(ticks);
        let at = self.alloc.call(&mut self.store, len).expect("alloc");
        self.memory.write(&mut self.store, at as u32 as usize, request).expect("room for the request");
        let packed = self.handle.call(&mut self.store, (at, len)).expect("handle") as u64;
        let (start, len) = ((packed >> 32) as usize, packed as u32 as usize);
        self.memory.data(&self.store)[start..start + len].to_vec()
    }
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let before = Instant::now();
        let mut live = self.start();
        let answer = live.call(&self.input, self.ticks);
        let took = before.elapsed();
        drop((live, answer));
        took
    }

    fn hold(&mut self, n: u32) {
        self.held.reserve_exact(n as usize);
        for _ in 0..n {
            let mut live = self.start();
            live.call(&self.input, self.ticks);
            self.held.push(live);
        }
    }

    fn release(&mut self) {
        self.held.clear();
    }
}

fn main() -> ExitCode {
    overhead::main_of(
        &isobench_wasmtime::Wasmtime,
        &[(PLAIN, &|block| Box::new(Loop::new(block))), (tuned::NAME, &|block| Box::new(tuned::Tuned::new(block)))],
    )
}
