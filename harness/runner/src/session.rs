//! One run on this machine, from asking the backends to the last record on disk. Used by `isobench run` and by the
//! Criterion benches, so that both measure and write alike.

mod remote;

use crate::allowance;
use crate::awake::{self, Awake};
use crate::backend::{RunContext, Target};
use crate::circumstances::Before;
use crate::client::INTERRUPTED;
use crate::fleet::{Active, Fleet, Mustered};
use crate::guests::{self, Built};
use crate::machine;
use crate::place::{self, Places, StateTooLong};
use crate::plan::{self, Filter};
use crate::protocol::{BlockRequest, Visit};
use crate::reap::StateDir;
use crate::settings::Settings;
use isobench_core::run::{Absent, CellFault, Order, Plan, SCHEMA_VERSION, WorkloadEntry};
use isobench_core::store::{RunDir, SampleWriter, StoreError};
use isobench_core::workload::{self, WorkloadError};
use isobench_core::{
    CellEntry, CellId, Description, Guest, Machine, Model, Record, RunFile, SampleFlag, Side, Workload,
};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// The exact command line, for the record.
    pub command: Vec<String>,
    /// Which cells.
    pub filter: Filter,
    /// Seed, order, budget: copied into `run.json`.
    pub plan: Plan,
    /// Where the run's folder goes; `None` writes nothing.
    pub results: Option<std::path::PathBuf>,
    /// The models whose backends are asked at all; empty for every model.
    pub models: Vec<Model>,
    /// The two sides of an A/B run; none in any other.
    pub configurations: Vec<Settings>,
    /// The environment of every runner, beside its usual one; a side's own comes after it.
    pub env: BTreeMap<String, String>,
}

