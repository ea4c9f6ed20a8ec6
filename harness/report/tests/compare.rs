//! Comparisons of synthetic runs: the words, the gate, what is refused, and how they look as text, Markdown and page.

#[allow(dead_code, reason = "each test program uses a part of it")]
mod fixture;

use isobench_core::Availability;
use isobench_core::record::Record;
use isobench_core::run::{CellEntry, Configuration, RunFile};
use isobench_core::whole::Completeness;
use isobench_core::words::{Cell, Flag, Guest, Side};
use isobench_report::Report;
use isobench_report::compare::{self, Compared, Gate, Incomparable, Judged, Limits};
use isobench_report::html::{PageOptions, compare_page, page};
use isobench_stats::compare::{Row, Unit, Word};
use isobench_stats::{Accumulator, Metric, Summary};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use scraper::{ElementRef, Html, Selector};
use std::sync::LazyLock;

/// The cells of these runs, all of `echo`, and a second workload for one of them.
const CELLS: [&str; 6] = [
    "process/spawn/native/echo/0b",
    "v8/fresh/js/echo/0b",
    "v8/fresh/js/json/small",
    "wasmtime/pooling/wasm/echo/0b",
    "docker/runc/wasm/echo/0b",
    "qemu/boot/native/echo/0b",
];

/// A run of twelve blocks (two of QEMU) that differ by up to this share either way; Docker's by as much as makes it noisy. `factor` multiplies a
/// cell's values. V8 and the process have A/A cells.
fn run(seed: u64, noise: f64, factor: impl Fn(&Cell) -> f64) -> (RunFile, Vec<Record>) {
    let (mut run, mut records) = fixture::run(1);
    let early = |record: &Record| !matches!(record, Record::Samples(s) if s.index > 3);
    records.retain(|record| block(record) == 0 && early(record));
    run.id = format!("run-{seed}");
    run.cells.retain(|c| CELLS.contains(&c.cell.to_string().as_str()));
    let twins =
        run.cells.iter().filter(|c| c.cell.workload == "echo" && ["v8", "process"].contains(&c.cell.backend.as_str()));
    let twins: Vec<_> =
        twins.map(|twin| CellEntry { id: 1000 + twin.id, side: Some(Side::Again), ..twin.clone() }).collect();
    run.cells.extend(twins);
    let of = |entry: &CellEntry| repeated(&records, entry, seed, noise, factor(&entry.cell));
    let records = run.cells.iter().flat_map(of).collect();
    (run, records)
}

/// The first block of the fixture's cell, again and again.
fn repeated(records: &[Record], entry: &CellEntry, seed: u64, noise: f64, factor: f64) -> Vec<Record> {
    let (blocks, noise) = match entry.cell.backend.as_str() {
        "qemu" => (2, noise),
        "docker" => (12, 0.9),
        _ => (12, noise),
    };
    let one = |number: u32| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed * 1_000_003 + u64::from(entry.id) * 1009 + u64::from(number));
        let level = factor * (1.0 + noise * rng.random_range(-1.0..1.0));
        let of = records.iter().filter(|record| record.cell() == entry.id % 1000);
        of.map(|record| scaled(record, entry.id, number, level)).collect::<Vec<Record>>()
    };
    (0..blocks).flat_map(one).collect()
}

fn block(record: &Record) -> u32 {
    match record {
        Record::Samples(s) => s.block,
        Record::Histogram(h) => h.block,
        Record::Block(b) => b.block,
        _ => 0,
    }
}

fn scaled(record: &Record, cell: u32, block: u32, level: f64) -> Record {
    let mut record = record.clone();
    match &mut record {
        Record::Samples(s) => {
            (s.cell, s.block) = (cell, block);
            s.values.iter_mut().for_each(|v| *v = (*v as f64 * level) as u64);
        }
        Record::Histogram(h) => {
            (h.cell, h.block) = (cell, block);
            h.elapsed_ns = (h.elapsed_ns as f64 * level) as u64;
        }
        Record::Block(b) => (b.cell, b.block) = (cell, block),
        _ => {}
    }
    record
}

fn report((run, records): (RunFile, Vec<Record>)) -> Report {
    let mut accumulator = Accumulator::new(&run);
    records.into_iter().for_each(|record| accumulator.push(record));
    let summary = accumulator.finish();
    report_of(run, summary)
}

fn report_of(run: RunFile, summary: Summary) -> Report {
    Report { run, summary, completeness: Completeness::default() }
}

