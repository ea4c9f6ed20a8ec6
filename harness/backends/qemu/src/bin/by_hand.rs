//! The hand-written cold start of a microVM: the same QEMU, arguments, kernel, root file system and socket, without the
//! harness's traits, deadlines and faults. And the same from a shell: a script of one line that `/bin/sh` runs.

use isobench_qemu::machine::{Beginning, Parts};
use isobench_qemu::vm::Image;
use isobench_qemu::{QemuBackend, image};
use isobench_runner::overhead::{self, ByHand, PLAIN};
use isobench_runner::protocol::BlockRequest;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Where QEMU finds its control socket: always the same, as a script is.
const CONTROL: i32 = 99;

struct Loop {
    image: Image,
    input: Vec<u8>,
    socket: PathBuf,
    log: PathBuf,
    /// What a shell runs instead, if one is to.
    script: Option<PathBuf>,
}

impl Loop {
    fn new(block: &BlockRequest) -> Loop {
        let machines = serde_json::from_value(block.prepared.clone()).expect("what `prepare` wrote down");
        Loop {
            image: image(&machines, &block.ctx, &block.target).expect("the root file system"),
            input: fs::read(&block.input).expect("the request's bytes"),
            socket: block.ctx.state.join("by-hand.sock"),
            log: block.ctx.state.join("by-hand.log"),
            script: None,
        }
    }

    /// With the same command line in a script.
    fn from_shell(block: &BlockRequest) -> Loop {
        let hand = Loop::new(block);
        let quoted = |word: &OsString| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"));
        let program = hand.image.machine.qemu.program.clone().into_os_string();
        let words: Vec<String> = std::iter::once(&program).chain(&hand.arguments()).map(quoted).collect();
        let script = block.ctx.state.join("by-hand.sh");
        fs::write(&script, words.join(" ") + "\n").expect("a script");
        Loop { script: Some(script), ..hand }
    }

    fn arguments(&self) -> Vec<OsString> {
        let parts = Parts {
            beginning: Beginning::Boot { memory: None },
            initramfs: &self.image.initramfs,
            memory_mib: self.image.memory_mib,
            socket: &self.socket,
            log: &self.log,
            control: CONTROL,
        };
        self.image.machine.arguments(&parts)
    }

    fn command(&self) -> Command {
        match &self.script {
            Some(script) => {
                let mut command = Command::new("/bin/sh");
                command.arg(script);
                command
            }
            None => {
                let mut command = Command::new(&self.image.machine.qemu.program);
                command.args(self.arguments());
                command
            }
        }
    }
}

impl ByHand for Loop {
    fn cold_start(&mut self) -> Duration {
        let before = Instant::now();
        let listener = UnixListener::bind(&self.socket).expect("socket");
        let (mut control, theirs) = UnixStream::pair().expect("control socket");
        let number = theirs.as_raw_fd();
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // SAFETY: one system call, allowed after fork.
        unsafe {
            command.pre_exec(move || match libc::dup2(number, CONTROL) {
                ..0 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            })
        };
        let mut qemu = command.spawn().expect("QEMU");
        let (mut agent, _) = listener.accept().expect("QEMU connects");
        overhead::first_answer(&mut agent, self.image.frame_limit as usize, &self.input);
        let took = before.elapsed();
        // Killing a shell would leave its QEMU.
        control.write_all(br#"{"execute":"qmp_capabilities"}{"execute":"quit"}"#).expect("QMP");
        qemu.wait().expect("QEMU ends");
        fs::remove_file(&self.socket).and_then(|()| fs::remove_file(&self.log)).expect("removing the files");
        took
    }
}

fn main() -> ExitCode {
    overhead::main_of(
        &QemuBackend,
        &[(PLAIN, &|block| Box::new(Loop::new(block))), ("shell", &|block| Box::new(Loop::from_shell(block)))],
    )
}
