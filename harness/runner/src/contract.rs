//! What every engine may rely on, checked once before any engine sees it: the shape of a Wasm guest, the length of a
//! request. The same mistake then has the same fault and the same text on every row.

use crate::protocol::BlockRequest;
use isobench_core::{Fault, FaultKind, Guest};
use std::fs;
use std::path::Path;
use wasmparser::types::{EntityType, TypesRef};
use wasmparser::{BinaryReaderError, FuncType, MemoryType, Parser, Payload, ValType, Validator, WasmFeatures};

/// What a guest may use: WebAssembly 2.0. Every engine has all of it; of what came later (threads, memories of 64 bits
/// or several of them, garbage collection, exceptions, tail calls) each engine has another part.
const FEATURES: WasmFeatures = WasmFeatures::WASM2;

/// The functions of a guest: name, parameters, results, and whether the guest must export it.
const FUNCTIONS: [(&str, &[ValType], &[ValType], bool); 3] = [
    ("alloc", &[ValType::I32], &[ValType::I32], true),
    ("handle", &[ValType::I32, ValType::I32], &[ValType::I64], true),
    ("_initialize", &[], &[], false),
];

/// Why a module is not a guest.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("not a valid Wasm module: {0}; a guest uses WebAssembly 2.0 and nothing later")]
    Invalid(#[from] BinaryReaderError),
    #[error(
        "it imports `{name}` from `{module}`, but a guest is a module without imports: build for \
         wasm32-unknown-unknown, not WASI"
    )]
    Import { module: String, name: String },
    #[error("it has {0} memories, but a guest has one")]
    Memories(usize),
    #[error("its memory is {0}, not a 32-bit memory of its own")]
    Memory(&'static str),
    #[error("it has no export `{name}`, {kind}: a guest must export `memory`, `alloc` and `handle`")]
    Missing { name: &'static str, kind: String },
    #[error("its export `{name}` is {found}, not {wanted}")]
    Export { name: &'static str, found: String, wanted: String },
}

/// Checks the guest and the request of a block.
///
/// # Errors
/// Returns `frame_too_large` if the request is longer than the workload's limit, and what [`check_guest`] returns.
pub(crate) fn check(request: &BlockRequest) -> Result<(), Fault> {
    let input = &request.input;
    let length = fs::metadata(input).map_err(|e| Fault::backend(format!("{}: {e}", input.display())))?.len();
    let limit = request.target.limits.frame_bytes;
    if length > limit {
        let message =
            format!("the request has {length} bytes, the limit is {limit} (frame_mib in the workload's [limits])");
        return Err(Fault::new(FaultKind::FrameTooLarge, message));
    }
    check_guest(request.target.guest, &request.target.artifact)
}

/// Checks the module of a Wasm guest against the contract of workloads/README.md. Other guests are left to their engine.
///
/// # Errors
/// Returns `invalid_guest` with the file and what is wrong with it, or `backend_failed` if it cannot be read.
pub fn check_guest(guest: Guest, artifact: &Path) -> Result<(), Fault> {
    if guest != Guest::Wasm {
        return Ok(());
    }
    let bytes = fs::read(artifact).map_err(|e| Fault::backend(format!("{}: {e}", artifact.display())))?;
    check_module(&bytes)
        .map_err(|refusal| Fault::new(FaultKind::InvalidGuest, format!("{}: {refusal}", artifact.display())))
}

fn check_module(bytes: &[u8]) -> Result<(), Refusal> {
    // First, because the validator's words for a memory of another kind name a feature and not the mistake.
    check_memories(bytes)?;
    let types = Validator::new_with_features(FEATURES).validate_all(bytes)?;
    let types = types.as_ref();
    if let Some((module, name, _)) = types.core_imports().into_iter().flatten().next() {
        return Err(Refusal::Import { module: module.into(), name: name.into() });
    }
    match export(types, "memory") {
        Some(EntityType::Memory(_)) => {}
        Some(other) => return Err(unlike("memory", spell(types, other), "a memory".into())),
        None => return Err(Refusal::Missing { name: "memory", kind: "its memory".into() }),
    }
    FUNCTIONS.into_iter().try_for_each(|function| check_function(types, function))
}

fn check_memories(bytes: &[u8]) -> Result<(), Refusal> {
    for payload in Parser::new(0).parse_all(bytes) {
        let Payload::MemorySection(section) = payload? else { continue };
        let memories: Vec<MemoryType> = section.into_iter().collect::<Result<_, _>>()?;
        match memories[..] {
            [] => {}
            [MemoryType { memory64: true, .. }] => return Err(Refusal::Memory("a 64-bit memory")),
            [MemoryType { shared: true, .. }] => return Err(Refusal::Memory("a shared memory")),
            [_] => {}
            _ => return Err(Refusal::Memories(memories.len())),
        }
    }
    Ok(())
}

fn check_function(
    types: TypesRef<'_>,
    (name, params, results, required): (&'static str, &[ValType], &[ValType], bool),
) -> Result<(), Refusal> {
    let wanted = || spell_function(params, results);
    match export(types, name) {
        Some(EntityType::Func(id)) if is(types[id].unwrap_func(), params, results) => Ok(()),
        Some(other) => Err(unlike(name, spell(types, other), wanted())),
        None if required => Err(Refusal::Missing { name, kind: format!("a function {}", wanted()) }),
        None => Ok(()),
    }
}

fn is(function: &FuncType, params: &[ValType], results: &[ValType]) -> bool {
    function.params() == params && function.results() == results
}

fn unlike(name: &'static str, found: String, wanted: String) -> Refusal {
    Refusal::Export { name, found, wanted }
}

fn export(types: TypesRef<'_>, name: &str) -> Option<EntityType> {
    types.core_exports().into_iter().flatten().find(|(found, _)| *found == name).map(|(_, kind)| kind)
}

fn spell(types: TypesRef<'_>, kind: EntityType) -> String {
    match kind {
        EntityType::Func(id) | EntityType::FuncExact(id) => {
            let function = types[id].unwrap_func();
            spell_function(function.params(), function.results())
        }
        EntityType::Memory(_) => "a memory".into(),
        EntityType::Table(_) => "a table".into(),
        EntityType::Global(_) => "a global".into(),
        EntityType::Tag(_) => "a tag".into(),
    }
}

fn spell_function(params: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("({}) → ({})", list(params), list(results))
}

#[cfg(test)]
mod tests {
    use super::check_module;

    const MEMORY: &str = r#"(memory (export "memory") 1)"#;
    const ALLOC: &str = r#"(func (export "alloc") (param i32) (result i32) i32.const 64)"#;
    const HANDLE: &str = r#"(func (export "handle") (param i32 i32) (result i64) i64.const 0)"#;

    fn refused(parts: &[&str]) -> String {
        let bytes = wat::parse_str(format!("(module {})", parts.join("\n"))).expect("the fixture assembles");
        check_module(&bytes).expect_err("refused").to_string()
    }

    #[test]
    fn a_guest_of_the_contract_is_taken() {
        let more = r#"(func (export "_initialize")) (func (export "more") (param f64) (result v128) unreachable)"#;
        for parts in [&[MEMORY, ALLOC, HANDLE][..], &[MEMORY, ALLOC, HANDLE, more]] {
            let bytes = wat::parse_str(format!("(module {})", parts.join("\n"))).expect("the fixture assembles");
            check_module(&bytes).expect("a guest");
        }
    }

    #[test]
    fn every_other_module_is_refused_with_what_is_wrong() {
        let shared = r#"(memory (export "memory") 1 2 shared)"#;
        let wide = r#"(memory (export "memory") i64 1)"#;
        let structure = "(type (struct (field i32)))";
        let tail = "(func $f return_call $f)";
        let wide_alloc = r#"(func (export "alloc") (param i64) (result i32) i32.const 0)"#;
        let no_result = r#"(func (export "handle") (param i32 i32))"#;
        let global = r#"(global (export "handle") i32 (i32.const 0))"#;
        let takes = r#"(func (export "_initialize") (param i32))"#;
        let gives = r#"(func (export "_initialize") (result i32) i32.const 0)"#;
        for (parts, told) in [
            (&[][..], "no export `memory`, its memory: a guest must export `memory`, `alloc` and `handle`"),
            (&[wide, ALLOC, HANDLE], "its memory is a 64-bit memory, not a 32-bit memory"),
            (&[shared, ALLOC, HANDLE], "its memory is a shared memory"),
            (&[MEMORY, "(memory 1)", ALLOC, HANDLE], "2 memories"),
            (&[r#"(import "a" "b" (memory 1))"#, ALLOC, HANDLE], "imports `b` from `a`"),
            (&[r#"(import "wasi" "exit" (func))"#, MEMORY, ALLOC, HANDLE], "without imports"),
            (&[structure, MEMORY, ALLOC, HANDLE], "gc"),
            (&[tail, MEMORY, ALLOC, HANDLE], "tail calls"),
            (&[MEMORY, HANDLE], "no export `alloc`, a function (i32) → (i32)"),
            (&[MEMORY, wide_alloc, HANDLE], "`alloc` is (i64) → (i32), not (i32) → (i32)"),
            (&[MEMORY, ALLOC], "no export `handle`, a function (i32, i32) → (i64)"),
            (&[MEMORY, ALLOC, no_result], "`handle` is (i32, i32) → (), not (i32, i32) → (i64)"),
            (&[MEMORY, ALLOC, global], "`handle` is a global"),
            (&[MEMORY, ALLOC, HANDLE, takes], "`_initialize` is (i32) → (), not () → ()"),
            (&[MEMORY, ALLOC, HANDLE, gives], "`_initialize` is () → (i32)"),
        ] {
            let refusal = refused(parts);
            assert!(refusal.contains(told), "{parts:?}: {refusal}");
        }
        assert!(
            check_module(b"export function handle() {}").is_err_and(|e| e.to_string().contains("not a valid Wasm"))
        );
        assert!(check_module(b"\0asm\x0d\0\x01\0").is_err(), "a component");
    }
}
