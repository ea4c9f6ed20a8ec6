//! The overhead bench's other side: QuickJS as someone would write it who only wanted this one number. The same crate
//! and memory limit; no traits, no deadline, no allocator of its own, no text codecs.

use isobench_core::Guest;
use isobench_quickjs::QuickJs;
use isobench_runner::overhead::{self, ByHand};
use isobench_runner::protocol::BlockRequest;
use rquickjs::{Context, Function, Module, Persistent, Runtime, TypedArray};
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    overhead::main(&QuickJs, &|block| Box::new(Hand::new(block)))
}

struct Hand {
    source: Vec<u8>,
    input: Vec<u8>,
    memory_limit: usize,
    held: Vec<Live>,
}

/// In the order in which they must go.
struct Live {
    answer: Vec<u8>,
    _handle: Persistent<Function<'static>>,
    _context: Context,
}

impl Hand {
    fn new(block: &BlockRequest) -> Hand {
        assert_eq!(block.target.guest, Guest::Js, "the hand-written loop runs js guests");
        assert_eq!(block.target.variant, "fresh", "the hand-written loop is `fresh`, with nothing done ahead");
        Hand {
            source: std::fs::read(&block.target.artifact).expect("the guest's file"),
            input: std::fs::read(&block.input).expect("the case's input"),
            memory_limit: block.target.limits.memory_bytes as usize,
            held: Vec::new(),
        }
    }

    /// A runtime that has answered once.
    fn start(&self) -> Live {
        let runtime = Runtime::new().expect("a runtime");
        runtime.set_memory_limit(self.memory_limit);
        let context = Context::full(&runtime).expect("a context");
        let (answer, handle) = context.with(|ctx| {
            let module = Module::declare(ctx.clone(), "guest.js", self.source.clone()).expect("the guest compiles");
            let (module, completion) = module.eval().expect("the guest evaluates");
            completion.finish::<()>().expect("the guest evaluates");
            let handle: Function<'_> = module.get("handle").expect("the guest exports `handle`");
            let request = TypedArray::<u8>::new_copy(ctx.clone(), &self.input).expect("room for the request");
            let answer: TypedArray<'_, u8> = handle.call((request,)).expect("an answer");
            // SAFETY: nothing of the guest's runs while they are copied.
            let bytes = unsafe { answer.as_bytes() }.expect("bytes").to_vec();
            (bytes, Persistent::save(&ctx, handle))
        });
        Live { answer, _handle: handle, _context: context }
    }
}

impl ByHand for Hand {
    fn cold_start(&mut self) -> Duration {
        let begun = Instant::now();
        let started = self.start();
        let took = begun.elapsed();
        std::hint::black_box(&started.answer);
        drop(started);
        took
    }

    fn hold(&mut self, n: u32) {
        for _ in 0..n {
            let started = self.start();
            self.held.push(started);
        }
    }

    fn release(&mut self) {
        self.held.clear();
    }
}
