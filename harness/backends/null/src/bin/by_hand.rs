//! The scripted backend's echo by hand: a copy of the request, with nothing of the harness around it. What the overhead
//! bench finds here is the harness's own floor.

use isobench_runner::overhead::{self, ByHand};
use std::process::ExitCode;
use std::time::{Duration, Instant};

struct Echo {
    input: Vec<u8>,
    held: Vec<Vec<u8>>,
}

impl ByHand for Echo {
    fn cold_start(&mut self) -> Duration {
        let before = Instant::now();
        let answer = std::hint::black_box(&self.input).to_vec();
        let took = before.elapsed();
        assert_eq!(answer, self.input);
        took
    }

    fn hold(&mut self, n: u32) {
        self.held.extend((0..n).map(|_| self.input.clone()));
    }
}

fn main() -> ExitCode {
    overhead::main(&isobench_null::Null, &|block| {
        let input = std::fs::read(&block.input).expect("the case's input");
        Box::new(Echo { input, held: Vec::new() })
    })
}
