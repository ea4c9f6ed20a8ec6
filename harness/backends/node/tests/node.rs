//! The node backend through the coordinator: every fault by its name, nothing left behind.

use isobench_core::{FaultKind, Guest};
use isobench_node::program::Program;
use isobench_node::{Node, Variant};
use isobench_runner::place::Places;
use isobench_runner::protocol::BlockRequest;
use isobench_runner::testing::js::runtime::{self, of_text, telling};
use isobench_runner::testing::{TestBed, contract, skip, suite};
use std::collections::BTreeSet;

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

/// A block for a deployment in this process, which finds the program where the bed's runner would.
fn in_this_process(bed: &TestBed, variant: &str) -> BlockRequest {
    let mut request = telling(bed, variant, "", "");
    request.ctx.cache = Places::find().expect("a cache").cache;
    request
}

fn of_each(test: impl Fn(&TestBed, &str)) {
    if let Some(bed) = bed() {
        Variant::ALL.iter().for_each(|variant| test(&bed, variant.name()));
    }
}

#[test]
fn folders_with_odd_characters_work() {
    of_each(|bed, variant| suite::odd_folders_without(bed, variant, Guest::Js, "\\"));
}

#[test]
fn a_guest_goes_through_every_experiment() {
    of_each(|bed, variant| {
        assert!(suite::every_experiment(bed, variant, Guest::Js).is_none_or(|before| before == 0));
    });
}

#[test]
fn what_a_guest_does_wrong_has_a_name_and_a_reason() {
    let own = [
        ("eat the heap", FaultKind::OutOfMemory, "heap out of memory"),
        ("exit", FaultKind::ChannelClosed, "exit status: 3"),
        ("abort", FaultKind::GuestTrap, "SIGABRT"),
        ("kill", FaultKind::ChannelClosed, "SIGKILL"),
    ];
    of_each(|bed, variant| runtime::faults(bed, variant, &own, &["chatter", "leave a child"]));
}

#[test]
fn it_keeps_the_contract_of_every_engine() {
    of_each(contract::js);
}

#[test]
fn what_is_wrong_with_a_guest_itself_has_a_name() {
    of_each(runtime::wrong_guests);
}

#[test]
fn what_is_made_ahead_is_made_again_where_it_is_damaged_or_was_moved() {
    if let Some(bed) = bed() {
        runtime::damaged_homes(&bed, "fresh", &["guest.mjs", "agent.cjs"]);
        runtime::damaged_homes(&bed, "compile-cache", &["code", "guest.mjs"]);
        runtime::damaged_homes(&bed, "snapshot", &["guest.blob", "guest.mjs"]);
    }
}

#[test]
fn a_compile_cache_that_node_rejects_is_no_row() {
    if let Some(mut bed) = bed() {
        let node = bed.runner.env["ISOBENCH_NODE"].clone();
        let script = format!("unset NODE_COMPILE_CACHE; exec '{node}' \"$@\"");
        runtime::a_rejected_code_cache(&mut bed, "compile-cache", "ISOBENCH_NODE", &script);
    }
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
    of_each(|bed, variant| runtime::every_size(bed, variant, Guest::Js));
}

#[test]
fn a_canary_in_one_instance_is_not_found_in_the_next_fifty() {
    of_each(|bed, variant| {
        runtime::a_canary(bed, variant, 50);
        suite::a_seed_of_its_own(&Node, &in_this_process(bed, variant));
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
        suite::stop_drop_and_death_of(&Node, &in_this_process(bed, variant), b"leave a child");
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
