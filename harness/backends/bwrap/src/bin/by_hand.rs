//! What an engineer would write who only wanted the cold start of a sandbox: the same flags, agent and socket, two clock
//! readings, no traits, no phases, no deadlines.

use isobench_bwrap::{Bwrap, Sandbox};
use isobench_guest::frame::{Kind, read_frame, write_frame};
use isobench_runner::agents::AgentPackage;
use isobench_runner::overhead::{self, ByHand};
use isobench_runner::protocol::BlockRequest;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

struct Loop {
    package: AgentPackage,
    sandbox: Sandbox,
    socket: PathBuf,
    frame: usize,
    input: Vec<u8>,
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let before = Instant::now();
        let listener = UnixListener::bind(&self.socket).expect("a socket");
        let mut command = Command::new(self.sandbox.program());
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = self.sandbox.start(command, &self.package, &self.socket, |command| command.spawn());
        let mut bwrap = started.expect("a sandbox");
        let (mut stream, _) = listener.accept().expect("the agent");
        let mut buffer = Vec::new();
        let mut expect = |kind| {
            let got = read_frame(&mut stream, self.frame, &mut buffer).expect("a frame");
            assert_eq!(got, kind);
        };
        expect(Kind::Up);
        expect(Kind::Hello);
        write_frame(&mut stream, Kind::Call, &self.input).expect("a request sent");
        let answer = read_frame(&mut stream, self.frame, &mut buffer).expect("an answer");
        let took = before.elapsed();
        assert_eq!(answer, Kind::Answer);
        drop((stream, listener));
        std::fs::remove_file(&self.socket).expect("the socket's file");
        bwrap.wait().expect("the sandbox's end");
        took
    }
}

fn main() -> ExitCode {
    overhead::main(&Bwrap, &|block: &BlockRequest| {
        Box::new(Loop {
            package: AgentPackage::pack(&block.ctx, &block.target).expect("an agent and a guest"),
            sandbox: Sandbox::new(&block.target.variant).expect("bwrap"),
            socket: block.ctx.state.join("hand.sock"),
            frame: block.target.limits.frame_bytes as usize,
            input: std::fs::read(&block.input).expect("the case's input"),
        })
    })
}
