//! A bare HTTP server in front of a native guest. It is started like workerd, with the socket it is to listen at, and
//! holds the guest's agent.
//!
//!     isobench-bare-http-server AGENT ADDRESS FRAME [agent's arguments …] --socket-fd http=N

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use isobench_guest::frame::{FrameError, Kind, read_frame, write_frame};
use std::cell::RefCell;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, exit};
use std::time::{Duration, Instant};

type Error = Box<dyn std::error::Error>;

/// How long the death of an agent may come after the end of its channel.
const AFTER_CLOSE: Duration = Duration::from_millis(100);

/// The guest's agent, which has said `hello`.
struct Agent {
    child: Child,
    channel: UnixStream,
    limit: usize,
}

impl Agent {
    fn start(program: &str, address: &str, limit: usize, args: &[String]) -> Result<Agent, Error> {
        let listener = UnixListener::bind(address)?;
        let child = Command::new(program).args(["--connect", &format!("unix:{address}")]).args(args).spawn()?;
        let (mut channel, _) = listener.accept()?;
        std::fs::remove_file(address)?;
        for expected in [Kind::Up, Kind::Hello] {
            let mut payload = Vec::new();
            let said = read_frame(&mut channel, limit, &mut payload).map_err(|e| format!("the agent: {e}"))?;
            if said != expected {
                return Err(format!("the agent said {said:?}: {}", String::from_utf8_lossy(&payload)).into());
            }
        }
        Ok(Agent { child, channel, limit })
    }

    /// One request; the answer, or a line that names a fault.
    fn call(&mut self, request: &[u8]) -> Result<Vec<u8>, String> {
        let mut answer = Vec::new();
        let said = write_frame(&mut self.channel, Kind::Call, request)
            .map_err(FrameError::Io)
            .and_then(|()| read_frame(&mut self.channel, self.limit, &mut answer));
        match said {
            Ok(Kind::Answer) => Ok(answer),
            Ok(Kind::Fault) => Err(String::from_utf8_lossy(&answer).into()),
            Ok(kind) => Err(format!("bad_frame: the agent said {kind:?}")),
            Err(FrameError::TooLarge { len, limit }) => {
                Err(format!("frame_too_large: {len} bytes, the limit is {limit}"))
            }
            Err(FrameError::UnknownKind(kind)) => Err(format!("bad_frame: frame of unknown kind {kind}")),
            Err(FrameError::Closed) => self.closed("the agent closed the channel"),
            Err(error) => self.closed(&error.to_string()),
        }
    }

    /// Ends as the agent has ended, by a signal as shells tell of it; says what is left to say where it lives on.
    fn closed(&mut self, why: &str) -> Result<Vec<u8>, String> {
        let begun = Instant::now();
        while begun.elapsed() < AFTER_CLOSE {
            if let Ok(Some(status)) = self.child.try_wait() {
                exit(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(format!("channel_closed: {why}"))
    }
}

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("isobench-bare-http-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [program, address, limit, rest @ .., _, socket] = &args[..] else { return Err("not so many arguments".into()) };
    let socket = socket.strip_prefix("http=").ok_or("no socket")?.parse()?;
    // SAFETY: a descriptor that was handed down for us to own.
    let listener = UnixListener::from(unsafe { OwnedFd::from_raw_fd(socket) });
    // The agent must not have it: it would listen on.
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::CLOEXEC)?;
    listener.set_nonblocking(true)?;
    let agent = RefCell::new(Agent::start(program, address, limit.parse()?, rest)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = tokio::net::UnixListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            let service = service_fn(|request| answer(&agent, request));
            // A client that goes away is none of our business; the next one is.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    })
}

async fn answer(agent: &RefCell<Agent>, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    if request.method() == Method::GET {
        return Ok(Response::new("ready".into()));
    }
    let body = request.into_body().collect().await?.to_bytes();
    let answer = agent.borrow_mut().call(&body);
    Ok(answer.map_or_else(
        |line| {
            let mut refused = Response::new(Full::from(line));
            *refused.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            refused
        },
        |bytes| Response::new(bytes.into()),
    ))
}
