//! `scripts/recompute.py`, which follows the documents and not the code, on the run that the repository holds.

mod common;

use common::{Checkout, repository};
use std::path::Path;
use std::process::{Command, Output};

/// The reference run's CSV, with an edit.
fn csv(edit: impl FnOnce(String) -> String) -> tempfile::NamedTempFile {
    let mut isobench = Command::new(env!("CARGO_BIN_EXE_isobench"));
    let output = isobench.args(["report", "reference", "--format", "csv"]).current_dir(repository()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), edit(String::from_utf8(output.stdout).unwrap())).unwrap();
    file
}

fn recompute(csv: &Path) -> Output {
    recompute_run(Path::new("results/reference"), csv)
}

fn recompute_run(run: &Path, csv: &Path) -> Output {
    let mut python = Command::new("python3");
    python.arg("scripts/recompute.py").arg(run).arg(csv).current_dir(repository());
    python.output().expect("this test needs python3")
}

#[test]
fn every_number_of_the_reference_run_follows_from_its_samples() {
    let output = recompute(csv(|text| text).path());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.ends_with(" numbers agree, 0 do not\n"), "{said}");
}

#[test]
fn so_does_every_number_of_a_new_run_with_probes() {
    let checkout = Checkout::new();
    checkout.script("work", "spin = true\nstart_us = 300\ncall_us = 300");
    checkout.run(&["run", "--quick", "--only", "null/", "--seed", "7", "--budget", "15s"]).expect(0);
    let csv = checkout.run(&["report", "latest", "--format", "csv"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &csv.expect(0).stdout).unwrap();
    let results = std::fs::read_dir(checkout.path("results")).unwrap();
    let run = results.map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    let output = recompute_run(&run, file.path());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(csv.stdout.contains(",p50_all,") && csv.stdout.contains(",starts_2_to_10,"), "{}", csv.stdout);
}

#[test]
fn a_changed_and_a_missing_number_are_named() {
    let cell = "docker,runc,native,,blur,small,,container,cold_start,total,,,,ns";
    let (changed, missing) = (format!("{cell},p50,"), format!("{cell},min,"));
    let edit = |text: String| {
        let kept = text.lines().filter(|line| !line.contains(&missing));
        kept.map(|line| line.replace(&changed, &format!("{changed}1")) + "\n").collect()
    };
    let output = recompute(csv(edit).path());
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("docker/runc/native/blur/small cold_start total p50: value is 1"), "{said}");
    assert!(said.contains("docker/runc/native/blur/small cold_start total min: not in the CSV"), "{said}");
    assert!(said.ends_with(" numbers agree, 2 do not\n"), "{said}");
}
