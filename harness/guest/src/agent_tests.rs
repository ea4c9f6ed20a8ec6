use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use super::*;

/// Answers a request with its reverse, fails on `!`, and remembers the last wake in front of every answer.
struct Reverse(u64);

impl Guest for Reverse {
    fn handle(&mut self, request: &[u8]) -> Result<Vec<u8>, AgentFault> {
        if request == b"!" {
            return Err(AgentFault::new(fault::GUEST_THROW, "no"));
        }
        let mut answer = vec![self.0 as u8];
        answer.extend(request.iter().rev());
        Ok(answer)
    }

    fn wake(&mut self, _entropy: &[u8; 32], unix_ns: u64) {
        self.0 = unix_ns;
    }
}

fn args() -> Args {
    Args {
        connect: Connect::Port("unused".into()),
        guest: None,
        memory: 0,
        frame: 100,
        deadline: Duration::from_secs(1),
        zygote: false,
    }
}

/// Plays the host with `script` against an agent in a thread; gives back how the agent left.
fn play(
    load: impl FnOnce(&Args) -> Result<Reverse, AgentFault> + Send,
    script: impl FnOnce(&mut UnixStream),
) -> Result<(), String> {
    let (mut host, agent) = UnixStream::pair().unwrap();
    host.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let agent = File::from(OwnedFd::from(agent));
    thread::scope(|scope| {
        let served = scope.spawn(move || session(&agent, "reverse 1.0", &args(), connect, load));
        script(&mut host);
        drop(host);
        served.join().unwrap()
    })
}

fn receive(host: &mut UnixStream) -> (Kind, Vec<u8>) {
    let mut payload = Vec::new();
    (read_frame(host, 1000, &mut payload).unwrap(), payload)
}

fn ask(host: &mut UnixStream, kind: Kind, payload: &[u8]) -> (Kind, Vec<u8>) {
    write_frame(host, kind, payload).unwrap();
    receive(host)
}

fn ready(host: &mut UnixStream) {
    assert_eq!(receive(host), (Kind::Up, vec![]));
    assert_eq!(receive(host), (Kind::Hello, b"\x02\x00reverse 1.0".to_vec()));
}

#[test]
fn a_session_from_up_to_stop() {
    let left = play(
        |_| Ok(Reverse(0)),
        |host| {
            ready(host);
            assert_eq!(ask(host, Kind::Call, b"abc"), (Kind::Answer, b"\0cba".to_vec()));
            assert_eq!(ask(host, Kind::Call, b"!"), (Kind::Fault, b"guest_throw: no".to_vec()));
            let wake = Wake { entropy: [1; 32], unix_ns: 7 }.encode();
            assert_eq!(ask(host, Kind::Wake, &wake).0, Kind::Hello);
            assert_eq!(ask(host, Kind::Call, b""), (Kind::Answer, b"\x07".to_vec()));
            let (kind, memory) = ask(host, Kind::Memory, b"");
            assert_eq!(kind, Kind::Memory);
            let memory = Memory::decode(&memory).expect("this machine has /proc/meminfo");
            assert!(0 < memory.available && memory.available <= memory.total);
            write_frame(host, Kind::Stop, &[]).unwrap();
        },
    );
    assert_eq!(left, Ok(()));
}

#[test]
fn a_host_that_leaves_ends_the_session() {
    assert_eq!(play(|_| Ok(Reverse(0)), ready), Ok(()));
}

#[test]
fn a_guest_that_can_not_be_loaded_is_a_fault_after_up() {
    let left = play(
        |_| Err(AgentFault::new(fault::INVALID_GUEST, "no export `handle`")),
        |host| {
            assert_eq!(receive(host).0, Kind::Up);
            assert_eq!(receive(host), (Kind::Fault, b"invalid_guest: no export `handle`".to_vec()));
        },
    );
    assert_eq!(left, Err("the guest can't be loaded: invalid_guest: no export `handle`".into()));
}

