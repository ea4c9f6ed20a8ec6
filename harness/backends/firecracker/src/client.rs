//! HTTP over a monitor's Unix socket: one connection, one request at a time, every wait with a deadline.
//!
//! A client of our own around a parser (`httparse`): the usual ones bring a runtime with threads of its own, in the
//! process whose memory and starts are measured, for five requests whose answers have no more than a line.

use isobench_core::Fault;
use isobench_runner::Deadline;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A request: a body, and where it goes. What serialises as nothing (a unit struct) has no body.
pub trait Request: Serialize {
    /// The method.
    const METHOD: &'static str;
    /// The path.
    const PATH: &'static str;
}

/// The longest answer taken in, head and body, in bytes: what Firecracker takes in of a request.
const LONGEST: usize = 50 << 10;

/// Most headers of an answer: Firecracker sends five.
const HEADERS: usize = 32;

/// How often a socket that is not there yet is looked for. Firecracker needs some 10 ms to make it.
const LOOK: Duration = Duration::from_micros(200);

/// Longest wait for the machine's state, which says in a fault's message whether it runs at all.
const STATE_DEADLINE: Duration = Duration::from_secs(1);

/// What became of a request that was not obeyed. Each names the request.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It was answered, with a no.
    #[error("{vmm} refused {request}: {message} ({status})")]
    Refused {
        /// The monitor.
        vmm: &'static str,
        /// Method and path.
        request: String,
        /// The answer's status.
        status: u16,
        /// The reason it gave, or what else came.
        message: String,
    },
    /// No whole answer came in time.
    #[error("{request}")]
    Silent {
        /// Method and path.
        request: String,
    },
    /// The connection ended before an answer did.
    #[error("{request}: {vmm} closed the connection")]
    Closed {
        /// The monitor.
        vmm: &'static str,
        /// Method and path.
        request: String,
    },
    /// What came is no answer.
    #[error("{request}: {vmm} answered what is no HTTP: {why}")]
    Garbled {
        /// The monitor.
        vmm: &'static str,
        /// Method and path.
        request: String,
        /// What is wrong with it.
        why: String,
    },
    /// The socket failed, or the request has no JSON.
    #[error("{request}: {error}")]
    Failed {
        /// Method and path.
        request: String,
        /// The error.
        error: io::Error,
    },
}

/// The body of a refusal.
#[derive(Deserialize)]
#[serde(untagged)]
enum Refusal {
    /// Firecracker's.
    Said { fault_message: String },
    /// Cloud Hypervisor's: an error, what it came from, and so on.
    Chain(Vec<String>),
}

/// What a monitor says of its machine, of which only this is read.
#[derive(Deserialize)]
struct Info {
    state: String,
}

/// A connection to a monitor.
#[derive(Debug)]
pub struct Api {
    vmm: &'static str,
    stream: UnixStream,
    /// Bytes of the answer, kept to be used again.
    buffer: Vec<u8>,
}

/// An answer's status and where its body begins and ends, once all of it is there.
type Answer = (u16, std::ops::Range<usize>);

