//! What an engineer would write who only wanted the cold start of a container: `runc run` on the same bundle, detached or
//! from a shell in the foreground, two clock readings, no traits, no phases, no deadlines.

use isobench_oci::Oci;
use isobench_oci::container::Bundles;
use isobench_oci::runtime::Runtime;
use isobench_runner::agents::AgentPackage;
use isobench_runner::overhead::{self, ByHand, Dialled, PLAIN};
use isobench_runner::protocol::BlockRequest;
use isobench_runner::spawned::Surroundings;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

struct Loop {
    /// `None` for a shell in the foreground.
    program: Option<PathBuf>,
    bundles: Bundles,
    dialled: Dialled,
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let (took, (mut container, mut run)) = self.dialled.cold_start(|| {
            let container = self.bundles.bundle(self.dialled.socket()).expect("a bundle");
            let mut command = Command::new(self.program.as_deref().unwrap_or(Path::new("/bin/sh")));
            command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let detached = self.program.is_some();
            let command =
                if detached { container.run(&mut command) } else { command.arg("-c").arg(container.shell_line()) };
            let mut run = command.spawn().expect("a runtime");
            if detached {
                assert!(run.wait().expect("its end").success());
            }
            (container, run)
        });
        run.wait().expect("the container's end, in the foreground");
        container.clear().expect("tidied up");
        took
    }
}

impl Loop {
    fn new(block: &BlockRequest, detached: bool) -> Loop {
        let package = AgentPackage::pack(&block.ctx, &block.target).expect("an agent and a guest");
        let runtime = Runtime::find(&block.ctx, &block.target.variant).expect("a runtime");
        Loop {
            program: detached.then(|| runtime.program.clone()),
            bundles: Bundles::of(&block.ctx, &block.target, &package, runtime).expect("folders"),
            dialled: Dialled::new(block),
        }
    }
}

fn main() -> ExitCode {
    overhead::main_of(
        &Oci,
        &[(PLAIN, &|block| Box::new(Loop::new(block, true))), ("shell", &|block| Box::new(Loop::new(block, false)))],
    )
}