#[test]
fn requests_and_answers_over_the_limit_are_faults() {
    let left = play(
        |_| Ok(Reverse(0)),
        |host| {
            ready(host);
            assert_eq!(ask(host, Kind::Call, &[0; 99]).0, Kind::Answer);
            let (kind, line) = ask(host, Kind::Call, &[0; 100]);
            assert_eq!(
                (kind, &line[..]),
                (Kind::Fault, &b"frame_too_large: the answer has 101 bytes, the limit is 100"[..])
            );
            let (kind, line) = ask(host, Kind::Call, &[0; 101]);
            assert_eq!((kind, line.starts_with(b"frame_too_large: the request")), (Kind::Fault, true));
        },
    );
    assert_eq!(left, Err("a frame of 101 bytes is over the limit of 100 bytes".into()));
}

#[test]
fn nonsense_from_the_host_ends_the_session_with_a_reason() {
    let left = play(
        |_| Ok(Reverse(0)),
        |host| {
            ready(host);
            write_frame(host, Kind::Answer, b"").unwrap();
        },
    );
    assert_eq!(left, Err("the host sent Answer, which only an agent sends".into()));
    let left = play(
        |_| Ok(Reverse(0)),
        |host| {
            ready(host);
            write_frame(host, Kind::Wake, b"short").unwrap();
        },
    );
    assert_eq!(left, Err("the host sent a malformed wake".into()));
}

/// A machine that is restored, its connection gone as `lose` has it.
fn restored(lose: impl FnOnce(UnixStream)) {
    let pair = || UnixStream::pair().map(|(host, agent)| (host, File::from(OwnedFd::from(agent)))).unwrap();
    let ((mut host, agent), (mut next, redialled)) = (pair(), pair());
    next.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let served = thread::spawn(move || {
        let args = Args { connect: Connect::Vsock(52), ..args() };
        let redialled = std::cell::Cell::new(Some(redialled));
        let dial = |_: &Connect| redialled.take().ok_or_else(|| io::ErrorKind::ConnectionRefused.into());
        session(&agent, "reverse 1.0", &args, dial, |_| Ok(Reverse(0)))
    });
    ready(&mut host);
    lose(host);
    assert_eq!(receive(&mut next), (Kind::Up, vec![]));
    let wake = Wake { entropy: [1; 32], unix_ns: 7 }.encode();
    assert_eq!(ask(&mut next, Kind::Wake, &wake).0, Kind::Hello);
    assert_eq!(ask(&mut next, Kind::Call, b"ab"), (Kind::Answer, b"\x07ba".to_vec()));
    // Now nobody answers: the host has left.
    drop(next);
    assert_eq!(served.join().unwrap(), Ok(()));
}

#[test]
fn a_restored_machine_dials_again_and_answers_wake_with_hello() {
    restored(|mut host| {
        // A connection that is closed with bytes unread is reset. The agent waits then, or will read: both are to be
        // found.
        write_frame(&mut host, Kind::Call, b"nobody reads the answer").unwrap();
        let mut poll = libc::pollfd { fd: host.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd.
        assert_eq!(unsafe { libc::poll(&mut poll, 1, 20_000) }, 1);
    });
    // One that is closed with all read ends.
    restored(drop);
}

#[test]
fn a_machine_that_ends_waits_until_its_last_words_are_taken() {
    let (mut host, agent) = UnixStream::pair().unwrap();
    write_frame(&mut &agent, Kind::Fault, b"last words").unwrap();
    let waits = thread::spawn(move || vsock::linger(agent.as_raw_fd()));
    assert_eq!(receive(&mut host), (Kind::Fault, b"last words".to_vec()));
    let mut rest = Vec::new();
    assert!(matches!(read_frame(&mut host, 10, &mut rest), Err(FrameError::Closed)), "nothing comes after them");
    drop(host);
    waits.join().unwrap();
}