/// Whether it is that one's cell.
fn is(cell: &Cell, backend: &str, guest: Guest) -> bool {
    cell.backend == backend && cell.guest == guest
}

/// V8's scripts became 12 % slower and its memory larger, Wasmtime 30 % faster; the machine got a new kernel.
fn pair() -> (Report, Report) {
    static PAIR: LazyLock<[(RunFile, Summary); 2]> = LazyLock::new(|| {
        let (base, new) = make_pair();
        [base, new].map(|report| (report.run, report.summary))
    });
    let [base, new] = PAIR.each_ref().map(|(run, summary)| report_of(run.clone(), summary.clone()));
    (base, new)
}

fn make_pair() -> (Report, Report) {
    let base = report(run(1, 0.03, |_| 1.0));
    let mut new = report(run(2, 0.03, |cell| match cell {
        c if is(c, "v8", Guest::Js) => 1.12,
        c if c.backend == "wasmtime" => 0.7,
        _ => 1.0,
    }));
    new.run.machine.kernel = "6.12.0".into();
    new.run.machine.mitigations.insert("retbleed".into(), "Mitigation: untrained return thunk".into());
    (base, new)
}

/// With every incomparable cell left out.
fn runs(base: &Report, new: &Report, wanted: &dyn Fn(&Cell) -> bool) -> Compared {
    Compared::runs(base, new, wanted, Incomparable::LeaveOut)
}

fn everything(_: &Cell) -> bool {
    true
}

fn word(compared: &Compared, backend: &str, guest: Guest, metric: Metric) -> Word {
    let of = |row: &&isobench_stats::compare::Row| {
        is(&row.cell, backend, guest) && row.metric == metric && row.cell.workload == "echo"
    };
    compared.comparison.rows.iter().find(of).unwrap().word
}

fn all<'a>(html: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    html.select(&Selector::parse(selector).unwrap()).collect()
}

fn text(element: ElementRef) -> String {
    element.text().flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_word_where_it_belongs() {
    let (base, new) = pair();
    let compared = runs(&base, &new, &everything);
    let word = |backend, guest, metric| word(&compared, backend, guest, metric);
    for metric in Metric::ALL {
        assert_eq!(word("v8", Guest::Js, metric), Word::Worse, "{metric}");
    }
    assert_eq!(word("wasmtime", Guest::Wasm, Metric::ColdStart), Word::Better);
    assert_eq!(word("process", Guest::Native, Metric::WarmCall), Word::NoClearDifference);
    assert_eq!(word("docker", Guest::Wasm, Metric::WarmCall), Word::TooNoisy);
    assert_eq!(word("qemu", Guest::Native, Metric::ColdStart), Word::TooFewBlocks);
    let rows = &compared.comparison.rows;
    assert!(
        rows.iter()
            .all(|row| !row.word.is_difference() || is(&row.cell, "v8", Guest::Js) || row.cell.backend == "wasmtime")
    );
    assert!(
        rows.windows(2).all(|pair| pair[0].word.is_difference() || !pair[1].word.is_difference()),
        "differences first"
    );
    assert!(rows.iter().all(|row| row.floor.is_some()), "the floor of other rows is the largest of their metric");
}

#[test]
fn noise_makes_words_noisy_and_not_wrong() {
    let (base, _) = pair();
    // Something else ran all the while: everything slower alike, so that no test over blocks can tell.
    let (mut new, records) = run(2, 0.03, |_| 1.5);
    assert!(!runs(&base, &report((new.clone(), records.clone())), &everything).regressions(5.0).is_empty());
    new.cells.iter_mut().for_each(|cell| cell.flags.push(Flag::Noisy));
    let new = report((new, records));
    let compared = runs(&base, &new, &everything);
    for row in &compared.comparison.rows {
        assert!(!row.word.is_difference(), "{} {}: {:?}", row.cell, row.metric, row.word);
    }
    assert!(compared.regressions(0.0).is_empty());
}

#[test]
fn the_gate_fails_where_the_verdict_is_worse_by_more_than_asked() {
    let (base, new) = pair();
    let compared = runs(&base, &new, &everything);
    let failed = compared.regressions(5.0);
    assert!(!failed.is_empty() && failed.iter().all(|row| is(&row.cell, "v8", Guest::Js)), "{failed:?}");
    assert!(compared.regressions(30.0).is_empty());
    let (gate, lines) = compare::gate(&compared, over(5.0));
    assert_eq!(gate, Gate::Failed);
    assert!(lines[0].starts_with("Gate failed: 6 rows are over 5.0"), "{}", lines[0]);
    assert!(lines[1..].iter().any(|l| l.contains("v8/fresh/js/echo/0b") && l.contains("larger")), "{lines:?}");
    let (gate, lines) = compare::gate(&compared, over(30.0));
    assert!(gate == Gate::Holds && lines[0].starts_with("Gate holds"));
    assert!(runs(&new, &base, &everything).regressions(30.0).iter().all(|row| row.cell.backend == "wasmtime"));
}

/// A gate that any judged row satisfies.
fn over(percent: f64) -> Limits {
    Limits { percent, judged: Judged::Some }
}

#[test]
fn a_gate_may_ask_how_many_rows_are_judged() {
    let (base, new) = pair();
    let compared = runs(&base, &new, &everything);
    let both = |row: &&Row| row.base.is_some() && row.new.is_some();
    let rows = compared.comparison.rows.iter().filter(both).count();
    let judged = compared.comparison.rows.iter().filter(both).filter(|row| row.word.is_judged()).count();
    assert!(judged > 0 && judged < rows, "{judged} of {rows}");
    let found = |judged| compare::gate(&compared, Limits { percent: 30.0, judged });
    assert_eq!(found(Judged::AtLeast(judged)).0, Gate::Holds);
    assert_eq!(found(Judged::AtLeast(judged + 1)).0, Gate::TooFewJudged);
    let (gate, lines) = found(Judged::All);
    assert_eq!(gate, Gate::TooFewJudged);
    assert!(lines[0].contains(&format!("{judged} of {rows} rows could be judged, and {rows} must be")), "{lines:?}");
    assert!(lines.len() > 1 && lines[1].contains("for example"), "{lines:?}");
    assert_eq!(compare::gate(&compared, Limits { percent: 5.0, judged: Judged::All }).0, Gate::Failed);
}

#[test]
fn a_gate_that_could_judge_no_row_does_not_hold() {
    let few = |seed, factor: f64| {
        let (run, mut records) = run(seed, 0.03, |_| factor);
        records.retain(|record| block(record) < 2);
        report((run, records))
    };
    let (gate, lines) = compare::gate(&runs(&few(1, 1.0), &few(2, 10.0), &everything), over(5.0));
    assert_eq!(gate, Gate::Unknown);
    assert!(lines[0].contains("0 of ") && lines[0].contains("--budget"), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("of the 8 blocks that the test needs")), "{lines:?}");
}

