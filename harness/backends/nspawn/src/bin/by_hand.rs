//! What an engineer would write who only wanted the cold start of a container: systemd-nspawn in a cgroup, or a shell
//! script that does the same, two clock readings, no traits, no phases, no deadlines.

use isobench_nspawn::Nspawn;
use isobench_nspawn::container::{Container, Containers};
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
        let (mut container, mut command) = if self.shell { self.script() } else { self.direct() };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut nspawn = command.spawn().expect("nspawn");
        let (mut stream, _) = listener.accept().expect("the agent");
        overhead::first_answer(&mut stream, self.frame, &self.input);
        let took = before.elapsed();
        drop((stream, listener));
        std::fs::remove_file(&self.socket).expect("the socket's file");
        nspawn.wait().expect("the container's end");
        container.clear().expect("tidied up");
        took
    }
}

impl Loop {
    fn new(block: &BlockRequest, shell: bool) -> Loop {
        let package = AgentPackage::pack(&block.ctx, &block.target).expect("an agent and a guest");
        Loop {
            containers: Containers::new(&block.ctx, &block.target, &package).expect("a root folder"),
            shell,
            socket: block.ctx.state.join("hand.sock"),
            frame: block.target.limits.frame_bytes as usize,
            input: std::fs::read(&block.input).expect("the case's input"),
        }
    }

    fn direct(&self) -> (Container, Command) {
        let mut container = self.containers.container(&self.socket).expect("a container");
        let mut nspawn = Command::new(self.containers.program());
        self.containers.start(&mut container, nspawn.env_clear());
        (container, nspawn)
    }

    /// The cgroup with its limits and the same words, in a shell.
    fn script(&self) -> (Container, Command) {
        let mut container = self.containers.planned(&self.socket).expect("a container");
        let mut nspawn = Command::new(self.containers.program());
        let line = overhead::shell_line(self.containers.start(&mut container, &mut nspawn));
        let folders: Vec<_> = self.containers.maker().folders(&container.cgroup).collect();
        let mut script = String::from("mkdir -p");
        folders.iter().for_each(|(folder, _)| script += &format!(" {}", folder.display()));
        for (folder, limits) in &folders {
            let folder = folder.display();
            limits.iter().for_each(|limit| script += &format!("\necho {} > {folder}/{}", limit.value, limit.file));
            script += &format!("\necho $$ > {folder}/cgroup.procs");
        }
        script += &format!("\nexec {line}\n");
        let mut sh = Command::new("/bin/sh");
        sh.env_clear().envs(self.containers.environment().iter().copied()).arg("-c").arg(script);
        (container, sh)
    }
}

fn main() -> ExitCode {
    overhead::main_of(
        &Nspawn,
        &[(PLAIN, &|block| Box::new(Loop::new(block, false))), ("shell", &|block| Box::new(Loop::new(block, true)))],
    )
}
