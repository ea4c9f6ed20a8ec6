//! `isobench report` in the formats of other tools and `isobench schema`, on the run that the repository holds.

mod common;

use common::repository;
use std::process::{Command, Output};

fn any(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_isobench")).args(args).current_dir(repository()).output().unwrap()
}

fn isobench(args: &[&str]) -> Output {
    let output = any(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn text_goes_to_standard_output_or_to_a_file() {
    let csv = isobench(&["report", "reference", "--format", "csv"]);
    assert!(text(&csv.stdout).starts_with("run,backend,variant,") && csv.stderr.is_empty());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("new/summary.md");
    let silent = isobench(&["report", "results/reference", "--format", "github", "--out", file.to_str().unwrap()]);
    assert!(silent.stdout.is_empty());
    assert!(std::fs::read_to_string(file).unwrap().starts_with("## isobench"));
}

#[test]
fn a_file_is_replaced_and_the_summary_of_a_step_is_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    let report = |file: &std::path::Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isobench"));
        command.args(["report", "reference", "--format", "github", "--out"]).arg(file).current_dir(repository());
        let output = command.env("GITHUB_STEP_SUMMARY", dir.path().join("step")).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        std::fs::read_to_string(file).unwrap()
    };
    for (name, appended) in [("step", true), ("other", false)] {
        let file = dir.path().join(name);
        std::fs::write(&file, "of an earlier command\n").unwrap();
        let now = report(&file);
        assert_eq!(now.starts_with("of an earlier command\n## isobench"), appended, "{name}");
        assert!(now.contains("## isobench"), "{name}");
    }
    std::fs::remove_file(dir.path().join("step")).unwrap();
    assert!(report(&dir.path().join("step")).starts_with("## isobench"), "it need not exist yet");
}

#[test]
fn remarks_go_to_standard_error() {
    let bencher = isobench(&["report", "reference", "--format", "bencher"]);
    let value: serde_json::Value = serde_json::from_slice(&bencher.stdout).unwrap();
    let (_, first) = value.as_object().unwrap().iter().find(|(name, _)| name.starts_with("cold_start/")).unwrap();
    assert!(first["latency"]["value"].is_number());
    assert!(text(&bencher.stderr).contains("left out: qemu/boot/"), "the reference run is emulated");
}

#[test]
fn logs_go_to_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let said = isobench(&["report", "reference", "--format", "hdr", "--out", dir.path().to_str().unwrap()]);
    let logs = std::fs::read_dir(dir.path()).unwrap().count();
    assert!(logs > 0);
    assert_eq!(text(&said.stdout), format!("{logs} logs in {}\n", dir.path().display()));
}

#[test]
fn a_page_goes_beside_the_results_that_its_run_lies_in() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("results/copied");
    std::fs::create_dir_all(&run).unwrap();
    for file in ["run.json", "samples.jsonl"] {
        std::fs::copy(repository().join("results/reference").join(file), run.join(file)).unwrap();
    }
    let said = isobench(&["report", run.to_str().unwrap()]);
    let page = dir.path().join("reports/copied/index.html");
    assert_eq!(text(&said.stdout), format!("{}\n", page.display()));
    assert!(page.is_file());
}

/// A copy of the run that the repository holds, with other samples.
fn copy_with(samples: impl FnOnce(&str) -> String) -> tempfile::TempDir {
    let (dir, reference) = (tempfile::tempdir().unwrap(), repository().join("results/reference"));
    std::fs::copy(reference.join("run.json"), dir.path().join("run.json")).unwrap();
    let text = std::fs::read_to_string(reference.join("samples.jsonl")).unwrap();
    std::fs::write(dir.path().join("samples.jsonl"), samples(&text)).unwrap();
    dir
}

const FORMATS: [&str; 7] = ["html", "csv", "md", "json", "github", "bencher", "hdr"];

#[test]
fn a_file_cut_between_two_lines_is_an_error_in_every_format() {
    let cut = copy_with(|text| {
        text.lines()
            .rev()
            .skip(3)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .fold(String::new(), |all, line| all + line + "\n")
    });
    let run = cut.path().to_str().unwrap();
    let out = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let file = out.path().join(format);
        let args = ["report", run, "--format", format, "--out", file.to_str().unwrap()];
        let refused = any(&args);
        let said = text(&refused.stderr);
        assert!(refused.status.code() == Some(1) && said.contains("blocks that run.json counts"), "{said}");
        assert!(!file.exists(), "{format}: no report of a part without --partial");
        let partial = isobench(&[&args[..], &["--partial"]].concat());
        assert!(text(&partial.stderr).contains("The samples are incomplete"), "{format}");
    }
    let page =
        std::fs::read_dir(out.path().join("html")).unwrap().map(|entry| entry.unwrap().path().join("index.html"));
    let pages: Vec<String> = page.filter_map(|page| std::fs::read_to_string(page).ok()).collect();
    assert!(pages.iter().any(|page| page.contains("The samples are incomplete")));
    for format in ["md", "json", "github"] {
        let written = std::fs::read_to_string(out.path().join(format)).unwrap();
        assert!(written.contains("The samples are incomplete"), "{format}");
    }
}

