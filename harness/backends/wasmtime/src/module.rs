//! Modules and instances under the workload contract: exports `memory`, `alloc` and `handle`, no imports. What the
//! runner and the agent have in common; failures carry the names that the frame protocol has for them.

use crate::engine::{self, ticks};
use crate::variant::Variant;
use isobench_guest::fault::{self, AgentFault};
use std::fs;
use std::path::Path;
use std::time::Duration;
use wasmtime::{
    Engine, Error, Extern, Func, Instance, InstancePre, Linker, Memory, Module, ModuleExport, ResourceLimiter, Store,
    Trap, TypedFunc,
};

/// The most elements a table may have: the pool's own default.
const TABLE_ELEMENTS: usize = 20_000;

/// Compiles the module at `source` for a variant and writes what [`Program::load`] loads. The error says what is wrong
/// with the module.
pub fn prepare(variant: Variant, source: &Path, destination: &Path) -> Result<(), String> {
    let bytes = fs::read(source).map_err(|e| e.to_string())?;
    let engine = engine::engine(variant, engine::AGENT_SLOTS).map_err(|e| format!("{e:#}"))?;
    let module = Module::from_binary(&engine, &bytes).map_err(|e| format!("not a valid Wasm module: {e:#}"))?;
    let compiled = module.serialize().map_err(|e| format!("{e:#}"))?;
    fs::write(destination, compiled).map_err(|e| format!("{}: {e}", destination.display()))
}

/// A module that is ready to be instantiated.
pub struct Program {
    pre: InstancePre<Limit>,
    memory: ModuleExport,
    alloc: ModuleExport,
    handle: ModuleExport,
    initialize: Option<ModuleExport>,
}

impl Program {
    /// Loads what [`prepare`] wrote.
    pub fn load(engine: &Engine, compiled: &Path) -> Result<Program, AgentFault> {
        // SAFETY: the file was written by `prepare`, into a folder that is ours.
        let module = unsafe { Module::deserialize_file(engine, compiled) };
        module.and_then(|module| Program::of(&module)).map_err(|e| invalid(compiled, &e))
    }

    /// Compiles a module's `bytes`; `source` is where they came from, for the message of a failure.
    pub fn compile(engine: &Engine, bytes: &[u8], source: &Path) -> Result<Program, AgentFault> {
        let module = Module::from_binary(engine, bytes);
        module.and_then(|module| Program::of(&module)).map_err(|e| invalid(source, &e))
    }

    fn of(module: &Module) -> wasmtime::Result<Program> {
        let export =
            |name: &str| module.get_export_index(name).ok_or_else(|| Error::msg(format!("no export `{name}`")));
        Ok(Program {
            memory: export("memory")?,
            alloc: export("alloc")?,
            handle: export("handle")?,
            initialize: module.get_export_index("_initialize"),
            pre: Linker::new(module.engine()).instantiate_pre(module)?,
        })
    }

    /// Makes an instance that may use `memory` bytes, take `allowed` to start, and answer with up to `frame` bytes.
    pub fn create(&self, memory: u64, frame: u64, allowed: Duration) -> Result<Created, AgentFault> {
        let limit = Limit { bytes: usize::try_from(memory).unwrap_or(usize::MAX), refused: 0 };
        let mut store = Store::new(self.pre.module().engine(), limit);
        store.limiter(|limit| limit);
        store.set_epoch_deadline(ticks(allowed));
        match self.pre.instantiate(&mut store) {
            Ok(instance) => Ok(Created { store, instance, frame: usize::try_from(frame).unwrap_or(usize::MAX) }),
            Err(error) => Err(name(error, store.data(), "starting the module", allowed)),
        }
    }
}

fn invalid(module: &Path, error: &Error) -> AgentFault {
    AgentFault::new(fault::INVALID_GUEST, format!("{}: {error:#}", module.display()))
}

/// An instance whose guest has not run yet, but for its start section.
pub struct Created {
    store: Store<Limit>,
    instance: Instance,
    frame: usize,
}

