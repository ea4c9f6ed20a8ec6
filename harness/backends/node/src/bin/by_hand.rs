//! What an engineer would write who only wanted the cold start of Node: the same script and socket, two clock readings,
//! no traits, no phases, no deadlines.

use isobench_node::Node;
use isobench_node::deployed::Deployed;
use isobench_node::program::Program;
use isobench_runner::agents::AgentPackage;
use isobench_runner::overhead::{self, ByHand};
use isobench_runner::protocol::BlockRequest;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

struct Loop {
    package: AgentPackage,
    deployed: Deployed,
    socket: PathBuf,
    frame: usize,
    input: Vec<u8>,
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let before = Instant::now();
        let listener = UnixListener::bind(&self.socket).expect("a socket");
        let mut command = Command::new(&self.package.program);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.deployed.tell(&mut command, &self.package, &self.socket);
        let mut agent = command.spawn().expect("an agent");
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
    overhead::main(&Node, &|block: &BlockRequest| {
        let program = Program::find(&block.ctx.cache).expect("a Node");
        let deployed = Deployed::new(&block.ctx, &block.target, &program).expect("a guest");
        let package = AgentPackage::of(&block.target, program.path, Some(deployed.guest.clone()));
        Box::new(Loop {
            package: package.expect("a package"),
            deployed,
            socket: block.ctx.state.join("hand.sock"),
            frame: block.target.limits.frame_bytes as usize,
            input: std::fs::read(&block.input).expect("the case's input"),
        })
    })
}
