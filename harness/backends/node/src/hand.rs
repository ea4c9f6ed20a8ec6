//! What an engineer would write who only wanted the cold start of a script's process: the same script and socket, two
//! clock readings, no traits, no phases, no deadlines.

use crate::script::Scripted;
use isobench_runner::agents::AgentPackage;
use isobench_runner::overhead::{ByHand, Dialled};
use isobench_runner::protocol::BlockRequest;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The loop.
pub struct Hand {
    package: AgentPackage,
    scripted: Scripted,
    dialled: Dialled,
}

impl Hand {
    /// The loop for a block whose guest `program` runs. Panics where there is none: it is a program's, for benches.
    pub fn of(block: &BlockRequest, program: PathBuf, scripted: Scripted) -> Hand {
        let package = AgentPackage::of(&block.target, program, Some(scripted.guest.clone()));
        Hand { package: package.expect("a package"), scripted, dialled: Dialled::new(block) }
    }
}

impl ByHand for Hand {
    fn cold_start(&mut self) -> Duration {
        let (took, mut agent) = self.dialled.cold_start(|| {
            let mut command = Command::new(&self.package.program);
            command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            self.scripted.tell(&mut command, &self.package, self.dialled.socket());
            command.spawn().expect("an agent")
        });
        agent.wait().expect("the agent's end");
        took
    }
}
