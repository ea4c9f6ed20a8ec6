//! The page, the index, the files and the terminal, from a synthetic run.

mod fixture;

use isobench_core::record::Record;
use isobench_core::run::{Order, RunFile};
use isobench_core::store::RunDir;
use isobench_core::words::{Experiment, Flag};
use isobench_report::html::{IndexEntry, PageOptions, index, page};
use isobench_stats::summary::Flagged;
use isobench_stats::{Accumulator, Summary, Verdict};
use scraper::{ElementRef, Html, Selector};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn summarise(run: &RunFile, records: Vec<Record>) -> Summary {
    let mut accumulator = Accumulator::new(run);
    records.into_iter().for_each(|record| accumulator.push(record));
    accumulator.finish()
}

fn options() -> PageOptions {
    PageOptions {
        samples_href: "../../results/x/samples.jsonl".into(),
        run_href: "../../results/x/run.json".into(),
        index_href: "../index.html".into(),
        truncated: None,
    }
}

fn rendered(run: &RunFile, records: Vec<Record>) -> Html {
    Html::parse_document(&page(run, &summarise(run, records), &options()))
}

fn all<'a>(html: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    html.select(&Selector::parse(selector).unwrap()).collect()
}

fn text(element: ElementRef) -> String {
    element.text().flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_model_has_a_row_with_its_numbers_and_verdict() {
    let (run, records) = fixture::run(1);
    let html = rendered(&run, records);
    let rows = all(&html, "table.headline tbody tr[data-row]");
    assert_eq!(rows.len(), 12);
    for model in ["process", "isolate", "wasm", "container", "microvm"] {
        assert!(rows.iter().any(|row| row.attr("data-model") == Some(model)), "{model}");
    }
    let first = text(rows[0]);
    assert!(first.contains("wasmtime/pooling") && first.contains("µs") && first.contains("8.4 KiB"), "{first}");
    assert!(first.contains("few (memory)") && first.contains("module compiled"), "{first}");
    let slowest = text(rows[11]);
    assert!(slowest.contains("qemu/boot") && slowest.contains("emulated"), "{slowest}");
}

#[test]
fn emulated_rows_stand_below_all_others_under_a_heading() {
    let (run, records) = fixture::run(1);
    let html = rendered(&run, records.clone());
    for table in ["table.headline", "table.cells"] {
        let table = all(&html, table)[0];
        let rows: Vec<ElementRef> = table.select(&Selector::parse("tbody tr").unwrap()).collect();
        let heading = rows.iter().position(|row| row.attr("class") == Some("group")).expect("a heading");
        assert!(text(rows[heading]).starts_with("emulated: not comparable with the rows above"));
        let emulated = |row: &ElementRef| row.attr("class") == Some("emulated");
        assert!(!rows[..heading].iter().any(emulated) && rows[heading + 1..].iter().all(emulated));
        assert!(heading > 0 && rows.len() > heading + 1);
    }
    let summary = summarise(&run, records);
    let csv = isobench_report::export::csv(&run, &summary);
    let emulated: Vec<bool> = csv.lines().skip(1).map(|line| line.contains("emulated")).collect();
    assert!(emulated.is_sorted() && emulated.contains(&true));
    for said in [
        isobench_report::terminal::table(&run, &summary, false, Some(120)),
        isobench_report::export::markdown(&run, &summary),
    ] {
        let (real, emulated) = said.split_once(isobench_report::rows::EMULATED).unwrap();
        let row = |part: &str, name: &str| part.lines().any(|l| l.starts_with(['│', '|']) && l.contains(name));
        assert!(!row(real, "qemu/boot") && row(emulated, "qemu/boot"), "{said}");
    }
}

#[test]
fn few_blocks_are_never_ok_and_show_two_digits() {
    let (run, records) = fixture::run(1);
    let few = summarise(&run, records.into_iter().filter(|record| record.block() < 3).collect());
    for cell in few.cells.iter().filter(|cell| cell.fault().is_none() && cell.blocks > 0) {
        assert!(cell.has(Flag::Few), "{}: {:?}", cell.cell, cell.verdict);
    }
    for said in
        [isobench_report::terminal::table(&run, &few, false, Some(120)), isobench_report::export::markdown(&run, &few)]
    {
        // Sentences name the row too.
        let is_row = |line: &&str| line.starts_with(['│', '|']) && line.contains("wasmtime/pooling");
        let row = said.lines().find(is_row).unwrap();
        assert!(row.contains(" few") && row.contains(" 4.4 µs"), "{row}");
    }
    assert!(isobench_report::export::csv(&run, &few).contains(",flagged,few,"));
}

#[test]
fn the_first_sentence_answers_with_one_workload_and_one_guest() {
    let (run, records) = fixture::run(1);
    let html = rendered(&run, records);
    let lead = text(all(&html, ".answer p.lead")[0]);
    let start = "With the same Wasm module and code prepared, a Wasm instance ( wasmtime/pooling ) answers its first echo in 4.";
    assert!(lead.starts_with(start), "{lead}");
    assert!(
        lead.contains("times sooner than a process ( process/spawn ,")
            && lead.contains("and ")
            && lead.contains("a container ( docker/runc ,"),
        "{lead}"
    );
    assert!(!lead.contains("V8 isolate"), "V8 compiled inside the clock: {lead}");
    assert!(!lead.contains("microVM"), "an emulated row is in no ratio: {lead}");
    assert!(lead.contains("KiB") && lead.contains("calls a second"), "{lead}");
    let caveats = text(all(&html, ".caveats")[0]);
    assert!(caveats.contains("qemu/boot ran on an emulated processor"), "{caveats}");
    assert!(caveats.contains("firecracker") && caveats.contains("/dev/kvm"), "{caveats}");
    assert!(caveats.contains("1 of 72 cells failed"), "{caveats}");
}

#[test]
fn the_workload_that_was_to_be_measured_in_full_leads() {
    let (mut run, records) = fixture::run(1);
    for entry in &mut run.cells {
        entry.experiments = match entry.cell.workload.as_str() {
            "render" => Experiment::STANDARD.to_vec(),
            _ => vec![Experiment::ColdStart, Experiment::WarmCall],
        };
    }
    let html = rendered(&run, records);
    let lead = text(all(&html, ".answer p.lead")[0]);
    assert!(lead.contains("answers its first render in"), "{lead}");
    assert!(text(all(&html, "table.headline thead th")[0]).contains("render (small)"));
}

#[test]
fn a_page_links_to_the_sections_that_it_has_in_their_order() {
    let (run, records) = fixture::run(1);
    let html = rendered(&run, records);
    let names: Vec<String> = all(&html, "nav a").into_iter().map(text).collect();
    let order = "Cold start, Phases, Distribution, Memory, Throughput, All cells, Noise floor, Errors, Method, Machine, Backends, This run";
    assert_eq!(names.join(", "), order);
    let places: Vec<usize> = all(&html, "[id]")
        .iter()
        .filter_map(|section| {
            names
                .iter()
                .zip(all(&html, "nav a"))
                .position(|(_, a)| a.attr("href") == Some(&format!("#{}", section.attr("id").unwrap())))
        })
        .collect();
    assert!(places.is_sorted() && places.len() == names.len(), "{places:?}");
    let (run, records) = fixture::load::run();
    let names: Vec<String> = all(&rendered(&run, records), "nav a").into_iter().map(text).collect();
    assert_eq!(names.join(", "), "Load, Method, Machine, Backends, This run");
}

#[test]
fn what_scrolls_can_be_reached_by_keyboard_and_has_a_name() {
    let (run, records) = fixture::run(1);
    let html = rendered(&run, records);
    let regions = all(&html, ".scroll, pre");
    assert!(!regions.is_empty());
    for region in regions {
        assert_eq!((region.attr("tabindex"), region.attr("role")), (Some("0"), Some("region")));
        assert!(region.attr("aria-label").is_some_and(|label| !label.is_empty()));
    }
    assert!(all(&html, "th").into_iter().all(|head| !text(head).is_empty()));
}

#[test]
fn where_every_row_is_noisy_none_is_named() {
    let (run, records) = fixture::run(1);
    let mut summary = summarise(&run, records);
    let noisy = || Verdict::Flagged { flags: vec![Flagged { flag: Flag::Noisy, metric: None, why: "as told".into() }] };
    summary.cells.iter_mut().for_each(|cell| cell.verdict = noisy());
    let html = Html::parse_document(&page(&run, &summary, &options()));
    let caveats = text(all(&html, ".caveats")[0]);
    assert!(caveats.contains("Every row has a noisy number") && !caveats.contains("Noisy, so"), "{caveats}");
}

#[test]
fn an_unsettled_cell_shows_both_halves_and_a_disturbed_block_is_counted() {
    let (run, records) = fixture::run(1);
    let html = rendered(&run, records);
    let row = |cell: &str| all(&html, &format!("tr[data-cell='{cell}']"))[0];
    let unstable = text(row("process/spawn/js/json/small"));
    assert!(
        unstable.contains("unstable") && unstable.contains("first half") && unstable.contains("last half"),
        "{unstable}"
    );
    let stable = text(row("process/spawn/js/echo/0b"));
    assert!(!stable.contains("half"), "{stable}");
    let beside = row("docker/runc/wasm/echo/0b");
    let note = beside.select(&Selector::parse("small.disturbed").unwrap()).next().unwrap();
    let why = note.attr("title").unwrap();
    assert!(
        text(beside).contains("noisy") && why.contains("blocks were disturbed: ") && why.contains("pressure"),
        "{why}"
    );
    let caveats = text(all(&html, ".caveats")[0]);
    assert!(caveats.contains("blocks were disturbed: ") && caveats.contains("stay in every figure"), "{caveats}");
}

#[test]
fn the_page_loads_nothing() {
    let (run, records) = fixture::run(1);
    let source = page(&run, &summarise(&run, records), &options());
    let html = Html::parse_document(&source);
    assert!(all(&html, "script, link, img, iframe, object").is_empty());
    for forbidden in ["url(", "@import"] {
        assert!(!source.contains(forbidden), "{forbidden}");
    }
    // The name of SVG's namespace is the one address in it.
    assert_eq!(source.replace("http://www.w3.org/2000/svg", "").find("http"), None);
    let links: Vec<_> = all(&html, "a").iter().filter_map(|a| a.attr("href")).collect();
    assert!(links.contains(&"../../results/x/samples.jsonl"), "{links:?}");
    for link in links.iter().filter_map(|link| link.strip_prefix('#')) {
        assert_eq!(all(&html, &format!("[id='{link}']")).len(), 1, "#{link} leads nowhere");
    }
}

#[test]
fn plots_come_in_two_widths_and_follow_the_theme() {
    let (run, records) = fixture::run(1);
    let source = page(&run, &summarise(&run, records), &options());
    let html = Html::parse_document(&source);
    let (wide, narrow) = (all(&html, ".plot.wide svg"), all(&html, ".plot.narrow svg"));
    assert_eq!(wide.len(), narrow.len());
    // Cold start of six workloads, phases, two distributions, memory, two of throughput.
    assert_eq!(wide.len(), 12);
    for svg in wide.iter().chain(&narrow) {
        assert!(svg.attr("aria-label").is_some_and(|label| !label.is_empty()));
        assert!(!svg.html().contains("=\"#"), "a fixed colour: {}", svg.html());
    }
}

#[test]
fn no_label_is_cut() {
    let (run, records) = fixture::run(1);
    let html = rendered(&run, records);
    for svg in all(&html, ".plot svg") {
        let size: Vec<f64> = svg.attr("viewBox").unwrap().split(' ').map(|v| v.parse().unwrap()).collect();
        for label in svg.select(&Selector::parse("text").unwrap()) {
            let number = |name: &str| label.attr(name).unwrap().parse::<f64>().unwrap();
            let width = text(label).chars().count() as f64 * number("font-size") * 0.6;
            let (left, right) = match label.attr("text-anchor") {
                Some("end") => (number("x") - width, number("x")),
                Some("middle") => (number("x") - width / 2.0, number("x") + width / 2.0),
                _ => (number("x"), number("x") + width),
            };
            let inside = left >= -2.0 && right <= size[2] + 2.0 && number("y") > 4.0 && number("y") < size[3] - 2.0;
            assert!(inside, "{:?} at {left}..{right}, {} of {size:?}", text(label), number("y"));
        }
    }
}

#[test]
fn an_emulated_row_is_hollow_and_named_so() {
    let (run, records) = fixture::run(1);
    let html = rendered(&run, records);
    for svg in all(&html, ".plot svg") {
        let words = text(svg);
        assert!(words.contains("emulated"), "{words}");
        for circle in svg.select(&Selector::parse("circle").unwrap()) {
            let emulated = circle.attr("stroke") == Some("var(--microvm)");
            assert_eq!(circle.attr("fill") == Some("none"), emulated, "{}", circle.html());
        }
    }
}

#[test]
fn under_eight_blocks_no_interval_is_claimed() {
    let (run, records) = fixture::run(1);
    let html = rendered(&run, records);
    for row in all(&html, "table.headline tbody tr[data-row]") {
        let few = ["docker", "qemu"].iter().any(|b| row.attr("data-row").unwrap().starts_with(b));
        assert!(!few || !text(row).contains('['), "{}", text(row));
    }
    let (run, records) = fixture::run(8);
    let html = rendered(&run, records);
    assert!(all(&html, "table.headline tbody tr[data-row]").iter().all(|row| text(*row).contains('[')));
}

#[test]
fn an_error_row_has_a_name_a_reason_and_no_number() {
    let (run, records) = fixture::run(1);
    let html = rendered(&run, records);
    let row = text(all(&html, "tr[data-cell='docker/runc/js/json/small']")[0]);
    assert_eq!(row, "docker/runc js wrong_answer – – – – – – –");
    let errors = text(all(&html, "ul.errors")[0]);
    assert!(
        errors.contains("wrong_answer during cold start, 1 block the answer differs from cases/small.out"),
        "{errors}"
    );
    let missing = text(all(&html, "ul.missing")[0]);
    assert!(missing.contains("firecracker (microvm)") && missing.contains("To have it"), "{missing}");
    assert_eq!(missing.matches("firecracker").count(), 1, "said once: {missing}");
    assert!(missing.contains("wasmtime/pooling/js : runs Wasm modules only"), "{missing}");
}

#[test]
fn first_starts_are_rows_of_their_own() {
    let (run, records) = fixture::run(1);
    let html = rendered(&run, records);
    assert_eq!(all(&html, "tr[data-first]").len(), 18, "v8 with two guests and wasmtime, on six workloads");
}

#[test]
fn a_run_of_criterion_is_marked() {
    let (mut run, records) = fixture::run(1);
    run.plan.order = Order::Sequential;
    let summary = summarise(&run, records);
    assert!(summary.cells.iter().all(|cell| cell.fault().is_some() || cell.has(Flag::Sequential)));
    let html = Html::parse_document(&page(&run, &summary, &options()));
    assert!(text(all(&html, "main > p .tag")[0]).contains("sequential"));
}

#[test]
fn a_clock_that_costs_a_system_call_is_said() {
    let (mut run, _) = fixture::run(1);
    let caveats = |run: &RunFile| text(all(&rendered(run, vec![]), ".caveats")[0]);
    assert!(!caveats(&run).contains("clock"), "kvm-clock is read without a system call");
    run.machine.clocksource = Some("acpi_pm".into());
    let said = caveats(&run);
    assert!(said.contains("clock counts acpi_pm"), "{said}");
}

#[test]
fn a_run_without_cells_or_samples_still_has_a_page() {
    let (mut run, _) = fixture::run(1);
    let html = rendered(&run, vec![]);
    assert!(text(all(&html, ".caveats")[0]).contains("71 of 72 cells were not measured"));
    run.cells.clear();
    run.ended_unix_ms = None;
    let html = rendered(&run, vec![]);
    assert!(text(all(&html, ".answer")[0]).contains("Nothing was measured yet"));
}

#[test]
fn hostile_names_stay_text() {
    let (mut run, records) = fixture::run(1);
    run.command.push("<script>alert(1)</script>".into());
    for cell in &mut run.cells {
        cell.cell.variant = "\"><script>".into();
    }
    let html = rendered(&run, records);
    assert!(all(&html, "script").is_empty());
}

#[test]
fn load_has_its_own_first_screen_section_and_plots() {
    let (run, records) = fixture::load::run();
    let html = rendered(&run, records);
    let rows = all(&html, "table.headline tr[data-load]");
    assert_eq!(rows.len(), 12);
    let pooled = rows.iter().find(|row| row.attr("data-load") == Some("wasmtime/pooling/wasm")).unwrap();
    let pooled = text(*pooled);
    assert!(pooled.contains("/s") && pooled.contains("p99") && pooled.contains("failed start"), "{pooled}");
    // Three plots of curves, one a guest, one of bursts and one of density, each twice.
    assert_eq!(all(&html, "#open-loop").len(), 1);
    assert_eq!(all(&html, "svg[aria-label^='p99 latency']").len(), 6);
    assert_eq!(all(&html, "svg[aria-label^='Time to all']").len(), 2);
    assert_eq!(all(&html, "svg[aria-label^='Median start']").len(), 2);
    let bounds: Vec<String> = all(&html, "tr[data-density]").into_iter().map(text).collect();
    assert!(bounds.iter().any(|row| row.contains("backend_failed: no slot is free")), "{bounds:?}");
    assert!(bounds.iter().any(|row| row.contains("2,048 memory")), "{bounds:?}");
    assert!(all(&html, "#cold-start, #memory, #throughput").is_empty());
    let lead = text(all(&html, ".answer p.lead")[0]);
    assert!(lead.starts_with("Under warm:2 , the highest rate of echo that held"), "{lead}");
}

#[test]
fn starters_have_plots_a_table_and_a_sentence() {
    let (run, records) = fixture::starts::run();
    let html = rendered(&run, records);
    let pooled = all(&html, "table.headline tr[data-load='wasmtime/pooling/wasm']");
    let pooled = text(pooled[0]);
    assert!(pooled.contains("/s") && pooled.contains("× one") && pooled.contains("p99"), "{pooled}");
    // A plot for each of five models, each twice: for wide and narrow columns.
    assert_eq!(all(&html, "svg[aria-label^='Starts a second']").len(), 10);
    assert_eq!(all(&html, "svg[aria-label^='p99 of a start'][aria-label*='all timed']").len(), 10);
    assert_eq!(all(&html, "svg[aria-label^='p99 of a start'][aria-label*='beside the others']").len(), 10);
    // Six rows with four numbers, three of docker with three, three of qemu with two.
    assert_eq!(all(&html, "tr[data-starts]").len(), 6 * 4 + 3 * 3 + 3 * 2);
    let four = all(&html, "tr[data-starts='wasmtime/pooling/wasm/4']");
    assert!(text(four[0]).contains("%"), "{}", text(four[0]));
    let whole = text(all(&html, "main")[0]);
    assert!(whole.contains("deadline_exceeded: the container's start"), "the bound is told");
    assert!(all(&html, "#open-loop, #burst, #density").is_empty());
    let lead = text(all(&html, ".answer p.lead")[0]);
    assert!(lead.starts_with("Instances of echo started, answered and stopped a second"), "{lead}");
}

#[test]
fn the_terminal_shows_starters() {
    let (run, records) = fixture::starts::run();
    let summary = summarise(&run, records);
    insta::assert_snapshot!("terminal_starts", isobench_report::terminal::table(&run, &summary, false, Some(120)));
}

#[test]
fn a_run_without_load_has_no_word_of_it() {
    let (run, records) = fixture::run(1);
    let html = rendered(&run, records);
    assert!(all(&html, "#load, #burst, #density, #open-loop, #starts").is_empty());
}

#[test]
fn the_terminal_shows_load() {
    let (run, records) = fixture::load::run();
    let summary = summarise(&run, records);
    let table = isobench_report::terminal::table(&run, &summary, false, Some(120));
    insta::assert_snapshot!("terminal_load", table.lines().take(34).collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_terminal_shows_the_same_rows() {
    let (run, records) = fixture::run(1);
    let summary = summarise(&run, records);
    insta::assert_snapshot!("terminal_wide", isobench_report::terminal::table(&run, &summary, false, Some(120)));
    let narrow = isobench_report::terminal::table(&run, &summary, false, Some(80));
    insta::assert_snapshot!("terminal_narrow", narrow.lines().take(12).collect::<Vec<_>>().join("\n"));
    let piped = isobench_report::terminal::table(&run, &summary, false, None);
    let cells: BTreeSet<_> = run.cells.iter().filter(|c| c.cell.workload == "echo").map(|c| c.cell.row()).collect();
    cells.iter().for_each(|row| assert!(piped.contains(row.as_str()), "`{row}` is whole in a pipe:\n{piped}"));
    let colored = isobench_report::terminal::table(&run, &summary, true, Some(120));
    assert!(colored.contains("\u{1b}["));
    let cell = &run.cells[0].cell;
    let line = isobench_report::terminal::progress_line(cell, Some(1_020_000), None, "");
    assert_eq!(line, "process/spawn native           echo/0b            cold  1.02 ms  warm        –");
}

fn write_run(folder: &Path, run: &RunFile, records: &[Record]) -> RunDir {
    let dir = RunDir::new(folder);
    dir.write_run(run).unwrap();
    dir.writer().unwrap().append(records).unwrap();
    dir
}

/// The page of a run, whose counts need not be those of its samples.
fn write_page(dir: &RunDir, reports: &Path) -> PathBuf {
    isobench_report::write(&isobench_report::read_partial(dir).unwrap(), dir, reports).unwrap()
}

#[test]
fn reports_are_written_beside_results() {
    // Kept between test runs, so that a person can open the page and look at it.
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    let _ = std::fs::remove_dir_all(&root);
    let (mut run, records) = fixture::run(1);
    let dir = write_run(&root.join("results").join(&run.id), &run, &records);
    let page = write_page(&dir, &root.join("reports"));
    assert_eq!(page, root.join("reports").join(&run.id).join("index.html"));
    let html = Html::parse_document(&std::fs::read_to_string(&page).unwrap());
    let link = all(&html, "a[download]")[0].attr("href").unwrap();
    assert!(page.parent().unwrap().join(link).exists(), "{link}");

    run.id = "2026-11-22-later".into();
    run.started_unix_ms += 86_400_000;
    let later = write_run(&root.join("results").join(&run.id), &run, &[]);
    // A line cut short by a kill is said, and what is before it stays.
    std::fs::write(later.samples(), "{\"t\":\"samples\",\"c\":0").unwrap();
    std::fs::create_dir_all(root.join("results/broken")).unwrap();
    std::fs::write(root.join("results/broken/run.json"), "{").unwrap();
    let later = std::fs::read_to_string(write_page(&later, &root.join("reports"))).unwrap();
    assert!(later.contains("line 1, the last one, was cut short"));
    let list = Html::parse_document(&std::fs::read_to_string(root.join("reports/index.html")).unwrap());
    let runs: Vec<_> = all(&list, "tr[data-run]").iter().filter_map(|row| row.attr("data-run")).collect();
    assert_eq!(runs, ["2026-11-22-later", "2026-11-21-140500-fixture", "broken"]);
    assert!(text(all(&list, "tr[data-run=broken]")[0]).contains("unreadable"));
    assert_eq!(all(&list, "tbody a").len(), 2);
}

#[test]
fn an_index_without_runs_says_what_to_do() {
    assert!(index(&[]).contains("make bench"));
    let entry = IndexEntry { name: "<b>".into(), page: None, run: Err("no".into()) };
    assert!(!index(&[entry]).contains("<b>"));
}

#[test]
fn a_missing_run_is_an_error_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    let error = isobench_report::read(&RunDir::new(root.path().join("nothing"))).unwrap_err();
    assert!(error.to_string().contains("nothing/run.json"), "{error}");
}
