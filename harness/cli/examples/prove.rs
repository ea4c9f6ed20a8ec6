//! Proofs that the verdicts can be trusted, on this machine: false alarms and power.
//!
//! ```text
//! cargo run --release -p isobench-cli --example prove -- aa 50 [CELL]   two identical sides, run after run, through the gate
//! cargo run --release -p isobench-cli --example prove -- power 100      a planted slowdown of 5 %, then of 2 %
//! ```
//!
//! Every run is one of `isobench run`; what it says is read back from its folder. The seeds are fixed; docs/PROOFS.md
//! has what they gave.

use anyhow::{Context, Result, bail, ensure};
use isobench_core::store::RunDir;
use isobench_report::Report;
use isobench_report::compare::{Compared, Incomparable};
use isobench_stats::compare::{Row, Word};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Seed of the first run; each further run takes the next.
const SEED: u64 = 20_261_121;

/// The cell of the A/A proof where none is named: an engine, a boundary in process, work of some microseconds.
const CELL: &str = "wasmtime/pooling/wasm/json";

/// What the planted difference is planted into: acts that spin, with blocks that differ by a standard deviation of 2 %,
/// about what a quiet machine shows.
const SCRIPT: &str = "spin = true\nstart_us = 300\ncall_us = 300\nblock_noise_ppm = 20000\n";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: u64| args.get(i).map_or(Ok(default), |a| a.parse().context("a number of runs"));
    match args.first().map(String::as_str) {
        Some("aa") => aa(number(1, 50)?, args.get(2).map_or(CELL, String::as_str)),
        Some("power") => power(number(1, 100)?),
        _ => bail!("usage: prove aa|power [RUNS]"),
    }
}

/// A folder for runs, and the program that makes them.
struct Bench {
    dir: tempfile::TempDir,
    program: PathBuf,
    /// A checkout other than the one this is run in.
    root: Option<PathBuf>,
}

impl Bench {
    fn new() -> Result<Bench> {
        let dir = tempfile::tempdir()?;
        // Examples lie in a folder beside the programs.
        let exe = std::env::current_exe()?;
        let program = exe.ancestors().nth(2).context("the folder of the programs")?.join("isobench");
        ensure!(program.is_file(), "{} is not there: build it first (`make build`)", program.display());
        Ok(Bench { dir, program, root: None })
    }

    /// A checkout whose one workload is [`SCRIPT`].
    fn planted() -> Result<Bench> {
        let mut bench = Bench::new()?;
        let root = bench.dir.path().join("checkout");
        let workload = root.join("workloads/planted");
        fs::create_dir_all(&workload)?;
        fs::write(workload.join("guest.js"), SCRIPT)?;
        fs::write(workload.join("in"), "x")?;
        let expected = isobench_core::sha256_hex(b"x");
        let toml = format!(
            "name = \"planted\"\nsummary = \"a proof\"\n[[case]]\nname = \"small\"\ninput = \"in\"\nexpected_sha256 = \"{expected}\"\n"
        );
        fs::write(workload.join("workload.toml"), toml)?;
        bench.root = Some(root);
        Ok(bench)
    }

    fn settings(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.dir.path().join(name).with_extension("toml");
        fs::write(&file, text)?;
        Ok(file)
    }

    /// One quick run; what it says.
    fn run(&self, n: u64, cell: &str, more: &[&Path]) -> Result<Report> {
        let out = self.dir.path().join(n.to_string());
        let mut command = Command::new(&self.program);
        command
            .args(["run", "--quick", "--only", cell, "--budget", "40s", "--seed", &(SEED + n).to_string(), "--out"])
            .arg(&out)
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(root) = &self.root {
            command.env("ISOBENCH_ROOT", root);
        }
        let status = command.status().context("isobench")?;
        ensure!(status.success(), "run {n} of {cell} ended with {status}: run it by hand to see why");
        let folder = fs::read_dir(out.join("results"))?.next().context("a run leaves a folder")??.path();
        let report = isobench_report::read(&RunDir::new(&folder))?;
        // A folder that this program has made for the run above.
        fs::remove_dir_all(&out)?;
        Ok(report)
    }

