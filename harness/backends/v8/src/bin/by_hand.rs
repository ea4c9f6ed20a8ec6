//! The overhead bench's other side: V8 as someone would write it who only wanted this one number. The same crate and
//! heap limit; no traits, no watchdog, no limit on array buffers, no text codecs.

use isobench_core::Guest;
use isobench_runner::overhead::{self, ByHand};
use isobench_runner::protocol::BlockRequest;
use isobench_v8::V8;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    overhead::main(&V8, &|block| Box::new(Hand::new(block)))
}

struct Hand {
    source: String,
    input: Vec<u8>,
    heap_limit: usize,
    held: Vec<(v8::Global<v8::Context>, v8::Global<v8::Function>, v8::OwnedIsolate)>,
}

impl Hand {
    fn new(block: &BlockRequest) -> Hand {
        assert_eq!(block.target.guest, Guest::Js, "the hand-written loop runs js guests");
        assert_eq!(block.target.variant, "fresh", "the hand-written loop is `fresh`, with nothing done ahead");
        Hand {
            source: std::fs::read_to_string(&block.target.artifact).expect("the guest's file"),
            input: std::fs::read(&block.input).expect("the case's input"),
            heap_limit: block.target.limits.memory_bytes as usize,
            held: Vec::new(),
        }
    }

    /// An isolate that has answered once.
    fn start(&self) -> (Vec<u8>, v8::Global<v8::Context>, v8::Global<v8::Function>, v8::OwnedIsolate) {
        let mut isolate = v8::Isolate::new(v8::Isolate::create_params().heap_limits(0, self.heap_limit));
        let (answer, context, handle) = {
            v8::scope!(let scope, &mut isolate);
            let context = v8::Context::new(scope, v8::ContextOptions::default());
            let scope = &mut v8::ContextScope::new(scope, context);
            let name = v8::String::new(scope, "guest.js").unwrap().into();
            let origin = v8::ScriptOrigin::new(scope, name, 0, 0, false, -1, None, false, false, true, None);
            let text = v8::String::new(scope, &self.source).unwrap();
            let mut source = v8::script_compiler::Source::new(text, Some(&origin));
            let module = v8::script_compiler::compile_module(scope, &mut source).expect("the guest compiles");
            module.instantiate_module(scope, |_, _, _, _| None).expect("the guest imports nothing");
            module.evaluate(scope).expect("the guest evaluates");
            let key = v8::String::new(scope, "handle").unwrap().into();
            let handle = module.get_module_namespace().cast::<v8::Object>().get(scope, key).unwrap();
            let handle = handle.cast::<v8::Function>();

            let buffer = v8::ArrayBuffer::new(scope, self.input.len());
            if let Some(data) = buffer.data() {
                // SAFETY: a new buffer of that length.
                unsafe { std::ptr::copy_nonoverlapping(self.input.as_ptr(), data.as_ptr().cast(), self.input.len()) };
            }
            let request = v8::Uint8Array::new(scope, buffer, 0, self.input.len()).unwrap();
            let this = v8::undefined(scope).into();
            let answer = handle.call(scope, this, &[request.into()]).expect("an answer").cast::<v8::Uint8Array>();
            let mut bytes = vec![0; answer.byte_length()];
            answer.copy_contents(&mut bytes);
            (bytes, v8::Global::new(scope, context), v8::Global::new(scope, handle))
        };
        (answer, context, handle, isolate)
    }
}

impl ByHand for Hand {
    fn cold_start(&mut self) -> Duration {
        let begun = Instant::now();
        let started = self.start();
        let took = begun.elapsed();
        drop(started);
        took
    }

    fn hold(&mut self, n: u32) {
        for _ in 0..n {
            let (_, context, handle, isolate) = self.start();
            self.held.push((context, handle, isolate));
        }
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        // Isolates go in reverse order: each is entered on top of the one before.
        while self.held.pop().is_some() {}
    }
}
