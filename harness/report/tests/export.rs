//! The formats for other tools, each read back by a reader of its own.

mod fixture;

use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use isobench_core::record::{BlockRecord, Load, Policy, Record};
use isobench_core::run::{Configuration, RunFile};
use isobench_core::words::{Flag, Side};
use isobench_report::export::{self, hdr_log};
use isobench_stats::{Accumulator, Summary};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

fn summarise(run: &RunFile, records: &[Record]) -> Summary {
    let mut accumulator = Accumulator::new(run);
    records.iter().for_each(|record| accumulator.push(record.clone()));
    accumulator.finish()
}

/// The fixture's run and its summary.
fn summed() -> (RunFile, Summary) {
    static SUMMED: LazyLock<(RunFile, Summary)> = LazyLock::new(|| {
        let (run, records) = fixture::run(1);
        let summary = summarise(&run, &records);
        (run, summary)
    });
    SUMMED.clone()
}

type Row = BTreeMap<String, String>;

fn rows(text: &str) -> Vec<Row> {
    csv::Reader::from_reader(text.as_bytes()).deserialize().collect::<Result<_, _>>().unwrap()
}

#[test]
fn csv_has_a_row_for_every_number_and_is_read_back() {
    let (run, summary) = summed();
    let text = export::csv(&run, &summary);
    let of_a_cell = |line: &&str| line.starts_with("run,") || line.contains("wasmtime,pooling,wasm,,echo");
    insta::assert_snapshot!("csv_of_a_cell", text.lines().filter(of_a_cell).collect::<Vec<_>>().join("\n"));
    let rows = rows(&text);
    for cell in &summary.cells {
        let Some(starts) = &cell.cold_start else { continue };
        let same = |row: &&Row| {
            let name = ["backend", "variant", "guest", "workload", "case"].map(|key| row[key].as_str()).join("/");
            name == cell.cell.to_string()
                && row["metric"] == "total"
                && row["statistic"] == "p50"
                && row["mode"].is_empty()
        };
        let found: Vec<&Row> = rows.iter().filter(same).collect();
        assert_eq!(found.len(), 1, "{}", cell.cell);
        assert_eq!(found[0]["value"].parse(), Ok(starts.total.p50.value), "not a digit is lost");
        assert_eq!(found[0]["samples"].parse(), Ok(starts.total.n));
    }
    let units: Vec<&str> = ["ns", "bytes", "calls/s", ""].into();
    assert!(rows.iter().all(|row| units.contains(&row["unit"].as_str())));
}

#[test]
fn csv_says_why_a_cell_has_no_number() {
    let (mut run, mut records) = fixture::run(1);
    let failed = run.cells.iter_mut().find(|entry| !entry.faults.is_empty()).unwrap();
    failed.faults[0].fault.message = "quoted \"message\",\nwith a comma".into();
    let lost = run.cells.last().unwrap().id;
    records.retain(|record| record.cell() != lost);
    let rows = rows(&export::csv(&run, &summarise(&run, &records)));
    let error: Vec<&Row> = rows.iter().filter(|row| row["verdict"] == "error").collect();
    assert_eq!((error.len(), error[0]["value"].as_str(), error[0]["flags"].as_str()), (1, "", "wrong_answer"));
    assert_eq!(error[0]["why"], "quoted \"message\",\nwith a comma");
    let lost: Vec<&Row> = rows.iter().filter(|row| row["verdict"] == "not_measured").collect();
    assert_eq!((lost.len(), lost[0]["why"].as_str()), (1, "the run ended before its turn"));
}

#[test]
fn markdown_has_the_answer_every_table_and_every_error() {
    let (run, summary) = summed();
    insta::assert_snapshot!("markdown", export::markdown(&run, &summary));
}

