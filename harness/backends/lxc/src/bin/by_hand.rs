//! What an engineer would write who only wanted the cold start of a container: `lxc-start` on the same configuration,
//! or `lxc-execute` from a shell, two clock readings, no traits, no phases, no deadlines.

use isobench_lxc::Lxc;
use isobench_lxc::container::Containers;
use isobench_runner::agents::AgentPackage;
use isobench_runner::overhead::{self, ByHand, PLAIN};
use isobench_runner::protocol::BlockRequest;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

struct Loop {
    containers: Containers,
    shell: bool,
    socket: PathBuf,
    frame: usize,
    input: Vec<u8>,
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let before = Instant::now();
        let listener = UnixListener::bind(&self.socket).expect("a socket");
        let mut container = self.containers.container(&self.socket).expect("a container");
        let mut command = match self.shell {
            true => {
                let mut sh = Command::new("/bin/sh");
                sh.arg("-c").arg(overhead::shell_line(&self.containers.execute(&container)));
                sh
            }
            false => {
                let mut lxc = Command::new(self.containers.program());
                container.start(&mut lxc);
                lxc
            }
        };
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut lxc = command.spawn().expect("LXC");
        let (mut stream, _) = listener.accept().expect("the agent");
        overhead::first_answer(&mut stream, self.frame, &self.input);
        let took = before.elapsed();
        drop((stream, listener));
        std::fs::remove_file(&self.socket).expect("the socket's file");
        lxc.wait().expect("the container's end");
        container.clear().expect("tidied up");
        took
    }
}

impl Loop {
    fn new(block: &BlockRequest, shell: bool) -> Loop {
        let package = AgentPackage::pack(&block.ctx, &block.target).expect("an agent and a guest");
        Loop {
            containers: Containers::new(&block.ctx, &block.target, &package).expect("a configuration"),
            shell,
            socket: block.ctx.state.join("hand.sock"),
            frame: block.target.limits.frame_bytes as usize,
            input: std::fs::read(&block.input).expect("the case's input"),
        }
    }
}

fn main() -> ExitCode {
    overhead::main_of(
        &Lxc,
        &[(PLAIN, &|block| Box::new(Loop::new(block, false))), ("shell", &|block| Box::new(Loop::new(block, true)))],
    )
}
