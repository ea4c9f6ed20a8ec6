//! The agent for Wasm guests on Wasmtime's baseline compiler.

use isobench_wasmtime::{agent, variant::Variant};

fn main() -> std::process::ExitCode {
    agent::main(Variant::Winch)
}
