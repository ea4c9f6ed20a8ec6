//! What an engineer would write who only wanted the cold start of a process: the same agent and socket, two clock
//! readings, no traits, no phases, no deadlines.

use isobench_runner::agents::AgentPackage;
use isobench_runner::overhead::{self, ByHand};
use isobench_runner::protocol::BlockRequest;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

struct Loop {
    package: AgentPackage,
    guest: String,
    socket: PathBuf,
    frame: usize,
    input: Vec<u8>,
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let before = Instant::now();
        let listener = UnixListener::bind(&self.socket).expect("a socket");
        let mut agent = Command::new(&self.package.program)
            .args(self.package.args(&format!("unix:{}", self.socket.display()), &self.guest))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("an agent");
        let (mut stream, _) = listener.accept().expect("the agent");
        overhead::first_answer(&mut stream, self.frame, &self.input);
        let took = before.elapsed();
        drop((stream, listener));
        std::fs::remove_file(&self.socket).expect("the socket's file");
        agent.wait().expect("the agent's end");
        took
    }
}

fn main() -> ExitCode {
    overhead::main(&isobench_process::Process, &|block: &BlockRequest| {
        let package = AgentPackage::pack(&block.ctx, &block.target).expect("an agent and a guest");
        Box::new(Loop {
            guest: package.guest.as_deref().map(|p| p.display().to_string()).unwrap_or_default(),
            package,
            socket: block.ctx.state.join("hand.sock"),
            frame: block.target.limits.frame_bytes as usize,
            input: std::fs::read(&block.input).expect("the case's input"),
        })
    })
}
