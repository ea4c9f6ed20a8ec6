//! `isobench compare` on run folders written here: what it prints, what it refuses, its exit codes. No backend.

use isobench_core::availability::{Availability, Description, VariantInfo};
use isobench_core::record::{BlockRecord, Record, Samples, Unit};
use isobench_core::run::{BackendEntry, CellEntry, Machine, Plan, RunFile, SCHEMA_VERSION, WorkloadEntry};
use isobench_core::store::RunDir;
use isobench_core::{Cell, Experiment, Guest, Model, Side};
use std::path::PathBuf;
use std::process::{Command, Output};

/// A checkout with results and nothing else.
struct Results(tempfile::TempDir);

impl Results {
    fn new() -> Results {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("workloads")).unwrap();
        Results(dir)
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.0.path().join(relative)
    }

    /// Writes a run of these cells: workload, side, cold start in ns.
    fn write(&self, id: &str, cells: &[(&str, Option<Side>, u64)], change: impl FnOnce(&mut RunFile)) {
        let mut run = empty(id);
        let mut records = Vec::new();
        for (i, (workload, side, ns)) in cells.iter().enumerate() {
            let id = i as u32;
            let cell = Cell {
                backend: "v8".into(),
                variant: "fresh".into(),
                guest: Guest::Js,
                engine: None,
                workload: (*workload).into(),
                case: "small".into(),
            };
            let experiments = vec![Experiment::ColdStart];
            run.cells.push(CellEntry { id, cell, side: *side, experiments, blocks: 12, flags: vec![], faults: vec![] });
            records.extend((0..12).flat_map(|block| {
                // Within 1 %, in an order that is none, another for each cell.
                let value = ns + ns / 1000 * ((u64::from(block) * 7 + u64::from(id) * 5) % 12) - ns * 6 / 1000;
                let samples = Samples {
                    cell: id,
                    block,
                    experiment: Experiment::ColdStart,
                    metric: "total".into(),
                    n: None,
                    unit: Unit::Ns,
                    index: 0,
                    flags: vec![],
                    probe_ns: None,
                    every: None,
                    values: vec![value],
                };
                [Record::Samples(samples), Record::Block(BlockRecord { cell: id, block, ..BlockRecord::default() })]
            }));
        }
        change(&mut run);
        let dir = RunDir::new(self.path("results").join(id));
        dir.write_run(&run).unwrap();
        dir.writer().unwrap().append(&records).unwrap();
    }

    fn compare(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_isobench"))
            .arg("compare")
            .args(args)
            .current_dir(self.0.path())
            .env("ISOBENCH_ROOT", self.0.path())
            .env("ISOBENCH_CACHE", self.path("cache"))
            .env("ISOBENCH_STATE", self.path("state"))
            .output()
            .unwrap()
    }

    /// The exit code and what was said on both channels.
    #[track_caller]
    fn expect(&self, args: &[&str], code: i32) -> String {
        let output = self.compare(args);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    }
}

fn empty(id: &str) -> RunFile {
    let availability = Availability::Available {
        versions: [("v8".to_string(), "15.2.0".to_string())].into(),
        emulated: false,
        notes: vec![],
        absent: Default::default(),
    };
    let variant = VariantInfo { name: "fresh".into(), guests: vec![Guest::Js], quick: true, ..VariantInfo::default() };
    RunFile {
        schema: SCHEMA_VERSION,
        id: id.into(),
        command: vec!["isobench".into()],
        isobench: "0.1.0".into(),
        commit: None,
        started_unix_ms: 1_795_269_900_000,
        ended_unix_ms: Some(1_795_269_960_000),
        stopped_early: None,
        plan: Plan { quick: true, ..Plan::default() },
        machine: Machine { cpu: "A processor".into(), kernel: "6.1".into(), cores: 2, ..Machine::default() },
        backends: vec![BackendEntry {
            description: Description {
                backend: "v8".into(),
                model: Model::Isolate,
                variants: vec![variant],
                in_process: true,
                hidden: false,
                footprint_instances: 4,
                engines: Vec::new(),
            },
            availability,
            side: None,
            prepare_ns: None,
        }],
        workloads: vec![WorkloadEntry {
            name: "echo".into(),
            summary: String::new(),
            guests: [(Guest::Js, "ab".repeat(32))].into(),
        }],
        cells: vec![],
        absent: vec![],
    }
}

