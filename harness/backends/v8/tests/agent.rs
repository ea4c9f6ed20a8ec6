//! The agent for JS guests, spoken to over a real socket as a boundary's host does.

use isobench_core::FaultKind;
use isobench_runner::testing::js::agent::{Agent, LONG, contract};

const PROGRAM: &str = env!("CARGO_BIN_EXE_isobench-agent-v8");

#[test]
fn the_agent_keeps_the_contract() {
    contract(PROGRAM);
}

#[test]
fn memory_exhaustion_is_told_by_name_even_where_v8_aborts() {
    let mut agent =
        Agent::ready(PROGRAM, "const keep = []; export function handle() { for (;;) keep.push([keep.length]); }", LONG);
    agent.call_fault(FaultKind::OutOfMemory);
    // A heap that was exhausted stays so: no later call may pretend otherwise.
    agent.call_fault(FaultKind::OutOfMemory);

    let mut agent = Agent::ready(PROGRAM, "export function handle() { return new Array(32e6).fill(1.5); }", LONG);
    agent.call_fault(FaultKind::OutOfMemory);
    assert!(!agent.child.wait().expect("the agent ends").success());
}
