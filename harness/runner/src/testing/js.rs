//! The contract of engines that run JS guests, whichever they are: through the runner ([`JsEngine`]), through the agent
//! ([`agent`]), side by side in one process ([`neighbours`]), and in other people's programs ([`runtime`]).

pub mod agent;
pub mod neighbours;
pub mod runtime;

use super::{TestBed, all_load, all_throughput, one_start, starts_and_calls};
use crate::protocol::{BlockRequest, Visit};
use isobench_core::{Experiment, FaultKind, Guest, sha256_hex, workload};
use std::path::Path;

/// A guest that keeps the contract.
pub const ECHO: &str = "export function handle(request) { return request.slice(); }";

/// The runner of an engine, and those of its variants that run JS guests.
#[derive(Debug, Clone, Copy)]
pub struct JsEngine {
    /// env!("CARGO_BIN_EXE_isobench-runner-x").
    pub runner: &'static str,
    /// Each test is of every one of them.
    pub variants: &'static [&'static str],
}

impl JsEngine {
    /// A place to run in.
    pub fn bed(&self) -> TestBed {
        TestBed::new(self.runner)
    }

    /// One start of a guest from its source, `ping` in and out.
    pub fn request(&self, bed: &TestBed, variant: &str, source: &str) -> BlockRequest {
        let guest = bed.write("guest.js", source);
        bed.request(variant, Guest::Js, &guest, b"ping", b"ping", one_start())
    }