/// `base`; `slower`, whose echo is 20 % slower and whose json is 20 % faster.
fn results() -> Results {
    let results = Results::new();
    let again = Some(Side::Again);
    results.write("base", &[("echo", None, 1_000_000), ("json", None, 5_000_000), ("echo", again, 1_002_000)], |_| {});
    let slower = [("echo", None, 1_200_000), ("json", None, 4_000_000), ("echo", again, 1_203_000)];
    results.write("slower", &slower, |run| run.machine.kernel = "6.12".into());
    results
}

#[test]
fn two_runs_and_what_differs_around_them() {
    let results = results();
    let said = results.expect(&["base", "slower"], 0);
    let order: Vec<Option<usize>> =
        ["6.1 → 6.12", "slower  1.00", "1 slower, 1 faster"].iter().map(|t| said.find(t)).collect();
    assert!(order.is_sorted() && order[0].is_some(), "{order:?}\n{said}");
    // By path as well as by id.
    assert!(results.expect(&["results/base", "results/base"], 0).contains("No difference can be called one"));
    let markdown = results.expect(&["base", "slower", "--markdown"], 0);
    assert!(
        markdown.starts_with("### `slower` against `base`")
            && markdown.contains("| `v8/fresh/js/echo/small` | cold start |")
    );
    let only = results.expect(&["base", "slower", "--only", "/json/"], 0);
    assert!(
        only.contains("1 row: 1 faster") && only.contains("Identical things"),
        "floors come from all cells: {only}"
    );
}

#[test]
fn the_gate_says_which_and_by_how_much() {
    let results = results();
    let said = results.expect(&["base", "slower", "--fail-on", "5"], 4);
    assert!(
        said.contains("Gate failed: 1 row is over 5.0") && said.contains("v8/fresh/js/echo/small cold start: 20"),
        "{said}"
    );
    assert!(results.expect(&["base", "slower", "--fail-on", "25%"], 0).contains("Gate holds"));
    assert!(results.expect(&["base", "slower", "--fail-on", "5", "--skip", "/echo/"], 0).contains("Gate holds"));
    assert!(
        results.expect(&["base", "slower", "--fail-on", "5", "--markdown"], 4).contains("- `v8/fresh/js/echo/small`")
    );
    results.expect(&["base", "slower", "--fail-on", "much"], 2);
    results.expect(&["base", "slower", "--fail-on", "-1"], 2);
}

#[test]
fn what_is_not_comparable_is_refused_unless_asked_for() {
    let results = results();
    results.write("elsewhere", &[("echo", None, 1_200_000)], |run| run.machine.cpu = "Another".into());
    let said = results.expect(&["base", "elsewhere", "--fail-on", "5"], 5);
    assert!(
        said.contains("processor: A processor in base, Another in elsewhere") && said.contains("--anyway"),
        "{said}"
    );
    assert!(!said.contains("1.200"), "no number before it is asked for: {said}");
    let said = results.expect(&["base", "elsewhere", "--anyway", "--fail-on", "5"], 4);
    assert!(said.contains("slower ≠"), "{said}");

    results.write("emulated", &[("echo", None, 9_000_000)], |run| {
        if let Availability::Available { emulated, .. } = &mut run.backends[0].availability {
            *emulated = true;
        }
    });
    assert!(results.expect(&["base", "emulated"], 5).contains("real in base, emulated in emulated"));
    results.write("rebuilt", &[("echo", None, 1_000_000), ("json", None, 5_000_000)], |run| {
        run.workloads[0].guests.insert(Guest::Js, "cd".repeat(32));
    });
    let said = results.expect(&["base", "rebuilt"], 0);
    assert!(said.contains("left out as not comparable, 1: js guest of echo differs"), "{said}");
    assert!(said.contains("v8/fresh/js/json/small cold start"), "what is comparable is compared: {said}");
    assert!(results.expect(&["base", "rebuilt", "--only", "/echo/"], 5).contains("js guest of echo"));
    results.expect(&["base", "rebuilt", "--skip", "/echo/"], 0);
}

#[test]
fn a_gate_that_could_judge_no_row_has_a_code_of_its_own() {
    let results = results();
    results.write("short", &[("echo", None, 10_000_000)], |_| {});
    let samples = results.path("results/short/samples.jsonl");
    let text = std::fs::read_to_string(&samples).unwrap();
    std::fs::write(&samples, text.lines().take(2).fold(String::new(), |all, line| all + line + "\n")).unwrap();
    assert!(results.expect(&["base", "short"], 1).contains("11 of the 12 blocks"), "a cut file is no run");
    results.write("short", &[], |run| {
        let long = RunDir::new(results.path("results/base")).read_run().unwrap();
        run.cells = vec![CellEntry { blocks: 1, ..long.cells[0].clone() }];
    });
    let said = results.expect(&["base", "short", "--fail-on", "5"], 6);
    assert!(said.contains("Gate says nothing: 0 of 1 row could be judged"), "{said}");
    assert!(said.contains("too few blocks to tell, 1: for example v8/fresh/js/echo/small cold start"), "{said}");
}

