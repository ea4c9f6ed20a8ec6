//! What a workload links: the handler macro, and the frame protocol that agents and the harness speak.
//!
//! A Rust workload is one function and one line, and serves as the native guest and as the Wasm guest:
//!
//! ```no_run
//! fn handle(request: &[u8]) -> Vec<u8> {
//!     request.to_vec()
//! }
//!
//! isobench_guest::handler!(handle);
//! ```
//!
//! - [`frame`]: length-prefixed bytes, the same between every agent and the harness;
//! - [`fault`]: the names under which a guest's failures are reported;
//! - [`agent`]: the main loop of a program inside a boundary, for any engine that implements [`agent::Guest`];
//! - [`native`] and `wasm`: what [`handler!`] expands to on either side.

pub mod fault;
pub mod frame;

#[cfg(unix)]
pub mod agent;
#[cfg(unix)]
pub mod native;
#[cfg(target_arch = "wasm32")]
pub mod wasm;

/// Makes a `fn(&[u8]) -> Vec<u8>` the guest of a workload whose crate is a program (`src/main.rs`).
///
/// Natively it defines the `main` of an agent that answers every call with the function. On `wasm32` it exports `alloc`
/// and `handle` as the workload contract wants them, and a `main` that does nothing and that nobody calls.
#[macro_export]
macro_rules! handler {
    ($handle:path) => {
        #[cfg(not(target_arch = "wasm32"))]
        #[global_allocator]
        static ISOBENCH_ALLOCATOR: $crate::native::Allocator = $crate::native::Allocator;

        #[cfg(not(target_arch = "wasm32"))]
        fn main() -> ::std::process::ExitCode {
            $crate::native::serve(concat!("native ", env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")), $handle)
        }

        #[cfg(target_arch = "wasm32")]
        fn main() {}

        #[cfg(target_arch = "wasm32")]
        #[unsafe(export_name = "alloc")]
        extern "C" fn isobench_alloc(len: i32) -> i32 {
            $crate::wasm::alloc(len)
        }

        #[cfg(target_arch = "wasm32")]
        #[unsafe(export_name = "handle")]
        extern "C" fn isobench_handle(ptr: i32, len: i32) -> i64 {
            $crate::wasm::handle($handle, ptr, len)
        }
    };
}
