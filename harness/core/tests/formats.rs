//! The file formats as they are on disk: a change of these texts is a change of the schema.

mod lines;

use isobench_core::RunFile;
use isobench_core::record::LINE_LIMIT;
use isobench_core::store::{RunDir, StoreError};
use lines::{lines, samples};
use proptest::prelude::*;
use std::fs;

#[test]
fn sample_lines_are_compact_json() {
    let text: Vec<String> = lines().iter().map(|r| serde_json::to_string(r).unwrap()).collect();
    insta::assert_snapshot!(text.join("\n"), @r#"
    {"t":"samples","c":3,"b":17,"e":"cold_start","m":"create.api","u":"ns","i":0,"f":["first_in_process"],"v":[812]}
    {"t":"samples","c":3,"b":18,"e":"footprint","m":"pss","n":4,"u":"bytes","i":0,"v":[5242880]}
    {"t":"histogram","c":3,"b":19,"n":2,"mode":"fresh","calls":40,"elapsed_ns":1000000,"s":[{"c":40,"ns":1000000,"p":[80000,81000]}],"hdr":"HISTFA=="}
    {"t":"samples","c":3,"b":19,"e":"warm_call","m":"call","u":"ns","i":100,"p":[80000,130000],"k":25,"v":[140,150]}
    {"t":"fault","c":4,"b":20,"e":"warm_call","fault":{"kind":"wrong_answer","message":"5 bytes"}}
    {"t":"block","c":3,"b":17,"e":"cold_start","at_unix_ms":1795000000000,"wall_ns":99,"steal_ppm":0,"involuntary_switches":7,"calibration_ns":[1000000,1010000],"others_runnable":[0,1],"throttled_us":0}
    {"t":"load","c":3,"b":21,"policy":{"keep_alive":500},"rate_mhz":200000,"percent":50,"seed":42,"offered":1000,"offered_ns":4990000000,"answered":998,"answered_ns":5000000000,"late":12,"dropped":2,"cold":4,"most_instances":3,"generator_ns":[9000,70000],"hdr":"HISTFA=="}
    {"t":"bound","c":3,"b":22,"e":"density","n":64,"by":"memory","why":"1 GiB"}
    {"t":"starts","c":3,"b":23,"n":4,"mode":"beside","starts":4000,"elapsed_ns":10000000000,"hdr":"HISTFA==","destroy_hdr":"HISTFA=="}
    "#);
}

#[test]
fn what_is_appended_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path().join("run"));
    run.writer().unwrap().append(&lines()[..2]).unwrap();
    run.writer().unwrap().append(&lines()[2..]).unwrap();
    let mut read = Vec::new();
    let report = run.for_each_record(|r| read.push(r)).unwrap();
    assert_eq!((read, report.lines, report.truncated), (lines(), lines().len(), None));
}

#[test]
fn a_newer_schema_and_a_broken_line_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path());
    fs::write(run.run_json(), "{\"schema\": 999}").unwrap();
    assert!(matches!(run.read_run(), Err(StoreError::Newer { found: 999, .. })));
    fs::write(run.run_json(), "{\"schema\": 4294967298}").unwrap();
    assert!(run.read_run().unwrap_err().to_string().contains("newer"), "2^32 + 2 is not 2");
    fs::write(run.samples(), "{\"t\":\"block\"}\n{}\n").unwrap();
    let error = run.for_each_record(|_| ()).unwrap_err().to_string();
    assert!(error.contains("samples.jsonl:1"), "{error}");
}

#[test]
fn a_line_without_an_end_is_refused_by_its_number_and_not_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path());
    run.writer().unwrap().append(&lines()[..1]).unwrap();
    // Sparse: zeros without a line's end, four times as many as a line may have.
    fs::OpenOptions::new().append(true).open(run.samples()).unwrap().set_len(4 * LINE_LIMIT).unwrap();
    let error = run.for_each_record(|_| ()).unwrap_err().to_string();
    assert!(error.contains("samples.jsonl:2") && error.contains("longer than 64 MiB"), "{error}");
}

#[test]
fn the_reserve_becomes_the_next_run_json_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path());
    let reference = RunDir::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/reference")).read_run().unwrap();
    run.write_run(&reference).unwrap();
    run.reserve();
    let stopped = RunFile { stopped_early: Some("the disk is full".into()), ..reference };
    run.write_run(&stopped).unwrap();
    assert_eq!(run.read_run().unwrap(), stopped);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

proptest! {
    /// Wherever a kill cuts the file, every whole line before the cut is read and nothing is an error.
    #[test]
    fn a_file_cut_anywhere_keeps_its_whole_lines(cut in 0usize..400, values in prop::collection::vec(any::<u64>(), 0..20)) {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::new(dir.path());
        run.writer().unwrap().append(&[samples(values.clone()), samples(values), lines()[3].clone()]).unwrap();
        let text = fs::read(run.samples()).unwrap();
        let kept = &text[..cut.min(text.len())];
        fs::write(run.samples(), kept).unwrap();
        let mut count = 0;
        let report = run.for_each_record(|_| count += 1).unwrap();
        let whole = kept.iter().filter(|b| **b == b'\n').count();
        // A last line that lacks only its newline is complete.
        prop_assert!(count == whole || count == whole + 1);
        prop_assert_eq!(count, report.lines);
    }
}
