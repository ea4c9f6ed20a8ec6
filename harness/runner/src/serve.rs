//! The runner program: `main` of every `isobench-runner-<backend>`.

use crate::allowance;
use crate::backend::{Backend, RunContext};
use crate::contract;
use crate::experiments;
use crate::protocol::{BlockRequest, CleanRequest, Event, Owned};
use crate::reap;
use crate::stopwatch::nanos;
use anyhow::{Context, Result, bail};
use isobench_core::record::FaultRecord;
use isobench_core::{Experiment, Record};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{self, BufRead, Read, Write};
use std::os::fd::FromRawFd;
use std::process::ExitCode;
use std::time::Instant;

/// Serves one command of the runner protocol, named by the first argument.
pub fn main(backend: &dyn Backend) -> ExitCode {
    allowance::raise_open_files();
    let name = backend.describe().backend;
    let command = std::env::args_os().nth(1).unwrap_or_default();
    let command = command.to_string_lossy();
    let served = protected_stdout().and_then(|mut out| match &*command {
        "describe" => answer(&mut out, &backend.describe()),
        "probe" => answer(&mut out, &backend.probe(&input()?)),
        "own" => own(backend, &mut out),
        "block" => block(backend, &mut out),
        "clean" => {
            let request: CleanRequest = input()?;
            answer(&mut out, &backend.clean(&request.ctx, &request.dead))
        }
        _ => bail!(
            "usage: isobench-runner-{name} describe|probe|own|block|clean — `isobench` calls this program, not people"
        ),
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("isobench-runner-{name} {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Keeps the protocol's stream for ourselves and points standard output at standard error, so that an engine or a guest
/// that prints cannot write into it.
fn protected_stdout() -> Result<File> {
    // SAFETY: both are open descriptors; the duplicate is owned by the `File` alone.
    unsafe {
        let kept = libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 3);
        if kept < 0 || libc::dup2(2, 1) < 0 {
            return Err(io::Error::last_os_error()).context("standard output");
        }
        Ok(File::from_raw_fd(kept))
    }
}

fn answer(out: &mut File, value: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    out.write_all(&line).context("answering the coordinator")
}

fn input<T: DeserializeOwned>() -> Result<T> {
    let mut text = String::new();
    io::stdin().lock().read_line(&mut text).context("reading the request")?;
    serde_json::from_str(&text).context("the request on standard input")
}

/// Prepares, says so, and holds on until the coordinator closes our standard input, by dying if need be.
fn own(backend: &dyn Backend, out: &mut File) -> Result<()> {
    let ctx: RunContext = input()?;
    let _state = OwnState::create(&ctx)?;
    let begun = Instant::now();
    match backend.prepare(&ctx) {
        Err(fault) => answer(out, &Owned::Failed(fault)),
        Ok(prepared) => {
            let (record, took_ns, bound) = (prepared.record(), nanos(begun.elapsed()), prepared.is_bound());
            answer(out, &Owned::Prepared { record, took_ns, bound })?;
            // Until end of file, whatever is said meanwhile.
            io::stdin().lock().read_to_end(&mut Vec::new()).context("waiting for the end of the run")?;
            drop(prepared);
            Ok(())
        }
    }
}

fn block(backend: &dyn Backend, out: &mut File) -> Result<()> {
    // A runner whose coordinator dies is of no use, and its instances must not outlive it.
    // SAFETY: plain prctl.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let request: BlockRequest = input()?;
    let _state = OwnState::create(&request.ctx)?;
    let mut written = Ok(());
    let mut emit = |record: Record| {
        if written.is_ok() {
            written = answer(out, &Event::Record(record));
        }
    };
    reap::adopt_orphans();
    let deployed = contract::check(&request)
        .and_then(|()| backend.open(&request.ctx, &request.prepared))
        .and_then(|prepared| prepared.deploy(&request.ctx, &request.target).map(|deployment| (prepared, deployment)));
    match deployed {
        Ok((_prepared, deployment)) => experiments::run(&request, deployment.as_ref(), &mut emit),
        Err(fault) => emit(Record::Fault(FaultRecord {
            cell: request.cell,
            block: request.block,
            experiment: Experiment::ColdStart,
            fault: fault.context("deploy"),
        })),
    }
    // What a guest started and left behind is not part of the next block.
    reap::kill_children();
    written?;
    answer(out, &Event::Done)
}

/// The process's own state folder, removed at the end.
struct OwnState<'a>(&'a RunContext);

impl<'a> OwnState<'a> {
    fn create(ctx: &'a RunContext) -> Result<OwnState<'a>> {
        fs::create_dir_all(&ctx.state).with_context(|| format!("creating {}", ctx.state.display()))?;
        Ok(OwnState(ctx))
    }
}

impl Drop for OwnState<'_> {
    fn drop(&mut self) {
        // The coordinator gave this folder to this process alone, inside its run's state folder. What cannot be removed
        // now goes with that one.
        let _ = fs::remove_dir_all(&self.0.state);
    }
}
