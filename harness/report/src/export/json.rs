//! The summary for programs.

use isobench_core::run::{Machine, RunFile};
use isobench_stats::Summary;
use serde::Serialize;

#[derive(Serialize)]
struct Document<'a> {
    run: &'a str,
    schema: u32,
    isobench: &'a str,
    command: &'a [String],
    started_unix_ms: u64,
    ended_unix_ms: Option<u64>,
    stopped_early: Option<&'a str>,
    truncated_line: Option<usize>,
    machine: &'a Machine,
    summary: &'a Summary,
}

/// The whole summary, with the run and the machine it belongs to. `truncated` is the number of the last line of the
/// samples, if it was cut short and left out.
pub fn json(run: &RunFile, summary: &Summary, truncated: Option<usize>) -> String {
    let document = Document {
        run: &run.id,
        schema: run.schema,
        isobench: &run.isobench,
        command: &run.command,
        started_unix_ms: run.started_unix_ms,
        ended_unix_ms: run.ended_unix_ms,
        stopped_early: run.stopped_early.as_deref(),
        truncated_line: truncated,
        machine: &run.machine,
        summary,
    };
    serde_json::to_string_pretty(&document).expect("a summary has only string keys") + "\n"
}
