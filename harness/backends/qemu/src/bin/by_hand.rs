//! The hand-written cold start of a microVM: the same QEMU, arguments, kernel, root file system and socket, without the
//! harness's traits, deadlines and faults.

use isobench_guest::frame::{Kind, read_frame, write_frame};
use isobench_qemu::machine::{Beginning, Parts};
use isobench_qemu::vm::Image;
use isobench_qemu::{QemuBackend, image};
use isobench_runner::overhead::{self, ByHand};
use isobench_runner::protocol::BlockRequest;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

struct Loop {
    image: Image,
    input: Vec<u8>,
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let socket = self.image.state.join("by-hand.sock");
        let log = self.image.state.join("by-hand.log");
        let before = Instant::now();
        let listener = UnixListener::bind(&socket).expect("socket");
        let (_control, theirs) = UnixStream::pair().expect("control socket");
        let number = theirs.as_raw_fd();
        let parts = Parts {
            beginning: Beginning::Boot { memory: None },
            initramfs: &self.image.initramfs,
            memory_mib: self.image.memory_mib,
            socket: &socket,
            log: &log,
            control: number,
        };
        let mut command = Command::new(&self.image.machine.qemu.program);
        command.args(self.image.machine.arguments(&parts)).stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: one system call, allowed after fork.
        unsafe {
            command.pre_exec(move || {
                libc::fcntl(number, libc::F_SETFD, 0);
                Ok(())
            })
        };
        let mut qemu = command.spawn().expect("QEMU");
        let (mut agent, _) = listener.accept().expect("QEMU connects");
        let mut buffer = Vec::new();
        let limit = self.image.frame_limit as usize;
        for expected in [Kind::Up, Kind::Hello] {
            assert_eq!(read_frame(&mut agent, limit, &mut buffer).expect("the agent's frame"), expected);
        }
        write_frame(&mut agent, Kind::Call, &self.input).expect("the call");
        assert_eq!(read_frame(&mut agent, limit, &mut buffer).expect("the answer"), Kind::Answer);
        let took = before.elapsed();
        qemu.kill().and_then(|()| qemu.wait()).expect("QEMU ends");
        fs::remove_file(&socket).and_then(|()| fs::remove_file(&log)).expect("removing the files");
        took
    }
}

fn main() -> ExitCode {
    overhead::main(&QemuBackend, &|block: &BlockRequest| {
        let machines = serde_json::from_value(block.prepared.clone()).expect("what `prepare` wrote down");
        let image = image(&machines, &block.ctx, &block.target).expect("the root file system");
        Box::new(Loop { image, input: fs::read(&block.input).expect("the request's bytes") })
    })
}
