//! Paths and arguments of any bytes: each works, or is refused in one line that says what to do. None is a panic.

mod common;

use common::{Checkout, Ran};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

const ECHO: &str = "call_us = 100";
const RUN: &[&str] = &["run", "--quick", "--only", "null/", "--rounds", "1"];

fn not_utf8() -> &'static OsStr {
    OsStr::from_bytes(b"caf\xe9")
}

#[test]
fn folders_with_characters_that_tools_give_a_meaning_work() {
    let checkout = Checkout::new();
    checkout.script("w", ECHO);
    for name in ["a b", "-a,b:c=d%e\\f'\"$#\u{e9}"] {
        let mut command = checkout.command(RUN);
        command.env("ISOBENCH_STATE", checkout.path(&format!("s{name}")));
        command.env("ISOBENCH_CACHE", checkout.path(&format!("c{name}"))).arg("--out").arg(checkout.path(name));
        Ran::new(command.output().unwrap()).expect(0);
        assert!(checkout.path(name).join("results").is_dir());
    }
}

#[test]
fn a_path_that_cannot_be_recorded_is_refused_in_one_line_and_nothing_is_made() {
    let checkout = Checkout::new();
    checkout.script("w", ECHO);
    for variable in ["ISOBENCH_STATE", "ISOBENCH_CACHE", "ISOBENCH_PROGRAMS"] {
        for (name, shown, character) in
            [(not_utf8(), r"caf\xE9", "the byte 0xe9 (not UTF-8)"), (OsStr::new("a\nb"), r"a\nb", r"'\n'")]
        {
            let folder = checkout.dir.path().join(name);
            let mut command = checkout.command(RUN);
            let ran = Ran::new(command.env(variable, &folder).output().unwrap());
            ran.expect(1).says(shown).says(character).says(&format!("set {variable} to "));
            assert_eq!(ran.stderr.trim().lines().count(), 1, "{}", ran.stderr);
            assert!(!folder.exists());
        }
    }
}

#[test]
fn no_argument_is_a_panic() {
    let checkout = Checkout::new();
    checkout.script("w", ECHO);
    let commands: &[&[&str]] = &[
        &["run", "--only"],
        &["run", "--budget"],
        &["run", "--target"],
        &["report"],
        &["compare", "latest"],
        &["check"],
        &["list", "--only"],
        &["export", "w"],
        &["schema"],
        &["doctor"],
        &[],
    ];
    for args in commands {
        let ran = Ran::new(checkout.command(args).arg(not_utf8()).output().unwrap());
        assert!(matches!(ran.code, Some(1 | 2)), "{args:?}: {ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{args:?}: {ran:?}");
    }
    let mut command = checkout.command(RUN);
    Ran::new(command.arg("--out").arg(checkout.dir.path().join(not_utf8())).output().unwrap()).expect(0);
}

#[test]
fn a_workload_whose_folder_is_not_utf8_costs_itself_only() {
    let checkout = Checkout::new();
    checkout.script("w", ECHO);
    let folder = checkout.path("workloads").join(not_utf8());
    fs::create_dir(&folder).unwrap();
    for file in ["workload.toml", "guest.js", "in"] {
        fs::copy(checkout.path("workloads/w").join(file), folder.join(file)).unwrap();
    }
    checkout.run(&["check"]).expect(3).says("the folder is `caf\u{fffd}`: make them equal");
    checkout.run(RUN).expect(3);
    let (run, _) = checkout.read_run();
    assert!(!run.cells.is_empty() && run.cells.iter().all(|c| c.cell.workload == "w"), "{:?}", run.cells);
}
