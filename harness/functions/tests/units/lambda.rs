//! AWS Lambda: a scripted Runtime API that says what the documentation lets it say, refusals included.

use crate::bed::{Running, SOON, Unit, has_agent};
use crate::{MISBEHAVING, WORKLOADS};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use isobench_core::Guest;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// What the API answers to the next GET: a status, the event's id, a body.
type Event = (u16, &'static str, Vec<u8>);

/// A POST to it.
#[derive(Debug)]
struct Told {
    path: String,
    /// The whole head, in lower case.
    head: String,
    body: Value,
}

/// The Runtime API. Its threads end with the test's process.
struct Api {
    address: String,
    events: Sender<Event>,
    told: Receiver<Told>,
    /// The status of answers to POST.
    verdict: Arc<AtomicU16>,
}

impl Api {
    fn new() -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let (events, due) = channel();
        let (tell, told) = channel();
        let verdict = Arc::new(AtomicU16::new(202));
        let (due, given) = (Arc::new(Mutex::new(due)), Arc::clone(&verdict));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (due, tell, verdict) = (Arc::clone(&due), tell.clone(), Arc::clone(&given));
                std::thread::spawn(move || serve(BufReader::new(stream), &due, &tell, &verdict));
            }
        });
        Api { address, events, told, verdict }
    }

    fn start(&self, unit: &Unit) -> Running {
        unit.start("bootstrap", &[], &[("AWS_LAMBDA_RUNTIME_API", &self.address), ("AWS_SECRET_ACCESS_KEY", "hush")])
    }

    fn event(&self, id: &'static str, body: impl Into<Vec<u8>>) {
        self.events.send((200, id, body.into())).expect("the API lives");
    }

    /// A function URL's event with these bytes as its body.
    fn invoke(&self, id: &'static str, request: &[u8]) {
        self.event(id, event(request).to_string());
    }

    fn told(&self) -> Told {
        self.told.recv_timeout(SOON).expect("something is told")
    }

    /// What an event that went well is answered with.
    fn response(&self, id: &str) -> (u64, Vec<u8>) {
        let Told { path, body, .. } = self.told();
        assert_eq!(path, format!("/2018-06-01/runtime/invocation/{id}/response"), "{body}");
        assert_eq!(body["isBase64Encoded"], true);
        let bytes = STANDARD.decode(body["body"].as_str().expect("text")).expect("base64");
        (body["statusCode"].as_u64().expect("a status"), bytes)
    }

    fn nothing_more(&self) {
        assert!(self.told.try_recv().is_err());
    }
}

/// As the documentation has it, shortened.
fn event(request: &[u8]) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": "/", "rawQueryString": "",
        "headers": { "content-type": "application/octet-stream" },
        "requestContext": {
            "accountId": "anonymous", "apiId": "u", "domainName": "u.lambda-url.eu-central-1.on.aws", "requestId": "r",
            "http": { "method": "POST", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "x" },
            "routeKey": "$default", "stage": "$default", "time": "22/Nov/2026:02:00:00 +0000", "timeEpoch": 1795312800000u64,
        },
        "body": STANDARD.encode(request), "isBase64Encoded": true,
    })
}

