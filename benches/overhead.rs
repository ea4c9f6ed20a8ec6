//! `cargo bench --bench overhead`: what the harness itself costs, as ratios with both sides in the same run.
//!
//! - its cold start over a minimal hand-written loop on the same crates, settings, agent and socket;
//! - its memory over a hand count: what a variant keeps with no instance alive, per live instance, and the sum;
//! - what the coordinator and the report need.
//!
//! Prints figures with the limits that the README promises; asserts nothing, because a bench is not a test.

use anyhow::{Context, Result, ensure};
use isobench_core::record::{BlockRecord, Samples};
use isobench_core::store::RunDir;
use isobench_core::{CellEntry, CellId, Experiment, Guest, Record, RunFile, Unit};
use isobench_runner::overhead::{self, Counted, OverheadAnswer, OverheadRequest, PLAIN, Side, Task};
use isobench_runner::place::{self, Places};
use isobench_runner::plan::{Filter, HEADLINE_WORKLOAD};
use isobench_runner::protocol::Visit;
use isobench_runner::session::Session;
use std::fs;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Instances for the count of memory.
const HELD: u32 = 64;
/// Processes of each side that count memory: a reading of one may be disturbed.
const COUNTS: usize = 3;
/// Whose memory is counted by hand as well: the rungs that keep something for the next instance, and those that do not.
const COUNTED: [&str; 7] = [
    "v8/fresh/js/echo/",
    "v8/pool/js/echo/",
    "v8/snapshot/js/echo/",
    "quickjs/fresh/js/echo/",
    "wasmtime/on-demand/wasm/echo/",
    "wasmtime/pooling/wasm/echo/",
    "wasmtime/pooling-resident/wasm/echo/",
];
/// Samples of the run whose report is timed.
const MANY_SAMPLES: usize = 1_000_000;

fn main() -> ExitCode {
    isobench_benches::measure("overhead", |_| run())
}

fn run() -> Result<()> {
    place::build_programs()?;
    let places = Places::find()?;
    let headlines = session(&places, &[&format!("/{HEADLINE_WORKLOAD}/")])?;
    println!("cold start: harness over a hand-written loop, medians of paired starts (limit: 1.05, or 300 ns more)");
    for id in headline_cells(&headlines) {
        if let Err(error) = cold_start(&headlines, &places, id) {
            println!("  {:<16} not measured: {error:#}", headlines.entry(id).cell.row());
        }
    }
    headlines.finish(None)?;
    let mut rungs = session(&places, &COUNTED)?;
    println!("memory: PSS over a hand count, medians of {COUNTS} processes (limit: live and sum within 5 %)");
    for id in 0..rungs.run.cells.len() as CellId {
        if let Err(error) = memory(&mut rungs, &places, id) {
            println!("  {:<26} not measured: {error:#}", rungs.entry(id).cell.row());
        }
    }
    rungs.finish(None)?;
    coordinator(&places)?;
    report(&places)
}

fn session(places: &Places, only: &[&str]) -> Result<Session> {
    let only = only.iter().map(|pattern| pattern.parse()).collect::<Result<_, _>>()?;
    isobench_benches::by_hand("overhead", places, Filter { only, small_only: true, ..Filter::default() })
}

/// One cell per backend: its first variant, which is what the by-hand programs do, with the guest closest to the
/// boundary itself.
fn headline_cells(session: &Session) -> Vec<CellId> {
    let mut chosen: Vec<&CellEntry> = Vec::new();
    for guest in [Guest::Native, Guest::Js, Guest::Wasm] {
        for entry in session.run.cells.iter().filter(|e| e.cell.guest == guest && e.faults.is_empty()) {
            if !chosen.iter().any(|c| c.cell.backend == entry.cell.backend) {
                chosen.push(entry);
            }
        }
    }
    chosen.iter().map(|e| e.id).collect()
}

fn cold_start(session: &Session, places: &Places, id: CellId) -> Result<()> {
    let entry = session.entry(id);
    let emulated = entry.flags.contains(&isobench_core::Flag::Emulated);
    let rounds = match (session.in_process(id), emulated, entry.cell.backend.as_str()) {
        (true, ..) => 400,
        (_, true, _) => 16,
        (_, _, "process") => 300,
        _ => 30,
    };
    let answer = ask(session, places, id, Task::Pairs(rounds))?;
    let (harness, by_hand) = (median(&answer.harness_ns), median(&answer.by_hand_ns));
    let mut ratios: Vec<f64> =
        answer.harness_ns.iter().zip(&answer.by_hand_ns).map(|(a, b)| *a as f64 / *b as f64).collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    println!(
        "  {:<16} {:<6} ratio {ratio:.3}  (median of {} pairs; {harness} ns over {by_hand} ns){}",
        entry.cell.row(),
        entry.cell.guest,
        ratios.len(),
        verdict(ratio <= 1.05 || harness <= by_hand + 300),
    );
    Ok(())
}

