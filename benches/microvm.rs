//! `cargo bench --bench microvm`.

fn main() -> std::process::ExitCode {
    isobench_benches::main("microvm", isobench_core::Model::Microvm)
}
