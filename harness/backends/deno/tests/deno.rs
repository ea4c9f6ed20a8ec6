//! The deno backend through the coordinator: every fault by its name, nothing left behind.

use isobench_core::{Availability, FaultKind, Guest};
use isobench_deno::{Deno, Variant, program};
use isobench_runner::RunContext;
use isobench_runner::place::Places;
use isobench_runner::protocol::BlockRequest;
use isobench_runner::testing::js::runtime::{self, telling};
use isobench_runner::testing::{TestBed, contract, skip, suite};

/// A bed with the Deno that is used outside tests. `None`, and loudly, where there is none.
fn bed() -> Option<TestBed> {
    let mut bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-deno"));
    match program(&Places::find().expect("a cache").cache) {
        Ok(program) => bed.runner.env.insert("ISOBENCH_DENO".into(), program.display().to_string()),
        Err(fault) => {
            skip(fault);
            return None;
        }
    };
    bed.available().then_some(bed)
}

fn of_each(test: impl Fn(&TestBed, &str)) {
    if let Some(bed) = bed() {
        Variant::ALL.iter().for_each(|variant| test(&bed, variant.name()));
    }
}

/// A block for a deployment in this process, which finds the program where the bed's runner would.
fn in_this_process(bed: &TestBed, variant: &str) -> BlockRequest {
    let mut request = telling(bed, variant, "", "");
    request.ctx.cache = Places::find().expect("a cache").cache;
    request
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
        ("eat the heap", FaultKind::OutOfMemory, "JavaScript out of memory"),
        ("exit", FaultKind::ChannelClosed, "exit status: 3"),
        ("abort", FaultKind::GuestTrap, "SIGABRT"),
        ("kill", FaultKind::ChannelClosed, "SIGKILL"),
        // What Node allows.
        ("leave a child", FaultKind::GuestThrow, "NotCapable"),
        ("show the environment", FaultKind::GuestThrow, "NotCapable: Requires env access"),
    ];
    of_each(|bed, variant| runtime::faults(bed, variant, &own, &["chatter"]));
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
        runtime::damaged_homes(&bed, "code-cache", &["cache", "guest.mjs"]);
    }
}

#[test]
fn a_code_cache_that_deno_rejects_is_no_row() {
    if let Some(mut bed) = bed() {
        let deno = bed.runner.env["ISOBENCH_DENO"].clone();
        let script = format!("DENO_DIR=/proc/none exec '{deno}' \"$@\"");
        runtime::a_rejected_code_cache(&mut bed, "code-cache", "ISOBENCH_DENO", &script);
    }
}

#[test]
fn frames_in_pieces_and_large_ones_arrive_whole() {
    of_each(|bed, variant| runtime::every_size(bed, variant, Guest::Js));
}

#[test]
fn a_canary_in_one_instance_is_not_found_in_the_next_fifty() {
    of_each(|bed, variant| {
        runtime::a_canary(bed, variant, 50);
        suite::a_seed_of_its_own(&Deno, &in_this_process(bed, variant));
    });
}

#[test]
fn no_guest_reaches_a_network() {
    of_each(|bed, variant| {
        runtime::no_network(&Deno, &in_this_process(bed, variant));
    });
}

#[test]
fn whatever_ends_an_instance_or_its_runner_leaves_nothing() {
    of_each(|bed, variant| {
        let request = in_this_process(bed, variant);
        suite::stop_drop_and_death_of(&Deno, &request, b"");
        suite::a_runner_killed_during(bed, telling(bed, variant, "hang", ""), 2);
    });
}

/// Why Deno cannot run in a context, and what to do.
fn why_absent(bed: &TestBed, ctx: &RunContext) -> String {
    match bed.runner.probe(ctx) {
        Availability::Unavailable { reason, remedy } => format!("{reason}; {remedy}"),
        available => panic!("{available:?}"),
    }
}

#[test]
fn a_folder_that_deno_would_split_is_refused_with_the_remedy() {
    let bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-deno"));
    let (mut state, mut cache) = (bed.context(), bed.context());
    state.state = "/tmp/a,b".into();
    cache.cache = "/tmp/c,d".into();
    for (ctx, told) in [
        (state, "the comma of /tmp/a,b; set ISOBENCH_STATE to a folder without a comma"),
        (cache, "the comma of /tmp/c,d; set ISOBENCH_CACHE to a folder without a comma"),
    ] {
        let why = why_absent(&bed, &ctx);
        assert!(why.contains(told), "{why}");
    }
}

#[test]
fn a_machine_without_deno_says_what_to_do() {
    let mut bed = TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-deno"));
    let reason = |bed: &TestBed| why_absent(bed, &bed.context());
    bed.runner.env.insert("ISOBENCH_DENO".into(), "/nowhere/deno".into());
    assert!(reason(&bed).contains("/nowhere/deno\" \"--version\": No such file"), "{}", reason(&bed));
    bed.runner.env.insert("ISOBENCH_DENO".into(), "/bin/true".into());
    assert!(reason(&bed).contains("/bin/true is no Deno"), "{}", reason(&bed));
    assert!(reason(&bed).contains("scripts/deno.sh"), "{}", reason(&bed));
}
