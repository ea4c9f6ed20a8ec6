//! The fixtures of the repository, and what a fixture may be: the README's example word by word, one guest of any kind,
//! a Wasm guest built anew, the scripts in another engine.

mod common;

use common::{Checkout, ECHO_WAT, repository};
use isobench_core::{Guest, sha256_hex, workload};
use isobench_runner::testing;
use std::fs;
use std::path::Path;
use std::process::Command;

const SIX: [&str; 6] = ["blur", "echo", "json", "nbody", "render", "sha256"];

/// Runs a workload's `handle` on one input under Node and prints its answer's bytes.
const NODE: &str = "import { readFileSync, writeSync } from 'node:fs';
const [guest, input] = process.argv.slice(-2);
const source = 'data:text/javascript;base64,' + readFileSync(guest).toString('base64');
const { handle } = await import(source);
let answer = handle(new Uint8Array(readFileSync(input)));
while (answer.length) answer = answer.subarray(writeSync(1, answer));";

#[test]
fn the_six_workloads_pass_on_every_guest() {
    let checkout = Checkout::real();
    SIX.iter().for_each(|name| checkout.copy_workload(name));
    let ran = checkout.run(&["check"]);
    ran.expect(0).says(" passed, 0 failed");
    // Two cases; native, wasm and js as a process, js and wasm on V8, wasm on Wasmtime.
    let first = ["process/spawn/", "v8/fresh/", "wasmtime/pooling/"].map(|row| ran.stdout.matches(row).count());
    assert_eq!(first, [6 * 2 * 3, 6 * 2 * 2, 6 * 2]);
    checkout.assert_nothing_left();
}

#[test]
fn the_example_in_the_readme_is_all_that_a_new_workload_takes() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let (_, example) = readme.split_once("<!-- example: add a workload -->").expect("the README's marker");
    let (script, _) = example.trim_start().strip_prefix("```sh\n").and_then(|s| s.split_once("```")).unwrap();

    let checkout = Checkout::real();
    let before = workload::load_all(&checkout.path("workloads")).unwrap().len();
    let made = Command::new("sh").args(["-euc", script]).current_dir(checkout.dir.path()).status().unwrap();
    assert!(made.success());
    let loaded = workload::load_all(&checkout.path("workloads")).unwrap();
    assert_eq!((before, loaded.len()), (0, 1));
    let name = loaded[0].as_ref().unwrap().name.clone();

    checkout.run(&["check", &name]).expect(0).says(" passed, 0 failed").says("✓ v8/fresh/js");
    let cell = format!("v8/fresh/js/{name}/small");
    for cell in [&cell, &format!("docker/runc/js/{name}/small"), &format!("qemu/boot/js/{name}/small")] {
        checkout.run(&["list", "--cells"]).expect(0).says(cell);
    }
    let only = format!("js/{name}");
    checkout.run(&["run", "--quick", "--only", &only, "--skip", "docker", "--skip", "qemu", "--rounds", "1"]).expect(0);
    let (run, _) = checkout.read_run();
    assert!(run.cells.iter().any(|c| c.cell.to_string() == cell && c.blocks > 0));
    assert!(checkout.page().contains(&name));
    checkout.assert_nothing_left();
}

#[test]
fn one_guest_of_any_kind_is_enough() {
    let checkout = Checkout::real();
    let rust = "fn handle(request: &[u8]) -> Vec<u8> {\n    request.to_vec()\n}\n\nisobench_guest::handler!(handle);\n";
    checkout.fixture("script", "", &[("guest.js", "export const handle = (request) => request;")]);
    checkout.fixture("text", "", &[("guest.wat", ECHO_WAT)]);
    checkout.run(&["check", "script"]).expect(0).says(" passed, 0 failed").says("✓ process/spawn/js");
    checkout.run(&["check", "text"]).expect(0).says(" passed, 0 failed").says("✓ wasmtime/pooling/wasm");

    checkout.fixture("rusty", "", &[("rust/Cargo.toml", &common::manifest("rusty")), ("rust/src/main.rs", rust)]);
    let ran = checkout.run(&["check", "rusty"]);
    ran.says("✓ process/spawn/native/rusty/small");
    if has_wasm_toolchain() {
        // Native, and the Wasm guest that is built from the same source.
        ran.expect(0).says(" passed, 0 failed");
    } else {
        // The guest that cannot be built is named with what would build it.
        ran.expect(3).says("rustup target add wasm32-unknown-unknown");
        testing::skip("no Rust compiler for wasm32-unknown-unknown: the Wasm guest of a Rust source was not built");
    }
}

#[test]
fn a_wasm_guest_built_anew_answers_as_the_committed_one() {
    if !has_wasm_toolchain() {
        return testing::skip("no Rust compiler for wasm32-unknown-unknown; see workloads/build-wasm.sh");
    }
    let checkout = Checkout::real();
    checkout.copy_workload("sha256");
    let folder = checkout.path("workloads/sha256");
    let committed = sha256_hex(&fs::read(folder.join("guest.wasm")).unwrap());
    // Without the committed file, the guest is what the script builds from the source.
    fs::remove_file(folder.join("guest.wasm")).unwrap();
    checkout.run(&["check", "sha256"]).expect(0).says("✓ wasmtime/pooling/wasm/sha256/large").says(" passed, 0 failed");
    let note = fs::read_to_string(folder.join("guest.wasm.txt")).unwrap();
    assert!(note.contains(&committed), "guest.wasm.txt is not about the committed guest.wasm");
}

#[test]
fn the_notes_beside_the_committed_wasm_guests_are_about_them() {
    for name in SIX {
        let folder = repository().join("workloads").join(name);
        let note = fs::read_to_string(folder.join("guest.wasm.txt")).unwrap();
        let sha256 = sha256_hex(&fs::read(folder.join("guest.wasm")).unwrap());
        assert!(note.contains(&sha256), "{name}: run workloads/build-wasm.sh {name}");
    }
}

#[test]
fn the_scripts_answer_alike_under_node() {
    if Command::new("node").arg("--version").output().is_err() {
        return testing::skip("no node in PATH");
    }
    for name in SIX {
        let folder = repository().join("workloads").join(name);
        let workload = workload::load(&folder).unwrap();
        assert!(workload.sources.contains_key(&Guest::Js));
        for case in &workload.cases {
            let answer = under_node(&folder.join("guest.js"), &case.input);
            assert_eq!(sha256_hex(&answer), case.expected_sha256, "{name}, case {}", case.name);
        }
    }
}

fn under_node(guest: &Path, input: &Path) -> Vec<u8> {
    let mut node = Command::new("node");
    node.args(["--input-type=module", "--eval", NODE, "--"]).arg(guest).arg(input);
    let output = node.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What `workloads/build-wasm.sh` looks for.
fn has_wasm_toolchain() -> bool {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().map(|o| o.stdout).unwrap_or_default();
    let sysroot = String::from_utf8_lossy(&sysroot).trim().to_string();
    Path::new(&sysroot).join("lib/rustlib/wasm32-unknown-unknown").is_dir()
        || Path::new("/usr/lib/rustlib/src/rust/library/std/Cargo.toml").is_file()
}
