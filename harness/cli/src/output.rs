//! The only module that prints. A closed pipe (`isobench list | head`) ends the output, never the command; any other
//! error of standard output is kept until the command is done, and then makes it fail.

use isobench_core::text::printable;
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::OnceLock;

/// The first error of standard output. `None` if its reader has closed it: the reader has seen enough.
static ENDED: OnceLock<Option<io::Error>> = OnceLock::new();

/// Prints `text` to standard output as it is.
pub fn print(text: &str) {
    if ENDED.get().is_some() {
        return;
    }
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A lost race with another thread leaves that thread's error, which is as good.
        let _ = ENDED.set(Some(error).filter(|error| error.kind() != io::ErrorKind::BrokenPipe));
    }
}

/// Prints a line to standard output. Control characters in it are escaped, because it may hold what guests, compilers or
/// daemons said.
pub fn line(line: impl Display) {
    print(&format!("{}\n", printable(&line.to_string())));
}

/// Prints a line to standard error, escaped as by [`line`]. An error is ignored: there is no other place to report it.
pub fn note(line: impl Display) {
    let _ = io::stderr().lock().write_all(format!("{}\n", printable(&line.to_string())).as_bytes());
}

/// Returns the error that ended standard output, unless its reader closed it.
pub fn error() -> Option<&'static io::Error> {
    ENDED.get()?.as_ref()
}
