//! `isobench report`: writes a run's report again, or its numbers in another format. Never measures.

use super::found;
use crate::output;
use anyhow::{Context, Result, bail};
use isobench_core::store::RunDir;
use isobench_core::text::one_line;
use isobench_report::{Report, export};
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
    let written: fn(&Report) -> String = match args.format {
        Format::Html => return page(args, &report, &path),
        Format::Hdr => return hdr_logs(args, &path),
        Format::Csv => |report| export::csv(&report.run, &report.summary),
        Format::Md => |report| export::markdown(&report.run, &report.summary),
        Format::Json => |report| export::json(&report.run, &report.summary, report.completeness.truncated),
        Format::Github => |report| export::github(&report.run, &report.summary),
        Format::Bencher => bencher,
    };
    let text = written(&report);
    match &args.out {
        Some(file) => isobench_report::write_text(file, &text)?,
        None => output::print(&text),
    }
    Ok(ExitCode::SUCCESS)
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
