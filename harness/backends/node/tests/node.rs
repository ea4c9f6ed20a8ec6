//! The node backend through the coordinator: every fault by its name, nothing left behind.

use isobench_core::{Experiment, FaultKind, Guest};
use isobench_node::program::Program;
use isobench_node::{Node, Variant};
use isobench_runner::place::Places;
use isobench_runner::protocol::{BlockRequest, Visit};
use isobench_runner::testing::{Outcome, TestBed, one_start, skip, suite};
use std::collections::BTreeSet;
use std::path::Path;

/// A bed in which every variant can run, with the Node that is used outside tests. `None`, and loudly, where there is
/// none or an old one.
fn bed() -> Option<TestBed> {
    let mut bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-node"));
    match Program::find(&Places::find().expect("a cache").cache) {
        Ok(program) => bed.runner.env.insert("ISOBENCH_NODE".into(), program.path.display().to_string()),
        Err(fault) => {
            skip(fault);
            return None;
        }
    };
    let all: BTreeSet<String> = Variant::ALL.map(|variant| variant.name().into()).into();
    if bed.available() && all != bed.variants().into_iter().collect() {
        skip("this Node cannot run every variant");
        return None;
    }
    Some(bed)
}

fn of_each(test: impl Fn(&TestBed, &str)) {
    if let Some(bed) = bed() {
        Variant::ALL.iter().for_each(|variant| test(&bed, variant.name()));
    }
}

/// A block with the guest that does what it is told, which is `what` and is answered `answer`.
fn telling(bed: &TestBed, variant: &str, what: &str, answer: &str) -> BlockRequest {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/misbehaving.js");
    let mut request = bed.request(variant, Guest::Js, &guest, what.as_bytes(), answer.as_bytes(), one_start());
    // What does not hang gets a deadline far off: the answer must not come from it.
    request.target.limits.call_deadline_ms = if what == "hang" { 500 } else { 60_000 };
    request
}

fn of_text(bed: &TestBed, variant: &str, text: &str) -> Outcome {
    let guest = bed.write("guest.js", text);
    let mut request = bed.request(variant, Guest::Js, &guest, b"hello", b"hello", one_start());
    request.target.limits.start_deadline_ms = 3_000;
    bed.run(&request)
}

#[test]
fn a_guest_goes_through_every_experiment() {
    of_each(|bed, variant| {
        assert!(suite::every_experiment(bed, variant, Guest::Js).is_none_or(|before| before == 0));
    });
}

#[test]
fn what_a_guest_does_wrong_has_a_name_and_a_reason() {
    let faults = [
        ("throw", FaultKind::GuestThrow, ":12: Error: as told"),
        ("throw a trap", FaultKind::GuestThrow, "cannot be shown"),
        ("recurse", FaultKind::GuestThrow, "RangeError: Maximum call stack"),
        ("eat the heap", FaultKind::OutOfMemory, "heap out of memory"),
        ("ask for too much", FaultKind::OutOfMemory, "Array buffer allocation failed"),
        ("answer text", FaultKind::BadAnswer, "no Uint8Array"),
        ("answer a promise", FaultKind::BadAnswer, "no Uint8Array"),
        ("answer wrongly", FaultKind::WrongAnswer, "it starts `no`"),
        ("answer much", FaultKind::FrameTooLarge, "16777217 bytes, the limit is 16777216"),
        ("hang", FaultKind::DeadlineExceeded, "nothing after 500 ms"),
        ("exit", FaultKind::ChannelClosed, "exit status: 3"),
        ("abort", FaultKind::GuestTrap, "SIGABRT"),
        ("kill", FaultKind::ChannelClosed, "SIGKILL"),
    ];
    of_each(|bed, variant| {
        for (what, kind, reason) in faults {
            let outcome = bed.run(&telling(bed, variant, what, what));
            let message = &outcome.expect_fault(kind).message;
            assert!(message.contains(reason), "{variant}, {what}: {message}");
        }
        for harmless in ["chatter", "leave a child"] {
            bed.run(&telling(bed, variant, harmless, harmless)).expect_ok();
        }
        suite::js_faults(bed, variant);
    });
}