#[test]
fn an_empty_file_is_an_error_in_every_format() {
    let empty = copy_with(|_| String::new());
    let out = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let file = out.path().join(format);
        let run = empty.path().to_str().unwrap();
        let refused = any(&["report", run, "--format", format, "--out", file.to_str().unwrap()]);
        let said = text(&refused.stderr);
        assert!(refused.status.code() == Some(1) && said.contains("no whole block"), "{format}: {said}");
    }
}

/// Runs isobench where there is no checkout, and with `home` as the user's home.
fn elsewhere(home: Option<&str>, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isobench"));
    command.args(args).current_dir("/");
    for variable in ["ISOBENCH_ROOT", "ISOBENCH_CACHE", "ISOBENCH_STATE", "XDG_CACHE_HOME", "HOME"] {
        command.env_remove(variable);
    }
    if let Some(home) = home {
        command.env("HOME", home);
    }
    command.output().unwrap()
}

#[test]
fn what_only_reads_works_outside_a_checkout_and_without_a_home_that_can_be_written() {
    let results = repository().join("results");
    let reference = results.join("reference");
    let (results, reference) = (results.to_str().unwrap(), reference.to_str().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    for home in [None, Some("/proc/nowhere")] {
        let works: [&[&str]; 5] = [
            &["report", reference, "--format", "md"],
            &["report", reference, "--out", out],
            &["compare", reference, reference],
            &["runs", results],
            &["schema", "run"],
        ];
        for args in works {
            let output = elsewhere(home, args);
            assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
            assert!(!output.stdout.is_empty(), "{args:?}");
        }
    }
    let refused = elsewhere(None, &["report", "latest"]);
    let said = text(&refused.stderr);
    assert!(
        !refused.status.success() && said.contains("name a run by the path") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn runs_are_listed_and_named_by_a_prefix() {
    let dir = tempfile::tempdir().unwrap();
    for id in ["20261129-101500-000", "20261130-101500-000"] {
        let run = dir.path().join("results").join(id);
        std::fs::create_dir_all(&run).unwrap();
        for file in ["run.json", "samples.jsonl"] {
            std::fs::copy(repository().join("results/reference").join(file), run.join(file)).unwrap();
        }
    }
    std::fs::create_dir_all(dir.path().join("results/broken")).unwrap();
    std::fs::write(dir.path().join("results/broken/run.json"), "{").unwrap();
    let isobench = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isobench"));
        command.args(args).env("ISOBENCH_ROOT", dir.path()).output().unwrap()
    };
    let listed = isobench(&["runs"]);
    let lines: Vec<&str> = text(&listed.stdout).lines().collect();
    assert!(lines[0].starts_with("20261130-") && lines[1].starts_with("20261129-"), "{lines:?}");
    assert!(lines[0].contains("complete") && lines[0].contains("cells") && lines[0].contains("isobench"), "{lines:?}");
    assert!(lines[2].starts_with("broken") && lines[2].contains("unreadable"), "{lines:?}");
    let page = isobench(&["report", "latest~1"]);
    assert!(text(&page.stdout).ends_with("reports/20261129-101500-000/index.html\n"), "{page:?}");
    assert!(isobench(&["compare", "20261129", "latest"]).status.success());
    let unknown = isobench(&["report", "nosuch"]);
    assert!(text(&unknown.stderr).contains("the newest are 20261130-101500-000"), "{unknown:?}");
}

#[test]
fn a_workloads_summary_cannot_reach_the_terminals_controls() {
    let dir = tempfile::tempdir().unwrap();
    let workload = dir.path().join("workloads/evil");
    std::fs::create_dir_all(&workload).unwrap();
    let toml = "name = \"evil\"\nsummary = \"\\u001b]0;pwn\\u0007\\u202e\"\n\
                case = [{ name = \"small\", input = \"in\", expected = \"in\" }]\n";
    let script = "export const handle = (request) => request;\n";
    for (file, content) in [("workload.toml", toml), ("in", "x"), ("guest.js", script)] {
        std::fs::write(workload.join(file), content).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_isobench"));
    command.arg("list").env("ISOBENCH_ROOT", dir.path());
    for (variable, folder) in [("ISOBENCH_CACHE", "cache"), ("ISOBENCH_STATE", "state")] {
        command.env(variable, dir.path().join(folder));
    }
    let listed = command.output().unwrap();
    let said = format!("{}{}", text(&listed.stdout), text(&listed.stderr));
    assert!(said.contains("evil") && said.contains("u{1b}") && said.contains("u{202e}"), "{said}");
    assert!(!said.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{said}");
}

#[test]
fn schemas_are_printed() {
    for (file, title) in [("run", "isobench run.json"), ("sample", "isobench sample line")] {
        let schema: serde_json::Value = serde_json::from_slice(&isobench(&["schema", file]).stdout).unwrap();
        assert!(schema["title"].as_str().unwrap().starts_with(title));
    }
}
