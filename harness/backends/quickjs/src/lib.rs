//! QuickJS runtimes: a small interpreter per instance, in the host process.
//!
//! | module | what it does |
//! |---|---|
//! | [`boundary`] | one context and its runtime: made, loaded, called, thrown away |
//! | [`code`] | a guest's code: its text, or QuickJS's bytecode of it |
//! | `host` | a runtime with its guard, and the one that contexts of a thread share |
//! | `guard` | the memory limit and the deadline |
//! | `stop` | why a guest stopped, and what it threw |
//! | `text`, `utf8` | `TextEncoder` and `TextDecoder` |
//! | `variant` | the ladder |
//! | [`backend`] | all of it behind the harness's traits |
//!
//! The runner and the agent behind other boundaries are both made of [`boundary::Boundary`], so that what is measured
//! bare and what is measured behind a boundary is the same engine in the same configuration.

pub mod backend;
pub mod boundary;
pub mod code;
mod guard;
mod host;
mod stop;
mod text;
mod utf8;
mod variant;

pub use backend::QuickJs;
pub use boundary::Boundary;
pub use code::Code;

/// The version of QuickJS (QuickJS-NG), for example `0.16.2`.
pub fn version() -> &'static str {
    // SAFETY: a constant C string.
    let version = unsafe { std::ffi::CStr::from_ptr(rquickjs::qjs::JS_GetVersion()) };
    version.to_str().unwrap_or("unknown")
}