#[test]
fn a_gate_may_ask_for_rows_that_are_judged() {
    let results = results();
    let gate = ["base", "slower", "--fail-on", "25"];
    let with = |more: &[&'static str]| [gate.as_slice(), more].concat();
    assert!(results.expect(&with(&["--fail-on-unknown"]), 0).contains("2 of 2 rows could be judged"));
    results.expect(&with(&["--min-judged", "2"]), 0);
    assert!(results.expect(&with(&["--min-judged", "3"]), 7).contains("2 of 2 rows could be judged, and 3 must be"));
    results.expect(&["base", "slower", "--fail-on", "5", "--min-judged", "3"], 4);
    results.expect(&with(&["--min-judged", "3", "--fail-on-unknown"]), 2);
    results.expect(&["base", "slower", "--min-judged", "3"], 2);
}

#[test]
fn several_runs_a_side_count_once_each() {
    let results = Results::new();
    let run = |id: &str, ns| results.write(id, &[("echo", None, ns), ("json", None, 5_000_000)], |_| {});
    for (i, off) in [0, 9_000, 4_000].into_iter().enumerate() {
        run(&format!("base{i}"), 1_000_000 + off);
        run(&format!("new{i}"), 1_200_000 + off);
    }
    let three = ["base0", "base1", "base2", "--against", "new0", "new1", "new2", "--fail-on", "5"];
    let said = results.expect(&three, 4);
    assert!(said.contains("3 runs, the first: ") && said.contains("t-test over the logarithms of the runs"), "{said}");
    assert!(said.contains("1 slower, 1 no clear difference") && said.contains("2 of 2 rows could be judged"), "{said}");
    let said = results.expect(&["base0", "base1", "--against", "new0", "new1", "--fail-on", "5"], 6);
    assert!(said.contains("2 of the 3 runs that the test needs"), "{said}");
    assert!(results.expect(&["base0", "--against", "new0"], 0).contains("permutation test over blocks"));
    assert!(results.expect(&["base0", "base1", "base2"], 2).contains("--against"));
    assert!(results.expect(&["base0", "base1", "--against", "new0", "base1"], 2).contains("base1 is named twice"));
}

#[test]
fn plans_that_differ_are_told() {
    let results = results();
    results.write("other", &[("echo", None, 1_000_000)], |run| {
        run.plan.only = vec!["v8/".into(), "/echo/".into()];
        run.plan.budget_ms = Some(20_000);
        run.commit = Some("0123abc".into());
    });
    let said = results.expect(&["base", "other"], 0);
    for (what, differs) in
        [("--only", "none → v8/ /echo/"), ("budget", "none → 20.0 s"), ("commit of isobench", "unknown → 0123abc")]
    {
        assert!(said.lines().any(|line| line.contains(what) && line.contains(differs)), "{what}: {said}");
    }
}

#[test]
fn the_sides_of_one_run() {
    let results = results();
    let sides = [("echo", Some(Side::A), 1_000_000), ("echo", Some(Side::B), 1_100_000)];
    results.write("ab", &sides, |_| {});
    assert!(results.expect(&["ab"], 0).contains("1 row: 1 slower"));
    results.expect(&["ab", "--fail-on", "5"], 4);
    assert!(results.expect(&["base"], 2).contains("name a second run"));
}

#[test]
fn a_page_of_its_own() {
    let results = results();
    let said = results.expect(&["base", "slower", "--html", "page.html"], 0);
    assert!(said.contains("page.html"));
    let page = std::fs::read_to_string(results.path("page.html")).unwrap();
    assert!(page.contains("What changed?") && page.contains("v8/fresh"));
    let below_a_file = "results/base/run.json/page.html";
    assert!(results.expect(&["base", "slower", "--html", below_a_file], 1).contains("results/base/run.json"));
}

#[test]
fn what_cannot_be_read_or_shares_nothing() {
    let results = results();
    assert!(results.expect(&["base", "nowhere"], 1).contains("nowhere"));
    results.write("other", &[("blur", None, 1_000_000)], |_| {});
    assert!(results.expect(&["base", "other"], 1).contains("nothing to compare"));
    assert!(results.expect(&["base", "slower", "--only", "nothing"], 2).contains("--only `nothing` matches no cell"));
    results.expect(&[], 2);
}
