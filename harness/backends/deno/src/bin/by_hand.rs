//! Deno's cold start by hand: see `isobench_node::hand`.

use isobench_deno::{Deno, deployed, program};
use isobench_node::hand::Hand;
use isobench_runner::overhead;
use isobench_runner::protocol::BlockRequest;
use std::process::ExitCode;

fn main() -> ExitCode {
    overhead::main(&Deno, &|block: &BlockRequest| {
        let program = program(&block.ctx.cache).expect("a Deno");
        let scripted = deployed(&block.ctx, &block.target, &program).expect("a guest");
        Box::new(Hand::of(block, program, scripted))
    })
}
