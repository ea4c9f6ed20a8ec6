//! QMP, QEMU's control channel, over a pair of sockets of which QEMU inherits one: a machine is stopped, resumed, saved,
//! restored and ended by it, and `query-status` says of one that keeps silent whether it runs at all.

use isobench_runner::Deadline;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longest wait for an answer that comes from QEMU's own thread, whatever the guest does.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// Commands are refused until this one has been said.
const NEGOTIATE: &str = r#"{"execute":"qmp_capabilities"}"#;

/// Our end.
#[derive(Debug)]
pub struct Control {
    stream: BufReader<UnixStream>,
    negotiated: bool,
    asked: u64,
}

impl Control {
    /// A control channel, and QEMU's end of it.
    pub fn pair() -> io::Result<(Control, UnixStream)> {
        let (stream, theirs) = UnixStream::pair()?;
        stream.set_write_timeout(Some(ANSWER_DEADLINE))?;
        Ok((Control { stream: BufReader::new(stream), negotiated: false, asked: 0 }, theirs))
    }

    /// Asks QEMU to end. Its end is the answer; a QEMU that is gone already is what was asked for.
    pub fn quit(&mut self) {
        let _ = self.send("quit", json!({}));
    }

    /// The machine's state in QEMU's words (`running`, `paused`, `internal-error`), if it answers.
    pub fn status(&mut self) -> Option<String> {
        let answer = self.execute("query-status", json!({}), Deadline::after(ANSWER_DEADLINE)).ok()?;
        Some(answer.get("status")?.as_str()?.to_string())
    }

    /// The machine stands still.
    pub fn stop(&mut self) -> io::Result<()> {
        self.execute("stop", json!({}), Deadline::after(ANSWER_DEADLINE)).map(drop)
    }

    /// A machine that stands still runs on.
    pub fn resume(&mut self) -> io::Result<()> {
        self.execute("cont", json!({}), Deadline::after(ANSWER_DEADLINE)).map(drop)
    }

    /// Begins to write all of the machine but its memory, which is shared with us, to the socket at `path`. Once written
    /// it stands still; that it ran is written too, so that what is restored from it runs at once.
    pub fn save(&mut self, path: &str) -> io::Result<()> {
        self.leave_memory_out()?;
        self.send("migrate", json!({ "uri": format!("unix:{path}") }))?;
        self.answer(Deadline::after(ANSWER_DEADLINE)).map(drop)
    }

    /// Whether the machine has been written: `completed`, `failed`, or how far it is.
    pub fn saved(&mut self) -> io::Result<String> {
        let answer = self.execute("query-migrate", json!({}), Deadline::after(ANSWER_DEADLINE))?;
        Ok(answer.get("status").and_then(Value::as_str).unwrap_or("unknown").to_string())
    }

    /// Reads a machine from an open file that QEMU has inherited, and waits until it runs.
    pub fn restore(&mut self, state: RawFd, deadline: Deadline) -> io::Result<()> {
        self.leave_memory_out()?;
        self.send("migrate-incoming", json!({ "uri": format!("fd:{state}") }))?;
        loop {
            let line = self.line(deadline)?;
            if line.get("event").is_some_and(|event| event == "RESUME") {
                return Ok(());
            }
            refused(&line)?;
        }
    }

    /// The memory lies in a file, so that the saved state need not hold it. Said without waiting for the answer: QEMU
    /// does one thing after the other, and a refusal is read before the answer to what follows.
    fn leave_memory_out(&mut self) -> io::Result<()> {
        let capability = json!({ "capability": "x-ignore-shared", "state": true });
        self.send("migrate-set-capabilities", json!({ "capabilities": [capability] }))
    }

    fn execute(&mut self, command: &str, arguments: Value, deadline: Deadline) -> io::Result<Value> {
        self.send(command, arguments)?;
        self.answer(deadline)
    }

    fn send(&mut self, command: &str, arguments: Value) -> io::Result<()> {
        let mut text = String::new();
        if !self.negotiated {
            text.push_str(NEGOTIATE);
            self.negotiated = true;
        }
        self.asked += 1;
        text.push_str(&json!({ "execute": command, "arguments": arguments, "id": self.asked }).to_string());
        self.stream.get_mut().write_all(text.as_bytes())
    }

    /// The answer to what was asked last. Before it come the greeting, the answers to what was asked before, and events.
    fn answer(&mut self, deadline: Deadline) -> io::Result<Value> {
        loop {
            let mut line = self.line(deadline)?;
            refused(&line)?;
            if line.get("id").and_then(Value::as_u64) == Some(self.asked) {
                return Ok(line.get_mut("return").map(Value::take).unwrap_or_default());
            }
        }
    }

    fn line(&mut self, deadline: Deadline) -> io::Result<Value> {
        self.stream.get_ref().set_read_timeout(Some(deadline.remaining().max(Duration::from_millis(1))))?;
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(serde_json::from_str(&line)?),
        }
    }
}

fn refused(line: &Value) -> io::Result<()> {
    match line.pointer("/error/desc") {
        Some(why) => Err(io::Error::other(format!("QEMU refused: {}", why.as_str().unwrap_or_default()))),
        None => Ok(()),
    }
}

/// Lets the next program that this process becomes keep `fd` open. To be called between fork and exec.
pub fn keep_open(fd: RawFd) -> io::Result<()> {
    // SAFETY: a plain system call, allowed after fork.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The number under which QEMU finds its end.
pub fn number(stream: &UnixStream) -> RawFd {
    stream.as_raw_fd()
}
