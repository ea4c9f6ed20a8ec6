//! A guest that does what the request says, however rude: the fixture of the tests of faults.

use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// What an earlier call has left in this machine's memory.
static PLANTED: AtomicBool = AtomicBool::new(false);

fn handle(request: &[u8]) -> Vec<u8> {
    match request {
        b"hang" => loop {
            std::thread::sleep(std::time::Duration::from_secs(1));
        },
        b"panic" => panic!("as told"),
        b"exit" => std::process::exit(3),
        // Written to, or the kernel would never give the pages.
        b"eat" => vec![7; 1 << 30],
        b"answer too much" => vec![7; 20 << 20],
        b"flood the console" => {
            for _ in 0..8_000 {
                println!("{:64}", "a line that says nothing");
            }
            request.to_vec()
        }
        b"tell the time" => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set");
            (since.as_nanos() as u64).to_le_bytes().to_vec()
        }
        b"draw a random number" => {
            let mut bytes = vec![0; 8];
            std::fs::File::open("/dev/urandom").and_then(|mut device| device.read_exact(&mut bytes)).expect("a number");
            bytes
        }
        b"draw a seed" => RandomState::new().hash_one(0).to_le_bytes().to_vec(),
        b"plant a canary" => match PLANTED.swap(true, Ordering::Relaxed) {
            true => b"found".to_vec(),
            false => b"planted".to_vec(),
        },
        _ => request.to_vec(),
    }
}

isobench_guest::handler!(handle);