fn serve(mut stream: BufReader<TcpStream>, due: &Mutex<Receiver<Event>>, tell: &Sender<Told>, verdict: &AtomicU16) {
    while let Some((head, body)) = read(&mut stream) {
        let path = head.split(' ').nth(1).expect("a path").to_string();
        let (status, id, answer) = if head.starts_with("get /2018-06-01/runtime/invocation/next ") {
            let Ok(event) = due.lock().expect("one at a time").recv() else { return };
            event
        } else {
            assert!(head.starts_with("post "), "{head}");
            let body = serde_json::from_slice(&body).expect("JSON");
            let status = verdict.load(Ordering::Relaxed);
            if tell.send(Told { path, head, body }).is_err() {
                return;
            }
            (status, "", br#"{"errorType": "InvalidStateTransition", "errorMessage": "as told"}"#.to_vec())
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\nLambda-Runtime-Aws-Request-Id: {id}\r\nLambda-Runtime-Deadline-Ms: 1\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        if stream.get_mut().write_all(&[head.as_bytes(), &answer].concat()).is_err() {
            return;
        }
    }
}

/// A request: its head in lower case, its body.
fn read(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        stream.read_line(&mut head).ok().filter(|read| *read > 0)?;
    }
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

#[test]
fn every_guest_answers_events() {
    for guest in Guest::ALL.into_iter().filter(|&guest| has_agent(guest)) {
        for workload in WORKLOADS {
            let unit = Unit::of("lambda", workload, guest);
            let api = Api::new();
            let running = api.start(&unit);
            unit.verify(|request| {
                api.invoke("an-id", request);
                let (status, answer) = api.response("an-id");
                assert_eq!(status, 200);
                answer
            });
            drop(running);
            unit.assert_nothing_left();
        }
    }
}

#[test]
fn what_is_wrong_with_one_event_is_told_of_that_event() {
    let unit = Unit::of("lambda", "workloads/echo", Guest::Native);
    let api = Api::new();
    let mut running = api.start(&unit);
    for (id, bad) in [("a", "no JSON".to_string()), ("b", json!({ "key": "value" }).to_string())] {
        api.event(id, bad);
        let told = api.told();
        assert_eq!(told.path, format!("/2018-06-01/runtime/invocation/{id}/error"));
        assert_eq!(told.body["errorType"], "bad_frame");
        assert!(told.head.contains("lambda-runtime-function-error-type: function.bad_frame\r\n"), "{}", told.head);
        assert!(told.body["errorMessage"].as_str().is_some_and(|text| text.contains("function URL")), "{told:?}");
    }
    // Refusals of one answer alone: too long, not known any more.
    for status in [413, 400] {
        api.verdict.store(status, Ordering::Relaxed);
        api.invoke("c", b"hello");
        assert_eq!(api.response("c"), (200, b"hello".to_vec()));
    }
    api.verdict.store(202, Ordering::Relaxed);
    let mut get = event(b"");
    get["requestContext"]["http"]["method"] = "GET".into();
    get.as_object_mut().expect("an object").remove("body");
    api.event("d", get.to_string());
    assert_eq!(api.response("d"), (200, b"ready".to_vec()));
    let mut plain = event(b"");
    (plain["body"], plain["isBase64Encoded"]) = ("text".into(), false.into());
    api.event("e", plain.to_string());
    assert_eq!(api.response("e"), (200, b"text".to_vec()));
    assert!(running.child.try_wait().expect("a child").is_none());
    assert!(running.said().contains("413"), "{}", running.said());
    drop(running);
    unit.assert_nothing_left();
}

#[test]
fn an_api_at_its_end_ends_the_runtime() {
    let unit = Unit::of("lambda", "workloads/echo", Guest::Native);
    for (status, id) in [(500, "a"), (403, "a"), (200, "")] {
        let api = Api::new();
        let mut running = api.start(&unit);
        api.events.send((status, id, br#"{"errorMessage": "as told"}"#.to_vec())).expect("the API lives");
        if id.is_empty() {
            // An id that is empty is one all the same; that the API does not know it is its to say.
            assert_eq!(api.told().body["errorType"], "bad_frame");
            api.events.send((500, "", Vec::new())).expect("the API lives");
        }
        assert_eq!(running.ends().code(), Some(1));
        assert!(running.said().contains("/runtime/invocation/next: "), "{}", running.said());
        unit.assert_nothing_left();
    }
    for status in [403, 500] {
        let api = Api::new();
        api.verdict.store(status, Ordering::Relaxed);
        let mut running = api.start(&unit);
        api.invoke("a", b"hello");
        assert_eq!(api.response("a").1, b"hello");
        assert_eq!(running.ends().code(), Some(1));
        assert!(running.said().contains(&format!("response: {status}")), "{}", running.said());
        unit.assert_nothing_left();
    }
    let mut running = unit.start("bootstrap", &[], &[("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")]);
    assert_eq!(running.ends().code(), Some(1));
    assert!(running.said().contains("127.0.0.1:1"), "{}", running.said());
    let mut running = unit.start("bootstrap", &[], &[]);
    assert_eq!(running.ends().code(), Some(1));
    assert!(running.said().contains("AWS_LAMBDA_RUNTIME_API is not set"), "{}", running.said());
    unit.assert_nothing_left();
}

#[test]
fn a_guest_that_cannot_be_loaded_is_an_error_of_initialisation() {
    if !has_agent(Guest::Js) {
        return;
    }
    let unit = Unit::bad("lambda", Guest::Js, b"throw new Error('as told')", |_| {});
    for verdict in [202, 403] {
        let api = Api::new();
        api.verdict.store(verdict, Ordering::Relaxed);
        let mut running = api.start(&unit);
        let told = api.told();
        assert_eq!(told.path, "/2018-06-01/runtime/init/error");
        assert_eq!(told.body["errorType"], "guest_throw");
        assert!(told.head.contains("lambda-runtime-function-error-type: function.guest_throw\r\n"), "{}", told.head);
        assert!(told.body["errorMessage"].as_str().is_some_and(|text| text.contains("as told")), "{told:?}");
        assert_eq!(running.ends().code(), Some(1));
        unit.assert_nothing_left();
    }
}

#[test]
fn a_guests_fault_is_answered_and_one_that_ends_the_agent_is_an_error() {
    if has_agent(Guest::Js) {
        let unit = Unit::bad("lambda", Guest::Js, b"export function handle() { throw new Error('as told') }", |_| {});
        let api = Api::new();
        let running = api.start(&unit);
        for id in ["a", "b"] {
            api.invoke(id, b"");
            let (status, line) = api.response(id);
            assert!(status == 500 && line.starts_with(b"guest_throw: "), "{}", String::from_utf8_lossy(&line));
        }
        drop(running);
        unit.assert_nothing_left();
    }
    for (told, kind, reason) in [
        ("segv", "guest_trap", "SIGSEGV"),
        ("hang", "deadline_exceeded", "nothing after"),
        ("announce 1 GiB", "frame_too_large", "1073741824"),
        ("exit", "channel_closed", "exit status: 3"),
    ] {
        let unit = Unit::with("lambda", MISBEHAVING, Guest::Native, |limits| limits.call_deadline_ms = 500);
        let api = Api::new();
        let mut running = api.start(&unit);
        api.invoke("a", told.as_bytes());
        let error = api.told();
        assert_eq!(error.path, "/2018-06-01/runtime/invocation/a/error");
        assert_eq!(error.body["errorType"], kind);
        assert!(error.body["errorMessage"].as_str().is_some_and(|text| text.contains(reason)), "{error:?}");
        assert!(!running.ends().success());
        api.nothing_more();
        unit.assert_nothing_left();
    }
}

#[test]
fn a_guest_sees_nothing_of_the_functions_environment() {
    let unit = Unit::of("lambda", MISBEHAVING, Guest::Native);
    let api = Api::new();
    let running = api.start(&unit);
    api.invoke("a", b"show the environment");
    let (status, names) = api.response("a");
    assert_eq!((status, String::from_utf8_lossy(&names).trim()), (200, isobench_runner::reap::COOKIE));
    drop(running);
    unit.assert_nothing_left();
}
