//! The hand-written cold start of a Firecracker microVM: the same program, requests, kernel, root file system and
//! socket, without the harness's traits, deadlines and faults.

use isobench_firecracker::Firecracker;
use isobench_firecracker::machine::{COMMAND_LINE, Machine};
use isobench_firecracker::monitor::{Image, PORT};
use isobench_runner::overhead::{self, ByHand};
use isobench_runner::protocol::BlockRequest;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

struct Loop {
    image: Image<Machine>,
    input: Vec<u8>,
    home: PathBuf,
}

impl Loop {
    fn new(block: &BlockRequest) -> Loop {
        let machine: Machine = serde_json::from_value(block.prepared.clone()).expect("what `prepare` wrote down");
        Loop {
            image: Image::of(&block.ctx, &machine, &block.target).expect("the root file system"),
            input: fs::read(&block.input).expect("the request's bytes"),
            home: block.ctx.state.join("by-hand"),
        }
    }

    fn requests(&self) -> [(&'static str, Value); 4] {
        let kernel = &self.image.machine.kernel.image;
        let (initrd, memory) = (&self.image.initramfs, self.image.memory_mib);
        [
            ("/machine-config", json!({ "vcpu_count": 1, "mem_size_mib": memory })),
            ("/boot-source", json!({ "kernel_image_path": kernel, "initrd_path": initrd, "boot_args": COMMAND_LINE })),
            ("/vsock", json!({ "guest_cid": 3, "uds_path": "vsock" })),
            ("/actions", json!({ "action_type": "InstanceStart" })),
        ]
    }
}

fn put(api: &mut UnixStream, path: &str, body: &str) {
    let headers = format!("Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
    let request = format!("PUT {path} HTTP/1.1\r\n{headers}\r\n\r\n{body}");
    api.write_all(request.as_bytes()).expect("the API's socket");
    // An answer without a body, which comes in one piece.
    let mut answer = [0; 1024];
    let got = api.read(&mut answer).expect("an answer");
    assert!(answer[..got].starts_with(b"HTTP/1.1 204 "), "{path}: {}", String::from_utf8_lossy(&answer[..got]));
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let before = Instant::now();
        fs::create_dir(&self.home).expect("a folder");
        let listener = UnixListener::bind(self.home.join(format!("vsock_{PORT}"))).expect("a socket");
        let mut command = Command::new(&self.image.machine.program);
        command.args(["--api-sock", "api", "--level", "Error"]).current_dir(&self.home);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut firecracker = command.spawn().expect("Firecracker");
        let socket = self.home.join("api");
        let mut api = loop {
            match UnixStream::connect(&socket) {
                Ok(api) => break api,
                Err(_) => std::thread::sleep(Duration::from_micros(200)),
            }
        };
        for (path, body) in self.requests() {
            put(&mut api, path, &body.to_string());
        }
        let (mut agent, _) = listener.accept().expect("the guest dials");
        overhead::first_answer(&mut agent, self.image.frame_limit as usize, &self.input);
        let took = before.elapsed();
        firecracker.kill().and_then(|()| firecracker.wait()).expect("Firecracker ends");
        // Made above for this start, inside the state folder of this process.
        fs::remove_dir_all(&self.home).expect("removing the folder");
        took
    }
}

fn main() -> ExitCode {
    overhead::main(&Firecracker, &|block| Box::new(Loop::new(block)))
}
