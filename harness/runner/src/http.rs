//! Calls over HTTP/1.1: one connection, kept alive, each wait with a deadline. Behind the feature `http`.

use crate::stopwatch::Deadline;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use isobench_core::{Fault, FaultKind};
use std::error::Error;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    /// One runtime a thread: instances live on the thread that made them, and so do their requests.
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_all().build().expect("a runtime needs three file descriptors");
}

/// A connection. It belongs to the thread that made it.
pub struct Http {
    sender: SendRequest<Full<Bytes>>,
    /// Moves the bytes, and is moved only while somebody waits for an answer. `None` once it has ended.
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>>>>>,
    /// Of every request.
    headers: HeaderMap,
    /// Longest answer in bytes.
    limit: usize,
}

/// An answer that came whole.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Http {
    /// Connects to a Unix socket. Answers longer than `limit` bytes will be refused.
    ///
    /// # Errors
    /// The fault of a socket where nobody listens, or nobody accepts by the deadline.
    pub fn unix(socket: &Path, limit: u64, deadline: Deadline) -> Result<Http, Fault> {
        within(deadline, "the connection", async {
            let closed = |e: &dyn Error| Fault::new(FaultKind::ChannelClosed, format!("{}: {e}", socket.display()));
            let stream = UnixStream::connect(socket).await.map_err(|e| closed(&e))?;
            let host = HeaderMap::from_iter([(hyper::header::HOST, hyper::header::HeaderValue::from_static("guest"))]);
            Http::over(stream, host, limit).await
        })
    }

    /// A connection over `stream`, on which nothing has been said. Every request will have `headers`, of which `host`
    /// must be one.
    ///
    /// # Errors
    /// The fault of a stream that is closed.
    pub async fn over<S>(stream: S, headers: HeaderMap, limit: u64) -> Result<Http, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
        Ok(Http { sender, connection: Some(Box::pin(connection)), headers, limit: limit as usize })
    }

    /// Whether the other end has not closed it since the last answer.
    pub fn lives(&mut self) -> bool {
        let connection = &mut self.connection;
        RUNTIME.with(|runtime| {
            runtime.block_on(poll_fn(|cx| {
                if connection.as_mut().is_some_and(|connection| connection.as_mut().poll(cx).is_ready()) {
                    *connection = None;
                }
                Poll::Ready(())
            }));
        });
        self.connection.is_some()
    }

    /// One request, one answer.
    ///
    /// # Errors
    /// The fault of a connection that ends early, of what is no HTTP, of an answer that is too long or too late.
    pub fn ask(&mut self, method: Method, path: &str, body: &[u8], deadline: Deadline) -> Result<Answer, Fault> {
        let request = Request::builder().method(method).uri(path).body(Full::new(Bytes::copy_from_slice(body)));
        let mut request = request.map_err(|e| Fault::new(FaultKind::Internal, format!("{path}: {e}")))?;
        request.headers_mut().clone_from(&self.headers);
        let Http { sender, connection, limit, .. } = self;
        within(
            deadline,
            "the answer",
            moving(connection, async {
                sender.ready().await.map_err(|e| broken(&e))?;
                let answer = sender.send_request(request).await.map_err(|e| broken(&e))?;
                let (head, body) = answer.into_parts();
                let too_large =
                    || Fault::new(FaultKind::FrameTooLarge, format!("the answer: the limit is {limit} bytes"));
                // What it says of itself, before anything of it is read.
                if body.size_hint().lower() > *limit as u64 {
                    return Err(too_large());
                }
                let body = Limited::new(body, *limit).collect().await;
                let body = body.map_err(|e| match e.downcast_ref::<LengthLimitError>() {
                    Some(_) => too_large(),
                    None => {
                        e.downcast_ref().map_or_else(|| Fault::new(FaultKind::ChannelClosed, e.to_string()), broken)
                    }
                })?;
                Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
            }),
        )
    }
}

/// Waits for `work` until the deadline, on this thread's runtime; `what` names it.
///
/// # Errors
/// Those of the work, or the deadline's.
pub fn within<T>(deadline: Deadline, what: &str, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    RUNTIME.with(|runtime| {
        let timed = runtime.block_on(async { tokio::time::timeout(deadline.remaining(), work).await });
        timed.unwrap_or_else(|_| Err(deadline.fault(what)))
    })
}

/// Does `work` while the connection moves: nothing is left running when this returns or is dropped.
async fn moving<T, C: Future + Unpin>(connection: &mut Option<C>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        if connection.as_mut().is_some_and(|connection| Pin::new(connection).poll(cx).is_ready()) {
            *connection = None;
        }
        work.as_mut().poll(cx)
    })
    .await
}