#[test]
fn what_makes_numbers_incomparable_leaves_out_the_cells_it_concerns() {
    let (base, mut new) = pair();
    assert_eq!(runs(&base, &new, &everything).left_out, [], "another kernel is told, and keeps nothing out");
    for workload in new.run.workloads.iter_mut().filter(|w| w.name == "json") {
        workload.guests.insert(Guest::Js, "0123456789abcdef".into());
    }
    let compared = runs(&base, &new, &everything);
    let groups = compared.left_out_by_reason();
    assert_eq!((groups.len(), groups[0].1.len(), compared.refusal()), (1, 1, None));
    assert!(groups[0].0.starts_with("js guest of json differs"), "{groups:?}");
    assert!(compared.comparison.rows.iter().all(|row| row.cell.workload != "json"));
    for said in [compare::text(&compared, false, None), compare::markdown(&compared), compare_page(&compared)] {
        assert!(said.contains("left out as not comparable") && said.contains("v8/fresh/js/json/small"), "{said}");
    }
    let refusal = runs(&base, &new, &|cell| cell.workload == "json").refusal().unwrap();
    assert!(
        refusal.contains("js guest of json") && refusal.contains("--anyway") && refusal.contains("run-2"),
        "{refusal}"
    );
    let compared = runs(&base, &new, &|cell| cell.workload != "json");
    assert_eq!(compared.left_out, [], "cells that are not wanted are not left out");

    for entry in new.run.backends.iter_mut().filter(|b| b.description.backend == "v8") {
        let Availability::Available { emulated, .. } = &mut entry.availability else { panic!() };
        *emulated = true;
    }
    assert!(runs(&base, &new, &everything).left_out.iter().all(|cell| cell.backend == "v8"));
    new.run.machine.cpu = "Another".into();
    let refusal = runs(&base, &new, &everything).refusal().unwrap();
    assert!(refusal.contains("processor: ") && refusal.contains("v8: processor of the guests: real"), "{refusal}");
    let compared = Compared::runs(&base, &new, &everything, Incomparable::Mark);
    assert!(compared.differences[..3].iter().all(|d| d.grave) && !compared.differences[3].grave);
    assert!(compared.refusal().is_none() && compared.left_out.is_empty());
    let rows = &compared.comparison.rows;
    assert!(rows.iter().all(|row| compared.grave(&row.cell).next().is_some()), "another processor concerns every row");
    // Marked in every row of every form.
    let html = Html::parse_document(&compare_page(&compared));
    assert!(all(&html, ".pair[data-row]").iter().all(|pair| text(*pair).contains("≠ processor")));
    let rows_of =
        |text: &str| text.lines().filter(|l| l.contains("v8/fresh/js/echo")).map(str::to_string).collect::<Vec<_>>();
    assert!(
        rows_of(&compare::markdown(&compared))
            .iter()
            .filter(|l| l.starts_with("| `"))
            .all(|l| l.contains("≠ processor"))
    );
    assert!(rows_of(&compare::text(&compared, false, Some(140))).iter().all(|l| l.contains('≠')));
}

