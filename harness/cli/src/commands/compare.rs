//! `isobench compare`: two runs, or the two sides of one. Never measures.

use super::found;
use crate::output;
use crate::select::SelectArgs;
use anyhow::{Context, Result, bail};
use isobench_core::Cell;
use isobench_core::store::RunDir;
use isobench_core::text::printable;
use isobench_report::Report;
use isobench_report::compare::{self, Compared, Gate, Incomparable};
use isobench_report::html::compare_page;
use std::path::PathBuf;
use std::process::ExitCode;

/// The gate failed.
const REGRESSED: u8 = 4;
/// The runs differ in what makes numbers incomparable, and no other row is left.
const REFUSED: u8 = 5;
/// No row could be tested, so the gate says nothing.
const UNTESTED: u8 = 6;

/// Compare two runs cell by cell, or the two sides of one A/B run
///
/// What differs around the numbers (machine, day, processor, kernel, versions, …) comes first. A difference is called one
/// where a permutation test over blocks, the interval of the ratio and the noise floor agree. A cell is left out, and
/// listed with the reason, if the runs differ in what makes its numbers incomparable: another processor, emulated against
/// real, another artifact.
///
/// Exit codes: 0 compared, and the gate holds if there is one; 1 failed; 2 wrong usage; 4 the gate of --fail-on failed;
/// 5 refused, because no comparable row is left; 6 the gate of --fail-on tested no row, for want of blocks.
#[derive(clap::Args)]
pub struct Args {
    /// A run's id or the beginning of it, `latest`, `latest~1`, or the path of its folder
    base: String,
    /// The run to hold against it; without one, BASE is a run of --ab and its sides are compared
    new: Option<String>,
    /// Write a page to FILE
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print GitHub-flavoured Markdown
    #[arg(long)]
    markdown: bool,
    /// Fail (exit code 4) if the verdict on a row is slower or larger, and by over PERCENT; 6 if no row could be tested
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    fail_on: Option<f64>,
    /// Compare also what is not comparable, marked in every row that it concerns
    #[arg(long)]
    anyway: bool,
    #[command(flatten)]
    select: SelectArgs,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let filter = args.select.filter(false);
    let wanted = |cell: &Cell| filter.wants(&cell.to_string());
    let read = |run: &str| -> Result<Report> {
        let dir = found::run(Some(run))?;
        isobench_report::read(&RunDir::new(&dir)).with_context(|| format!("reading {}", dir.display()))
    };
    let base = read(&args.base)?;
    let incomparable = if args.anyway { Incomparable::Mark } else { Incomparable::LeaveOut };
    let new = args.new.as_deref().map(read).transpose()?;
    let runs = std::iter::once(&base).chain(&new);
    filter.check(&runs.flat_map(|run| &run.run.cells).map(|entry| entry.cell.clone()).collect::<Vec<_>>())?;
    let compared = match &new {
        Some(new) => Compared::runs(&base, new, &wanted, incomparable),
        None => match Compared::sides(&base.run, &base.summary, &wanted) {
            Some(sides) => sides,
            None => {
                output::note(format!(
                    "isobench: run {} has no sides A and B: name a second run to compare it with",
                    base.run.id
                ));
                return Ok(ExitCode::from(2));
            }
        },
    };
    if let Some(refusal) = compared.refusal() {
        output::note(format!("isobench: {}", printable(&refusal)));
        return Ok(ExitCode::from(REFUSED));
    }
    if !compared.has_rows() {
        bail!(
            "nothing to compare: no cell that is wanted has a number in both {} and {}",
            compared.base.name,
            compared.new.name
        );
    }
    let mut said = if args.markdown {
        compare::markdown(&compared)
    } else {
        compare::text(&compared, crate::colour(), super::terminal_width())
    };
    let mut code = ExitCode::SUCCESS;
    if let Some(percent) = args.fail_on {
        let (gate, lines) = compare::gate(&compared, percent);
        code = match gate {
            Gate::Holds => ExitCode::SUCCESS,
            Gate::Failed => ExitCode::from(REGRESSED),
            Gate::Untested => ExitCode::from(UNTESTED),
        };
        let lines = lines.join("\n- ");
        said += &if args.markdown { format!("\n{lines}\n") } else { format!("\n{}\n", lines.replace('`', "")) };
    }
    if let Some(file) = &args.html {
        isobench_report::write_text(file, &compare_page(&compared))?;
        output::note(format!("page     {}", file.display()));
    }
    output::print(&said);
    Ok(code)
}

fn percent(text: &str) -> Result<f64, String> {
    super::percent(text).filter(|percent| *percent >= 0.0).ok_or_else(|| "a number from 0 up, such as 5".into())
}
