//! What an engineer would write who only wanted a container's cold start: the same crate, daemon, image, settings and
//! socket, two clock readings, no traits, no phases, no names for failures. Or `docker run` with the same settings from a
//! shell.

use bollard::query_parameters::{KillContainerOptions, RemoveContainerOptions};
use isobench_docker::container::{AGENT, CONNECT, FOLDER, GUEST, SOCKET, settings};
use isobench_docker::variant::Variant;
use isobench_docker::{Docker, Shared, connect, image_of};
use isobench_runner::agents::AgentPackage;
use isobench_runner::overhead::{self, ByHand, PLAIN};
use isobench_runner::protocol::BlockRequest;
use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
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
    /// The daemon's socket, for the command line.
    socket: PathBuf,
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
            socket: shared.socket,
        }
    }

    /// From a connection to the first answer.
    fn first_answer(&self, mut agent: UnixStream) {
        agent.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        overhead::first_answer(&mut agent, self.block.target.limits.frame_bytes as usize, &self.input);
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
        let (agent, _) = listener.accept().expect("a connection");
        self.first_answer(agent);

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

/// The same from a shell.
struct Shell(Loop);

impl Shell {
    /// The settings of the API's request, as a person types them.
    fn line(&self) -> String {
        let Loop { image, args, folder, block, socket, .. } = &self.0;
        let wanted = settings("", image, args, folder, &block.target.limits, Variant::ALL[0]);
        let host = wanted.host_config.expect("it has one");
        format!(
            "exec docker --host unix://{} run --name {NAME} --user {} --runtime runc --network none --read-only \
             --cap-drop ALL --security-opt no-new-privileges --log-driver none --memory {} --memory-swap {} \
             --pids-limit {} --mount type=bind,source={},target={FOLDER},readonly --entrypoint {AGENT} {image} {}",
            socket.display(),
            wanted.user.expect("it has one"),
            host.memory.expect("it has one"),
            host.memory_swap.expect("it has one"),
            host.pids_limit.expect("it has one"),
            folder.display(),
            args.join(" "),
        )
    }
}

/// The container that the command line makes.
const NAME: &str = "isobench-by-hand";

impl ByHand for Shell {
    fn cold_start(&mut self) -> Duration {
        let before = Instant::now();
        fs::create_dir(&self.0.folder).expect("a folder");
        let socket = self.0.folder.join(SOCKET);
        let listener = UnixListener::bind(&socket).expect("a socket");
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(self.line()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = command.spawn().expect("a shell");
        let (agent, _) = listener.accept().expect("a connection");
        self.0.first_answer(agent);
        let took = before.elapsed();
        let docker = self.0.docker.clone();
        self.0.runtime.block_on(async {
            let force = RemoveContainerOptions { force: true, ..Default::default() };
            docker.remove_container(NAME, Some(force)).await.expect("removed");
        });
        shell.wait().expect("the command's end");
        fs::remove_file(socket).and_then(|()| fs::remove_dir(&self.0.folder)).expect("tidied up");
        took
    }
}

fn main() -> ExitCode {
    overhead::main_of(
        &Docker,
        &[(PLAIN, &|block| Box::new(Loop::new(block))), ("shell", &|block| Box::new(Shell(Loop::new(block))))],
    )
}