#[test]
fn another_machine_or_day_is_told_first() {
    let (mut base, mut new) = pair();
    let told = |base: &Report, new: &Report| runs(base, new, &everything).setting.join(" ");
    assert!(told(&base, &new).starts_with("It cannot be told whether"), "{}", told(&base, &new));
    new.run.machine.memory_bytes *= 2;
    assert!(told(&base, &new).starts_with("The runs were made on two machines"));
    base.run.machine.id = Some("0123456789abcdef".into());
    new.run.machine.id = base.run.machine.id.clone();
    assert_eq!(told(&base, &new), "", "one machine, with more memory");
    new.run.machine.id = Some("fedcba9876543210".into());
    new.run.started_unix_ms += 9 * 86_400_000;
    let compared = runs(&base, &new, &everything);
    assert!(compared.setting[0].contains("two machines") && compared.setting[1].contains("9 days apart"));
    for said in [compare::text(&compared, false, None), compare::markdown(&compared), compare_page(&compared)] {
        let (setting, environment) = (said.find("two machines").unwrap(), said.find("retbleed").unwrap());
        assert!(setting < environment && said.contains("9 days apart"), "{said}");
    }
}

#[test]
fn a_run_that_only_one_side_has_is_told_with_the_reason() {
    let (base, mut new) = pair();
    new.summary.cells.retain(|cell| cell.cell.backend != "qemu");
    let compared = runs(&base, &new, &everything);
    let sides = compared.comparison.rows.iter().filter(|row| row.word == Word::OneSided);
    assert!(
        sides.clone().count() > 0 && sides.clone().all(|row| row.why == "new: has no such cell" && row.new.is_none())
    );
    let turned = runs(&new, &base, &everything);
    assert!(turned.comparison.rows.iter().any(|row| row.why == "base: has no such cell" && row.base.is_none()));
}

#[test]
fn text_and_markdown() {
    let (base, new) = pair();
    let compared = runs(&base, &new, &everything);
    insta::assert_snapshot!("compare_text", compare::text(&compared, false, Some(120)));
    let narrow = compare::text(&compared, false, Some(80));
    assert!(narrow.lines().filter(|l| l.starts_with(['│', '╭', '╞'])).all(|l| l.chars().count() <= 80), "{narrow}");
    insta::assert_snapshot!("compare_markdown", compare::markdown(&compared));
    let same = runs(&base, &base, &everything);
    let text = compare::text(&same, false, None);
    assert!(
        text.contains("Nothing that isobench records differs") && text.contains("No difference can be called one"),
        "{text}"
    );
}

