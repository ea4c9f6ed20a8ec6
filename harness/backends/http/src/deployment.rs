//! Instances: connections to a deployed function.

use crate::Row;
use crate::cold;
use crate::endpoint::Endpoint;
use isobench_core::Fault;
use isobench_runner::http::Http;
use isobench_runner::{Attribution, Deadline, Deployment, Instance, Phases};
use std::sync::Arc;
use std::time::Duration;

/// A row's function for one workload.
pub(crate) struct Deployed {
    row: Row,
    workload: String,
    reach: Arc<Reach>,
}

/// What instances share.
struct Reach {
    endpoint: Endpoint,
    kept: bool,
    /// Longest wait for a start and for the first answer, where it is longer than the workload's.
    patience: Option<Duration>,
}

impl Reach {
    /// The later of `deadline` and the target's own.
    fn patient(&self, deadline: Deadline) -> Deadline {
        match self.patience {
            Some(patience) if patience > deadline.remaining() => Deadline::after(patience),
            _ => deadline,
        }
    }
}

impl Deployed {
    pub(crate) fn new(row: Row, workload: &str, limit: u64) -> Result<Deployed, Fault> {
        let endpoint = Endpoint::new(&row.target, workload, row.kept, limit)?;
        let patience = row.target.deadline_s.map(Duration::from_secs);
        let reach = Arc::new(Reach { endpoint, kept: row.kept, patience });
        Ok(Deployed { row, workload: workload.into(), reach })
    }
}

impl Deployment for Deployed {
    fn make_cold(&self) -> Result<(), Fault> {
        let cold = self.row.target.cold.as_ref();
        cold.map_or(Ok(()), |cold| cold::make_cold(cold, &self.row.of, &self.workload))
    }

    fn start(&self, phases: &mut Phases, deadline: Deadline) -> Result<Box<dyn Instance>, Fault> {
        let reach = Arc::clone(&self.reach);
        let mark = |phase| {
            phases.end(phase);
        };
        let http = reach.endpoint.connect(mark, reach.patient(deadline))?;
        Ok(Box::new(Connected { reach, http: Some(http), answered: false }))
    }

    fn footprint(&self) -> Attribution {
        Attribution::default()
    }
}

/// An instance: what answers on one connection, as far as anyone can tell.
struct Connected {
    reach: Arc<Reach>,
    http: Option<Http>,
    answered: bool,
}

impl Instance for Connected {
    fn call(&mut self, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        let deadline = if self.answered { deadline } else { self.reach.patient(deadline) };
        let endpoint = &self.reach.endpoint;
        let mut http = match self.http.take() {
            Some(http) => http,
            None => endpoint.connect(|_| {}, deadline)?,
        };
        // What the other end has closed meanwhile is connected anew, as by every client; the call pays for it.
        if self.answered && !http.lives() {
            http = endpoint.connect(|_| {}, deadline)?;
        }
        let answer = endpoint.ask(&mut http, request, deadline)?;
        self.answered = true;
        if self.reach.kept {
            self.http = Some(http);
        }
        Ok(answer)
    }

    fn footprint(&self) -> Attribution {
        Attribution::default()
    }

    fn stop(self: Box<Self>, _: Deadline) -> Result<(), Fault> {
        // The connection is closed by its drop. What answered on it lives as long as its platform likes.
        Ok(())
    }
}
