//! An agent for JS guests, spoken to over a real socket as a boundary's host does.

use crate::channel::{Channel, Listener};
use crate::stopwatch::Deadline;
use isobench_core::{Fault, FaultKind};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const FRAME: u64 = 1 << 20;

/// A deadline in milliseconds that no call here is to reach.
pub const LONG: u32 = 15_000;

/// An agent with a guest; killed and reaped at the end, whatever happens.
#[derive(Debug)]
pub struct Agent {
    /// Its process.
    pub child: Child,
    /// What it dialled.
    pub channel: Channel,
    _dir: tempfile::TempDir,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Agent {
    /// Starts `program` with a guest from its source and waits for its `up`. A call may take `deadline_ms`.
    pub fn start(program: &str, guest: &str, deadline_ms: u32) -> Agent {
        let dir = tempfile::tempdir_in("/tmp").expect("a temporary folder");
        let path = dir.path().join("guest.js");
        std::fs::write(&path, guest).expect("the guest");
        let listener = Listener::bind(dir.path().join("s")).expect("a socket");
        let child = Command::new(program)
            .arg("--connect")
            .arg(format!("unix:{}", listener.path().display()))
            .arg("--guest")
            .arg(&path)
            .args(["--memory", "67108864", "--frame", &FRAME.to_string(), "--deadline-ms", &deadline_ms.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .expect("the agent");
        let mut channel = listener.accept(FRAME, soon(), || Ok(())).expect("the agent connects");
        channel.expect_up(soon()).expect("the agent says `up`");
        Agent { child, channel, _dir: dir }
    }

    /// The same, once the guest has been evaluated.
    pub fn ready(program: &str, guest: &str, deadline_ms: u32) -> Agent {
        let mut agent = Agent::start(program, guest, deadline_ms);
        agent.channel.expect_hello(soon()).expect("the guest is evaluated");
        agent
    }

    /// One call, with a deadline far off.
    ///
    /// # Errors
    /// The guest's fault, or the channel's.
    pub fn call(&mut self, request: &[u8]) -> Result<Vec<u8>, Fault> {
        self.channel.call(request, soon())
    }

    /// Panics unless an empty call ends in a fault of that name; answers with its message.
    pub fn call_fault(&mut self, kind: FaultKind) -> String {
        let fault = self.call(b"").expect_err("a fault");
        assert_eq!(fault.kind, kind, "{fault}");
        fault.message
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// A guest is called until it is stopped; one that does not compile is reported instead of `hello`; a failed call
/// leaves the guest usable.
pub fn contract(program: &str) {
    let mut agent = Agent::ready(program, super::ECHO, LONG);
    for size in [0, 1, 1000, FRAME as usize] {
        let request = vec![7; size];
        assert_eq!(agent.call(&request).expect("an answer"), request);
    }
    agent.channel.send_stop();
    assert!(agent.child.wait().expect("the agent ends").success());

    let mut broken = Agent::start(program, "export function handle( {", LONG);
    let fault = broken.channel.expect_hello(soon()).expect_err("no hello");
    assert_eq!(fault.kind, FaultKind::InvalidGuest, "{fault}");
    assert!(fault.message.contains("guest.js:1: SyntaxError"), "{fault}");

    let failing = "let n = 0;
        export function handle() {
          n += 1;
          if (n === 1) throw new Error('boom');
          if (n === 2) for (;;);
          if (n === 3) return 'text';
          if (n === 4) return new Uint8Array((1 << 20) + 1);
          return Uint8Array.of(n);
        }";
    let mut failing = Agent::ready(program, failing, 200);
    assert!(failing.call_fault(FaultKind::GuestThrow).contains("guest.js:4: Error: boom"));
    failing.call_fault(FaultKind::DeadlineExceeded);
    failing.call_fault(FaultKind::BadAnswer);
    failing.call_fault(FaultKind::FrameTooLarge);
    assert_eq!(failing.call(b"").expect("an answer"), [5]);
}
