//! What an engineer would write who only wanted a container's cold start: the same crate, daemon, image, settings and
//! socket, two clock readings, no traits, no phases, no names for failures.

use bollard::query_parameters::{KillContainerOptions, RemoveContainerOptions};
use isobench_docker::container::{CONNECT, GUEST, SOCKET, settings};
use isobench_docker::variant::Variant;
use isobench_docker::{Docker, Shared, connect, image_of};
use isobench_guest::frame::{Kind, read_frame, write_frame};
use isobench_runner::agents::AgentPackage;
use isobench_runner::overhead::{self, ByHand};
use isobench_runner::protocol::BlockRequest;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// The one deadline: of every read from the agent and of every request. Longer than any start that is worth waiting for.
const PATIENCE: Duration = Duration::from_secs(30);

struct Loop {
    docker: bollard::Docker,
    runtime: Runtime,
    image: String,
    args: Vec<String>,
    folder: PathBuf,
    input: Vec<u8>,
    block: BlockRequest,
}

impl Loop {
    fn new(block: &BlockRequest) -> Loop {
        let shared = Shared::read(&block.prepared).expect("the owner's record");
        let package = AgentPackage::pack(&block.ctx, &block.target).expect("an agent and a guest");
        Loop {
            docker: connect(&shared.socket).expect("a daemon"),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
            image: image_of(&shared, &package),
            args: package.args(CONNECT, GUEST),
            folder: block.ctx.state.join("by-hand"),
            input: fs::read(&block.input).expect("the case's input"),
            block: block.clone(),
        }
    }
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let limits = &self.block.target.limits;
        let before = Instant::now();

        fs::create_dir(&self.folder).expect("a folder");
        let socket = self.folder.join(SOCKET);
        let listener = UnixListener::bind(&socket).expect("a socket");
        let settings = settings(&self.block.ctx.run, &self.image, &self.args, &self.folder, limits, Variant::ALL[0]);
        let create_and_start = async {
            let id = self.docker.create_container(None, settings).await.expect("created").id;
            self.docker.start_container(&id, None).await.expect("started");
            id
        };
        let id = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, create_and_start).await })
            .expect("the daemon answers in time");
        // The container runs when `start` answers, and dials as its first act.
        let (mut agent, _) = listener.accept().expect("a connection");
        agent.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut frame = Vec::new();
        let limit = limits.frame_bytes as usize;
        for awaited in [Kind::Up, Kind::Hello] {
            assert_eq!(read_frame(&mut agent, limit, &mut frame).expect("a frame"), awaited);
        }
        write_frame(&mut agent, Kind::Call, &self.input).expect("sent");
        assert_eq!(read_frame(&mut agent, limit, &mut frame).expect("a frame"), Kind::Answer);

        let took = before.elapsed();
        self.runtime.block_on(async {
            let kill = KillContainerOptions { signal: "SIGKILL".into() };
            self.docker.kill_container(&id, Some(kill)).await.expect("killed");
            let force = RemoveContainerOptions { force: true, ..Default::default() };
            self.docker.remove_container(&id, Some(force)).await.expect("removed");
        });
        fs::remove_file(socket).and_then(|()| fs::remove_dir(&self.folder)).expect("tidied up");
        took
    }
}

fn main() -> ExitCode {
    overhead::main(&Docker, &|block| Box::new(Loop::new(block)))
}
