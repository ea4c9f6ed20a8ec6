//! The server's end of HTTP: as the real one writes it, byte by byte.

use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// A request.
#[derive(Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub body: Option<Vec<u8>>,
}

/// A client.
pub struct Connection {
    pub stream: UnixStream,
    bytes: Vec<u8>,
}

impl Connection {
    pub fn new(stream: UnixStream) -> Connection {
        Connection { stream, bytes: Vec::new() }
    }

    /// The next request; none when the client has gone or speaks no HTTP.
    pub fn next(&mut self) -> Option<Asked> {
        loop {
            if let Some((asked, end)) = parse(&self.bytes) {
                self.bytes.drain(..end);
                return Some(asked);
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(n) if n > 0 => self.bytes.extend_from_slice(&piece[..n]),
                _ => return None,
            }
        }
    }

    pub fn answer(&mut self, status: u16, body: Option<&Value>) {
        let mut text = format!("HTTP/1.1 {status} \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n");
        if let Some(body) = body {
            let body = body.to_string();
            text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        } else {
            text.push_str("\r\n");
        }
        let _ = self.stream.write_all(text.as_bytes());
    }
}

fn parse(bytes: &[u8]) -> Option<(Asked, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes).expect("a request in HTTP") {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return None,
    };
    let header = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| std::str::from_utf8(header.value).expect("text"))
    };
    assert_eq!(request.version, Some(1), "HTTP/1.1");
    let length: usize = header("Content-Length").map_or(0, |text| text.parse().expect("a length"));
    assert!(length == 0 || header("Content-Type") == Some("application/json"), "what is sent is JSON");
    let body = bytes.get(head..head + length)?;
    let asked =
        Asked { method: request.method?.into(), path: request.path?.into(), body: (length > 0).then(|| body.to_vec()) };
    Some((asked, head + length))
}