#[test]
fn a_job_summary_says_what_it_folds_and_stays_under_githubs_limit() {
    let (mut run, mut summary) = summed();
    let text = export::github(&run, &summary, 0);
    insta::assert_snapshot!("github", text.lines().take(40).collect::<Vec<_>>().join("\n"));
    assert!(text.contains("<summary>nbody, case small: 12 rows</summary>"), "{text}");
    assert!(text.contains("<summary>Error rows: 1 of 72 cells</summary>"), "{text}");
    assert!(!text.contains("Left out"));
    let beside = export::github(&run, &summary, 888 << 10);
    assert!(
        beside.len() < 12 << 10 && beside.contains("Left out"),
        "only the rest of the limit is used: {}",
        beside.len()
    );

    run.command.push("x".repeat(2 << 20));
    let name = "a-workload-with-a-name-<long>-";
    let cells = summary.cells.clone();
    for i in 0..1500 {
        let mut cell = cells[i % 12].clone();
        cell.cell.workload = format!("{name}{}", i / 4);
        summary.cells.push(cell);
    }
    let text = export::github(&run, &summary, 0);
    assert!(text.len() < 1 << 20, "{}", text.len());
    assert!(text.contains("Left out, because GitHub shows no summary over 1 MiB: The run: 2026-11-21-140500-fixture."));
    assert!(text.contains("<summary>a-workload-with-a-name-&lt;long&gt;-0, case 0b: 4 rows</summary>"));
}

#[test]
fn json_holds_the_summary_and_where_it_comes_from() {
    let (run, summary) = summed();
    let value: serde_json::Value = serde_json::from_str(&export::json(&run, &summary, Some(7))).unwrap();
    let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    insta::assert_snapshot!(keys.join(" "), @"run schema isobench command started_unix_ms ended_unix_ms stopped_early truncated_line machine summary");
    assert_eq!((value["truncated_line"].as_u64(), value["machine"]["cores"].as_u64()), (Some(7), Some(2)));
    let same: serde_json::Value = serde_json::from_str(&serde_json::to_string(&summary).unwrap()).unwrap();
    assert!(value["summary"] == same);
}

#[test]
fn bencher_gets_comparable_numbers_only() {
    let (run, summary) = summed();
    let bencher = export::bencher(&run, &summary);
    let value: serde_json::Value = serde_json::from_str(&bencher.json).unwrap();
    // The schema that Bencher publishes for its format.
    let metric = serde_json::json!({
        "type": "object",
        "properties": {"value": {"type": "number"}, "lower_value": {"type": "number"}, "upper_value": {"type": "number"}},
        "required": ["value"],
        "additionalProperties": false
    });
    let of = |inner: serde_json::Value| serde_json::json!({"type": "object", "patternProperties": {".+": inner}});
    assert!(jsonschema::is_valid(&of(of(metric)), &value));
    let shown: serde_json::Map<String, serde_json::Value> = value
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.contains("/wasmtime/pooling/wasm/echo/") || name.contains("/docker/runc/wasm/json/"))
        .map(|(name, measures)| (name.clone(), measures.clone()))
        .collect();
    insta::assert_snapshot!("bencher_of_two_cells", serde_json::to_string_pretty(&shown).unwrap());
    assert!(!bencher.json.contains("qemu"), "emulated");
    let remark = |what: &str| bencher.remarks.iter().filter(|remark| remark.starts_with(what)).count();
    let unsteady = |flag| summary.cells.iter().filter(|c| c.has(flag) && !c.has(Flag::Emulated)).count();
    assert_eq!(remark("left out: qemu"), 18);
    assert_eq!(remark("left out: docker/runc/js/json/small: wrong_answer"), 1);
    assert!(remark("raises no alert") >= unsteady(Flag::Noisy).max(unsteady(Flag::Unstable)));
}

