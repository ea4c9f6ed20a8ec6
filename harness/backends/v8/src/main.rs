//! The runner of the `v8` backend.

fn main() -> std::process::ExitCode {
    isobench_runner::serve::main(&isobench_v8::V8)
}