impl Api {
    /// Connects to the `socket` of the monitor that messages call `vmm` as soon as it is there; `alive` is asked
    /// meanwhile whether there is still something to wait for. `None` if that is not in time.
    ///
    /// # Errors
    /// Those of `alive`, and of a socket that cannot be dialled.
    pub fn connect(
        vmm: &'static str,
        socket: &Path,
        deadline: Deadline,
        mut alive: impl FnMut() -> Result<(), Fault>,
    ) -> Result<Option<Api>, Fault> {
        loop {
            match UnixStream::connect(socket) {
                Ok(stream) => return Ok(Some(Api { vmm, stream, buffer: Vec::new() })),
                // Not made yet; or made, and nobody listens yet.
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {}
                Err(e) => return Err(Fault::backend(format!("{vmm}'s socket {}: {e}", socket.display()))),
            }
            alive()?;
            if deadline.passed() {
                return Ok(None);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Asks for something and waits until it is done.
    ///
    /// # Errors
    /// It is not done.
    pub fn send<R: Request>(&mut self, request: &R, deadline: Deadline) -> Result<(), ApiError> {
        let name = || format!("{} {}", R::METHOD, R::PATH);
        let failed = |error| ApiError::Failed { request: name(), error };
        let mut body = serde_json::to_vec(request).map_err(|e| failed(e.into()))?;
        if body == b"null" {
            body.clear();
        }
        self.exchange(R::METHOD, R::PATH, &body, deadline).map(drop)
    }

    /// The machine's state in the monitor's words, as the answer at `info` has it, if there is one.
    pub fn state(&mut self, info: &str) -> Option<String> {
        let body = self.exchange("GET", info, &[], Deadline::after(STATE_DEADLINE)).ok()?;
        Some(serde_json::from_slice::<Info>(body).ok()?.state)
    }

    /// One request and the body of its answer.
    fn exchange(&mut self, method: &str, path: &str, body: &[u8], deadline: Deadline) -> Result<&[u8], ApiError> {
        let vmm = self.vmm;
        let request = || format!("{method} {path}");
        let io_error = |error: io::Error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ApiError::Silent { request: request() },
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => {
                ApiError::Closed { vmm, request: request() }
            }
            _ => ApiError::Failed { request: request(), error },
        };
        let mut message = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n");
        if !body.is_empty() {
            message.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        message.push_str("\r\n");
        let mut message = message.into_bytes();
        message.extend_from_slice(body);
        let wait = |deadline: Deadline| Some(deadline.remaining().max(Duration::from_millis(1)));
        self.stream.set_write_timeout(wait(deadline)).map_err(io_error)?;
        self.stream.write_all(&message).map_err(io_error)?;

        self.buffer.clear();
        let (status, body) = loop {
            // Also where each read brings a byte.
            if deadline.passed() {
                return Err(ApiError::Silent { request: request() });
            }
            self.stream.set_read_timeout(wait(deadline)).map_err(io_error)?;
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(ApiError::Closed { vmm, request: request() }),
                Ok(n) => self.buffer.extend_from_slice(&piece[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(io_error(e)),
            }
            match parse(&self.buffer).map_err(|why| ApiError::Garbled { vmm, request: request(), why })? {
                Some(answer) => break answer,
                None if self.buffer.len() >= LONGEST => {
                    let why = format!("{LONGEST} bytes and no end");
                    return Err(ApiError::Garbled { vmm, request: request(), why });
                }
                None => {}
            }
        };
        let body = &self.buffer[body];
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let message = match serde_json::from_slice(body) {
            Ok(Refusal::Said { fault_message }) => fault_message,
            Ok(Refusal::Chain(errors)) => errors.join(": "),
            Err(_) if body.is_empty() => "without a word".into(),
            Err(_) => String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
        };
        Err(ApiError::Refused { vmm, request: request(), status, message })
    }
}

/// The answer that `bytes` hold; none while it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<Answer>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    let status = response.code.ok_or("no status")?;
    let header = |name: &str| response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
    if header("Transfer-Encoding").is_some() {
        return Err("a body in pieces".into());
    }
    let length = match header("Content-Length") {
        None => 0,
        Some(text) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.trim().parse::<usize>().ok())
            .ok_or_else(|| format!("a body of {:?} bytes", String::from_utf8_lossy(text)))?,
    };
    let end = head.saturating_add(length);
    match bytes.len() {
        _ if end > LONGEST => Err(format!("a body of {length} bytes")),
        have if have < end => Ok(None),
        have if have > end => Err(format!("{} bytes after its end", have - end)),
        _ => Ok(Some((status, head..end))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_or_not_or_none() {
        let no = b"HTTP/1.1 400 \r\nServer: Firecracker API\r\nContent-Length: 5\r\n\r\nabcde";
        for cut in 0..no.len() {
            assert_eq!(parse(&no[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(parse(no), Ok(Some((400, no.len() - 5..no.len()))));
        let yes = b"HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(parse(yes), Ok(Some((204, yes.len()..yes.len()))));
        let refused = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert!(refused("HTTP/1.1 204 \r\n\r\nmore").contains("4 bytes after"));
        assert!(refused("HTTP/1.1 200 \r\nContent-Length: -1\r\n\r\n").contains("-1"));
        assert!(refused("HTTP/1.1 200 \r\nContent-Length: 99999999999\r\n\r\n").contains("99999999999 bytes"));
        assert!(refused("HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n").contains("in pieces"));
        refused("220 smtp ready\r\n");
    }
}
