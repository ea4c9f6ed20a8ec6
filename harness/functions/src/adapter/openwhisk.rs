//! OpenWhisk's [action interface][docs]: `/init` once, then `/run` for each activation, on port 8080, and a mark at the
//! end of each activation's log. The action is a raw web action, so that bytes come and go as they are.
//!
//! [docs]: https://github.com/apache/openwhisk/blob/master/docs/actions-new.md

use super::{Answer, Unit, agent::Agent, answer, http, start};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Ends the log of an activation, on both streams.
const SENTINEL: &str = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX";

const JSON: &str = "application/json";

/// A payload of `/run`, as far as it matters.
#[derive(Deserialize)]
struct Run {
    value: Parameters,
}

/// What a [raw web action](https://github.com/apache/openwhisk/blob/master/docs/webactions.md#raw-http-handling) is told
/// of the request.
#[derive(Deserialize)]
struct Parameters {
    #[serde(rename = "__ow_method")]
    method: Option<String>,
    #[serde(rename = "__ow_headers", default)]
    headers: BTreeMap<String, String>,
    #[serde(rename = "__ow_body", default)]
    body: String,
}

/// Serves.
pub(super) fn serve(unit: &Unit) -> Result<(), String> {
    let agent = RefCell::new(None);
    let unit = unit.clone();
    http::listen(unit.message_bytes(), move |method, path, payload| match (method, path) {
        ("POST", "/init") => init(&unit, &mut agent.borrow_mut()),
        ("POST", "/run") => {
            let ran = run(agent.borrow_mut().as_mut(), payload);
            end_of_log();
            ran
        }
        _ => error(404, "POST to /init or /run"),
    })
}

/// The agent is started here: initialisation is what this is for, and who fails it is told.
fn init(unit: &Unit, agent: &mut Option<Agent>) -> Answer {
    if agent.is_some() {
        return error(403, "Cannot initialize the action more than once.");
    }
    match start(unit) {
        Ok(started) => {
            *agent = Some(started);
            ok(&json!({ "ok": true }))
        }
        Err(fault) => {
            let failed = error(502, &fault.to_string());
            end_of_log();
            failed
        }
    }
}

fn run(agent: Option<&mut Agent>, payload: &[u8]) -> Answer {
    let Ok(Run { value }) = serde_json::from_slice(payload) else {
        return error(404, "The action did not receive a dictionary as an argument.");
    };
    let Some(agent) = agent else { return error(502, "The action has not been initialized.") };
    let Some(method) = &value.method else {
        return error(400, "The action is called as no raw web action: create it with `--web raw`.");
    };
    let Some(body) = bytes(&value) else {
        return error(400, "__ow_body is neither text by its content-type nor base64.");
    };
    let Answer { status, kind, body } = answer(agent, &method.to_uppercase(), &body);
    // By their type the platform knows which bodies are base64.
    let body = if kind.starts_with("text/") { String::from_utf8_lossy(&body).into() } else { STANDARD.encode(body) };
    ok(&json!({ "statusCode": status, "headers": { "content-type": kind }, "body": body }))
}

/// The request's bytes: the platform encodes those of binary types, and of JSON.
fn bytes(value: &Parameters) -> Option<Vec<u8>> {
    let kind = value.headers.get("content-type").map_or("", String::as_str);
    if kind.starts_with("text/") || kind.starts_with("application/x-www-form-urlencoded") {
        return Some(value.body.clone().into());
    }
    STANDARD.decode(&value.body).ok()
}

fn ok(value: &Value) -> Answer {
    Answer { status: 200, kind: JSON, body: value.to_string().into() }
}

fn error(status: u16, message: &str) -> Answer {
    eprintln!("isobench-function: {message}");
    Answer { status, kind: JSON, body: json!({ "error": message }).to_string().into() }
}

fn end_of_log() {
    println!("{SENTINEL}");
    eprintln!("{SENTINEL}");
}
