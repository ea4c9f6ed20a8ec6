//! The agent for JS guests, spoken to over a real socket as a boundary's host does.

use isobench_core::{Fault, FaultKind};
use isobench_runner::channel::{Channel, Listener};
use isobench_runner::stopwatch::Deadline;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const FRAME: u64 = 1 << 20;
/// A deadline in milliseconds that no call here is to reach.
const LONG: u32 = 15_000;

/// An agent with a guest; killed and reaped at the end, whatever happens.
struct Agent {
    child: Child,
    channel: Channel,
    _dir: tempfile::TempDir,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Agent {
    /// Starts the agent and waits for its `up`. A call may take `deadline_ms`.
    fn start(guest: &str, deadline_ms: u32) -> Agent {
        let dir = tempfile::tempdir_in("/tmp").expect("a temporary folder");
        let path = dir.path().join("guest.js");
        std::fs::write(&path, guest).expect("the guest");
        let listener = Listener::bind(dir.path().join("s")).expect("a socket");
        let child = Command::new(env!("CARGO_BIN_EXE_isobench-agent-v8"))
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

    fn ready(guest: &str, deadline_ms: u32) -> Agent {
        let mut agent = Agent::start(guest, deadline_ms);
        agent.channel.expect_hello(soon()).expect("the guest is evaluated");
        agent
    }

    fn call(&mut self, request: &[u8]) -> Result<Vec<u8>, Fault> {
        self.channel.call(request, soon())
    }

    fn call_fault(&mut self, kind: FaultKind) -> String {
        let fault = self.call(b"").expect_err("a fault");
        assert_eq!(fault.kind, kind, "{fault}");
        fault.message
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

#[test]
fn a_guest_is_called_until_it_is_stopped() {
    let mut agent = Agent::ready("export function handle(request) { return request.slice(); }", LONG);
    for size in [0, 1, 1000, FRAME as usize] {
        let request = vec![7; size];
        assert_eq!(agent.call(&request).expect("an answer"), request);
    }
    agent.channel.send_stop();
    assert!(agent.child.wait().expect("the agent ends").success());
}

#[test]
fn a_guest_that_does_not_compile_is_reported_instead_of_hello() {
    let mut agent = Agent::start("export function handle( {", LONG);
    let fault = agent.channel.expect_hello(soon()).expect_err("no hello");
    assert_eq!(fault.kind, FaultKind::InvalidGuest, "{fault}");
    assert!(fault.message.contains("guest.js:1: SyntaxError"), "{fault}");
}

#[test]
fn a_failed_call_leaves_the_guest_usable() {
    let mut agent = Agent::ready(
        "let n = 0;
         export function handle() {
           n += 1;
           if (n === 1) throw new Error('boom');
           if (n === 2) for (;;);
           if (n === 3) return 'text';
           if (n === 4) return new Uint8Array((1 << 20) + 1);
           return Uint8Array.of(n);
         }",
        200,
    );
    assert!(agent.call_fault(FaultKind::GuestThrow).contains("guest.js:4: Error: boom"));
    agent.call_fault(FaultKind::DeadlineExceeded);
    agent.call_fault(FaultKind::BadAnswer);
    agent.call_fault(FaultKind::FrameTooLarge);
    assert_eq!(agent.call(b"").expect("an answer"), [5]);
}

#[test]
fn memory_exhaustion_is_told_by_name_even_where_v8_aborts() {
    let mut agent =
        Agent::ready("const keep = []; export function handle() { for (;;) keep.push([keep.length]); }", LONG);
    agent.call_fault(FaultKind::OutOfMemory);
    // A heap that was exhausted stays so: no later call may pretend otherwise.
    agent.call_fault(FaultKind::OutOfMemory);

    let mut agent = Agent::ready("export function handle() { return new Array(32e6).fill(1.5); }", LONG);
    agent.call_fault(FaultKind::OutOfMemory);
    assert!(!agent.child.wait().expect("the agent ends").success());
}