#[test]
fn what_is_wrong_with_a_guest_itself_has_a_name() {
    of_each(|bed, variant| {
        let wrong = [
            ("export const answer = 42", FaultKind::InvalidGuest),
            ("export function handle( {", FaultKind::InvalidGuest),
            ("throw new Error('as told'); export function handle() {}", FaultKind::GuestThrow),
        ];
        for (text, kind) in wrong {
            of_text(bed, variant, text).expect_fault(kind);
        }
        let mute = of_text(bed, variant, "for (;;); export function handle() {}");
        let kind = mute.fault().expect("a fault").kind;
        assert!(matches!(kind, FaultKind::NoHello | FaultKind::DeadlineExceeded), "{variant}: {kind}");
    });
}

#[test]
fn every_way_to_export_is_understood() {
    let ways = [
        "export const handle = (request) => request;",
        "export let other = 1, handle = function (request) { return request };",
        "const answer = (request) => request; export { answer as handle, answer as 'a name' };",
        "// export function handle() {}\nconst text = `\nexport function handle() {}`;\nexport const handle = (r) => r",
        "export class Other {}\nlet handle; export { handle }; handle = (request) => request;",
        "if (this !== undefined) throw 1; export function handle(request) { return request }",
    ];
    of_each(|bed, variant| {
        for text in ways {
            of_text(bed, variant, text).expect_ok();
        }
    });
}

#[test]
fn frames_in_pieces_and_large_ones_arrive_whole() {
    of_each(|bed, variant| {
        let echo = bed.artifact("workloads/echo", Guest::Js);
        for size in [0, 1, 4_091, 4_092, 65_536, 16 << 20] {
            let bytes: Vec<u8> = (0..size).map(|n: usize| (n % 251) as u8).collect();
            let mut request = bed.request(variant, Guest::Js, &echo, &bytes, &bytes, one_start());
            request.target.limits.call_deadline_ms = 60_000;
            bed.run(&request).expect_ok();
        }
    });
}

#[test]
fn a_canary_in_one_instance_is_not_found_in_the_next_fifty() {
    of_each(|bed, variant| {
        let mut request = telling(bed, variant, "plant a canary", "plant a canary");
        request.visit = Visit::ColdStart { starts: 51, warm: None };
        let outcome = bed.run(&request).expect_ok();
        assert_eq!(outcome.values(Experiment::ColdStart, "total").len(), 51);
        suite::a_seed_of_its_own(&Node, &telling(bed, variant, "", ""));
    });
}

#[test]
fn a_guest_sees_nothing_of_the_environment_but_the_cookie() {
    of_each(|bed, variant| {
        let seen = if variant == "compile-cache" { "ISOBENCH_COOKIE NODE_COMPILE_CACHE" } else { "ISOBENCH_COOKIE" };
        bed.run(&telling(bed, variant, "show the environment", seen)).expect_ok();
    });
}

#[test]
fn whatever_ends_an_instance_or_its_runner_leaves_nothing() {
    of_each(|bed, variant| {
        suite::stop_drop_and_death_of(&Node, &telling(bed, variant, "", ""));
        suite::a_runner_killed_during(bed, telling(bed, variant, "hang", ""), 2);
    });
}

#[test]
fn a_machine_without_node_says_what_to_do() {
    let mut bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-node"));
    let reason = |bed: &TestBed| match bed.runner.probe(&bed.context()) {
        isobench_core::Availability::Unavailable { reason, remedy } => format!("{reason}; {remedy}"),
        available => panic!("{available:?}"),
    };
    bed.runner.env.insert("ISOBENCH_NODE".into(), "/nowhere/node".into());
    assert!(reason(&bed).contains("/nowhere/node: No such file"), "{}", reason(&bed));
    bed.runner.env.insert("ISOBENCH_NODE".into(), "/bin/true".into());
    assert!(reason(&bed).contains("/bin/true is no Node"), "{}", reason(&bed));
    assert!(reason(&bed).contains("scripts/node.sh"), "{}", reason(&bed));
}
