//! Node's cold start by hand: see `isobench_node::hand`.

use isobench_node::Node;
use isobench_node::deployed::deployed;
use isobench_node::hand::Hand;
use isobench_node::program::Program;
use isobench_runner::overhead;
use isobench_runner::protocol::BlockRequest;
use std::process::ExitCode;

fn main() -> ExitCode {
    overhead::main(&Node, &|block: &BlockRequest| {
        let program = Program::find(&block.ctx.cache).expect("a Node");
        let scripted = deployed(&block.ctx, &block.target, &program).expect("a guest");
        Box::new(Hand::of(block, program.path, scripted))
    })
}
