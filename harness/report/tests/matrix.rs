//! Boundaries × engines and ladders, on synthetic runs whose costs are known.

mod fixture;

use isobench_core::record::Record;
use isobench_core::run::RunFile;
use isobench_core::store::RunDir;
use isobench_report::html::{PageOptions, matrix_page, page};
use isobench_report::matrix::{matrices, sentences};
use isobench_report::{export, ladders, rows, terminal};
use isobench_stats::{Accumulator, Metric, Spread, Summary};
use scraper::{ElementRef, Html, Selector};
use std::path::Path;

fn summarise(run: &RunFile, records: &[Record]) -> Summary {
    let mut accumulator = Accumulator::new(run);
    records.iter().for_each(|record| accumulator.push(record.clone()));
    accumulator.finish()
}

fn matrix_run() -> (RunFile, Summary) {
    let (run, records) = fixture::matrix::run();
    let summary = summarise(&run, &records);
    (run, summary)
}

fn ladder_run() -> (RunFile, Summary) {
    let (run, records) = fixture::matrix::ladder();
    let summary = summarise(&run, &records);
    (run, summary)
}

fn all<'a>(html: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    html.select(&Selector::parse(selector).unwrap()).collect()
}

fn text(element: ElementRef) -> String {
    element.text().flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

fn index_page(run: &RunFile, summary: &Summary) -> Html {
    let options = PageOptions {
        samples_href: "samples.jsonl".into(),
        run_href: "run.json".into(),
        index_href: "../index.html".into(),
        truncated: None,
    };
    Html::parse_document(&page(run, summary, &options))
}

#[test]
fn rows_are_boundaries_and_columns_engines() {
    let (run, summary) = matrix_run();
    let matrices = matrices(&run, &summary);
    assert_eq!(matrices.len(), 1);
    let columns: Vec<String> = matrices[0].columns.iter().map(|column| column.title()).collect();
    assert_eq!(
        columns,
        ["native", "js on v8", "js on quickjs", "wasm on wasmtime", "wasm on v8", "wasm on winch"],
        "the usual engine first, the others in the order of backends"
    );
    let rows: Vec<&str> = matrices[0].rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(rows, ["bare", "process/spawn", "bwrap/namespaces", "docker/runc", "firecracker/boot", "qemu/boot"]);
    let why = |row: usize, column: usize| matrices[0].rows[row].places[column].as_ref().unwrap_err().as_str();
    assert!(why(0, 0).starts_with("runs in a process at least"));
    assert_eq!(why(2, 5), "its agent is not built: `make build`");
    assert_eq!(why(3, 2), "wrong_answer: the answer differs from byte 17 on");
    assert_eq!(why(4, 3), "`/dev/kvm` is absent");
    let (mut other, _) = matrix_run();
    other.plan.matrix = false;
    assert!(isobench_report::matrix::matrices(&other, &summary).is_empty() && matrix_page(&other, &summary).is_none());
}

#[test]
fn a_boundary_adds_what_was_put_on() {
    let (run, summary) = matrix_run();
    let matrix = &matrices(&run, &summary)[0];
    let added = |row, column, metric| matrix.added(row, column, metric).unwrap();
    // Docker adds 320 ms, and V8 7 ms more to start.
    let docker = added(3, 1, Metric::ColdStart);
    let Some(Spread::Interval { low, high }) = docker.spread else { panic!("{docker:?}") };
    assert!((docker.value / 327e6 - 1.0).abs() < 0.03 && low < 327e6 && 327e6 < high, "{docker:?}");
    assert!((added(1, 3, Metric::WarmCall).value / 9e3 - 1.0).abs() < 0.03);
    assert!((added(1, 3, Metric::Memory).value / (2.6 * 1_048_576.0) - 1.0).abs() < 0.03);
    assert!(matches!(added(2, 1, Metric::ColdStart).spread, Some(Spread::Range { .. })), "four blocks claim nothing");
    // Machine code is held against the process.
    assert!((added(3, 0, Metric::ColdStart).value / (3.2e8 - 7e5) - 1.0).abs() < 0.03);
    assert_eq!((matrix.added(1, 0, Metric::ColdStart), matrix.added(0, 1, Metric::ColdStart)), (None, None));
    let ratio = matrix.of_usual(0, 2, Metric::ColdStart).unwrap();
    assert!((ratio.value / (3.1 / 9.7) - 1.0).abs() < 0.05, "{ratio:?}");
    assert_eq!(matrix.of_usual(0, 1, Metric::ColdStart), None);
}

#[test]
fn the_answer_names_boundaries_and_the_engine_that_changes_them() {
    let (run, summary) = matrix_run();
    let matrix = &matrices(&run, &summary)[0];
    insta::assert_snapshot!("matrix_sentences", sentences(matrix).join("\n"));
    let of = |row| matrix.over_engines(row, Metric::ColdStart).unwrap();
    assert!(of(1).changes && !of(3).changes);
    assert_eq!(matrix.columns[of(1).least.0].title(), "js on quickjs");
}

#[test]
fn no_place_is_blank_and_an_emulated_boundary_is_apart() {
    let (run, summary) = matrix_run();
    let source = matrix_page(&run, &summary).unwrap();
    let html = Html::parse_document(&source);
    assert!(all(&html, "script, link, img, iframe, object").is_empty() && !source.contains("url("));
    assert!(all(&html, "td").into_iter().all(|place| !text(place).is_empty()));
    assert_eq!(all(&html, "tr[data-boundary]").len(), 5);
    let (real, emulated): (Vec<_>, Vec<_>) =
        all(&html, "tr[data-boundary]").into_iter().partition(|row| row.attr("class") != Some("emulated"));
    assert_eq!((real.len(), emulated.len()), (4, 1));
    assert!(text(emulated[0]).starts_with("qemu/boot emulated"), "{}", text(emulated[0]));
    let lead = text(all(&html, ".answer p.lead")[0]);
    assert!(lead.contains("docker/runc 3") && !lead.contains("qemu"), "{lead}");
    let place = all(&html, "td[data-place='docker/runc/js/echo/0b/cold start']");
    assert!(text(place[0]).contains("ms +3"), "{}", text(place[0]));
    let hollow = all(&html, "svg.axis circle.hollow").len();
    assert_eq!(hollow, 6, "six engines behind the emulated boundary");
    assert_eq!(
        all(&html, "svg.axis circle").len(),
        5 + 5 + 5 + hollow,
        "the base, the absent and the failed have none"
    );
}

#[test]
fn tables_show_unusual_engines_and_the_answer_does_not() {
    let (run, summary) = matrix_run();
    let html = index_page(&run, &summary);
    assert!(all(&html, "a").iter().any(|a| a.attr("href") == Some("matrix.html")));
    let rows: Vec<_> =
        all(&html, "table.headline tr[data-row]").iter().filter_map(|row| row.attr("data-row")).collect();
    assert!(rows.contains(&"process/spawn/js+quickjs") && rows.contains(&"process/spawn/js"), "{rows:?}");
    let said = all(&html, ".answer > p").into_iter().map(text).collect::<Vec<_>>().join(" ");
    assert!(
        said.contains("With the same script") && said.contains("V8 isolate") && !said.contains("quickjs"),
        "{said}"
    );
    let csv = export::csv(&run, &summary);
    assert!(csv.contains(",process,spawn,js,quickjs,echo,0b,"), "{csv}");
    assert!(export::markdown(&run, &summary).contains("| js+quickjs |"));
    insta::assert_snapshot!("terminal_matrix", {
        let table = terminal::table(&run, &summary, false, Some(110));
        table[table.find("Boundaries").unwrap()..].to_string()
    });
}

#[test]
fn a_ladder_says_what_each_rung_costs_and_keeps() {
    let (run, summary) = ladder_run();
    let tables = rows::tables(&run, &summary);
    let ladders = ladders::ladders(&run, &tables[0]);
    let names: Vec<_> = ladders.iter().map(|ladder| (ladder.backend, ladder.rungs.len())).collect();
    assert_eq!(names, [("v8", 4), ("wasmtime", 2)], "a process with one rung is no ladder");
    let kept: Vec<Option<f64>> =
        ladders[0].rungs.iter().map(|rung| rung.kept.map(|kept| (kept.value / 1_048_576.0).round())).collect();
    assert_eq!(kept, [None, Some(0.0), Some(2.0), Some(18.0)]);
    insta::assert_snapshot!(
        "ladder_sentences",
        ladders.iter().filter_map(ladders::sentence).collect::<Vec<_>>().join("\n")
    );
    let html = index_page(&run, &summary);
    assert_eq!(all(&html, "#ladders").len(), 1);
    let rungs: Vec<String> = all(&html, ".rung[data-rung]").into_iter().map(text).collect();
    assert_eq!(rungs.len(), 6);
    assert!(
        rungs[3].contains("pool") && rungs[3].contains("Shared: the process") && rungs[3].contains("Kept ready: +18"),
        "{}",
        rungs[3]
    );
    assert!(rungs[0].contains("Kept ready: the least of these 20"), "{}", rungs[0]);
}

#[test]
fn what_keeps_nothing_ready_says_so() {
    let (run, mut records) = fixture::matrix::ladder();
    for record in &mut records {
        if let Record::Samples(samples) = record
            && samples.experiment == isobench_core::Experiment::Footprint
        {
            samples.values.fill(0);
        }
    }
    let page = text(all(&index_page(&run, &summarise(&run, &records)), "main")[0]);
    assert!(page.contains("Kept ready: nothing") && page.contains("keeps as much in memory"), "{page}");
    for nonsense in ["0 B in all", "0 B less", "0 B more", "+0 B", "−0 B"] {
        assert!(!page.contains(nonsense), "{nonsense}: {page}");
    }
}

#[test]
fn without_a_footprint_the_page_says_so() {
    let (run, mut records) = fixture::matrix::ladder();
    records.retain(|record| !matches!(record, Record::Samples(samples) if samples.metric == "pss"));
    let html = index_page(&run, &summarise(&run, &records));
    assert!(text(all(&html, "main")[0]).contains("What is kept ready was not read in this run"));
    let (run, records) = fixture::run(1);
    assert!(all(&index_page(&run, &summarise(&run, &records)), "#ladders").is_empty(), "no second rung, no ladder");
}

#[test]
fn pages_are_written_beside_each_other() {
    // Kept between test runs, so that a person can open the pages and look at them.
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("matrix");
    let _ = std::fs::remove_dir_all(&root);
    let write = |name: &str, run: &RunFile, records: &[Record]| {
        let dir = RunDir::new(root.join("results").join(name));
        dir.write_run(run).unwrap();
        dir.writer().unwrap().append(records).unwrap();
        let report = isobench_report::read_partial(&dir).unwrap();
        isobench_report::write(&report, &dir, &root.join("reports")).unwrap().parent().unwrap().to_path_buf()
    };
    let (run, records) = fixture::matrix::run();
    assert!(write("matrix", &run, &records).join("matrix.html").exists());
    let (run, records) = fixture::matrix::ladder();
    assert!(!write("ladder", &run, &records).join("matrix.html").exists());
}
