//! What an engineer would write who only wanted the cold start of a process: the same agent and socket, two clock
//! readings, no traits, no phases, no deadlines.

use isobench_runner::agents::AgentPackage;
use isobench_runner::overhead::{self, ByHand, Dialled};
use isobench_runner::protocol::BlockRequest;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

struct Loop {
    package: AgentPackage,
    guest: String,
    dialled: Dialled,
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let (took, mut agent) = self.dialled.cold_start(|| {
            Command::new(&self.package.program)
                .args(self.package.args(&format!("unix:{}", self.dialled.socket().display()), &self.guest))
                .env_clear()
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("an agent")
        });
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
            dialled: Dialled::new(block),
        })
    })
}
