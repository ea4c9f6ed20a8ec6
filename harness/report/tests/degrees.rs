//! Sentences compare like with like: one guest, one degree of preparation, declared representatives.

mod fixture;

use isobench_core::record::Record;
use isobench_core::run::RunFile;
use isobench_core::words::{Experiment, Guest, Model, Preparation};
use isobench_report::answer::answer;
use isobench_report::rows::tables;
use isobench_stats::{Accumulator, Summary};

fn summarise(run: &RunFile, records: Vec<Record>) -> Summary {
    let mut accumulator = Accumulator::new(run);
    records.into_iter().for_each(|record| accumulator.push(record));
    accumulator.finish()
}

fn sentences(run: &RunFile, records: Vec<Record>) -> Vec<String> {
    let summary = summarise(run, records);
    answer(run, &summary, tables(run, &summary).first()).sentences
}

/// The variants of a backend of the fixture, to be declared otherwise.
fn declare(run: &mut RunFile, backend: &str, preparation: Option<Preparation>, representative: u8) {
    let entry = run.backends.iter_mut().find(|entry| entry.description.backend == backend).unwrap();
    for variant in &mut entry.description.variants {
        variant.preparation = preparation.map(|degree| degree.of(&Guest::ALL)).unwrap_or_default();
        variant.representative = representative;
    }
}

#[test]
fn a_waiting_instance_is_in_no_ratio_with_a_cold_process() {
    let (mut run, records) = fixture::run(1);
    let before = sentences(&run, records.clone());
    let script = "With the same script and nothing prepared, a V8 isolate (`v8/fresh`) answers";
    assert!(before.iter().any(|s| s.starts_with(script) && s.contains("times sooner than a process")), "{before:#?}");
    declare(&mut run, "v8", Some(Preparation::Instance), 1);
    let after = sentences(&run, records);
    let ratios: Vec<&String> = after.iter().filter(|s| s.contains("times sooner")).collect();
    assert!(!ratios.is_empty() && ratios.iter().all(|s| !s.contains("V8 isolate")), "{after:#?}");
    let apart = after.iter().find(|s| s.contains("`v8/fresh` (js guest, instance waiting) 980 µs")).unwrap();
    assert!(apart.contains("are not compared"), "{apart}");
}

#[test]
fn a_run_that_does_not_say_what_was_prepared_compares_nothing() {
    let (mut run, records) = fixture::run(1);
    for backend in ["process", "v8", "wasmtime", "docker", "qemu"] {
        declare(&mut run, backend, None, 0);
    }
    let said = sentences(&run, records);
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].contains("does not record the degrees of preparation"), "{said:#?}");
}

#[test]
fn a_container_is_named_and_stands_beside_the_range_of_its_models_rows() {
    let (mut run, records) = fixture::run(1);
    let process = run.backends.iter_mut().find(|entry| entry.description.backend == "process").unwrap();
    process.description.model = Model::Container;
    process.description.variants[0].representative = 2;
    let said = sentences(&run, records.clone());
    let wasm = said.iter().find(|s| s.contains("Wasm module and code prepared")).unwrap();
    assert!(wasm.contains("a container (`docker/runc`, 1.25 s; 2 container rows from 3.06 ms to 1.25 s)"), "{wasm}");
    // Where Docker has no cold start, the next in order stands in for it.
    let docker = run.backends.iter().position(|entry| entry.description.backend == "docker").unwrap();
    run.backends[docker].description.variants[0].representative = 0;
    let said = sentences(&run, records);
    let wasm = said.iter().find(|s| s.contains("Wasm module and code prepared")).unwrap();
    assert!(wasm.contains("a container (`process/spawn`, 3.06 ms; 2 container rows"), "{wasm}");
}

#[test]
fn emulated_rows_are_in_no_sentence() {
    let (run, records) = fixture::run(1);
    let said = sentences(&run, records);
    assert!(said.iter().all(|s| !s.contains("microVM") && !s.contains("qemu")), "{said:#?}");
}

#[test]
fn a_url_that_nothing_makes_cold_has_warm_calls_and_no_cold_start() {
    let (mut run, records) = fixture::run(1);
    let entry = run.cells.iter_mut().find(|entry| entry.cell.to_string() == "v8/fresh/js/echo/0b").unwrap();
    entry.experiments.retain(|experiment| *experiment != Experiment::ColdStart);
    let id = entry.id;
    let summary = summarise(&run, records);
    let cell = summary.cells.iter().find(|cell| cell.id == id).unwrap();
    assert!(cell.cold_start.is_none() && cell.warm_call.is_some());
    let csv = isobench_report::export::csv(&run, &summary);
    let cold = csv.lines().find(|line| line.contains("v8,fresh,js,,echo") && line.contains("cold_start"));
    assert_eq!(cold, None);
}
