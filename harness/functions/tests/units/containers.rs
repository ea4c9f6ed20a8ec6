//! HTTP: Cloud Run and whatever runs a container, Azure's custom handlers.

use crate::bed::{Unit, calling, connect, has_agent, post, sleeps, wait_for};
use crate::{MISBEHAVING, WORKLOADS};
use hyper::Method;
use isobench_core::Guest;
use isobench_runner::Deadline;

#[test]
fn every_guest_answers_at_the_port_that_the_platform_names() {
    for (platform, variable, path) in
        [("cloud-run", "PORT", "/"), ("azure", "FUNCTIONS_CUSTOMHANDLER_PORT", "/the-functions-name")]
    {
        for guest in Guest::ALL.into_iter().filter(|&guest| has_agent(guest)) {
            for workload in WORKLOADS {
                let unit = Unit::of(platform, workload, guest);
                let (running, port) = unit.listen(variable);
                unit.verify(calling(port, path));
                drop(running);
                unit.assert_nothing_left();
            }
        }
    }
}

#[test]
fn it_listens_for_everybody_and_connections_stand_beside_each_other() {
    let unit = Unit::of("cloud-run", "workloads/echo", Guest::Native);
    let (_running, port) = unit.listen("PORT");
    let listening = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's list");
    assert!(listening.contains(&format!(" 00000000:{port:04X} ")), "0.0.0.0:{port}");
    let (mut one, mut other) = (connect(port), connect(port));
    for _ in 0..3 {
        assert_eq!(&post(&mut one, "/", b"one").body[..], b"one");
        assert_eq!(&post(&mut other, "/", b"other").body[..], b"other");
    }
    let soon = || Deadline::after(crate::bed::SOON);
    let ready = one.ask(Method::GET, "/health", b"", soon()).expect("an answer");
    assert_eq!((ready.status.as_u16(), &ready.body[..]), (200, &b"ready"[..]));
    assert_eq!(one.ask(Method::PUT, "/", b"", soon()).expect("an answer").status, 405);
    let longest = vec![7; 16 << 20];
    assert!(post(&mut one, "/", &longest).body == longest);
    let long = post(&mut one, "/", &vec![0; (16 << 20) + 1]);
    assert_eq!(long.status, 500);
    assert!(long.body.starts_with(b"frame_too_large: "), "{long:?}");
    assert_eq!(&post(&mut other, "/", b"other").body[..], b"other");
}

/// The line that a unit answers whose guest fails.
fn faults(unit: &Unit, request: &[u8]) -> String {
    let (_running, port) = unit.listen("PORT");
    let answer = post(&mut connect(port), "/", request);
    assert_eq!(answer.status, 500, "{answer:?}");
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[test]
fn what_a_native_guest_does_wrong_is_told_and_the_adapter_ends_as_it_did() {
    for (told, line, reason, code) in [
        ("abort", "guest_trap: ", "SIGABRT", 134),
        ("segv", "guest_trap: ", "SIGSEGV", 139),
        ("exit", "channel_closed: ", "exit status: 3", 3),
        ("hang", "deadline_exceeded: ", "nothing after", 137),
        ("eat", "out_of_memory: ", "limit", 1),
        ("announce 1 GiB", "frame_too_large: ", "1073741824 bytes", 137),
        ("no frame", "bad_frame: ", "unknown kind", 137),
        ("close the channel", "channel_closed: ", "closed the channel", 137),
    ] {
        let unit = Unit::with("cloud-run", MISBEHAVING, Guest::Native, |limits| limits.call_deadline_ms = 500);
        let (mut running, port) = unit.listen("PORT");
        let answer = post(&mut connect(port), "/", told.as_bytes());
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 500, "{told}: {text}");
        assert!(text.starts_with(line) && text.contains(reason), "{told}: {text}");
        assert_eq!(running.ends().code(), Some(code), "{told}: {text}");
        assert!(running.said().contains(text.lines().next().expect("a line")), "{told}: {}", running.said());
        unit.assert_nothing_left();
    }
}

