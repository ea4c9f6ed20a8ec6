//! The agent for Wasm guests: Wasmtime as in the variant `pooling`.

use isobench_wasmtime::{agent, variant::Variant};

fn main() -> std::process::ExitCode {
    agent::main(Variant::Pooling)
}