    /// Runs what must fail in every variant, each time with a message that contains `told`.
    pub fn must_fail(&self, kind: FaultKind, told: &str, request: impl Fn(&TestBed, &'static str) -> BlockRequest) {
        let bed = self.bed();
        for variant in self.variants {
            eprintln!("{variant}: {kind}");
            let outcome = bed.run(&request(&bed, variant));
            let fault = outcome.expect_fault(kind);
            assert!(fault.message.contains(told), "{variant}: {fault}");
        }
    }

    /// The same of a guest's source.
    pub fn fails(&self, source: &str, kind: FaultKind, told: &str) {
        self.must_fail(kind, told, |bed, variant| self.request(bed, variant, source));
    }

    /// The same of what ends at a deadline of 100 ms for the call.
    pub fn hangs(&self, source: &str) {
        self.must_fail(FaultKind::DeadlineExceeded, "the call", |bed, variant| {
            let mut request = self.request(bed, variant, source);
            request.target.limits.call_deadline_ms = 100;
            request
        });
    }

    /// Runs what must answer in every variant.
    pub fn answers(&self, source: &str, expected: &[u8], visit: &Visit) {
        let bed = self.bed();
        for variant in self.variants {
            eprintln!("{variant}");
            let mut request = self.request(&bed, variant, source);
            request.expected_sha256 = sha256_hex(expected);
            request.visit = visit.clone();
            bed.run(&request).expect_ok();
        }
    }

    /// Every experiment has what it is to have, for a block of each kind that `request` makes of a variant.
    pub fn every_experiment<'a>(bed: &TestBed, requests: impl IntoIterator<Item = (&'a str, BlockRequest)>) {
        for (variant, mut request) in requests {
            eprintln!("{variant}");
            request.visit = starts_and_calls();
            let outcome = bed.run(&request).expect_ok();
            for phase in ["create", "load", "first_call", "total", "destroy"] {
                assert_eq!(outcome.values(Experiment::ColdStart, phase).len(), 3, "{variant}: {phase}");
            }
            assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 100, "{variant}");

            // As many as the experiment ever wants, alive on one thread.
            request.visit = Visit::Footprint { instances: vec![1, 4, bed.runner.description.footprint_instances] };
            assert_eq!(bed.run(&request).expect_ok().values(Experiment::Footprint, "pss").len(), 4, "{variant}");

            request.visit = all_throughput();
            let histograms = bed.run(&request).expect_ok().histograms();
            assert_eq!(histograms.len(), 6, "{variant}");
            assert!(histograms.iter().all(|(_, n, calls)| *calls >= u64::from(*n)), "{variant}: {histograms:?}");

            for visit in all_load() {
                request.visit = visit;
                bed.run(&request).expect_ok();
            }
        }
    }

    /// The workloads of the repository answer correctly.
    pub fn every_workload(&self) {
        let bed = self.bed();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workloads");
        for name in ["echo", "json", "render", "sha256", "nbody", "blur"] {
            let workload = workload::load(&root.join(name)).expect("a valid workload");
            let guest = root.join(name).join("guest.js");
            for (variant, case) in self.variants.iter().flat_map(|v| workload.cases.iter().map(move |case| (v, case))) {
                let mut request = bed.request(variant, Guest::Js, &guest, b"", b"", one_start());
                request.input = case.input.clone();
                request.expected_sha256 = case.expected_sha256.clone();
                // An interpreter on a machine that builds beside: the answer counts here, not when it comes.
                request.target.limits.call_deadline_ms = 60_000;
                let outcome = bed.run(&request);
                assert!(outcome.fault().is_none(), "{name}/{} {variant}: {:?}", case.name, outcome.fault());
            }
        }
    }

    /// Nothing is left from one instance to the next, nor from one call to the next.
    pub fn nothing_stays(&self) {
        let counts = "let calls = 0;
            export function handle() {
              globalThis.seen = (globalThis.seen ?? 0) + 1;
              Array.prototype.seen = (Array.prototype.seen ?? 0) + 1;
              return Uint8Array.of(++calls, globalThis.seen, [].seen);
            }";
        self.answers(counts, &[1, 1, 1], &Visit::ColdStart { starts: 5.into(), warm: None });

        let fresh_buffers = "export function handle() {
              let sum = 0;
              for (const size of [10, 1000, 100_000]) {
                const bytes = new Uint8Array(size);
                for (const byte of bytes) sum += byte;
                bytes.fill(255);
              }
              return Uint8Array.of(sum > 0);
            }";
        self.answers(fresh_buffers, &[0], &Visit::ColdStart { starts: 20.into(), warm: None });

        // Three MiB a call under a limit of 64: some hundred calls would need three hundred.
        let garbage = "export function handle(request) { return new Uint8Array(1 << 20), request.slice(); }";
        let (bed, input) = (self.bed(), vec![7; 1 << 20]);
        for variant in self.variants {
            let mut request = self.request(&bed, variant, garbage);
            request.input = bed.write("large.in", &input);
            request.expected_sha256 = sha256_hex(&input);
            request.visit = starts_and_calls();
            bed.run(&request).expect_ok();
        }
    }

    /// The text codecs follow their specification.
    pub fn text_codecs(&self) {
        self.answers(include_str!("js/text.js"), b"ok", &starts_and_calls());
    }

    /// What is wrong with a module is named with its line.
    pub fn modules_that_are_refused(&self) {
        let refused = |source, told| self.fails(source, FaultKind::InvalidGuest, told);
        refused("const a = 1;\nconst b = ;\n", "guest.js:2: SyntaxError");
        refused("export const handler = 1;", "exports no function `handle`");
        refused("export const handle = 1;", "exports no function `handle`");
        refused("import fs from 'node:fs';\nexport function handle() {}", "node:fs");
        refused("await new Promise(() => {});\nexport function handle() {}", "top level");
    }

    /// What is thrown is named with its line.
    pub fn throws(&self) {
        let throws = |source, told| self.fails(source, FaultKind::GuestThrow, told);
        throws("export function handle() {\n  throw new TypeError('boom');\n}", "guest.js:2: TypeError: boom");
        throws("\n\nnull.x; export function handle() {}", "guest.js:3: TypeError");
        let recursion = "const f = (n) => f(n + 1) + 1;\nexport function handle() { return f(0); }";
        throws(recursion, "Maximum call stack size exceeded");
    }

    /// Nothing outlasts its deadline.
    pub fn loops(&self) {
        self.hangs("export function handle() { for (;;); }");
        self.hangs("export function handle() { for (;;) { try { for (;;); } catch {} finally { continue; } } }");
        self.must_fail(FaultKind::DeadlineExceeded, "loading the guest", |bed, variant| {
            let mut request = self.request(bed, variant, "for (;;); export function handle() {}");
            request.target.limits.start_deadline_ms = 100;
            request
        });
    }

    /// Answers that are no bytes, or not the right ones, or too many.
    pub fn wrong_answers(&self) {
        for (answer, what) in [
            ("'text'", "string"),
            ("undefined", "undefined"),
            ("null", "null"),
            ("Promise.resolve(new Uint8Array(1))", "Promise"),
            ("new ArrayBuffer(1)", "object"),
        ] {
            self.fails(&format!("export function handle() {{ return {answer}; }}"), FaultKind::BadAnswer, what);
        }
        // A detached array looks like an empty one.
        let detached = "const a = new Uint8Array(3); a.buffer.transfer(); return a;";
        self.fails(&format!("export function handle() {{ {detached} }}"), FaultKind::BadAnswer, "");
        self.fails("export function handle() { return new Uint8Array(3); }", FaultKind::WrongAnswer, "3 bytes");
        self.must_fail(FaultKind::FrameTooLarge, "1073741824 bytes", |bed, variant| {
            let gibibyte = "export function handle() { return new Uint8Array(1 << 30); }";
            let mut request = self.request(bed, variant, gibibyte);
            request.target.limits.memory_bytes = 2 << 30;
            request
        });
    }

    /// Whatever takes memory without end is stopped, and the next runner is well.
    pub fn memory_without_end(&self) {
        for source in [
            "const keep = []; export function handle() { for (;;) keep.push({ a: [1, 2, 3] }); }",
            "export function handle() { let s = 'x'; const k = []; for (;;) k.push((s += s.length) + Math.random()); }",
            "export function handle() { const m = new Map(); for (let i = 0; ; i++) m.set(i, [i]); }",
            // More at once than any heap has: V8 aborts, and the runner dies alone.
            "export function handle() { return new Array(32e6).fill(1.5); }",
            "export function handle() { const keep = []; for (;;) keep.push(new Uint8Array(1 << 20)); }",
            "export function handle() { return new Uint8Array(1 << 30); }",
            "const e = new TextEncoder(), k = []; export function handle() { for (;;) k.push(e.encode('x'.repeat(1e6))); }",
        ] {
            self.must_fail(FaultKind::OutOfMemory, "memory", |bed, variant| {
                let mut request = self.request(bed, variant, source);
                // An interpreter needs its time to fill a heap.
                request.target.limits.call_deadline_ms = 60_000;
                request
            });
        }
        self.answers(ECHO, b"ping", &one_start());
    }
}
