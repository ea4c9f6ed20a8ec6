//! `isobench report`: writes a run's report again, or its numbers in another format. Never measures.

use super::found;
use crate::output;
use anyhow::{Context, Result, bail};
use isobench_core::store::RunDir;
use isobench_core::text::one_line;
use isobench_report::{Report, export};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write a run's HTML report again, or its numbers in another format; of the newest run where none is named
#[derive(clap::Args)]
pub struct Args {
    /// A run's id or the beginning of it, `latest`, `latest~1`, or the path of its folder
    run: Option<String>,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Html)]
    format: Format,
    /// Write to this file instead of standard output; html and hdr: to this folder
    ///
    /// A file that exists is replaced. Only the one that $GITHUB_STEP_SUMMARY names is appended to: the commands of a
    /// step share it.
    #[arg(long, value_name = "FILE|DIR")]
    out: Option<PathBuf>,
    /// Report what is there of a run whose samples are incomplete, with a warning
    ///
    /// Without it, a run whose samples lack blocks that its run.json counts is an error. A run that was interrupted or
    /// killed needs no flag: its report says which blocks were cut off.
    #[arg(long)]
    partial: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// The page, into reports/ beside the results/ that the run lies in
    Html,
    /// A row for every number
    Csv,
    /// Tables to read
    Md,
    /// The whole summary
    Json,
    /// A job's summary for GitHub Actions
    Github,
    /// Bencher Metric Format, for bencher.dev
    Bencher,
    /// An HdrHistogram log for every load, into RUN/hdr/ there
    Hdr,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let path = found::run(args.run.as_deref())?;
    let read = if args.partial { isobench_report::read_partial } else { isobench_report::read };
    let report = read(&RunDir::new(&path)).with_context(|| of(&path))?;
    remark(&report.summary.incomplete);
    let shared = args.out.as_deref().filter(|file| is_step_summary(file));
    let (run, summary) = (&report.run, &report.summary);
    let text = match args.format {
        Format::Html => return page(args, &report, &path),
        Format::Hdr => return hdr_logs(args, &path),
        Format::Csv => export::csv(run, summary),
        Format::Md => export::markdown(run, summary),
        Format::Json => export::json(run, summary, report.completeness.truncated),
        Format::Github => export::github(run, summary, shared.map_or(0, size)),
        Format::Bencher => bencher(&report),
    };
    match (&args.out, shared) {
        (_, Some(file)) => isobench_report::append_text(file, &text)?,
        (Some(file), None) => isobench_report::write_text(file, &text)?,
        (None, None) => output::print(&text),
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether `file` is the summary of a step of GitHub Actions, to which every command of the step appends.
fn is_step_summary(file: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.into());
    std::env::var_os("GITHUB_STEP_SUMMARY").is_some_and(|named| real(Path::new(&named)) == real(file))
}

/// Bytes of a file; 0 if there is none.
fn size(file: &Path) -> usize {
    fs::metadata(file).map_or(0, |file| usize::try_from(file.len()).unwrap_or(usize::MAX))
}

fn of(path: &Path) -> String {
    format!("the report of {}", path.display())
}

/// The folder of reports that belongs to a run's folder: where `isobench run --out` put the first one.
fn beside(run: &Path) -> Result<PathBuf> {
    let results = run.parent().filter(|folder| folder.file_name().is_some_and(|name| name == "results"));
    match results {
        Some(results) => Ok(results.with_file_name("reports")),
        None => found::reports().context("name the folder to write to with --out"),
    }
}

fn page(args: &Args, report: &Report, path: &Path) -> Result<ExitCode> {
    let folder = args.out.clone().map_or_else(|| beside(path), Ok)?;
    let page = isobench_report::write(report, &RunDir::new(path), &folder).with_context(|| of(path))?;
    output::line(page.display().to_string());
    Ok(ExitCode::SUCCESS)
}

fn bencher(report: &Report) -> String {
    let bencher = export::bencher(&report.run, &report.summary);
    remark(&bencher.remarks);
    bencher.json
}

fn hdr_logs(args: &Args, path: &Path) -> Result<ExitCode> {
    let name = path.file_name().unwrap_or_default();
    let folder = args.out.clone().map_or_else(|| Ok(beside(path)?.join(name).join("hdr")), anyhow::Ok)?;
    let (files, left_out) = isobench_report::write_hdr_logs(&RunDir::new(path), &folder).with_context(|| of(path))?;
    remark(&left_out);
    if files.is_empty() {
        bail!("{} has no throughput to write logs of", path.display());
    }
    output::line(format!("{} logs in {}", files.len(), folder.display()));
    Ok(ExitCode::SUCCESS)
}

fn remark(remarks: &[String]) {
    for remark in remarks {
        output::note(format!("isobench: {}", one_line(remark)));
    }
}
