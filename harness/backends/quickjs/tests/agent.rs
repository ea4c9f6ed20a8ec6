//! The agent for JS guests on QuickJS, spoken to over a real socket as a boundary's host does.

use isobench_core::FaultKind;
use isobench_runner::testing::js::agent::{Agent, LONG, contract};

const PROGRAM: &str = env!("CARGO_BIN_EXE_isobench-agent-quickjs");

#[test]
fn the_agent_keeps_the_contract() {
    contract(PROGRAM);
}

#[test]
fn memory_exhaustion_is_told_by_name_and_survived() {
    let mut agent = Agent::ready(
        PROGRAM,
        "const kept = [];
         export function handle(request) {
           if (request.length) for (;;) kept.push([kept.length]);
           if (kept.length) kept.length = 0;
           const own = [];
           for (;;) own.push([own.length]);
         }",
        LONG,
    );
    agent.call_fault(FaultKind::OutOfMemory);
    assert_eq!(agent.call(b"keep").expect_err("no memory").kind, FaultKind::OutOfMemory);
    // What it kept is gone by then, and there is room to fill again.
    agent.call_fault(FaultKind::OutOfMemory);

    let mut agent = Agent::ready(PROGRAM, "export function handle() { return new Array(32e6).fill(1.5); }", LONG);
    agent.call_fault(FaultKind::OutOfMemory);
    agent.channel.send_stop();
    assert!(agent.child.wait().expect("the agent ends").success());
}