    fn sides(&self, n: u64, cell: &str, base: &Path, new: &Path) -> Result<(Report, Vec<Row>)> {
        let report = self.run(n, cell, &[Path::new("--ab"), base, new])?;
        let compared = Compared::sides(&report.run, &report.summary, &|_| true).context("a run with sides")?;
        Ok((report, compared.comparison.rows))
    }
}

/// Verdicts by metric and word.
#[derive(Default)]
struct Tally(BTreeMap<(String, &'static str), u32>);

impl Tally {
    fn add(&mut self, rows: &[Row]) {
        for row in rows {
            *self.0.entry((row.metric.to_string(), row.said())).or_default() += 1;
        }
    }

    fn print(&self) {
        for ((metric, word), count) in &self.0 {
            println!("  {metric:<11} {word:<24} {count}");
        }
    }
}

fn alarm(rows: &[Row]) -> bool {
    rows.iter().any(|row| row.word == Word::Worse)
}

/// Two identical sides in one run; and each run against the one before, which a gate on two runs would compare.
fn aa(runs: u64, cell: &str) -> Result<()> {
    let bench = Bench::new()?;
    let (base, new) = (bench.settings("base", "")?, bench.settings("same", "")?);
    let (mut within, mut between) = (Tally::default(), Tally::default());
    let (mut alarms, mut alarms_between) = (0, 0);
    let mut before: Option<Report> = None;
    for n in 0..runs {
        let (report, rows) = bench.sides(n, cell, &base, &new)?;
        alarms += u32::from(alarm(&rows));
        within.add(&rows);
        if let Some(before) = &before {
            let compared = Compared::runs(before, &report, &|_| true, Incomparable::LeaveOut);
            alarms_between += u32::from(alarm(&compared.comparison.rows));
            between.add(&compared.comparison.rows);
        }
        before = Some(report);
        eprint!("\r{} of {runs} runs, {alarms} false alarms", n + 1);
    }
    eprintln!();
    println!("{runs} runs of {cell}, seed {SEED}: {alarms} false alarms between two identical sides of one run");
    within.print();
    println!("{alarms_between} false alarms between a run and the one before it");
    between.print();
    Ok(())
}

fn power(runs: u64) -> Result<()> {
    let bench = Bench::planted()?;
    let base = bench.settings("base", "")?;
    for ppm in [50_000_u32, 20_000] {
        let effect = f64::from(ppm) / 1e6;
        let slower = bench.settings("slower", &format!("[env]\nISOBENCH_NULL_SLOWER_PPM = \"{ppm}\"\n"))?;
        let mut tally = Tally::default();
        let (mut found, mut rows_found, mut rows_all, mut promised) = (0, 0_u32, 0_u32, 0.0);
        for n in 0..runs {
            let (_, rows) = bench.sides(n, "null/", &base, &slower)?;
            found += u32::from(alarm(&rows));
            tally.add(&rows);
            for row in &rows {
                rows_all += 1;
                rows_found += u32::from(row.word == Word::Worse);
                promised += row.sensitivity.as_ref().map_or(0.0, |s| s.power(effect));
            }
            eprint!("\r{:.0} %: {} of {runs} runs, found in {found}", effect * 100.0, n + 1);
        }
        eprintln!();
        let share = |part: f64| part * 100.0 / f64::from(rows_all.max(1));
        println!("planted {:.0} %, {runs} runs, seed {SEED}: found in {found} runs", effect * 100.0);
        println!(
            "  rows: found {:.0} %, promised by the smallest detectable difference {:.0} %",
            share(f64::from(rows_found)),
            share(promised)
        );
        tally.print();
    }
    Ok(())
}
