//! Deployed functions, called by a URL: whatever answers a workload's contract by POST. [`Http`] is the backend.
//!
//! | module | what it does |
//! |---|---|
//! | [`targets`] | which functions there are: the table `[targets]` |
//! | `cold` | what makes one cold |
//! | `endpoint` | the way to one |
//! | `deployment` | instances |

mod cold;
mod deployment;
mod endpoint;
pub mod targets;

use deployment::Deployed;
use endpoint::Endpoint;
use isobench_core::{Availability, Description, Fault, Guest, Model, VariantInfo};
use isobench_runner::place;
use isobench_runner::{Backend, Deployment, Prepared, RunContext, Target as Wanted};
use std::collections::BTreeMap;
use std::path::Path;
use targets::{TARGETS, Target};

/// The variant that stands for targets that cannot be read, so that a run says so.
const UNREADABLE: &str = "targets";

/// Why there is no footprint.
const BLACK_BOX: &str = "a function over a URL is a black box: its memory cannot be read, so no footprint is asked for";

/// A row: a target, and how its connections live.
#[derive(Debug, Clone)]
struct Row {
    /// The target's name.
    of: String,
    target: Target,
    /// A connection is kept between calls.
    kept: bool,
}

impl Row {
    fn name(&self) -> String {
        if self.kept { self.of.clone() } else { format!("{}-close", self.of) }
    }

    fn describe(&self) -> VariantInfo {
        let host = self.target.place("echo").map_or_else(|e| e, |place| place.authority);
        let program = |words: &[String]| words.first().cloned();
        let cold = match &self.target.cold {
            None => "nothing makes it cold".to_string(),
            Some(cold) => {
                // Arguments may hold what is nobody's business.
                let run = cold.shell.as_ref().map(|_| "sh".to_string()).or_else(|| program(&cold.command));
                let run = run.map(|program| format!("`{program}` is run"));
                let idle = (cold.idle_s > 0).then(|| format!("{} s without a request", cold.idle_s));
                let both: Vec<String> = run.into_iter().chain(idle).collect();
                format!("before each cold start {}", both.join(", then "))
            }
        };
        let calls = if self.kept { "calls share a connection" } else { "each call has a connection of its own" };
        VariantInfo {
            name: self.name(),
            guests: vec![self.target.guest],
            prepared: format!("deployed at {host}; {cold}; {calls}"),
            never_cold: self.target.cold.is_none(),
            shared: "unknown: the platform's affair".into(),
            // Who names a target wants it.
            quick: true,
            workloads: self.target.workloads.clone(),
            longer_ms: self.target.longer_ms(),
            ..VariantInfo::default()
        }
    }

    /// Why it cannot be called from here, as far as that shows without calling it.
    fn missing(&self) -> Option<String> {
        let workload = self.target.workloads.first().map_or("", String::as_str);
        if let Err(fault) = Endpoint::new(&self.target, workload, self.kept, 0) {
            return Some(fault.message);
        }
        let program = self.target.cold.as_ref()?.command.first()?;
        let found =
            if program.contains('/') { Path::new(program).is_file() } else { place::installed(program).is_some() };
        (!found).then(|| format!("`cold`: there is no program {program}"))
    }
}

/// The backend.
#[derive(Debug)]
pub struct Http(Result<Vec<Row>, String>);

impl Http {
    /// The targets that [`TARGETS`] names.
    pub fn from_env() -> Http {
        let said = std::env::var(TARGETS).unwrap_or_default();
        Http(targets::read(&said).map(|targets| targets.into_iter().flat_map(rows).collect()))
    }

    fn row(&self, variant: &str) -> Result<Row, Fault> {
        let rows = self.0.as_ref().map_err(Fault::backend)?;
        let found = rows.iter().find(|row| row.name() == variant).cloned();
        found.ok_or_else(|| Fault::backend(format!("{TARGETS} names no target for `{variant}`")))
    }
}

fn rows((of, target): (String, Target)) -> Vec<Row> {
    let kept = match target.keep_alive {
        None => vec![true, false],
        Some(kept) => vec![kept],
    };
    kept.into_iter().map(|kept| Row { of: of.clone(), target: target.clone(), kept }).collect()
}

impl Backend for Http {
    fn describe(&self) -> Description {
        let variants = match &self.0 {
            Ok(rows) => rows.iter().map(Row::describe).collect(),
            Err(_) => vec![VariantInfo {
                name: UNREADABLE.into(),
                guests: Guest::ALL.into(),
                quick: true,
                ..VariantInfo::default()
            }],
        };
        Description {
            backend: "http".into(),
            model: Model::Remote,
            variants,
            in_process: false,
            hidden: false,
            footprint_instances: 0,
            engines: Vec::new(),
        }
    }

    fn probe(&self, _: &RunContext) -> Availability {
        let absent = match &self.0 {
            Ok(rows) => rows.iter().filter_map(|row| Some((row.name(), row.missing()?))).collect(),
            Err(why) => BTreeMap::from([(UNREADABLE.into(), why.clone())]),
        };
        let none = matches!(&self.0, Ok(rows) if rows.is_empty());
        let note = if none { "no target is named: `isobench run --target URL`" } else { BLACK_BOX };
        Availability::Available { versions: BTreeMap::new(), emulated: false, notes: vec![note.into()], absent }
    }

    fn open(&self, _: &RunContext, _: &serde_json::Value) -> Result<Box<dyn Prepared>, Fault> {
        Ok(Box::new(Opened(self.0.clone())))
    }
}

/// Nothing is shared: what is to be prepared has been deployed.
struct Opened(Result<Vec<Row>, String>);

impl Prepared for Opened {
    fn deploy(&self, _: &RunContext, wanted: &Wanted) -> Result<Box<dyn Deployment>, Fault> {
        let row = Http(self.0.clone()).row(&wanted.variant)?;
        Ok(Box::new(Deployed::new(row, &wanted.workload, wanted.limits.frame_bytes)?))
    }
}