/// What the footprint experiment says of a live instance, and what a process of the harness's says of all the rest.
fn memory(session: &mut Session, places: &Places, id: CellId) -> Result<()> {
    let visit = Visit::Footprint { instances: vec![HELD] };
    let mut live = Vec::new();
    let mut counts = [Vec::new(), Vec::new()];
    for _ in 0..COUNTS {
        live.push(pss_per_instance(&session.visit(id, &visit, None)?)?);
        for (side, counts) in [Side::Harness, Side::Hand].into_iter().zip(&mut counts) {
            counts.push(ask(session, places, id, Task::Memory(side, HELD))?.memory.context("a count")?);
        }
    }
    let of = |side: usize, what: fn(&Counted) -> u64| median(&counts[side].iter().map(what).collect::<Vec<_>>());
    let per = |total: u64| total / u64::from(HELD);
    let over = |what: fn(&Counted) -> u64| of(0, what) as f64 / of(1, what) as f64;
    let live = median(&live);
    let (live_ratio, sum_ratio) = (live as f64 / per(of(1, |c| c.live)) as f64, over(|c| c.sum()));
    let good = |ratio: f64| (0.95..=1.05).contains(&ratio);
    println!(
        "  {:<26} live {live_ratio:.3} (per instance at N = {HELD}: {live} bytes)  kept {:.3} ({} bytes with none alive)  \
         sum {sum_ratio:.3} ({} bytes)  left per instance that is gone: {} over {} bytes{}",
        session.entry(id).cell.row(),
        over(|c| c.kept),
        of(0, |c| c.kept),
        of(0, |c| c.sum()),
        per(of(0, |c| c.left)),
        per(of(1, |c| c.left)),
        verdict(good(live_ratio) && good(sum_ratio)),
    );
    Ok(())
}

fn pss_per_instance(records: &[Record]) -> Result<u64> {
    let pss_at = |wanted: u32| {
        records.iter().find_map(|r| match r {
            Record::Samples(s) if s.metric == "pss" && s.n == Some(wanted) => Some(s.values[0]),
            _ => None,
        })
    };
    let (none, held) = pss_at(0).zip(pss_at(HELD)).context("the footprint visit failed")?;
    Ok(held.saturating_sub(none) / u64::from(HELD))
}

fn ask(session: &Session, places: &Places, id: CellId, task: Task) -> Result<OverheadAnswer> {
    let program = format!("isobench-by-hand-{}", session.entry(id).cell.backend);
    // Beside the blocks of cells, whose numbers begin at 0.
    let block = session.request(id, 1_000_000 + id, &Visit::Footprint { instances: vec![HELD] });
    overhead::ask(&places.programs.join(program), &OverheadRequest { block, hand: PLAIN.into(), task })
}

/// The coordinator's peak memory in a quick run of one backend: it holds nothing that grows with the number of cells.
fn coordinator(places: &Places) -> Result<()> {
    let out = tempfile::tempdir()?;
    let args = ["run", "--quick", "--only", "process/", "--budget", "20s", "--out"];
    let (_, peak) = watch(Command::new(places.programs.join("isobench")).args(args).arg(out.path()))?;
    println!("coordinator peak memory: {:.1} MiB (limit: 100 MiB){}", mib(peak), verdict(peak <= 100 << 20));
    Ok(())
}

fn report(places: &Places) -> Result<()> {
    let out = tempfile::tempdir()?;
    // The shape of a real run, with a series of warm calls that fills it to a million samples.
    let source = RunDir::new(places.results().join("reference"));
    let mut run: RunFile = source.read_run().context("the committed reference run")?;
    run.id = "many".into();
    let dir = RunDir::new(out.path().join("results/many"));
    dir.write_run(&run)?;
    let mut writer = dir.writer()?;
    let per_block = 500;
    for block in 0..(MANY_SAMPLES / per_block) as u32 {
        let cell = block % run.cells.len() as u32;
        let values = (0..per_block as u64).map(|i| 10_000 + (i * 7_919 + u64::from(block) * 104_729) % 5_000).collect();
        writer.append(&[
            Record::Samples(Samples {
                cell,
                block,
                experiment: Experiment::WarmCall,
                metric: "call".into(),
                n: None,
                unit: Unit::Ns,
                index: 0,
                flags: Vec::new(),
                probe_ns: None,
                every: None,
                values,
            }),
            Record::Block(BlockRecord { cell, block, ..BlockRecord::default() }),
        ])?;
    }
    let mut command = Command::new(places.programs.join("isobench"));
    command.arg("report").arg(dir.path()).env("ISOBENCH_ROOT", out.path());
    fs::create_dir(out.path().join("workloads"))?;
    let (took, peak) = watch(&mut command)?;
    println!(
        "report of {MANY_SAMPLES} samples: {:.2} s, {:.0} MiB (limits: 3 s, 500 MiB){}",
        took.as_secs_f64(),
        mib(peak),
        verdict(took <= Duration::from_secs(3) && peak <= 500 << 20),
    );
    Ok(())
}

/// Runs a command and watches its peak resident memory (`VmHWM`, which never falls).
fn watch(command: &mut Command) -> Result<(Duration, u64)> {
    let begun = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut peak = 0;
    let status = loop {
        if let Ok(text) = fs::read_to_string(format!("/proc/{}/status", child.id())) {
            let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"));
            let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
            peak = peak.max(kib.unwrap_or(0) * 1024);
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    ensure!(status.success(), "{command:?}: {status}");
    Ok((begun.elapsed(), peak))
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn verdict(within: bool) -> &'static str {
    if within { "  ok" } else { "  OVER THE LIMIT" }
}
