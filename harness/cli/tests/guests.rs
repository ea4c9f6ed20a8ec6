//! Guests that misbehave, on the real backends, all in one run: every cell gets the fault's name, and the healthy cells
//! beside them are measured as if nothing had been.

mod common;

use common::{Checkout, ECHO_WAT};
use isobench_core::{CellEntry, FaultKind, RunFile};
use std::collections::BTreeMap;
use std::fs;

use FaultKind::{
    BadAnswer, ChannelClosed, DeadlineExceeded, FrameTooLarge, GuestThrow, GuestTrap, InvalidGuest, NoHello,
    OutOfMemory, WrongAnswer,
};

const SHORT: &str = "[limits]\ncall_deadline_ms = 400\nstart_deadline_ms = 5000\n";
const ROOMY: &str = "[limits]\nmemory_mib = 1200\nframe_mib = 1\n";
/// Its start must end by its deadline, and the engine's part of the start must not.
const MUTE: &str = "[limits]\nstart_deadline_ms = 2000\n";

/// Name, JavaScript, limits, the fault, and a part of its message.
const JS: [(&str, &str, &str, FaultKind, &str); 12] = [
    ("js-syntax", "export function handle(request) {\n  return request +;\n}", "", InvalidGuest, "guest.js:2"),
    ("js-no-handle", "export const handler = (request) => request;", "", InvalidGuest, "handle"),
    ("js-import", "import fs from 'node:fs';\nexport const handle = (r) => r;", "", InvalidGuest, "import"),
    ("js-throws", "export function handle() {\n  throw new TypeError('boom');\n}", "", GuestThrow, "boom"),
    ("js-loops", "export function handle() { for (;;); }", SHORT, DeadlineExceeded, "400 ms"),
    ("js-promises", PROMISES, SHORT, DeadlineExceeded, "400 ms"),
    ("js-detached", DETACHED, "", BadAnswer, ""),
    ("js-eats", "export function handle() { for (const all = [];;) all.push({ all }); }", "", OutOfMemory, "memory"),
    ("js-lies", "export const handle = () => new Uint8Array(3);", "", WrongAnswer, ""),
    ("js-text", "export const handle = () => 'text';", "", BadAnswer, "Uint8Array"),
    ("js-gigabyte", "export const handle = () => new Uint8Array(2 ** 30);", ROOMY, FrameTooLarge, "1073741824"),
    ("js-mute", "for (;;); export const handle = (r) => r;", MUTE, NoHello, "2000 ms"),
];

/// Promises without end, after an answer that would be right.
const PROMISES: &str =
    "export function handle(r) { (function again() { Promise.resolve().then(again); })(); return r; }";
/// An answer that looks like an empty one.
const DETACHED: &str = "export function handle(r) { const a = r.slice(); a.buffer.transfer(); return a; }";

/// The parts of a Wasm guest that answers with its request.
const MEMORY: &str = "(memory (export \"memory\") 2)";
const ALLOC: &str = "(func (export \"alloc\") (param i32) (result i32) i32.const 64)";
const ECHO: &str =
    "(i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1)))";

/// Name, the module's body beside [`ALLOC`], limits, the fault, and a part of its message.
fn wasm() -> Vec<(&'static str, String, &'static str, FaultKind, &'static str)> {
    let handle = |body: &str| format!("{MEMORY} (func (export \"handle\") (param i32 i32) (result i64) {body})");
    let with = |more: &str| handle(ECHO) + more;
    let grow = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    vec![
        ("wat-import", format!("(import \"env\" \"now\" (func)) {}", with("")), "", InvalidGuest, "import"),
        ("wat-no-handle", MEMORY.into(), "", InvalidGuest, "handle"),
        ("wat-wide", with("").replace("\") 2)", "\") i64 2)"), "", InvalidGuest, "64-bit"),
        ("wat-start", with("(func $s unreachable) (start $s)"), "", GuestTrap, "unreachable"),
        ("wat-traps", handle("unreachable"), "", GuestTrap, "unreachable"),
        ("wat-recurses", handle("(call 0 (local.get 0) (local.get 1))"), "", GuestTrap, ""),
        ("wat-loops", handle("(loop br 0) i64.const 0"), SHORT, DeadlineExceeded, "400 ms"),
        ("wat-grows", handle(grow), "", OutOfMemory, "memory"),
        ("wat-lies", handle("i64.const 3"), "", WrongAnswer, ""),
        ("wat-wild", handle("i64.const 0x1fff80000000f"), "", BadAnswer, ""),
        (
            "wat-gigabyte",
            handle("i64.const 0x40000000").replace("\") 2)", "\") 16400)"),
            ROOMY,
            FrameTooLarge,
            "1073741824",
        ),
        ("wat-mute", with("(func (export \"_initialize\") (loop br 0))"), MUTE, NoHello, "2000 ms"),
    ]
}

/// A native guest that does as its case says.
const NATIVE: &str = r#"
fn handle(request: &[u8]) -> Vec<u8> {
    match request {
        b"panics" => panic!("as told"),
        b"exits" => std::process::exit(3),
        b"loops" => loop {
            std::thread::sleep(std::time::Duration::from_secs(1));
        },
        // Written to, or the kernel would never give the pages.
        b"eats" => vec![7; 1 << 30],
        b"long" => vec![7; 20 << 20],
        b"lies" => b"no".to_vec(),
        _ => request.to_vec(),
    }
}

