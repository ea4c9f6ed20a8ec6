//! The backend against servers of ours on loopback that do what a function, or what stands before it, may do.

mod scripted;

use isobench_core::run::Plan;
use isobench_core::{Availability, Experiment, FaultKind, Guest};
use isobench_runner::client::Runner;
use isobench_runner::plan::{self, Filter};
use isobench_runner::protocol::{BlockRequest, Visit};
use isobench_runner::testing::{TestBed, all_load, all_throughput, one_start, starts_and_calls};
use scripted::{Server, answer, blurts, drips, echo, nobody, says, says_and_closes};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_isobench-runner-http");

/// A bed whose runner knows `targets`, a URL or a file.
fn knowing(mut bed: TestBed, targets: &str) -> TestBed {
    let env = BTreeMap::from([(isobench_http::targets::TARGETS.to_string(), targets.to_string())]);
    bed.runner = Runner::under(PROGRAM, env).expect("the runner describes itself");
    bed
}

/// A bed with one target `t`, of which `rest` says more.
fn bed(url: &str, rest: &str) -> TestBed {
    said(&format!("[targets.t]\nurl = '{url}'\n{rest}\n"))
}

/// A bed with the targets of a file.
fn said(text: &str) -> TestBed {
    let bed = TestBed::new(PROGRAM);
    let file = bed.write("targets.toml", text);
    knowing(bed, &file.display().to_string())
}

fn request(bed: &TestBed, variant: &str, visit: Visit) -> BlockRequest {
    let artifact = bed.write("none", "");
    bed.request(variant, Guest::Native, &artifact, b"hello", b"hello", visit)
}

#[test]
fn echo_is_answered_on_connections_that_are_kept_or_closed() {
    let server = Server::plain(echo);
    let bed = bed(&server.url(), "");
    for (variant, connections) in [("t", 3), ("t-close", 103)] {
        let before = server.connections();
        let outcome = bed.run(&request(&bed, variant, starts_and_calls())).expect_ok();
        assert_eq!(server.connections() - before, connections, "{variant}");
        assert_eq!(outcome.values(Experiment::WarmCall, "call").len(), 100);
        let total: u64 = outcome.values(Experiment::ColdStart, "total").iter().sum();
        let phases = ["create.resolve", "create.connect", "load", "first_call"];
        let parts: Vec<Vec<u64>> = phases.iter().map(|p| outcome.values(Experiment::ColdStart, p)).collect();
        assert!(parts.iter().all(|part| part.len() == 3), "{parts:?}");
        assert_eq!(parts.iter().flatten().sum::<u64>(), total, "phases add up");
    }
    bed.run(&request(&bed, "t", all_throughput())).expect_ok();
    for visit in all_load().into_iter().filter(|visit| visit.experiment() != Experiment::Density) {
        bed.run(&request(&bed, "t", visit)).expect_ok();
    }
}

#[test]
fn tls_is_a_phase_of_its_own_and_only_a_trusted_certificate_will_do() {
    let server = Server::tls();
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &server.certificate).expect("a certificate");
    let trusted = format!("ca = '{}'", ca.display());
    // By name: an address that refuses (::1) is followed by one that does not.
    let by_name = format!("https://localhost:{}/", server.port);
    let good = bed(&by_name, &trusted);
    for variant in ["t", "t-close"] {
        let outcome = good.run(&request(&good, variant, starts_and_calls())).expect_ok();
        let metrics: Vec<&str> = outcome.metrics(Experiment::ColdStart).take(6).collect();
        assert_eq!(metrics, ["total", "create.resolve", "create.connect", "create.tls", "load", "first_call"]);
        assert_eq!(outcome.values(Experiment::ColdStart, "create.tls").len(), 3);
    }
    let stranger = bed(&by_name, "");
    stranger.run(&request(&stranger, "t", one_start())).expect_fault(FaultKind::BackendFailed);
    let other_name = bed(&format!("https://127.0.0.1:{}/", server.port), &trusted);
    let outcome = other_name.run(&request(&other_name, "t", one_start()));
    assert!(outcome.expect_fault(FaultKind::BackendFailed).message.contains("TLS with 127.0.0.1"));
    let no_tls = bed(&format!("https://localhost:{}/", blurts(b"HTTP/1.1 200 OK\r\n\r\n")), &trusted);
    no_tls.run(&request(&no_tls, "t", one_start())).expect_fault(FaultKind::BackendFailed);
    let silent = bed(&format!("https://localhost:{}/", blurts(b"")), &trusted);
    let mut impatient = request(&silent, "t", one_start());
    impatient.target.limits.start_deadline_ms = 200;
    silent.run(&impatient).expect_fault(FaultKind::DeadlineExceeded);
}

