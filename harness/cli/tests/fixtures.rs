//! Bad input: every broken fixture gets file, line, what is wrong and what would be right, and a non-zero exit.

mod common;

use common::Checkout;
use std::fs;

const GOOD: &str = "name = \"w\"\nsummary = \"s\"\n[[case]]\nname = \"small\"\ninput = \"in\"\nexpected = \"in\"\n";

/// Writes `workloads/w` with that workload.toml and checks it.
fn check(toml: &str) -> common::Ran {
    let checkout = Checkout::new();
    checkout.script("w", "");
    fs::write(checkout.path("workloads/w/workload.toml"), toml).unwrap();
    checkout.run(&["check", "w"])
}

#[test]
fn broken_fixtures_are_named_with_file_and_line() {
    let cases = [
        (GOOD.replace("summary", "sumary"), "workload.toml:2", "unknown field `sumary`"),
        (GOOD.replace("summary = \"s\"\n", ""), "workload.toml", "missing field `summary`"),
        (GOOD.replace("\"small\"", "7"), "workload.toml:4", "invalid type: integer"),
        (
            GOOD.replace("input = \"in\"", "input = \"../../etc/passwd\""),
            "workload.toml:5",
            "leads out of the workload's folder",
        ),
        (GOOD.replace("input = \"in\"", "input = \"absent\""), "workload.toml:5", "does not exist"),
        (GOOD.replace("name = \"w\"", "name = \"v\""), "workload.toml:1", "the folder is `w`"),
        (GOOD.replace("expected = \"in\"\n", ""), "workload.toml:4", "either expected (a file) or expected_sha256"),
        (
            GOOD.replace("expected = \"in\"", "expected_sha256 = \"ABC\""),
            "workload.toml:6",
            "64 lower-case hexadecimal",
        ),
        (format!("{GOOD}[limits]\nmemory_mib = 0\n"), "workload.toml:8", "a limit of 0"),
        (format!("{GOOD}[guests]\njs = \"none.js\"\n"), "workload.toml:8", "does not exist"),
        ("name = ".into(), "workload.toml:1", ""),
    ];
    for (toml, place, what) in cases {
        let ran = check(&toml);
        assert_ne!(ran.code, Some(0), "{toml}");
        ran.says(place).says(what);
    }
}

#[test]
fn a_link_out_of_the_folder_is_refused() {
    let checkout = Checkout::new();
    checkout.script("w", "");
    std::os::unix::fs::symlink("/etc/passwd", checkout.path("workloads/w/link")).unwrap();
    fs::write(checkout.path("workloads/w/workload.toml"), GOOD.replace("input = \"in\"", "input = \"link\"")).unwrap();
    checkout.run(&["check", "w"]).expect(3).says("leads out of the workload's folder");
}

#[test]
fn a_guest_by_its_usual_name_may_not_be_a_link_out_of_the_folder() {
    let checkout = Checkout::new();
    checkout.script("w", "");
    let guest = checkout.path("workloads/w/guest.js");
    fs::remove_file(&guest).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &guest).unwrap();
    let ran = checkout.run(&["check", "w"]);
    ran.expect(3).says("w/guest.js").says("leads out of the workload's folder");
    assert!(!ran.stdout.contains("root:") && !ran.stderr.contains("root:"), "{ran:?}");
}

#[test]
fn a_guest_that_is_a_pipe_or_a_folder_is_refused_by_name_and_not_waited_for() {
    let checkout = Checkout::new();
    checkout.script("w", "");
    let guest = checkout.path("workloads/w/guest.js");
    fs::remove_file(&guest).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&guest).status().unwrap().success());
    checkout.run(&["check", "w"]).expect(3).says("w/guest.js: is a named pipe: put a regular file here");
    fs::remove_file(&guest).unwrap();
    fs::create_dir(&guest).unwrap();
    checkout.run(&["check", "w"]).expect(3).says("w/guest.js: is a folder: put a regular file here");
}

#[test]
fn an_input_or_answer_that_is_a_folder_or_a_pipe_is_refused_with_its_line() {
    for (key, line) in [("input", 5), ("expected", 6)] {
        for what in ["folder", "pipe"] {
            let checkout = Checkout::new();
            checkout.script("w", "");
            fs::create_dir(checkout.path("workloads/w/folder")).unwrap();
            let made = std::process::Command::new("mkfifo").arg(checkout.path("workloads/w/pipe")).status().unwrap();
            assert!(made.success());
            let toml = GOOD.replace(&format!("{key} = \"in\""), &format!("{key} = \"{what}\""));
            fs::write(checkout.path("workloads/w/workload.toml"), toml).unwrap();
            let ran = checkout.run(&["check", "w"]);
            ran.expect(3).says(&format!("workload.toml:{line}")).says(&format!("`{what}` is")).says("name a file");
        }
    }
}

#[test]
fn a_broken_fixture_costs_its_own_cells_and_the_exit_code() {
    let checkout = Checkout::new();
    checkout.script("good", "");
    checkout.script("bad", "");
    fs::write(checkout.path("workloads/bad/workload.toml"), "nonsense").unwrap();
    checkout.run(&["run", "--quick", "--only", "null/", "--rounds", "1"]).expect(3).says("bad/workload.toml:1");
    let (run, records) = checkout.read_run();
    assert!(run.cells.iter().all(|c| c.cell.workload == "good"), "{:?}", run.cells);
    assert!(!records.is_empty());
    assert!(run.absent.iter().any(|a| a.what == "workload bad"));
}

#[test]
fn wrong_usage_ends_with_2_and_an_unknown_run_with_1() {
    let checkout = Checkout::new();
    checkout.script("w", "");
    checkout.run(&["run", "--nonsense"]).expect(2);
    checkout.run(&["run", "--budget", "soon"]).expect(2);
    checkout.run(&["run", "--only", "no-such-cell"]).expect(2).says("isobench list --cells");
    checkout.run(&["check", "nobody"]).expect(2).says("isobench list");
    checkout.run(&["report", "no-such-run"]).expect(1).says("no-such-run");
}
