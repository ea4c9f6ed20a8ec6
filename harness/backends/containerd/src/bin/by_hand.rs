//! What an engineer would write who only wanted a container's cold start: the same requests to the same daemon, two
//! clock readings, no traits, no phases, no names for failures. Or `ctr run` with the same settings from a shell.

use isobench_containerd::api::{Client, NAMESPACE};
use isobench_containerd::container::{LABEL, Recipe, remove};
use isobench_containerd::image::SNAPSHOTTER;
use isobench_containerd::messages::{Request, StartTask};
use isobench_containerd::spec::memory;
use isobench_containerd::{Containerd, Deployed, Shared, deploy, new_id};
use isobench_runner::overhead::{self, ByHand, PLAIN};
use isobench_runner::protocol::BlockRequest;
use isobench_runner::{Deadline, owner};
use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The one deadline: of every read from the agent and of every request. Longer than any start worth waiting for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The capabilities that containerd's clients give by default (containerd, `oci/spec.go`), and that we do not.
const DROPPED: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

struct Loop {
    deployed: Deployed,
    socket: PathBuf,
    input: Vec<u8>,
    frame: usize,
    /// The daemon's socket, for the command line.
    address: PathBuf,
}

impl Loop {
    fn new(block: &BlockRequest) -> Loop {
        let shared = Shared::read(&block.prepared).expect("the owner's record");
        Loop {
            deployed: deploy(&shared, &block.ctx, &block.target).expect("an image"),
            socket: block.ctx.state.join("hand.sock"),
            input: fs::read(&block.input).expect("the case's input"),
            frame: block.target.limits.frame_bytes as usize,
            address: shared.socket,
        }
    }

    fn recipe(&self) -> &Recipe {
        self.deployed.recipe()
    }

    /// From a connection to the first answer.
    fn first_answer(&self, mut agent: UnixStream) {
        agent.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        overhead::first_answer(&mut agent, self.frame, &self.input);
    }
}

fn ask<R: Request>(client: &Client, request: R) -> R::Answer {
    client.call(request, Deadline::after(PATIENCE)).expect("an answer")
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let recipe = self.recipe();
        let client = &recipe.client;
        let before = Instant::now();
        let id = new_id();
        let listener = UnixListener::bind(&self.socket).expect("a socket");
        let mounts = ask(client, recipe.snapshot(&id)).mounts;
        ask(client, recipe.container(&id, &self.socket));
        ask(client, recipe.task(&id, mounts));
        ask(client, StartTask { container_id: id.clone() });
        let (agent, _) = listener.accept().expect("a connection");
        self.first_answer(agent);
        let took = before.elapsed();
        remove(client, &id, Deadline::after(PATIENCE)).expect("removed");
        fs::remove_file(&self.socket).expect("tidied up");
        took
    }
}

/// The same from a shell.
struct Shell(Loop);

impl Shell {
    /// The settings of the requests, as a person types them. `ctr` has no word for a limit of processes.
    fn line(&self, id: &str) -> String {
        let recipe = self.0.recipe();
        let text = |value: &serde_json::Value| value.as_str().expect("a word").to_string();
        let words = |list: &serde_json::Value| list.as_array().expect("a list").iter().map(text).collect::<Vec<_>>();
        let process = &recipe.spec["process"];
        let env: String = words(&process["env"]).iter().map(|one| format!("--env {one} ")).collect();
        let drop: String = DROPPED.map(|capability| format!("--cap-drop {capability} ")).concat();
        format!(
            "exec ctr --address {} --namespace {NAMESPACE} run --rm --null-io --snapshotter {SNAPSHOTTER} --read-only \
             --label {LABEL}={} --memory-limit {} --cgroup /{}/{id} {env}{drop}\
             --mount type=bind,src={},dst=/socket,options=bind:ro:nosuid:nodev {} {id} {}",
            self.0.address.display(),
            owner::me(),
            memory(&recipe.spec),
            recipe.parent,
            self.0.socket.display(),
            recipe.image.name,
            words(&process["args"]).join(" "),
        )
    }
}

impl ByHand for Shell {
    fn cold_start(&mut self) -> Duration {
        let before = Instant::now();
        let id = new_id();
        let listener = UnixListener::bind(&self.0.socket).expect("a socket");
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(self.line(&id)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = command.spawn().expect("a shell");
        let (agent, _) = listener.accept().expect("a connection");
        self.0.first_answer(agent);
        let took = before.elapsed();
        // The agent has lost its connection, and ends; `ctr` removes what was its container.
        assert!(shell.wait().expect("the command's end").success());
        fs::remove_file(&self.0.socket).expect("tidied up");
        took
    }
}

fn main() -> ExitCode {
    overhead::main_of(
        &Containerd,
        &[(PLAIN, &|block| Box::new(Loop::new(block))), ("shell", &|block| Box::new(Shell(Loop::new(block))))],
    )
}