isobench_guest::handler!(handle);
"#;
const NATIVE_CASES: [(&str, FaultKind); 6] = [
    ("panics", GuestTrap),
    ("exits", ChannelClosed),
    ("loops", DeadlineExceeded),
    ("eats", OutOfMemory),
    ("long", FrameTooLarge),
    ("lies", WrongAnswer),
];

#[test]
fn every_misbehaviour_is_an_error_row_with_its_name() {
    let checkout = Checkout::real();
    let mut expected = BTreeMap::new();
    for (name, source, limits, kind, message) in JS {
        checkout.fixture(name, limits, &[("guest.js", source)]);
        expected.insert(name, (kind, message));
    }
    for (name, body, limits, kind, message) in wasm() {
        checkout.fixture(name, limits, &[("guest.wat", &format!("(module {body} {ALLOC})"))]);
        expected.insert(name, (kind, message));
    }
    checkout.fixture("wasm-garbage", "", &[("guest.wasm", "no module")]);
    expected.insert("wasm-garbage", (InvalidGuest, "guest.wasm"));
    checkout.fixture("wat-syntax", "", &[("guest.wat", "(module\n  (func\n    (i32.sub))")]);
    checkout.fixture("healthy", "", &[("guest.js", "export const handle = (r) => r;"), ("guest.wat", ECHO_WAT)]);

    // Every engine, bare and behind one boundary.
    let others = ["bwrap/", "oci/", "docker/", "qemu/"].iter().flat_map(|b| ["--skip", b]);
    let usual = ["run", "--matrix", "--quick", "--seed", "1", "--rounds", "1"];
    let args: Vec<&str> = usual.into_iter().chain(others).collect();
    let ran = checkout.run(&args);
    ran.expect(3).says("wat-syntax/guest.wat:3");
    checkout.assert_nothing_left();

    let (run, _) = checkout.read_run();
    let page = checkout.page();
    let mut wrong = Vec::new();
    let mut refusals = BTreeMap::new();
    for entry in &run.cells {
        let name = entry.cell.workload.as_str();
        let found = entry.faults.first().map(|f| &f.fault);
        let right = match (expected.get(name), found) {
            (None, None) => entry.blocks > 0,
            (Some((kind, message)), Some(fault)) => {
                fault.kind == in_process(entry, *kind) && fault.message.contains(message)
            }
            _ => false,
        };
        let refusal = found.filter(|fault| fault.kind == InvalidGuest && !name.starts_with("js-"));
        let same = refusal.is_none_or(|fault| *refusals.entry(name).or_insert(&fault.message) == &fault.message);
        if !right || !same {
            wrong.push(format!("{}: {found:?}", entry.cell));
        }
        if let Some(fault) = found
            && !(page.contains(name) && page.contains(&fault.kind.to_string()))
        {
            wrong.push(format!("{}: not in the report", entry.cell));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Two engines for each JS guest, three for each Wasm guest, each bare and in a process, and of each of five rows a
    // cell once more.
    assert_eq!(run.cells.len(), 4 * (JS.len() + 1) + 6 * (wasm().len() + 2) + 5);
    let absent: Vec<_> = run.absent.iter().filter(|a| a.what.ends_with("/wat-syntax")).collect();
    assert!(absent.len() == 4 && absent.iter().all(|a| a.reason.contains("guest.wat:3")), "{absent:?}");
    assert!(page.contains("guest.wat:3"));
}

/// In process nobody says hello: there a start that does not end is just that.
fn in_process(entry: &CellEntry, kind: FaultKind) -> FaultKind {
    if kind == NoHello && entry.cell.backend != "process" { DeadlineExceeded } else { kind }
}

#[test]
fn a_native_guest_that_misbehaves_is_named_too() {
    let checkout = Checkout::real();
    let case =
        |(name, _): &(&str, FaultKind)| format!("[[case]]\nname = \"{name}\"\ninput = \"{name}\"\nexpected = \"in\"\n");
    checkout.native("healthy", &(NATIVE_CASES.iter().map(case).collect::<String>() + SHORT), NATIVE);
    for (name, _) in NATIVE_CASES {
        fs::write(checkout.path("workloads/healthy").join(name), name).unwrap();
    }
    let silent = "fn main() {\n    std::thread::sleep(std::time::Duration::from_secs(60));\n}\n";
    checkout.native("silent", MUTE, silent);

    checkout.run(&["run", "--only", "process/spawn/native", "--seed", "1", "--rounds", "1"]).expect(3);
    checkout.assert_nothing_left();
    let (run, _) = checkout.read_run();
    assert_eq!(fault(&run, "silent", "small"), Some(NoHello));
    assert_eq!(fault(&run, "healthy", "small"), None);
    for (case, expected) in NATIVE_CASES {
        assert_eq!(fault(&run, "healthy", case), Some(expected), "{case}");
    }
}

fn fault(run: &RunFile, workload: &str, case: &str) -> Option<FaultKind> {
    let cell = run.cells.iter().find(|c| c.cell.workload == workload && c.cell.case == case).unwrap();
    cell.faults.first().map(|f| f.fault.kind)
}
