//! `cargo bench --bench wasm`.

fn main() -> std::process::ExitCode {
    isobench_benches::main("wasm", isobench_core::Model::Wasm)
}
