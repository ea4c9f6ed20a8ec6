//! The contract of other people's programs that hold JS guests: Node, Deno, workerd.

use crate::backend::Backend;
use crate::protocol::{BlockRequest, Visit};
use crate::stopwatch::{Deadline, Phases};
use crate::testing::{Outcome, TestBed, one_start, suite};
use isobench_core::{Experiment, FaultKind, Guest};
use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
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

/// Whatever of a guest's home (`kept`, a file or a folder in it) is gone or damaged is made again before a start is timed,
/// and in a cache that was moved it is made for the new place.
pub fn damaged_homes(bed: &TestBed, variant: &str, kept: &[&str]) {
    let backend = &bed.runner.description.backend;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let run = |cache: &str| {
        let mut request = telling(bed, variant, "", "");
        request.ctx.cache = dir.path().join(cache);
        bed.run(&request).expect_ok();
        let homes = fs::read_dir(request.ctx.cache.join(backend).join("guests")).expect("the homes");
        homes.map(|home| home.expect("a home").path()).collect::<Vec<_>>()
    };
    let homes = run("cache");
    let [home] = homes.as_slice() else { panic!("one home: {homes:?}") };
    for name in kept {
        let entry = home.join(name);
        let whole = bytes_below(&entry);
        assert!(whole > 0, "{} is empty", entry.display());
        for damage in [remove, empty, garble] {
            damage(&entry);
            run("cache");
            // No two snapshots of Node have quite the same size, and Deno's database may be less than its log was.
            let made_again = bytes_below(&entry) > whole / 10 && !files_below(&entry).iter().any(is_garbled);
            assert!(made_again, "{} of {variant} was not made again", entry.display());
        }
    }
    fs::rename(dir.path().join("cache"), dir.path().join("moved")).expect("moving the cache");
    assert_eq!(run("moved").len(), 2, "{variant}: the home of another path was taken");
}

/// A runtime whose code cache is never taken is a fault, not a row. `script` starts the runtime so.
pub fn a_rejected_code_cache(bed: &mut TestBed, variant: &str, variable: &str, script: &str) {
    let program = bed.write("rejecting", format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("an executable file");
    bed.runner.env.insert(variable.into(), program.display().to_string());
    let outcome = bed.run(&telling(bed, variant, "", ""));
    let message = &outcome.expect_fault(FaultKind::BackendFailed).message;
    assert!(message.contains("the runtime rejects the code that it has just compiled of "), "{message}");
}

fn remove(entry: &Path) {
    let removed = if entry.is_dir() { fs::remove_dir_all(entry) } else { fs::remove_file(entry) };
    removed.expect("removing an entry");
}

fn empty(entry: &Path) {
    files_below(entry).iter().for_each(|file| fs::write(file, "").expect("emptying a file"));
}

fn garble(entry: &Path) {
    for file in files_below(entry) {
        let bytes = fs::read(&file).expect("a file");
        fs::write(file, vec![b'x'; bytes.len()]).expect("garbling a file");
    }
}

fn is_garbled(file: &PathBuf) -> bool {
    let bytes = fs::read(file).expect("a file");
    !bytes.is_empty() && bytes.iter().all(|&byte| byte == b'x')
}

fn bytes_below(entry: &Path) -> u64 {
    files_below(entry).iter().map(|file| fs::metadata(file).expect("a file").len()).sum()
}

/// The regular files at or below `entry`. Links are not followed: a runtime may have one to its own program there.
fn files_below(entry: &Path) -> Vec<PathBuf> {
    let kind = fs::symlink_metadata(entry).expect("an entry").file_type();
    if kind.is_dir() {
        let entries = fs::read_dir(entry).expect("a folder");
        return entries.flat_map(|inner| files_below(&inner.expect("an entry").path())).collect();
    }
    if kind.is_file() { vec![entry.into()] } else { Vec::new() }
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
