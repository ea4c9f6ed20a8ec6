//! Helper programs: what isobench starts to prepare something, such as compilers and package tools. Each ends with the
//! run, whatever ends that.

use crate::client::INTERRUPTED;
use crate::reap::{self, COOKIE};
use crate::stopwatch::Deadline;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A shell that kills the process group `$0` unless a line comes before the end of its standard input.
const WATCH: &str = "read -r done || kill -KILL \"-$0\"";

/// A helper program, the leader of a process group of its own. Dropping it kills the group. If this process is killed, a
/// shell that watches it kills the group: `PR_SET_PDEATHSIG` would reach `cargo`, and not the compilers that it starts.
/// `isobench clean` finds what is left by the run's cookie.
#[derive(Debug)]
pub struct Helper {
    child: Child,
    watch: Option<Child>,
    name: String,
    ended: bool,
}

impl Helper {
    /// Starts a helper program.
    ///
    /// # Errors
    /// Returns the system's error if the program, or the shell that watches it, cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Helper> {
        let mut shell = Command::new("sh");
        if let Some(cookie) = reap::run_cookie() {
            // Compilers that are killed leave their temporary files: there they go with the run.
            let temporary = cookie.join("tmp");
            std::fs::create_dir_all(&temporary)?;
            command.env(COOKIE, &cookie).env("TMPDIR", temporary);
            shell.env(COOKIE, cookie);
        }
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.process_group(0).spawn()?;
        let group = child.id().to_string();
        let mut helper = Helper { child, watch: None, name, ended: false };
        // In a group of its own, so that Ctrl-C in a terminal does not end it.
        let shell = shell.args(["-c", WATCH, &group]).process_group(0);
        let watch = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        helper.watch = Some(watch.map_err(|e| io::Error::new(e.kind(), format!("sh: {e}")))?);
        Ok(helper)
    }

    /// Its process: for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Returns a text that names the program if it does not end within `allowed`, or the run is interrupted. The group is
    /// killed then.
    pub fn wait(mut self, allowed: Duration) -> Result<ExitStatus, String> {
        let deadline = Deadline::after(allowed);
        let name = &self.name;
        loop {
            if INTERRUPTED.load(Ordering::Relaxed) {
                return Err(format!("{name}: interrupted"));
            }
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.ended = true;
                    return Ok(status);
                }
                Ok(None) if deadline.passed() => return Err(format!("{name}: not done after {} s", allowed.as_secs())),
                Ok(None) => std::thread::sleep(Duration::from_millis(2)),
                Err(e) => return Err(format!("{name}: waiting for its end: {e}")),
            }
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if !self.ended {
            reap::kill_group(&mut self.child);
        }
        let Some(watch) = &mut self.watch else { return };
        // A shell that is gone already has nothing to be told.
        let _ = watch.stdin.take().map(|mut line| line.write_all(b"\n"));
        let _ = watch.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;

    const LONG: Duration = Duration::from_secs(60);

    /// A helper with a process of its own, whose id is returned.
    fn with_grandchild() -> (Helper, u32) {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut helper = Helper::spawn(&mut command).unwrap();
        let mut line = String::new();
        BufReader::new(helper.child().stdout.take().unwrap()).read_line(&mut line).unwrap();
        (helper, line.trim().parse().unwrap())
    }

    fn wait_until_gone(pid: u32) {
        let deadline = Deadline::after(LONG);
        while reap::start_time(pid).is_some() {
            assert!(!deadline.passed(), "process {pid} is left");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn the_whole_group_ends_with_this_process() {
        let (mut helper, grandchild) = with_grandchild();
        // What the kernel does when this process dies.
        drop(helper.watch.as_mut().unwrap().stdin.take());
        wait_until_gone(grandchild);
        assert_eq!(helper.wait(LONG).unwrap().signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn the_whole_group_ends_when_the_deadline_passes() {
        let (helper, grandchild) = with_grandchild();
        let error = helper.wait(Duration::ZERO).unwrap_err();
        assert_eq!(error, "sh: not done after 0 s");
        wait_until_gone(grandchild);
    }

    #[test]
    fn a_helper_that_ends_by_itself_is_left_alone() {
        let status = Helper::spawn(Command::new("sh").args(["-c", "exit 3"])).unwrap().wait(LONG).unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(Helper::spawn(&mut Command::new("/nonexistent")).is_err());
    }
}
