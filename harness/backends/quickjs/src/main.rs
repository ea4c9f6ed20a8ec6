//! The runner of the `quickjs` backend.

fn main() -> std::process::ExitCode {
    isobench_runner::serve::main(&isobench_quickjs::QuickJs)
}
