//! The contract of other people's programs that hold JS guests: Node, Deno, workerd.

use crate::backend::Backend;
use crate::protocol::{BlockRequest, Visit};
use crate::stopwatch::{Deadline, Phases};
use crate::testing::{Outcome, TestBed, one_start, suite};
use isobench_core::{Experiment, FaultKind, Guest};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

/// A block with a guest that does what it is told, which is `what` and is answered `answer`.
pub fn telling(bed: &TestBed, variant: &str, what: &str, answer: &str) -> BlockRequest {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testing/js/misbehaving.js");
    let mut request = bed.request(variant, Guest::Js, &guest, what.as_bytes(), answer.as_bytes(), one_start());
    // What does not hang gets a deadline far off: the answer must not come from it.
    request.target.limits.call_deadline_ms = if what == "hang" { 500 } else { 60_000 };
    request
}

/// One start of a guest from its source, which gets `hello` and is to answer it, with 3 s to say hello.
pub fn of_text(bed: &TestBed, variant: &str, text: &str) -> Outcome {
    let guest = bed.write("guest.js", text);
    let mut request = bed.request(variant, Guest::Js, &guest, b"hello", b"hello", one_start());
    request.target.limits.start_deadline_ms = 3_000;
    bed.run(&request)
}

/// What a guest does wrong has a name and a reason; so has what is this runtime's `own`. What is `harmless` is none.
pub fn faults(bed: &TestBed, variant: &str, own: &[(&str, FaultKind, &str)], harmless: &[&str]) {
    let common = [
        ("throw", FaultKind::GuestThrow, ":12: Error: as told"),
        ("throw a trap", FaultKind::GuestThrow, "cannot be shown"),
        ("recurse", FaultKind::GuestThrow, "RangeError: Maximum call stack"),
        ("ask for too much", FaultKind::OutOfMemory, "Array buffer allocation failed"),
        ("answer text", FaultKind::BadAnswer, "no Uint8Array"),
        ("answer a promise", FaultKind::BadAnswer, "no Uint8Array"),
        ("answer wrongly", FaultKind::WrongAnswer, "it starts `no`"),
        ("answer much", FaultKind::FrameTooLarge, "16777217 bytes, the limit is 16777216"),
        ("hang", FaultKind::DeadlineExceeded, "nothing after 500 ms"),
    ];
    for (what, kind, reason) in common.iter().chain(own) {
        let outcome = bed.run(&telling(bed, variant, what, what));
        let message = &outcome.expect_fault(*kind).message;
        assert!(message.contains(reason), "{variant}, {what}: {message}");
    }
    for what in harmless {
        bed.run(&telling(bed, variant, what, what)).expect_ok();
    }
    suite::js_faults(bed, variant);
}

/// What is wrong with a guest itself has a name.
pub fn wrong_guests(bed: &TestBed, variant: &str) {
    let wrong = [
        ("export const answer = 42", FaultKind::InvalidGuest),
        ("export const handle = 42", FaultKind::InvalidGuest),
        ("export function handle( {", FaultKind::InvalidGuest),
        ("throw new Error('as told'); export function handle() {}", FaultKind::GuestThrow),
    ];
    for (text, kind) in wrong {
        of_text(bed, variant, text).expect_fault(kind);
    }
    let mute = of_text(bed, variant, "for (;;); export function handle() {}");
    // Where it is loaded ahead there is no hello to be waited for.
    let kind = mute.fault().expect("a fault").kind;
    assert!(matches!(kind, FaultKind::NoHello | FaultKind::DeadlineExceeded), "{variant}: {kind}");
}

/// Answers of every size arrive whole: none, those around what is written at once, the largest.
pub fn every_size(bed: &TestBed, variant: &str, guest: Guest) {
    let echo = bed.artifact("workloads/echo", guest);
    for size in [0, 1, 4_091, 4_092, 65_536, 16 << 20] {
        let bytes: Vec<u8> = (0..size).map(|n: usize| (n % 251) as u8).collect();
        let mut request = bed.request(variant, guest, &echo, &bytes, &bytes, one_start());
        request.target.limits.call_deadline_ms = 60_000;
        bed.run(&request).expect_ok();
    }
}

/// A canary in one instance is not found in the `others` after it.
pub fn a_canary(bed: &TestBed, variant: &str, others: u32) {
    let mut request = telling(bed, variant, "plant a canary", "plant a canary");
    request.visit = Visit::ColdStart { starts: (1 + others).into(), warm: None };
    let outcome = bed.run(&request).expect_ok();
    assert_eq!(outcome.values(Experiment::ColdStart, "total").len(), 1 + others as usize);
}

/// A guest that fetches a URL reaches nobody.
pub fn no_network(backend: &dyn Backend, request: &BlockRequest) {
    let soon = || Deadline::after(Duration::from_secs(30));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket that does not wait");
    let url = format!("http://{}/", listener.local_addr().expect("its address"));
    std::fs::create_dir_all(&request.ctx.state).expect("a state folder");
    let prepared = backend.open(&request.ctx, &request.prepared).expect("open");
    let deployment = prepared.deploy(&request.ctx, &request.target).expect("deploy");
    let mut instance = deployment.start(&mut Phases::new(), soon()).expect("start");
    instance.call(url.as_bytes(), soon()).expect("an answer");
    // A connection would have been tried before the next answer.
    instance.call(b"", soon()).expect("an answer");
    assert_eq!(listener.accept().expect_err("nobody").kind(), ErrorKind::WouldBlock, "{}", request.target.variant);
    instance.stop(soon()).expect("stop");
}
