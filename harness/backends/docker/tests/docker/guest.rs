//! The guest of the tests: this program, started with `--connect`, does what the request says.

use isobench_guest::frame::{Kind, write_frame};
use isobench_guest::native;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: native::Allocator = native::Allocator;

/// A native guest is told its limits and nothing else before its first call: these amounts of memory mean that it is to
/// stay silent, or to fall silent after `up`.
pub const SILENT: u64 = (64 << 20) + 1;
/// See [`SILENT`].
pub const NO_HELLO: u64 = (64 << 20) + 2;

/// Far longer than any deadline of the tests.
const FOR_EVER: Duration = Duration::from_secs(600);

pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let value = |flag: &str| args.iter().skip_while(|a| *a != flag).nth(1).cloned().unwrap_or_default();
    if value("--memory") == SILENT.to_string() {
        sleep(FOR_EVER);
    }
    if value("--memory") == NO_HELLO.to_string() {
        let socket = value("--connect").replace("unix:", "");
        let mut channel = UnixStream::connect(socket).expect("the host");
        write_frame(&mut channel, Kind::Up, &[]).expect("sent");
        sleep(FOR_EVER);
    }
    native::serve("test", handle)
}

fn handle(request: &[u8]) -> Vec<u8> {
    match request {
        b"panic" => panic!("at the disco"),
        b"exit" => std::process::exit(3),
        b"abort" => std::process::abort(),
        b"loop" => loop {
            std::hint::spin_loop();
        },
        b"grow" => loop {
            std::mem::forget(std::hint::black_box(vec![1u8; 1 << 20]));
        },
        b"share" => share(),
        b"long" => vec![1; 17 << 20],
        b"wrong" => b"nonsense".to_vec(),
        b"uid" => format!("{}", read_only_and_alone()).into_bytes(),
        _ => request.to_vec(),
    }
}

/// Memory that only the container's own limit sees: shared pages are no data segment.
fn share() -> ! {
    const CHUNK: usize = 16 << 20;
    loop {
        // SAFETY: a fresh anonymous mapping of that length, written once.
        unsafe {
            let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
            let chunk = libc::mmap(std::ptr::null_mut(), CHUNK, libc::PROT_WRITE, flags, -1, 0);
            libc::memset(chunk, 1, CHUNK);
        }
    }
}

/// Whether the boundary is one: nothing can be written, no network but the loop, no other process.
fn read_only_and_alone() -> bool {
    let written = std::fs::write("/x", "").is_ok() || std::fs::write("/run/isobench/x", "").is_ok();
    let networks = std::fs::read_dir("/sys/class/net").map(|d| d.count()).unwrap_or(0);
    !written && networks <= 1 && std::process::id() == 1
}
