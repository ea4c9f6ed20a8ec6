//! What the harness itself costs: its cold start beside a minimal hand-written loop on the same crates, settings, agent
//! and socket, both in one process and in turn. Programs named `isobench-by-hand-<backend>` serve this; `cargo bench
//! --bench overhead` runs them all and prints the ratios.

use crate::backend::{Attribution, Backend};
use crate::experiments;
use crate::memory;
use crate::protocol::BlockRequest;
use crate::stopwatch::nanos;
use isobench_core::Fault;
use serde::{Deserialize, Serialize};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// The hand-written side: what an engineer would write who only wanted this one number.
pub trait ByHand {
    /// One cold start: from nothing to the first answer, timed with two clock readings, then taken down outside them.
    fn cold_start(&mut self) -> Duration;

    /// Makes `n` more instances that have each answered once, and keeps them alive until dropped.
    fn hold(&mut self, n: u32) {
        let _ = n;
    }
}

/// What a by-hand program is told on its standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OverheadRequest {
    /// What to deploy and call, as for a block.
    pub block: BlockRequest,
    /// Pairs of cold starts.
    pub rounds: u32,
    /// Instances for the hand count of memory; 0 for none.
    pub hold: u32,
}

/// What it answers on its standard output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OverheadAnswer {
    /// The harness's cold starts, in nanoseconds.
    pub harness_ns: Vec<u64>,
    /// The hand-written ones, pair by pair.
    pub by_hand_ns: Vec<u64>,
    /// Growth of this process's PSS per held instance, in bytes.
    pub by_hand_pss: Option<u64>,
}

/// `main` of a by-hand program.
pub fn main(backend: &dyn Backend, make: &dyn Fn(&BlockRequest) -> Box<dyn ByHand>) -> ExitCode {
    match compare(backend, make) {
        Ok(answer) => {
            println!("{}", serde_json::to_string(&answer).expect("numbers only"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare(backend: &dyn Backend, make: &dyn Fn(&BlockRequest) -> Box<dyn ByHand>) -> anyhow::Result<OverheadAnswer> {
    let request: OverheadRequest = serde_json::from_reader(io::stdin().lock())?;
    let block = &request.block;
    std::fs::create_dir_all(&block.ctx.state)?;
    let prepared = backend.open(&block.ctx, &block.prepared)?;
    let deployment = prepared.deploy(&block.ctx, &block.target)?;
    let mut by_hand = make(block);
    let harness = || -> Result<u64, Fault> { experiments::one_cold_start(block, deployment.as_ref()) };
    // The first pair pays for what a process does once; it is not counted on either side.
    harness()?;
    by_hand.cold_start();
    let mut answer = OverheadAnswer { harness_ns: Vec::new(), by_hand_ns: Vec::new(), by_hand_pss: None };
    for round in 0..request.rounds {
        // Who goes first alternates, so that neither always finds the caches as the other left them.
        if round % 2 == 0 {
            answer.harness_ns.push(harness()?);
            answer.by_hand_ns.push(nanos(by_hand.cold_start()));
        } else {
            answer.by_hand_ns.push(nanos(by_hand.cold_start()));
            answer.harness_ns.push(harness()?);
        }
    }
    if request.hold > 0 {
        let before = memory::read(&Attribution::this_process())?.pss;
        by_hand.hold(request.hold);
        let after = memory::read(&Attribution::this_process())?.pss;
        answer.by_hand_pss = Some(after.saturating_sub(before) / u64::from(request.hold));
    }
    Ok(answer)
}