#[test]
fn what_a_guest_does_wrong_is_told_and_it_lives_on_where_it_can() {
    let unit = Unit::of("cloud-run", MISBEHAVING, Guest::Native);
    let (running, port) = unit.listen("PORT");
    for _ in 0..2 {
        let panicked = post(&mut connect(port), "/", b"panic");
        let text = String::from_utf8_lossy(&panicked.body);
        assert!(panicked.status == 500 && text.starts_with("guest_trap: ") && text.contains("as told"), "{text}");
        assert_eq!(&post(&mut connect(port), "/", b"hello").body[..], b"hello");
    }
    // Much more than a pipe holds.
    assert_eq!(&post(&mut connect(port), "/", b"chatter").body[..], b"chatter");
    drop(running);
    unit.assert_nothing_left();
    if !has_agent(Guest::Js) || !has_agent(Guest::Wasm) {
        return;
    }
    let js = "export const handle = (r) => { if (r.length) throw new TypeError('as told'); return r; }";
    let unit = Unit::bad("cloud-run", Guest::Js, js.as_bytes(), |_| {});
    let (running, port) = unit.listen("PORT");
    let mut http = connect(port);
    for _ in 0..2 {
        let thrown = post(&mut http, "/", b"throw");
        let text = String::from_utf8_lossy(&thrown.body);
        assert!(thrown.status == 500 && text.starts_with("guest_throw: ") && text.contains("as told"), "{text}");
        assert_eq!(post(&mut http, "/", b"").status, 200);
    }
    drop(running);
    unit.assert_nothing_left();

    let greedy = "export function handle() { const all = []; for (;;) all.push(new Array(1e5).fill(1.5)) }";
    let unit = Unit::bad("cloud-run", Guest::Js, greedy.as_bytes(), |limits| limits.call_deadline_ms = 60_000);
    assert!(faults(&unit, b"").starts_with("out_of_memory: "));
    let wat = |handle: &str| {
        let text = format!(
            r#"(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) i32.const 64)
               (func (export "handle") (param i32 i32) (result i64) {handle}))"#
        );
        Unit::bad("cloud-run", Guest::Wasm, &wat::parse_str(text).expect("it assembles"), |limits| {
            limits.call_deadline_ms = 500
        })
    };
    assert!(faults(&wat("unreachable"), b"").starts_with("guest_trap: "));
    assert!(faults(&wat("(loop br 0) i64.const 0"), b"").starts_with("deadline_exceeded: "));
    assert!(faults(&wat("i64.const 0x40000000"), b"").starts_with("frame_too_large: "));
}

#[test]
fn a_guest_that_cannot_be_loaded_ends_the_adapter_with_its_reason() {
    if !has_agent(Guest::Js) {
        return;
    }
    let unit = Unit::bad("cloud-run", Guest::Js, b"return (", |_| {});
    let mut running = unit.start("isobench-function", &[], &[("PORT", "1")]);
    assert_eq!(running.ends().code(), Some(1));
    assert!(running.said().contains("isobench-function: invalid_guest: "), "{}", running.said());
    unit.assert_nothing_left();
    std::fs::remove_file(unit.folder().join("agent")).expect("the agent");
    let mut running = unit.start("isobench-function", &[], &[("PORT", "1")]);
    assert_eq!(running.ends().code(), Some(1));
    assert!(running.said().contains("agent"), "{}", running.said());
    let unit = Unit::of("cloud-run", "workloads/echo", Guest::Native);
    let mut running = unit.start("isobench-function", &[], &[("PORT", "a port")]);
    assert_eq!(running.ends().code(), Some(1));
    assert!(running.said().contains("the port: "), "{}", running.said());
    unit.assert_nothing_left();
}

#[test]
fn whichever_is_killed_takes_the_other_along() {
    let unit = Unit::of("cloud-run", MISBEHAVING, Guest::Native);
    let (mut running, port) = unit.listen("PORT");
    assert_eq!(post(&mut connect(port), "/", b"hello").status, 200);
    let adapter = running.child.id();
    let agent = unit.processes().into_iter().find(|&pid| pid != adapter).expect("an agent");
    kill(agent, libc::SIGKILL);
    assert_eq!(running.ends().code(), Some(137));
    unit.assert_nothing_left();

    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGINT] {
        let (mut running, port) = unit.listen("PORT");
        // It will not see the end of its channel.
        let hanging = std::thread::spawn(move || {
            let _ = connect(port).ask(Method::POST, "/", b"hang", Deadline::after(crate::bed::SOON));
        });
        wait_for("a call", || unit.processes().iter().any(|&pid| pid != running.child.id() && sleeps(pid)));
        kill(running.child.id(), signal);
        running.ends();
        hanging.join().expect("the client");
        unit.assert_nothing_left();
    }
}

fn kill(pid: u32, signal: i32) {
    // SAFETY: a signal to a process that this test started.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}
