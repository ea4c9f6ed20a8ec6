//! `isobench compare`: two runs, several a side, or the two sides of one. Never measures.

use super::found;
use crate::output;
use crate::select::SelectArgs;
use anyhow::{Context, Result, bail};
use isobench_core::Cell;
use isobench_core::store::RunDir;
use isobench_core::text::printable;
use isobench_report::Report;
use isobench_report::compare::{self, Compared, Gate, Incomparable, Judged, Limits};
use isobench_report::html::compare_page;
use std::path::PathBuf;
use std::process::ExitCode;

/// The gate failed.
const REGRESSED: u8 = 4;
/// The runs differ in what makes numbers incomparable, and no other row is left.
const REFUSED: u8 = 5;
/// No row could be judged, so the gate says nothing.
const UNKNOWN: u8 = 6;
/// Fewer rows could be judged than was asked.
const TOO_FEW_JUDGED: u8 = 7;

/// Compare two runs cell by cell, several runs a side, or the two sides of one A/B run
///
/// What differs around the numbers (machine, day, processor, kernel, versions, …) comes first. A difference is called one
/// where a permutation test over blocks, the interval of the ratio and the noise floor agree. A cell is left out, and
/// listed with the reason, if the runs differ in what makes its numbers incomparable: another processor, emulated against
/// real, another artifact.
///
/// Exit codes: 0 compared, and the gate holds if there is one; 1 failed; 2 wrong usage; 4 the gate of --fail-on failed;
/// 5 refused, because no comparable row is left; 6 the gate of --fail-on could judge no row, for want of blocks or for
/// noise; 7 it could judge fewer rows than --fail-on-unknown or --min-judged ask for.
#[derive(clap::Args)]
pub struct Args {
    /// The base and the new run, each a run's id or the beginning of it, `latest`, `latest~1`, or the path of its folder.
    /// One run alone is a run of --ab, and its sides are compared. With --against, all of them are the base
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<String>,
    /// The new runs, where a side has several: each run then counts once, by its medians. Three a side are the fewest
    #[arg(long, value_name = "RUN", num_args = 1..)]
    against: Vec<String>,
    /// Write a page to FILE
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print GitHub-flavoured Markdown
    #[arg(long)]
    markdown: bool,
    /// Fail (exit code 4) if the verdict on a row is slower or larger, and by over PERCENT; 6 if no row could be judged
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    fail_on: Option<f64>,
    /// Also fail (exit code 7) if any row with a number on both sides cannot be judged
    #[arg(long, requires = "fail_on", conflicts_with = "min_judged")]
    fail_on_unknown: bool,
    /// Also fail (exit code 7) if fewer than ROWS rows can be judged
    #[arg(long, value_name = "ROWS", requires = "fail_on")]
    min_judged: Option<usize>,
    /// Compare also what is not comparable, marked in every row that it concerns
    #[arg(long)]
    anyway: bool,
    #[command(flatten)]
    select: SelectArgs,
}

impl Args {
    fn judged(&self) -> Judged {
        match self.min_judged {
            Some(least) => Judged::AtLeast(least),
            None if self.fail_on_unknown => Judged::All,
            None => Judged::Some,
        }
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let filter = args.select.filter(false);
    let wanted = |cell: &Cell| filter.wants(&cell.to_string());
    let read = |run: &str| -> Result<Report> {
        let dir = found::run(Some(run))?;
        isobench_report::read(&RunDir::new(&dir)).with_context(|| format!("reading {}", dir.display()))
    };
    let (base, new) = match (args.runs.as_slice(), args.against.as_slice()) {
        ([base, new], []) => (std::slice::from_ref(base), std::slice::from_ref(new)),
        ([_, _, _, ..], []) => {
            output::note(
                "isobench: which runs are the base? `compare BASE... --against NEW...` compares several a side",
            );
            return Ok(ExitCode::from(2));
        }
        (base, new) => (base, new),
    };
    let base = base.iter().map(|run| read(run)).collect::<Result<Vec<_>>>()?;
    let new = new.iter().map(|run| read(run)).collect::<Result<Vec<_>>>()?;
    let cells = base.iter().chain(&new).flat_map(|run| &run.run.cells).map(|entry| entry.cell.clone());
    filter.check(&cells.collect::<Vec<_>>())?;
    if let Some(twice) = named_twice(&base, &new).filter(|_| base.len() + new.len() > 2) {
        output::note(format!("isobench: run {twice} is named twice: a run compared with itself shows nothing"));
        return Ok(ExitCode::from(2));
    }
    let incomparable = if args.anyway { Incomparable::Mark } else { Incomparable::LeaveOut };
    let compared = match (base.as_slice(), new.as_slice()) {
        ([base], [new]) => Compared::runs(base, new, &wanted, incomparable),
        ([base], []) => match Compared::sides(&base.run, &base.summary, &wanted) {
            Some(sides) => sides,
            None => {
                output::note(format!(
                    "isobench: run {} has no sides A and B: name a second run to compare it with",
                    base.run.id
                ));
                return Ok(ExitCode::from(2));
            }
        },
        (base, new) => Compared::several(base, new, &wanted, incomparable),
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
        let (gate, lines) = compare::gate(&compared, Limits { percent, judged: args.judged() });
        code = match gate {
            Gate::Holds => ExitCode::SUCCESS,
            Gate::Failed => ExitCode::from(REGRESSED),
            Gate::Unknown => ExitCode::from(UNKNOWN),
            Gate::TooFewJudged => ExitCode::from(TOO_FEW_JUDGED),
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

/// The id of a run that is on both sides, or twice on one.
fn named_twice<'a>(base: &'a [Report], new: &'a [Report]) -> Option<&'a str> {
    let ids: Vec<&str> = base.iter().chain(new).map(|report| report.run.id.as_str()).collect();
    ids.iter().enumerate().find(|(i, id)| ids[..*i].contains(id)).map(|(_, id)| *id)
}

fn percent(text: &str) -> Result<f64, String> {
    super::percent(text).filter(|percent| *percent >= 0.0).ok_or_else(|| "a number from 0 up, such as 5".into())
}
