//! HTTP/1.1, on a port or on a socket that was handed down.

use super::{Answer, Unit, agent::Agent, answer, ended, start};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use isobench_core::{Fault, FaultKind};
use std::cell::RefCell;
use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{LocalSet, spawn_local};

/// Who names the port, first one first: [Azure's host][azure], [containers' platforms][port].
///
/// [azure]: https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers
/// [port]: https://cloud.google.com/run/docs/container-contract
const PORTS: [&str; 2] = ["FUNCTIONS_CUSTOMHANDLER_PORT", "PORT"];

/// Where nobody does: that of Cloud Run, and of OpenWhisk's action interface.
const PORT: u16 = 8080;

/// Serves on the port that the platform names.
pub(super) fn on_port(unit: &Unit) -> Result<(), String> {
    let agent = RefCell::new(start(unit).map_err(|fault| fault.to_string())?);
    listen(unit.limits.frame_bytes, move |method, _, body| answer(&mut agent.borrow_mut(), method, body))
}

/// Serves `handle` there: it is given a request's method, path and body of up to `limit` bytes.
pub(super) fn listen(limit: u64, handle: impl Fn(&str, &str, &[u8]) -> Answer + 'static) -> Result<(), String> {
    let port = port().map_err(|e| format!("the port: {e}"))?;
    on_runtime(async {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
        let accept = async || {
            let (stream, _) = listener.accept().await?;
            // An answer in two packets would wait for an acknowledgement in between (Nagle).
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        serve(accept, limit, handle).await
    })
    .map_err(|e| format!("port {port}: {e}"))
}

fn port() -> Result<u16, std::num::ParseIntError> {
    PORTS.into_iter().find_map(|name| std::env::var(name).ok()).map_or(Ok(PORT), |port| port.parse())
}

/// The `main` of a program that serves as `isobench-function` does on a socket that it was handed down:
///
/// ```text
/// PROGRAM UNIT ADDRESS --socket-fd http=N
/// ```
///
/// where the agent is to dial ADDRESS.
pub fn on_socket() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    ended(match &args[..] {
        [unit, address, _, socket] => inherited(Path::new(unit), Path::new(address), &socket.to_string_lossy()),
        _ => Err("usage: UNIT ADDRESS --socket-fd http=N".into()),
    })
}

fn inherited(unit: &Path, address: &Path, socket: &str) -> Result<(), String> {
    let unit = Unit::read(unit)?;
    let number = socket.strip_prefix("http=").and_then(|number| number.parse().ok()).ok_or("no socket")?;
    // SAFETY: a descriptor that was handed down for us to own.
    let listener = UnixListener::from(unsafe { OwnedFd::from_raw_fd(number) });
    // SAFETY: a plain system call on it. The agent must not have it: it would listen on.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return Err(format!("the socket: {}", io::Error::last_os_error()));
    }
    let agent = RefCell::new(Agent::start(&unit, address).map_err(|fault| fault.to_string())?);
    let served = on_runtime(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let accept = async || Ok(listener.accept().await?.0);
        serve(accept, unit.limits.frame_bytes, move |method, _, body| answer(&mut agent.borrow_mut(), method, body))
            .await
    });
    served.map_err(|e| format!("the socket: {e}"))
}

fn on_runtime(work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    // One thread: an instance has one call in flight.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, work)
}

/// Serves whoever connects, each connection beside the others, so that one which is kept open holds nobody up. Calls
/// come one after the other. A client that dawdles keeps nothing but its own connection waiting.
async fn serve<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    accept: impl AsyncFn() -> io::Result<S>,
    limit: u64,
    handle: impl Fn(&str, &str, &[u8]) -> Answer + 'static,
) -> io::Result<()> {
    let handle = Rc::new(handle);
    loop {
        let stream = accept().await?;
        let handle = Rc::clone(&handle);
        spawn_local(async move {
            let service = service_fn(|request| respond(request, limit, &*handle));
            // A client that goes away is none of our business; the next one is.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    limit: u64,
    handle: &impl Fn(&str, &str, &[u8]) -> Answer,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let (head, body) = request.into_parts();
    let answer = match Limited::new(body, usize::try_from(limit)?).collect().await {
        Ok(body) => handle(head.method.as_str(), head.uri.path(), &body.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => {
            let message = format!("the request is longer than the limit, {limit} bytes");
            Answer::fault(&Fault::new(FaultKind::FrameTooLarge, message))
        }
        Err(e) => return Err(e),
    };
    let mut response = Response::new(Full::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status)?;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.kind));
    Ok(response)
}