impl Created {
    /// Calls `_initialize` if the module exports it, within what was allowed for the start.
    pub fn initialize(mut self, program: &Program, allowed: Duration) -> Result<Live, AgentFault> {
        let store = &mut self.store;
        if let Some(initialize) = &program.initialize {
            let initialize = func(store, self.instance, initialize)
                .and_then(|f| f.typed::<(), ()>(&*store))
                .map_err(|e| AgentFault::new(fault::INVALID_GUEST, format!("_initialize: {e:#}")))?;
            initialize.call(&mut *store, ()).map_err(|e| name(e, store.data(), "_initialize", allowed))?;
        }
        let live = |store: &mut Store<Limit>| -> wasmtime::Result<_> {
            let memory = match self.instance.get_module_export(&mut *store, &program.memory) {
                Some(Extern::Memory(memory)) => memory,
                _ => return Err(Error::msg("`memory` is no memory")),
            };
            let alloc = func(store, self.instance, &program.alloc)?.typed(&*store)?;
            let handle = func(store, self.instance, &program.handle)?.typed(&*store)?;
            Ok((memory, alloc, handle))
        };
        let (memory, alloc, handle) =
            live(store).map_err(|e| AgentFault::new(fault::INVALID_GUEST, format!("{e:#}")))?;
        Ok(Live { store: self.store, memory, alloc, handle, frame: self.frame })
    }
}

fn func(store: &mut Store<Limit>, instance: Instance, export: &ModuleExport) -> wasmtime::Result<Func> {
    let found = instance.get_module_export(store, export).and_then(Extern::into_func);
    found.ok_or_else(|| Error::msg("an export that is no function"))
}

/// An instance that answers.
pub struct Live {
    store: Store<Limit>,
    memory: Memory,
    alloc: TypedFunc<i32, i32>,
    handle: TypedFunc<(i32, i32), i64>,
    frame: usize,
}

impl Live {
    /// One request, which may take `allowed`.
    pub fn call(&mut self, request: &[u8], allowed: Duration) -> Result<Vec<u8>, AgentFault> {
        let len = u32::try_from(request.len())
            .map_err(|_| AgentFault::new(fault::FRAME_TOO_LARGE, "a request of 4 GiB or more"))?;
        let store = &mut self.store;
        store.set_epoch_deadline(ticks(allowed));
        store.data_mut().refused = 0;

        let at = self.alloc.call(&mut *store, len as i32).map_err(|e| name(e, store.data(), "alloc", allowed))?;
        let start = at as u32 as usize;
        let data = self.memory.data_mut(&mut *store);
        let size = data.len();
        match data.get_mut(start..start + request.len()) {
            Some(room) => room.copy_from_slice(request),
            None => {
                let message = format!("alloc({len}) answered {start}, but the memory ends at {size}");
                return Err(AgentFault::new(fault::BAD_ANSWER, message));
            }
        }

        let packed =
            self.handle.call(&mut *store, (at, len as i32)).map_err(|e| name(e, store.data(), "handle", allowed))?
                as u64;
        let (start, len) = ((packed >> 32) as usize, packed as u32 as usize);
        if len > self.frame {
            let message = format!("{len} bytes, the limit is {} (frame_mib in the workload's [limits])", self.frame);
            return Err(AgentFault::new(fault::FRAME_TOO_LARGE, message));
        }
        let data = self.memory.data(&*store);
        data.get(start..start + len).map(<[u8]>::to_vec).ok_or_else(|| {
            let message = format!("handle answered {len} bytes at {start}, but the memory ends at {}", data.len());
            AgentFault::new(fault::BAD_ANSWER, message)
        })
    }
}

/// The memory limit of one instance. It remembers a refusal, because what a guest makes of one is a plain trap.
pub struct Limit {
    bytes: usize,
    refused: usize,
}

impl ResourceLimiter for Limit {
    fn memory_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let granted = desired <= self.bytes;
        if !granted {
            self.refused = desired;
        }
        Ok(granted)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

/// Gives an engine's error its name.
fn name(error: Error, limit: &Limit, what: &str, allowed: Duration) -> AgentFault {
    let trap = error.downcast_ref::<Trap>();
    // A trap's own words; around them the error has a backtrace of addresses that helps nobody.
    let why = trap.map_or_else(|| format!("{error:#}"), ToString::to_string);
    if trap == Some(&Trap::Interrupt) {
        let message =
            format!("{what}: still running after {} ms; a workload's [limits] can allow more", allowed.as_millis());
        return AgentFault::new(fault::DEADLINE_EXCEEDED, message);
    }
    if limit.refused > 0 {
        let message = format!(
            "{what}: wanted {} bytes of memory, the limit is {} (memory_mib in the workload's [limits]): {why}",
            limit.refused, limit.bytes
        );
        return AgentFault::new(fault::OUT_OF_MEMORY, message);
    }
    let kind = if trap.is_some() { fault::GUEST_TRAP } else { fault::INVALID_GUEST };
    AgentFault::new(kind, format!("{what}: {why}"))
}
