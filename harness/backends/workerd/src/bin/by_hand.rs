//! What an engineer would write who only wanted the cold start of workerd: the same program and configuration, HTTP as
//! text on a socket, two clock readings, no traits, no phases, no deadlines.

use isobench_runner::overhead::{self, ByHand};
use isobench_runner::protocol::BlockRequest;
use isobench_workerd::{Workerd, command_line};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

struct Loop {
    program: PathBuf,
    args: Vec<OsString>,
    socket: PathBuf,
    input: Vec<u8>,
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let before = Instant::now();
        let listener = UnixListener::bind(&self.socket).expect("a socket");
        let lent = rustix::io::dup(&listener).expect("a descriptor to hand down");
        let mut workerd = Command::new(&self.program)
            .args(&self.args)
            .args(["--socket-fd", &format!("http={}", lent.as_raw_fd())])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("workerd");
        drop((listener, lent));
        let mut stream = BufReader::new(UnixStream::connect(&self.socket).expect("workerd"));
        assert_eq!(ask(&mut stream, "GET", b""), b"ready");
        let answer = ask(&mut stream, "POST", &self.input);
        let took = before.elapsed();
        std::hint::black_box(answer);
        workerd.kill().expect("a signal");
        workerd.wait().expect("its end");
        std::fs::remove_file(&self.socket).expect("the socket's file");
        took
    }
}

/// One request; the body of an answer that says how long it is.
fn ask(stream: &mut BufReader<UnixStream>, method: &str, body: &[u8]) -> Vec<u8> {
    let mut request =
        format!("{method} / HTTP/1.1\r\nHost: guest\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    request.extend(body);
    stream.get_mut().write_all(&request).expect("a request sent");
    let mut line = String::new();
    stream.read_line(&mut line).expect("a status");
    assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
    let mut length = 0;
    while line.trim() != "" {
        line.clear();
        stream.read_line(&mut line).expect("a header");
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).expect("an answer");
    answer
}

fn main() -> ExitCode {
    overhead::main(&Workerd, &|block: &BlockRequest| {
        assert_eq!(block.target.variant, "static", "the hand-written loop is `static`");
        let (program, args) = command_line(&block.ctx, &block.target).expect("a workerd and its configuration");
        Box::new(Loop {
            program,
            args,
            socket: block.ctx.state.join("hand.sock"),
            input: std::fs::read(&block.input).expect("the case's input"),
        })
    })
}
