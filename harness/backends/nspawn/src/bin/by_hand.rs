//! What an engineer would write who only wanted the cold start of a container: systemd-nspawn in a cgroup, or a shell
//! script that does the same, two clock readings, no traits, no phases, no deadlines.

use isobench_nspawn::Nspawn;
use isobench_nspawn::container::{Container, Containers};
use isobench_runner::agents::AgentPackage;
use isobench_runner::overhead::{self, ByHand, Dialled, PLAIN};
use isobench_runner::protocol::BlockRequest;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

struct Loop {
    containers: Containers,
    shell: bool,
    dialled: Dialled,
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let (took, (mut container, mut nspawn)) = self.dialled.cold_start(|| {
            let (container, mut command) = if self.shell { self.script() } else { self.direct() };
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            (container, command.spawn().expect("nspawn"))
        });
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
            dialled: Dialled::new(block),
        }
    }

    fn direct(&self) -> (Container, Command) {
        let mut container = self.containers.container(self.dialled.socket()).expect("a container");
        let mut nspawn = Command::new(self.containers.program());
        self.containers.start(&mut container, nspawn.env_clear());
        (container, nspawn)
    }

    /// The cgroup with its limits and the same words, in a shell.
    fn script(&self) -> (Container, Command) {
        let mut container = self.containers.planned(self.dialled.socket()).expect("a container");
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
