//! Which cells the options choose, and what is said of a pattern that matches none.

mod common;

use common::{Checkout, Ran};
use isobench_core::Experiment;

fn checkout() -> Checkout {
    let checkout = Checkout::new();
    for name in ["echo", "echo-two", "other"] {
        checkout.script(name, "");
    }
    checkout
}

fn run(checkout: &Checkout, more: &[&str]) -> Ran {
    checkout.run(&[&["run", "--quick", "--seed", "7", "--rounds", "1"], more].concat())
}

fn workloads(checkout: &Checkout) -> Vec<String> {
    let cells = checkout.read_run().0.cells;
    let mut names: Vec<String> = cells.into_iter().map(|c| c.cell.workload).collect();
    names.dedup();
    names
}

#[test]
fn whole_parts_match_and_conditions_combine_by_and() {
    let first = checkout();
    run(&first, &["--only", "null/*/js/echo/small"]).expect(0);
    assert_eq!(workloads(&first), ["echo"], "not echo-two");
    let second = checkout();
    run(&second, &["--only", "null/", "--workload", "o*", "--guest", "js", "--case", "small"]).expect(0);
    assert_eq!(workloads(&second), ["other"]);
    let third = checkout();
    run(&third, &["--backend", "null", "--skip", "/echo*/"]).expect(0);
    assert_eq!(workloads(&third), ["other"], "--backend names a hidden backend as --only does");
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error_and_the_nearest_name_is_suggested() {
    let checkout = checkout();
    let beside = ["--only", "null/"];
    let refused = |more: &[&str], says: &str| {
        run(&checkout, &[&beside, more].concat()).expect(2).says(says);
    };
    refused(&["--only", "nul"], "--only `nul` matches no cell: did you mean `null`?");
    refused(&["--only", "null/scriptd/js"], "did you mean `null/scripted/js`?");
    refused(&["--skip", "othr"], "--skip `othr` matches no cell: did you mean `other`?");
    refused(&["--workload", "ohter"], "--workload `ohter` matches no cell: did you mean `other`?");
    refused(&["--only", "null,v8"], "once for each name");
    refused(&["--only", "["], "`[`");
    refused(&["--backend", "null/scripted"], "`--only` takes several");
    refused(&["--workload", "other", "--skip", "null"], "combine by AND");
    checkout.run(&["check", "ohter"]).expect(2).says("no workload `ohter`: did you mean `other`?");
    checkout.run(&["export", "lambda", "ohter"]).expect(2).says("did you mean `other`?");
    assert!(!checkout.path("results").exists(), "nothing was measured");
}

#[test]
fn a_quick_run_measures_memory_and_throughput_of_the_workload_that_is_named() {
    for named in [["--only", "/other/"], ["--workload", "ot*"]] {
        let checkout = checkout();
        run(&checkout, &[&["--backend", "null"][..], &named].concat()).expect(0);
        let (run, _) = checkout.read_run();
        assert!(run.cells.iter().all(|c| c.cell.workload == "other" && c.experiments == Experiment::STANDARD));
    }
    // Where none is named, echo is the one.
    let checkout = checkout();
    run(&checkout, &["--only", "null/"]).expect(0);
    let (run, _) = checkout.read_run();
    let experiments = |name: &str| &run.cells.iter().find(|c| c.cell.workload == name).unwrap().experiments;
    assert_eq!(*experiments("echo"), Experiment::STANDARD);
    assert_eq!(*experiments("other"), [Experiment::ColdStart, Experiment::WarmCall]);
}