/// What became of a connection.
fn broken(error: &hyper::Error) -> Fault {
    let kind = if error.is_parse() { FaultKind::BadFrame } else { FaultKind::ChannelClosed };
    let why = error.source().map(|e| format!(": {e}")).unwrap_or_default();
    Fault::new(kind, format!("the answer: {error}{why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream as Stream};
    use std::time::Duration;

    /// What a client gets from a server that reads a request and then does `act`.
    fn against(allowed_ms: u64, act: impl FnOnce(&mut Stream) + Send + 'static) -> Result<Answer, Fault> {
        let dir = tempfile::tempdir_in("/tmp").expect("a temporary folder");
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let read = stream.read(&mut [0; 4096]).expect("a request");
            assert!(read > 0);
            act(&mut stream);
            // Until the client has gone.
            let _ = stream.read(&mut [0; 1]);
        });
        let deadline = Deadline::after(Duration::from_millis(allowed_ms));
        let mut http = Http::unix(&socket, 1000, deadline).expect("a connection");
        let answer = http.ask(Method::POST, "/", b"hello", deadline);
        drop(http);
        server.join().expect("the server");
        answer
    }

    fn says(text: &'static str) -> impl FnOnce(&mut Stream) + Send {
        move |stream| drop(stream.write_all(text.as_bytes()))
    }

    fn fault(answer: Result<Answer, Fault>) -> FaultKind {
        answer.expect_err("a fault").kind
    }

    const SOON: u64 = 30_000;

    #[test]
    fn whole_answers_come_whole() {
        let whole = against(SOON, says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")).expect("an answer");
        assert_eq!((whole.status, &whole.body[..]), (StatusCode::OK, &b"hi"[..]));
        let chunks = "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n";
        let chunked = against(SOON, says(chunks)).expect("an answer");
        assert_eq!((chunked.status, &chunked.body[..]), (StatusCode::NOT_FOUND, &b"hi"[..]));
        let dripping = against(SOON, |stream| {
            for byte in b"HTTP/1.1 500 Oh\r\nContent-Length: 1\r\n\r\n!" {
                stream.write_all(&[*byte]).expect("a byte");
            }
        });
        assert_eq!(dripping.expect("an answer").status, StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn silence_and_slowness_end_at_the_deadline() {
        let slow = |text: &'static str| fault(against(200, says(text)));
        assert_eq!(slow(""), FaultKind::DeadlineExceeded);
        assert_eq!(slow("HTTP/1.1 200 OK\r\nContent-Le"), FaultKind::DeadlineExceeded);
        assert_eq!(slow("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"), FaultKind::DeadlineExceeded);
        let dripping = against(200, |stream| {
            while stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").is_ok() && stream.write_all(b"y\r\n").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        assert!(matches!(fault(dripping), FaultKind::DeadlineExceeded | FaultKind::BadFrame));
    }

    #[test]
    fn garbage_early_ends_and_long_answers_have_their_names() {
        assert_eq!(fault(against(SOON, says("no HTTP at all\r\n\r\n"))), FaultKind::BadFrame);
        assert_eq!(fault(against(SOON, says("HTTP/9.9 200 OK\r\n\r\n"))), FaultKind::BadFrame);
        let closing = |text: &'static str| {
            fault(against(SOON, move |stream| {
                says(text)(stream);
                stream.shutdown(std::net::Shutdown::Both).expect("closed");
            }))
        };
        assert_eq!(closing(""), FaultKind::ChannelClosed);
        assert_eq!(closing("HTTP/1.1 200 OK\r\nContent-Le"), FaultKind::ChannelClosed);
        assert_eq!(closing("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"), FaultKind::ChannelClosed);
        assert_eq!(closing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhi"), FaultKind::ChannelClosed);
        let long = "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\nhi";
        assert_eq!(fault(against(SOON, says(long))), FaultKind::FrameTooLarge);
        let endless = against(SOON, |stream| {
            says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")(stream);
            while stream.write_all(b"100\r\n").is_ok() && stream.write_all(&[b'x'; 258]).is_ok() {}
        });
        assert!(matches!(fault(endless), FaultKind::FrameTooLarge | FaultKind::BadFrame | FaultKind::ChannelClosed));
    }

    #[test]
    fn nobody_there_is_a_closed_channel() {
        let deadline = Deadline::after(Duration::from_secs(1));
        let fault = Http::unix(Path::new("/nowhere/s"), 1, deadline).err().expect("a fault");
        assert_eq!(fault.kind, FaultKind::ChannelClosed);
    }
}
