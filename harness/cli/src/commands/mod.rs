//! One file per subcommand.

pub mod check;
pub mod clean;
pub mod compare;
pub mod doctor;
pub mod export;
mod found;
pub mod list;
pub mod report;
pub mod run;
pub mod runs;
pub mod schema;

use std::process::ExitCode;

/// Finished, but some cells are error rows or some fixture is broken.
pub const SOME_FAILED: u8 = 3;

/// The exit code of a command that went through all it had to do.
pub fn finished(any_failed: bool) -> ExitCode {
    if any_failed { ExitCode::from(SOME_FAILED) } else { ExitCode::SUCCESS }
}

/// The command line for the record, the program by its name alone: `run.json` is published, this machine's folders are
/// not. Bytes that are not UTF-8 become U+FFFD: JSON has no other way to write them.
pub fn command_line() -> Vec<String> {
    let args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once("isobench".to_string()).chain(args).collect()
}

/// A finite number, with or without a percent sign behind it.
fn percent(text: &str) -> Option<f64> {
    text.trim_end_matches('%').trim().parse().ok().filter(|percent: &f64| percent.is_finite())
}

/// Columns of the terminal; nothing where the output is none.
pub fn terminal_width() -> Option<u16> {
    // SAFETY: an all-zero winsize is valid, and the call fills it or fails.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(1, libc::TIOCGWINSZ, &mut size) == 0).then_some(size)
    };
    size.map(|s| s.ws_col).filter(|&columns| columns > 0)
}