/// What can go wrong before or beside measuring. Faults of cells are records, not errors.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The results could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The workloads' folder cannot be read.
    #[error(transparent)]
    Workloads(#[from] WorkloadError),
    /// The state folder could not be made.
    #[error("{}: {cause}; set ISOBENCH_STATE to a folder that can be written", path.display())]
    State {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The path of the state folder leaves no room for the names of sockets.
    #[error(transparent)]
    StateTooLong(#[from] StateTooLong),
    /// No runner program was found.
    #[error("no isobench-runner-* program in {}: `make build` builds them", .0.display())]
    NoRunners(std::path::PathBuf),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

/// A run in progress. Dropping it releases every owner and removes the state folder.
pub struct Session {
    /// What `run.json` says so far.
    pub run: RunFile,
    /// Workloads that were left out because their fixture is broken: what is wrong, with file and line.
    pub broken: Vec<WorkloadError>,
    places: Places,
    /// By side of the run and name.
    backends: BTreeMap<(Option<Side>, String), Active>,
    workloads: BTreeMap<String, Built>,
    store: Option<(RunDir, SampleWriter)>,
    next_block: u32,
    // Last: the owners go first, then the folder they worked in.
    state: StateDir,
}

impl Session {
    /// Asks the backends, builds the guests, plans the cells, prepares what they share. `say` hears each step.
    pub fn begin(places: &Places, options: Options, say: &(dyn Fn(&str) + Sync)) -> Result<Session, SessionError> {
        allowance::raise_open_files();
        place::leaves_room_for_sockets(&places.state)?;
        let id = place::new_run_id();
        let state = StateDir::create(&places.state, &id)
            .map_err(|cause| SessionError::State { path: places.state.clone(), cause })?;
        let fleets = Fleet::of_run(places, &options);
        let found = fleets.iter().map(|fleet| fleet.discover(&options, say)).collect::<Result<Vec<_>, _>>()?;
        let descriptions = found.iter().flatten().map(|runner| runner.description.clone()).collect();
        let (workloads, broken) = build_workloads(places, descriptions, &options, say)?;
        let built: Vec<Built> = workloads.values().cloned().collect();
        let mut all = Mustered::default();
        let mut backends = BTreeMap::new();
        for (fleet, runners) in fleets.iter().zip(found) {
            let context = |programs: &Path, part: &str| RunContext {
                programs: programs.into(),
                ..context(places, &state, &id, part)
            };
            let mustered = fleet.muster(runners, &options, &built, &context, say)?;
            let named = |active: Active| ((fleet.side, active.runner.description.backend.clone()), active);
            backends.extend(mustered.backends.into_iter().map(named));
            all.entries.extend(mustered.entries);
            all.cells.extend(mustered.cells);
            let new = mustered.absent.into_iter().filter(|a| !all.absent.contains(a)).collect::<Vec<_>>();
            all.absent.extend(new);
        }
        // Load is not compared, so nothing has to be told from noise.
        if options.plan.order == Order::Shuffled && options.plan.load.is_none() {
            all.cells.extend(plan::twins(&all.cells));
        }
        all.cells.iter_mut().enumerate().for_each(|(index, cell)| cell.id = index as CellId);

        let run = RunFile {
            schema: SCHEMA_VERSION,
            id: id.clone(),
            command: options.command,
            isobench: env!("CARGO_PKG_VERSION").into(),
            commit: None,
            started_unix_ms: place::unix_ms(),
            ended_unix_ms: None,
            stopped_early: None,
            plan: Plan { configurations: fleets.iter().filter_map(Fleet::configuration).collect(), ..options.plan },
            machine: Machine { wake_up_ns: awake::wake_up_ns(), ..machine::describe() },
            backends: all.entries,
            workloads: workloads.values().map(workload_entry).collect(),
            cells: all.cells,
            absent: all.absent.into_iter().chain(broken.iter().map(broken_fixture)).collect(),
        };
        let store = match options.results {
            Some(results) if !run.cells.is_empty() => {
                let dir = RunDir::new(results.join(&id));
                dir.write_run(&run)?;
                dir.reserve();
                let writer = dir.writer()?;
                Some((dir, writer))
            }
            _ => None,
        };
        let mut session =
            Session { run, broken, places: places.clone(), backends, workloads, store, next_block: 0, state };
        session.verify_remote(say)?;
        Ok(session)
    }

    /// The run's folder, if it writes one.
    pub fn dir(&self) -> Option<&RunDir> {
        self.store.as_ref().map(|(dir, _)| dir)
    }

    /// A cell's entry.
    pub fn entry(&self, id: CellId) -> &CellEntry {
        &self.run.cells[id as usize]
    }

    /// Whether a cell's instances live in the runner process itself.
    pub fn in_process(&self, id: CellId) -> bool {
        self.active(id).runner.description.in_process
    }

    /// The visits that answer a cell's experiments.
    pub fn visits(&self, id: CellId) -> Vec<Visit> {
        plan::visits(self.entry(id), &self.active(id).runner.description, &self.run.plan)
    }

    /// How long a visit to a cell usually takes.
    pub fn usual(&self, id: CellId, visit: &Visit) -> Duration {
        let active = self.active(id);
        plan::estimate::usual(visit, active.runner.description.model, active.availability.is_emulated())
    }

    /// The backend of a cell. A twin runs under the configuration of the cell it repeats.
    fn active(&self, id: CellId) -> &Active {
        let entry = self.entry(id);
        let side = match entry.side {
            Some(Side::Again) => (!self.run.plan.configurations.is_empty()).then_some(Side::A),
            side => side,
        };
        &self.backends[&(side, entry.cell.backend.clone())]
    }

    /// One visit whose records are thrown away: fills the page cache. Its faults come again in the recorded visit.
    pub fn unrecorded_visit(&mut self, id: CellId) -> Result<(), SessionError> {
        self.block(id, &plan::page_cache_visit());
        interrupted()
    }

    /// One block in a fresh runner process, on disk when this returns. An interrupted block is left out whole.
    pub fn visit(&mut self, id: CellId, visit: &Visit, flag: Option<SampleFlag>) -> Result<Vec<Record>, SessionError> {
        let before = Before::read();
        // Under load a processor may halt as it would for a user; in process nothing has to wake up.
        let closed_loop = matches!(visit, Visit::ColdStart { .. } | Visit::Throughput { .. });
        let awake = (closed_loop && !self.in_process(id)).then(Awake::start).flatten();
        let (block, mut records) = self.block(id, visit);
        let kept_awake = awake.map(|awake| awake.processors());
        let circumstances = before.end(id, block, visit.experiment(), kept_awake);
        interrupted()?;
        for record in &mut records {
            if let (Record::Samples(samples), Some(flag)) = (record, flag) {
                samples.flags.push(flag);
            }
        }
        records.push(Record::Block(circumstances));
        if let Some((_, writer)) = &mut self.store {
            writer.append(&records)?;
        }
        note(&mut self.run.cells[id as usize], &records);
        Ok(records)
    }

    /// Ends the run: takes down what the cells shared, writes the final `run.json`.
    pub fn finish(mut self, stopped_early: Option<String>) -> Result<(RunFile, Option<RunDir>), SessionError> {
        // All owners are told before any is waited for.
        std::thread::scope(|scope| {
            for active in self.backends.values_mut() {
                if let Some(owner) = active.owner.take() {
                    scope.spawn(|| owner.release());
                }
            }
        });
        self.run.ended_unix_ms = Some(place::unix_ms());
        self.run.stopped_early = stopped_early;
        if let Some((dir, _)) = &self.store {
            dir.write_run(&self.run).inspect_err(|_| dir.release())?;
        }
        Ok((self.run, self.store.map(|(dir, _)| dir)))
    }

    /// Ends a run that has measured nothing, and removes its folder with the two files that it wrote there.
    pub fn discard(self) -> Result<(), SessionError> {
        let (_, dir) = self.finish(None)?;
        dir.map_or(Ok(()), |dir| Ok(dir.discard()?))
    }

    /// Writes `run.json` as it stands, so that a killed run keeps its verdicts so far.
    pub fn checkpoint(&self) -> Result<(), SessionError> {
        if let Some((dir, _)) = &self.store {
            dir.write_run(&self.run)?;
            dir.reserve();
        }
        Ok(())
    }

    fn block(&mut self, id: CellId, visit: &Visit) -> (u32, Vec<Record>) {
        let block = self.next_block;
        self.next_block += 1;
        let request = self.request(id, block, visit);
        let runner = &self.active(id).runner;
        let deadline = plan::block_deadline(visit, &request.target.limits, request.target.emulated);
        (block, runner.block(&request, deadline + runner.longer(&request.target.variant, visit)))
    }

    /// The request for one block; the overhead bench sends it to by-hand programs as well.
    pub fn request(&self, id: CellId, block: u32, visit: &Visit) -> BlockRequest {
        let cell = &self.run.cells[id as usize].cell;
        let active = self.active(id);
        let built = &self.workloads[&cell.workload];
        let artifact = built.artifacts[&cell.guest].as_ref().expect("planned cells have their artifact");
        let case = built.workload.cases.iter().find(|c| c.name == cell.case).expect("planned cells have their case");
        BlockRequest {
            ctx: RunContext {
                programs: active.programs.clone(),
                ..context(&self.places, &self.state, &self.run.id, &format!("b{block}"))
            },
            prepared: active.owner.as_ref().map_or(serde_json::Value::Null, |o| o.record.clone()),
            cell: id,
            block,
            target: Target {
                workload: cell.workload.clone(),
                variant: cell.variant.clone(),
                guest: cell.guest,
                engine: cell.engine.clone().or_else(|| cell.guest.usual_engine().map(Into::into)),
                artifact: artifact.path.clone(),
                artifact_sha256: artifact.sha256.clone(),
                limits: built.workload.limits.clone(),
                emulated: active.availability.is_emulated(),
            },
            input: case.input.clone(),
            expected_sha256: case.expected_sha256.clone(),
            in_process: active.runner.description.in_process,
            visit: visit.clone(),
        }
    }
}

pub(crate) fn interrupted() -> Result<(), SessionError> {
    if INTERRUPTED.load(Ordering::Relaxed) { Err(SessionError::Interrupted) } else { Ok(()) }
}

fn context(places: &Places, state: &StateDir, run: &str, part: &str) -> RunContext {
    RunContext {
        run: run.into(),
        state: state.path().join(part),
        cache: places.cache.clone(),
        programs: places.programs.clone(),
    }
}

/// The workloads with their guests built, and the fixtures that are broken. One broken fixture costs its own cells.
fn build_workloads(
    places: &Places,
    descriptions: Vec<Description>,
    options: &Options,
    say: &(dyn Fn(&str) + Sync),
) -> Result<(BTreeMap<String, Built>, Vec<WorkloadError>), SessionError> {
    let (good, broken): (Vec<_>, Vec<_>) =
        workload::load_all(&places.workloads())?.into_iter().partition(Result::is_ok);
    let good: Vec<Workload> = good.into_iter().flatten().collect();
    // Only guests that some wanted cell has are built.
    let named: Vec<Built> = good.iter().cloned().map(plan::as_if_built).collect();
    let cells = plan::cells_everywhere(descriptions, &named, &options.filter, &options.plan);
    let mut workloads = BTreeMap::new();
    for workload in good {
        let name = workload.name.clone();
        let wanted = |guest: Guest| cells.iter().any(|c| c.cell.workload == name && c.cell.guest == guest);
        let built = guests::build(places, workload, &wanted, &|line| say(line));
        interrupted()?;
        workloads.insert(name, built);
    }
    Ok((workloads, broken.into_iter().filter_map(Result::err).collect()))
}

fn broken_fixture(error: &WorkloadError) -> Absent {
    Absent { what: format!("workload {}", error.folder()), reason: error.to_string() }
}

fn workload_entry(built: &Built) -> WorkloadEntry {
    WorkloadEntry {
        name: built.workload.name.clone(),
        summary: built.workload.summary.clone(),
        guests: built
            .artifacts
            .iter()
            .filter_map(|(&guest, a)| Some((guest, a.as_ref().ok()?.sha256.clone())))
            .collect(),
    }
}

/// Counts a block, or notes its fault: each kind once, with its first message.
fn note(entry: &mut CellEntry, records: &[Record]) {
    let fault = records.iter().find_map(|r| if let Record::Fault(f) = r { Some(f) } else { None });
    let Some(record) = fault else {
        entry.blocks += 1;
        return;
    };
    let known =
        entry.faults.iter_mut().find(|f| f.experiment == record.experiment && f.fault.kind == record.fault.kind);
    match known {
        Some(known) => known.blocks += 1,
        None => {
            entry.faults.push(CellFault { experiment: record.experiment, fault: record.fault.clone(), blocks: 1 });
        }
    }
}
