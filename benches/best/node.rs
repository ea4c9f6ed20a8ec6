//! Node: the engine of the v8 backend as its most used host has it.

use crate::lines::Heap;
use anyhow::{Context, Result, ensure};
use isobench_core::record::Samples;
use isobench_core::{Experiment, Record, Unit};
use isobench_runner::overhead::ask_program;
use isobench_runner::place::{self, Places};
use isobench_runner::protocol::{BlockRequest, Series};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::Command;

/// Where it lies and what it is.
pub struct Node {
    program: PathBuf,
    driver: PathBuf,
    /// Its version, V8's and the path, for people.
    pub name: String,
}

/// What the driver is told.
#[derive(Serialize)]
struct Asked<'a> {
    artifact: &'a PathBuf,
    guest: String,
    input: &'a PathBuf,
    expected_sha256: &'a str,
    series: Series,
}

#[derive(Deserialize)]
struct Answered {
    calls_ns: Vec<u64>,
}

impl Node {
    /// `ISOBENCH_NODE`, else the pinned one in the cache, else the first on the path.
    ///
    /// # Errors
    /// There is none, or it does not start.
    pub fn find(places: &Places) -> Result<Node> {
        let program = place::fetched(&places.cache, "node").context("no Node: `scripts/node.sh` fetches one")?;
        let out = Command::new(&program).args(["-p", "`${process.version}, V8 ${process.versions.v8}`"]).output();
        let out = out.with_context(|| program.display().to_string())?;
        ensure!(out.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&out.stderr).trim());
        let name = format!("{}, {}", String::from_utf8_lossy(&out.stdout).trim(), program.display());
        Ok(Node { program, driver: places.root.join("benches/best/node.mjs"), name })
    }

    /// One warm series in a process of its own, as records of a block.
    ///
    /// # Errors
    /// Node fails, takes too long, or a guest's answer is wrong.
    pub fn block(&self, block: &BlockRequest, heap: Heap, series: Series) -> Result<Vec<Record>> {
        let asked = Asked {
            artifact: &block.target.artifact,
            guest: block.target.guest.to_string(),
            input: &block.input,
            expected_sha256: &block.expected_sha256,
            series,
        };
        let mut command = Command::new(&self.program);
        if heap == Heap::Limited {
            command.arg(format!("--max-heap-size={}", block.target.limits.memory_bytes >> 20));
        }
        let answer = ask_program(command.arg(&self.driver), &serde_json::to_vec(&asked)?)?;
        let answer: Answered = serde_json::from_slice(&answer)?;
        Ok(vec![Record::Samples(Samples {
            cell: block.cell,
            block: block.block,
            experiment: Experiment::WarmCall,
            metric: "call".into(),
            n: None,
            unit: Unit::Ns,
            index: 0,
            flags: Vec::new(),
            probe_ns: None,
            every: None,
            values: answer.calls_ns,
        })])
    }
}
