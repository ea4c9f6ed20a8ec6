//! What an engineer would write who only wanted the cold start of a container: `lxc-start` on the same configuration,
//! or `lxc-execute` from a shell, two clock readings, no traits, no phases, no deadlines.

use isobench_lxc::Lxc;
use isobench_lxc::container::Containers;
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
        let (took, (mut container, mut lxc)) = self.dialled.cold_start(|| {
            let container = self.containers.container(self.dialled.socket()).expect("a container");
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
            (container, command.spawn().expect("LXC"))
        });
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
            dialled: Dialled::new(block),
        }
    }
}

fn main() -> ExitCode {
    overhead::main_of(
        &Lxc,
        &[(PLAIN, &|block| Box::new(Loop::new(block, false))), ("shell", &|block| Box::new(Loop::new(block, true)))],
    )
}
