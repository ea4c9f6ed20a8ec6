//! `cargo bench --bench container`.

fn main() -> std::process::ExitCode {
    isobench_benches::main("container", isobench_core::Model::Container)
}
