//! `cargo bench --bench v8`.

fn main() -> std::process::ExitCode {
    isobench_benches::main("v8", isobench_core::Model::Isolate)
}
