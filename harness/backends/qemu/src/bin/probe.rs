//! The smallest agent: what a probe guest runs to show that a machine boots. It answers every call with the request.

use isobench_guest::agent::{self, AgentFault, Guest};
use std::process::ExitCode;

struct Echo;

impl Guest for Echo {
    fn handle(&mut self, request: &[u8]) -> Result<Vec<u8>, AgentFault> {
        Ok(request.to_vec())
    }
}

fn main() -> ExitCode {
    agent::serve(concat!("probe ", env!("CARGO_PKG_VERSION")), |_| Ok(Echo))
}
