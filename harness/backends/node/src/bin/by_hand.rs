//! What an engineer would write who only wanted the cold start of Node: the same script and socket, two clock readings,
//! no traits, no phases, no deadlines.

use isobench_node::Node;
use isobench_node::deployed::deployed;
use isobench_node::program::Program;
use isobench_node::script::Scripted;
use isobench_runner::agents::AgentPackage;
use isobench_runner::overhead::{self, ByHand, Dialled};
use isobench_runner::protocol::BlockRequest;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

struct Loop {
    package: AgentPackage,
    deployed: Scripted,
    dialled: Dialled,
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let (took, mut agent) = self.dialled.cold_start(|| {
            let mut command = Command::new(&self.package.program);
            command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            self.deployed.tell(&mut command, &self.package, self.dialled.socket());
            command.spawn().expect("an agent")
        });
        agent.wait().expect("the agent's end");
        took
    }
}

fn main() -> ExitCode {
    overhead::main(&Node, &|block: &BlockRequest| {
        let program = Program::find(&block.ctx.cache).expect("a Node");
        let deployed = deployed(&block.ctx, &block.target, &program).expect("a guest");
        let package = AgentPackage::of(&block.target, program.path, Some(deployed.guest.clone()));
        Box::new(Loop { package: package.expect("a package"), deployed, dialled: Dialled::new(block) })
    })
}
