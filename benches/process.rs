//! `cargo bench --bench process`.

fn main() -> std::process::ExitCode {
    isobench_benches::main("process", isobench_core::Model::Process)
}