#[test]
fn every_fault_has_its_name() {
    let of = |url: &str, kind: FaultKind, words: &str| {
        let bed = bed(url, "");
        for variant in ["t", "t-close"] {
            let mut request = request(&bed, variant, starts_and_calls());
            (request.target.limits.call_deadline_ms, request.target.limits.frame_bytes) = (1_000, 1_000);
            let outcome = bed.run(&request);
            let message = &outcome.expect_fault(kind).message;
            assert!(message.contains(words), "{variant}: {message}");
        }
    };
    of(&format!("http://127.0.0.1:{}", nobody()), FaultKind::BackendFailed, "refused");
    of("http://no-such-host.invalid", FaultKind::BackendFailed, "no-such-host.invalid");
    let serving = |server: Server, kind: FaultKind, words: &str| of(&server.url(), kind, words);
    use FaultKind::{BackendFailed, BadFrame, ChannelClosed, DeadlineExceeded, FrameTooLarge, GuestThrow, WrongAnswer};
    serving(Server::plain(says("")), DeadlineExceeded, "the answer");
    serving(Server::plain(says("HTTP/1.1 200 OK\r\nContent-Le")), DeadlineExceeded, "the answer");
    serving(Server::plain(drips), DeadlineExceeded, "the answer");
    serving(Server::plain(says("no HTTP at all\r\n\r\n")), BadFrame, "the answer");
    serving(Server::plain(says_and_closes("")), ChannelClosed, "the answer");
    serving(Server::plain(says_and_closes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")), ChannelClosed, "");
    serving(Server::plain(says("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")), FrameTooLarge, "1000 bytes");
    serving(Server::plain(says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHELLO")), WrongAnswer, "HELLO");
    serving(
        Server::plain(says("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno\x07!")),
        BackendFailed,
        "403 Forbidden: no\\u{7}!",
    );
    serving(
        Server::plain(says("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")),
        BackendFailed,
        "302 Found",
    );
    serving(Server::plain(says("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")), BackendFailed, "503");
    serving(Server::plain(says("HTTP/1.1 500 Oh\r\nContent-Length: 16\r\n\r\nguest_throw: oh!")), GuestThrow, "oh!");
}

#[test]
fn a_connection_that_the_other_end_closes_is_made_anew() {
    let server = Server::plain(|stream, request| {
        answer(stream, "200 OK", "Connection: close\r\n", &request.body);
        false
    });
    let bed = bed(&server.url(), "keep_alive = true");
    bed.run(&request(&bed, "t", starts_and_calls())).expect_ok();
    assert_eq!(server.connections(), 103);
}

#[test]
fn a_slow_first_answer_has_the_targets_own_deadline() {
    let asked = AtomicU32::new(0);
    let server = Server::plain(move |stream, request| {
        if asked.fetch_add(1, Ordering::Relaxed) == 0 {
            std::thread::sleep(Duration::from_secs(2));
        }
        echo(stream, request)
    });
    let bed = bed(&server.url(), "deadline_s = 60");
    let mut request = request(&bed, "t", starts_and_calls());
    request.target.limits.call_deadline_ms = 1_000;
    bed.run(&request).expect_ok();
}

#[test]
fn what_makes_it_cold_is_done_before_each_cold_start_and_leaves_nothing() {
    let server = Server::plain(echo);
    let folder = tempfile::tempdir().expect("a folder");
    let told = folder.path().join("told");
    // What the command leaves running goes with the block.
    let line = format!("echo {{target}} {{workload}} {{nonce}} >> {}; sleep 86400 &", told.display());
    let good = bed(&server.url(), &format!("cold = {{ shell = '{line}', idle_s = 1 }}"));
    good.run(&request(&good, "t-close", starts_and_calls())).expect_ok();
    let lines = std::fs::read_to_string(&told).expect("what was told");
    let mut lines: Vec<&str> = lines.lines().collect();
    assert!(lines.iter().all(|line| line.starts_with("t fixture ")), "{lines:?}");
    lines.dedup();
    assert_eq!(lines.len(), 3);
    good.run(&request(&good, "t", all_throughput())).expect_ok();
    assert_eq!(std::fs::read_to_string(&told).expect("what was told").lines().count(), 3, "under load as it comes");

    let failing = bed(&server.url(), "cold = { command = ['sh', '-c', 'echo no quota >&2; exit 1'] }");
    let outcome = failing.run(&request(&failing, "t", one_start()));
    assert!(outcome.expect_fault(FaultKind::BackendFailed).message.contains("no quota"));
    let hanging = bed(&server.url(), "cold = { command = ['sleep', '86400'], deadline_s = 1 }");
    hanging.run(&request(&hanging, "t", one_start())).expect_fault(FaultKind::DeadlineExceeded);
}

#[test]
fn headers_come_from_the_file_or_from_the_variable_that_it_names() {
    let server = Server::plain(|stream, request| {
        let known = request.head.contains("x-key: hush-hush\r\n") && request.head.contains("x-plain: as it is\r\n");
        answer(stream, if known { "200 OK" } else { "401 Unauthorized" }, "", &request.body);
        true
    });
    let rest = "headers = { X-Key = { env = 'TEST_HTTP_KEY' }, x-plain = 'as it is' }";
    let mut bed = bed(&server.url(), rest);
    let absent = |bed: &TestBed| match bed.runner.probe(&bed.context()) {
        Availability::Available { absent, .. } => absent,
        Availability::Unavailable { reason, .. } => panic!("{reason}"),
    };
    assert!(absent(&bed)["t"].contains("the variable TEST_HTTP_KEY is not set"));
    bed.run(&request(&bed, "t", one_start())).expect_fault(FaultKind::BackendFailed);
    bed.runner.env.insert("TEST_HTTP_KEY".into(), "hush-hush".into());
    assert_eq!(absent(&bed), BTreeMap::new());
    bed.run(&request(&bed, "t", one_start())).expect_ok();
    bed.runner.env.insert("TEST_HTTP_KEY".into(), "secret-key".into());
    let outcome = bed.run(&request(&bed, "t", one_start()));
    assert!(!outcome.expect_fault(FaultKind::BackendFailed).message.contains("secret"));
}

#[test]
fn what_there_is_to_call_is_known_without_calling_it() {
    let none = knowing(TestBed::new(PROGRAM), "");
    assert!(none.runner.description.variants.is_empty() && none.available());

    let two = said(
        "[targets.a]\nurl = 'http://192.0.2.1/{workload}'\nguest = 'js'\nworkloads = ['echo', 'sha256']\n\
         cold = { command = ['no-such-program'] }\n\
         [targets.b]\nurl = 'https://192.0.2.1'\nca = 'gone.pem'\nkeep_alive = false",
    );
    let names: Vec<&str> = two.runner.description.variants.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(names, ["a", "a-close", "b-close"]);
    let [a, _, b_close] = &two.runner.description.variants[..] else { panic!("three variants") };
    assert!(a.answers("sha256") && !b_close.answers("sha256"));
    let Availability::Available { absent, .. } = two.runner.probe(&two.context()) else { panic!("it can run") };
    assert!(absent["a"].contains("no program no-such-program"), "{absent:?}");
    assert!(absent["b-close"].contains("gone.pem"), "{absent:?}");

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../workloads/echo");
    let echo = plan::as_if_built(isobench_core::workload::load(&root).expect("a workload"));
    let cells = plan::cells_everywhere(vec![two.runner.description], &[echo], &Filter::default(), &Plan::default());
    assert!(!cells.is_empty() && cells.iter().all(|c| !c.experiments.contains(&Experiment::Footprint)));

    let broken = said("[targets.a]\nurl = 'http://h'\ncolour = 'red'");
    let Availability::Available { absent, .. } = broken.runner.probe(&broken.context()) else { panic!("it can run") };
    assert!(absent["targets"].contains("targets.toml:3: unknown field `colour`"), "{absent:?}");
}

#[test]
fn the_examples_of_the_readme_are_targets() {
    let readme = include_str!("../../README.md");
    let blocks: Vec<&str> = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let names: Vec<String> = blocks
        .iter()
        .flat_map(|block| isobench_http::targets::parse(block).unwrap_or_else(|e| panic!("{e} in\n{block}")))
        .map(|(name, _)| name)
        .collect();
    for platform in ["workers", "lambda", "openwhisk", "knative", "openlambda", "ironfunctions"] {
        assert!(names.iter().any(|name| name == platform), "{platform}: {names:?}");
    }
}
