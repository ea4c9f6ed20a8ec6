//! Whether a deployed function is what its row says. Anything can answer an empty request with an empty answer, so each
//! function first answers a request with content, outside every measurement.

use super::{Session, SessionError, interrupted};
use crate::plan;
use isobench_core::run::CellFault;
use isobench_core::{CellId, Fault, FaultKind, Model, Record};
use std::collections::BTreeMap;
use std::fs;

impl Session {
    /// Sends every remote row the largest case of its workload. A row whose answer is wrong gets that fault, and its
    /// cells are error rows from the start.
    pub(super) fn verify_remote(&mut self, say: &(dyn Fn(&str) + Sync)) -> Result<(), SessionError> {
        let mut faults: BTreeMap<(String, String), Option<Fault>> = BTreeMap::new();
        for id in 0..self.run.cells.len() as CellId {
            if self.active(id).runner.description.model != Model::Remote {
                continue;
            }
            let entry = self.entry(id);
            let (row, workload) = (entry.cell.row(), entry.cell.workload.clone());
            let known = faults.get(&(row.clone(), workload.clone())).cloned();
            let fault = known.unwrap_or_else(|| {
                say(&format!("verifying {row} with {workload}"));
                self.remote_fault(id)
            });
            interrupted()?;
            faults.insert((row, workload), fault.clone());
            if let Some(fault) = fault {
                let entry = &mut self.run.cells[id as usize];
                let experiment = entry.experiments[0];
                entry.faults.push(CellFault { experiment, fault, blocks: 0 });
            }
        }
        Ok(())
    }

    fn remote_fault(&mut self, id: CellId) -> Option<Fault> {
        let cell = &self.entry(id).cell;
        let cases = &self.workloads[&cell.workload].workload.cases;
        let length = |path: &std::path::Path| fs::metadata(path).map_or(0, |meta| meta.len());
        let largest = cases.iter().max_by_key(|case| length(&case.input)).filter(|case| length(&case.input) > 0);
        let Some(case) = largest.cloned() else {
            let message = format!(
                "the workload `{}` has only empty requests, which anything can answer: add a case with content, so that \
                 the function can be verified",
                cell.workload
            );
            return Some(Fault::new(FaultKind::InvalidGuest, message));
        };
        let (visit, block) = (plan::page_cache_visit(), self.next_block);
        self.next_block += 1;
        let mut request = self.request(id, block, &visit);
        (request.input, request.expected_sha256) = (case.input, case.expected_sha256);
        let runner = &self.active(id).runner;
        let deadline = plan::block_deadline(&visit, &request.target.limits, request.target.emulated);
        let records = runner.block(&request, deadline + runner.longer(&request.target.variant, &visit));
        let fault = records.iter().find_map(Record::fault)?;
        Some(fault.clone().context(format!("verifying with the case `{}` before measuring", case.name)))
    }
}
