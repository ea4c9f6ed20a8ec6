//! OpenWhisk: what its invoker posts to `/init` and `/run`, and what its controller makes of a raw web action's request.

use crate::bed::{Unit, connect, has_agent, post};
use crate::{MISBEHAVING, WORKLOADS};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use isobench_core::Guest;
use isobench_runner::http::Http;
use serde_json::{Value, json};

const SENTINEL: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";

fn ask(http: &mut Http, path: &str, payload: &Value) -> (u16, Value) {
    let answer = post(http, path, payload.to_string().as_bytes());
    (answer.status.as_u16(), serde_json::from_slice(&answer.body).expect("JSON"))
}

fn init(http: &mut Http) -> (u16, Value) {
    let value =
        json!({ "name": "echo", "main": "main", "binary": false, "env": { "__OW_ACTION_NAME": "/guest/echo" } });
    ask(http, "/init", &json!({ "value": value }))
}

/// An activation as the platform makes it of a POST.
fn activation(kind: &str, body: &str) -> Value {
    let value = json!({
        "__ow_method": "post", "__ow_headers": { "content-type": kind, "host": "h" }, "__ow_path": "", "__ow_query": "",
        "__ow_body": body,
    });
    json!({ "value": value, "namespace": "guest", "action_name": "/guest/echo", "activation_id": "1", "deadline": "1" })
}

fn run(http: &mut Http, body: &[u8]) -> Value {
    let (status, result) = ask(http, "/run", &activation("application/octet-stream", &STANDARD.encode(body)));
    assert_eq!(status, 200, "{result}");
    result
}

#[test]
fn every_guest_answers_activations() {
    for guest in Guest::ALL.into_iter().filter(|&guest| has_agent(guest)) {
        for workload in WORKLOADS {
            let unit = Unit::of("openwhisk", workload, guest);
            let (running, port) = unit.listen("PORT");
            let mut http = connect(port);
            assert_eq!(init(&mut http).0, 200);
            unit.verify(|request| {
                let result = run(&mut http, request);
                assert_eq!(result["statusCode"], 200);
                assert_eq!(result["headers"]["content-type"], "application/octet-stream");
                STANDARD.decode(result["body"].as_str().expect("text")).expect("base64")
            });
            drop(running);
            unit.assert_nothing_left();
        }
    }
}

#[test]
fn the_protocol_is_kept_and_each_activations_log_has_its_end() {
    let unit = Unit::of("openwhisk", "workloads/echo", Guest::Native);
    let (mut running, port) = unit.listen("PORT");
    let mut http = connect(port);
    let error = |(status, answer): (u16, Value)| (status, answer["error"].as_str().expect("an error").to_string());
    let before = error(ask(&mut http, "/run", &activation("text/plain", "hi")));
    assert!(before.0 == 502 && before.1.contains("not been initialized"), "{before:?}");
    assert_eq!(init(&mut http).0, 200);
    let twice = error(init(&mut http));
    assert!(twice.0 == 403 && twice.1.contains("more than once"), "{twice:?}");
    // Text comes as it is.
    let (status, result) = ask(&mut http, "/run", &activation("text/plain; charset=UTF-8", "hällo"));
    assert_eq!((status, &result["body"]), (200, &json!(STANDARD.encode("hällo"))));
    // A request without a body has no parameter for it.
    let empty = json!({ "value": { "__ow_method": "post", "__ow_headers": {}, "__ow_path": "" } });
    assert_eq!(
        ask(&mut http, "/run", &empty),
        (
            200,
            json!({
                "statusCode": 200, "headers": { "content-type": "application/octet-stream" }, "body": ""
            })
        )
    );
    assert_eq!(error(ask(&mut http, "/run", &json!({ "value": [] }))).0, 404);
    assert_eq!(error(ask(&mut http, "/run", &json!("text"))).0, 404);
    let broken = post(&mut http, "/run", b"{no JSON");
    assert_eq!(broken.status, 404);
    let plain = error(ask(&mut http, "/run", &json!({ "value": { "name": "Jane" } })));
    assert!(plain.0 == 400 && plain.1.contains("--web raw"), "{plain:?}");
    let garbled = error(ask(&mut http, "/run", &activation("application/octet-stream", "not base64!")));
    assert_eq!(garbled.0, 400);
    assert_eq!(error(ask(&mut http, "/other", &json!({}))).0, 404);
    // What the platform's own tests of runtimes ask for: over a megabyte.
    let long = vec![7; 2 << 20];
    assert!(run(&mut http, &long)["body"] == STANDARD.encode(&long));
    let _ = running.child.kill();
    let (output, said) = (String::from_utf8(running.output()).expect("text"), running.said());
    let ends = |log: &str| log.lines().filter(|line| *line == SENTINEL).count();
    assert_eq!((ends(&output), ends(&said)), (9, 9), "one for each /run:\n{output}\n{said}");
    drop(running);
    unit.assert_nothing_left();
}

#[test]
fn faults_of_guests_and_of_initialisation_have_their_lines() {
    let unit = Unit::of("openwhisk", MISBEHAVING, Guest::Native);
    let (mut running, port) = unit.listen("PORT");
    let mut http = connect(port);
    init(&mut http);
    let result = run(&mut http, b"segv");
    assert_eq!(
        (&result["statusCode"], &result["headers"]["content-type"]),
        (&json!(500), &json!("text/plain; charset=utf-8"))
    );
    let line = result["body"].as_str().expect("text");
    assert!(line.starts_with("guest_trap: ") && line.contains("SIGSEGV"), "{line}");
    assert_eq!(running.ends().code(), Some(139));
    unit.assert_nothing_left();

    if has_agent(Guest::Js) {
        let unit = Unit::bad("openwhisk", Guest::Js, b"throw new Error('as told')", |_| {});
        let (running, port) = unit.listen("PORT");
        let (status, answer) = init(&mut connect(port));
        let line = answer["error"].as_str().expect("an error");
        assert!(status == 502 && line.starts_with("guest_throw: ") && line.contains("as told"), "{status} {line}");
        drop(running);
        unit.assert_nothing_left();
    }
}
