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

use isobench_core::text::printable;
use std::io::{self, Write};
use std::process::ExitCode;

/// Finished, but some cells are error rows or some fixture is broken.
pub const SOME_FAILED: u8 = 3;

/// The exit code of a command that went through all it had to do.
pub fn finished(any_failed: bool) -> ExitCode {
    if any_failed { ExitCode::from(SOME_FAILED) } else { ExitCode::SUCCESS }
}

/// The command line for the record, the program by its name alone: `run.json` is published, this machine's folders are
/// not.
pub fn command_line() -> Vec<String> {
    std::iter::once("isobench".to_string()).chain(std::env::args().skip(1)).collect()
}

/// A finite number, with or without a percent sign behind it.
fn percent(text: &str) -> Option<f64> {
    text.trim_end_matches('%').trim().parse().ok().filter(|percent: &f64| percent.is_finite())
}

/// Prints a line of text that may hold what guests, compilers or daemons said.
pub fn say(line: &str) -> io::Result<()> {
    print(&format!("{}\n", printable(line)))
}

/// Prints `text`. A reader that has seen enough (`isobench report --format csv | head`) is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
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
