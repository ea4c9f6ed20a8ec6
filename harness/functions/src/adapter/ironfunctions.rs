//! IronFunctions' [formats][docs]: `default`, a container for each call, its request on standard input and its answer on
//! standard output; and `http`, a living container with requests and answers as HTTP messages on the same streams. The
//! platform says which in `FN_FORMAT`.
//!
//! [docs]: https://github.com/iron-io/functions/blob/master/docs/function-format.md

use super::{Answer, Unit, answer, start};
use std::io::{self, BufRead, Read, Write, stdin, stdout};

/// Longest head of a request in bytes: the platform writes settings and the client's headers into it.
const HEAD: usize = 256 << 10;

/// Most headers of a request.
const HEADERS: usize = 512;

/// Serves until standard input ends.
pub(super) fn serve(unit: &Unit) -> Result<(), String> {
    let mut agent = start(unit).map_err(|fault| fault.to_string())?;
    let limit = unit.limits.frame_bytes;
    if std::env::var("FN_FORMAT").is_ok_and(|format| format == "http") {
        let mut input = stdin().lock();
        while let Some(body) = request(&mut input, limit).map_err(|e| format!("standard input: {e}"))? {
            // Whatever the method was, the platform says GET.
            respond(&answer(&mut agent, "POST", &body)).map_err(|e| format!("standard output: {e}"))?;
        }
        return Ok(());
    }
    let mut body = Vec::new();
    let read = stdin().lock().take(limit + 1).read_to_end(&mut body);
    read.map_err(|e| format!("standard input: {e}"))?;
    let answer = agent.call(&body).map_err(|fault| fault.to_string())?;
    let mut out = stdout().lock();
    out.write_all(&answer).and_then(|()| out.flush()).map_err(|e| format!("standard output: {e}"))
}

/// The body of the next request; `None` at the end.
fn request(input: &mut impl BufRead, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match input.by_ref().take((HEAD - head.len()) as u64).read_until(b'\n', &mut head)? {
            0 if head.is_empty() => return Ok(None),
            0 => return Err(io::Error::other("a request's head that does not end, or is too long")),
            _ => {}
        }
    }
    let length = length(&head).map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))?;
    if length > limit {
        return Err(io::Error::other(format!("a request of {length} bytes, the limit is {limit}")));
    }
    let mut body = vec![0; length as usize];
    input.read_exact(&mut body)?;
    Ok(Some(body))
}

/// The length of the body that follows `head`.
fn length(head: &[u8]) -> Result<u64, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(head).map_err(|e| format!("no request: {e}"))?;
    let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let text = header.and_then(|header| std::str::from_utf8(header.value).ok());
    text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| "a request without a Content-Length".into())
}

fn respond(answer: &Answer) -> io::Result<()> {
    let status = if answer.status == 200 { "200 OK" } else { "500 Internal Server Error" };
    let (kind, length) = (answer.kind, answer.body.len());
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
    let mut out = stdout().lock();
    out.write_all(head.as_bytes())?;
    out.write_all(&answer.body)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut bytes: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut bodies = Vec::new();
        while let Some(body) = request(&mut bytes, 10)? {
            bodies.push(body);
        }
        Ok(bodies)
    }

    #[test]
    fn requests_follow_each_other() {
        // As the platform's own writer has them: no host, names of variables as headers.
        let two = b"GET / HTTP/1.1\r\nContent-Length: 5\r\nHeader_accept: */*\r\nTask-Id: 1\r\n\r\nhello\
                    GET / HTTP/1.1\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(all(two).expect("two"), [b"hello".to_vec(), Vec::new()]);
        assert!(all(b"").expect("none").is_empty());
    }

    #[test]
    fn what_is_no_request_is_told() {
        let wrong = |bytes: &[u8]| all(bytes).expect_err("an error").to_string();
        assert!(wrong(b"hello\r\n\r\n").contains("no request"));
        assert!(wrong(b"GET / HTTP/1.1\r\n").contains("does not end"));
        assert!(wrong(b"GET / HTTP/1.1\r\nA: b\r\n\r\n").contains("without a Content-Length"));
        assert!(wrong(b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n").contains("without a Content-Length"));
        assert!(wrong(b"GET / HTTP/1.1\r\nContent-Length: 11\r\n\r\n").contains("the limit is 10"));
        assert!(wrong(b"GET / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhi").contains("fill whole buffer"));
        assert!(wrong(&vec![b'x'; HEAD + 1]).contains("too long"));
    }
}
