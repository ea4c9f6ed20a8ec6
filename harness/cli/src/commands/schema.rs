//! `isobench schema`: the JSON Schema of a run's files.

use crate::output;
use anyhow::Result;
use isobench_core::schema;
use std::process::ExitCode;

/// Print the JSON Schema of one of a run's two files
#[derive(clap::Args)]
pub struct Args {
    /// `run` for run.json, `sample` for one line of samples.jsonl
    file: File,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum File {
    Run,
    Sample,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let schema = match args.file {
        File::Run => schema::run(),
        File::Sample => schema::sample(),
    };
    output::line(serde_json::to_string_pretty(&schema)?);
    Ok(ExitCode::SUCCESS)
}
