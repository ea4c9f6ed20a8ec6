//! A native guest that misbehaves in every way that can be told apart, as a process of its own: this program started
//! with `--connect` is the guest, without it is the host.

use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use isobench_guest::frame::{FrameError, Hello, Kind, PROTOCOL_VERSION, read_frame, write_frame};
use isobench_guest::native;

#[global_allocator]
static ALLOCATOR: native::Allocator = native::Allocator;

fn handle(request: &[u8]) -> Vec<u8> {
    match request {
        b"panic" => panic!("{} is\nunlucky", 13),
        b"index" => vec![request[request.len() + 8]],
        b"grow" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1u8; 1 << 20]);
            }
        }
        b"huge" => vec![1; 1 << 40],
        b"long" => vec![1; 2 << 20],
        b"exit" => std::process::exit(0),
        _ => request.to_vec(),
    }
}

/// Nothing here takes a second; a guest that is silent for this long will stay silent.
const PATIENCE: Duration = Duration::from_secs(30);

struct Guest {
    process: Child,
    channel: UnixStream,
    socket: PathBuf,
}

impl Guest {
    fn start() -> Self {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let socket = std::env::temp_dir().join(format!("isobench-guest-{}-{number}", std::process::id()));
        let listener = UnixListener::bind(&socket).unwrap();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg("--connect")
            .arg(format!("unix:{}", socket.display()))
            .args(["--memory", "16777216", "--frame", "1048576"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        listener.set_nonblocking(true).unwrap();
        let give_up = Instant::now() + PATIENCE;
        let channel = loop {
            match listener.accept() {
                Ok((channel, _)) => break channel,
                Err(_) if Instant::now() < give_up && process.try_wait().unwrap().is_none() => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("the guest did not connect: {error}"),
            }
        };
        channel.set_nonblocking(false).unwrap();
        channel.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut guest = Self { process, channel, socket };
        assert_eq!(guest.receive().unwrap(), (Kind::Up, String::new()));
        let (kind, hello) = guest.receive().unwrap();
        let hello = Hello::decode(hello.as_bytes()).unwrap();
        assert_eq!((kind, hello.version, hello.agent), (Kind::Hello, PROTOCOL_VERSION, "faulty 1.0"));
        guest
    }

    fn receive(&mut self) -> Result<(Kind, String), FrameError> {
        let mut payload = Vec::new();
        let kind = read_frame(&mut self.channel, 1 << 20, &mut payload)?;
        Ok((kind, String::from_utf8(payload).unwrap()))
    }

    fn ask(&mut self, request: &str) -> Result<(Kind, String), FrameError> {
        write_frame(&mut self.channel, Kind::Call, request.as_bytes()).unwrap();
        self.receive()
    }

    /// Waits for the end; the exit code and what was said on the standard error.
    fn end(&mut self) -> (Option<i32>, String) {
        let give_up = Instant::now() + PATIENCE;
        let status = loop {
            match self.process.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > give_up => panic!("the guest does not end"),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let mut said = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status.code(), said)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn a_fault_of_one_call_leaves_the_guest_well() {
    let mut guest = Guest::start();
    for (request, fault) in [
        ("panic", "guest_trap: panicked: 13 is unlucky"),
        ("index", "guest_trap: panicked: index out of bounds: the len is 5 but the index is 13"),
        ("long", "frame_too_large: the answer has 2097152 bytes, the limit is 1048576"),
    ] {
        assert_eq!(guest.ask(request).unwrap(), (Kind::Fault, fault.to_string()));
        assert_eq!(guest.ask("still there?").unwrap(), (Kind::Answer, "still there?".to_string()));
    }
    write_frame(&mut guest.channel, Kind::Stop, &[]).unwrap();
    assert_eq!(guest.end(), (Some(0), String::new()));
}

fn running_out_of_memory_is_told_by_name_and_ends_the_guest() {
    // Elsewhere the limit on data does not bind what is mapped: growing would go on to the machine's last page.
    let requests: &[&str] = if cfg!(target_os = "linux") { &["grow", "huge"] } else { &["huge"] };
    for request in requests {
        let mut guest = Guest::start();
        let (kind, line) = guest.ask(request).unwrap();
        assert_eq!((kind, line.split(':').next()), (Kind::Fault, Some("out_of_memory")));
        assert_eq!(guest.end().0, Some(1));
    }
}

fn a_guest_that_leaves_closes_the_channel() {
    let mut guest = Guest::start();
    assert!(matches!(guest.ask("exit"), Err(FrameError::Closed)));
    assert_eq!(guest.end().0, Some(0));
}

fn a_host_that_leaves_ends_the_guest() {
    let mut guest = Guest::start();
    guest.channel.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(guest.end(), (Some(0), String::new()));
}

fn wrong_arguments_are_named() {
    for (args, code, message) in [
        (&["--connect", "unix:/none", "--fast"][..], 2, "faulty 1.0: unknown argument \"--fast\"\nusage: "),
        (
            &["--connect", "unix:/none/at/all"][..],
            1,
            "faulty 1.0: can't reach the host at unix:/none/at/all: No such file",
        ),
    ] {
        let output = Command::new(std::env::current_exe().unwrap()).args(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert!(said.starts_with(message), "{said}");
    }
}

fn main() -> ExitCode {
    if std::env::args().any(|arg| arg == "--connect") {
        return native::serve("faulty 1.0", handle);
    }
    macro_rules! tests {
        ($($test:ident),* $(,)?) => { [$((stringify!($test), $test as fn())),*] };
    }
    let tests = tests![
        a_fault_of_one_call_leaves_the_guest_well,
        running_out_of_memory_is_told_by_name_and_ends_the_guest,
        a_guest_that_leaves_closes_the_channel,
        a_host_that_leaves_ends_the_guest,
        wrong_arguments_are_named,
    ];
    for (name, test) in tests {
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}
