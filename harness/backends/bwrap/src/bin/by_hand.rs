//! What an engineer would write who only wanted the cold start of a sandbox: the same flags, agent and socket, two clock
//! readings, no traits, no phases, no deadlines. And the same from a shell: a script of one line that `/bin/sh` runs.

use isobench_bwrap::{Bwrap, Sandbox};
use isobench_runner::agents::AgentPackage;
use isobench_runner::overhead::{self, ByHand, Dialled, PLAIN};
use isobench_runner::protocol::BlockRequest;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

struct Loop {
    package: AgentPackage,
    sandbox: Sandbox,
    dialled: Dialled,
    /// What a shell runs instead, if one is to.
    script: Option<PathBuf>,
}

impl Loop {
    fn new(block: &BlockRequest) -> Loop {
        Loop {
            package: AgentPackage::pack(&block.ctx, &block.target).expect("an agent and a guest"),
            sandbox: Sandbox::new(&block.target.variant).expect("bwrap"),
            dialled: Dialled::new(block),
            script: None,
        }
    }

    /// With the same command line in a script.
    fn from_shell(block: &BlockRequest) -> Loop {
        let hand = Loop::new(block);
        let line =
            hand.sandbox.start(Command::new(hand.sandbox.program()), &hand.package, hand.dialled.socket(), |command| {
                Ok(overhead::shell_line(command))
            });
        let script = block.ctx.state.join("hand.sh");
        std::fs::write(&script, line.expect("a command line") + "\n").expect("a script");
        Loop { script: Some(script), ..hand }
    }

    fn launch(&self) -> io::Result<Child> {
        let command = |program: &Path| {
            let mut command = Command::new(program);
            command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        match &self.script {
            Some(script) => command(Path::new("/bin/sh")).arg(script).spawn(),
            None => {
                let command = command(self.sandbox.program());
                self.sandbox.start(command, &self.package, self.dialled.socket(), |command| command.spawn())
            }
        }
    }
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let (took, mut bwrap) = self.dialled.cold_start(|| self.launch().expect("a sandbox"));
        bwrap.wait().expect("the sandbox's end");
        took
    }
}

fn main() -> ExitCode {
    overhead::main_of(
        &Bwrap,
        &[(PLAIN, &|block| Box::new(Loop::new(block))), ("shell", &|block| Box::new(Loop::from_shell(block)))],
    )
}