#[test]
fn bencher_keeps_configurations_apart_and_twins_out() {
    let (mut run, mut summary) = summed();
    summary.cells.truncate(1);
    let names = |run: &RunFile, summary: &Summary| {
        let value: serde_json::Value = serde_json::from_str(&export::bencher(run, summary).json).unwrap();
        value.as_object().unwrap().keys().cloned().collect::<Vec<String>>()
    };
    summary.cells[0].side = Some(Side::Again);
    assert!(names(&run, &summary).is_empty());
    summary.cells[0].side = Some(Side::B);
    run.plan.configurations =
        vec![Configuration { side: Side::B, name: "head".into(), env: BTreeMap::new(), programs: None }];
    assert_eq!(names(&run, &summary)[0], "cold_start/process/spawn/native/echo/0b@head");
}

/// The logs of a run, by name.
fn logs(run: &RunFile, records: &[Record]) -> hdr_log::Logs {
    let mut collector = hdr_log::Collector::default();
    records.iter().for_each(|record| collector.push(record.clone()));
    collector.finish(run)
}

/// When each interval began and how long it was, and how many values it has.
fn intervals(text: &str) -> Vec<(Duration, Duration, u64)> {
    let mut found = Vec::new();
    for entry in IntervalLogIterator::new(text.as_bytes()) {
        if let LogEntry::Interval(interval) = entry.unwrap() {
            use base64::Engine;
            let bytes = base64::engine::general_purpose::STANDARD.decode(interval.encoded_histogram()).unwrap();
            let latencies: hdrhistogram::Histogram<u64> =
                Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            assert!((interval.max() - latencies.max() as f64 / 1e6).abs() < 0.001, "the longest in milliseconds");
            found.push((interval.start_timestamp(), interval.duration(), latencies.len()));
        }
    }
    found
}

#[test]
fn every_load_has_a_log_with_an_interval_for_every_block() {
    let (run, mut records) = fixture::run(1);
    // Blocks begin a second apart.
    for record in &mut records {
        if let Record::Block(block) = record {
            block.at_unix_ms += u64::from(block.block) * 1000;
        }
    }
    let logs = logs(&run, &records);
    assert_eq!((logs.logs.len(), logs.left_out.len()), (12 * 6, 0), "twelve cells on echo, warm and fresh at 1, 2, 4");
    let log = logs.logs.iter().find(|log| log.name == "005.wasmtime.pooling.wasm.echo.0b.closed-warm-4.hlog").unwrap();
    let header: Vec<&str> = log.text.lines().take_while(|line| line.starts_with('#')).collect();
    insta::assert_snapshot!(header.join("\n"));
    let recorded = records.iter().filter_map(|record| match record {
        Record::Histogram(h) if h.cell == 5 && h.n == 4 && h.mode == isobench_core::record::Mode::Warm => Some(h),
        _ => None,
    });
    let recorded: Vec<_> = recorded.collect();
    let read = intervals(&log.text);
    assert_eq!(read.len(), recorded.len());
    for ((start, length, count), visit) in read.into_iter().zip(recorded) {
        assert_eq!((start, count), (Duration::from_secs(u64::from(visit.block)), visit.calls));
        assert!(length.abs_diff(Duration::from_nanos(visit.elapsed_ns)) < Duration::from_millis(1));
    }
    let emulated = logs.logs.iter().find(|log| log.name.contains("qemu")).unwrap();
    assert!(emulated.text.contains("#flag: emulated\n"));
}

