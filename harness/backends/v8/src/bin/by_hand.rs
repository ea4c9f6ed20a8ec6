//! The overhead bench's other side: V8 as someone would write it who only wanted this one number. The same crate, flags
//! and heap limit; no traits, no watchdog, no limit on array buffers, no text codecs.
//!
//! It does `fresh`, `pool` and `snapshot`. A process that has a snapshot of the harness's cannot have this one's too:
//! `snapshot` is measured alone.

use isobench_core::Guest;
use isobench_runner::overhead::{self, ByHand};
use isobench_runner::protocol::BlockRequest;
use isobench_v8::V8;
use isobench_v8::engine::{self, Compilers};
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    overhead::main(&V8, &|block| Box::new(Hand::new(block)))
}

/// Isolates that `pool` makes ahead: as many as the harness's.
const POOL: usize = 4;

/// An isolate with a context.
type Made = (v8::Global<v8::Context>, v8::OwnedIsolate);

/// One that has answered once.
type Answered = (Vec<u8>, v8::Global<v8::Function>, Made);

struct Hand {
    source: String,
    input: Vec<u8>,
    heap_limit: usize,
    /// The guest evaluated, and where the context's data has its `handle`.
    snapshot: Option<(&'static [u8], usize)>,
    /// Made ahead: the pool, or with a snapshot the isolate that is never used and keeps V8's read-only heap alive.
    ahead: Vec<Made>,
    held: Vec<Answered>,
    pooled: bool,
}

impl Hand {
    fn new(block: &BlockRequest) -> Hand {
        assert_eq!(block.target.guest, Guest::Js, "the hand-written loop runs js guests");
        let memory = block.target.limits.memory_bytes;
        engine::initialise(memory, Compilers::All, engine::abort_out_of_memory).expect("V8");
        let mut hand = Hand {
            source: std::fs::read_to_string(&block.target.artifact).expect("the guest's file"),
            input: std::fs::read(&block.input).expect("the case's input"),
            heap_limit: memory as usize,
            snapshot: None,
            ahead: Vec::new(),
            held: Vec::new(),
            pooled: false,
        };
        match block.target.variant.as_str() {
            "fresh" => {}
            "pool" => {
                hand.pooled = true;
                hand.refill();
            }
            "snapshot" => {
                hand.snapshot = Some(hand.evaluated());
                let idle = hand.make();
                hand.ahead.push(idle);
            }
            other => panic!("the hand-written loop does not do `{other}`"),
        }
        hand
    }

    fn refill(&mut self) {
        while self.pooled && self.ahead.len() < POOL {
            let made = self.make();
            self.ahead.push(made);
        }
    }

    fn params(&self) -> v8::CreateParams {
        v8::Isolate::create_params().heap_limits(0, self.heap_limit)
    }

    /// An isolate with a context, not entered, so that isolates may go in any order.
    fn make(&self) -> Made {
        let params = match self.snapshot {
            Some((blob, _)) => self.params().snapshot_blob(blob.into()),
            None => self.params(),
        };
        let mut isolate = v8::Isolate::new(params);
        let context = {
            v8::scope!(let scope, &mut isolate);
            let context = v8::Context::new(scope, v8::ContextOptions::default());
            v8::Global::new(scope, context)
        };
        // SAFETY: making it entered it, on this thread.
        unsafe { isolate.exit() };
        (context, isolate)
    }

    fn evaluated(&self) -> (&'static [u8], usize) {
        let mut creator = v8::Isolate::snapshot_creator(None, Some(self.params()));
        let handle = {
            v8::scope!(let scope, &mut creator);
            let context = v8::Context::new(scope, v8::ContextOptions::default());
            let scope = &mut v8::ContextScope::new(scope, context);
            let handle = self.evaluate(scope, v8::script_compiler::CompileOptions::EagerCompile);
            let handle = scope.add_context_data(context, handle);
            scope.set_default_context(context);
            handle
        };
        let blob = creator.create_blob(v8::FunctionCodeHandling::Keep).expect("a snapshot");
        (blob.to_vec().leak(), handle)
    }

    fn evaluate<'s>(
        &self,
        scope: &mut v8::PinScope<'s, '_>,
        options: v8::script_compiler::CompileOptions,
    ) -> v8::Local<'s, v8::Function> {
        use v8::script_compiler::{NoCacheReason, Source, compile_module2};
        let name = v8::String::new(scope, "guest.js").unwrap().into();
        let origin = v8::ScriptOrigin::new(scope, name, 0, 0, false, -1, None, false, false, true, None);
        let text = v8::String::new(scope, &self.source).unwrap();
        let mut source = Source::new(text, Some(&origin));
        let module = compile_module2(scope, &mut source, options, NoCacheReason::NoReason).expect("the guest compiles");
        module.instantiate_module(scope, |_, _, _, _| None).expect("the guest imports nothing");
        module.evaluate(scope).expect("the guest evaluates");
        let key = v8::String::new(scope, "handle").unwrap().into();
        let handle = module.get_module_namespace().cast::<v8::Object>().get(scope, key).unwrap();
        handle.cast::<v8::Function>()
    }

    /// An isolate that has answered once.
    fn start(&mut self) -> Answered {
        let made = if self.pooled { self.ahead.pop() } else { None };
        let (context, mut isolate) = made.unwrap_or_else(|| self.make());
        // SAFETY: on the thread that made it; exited below.
        unsafe { isolate.enter() };
        let (answer, handle) = {
            v8::scope!(let scope, &mut isolate);
            let context = v8::Local::new(scope, &context);
            let scope = &mut v8::ContextScope::new(scope, context);
            let handle = match self.snapshot {
                Some((_, at)) => scope.get_context_data_from_snapshot_once::<v8::Function>(at).expect("its handle"),
                None => self.evaluate(scope, v8::script_compiler::CompileOptions::NoCompileOptions),
            };
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
            (bytes, v8::Global::new(scope, handle))
        };
        // SAFETY: entered above.
        unsafe { isolate.exit() };
        (answer, handle, (context, isolate))
    }
}

/// Frees an isolate: the crate wants it entered, and exits it itself.
fn free((context, isolate): Made) {
    drop(context);
    // SAFETY: on the thread that made it, where it is not entered.
    unsafe { isolate.enter() };
    drop(isolate);
}

impl ByHand for Hand {
    fn cold_start(&mut self) -> Duration {
        let begun = Instant::now();
        let (answer, handle, made) = self.start();
        let took = begun.elapsed();
        drop((answer, handle));
        free(made);
        self.refill();
        took
    }

    fn hold(&mut self, n: u32) {
        self.held.reserve_exact(n as usize);
        for _ in 0..n {
            let answered = self.start();
            self.held.push(answered);
        }
    }

    fn release(&mut self) {
        while let Some((_, handle, made)) = self.held.pop() {
            drop(handle);
            free(made);
            self.refill();
        }
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.release();
        while let Some(made) = self.ahead.pop() {
            free(made);
        }
    }
}
