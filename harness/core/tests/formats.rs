//! The file formats as they are on disk: a change of these texts is a change of the schema.

use isobench_core::record::{BlockRecord, Bound, BoundBy, FaultRecord, Histogram, Load, Mode, Policy, Samples};
use isobench_core::store::{RunDir, StoreError};
use isobench_core::{Experiment, Fault, FaultKind, Record, SampleFlag, Unit};
use proptest::prelude::*;
use std::fs;

fn samples(values: Vec<u64>) -> Record {
    Record::Samples(Samples {
        cell: 3,
        block: 17,
        experiment: Experiment::ColdStart,
        metric: "create.api".into(),
        n: None,
        unit: Unit::Ns,
        index: 0,
        flags: vec![SampleFlag::FirstInProcess],
        values,
    })
}

fn lines() -> Vec<Record> {
    vec![
        samples(vec![812]),
        Record::Samples(Samples {
            cell: 3,
            block: 18,
            experiment: Experiment::Footprint,
            metric: "pss".into(),
            n: Some(4),
            unit: Unit::Bytes,
            index: 0,
            flags: Vec::new(),
            values: vec![5_242_880],
        }),
        Record::Histogram(Histogram {
            cell: 3,
            block: 19,
            n: 2,
            mode: Mode::Fresh,
            calls: 40,
            elapsed_ns: 1_000_000,
            hdr: "HISTFA==".into(),
        }),
        Record::Fault(FaultRecord {
            cell: 4,
            block: 20,
            experiment: Experiment::WarmCall,
            fault: Fault::new(FaultKind::WrongAnswer, "5 bytes"),
        }),
        Record::Block(BlockRecord {
            cell: 3,
            block: 17,
            experiment: Some(Experiment::ColdStart),
            at_unix_ms: 1_795_000_000_000,
            wall_ns: 99,
            steal_ppm: 0,
            cpu_pressure_ppm: None,
            involuntary_switches: Some(7),
            khz: None,
            calibration_ns: Some([1_000_000, 1_010_000]),
        }),
        Record::Load(Load {
            cell: 3,
            block: 21,
            policy: Policy::KeepAlive(500),
            rate_mhz: 200_000,
            percent: Some(50),
            seed: 42,
            offered: 1000,
            offered_ns: 4_990_000_000,
            answered: 998,
            answered_ns: 5_000_000_000,
            late: 12,
            dropped: 2,
            cold: 4,
            most_instances: 3,
            generator_ns: [9_000, 70_000],
            hdr: "HISTFA==".into(),
        }),
        Record::Bound(Bound {
            cell: 3,
            block: 22,
            experiment: Experiment::Density,
            n: 64,
            by: BoundBy::Memory,
            why: "1 GiB".into(),
        }),
    ]
}

#[test]
fn sample_lines_are_compact_json() {
    let text: Vec<String> = lines().iter().map(|r| serde_json::to_string(r).unwrap()).collect();
    insta::assert_snapshot!(text.join("\n"), @r#"
    {"t":"samples","c":3,"b":17,"e":"cold_start","m":"create.api","u":"ns","i":0,"f":["first_in_process"],"v":[812]}
    {"t":"samples","c":3,"b":18,"e":"footprint","m":"pss","n":4,"u":"bytes","i":0,"v":[5242880]}
    {"t":"histogram","c":3,"b":19,"n":2,"mode":"fresh","calls":40,"elapsed_ns":1000000,"hdr":"HISTFA=="}
    {"t":"fault","c":4,"b":20,"e":"warm_call","fault":{"kind":"wrong_answer","message":"5 bytes"}}
    {"t":"block","c":3,"b":17,"e":"cold_start","at_unix_ms":1795000000000,"wall_ns":99,"steal_ppm":0,"involuntary_switches":7,"calibration_ns":[1000000,1010000]}
    {"t":"load","c":3,"b":21,"policy":{"keep_alive":500},"rate_mhz":200000,"percent":50,"seed":42,"offered":1000,"offered_ns":4990000000,"answered":998,"answered_ns":5000000000,"late":12,"dropped":2,"cold":4,"most_instances":3,"generator_ns":[9000,70000],"hdr":"HISTFA=="}
    {"t":"bound","c":3,"b":22,"e":"density","n":64,"by":"memory","why":"1 GiB"}
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
    assert_eq!((read, report.lines, report.truncated), (lines(), 7, None));
}

#[test]
fn a_newer_schema_and_a_broken_line_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::new(dir.path());
    fs::write(run.run_json(), "{\"schema\": 999}").unwrap();
    assert!(matches!(run.read_run(), Err(StoreError::Newer { found: 999, .. })));
    fs::write(run.samples(), "{\"t\":\"block\"}\n{}\n").unwrap();
    let error = run.for_each_record(|_| ()).unwrap_err().to_string();
    assert!(error.contains("samples.jsonl:1"), "{error}");
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
