//! Isolates in one process: in any order on one thread, and on several threads at once. One test, because V8 wants to be
//! initialised on a thread that all others descend from, and every test has a thread of its own.

use isobench_core::{FaultKind, Guest, Limits};
use isobench_runner::stopwatch::Deadline;
use isobench_v8::engine::{self, Compilers};
use isobench_v8::{Boundary, Code};
use std::time::Duration;

/// Answers how often it was called; a request of one byte makes it hang.
const COUNTER: &str = "let n = 0;
export function handle(request) {
  while (request.length === 1);
  return Uint8Array.of(++n);
}";

fn within(ms: u64) -> Deadline {
    Deadline::after(Duration::from_millis(ms))
}

fn start(code: &Code) -> Boundary {
    let mut boundary = Boundary::create(&Limits::default());
    boundary.load(code, Some(within(10_000))).expect("the guest loads");
    boundary
}

fn count(boundary: &mut Boundary) -> u8 {
    boundary.call(b"", within(10_000)).expect("an answer")[0]
}

#[test]
fn isolates_come_and_go_in_any_order_and_on_any_thread() {
    engine::initialise(Limits::default().memory_bytes, Compilers::All, engine::abort_out_of_memory).expect("V8");
    engine::initialise(Limits::default().memory_bytes, Compilers::All, engine::abort_out_of_memory)
        .expect("again is free");
    let other = engine::initialise(1 << 20, Compilers::All, engine::abort_out_of_memory).expect_err("another limit");
    assert_eq!(other.kind, FaultKind::BackendFailed);

    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("counter.js");
    std::fs::write(&path, COUNTER).expect("the guest");
    let code = Code::read(Guest::Js, &path).expect("the guest");

    let (mut first, mut second, mut third) = (start(&code), start(&code), start(&code));
    assert_eq!([count(&mut first), count(&mut third), count(&mut third), count(&mut second)], [1, 1, 2, 1]);
    drop(second);
    assert_eq!([count(&mut third), count(&mut first)], [3, 2]);
    drop(first);
    let mut fourth = start(&code);
    drop(third);
    assert_eq!([count(&mut fourth), count(&mut fourth)], [1, 2]);

    // A deadline stops the call it belongs to and no other, and what comes after is whole again.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut hangs = start(&code);
                for n in 1..=5 {
                    let fault = hangs.call(b"!", within(20)).expect_err("it hangs");
                    assert_eq!(fault.kind, FaultKind::DeadlineExceeded, "{fault}");
                    assert_eq!(count(&mut hangs), n);
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..50 {
                let mut lives = start(&code);
                for n in 1..=100 {
                    assert_eq!(count(&mut lives), n);
                }
            }
        });
    });
}