#[test]
fn the_page_has_every_row_its_numbers_and_a_drawing() {
    let (base, new) = pair();
    let compared = runs(&base, &new, &everything);
    let source = compare_page(&compared);
    // Kept between test runs, so that a person can open the page and look at it.
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("compare");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("index.html"), &source).unwrap();
    let html = Html::parse_document(&source);
    assert!(all(&html, "script, link, img, iframe, object").is_empty() && !source.contains("http"));
    let rows = all(&html, ".pair[data-row]");
    assert_eq!(rows.len(), compared.comparison.rows.len());
    let slower = text(all(&html, ".pair[data-row='v8/fresh/js/echo/0b'][data-metric='cold start']")[0]);
    insta::assert_snapshot!(slower);
    let open = all(&html, ".pair[data-row]")
        .iter()
        .filter(|p| p.ancestors().all(|a| a.value().as_element().is_none_or(|e| e.name() != "details")))
        .count();
    assert_eq!(open, compared.comparison.rows.iter().filter(|row| row.word.is_difference()).count());
    for fold in all(&html, "details:not(:has(table.floors))") {
        let said = text(all(&Html::parse_fragment(&fold.html()), "summary")[0]);
        let pairs = fold.select(&Selector::parse(".pair[data-row]").unwrap()).count();
        assert!(said.ends_with(&format!(": {pairs}")), "{said}");
    }
    assert!(all(&html, "svg.ratio[role=img]").iter().all(|svg| svg.attr("aria-label").is_some()));
    assert!(text(all(&html, "table.environment")[0]).contains("retbleed"));
    assert_eq!(all(&html, "table.floors tbody tr").len(), compared.comparison.floors.len());
    assert!(!source.contains("NaN") && !source.contains("inf%"));
}

/// The run with each of its cells on two sides.
fn sides() -> Report {
    let (mut run, records) = run(1, 0.03, |_| 1.0);
    run.plan.configurations = [(Side::A, "before"), (Side::B, "after")]
        .map(|(side, name)| Configuration {
            side,
            name: name.into(),
            env: [("ISOBENCH_KERNEL".to_string(), name.to_string())].into(),
            programs: None,
        })
        .into();
    let mut all = records;
    let originals: Vec<CellEntry> = run.cells.iter().filter(|c| c.side.is_none()).cloned().collect();
    let (_, fixture) = fixture::run(1);
    let first: Vec<Record> = fixture.into_iter().filter(|record| block(record) == 0).collect();
    for entry in originals {
        let factor = if entry.cell.backend == "process" { 1.2 } else { 1.0 };
        let b = CellEntry { id: 2000 + entry.id, side: Some(Side::B), ..entry };
        all.extend(repeated(&first, &b, 3, 0.03, factor));
        run.cells.push(b);
    }
    run.cells.iter_mut().filter(|c| c.side.is_none()).for_each(|c| c.side = Some(Side::A));
    report((run, all))
}

#[test]
fn an_ab_run_compares_its_sides_and_its_tables_show_a() {
    let report = sides();
    let compared = Compared::sides(&report.run, &report.summary, &everything).unwrap();
    assert!(compared.comparison.unit == Unit::Turns && compared.base.name == "before" && compared.new.name == "after");
    assert_eq!(compared.differences.len(), 1);
    assert_eq!(compared.differences[0].what, "ISOBENCH_KERNEL");
    let slower: Vec<_> = compared.regressions(5.0).iter().map(|row| row.cell.backend.clone()).collect();
    assert!(!slower.is_empty() && slower.iter().all(|backend| backend == "process"), "{slower:?}");

    let options = PageOptions {
        samples_href: "samples.jsonl".into(),
        run_href: "run.json".into(),
        index_href: "index.html".into(),
        truncated: None,
    };
    let html = Html::parse_document(&page(&report.run, &report.summary, &options));
    assert_eq!(all(&html, "table.headline tbody tr[data-row]").len(), 5, "one row a cell, whatever its sides");
    assert_eq!(all(&html, "#ab .pair[data-row]").len(), compared.comparison.rows.len());
    let terminal = isobench_report::terminal::table(&report.run, &report.summary, false, Some(120));
    assert!(terminal.contains("A against B") && terminal.contains("slower"), "{terminal}");
    assert_eq!(Compared::sides(&pair().0.run, &pair().0.summary, &everything).map(|c| c.outcome()), None);
}

#[test]
fn a_run_tells_its_noise_floor_and_what_it_could_have_found() {
    let (run, records) = run(1, 0.03, |_| 1.0);
    let report = report((run, records));
    let options = PageOptions {
        samples_href: "samples.jsonl".into(),
        run_href: "run.json".into(),
        index_href: "index.html".into(),
        truncated: None,
    };
    let html = Html::parse_document(&page(&report.run, &report.summary, &options));
    assert!(all(&html, "table.headline tbody tr[data-row]").len() == 5, "a twin is no row");
    assert!(!all(&html, "table.floors tbody tr").is_empty() && !all(&html, "table.detectable tbody tr").is_empty());
    let caveats = text(all(&html, ".caveats")[0]);
    assert!(caveats.contains("Identical things, measured twice, differed by up to"), "{caveats}");
}
