//! What an instance wrote is never seen by another, however their memories come to be: on every variant an instance
//! plants a value wherever a guest can write, and the next thousand look for it. In one slot, so that a pool has none
//! but the one that was just used; another module comes between, so that a slot changes hands as well.

use isobench_runner::testing::TestBed;
use isobench_wasmtime::engine;
use isobench_wasmtime::module::{self, Program};
use isobench_wasmtime::variant::Variant;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const INSTANCES: usize = 1000;
const MEMORY_LIMIT: u64 = 64 << 20;
const FRAME_LIMIT: u64 = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(60);

/// A guest whose `handle` first looks for a canary and answers with what it found, one digit for each place, then plants
/// one in each: a global, the memory (its data, the zeros behind, and what it grew by: 24 pages of 64 KiB, more
/// than `pooling-resident` keeps), a table, and the one-time state of passive segments.
fn guest(data: &str) -> String {
    format!(
        r#"(module
        (memory (export "memory") 2)
        (data (i32.const 0) "{data}")
        (data $once "once")
        (type $answer (func (result i32)))
        (table $table 8 funcref)
        (elem (table $table) (i32.const 0) func $clean)
        (elem $planted func $dirty)
        (global $global (mut i64) (i64.const 0))
        (func $clean (result i32) i32.const 0)
        (func $dirty (result i32) i32.const 1)
        (func (export "alloc") (param i32) (result i32) i32.const 1024)

        ;; Whether a word other than zero lies in [from, to), every 64 bytes; and then one does.
        (func $search (param $from i32) (param $to i32) (result i32) (local $found i32)
          (loop $next
            (if (i64.ne (i64.load (local.get $from)) (i64.const 0)) (then (local.set $found (i32.const 1))))
            (i64.store (local.get $from) (i64.const 0x0CA1A12BCA1A12BC))
            (local.set $from (i32.add (local.get $from) (i32.const 64)))
            (br_if $next (i32.lt_u (local.get $from) (local.get $to))))
          (local.get $found))
        (func $answer (param $at i32) (param $found i32)
          (i32.store8 (local.get $at) (i32.add (i32.const 48) (local.get $found))))

        (func (export "handle") (param i32 i32) (result i64)
          (local $global i32) (local $data i32) (local $zeros i32) (local $grown i32) (local $table i32)
          (local.set $global (i64.ne (global.get $global) (i64.const 0)))
          (local.set $data (i64.ne (i64.load (i32.const 0)) (i64.const 0x656e697473697270)))
          (local.set $zeros (call $search (i32.const 2048) (i32.const 131072)))
          (local.set $grown (i32.ne (memory.size) (i32.const 2)))
          (if (i32.eqz (local.get $grown)) (then (drop (memory.grow (i32.const 22)))))
          (local.set $grown (i32.or (local.get $grown) (call $search (i32.const 131072) (i32.const 1572864))))
          (local.set $table (call_indirect $table (type $answer) (i32.const 0)))
          ;; Segments can be used once: where an instance has nothing else from another, this traps if they were.
          (if (i32.eqz (local.get $global)) (then
            (table.init $table $planted (i32.const 0) (i32.const 0) (i32.const 1))
            (elem.drop $planted)
            (memory.init $once (i32.const 1100) (i32.const 0) (i32.const 4))
            (data.drop $once)))
          (global.set $global (i64.const 0x0CA1A12BCA1A12BC))
          (i64.store (i32.const 0) (i64.const 0x0CA1A12BCA1A12BC))
          (call $answer (i32.const 1200) (local.get $global))
          (call $answer (i32.const 1201) (local.get $data))
          (call $answer (i32.const 1202) (local.get $zeros))
          (call $answer (i32.const 1203) (local.get $grown))
          (call $answer (i32.const 1204) (local.get $table))
          (i64.or (i64.shl (i64.const 1200) (i64.const 32)) (i64.const 5)))
        )"#
    )
}

/// One instance: what it finds at first, and what it finds of its own.
fn look_and_plant(program: &Program) -> (Vec<u8>, Vec<u8>) {
    let created = program.create(MEMORY_LIMIT, FRAME_LIMIT, DEADLINE).unwrap();
    let mut live = created.initialize(program, DEADLINE).unwrap();
    (live.call(b"", DEADLINE).unwrap(), live.call(b"", DEADLINE).unwrap())
}

#[test]
fn no_instance_ever_sees_what_another_wrote() {
    let bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-wasmtime"));
    // Two modules whose data differs only behind the word that is looked at.
    let sources = ["one", "two"].map(|name| bed.write_wat(&format!("{name}.wasm"), &guest(&format!("pristine{name}"))));
    for variant in Variant::ALL {
        let engine = engine::engine(variant, 1).unwrap();
        let load = |source: &PathBuf| {
            let compiled = source.with_extension(variant.name());
            module::prepare(variant.compiled_as(), source, &compiled).unwrap();
            Program::load(&engine, &compiled).unwrap()
        };
        let ready = sources.each_ref().map(load);
        for n in 0..=INSTANCES {
            // Sixteen of one and then sixteen of the other: slots are used again by the same module and by another.
            let which = n / 16 % 2;
            let found = match variant {
                Variant::Compile => {
                    let (bytes, source) = (fs::read(&sources[which]).unwrap(), &sources[which]);
                    look_and_plant(&Program::compile(&engine, &bytes, source).unwrap())
                }
                _ => look_and_plant(&ready[which]),
            };
            // An instance finds what it planted itself, or looking would prove nothing.
            assert_eq!(found, (b"00000".to_vec(), b"11111".to_vec()), "{}: instance {n}", variant.name());
        }
    }
}
