//! The backends of one run under one configuration: found, asked, planned for, prepared.

use crate::backend::RunContext;
use crate::client::{self, Owner, Runner, probe_all};
use crate::guests::Built;
use crate::place::Places;
use crate::plan;
use crate::session::{Options, SessionError, interrupted};
use crate::settings::Settings;
use isobench_core::run::{Absent, BackendEntry, CellFault, Configuration, Order};
use isobench_core::{Availability, CellEntry, Fault, Flag, Side};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A configuration that backends run under: the usual one, or one side of an A/B run.
pub(crate) struct Fleet {
    pub side: Option<Side>,
    name: String,
    programs: PathBuf,
    /// Whether `programs` is not this build's own folder.
    foreign: bool,
    env: BTreeMap<String, String>,
}

/// A backend that was asked, and what its cells share.
pub(crate) struct Active {
    pub runner: Runner,
    pub availability: Availability,
    pub owner: Option<Owner>,
    pub programs: PathBuf,
}

/// What a fleet brings into the run.
#[derive(Default)]
pub(crate) struct Mustered {
    pub backends: Vec<Active>,
    pub entries: Vec<BackendEntry>,
    pub cells: Vec<CellEntry>,
    pub absent: Vec<Absent>,
}

impl Fleet {
    /// The fleets of a run: one, or those of sides A and B.
    pub fn of_run(places: &Places, options: &Options) -> Vec<Fleet> {
        let usual = Fleet {
            side: None,
            name: String::new(),
            programs: places.programs.clone(),
            foreign: false,
            env: options.env.clone(),
        };
        let side = |(side, settings): (Side, &Settings)| Fleet {
            side: Some(side),
            name: settings.name.clone(),
            programs: settings.programs.clone().unwrap_or_else(|| places.programs.clone()),
            foreign: settings.programs.is_some(),
            env: options.env.clone().into_iter().chain(settings.env.clone()).collect(),
        };
        let sides: Vec<Fleet> = [Side::A, Side::B].into_iter().zip(&options.configurations).map(side).collect();
        if sides.is_empty() { vec![usual] } else { sides }
    }

    /// What `run.json` says of it.
    pub fn configuration(&self) -> Option<Configuration> {
        Some(Configuration {
            side: self.side?,
            name: self.name.clone(),
            env: self.env.clone(),
            // Not the whole path: a run names no folder of the machine.
            programs: self.foreign.then(|| last_names(&self.programs)),
        })
    }

    /// Asks the backends, plans their cells, prepares what those share. `context` makes a context from the folder of
    /// the programs and a name that no other part of the run has.
    pub fn muster(
        &self,
        mut runners: Vec<Runner>,
        options: &Options,
        built: &[Built],
        context: &(dyn Fn(&Path, &str) -> RunContext + Sync),
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Mustered, SessionError> {
        let of = self.side.map_or_else(String::new, |side| format!(" of {} ({side})", self.name));
        let context = |what: &str, backend: &str| {
            let side = self.side.map_or_else(String::new, |side| format!("-{side}"));
            context(&self.programs, &format!("{what}-{backend}{side}"))
        };
        // A backend none of whose cells is wanted is not asked: its probe may boot a guest.
        let descriptions: Vec<_> = runners.iter().map(|r| r.description.clone()).collect();
        let engines = plan::engines(&descriptions);
        // As if every guest had been built: one that could not be is absent with that reason, not unknown.
        let named: Vec<Built> = built.iter().map(|built| plan::as_if_built(built.workload.clone())).collect();
        let conceivable = plan::cells_everywhere(descriptions, &named, &options.filter, &options.plan);
        runners.retain(|r| conceivable.iter().any(|e| e.cell.backend == r.description.backend));

        say(&format!("asking the backends{of}"));
        let availabilities = probe_all(&runners, |name| context("p", name));
        interrupted()?;

        let described: Vec<_> =
            runners.iter().map(|r| r.description.clone()).zip(availabilities.iter().cloned()).collect();
        let (mut cells, absent) = plan::cells(&described, &engines, built, &options.filter, &options.plan);
        for cell in &mut cells {
            cell.side = self.side;
            if options.plan.order == Order::Sequential {
                cell.flags.push(Flag::Sequential);
            }
        }
        let wanted = |name: &str| cells.iter().any(|c| c.cell.backend == name);
        let names: Vec<&str> =
            runners.iter().map(|r| r.description.backend.as_str()).filter(|name| wanted(name)).collect();
        say(&format!("preparing {}{of}", names.join(", ")));
        let owners = own_all(&runners, &wanted, |name| context("o", name));
        interrupted()?;

        let mut mustered = Mustered { absent, ..Mustered::default() };
        for ((runner, availability), owned) in runners.into_iter().zip(availabilities).zip(owners) {
            let owner = match owned {
                Some(Err(fault)) => {
                    let fault = fault.context("prepare");
                    for cell in cells.iter_mut().filter(|c| c.cell.backend == runner.description.backend) {
                        let experiment = cell.experiments[0];
                        cell.faults.push(CellFault { experiment, fault: fault.clone(), blocks: 0 });
                    }
                    None
                }
                Some(Ok(owner)) => {
                    if !owner.bound {
                        let own = cells.iter_mut().filter(|c| c.cell.backend == runner.description.backend);
                        own.for_each(|cell| cell.flags.push(Flag::Unbound));
                    }
                    Some(owner)
                }
                None => None,
            };
            mustered.entries.push(BackendEntry {
                description: runner.description.clone(),
                availability: availability.clone(),
                side: self.side,
                prepare_ns: owner.as_ref().map(|o| o.took_ns),
            });
            mustered.backends.push(Active { runner, availability, owner, programs: self.programs.clone() });
        }
        mustered.cells = cells;
        Ok(mustered)
    }

    /// Finds the runners of the models that are asked for, without asking whether they can run.
    ///
    /// # Errors
    /// Returns an error if the folder of programs holds no runner.
    pub fn discover(&self, options: &Options, say: &dyn Fn(&str)) -> Result<Vec<Runner>, SessionError> {
        let mut runners = Vec::new();
        let programs = client::discover_under(&self.programs, &self.env);
        if programs.is_empty() {
            return Err(SessionError::NoRunners(self.programs.clone()));
        }
        for found in programs {
            match found {
                Ok(runner) if !options.models.is_empty() && !options.models.contains(&runner.description.model) => {}
                Ok(runner) if runner.description.hidden && !options.filter.names(&runner.description.backend) => {}
                Ok(runner) => runners.push(runner),
                Err(fault) => say(&format!("a backend is left out: {fault}")),
            }
        }
        Ok(runners)
    }
}

/// The last two names of a path: enough to tell one build from another.
fn last_names(path: &Path) -> String {
    let names: Vec<_> = path.iter().map(|name| name.to_string_lossy()).collect();
    names[names.len().saturating_sub(2)..].join("/")
}

fn own_all(
    runners: &[Runner],
    wanted: &(dyn Fn(&str) -> bool + Sync),
    context: impl Fn(&str) -> RunContext + Sync,
) -> Vec<Option<Result<Owner, Fault>>> {
    std::thread::scope(|scope| {
        let context = &context;
        let threads: Vec<_> = runners
            .iter()
            .map(|r| {
                let name = r.description.backend.as_str();
                wanted(name).then(|| scope.spawn(move || r.own(&context(name))))
            })
            .collect();
        threads
            .into_iter()
            .map(|t| Some(t?.join().unwrap_or_else(|_| Err(Fault::backend("preparing it panicked")))))
            .collect()
    })
}