#[test]
fn open_loops_have_logs_and_what_cannot_be_used_is_told() {
    let (run, mut records) = fixture::run(1);
    let hdr = records.iter().find_map(|r| if let Record::Histogram(h) = r { Some(h.hdr.clone()) } else { None });
    let load = |block, policy, percent, hdr: &str| {
        Record::Load(Load {
            cell: 0,
            block,
            policy,
            rate_mhz: 200_500,
            percent,
            seed: 1,
            offered: 400,
            offered_ns: 1_900_000_000,
            answered: 400,
            answered_ns: 2_000_000_000,
            late: 0,
            dropped: 0,
            cold: 0,
            most_instances: 1,
            generator_ns: [0, 0],
            hdr: hdr.into(),
        })
    };
    let failed = run.cells.iter().find(|entry| !entry.faults.is_empty()).unwrap().id;
    records.retain(|record| matches!(record, Record::Block(_)));
    let hdr = hdr.unwrap();
    records.push(load(0, Policy::Warm(3), None, &hdr));
    records.push(load(1, Policy::KeepAlive(500), Some(80), &hdr));
    records.push(load(2, Policy::Fresh, None, "no histogram"));
    records.push(load(99, Policy::Warm(3), None, &hdr));
    let mut of_failed = load(0, Policy::Fresh, None, &hdr);
    if let Record::Load(load) = &mut of_failed {
        load.cell = failed;
    }
    records.push(of_failed);
    let logs = logs(&run, &records);
    let names: Vec<&str> = logs.logs.iter().map(|log| log.name.as_str()).collect();
    insta::assert_snapshot!(names.join("\n"), @"
    000.process.spawn.native.echo.0b.open-warm3-200500mHz.hlog
    000.process.spawn.native.echo.0b.open-keep500ms-80percent.hlog
    ");
    assert_eq!(intervals(&logs.logs[0].text)[0].1, Duration::from_secs(2));
    insta::assert_snapshot!(logs.left_out.join("\n"), @"
    process/spawn/native/echo/0b, open loop, 3 warm instances, 200.5 requests a second, block 99: its block has no line that says when it began
    process/spawn/native/echo/0b, open loop, a fresh instance per request, 200.5 requests a second, block 2: not base64: Invalid symbol 32, offset 2.
    docker/runc/js/json/small, open loop, a fresh instance per request, 200.5 requests a second: wrong_answer: the answer differs from cases/small.out from byte 17 on (412 bytes, expected 413)
    ");
}

#[test]
fn a_log_of_every_load_is_written() {
    let root = tempfile::tempdir().unwrap();
    let (run, records) = fixture::run(1);
    let dir = isobench_core::store::RunDir::new(root.path().join("run"));
    dir.write_run(&run).unwrap();
    dir.writer().unwrap().append(&records).unwrap();
    let (files, left_out) = isobench_report::write_hdr_logs(&dir, &root.path().join("a/b")).unwrap();
    assert_eq!((files.len(), left_out.len()), (72, 0));
    assert!(files.iter().all(|file| !intervals(&std::fs::read_to_string(file).unwrap()).is_empty()));
}

#[test]
fn load_is_in_the_flat_formats_too() {
    let (run, records) = fixture::load::run();
    let mut accumulator = isobench_stats::Accumulator::new(&run);
    records.into_iter().for_each(|record| accumulator.push(record));
    let summary = accumulator.finish();
    let csv = isobench_report::export::csv(&run, &summary);
    let rows: Vec<&str> = csv.lines().collect();
    let of = |parts: [&str; 3]| rows.iter().filter(|row| parts.iter().all(|part| row.contains(part))).count();
    // Twelve rows, three policies, seven rates.
    assert_eq!(of([",open_loop,", ",rate,", ",p50,"]), 12 * 3 * 7);
    assert_eq!(of([",open_loop,late,", ",warm:2,", ",share,"]), 12 * 7);
    assert_eq!(of(["wasmtime,pooling", ",burst,all,", ",256,"]), 1);
    assert_eq!(of(["wasmtime,pooling", ",density,start,", ",ns,"]), 9);
    let markdown = isobench_report::export::markdown(&run, &summary);
    assert!(markdown.contains(" warm:2 |") && markdown.contains(" density |"), "{markdown}");
    assert!(markdown.contains("320 (failed start)"), "{markdown}");
}

#[test]
fn starters_are_in_the_flat_formats_and_have_logs() {
    let (run, records) = fixture::starts::run();
    let summary = summarise(&run, &records);
    let csv = export::csv(&run, &summary);
    let of = |parts: &[&str]| csv.lines().filter(|row| parts.iter().all(|part| row.contains(part))).count();
    assert_eq!(of(&["wasmtime,pooling", ",starts,rate,", ",together,", ",starts/s,"]), 4);
    assert_eq!(of(&["wasmtime,pooling", ",starts,efficiency,", ",ratio,"]), 4);
    assert_eq!(of(&["wasmtime,pooling", ",starts,total,", ",beside,8,", ",p99,"]), 1);
    assert_eq!(of(&["wasmtime,pooling", ",starts,destroy,", ",p50,"]), 8);
    let markdown = export::markdown(&run, &summary);
    assert!(markdown.contains(" starts |") && markdown.contains("at once)"), "{markdown}");

    let mut collector = hdr_log::Collector::default();
    let blocks = (0..3).map(|block| BlockRecord { block, at_unix_ms: 1_795_270_000_000, ..BlockRecord::default() });
    records.into_iter().chain(blocks.map(Record::Block)).for_each(|record| collector.push(record));
    let logs = collector.finish(&run).logs;
    let log = logs.iter().find(|log| log.name.contains("pooling.wasm") && log.name.ends_with("starts-beside-8.hlog"));
    assert_eq!(intervals(&log.unwrap().text).len(), 3);
}

/// What a guest, a workload's author or the maker of a run folder may put into text: a title for the terminal, colours, NUL, a
/// right-to-left override, a second line, markup.
const HOSTILE: &str = "\u{1b}]0;pwn\u{7}\u{1b}[31m\0\u{202e}\u{2066}\n## new | `x` <script>alert(1)</script>";

/// Markdown without its code, in which nothing is a tag, and without what is escaped.
fn outside_code(markdown: &str) -> String {
    let lines = markdown.lines().filter(|line| !line.starts_with("    ")).collect::<Vec<_>>().join("\n");
    lines.replace("\\<", "").replace("\\`", "").split('`').step_by(2).collect()
}

#[test]
fn hostile_text_is_escaped_in_every_format() {
    let (mut run, records) = fixture::run(1);
    run.id += HOSTILE;
    run.command.push(HOSTILE.into());
    run.machine.cpu += HOSTILE;
    run.absent[0].reason += HOSTILE;
    run.stopped_early = Some(HOSTILE.into());
    for workload in &mut run.workloads {
        workload.summary += HOSTILE;
    }
    for cell in &mut run.cells {
        cell.faults.iter_mut().for_each(|fault| fault.fault.message = HOSTILE.into());
        cell.cell.workload += HOSTILE;
    }
    let summary = summarise(&run, &records);
    let options = isobench_report::html::PageOptions {
        samples_href: "s".into(),
        run_href: "r".into(),
        index_href: "i".into(),
        truncated: None,
    };
    let page = isobench_report::html::page(&run, &summary, &options);
    let texts = [
        ("csv", export::csv(&run, &summary)),
        ("md", export::markdown(&run, &summary)),
        ("github", export::github(&run, &summary, 0)),
        ("html", page),
        ("terminal", isobench_report::terminal::table(&run, &summary, false, Some(120))),
        ("a line", isobench_report::terminal::progress_line(&run.cells[0].cell, None, None, HOSTILE)),
    ];
    for (format, text) in &texts {
        let hostile = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{2069}').contains(&c);
        let found = text.char_indices().find(|(_, c)| hostile(*c));
        assert_eq!(found.map(|(at, c)| (c, &text[at.saturating_sub(40)..at])), None, "{format}");
        assert!(text.contains("u{1b}") && text.contains("u{202e}"), "{format}: it is visible, not gone");
        // A quoted field of CSV may have lines, and a browser shows a line end as a space.
        if !["csv", "html"].contains(format) {
            assert!(!text.contains("\n## new"), "{format}: a message stays one line");
        }
        if ["md", "github"].contains(format) {
            assert!(!outside_code(text).contains("<script>"), "{format}");
        }
        assert!(*format != "html" || !text.contains("<script>"));
    }
    let coloured = isobench_report::terminal::table(&run, &summary, true, Some(120));
    assert!(!coloured.contains("\u{1b}]") && !coloured.contains('\u{202e}') && !coloured.contains("\u{1b}[31m\0"));
}
