//! AWS Lambda's [Runtime API][api]: what a custom runtime (`provided.al2023`) asks for its next event and tells its
//! answers and errors to. Events and answers are those of a [function URL][url], payload format 2.0.
//!
//! [api]: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
//! [url]: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html

use super::agent::Agent;
use super::{Answer, Unit, answer, start};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method};
use isobench_core::{Fault, FaultKind};
use isobench_runner::Deadline;
use isobench_runner::http::{self, Http, within};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpStream;

/// Names the API's host and port.
const ADDRESS: &str = "AWS_LAMBDA_RUNTIME_API";

const INIT_ERROR: &str = "/2018-06-01/runtime/init/error";
const INVOCATION: &str = "/2018-06-01/runtime/invocation";
const REQUEST_ID: &str = "lambda-runtime-aws-request-id";
const ERROR_TYPE: HeaderName = HeaderName::from_static("lambda-runtime-function-error-type");

/// Longest wait for the next event. The documentation forbids a timeout, since the whole environment is frozen until
/// there is one; no environment lives for a year.
const NEXT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Longest wait for anything else of the API, which is on the same machine.
const SOON: Duration = Duration::from_secs(10);

/// An event, as far as it matters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    version: String,
    request_context: Context,
    /// Absent where the request has none.
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Deserialize)]
struct Context {
    http: Request,
}

#[derive(Deserialize)]
struct Request {
    method: String,
}

/// Answers events until the API or the agent fails: the environment is replaced then.
pub(super) fn serve(unit: &Unit) -> Result<(), String> {
    let address = std::env::var(ADDRESS).map_err(|_| format!("{ADDRESS} is not set: this is to run in AWS Lambda"))?;
    let mut api = Api { address, http: None, limit: unit.message_bytes() };
    let mut agent = match start(unit) {
        Ok(agent) => agent,
        Err(fault) => {
            api.report(INIT_ERROR, &fault).map_err(|e| format!("{fault}; and {e}"))?;
            return Err(fault.to_string());
        }
    };
    loop {
        let (id, event) = api.next().map_err(|fault| fault.to_string())?;
        one(&mut api, &mut agent, &id, &event).map_err(|fault| fault.to_string())?;
    }
}

/// One event: answered, or reported as an error. Fails where there can be no next one.
fn one(api: &mut Api, agent: &mut Agent, id: &str, event: &[u8]) -> Result<(), Fault> {
    let error = format!("{INVOCATION}/{id}/error");
    let (method, body) = match request(event) {
        Ok(request) => request,
        Err(what) => return api.report(&error, &Fault::new(FaultKind::BadFrame, what)),
    };
    let Answer { status, kind, body } = answer(agent, &method, &body);
    if !agent.lives() {
        // It has been said why; the platform is told that this environment is at its end.
        let fault = Fault::new(FaultKind::ChannelClosed, String::from_utf8_lossy(&body));
        api.report(&error, &named(fault))?;
        return Err(Fault::new(FaultKind::ChannelClosed, "the agent is gone"));
    }
    let answer = json!({
        "statusCode": status,
        "headers": { "content-type": kind },
        "body": STANDARD.encode(body),
        "isBase64Encoded": true,
    });
    let path = format!("{INVOCATION}/{id}/response");
    let told = api.ask(Method::POST, &path, answer.to_string().as_bytes(), SOON)?;
    goes_on(&path, &told)
}

/// The fault that a line names.
fn named(line: Fault) -> Fault {
    match line.message.split_once(": ") {
        Some((kind, message)) => Fault::new(FaultKind::from_name(kind), message),
        None => line,
    }
}

/// Method and body of the request that an event tells of.
fn request(event: &[u8]) -> Result<(String, Vec<u8>), String> {
    let wrong = |e: &dyn std::fmt::Display| format!("the event is not that of a function URL, format 2.0: {e}");
    let event: Event = serde_json::from_slice(event).map_err(|e| wrong(&e))?;
    if event.version != "2.0" {
        return Err(wrong(&format!("version {}", event.version)));
    }
    let body = event.body.unwrap_or_default();
    let body = if event.is_base64_encoded { STANDARD.decode(body).map_err(|e| wrong(&e))? } else { body.into() };
    Ok((event.request_context.http.method, body))
}

/// Whether there can be another event after the API has said this of an answer or an error. It has taken it (202), or
/// refused it alone: the request is not known any more (400), the answer is too long (413), and the client has been told.
fn goes_on(path: &str, told: &http::Answer) -> Result<(), Fault> {
    let words = || format!("{path}: {}: {}", told.status, String::from_utf8_lossy(&told.body));
    match told.status.as_u16() {
        202 => Ok(()),
        400 | 413 => {
            eprintln!("isobench-function: {}", words());
            Ok(())
        }
        _ => Err(Fault::backend(words())),
    }
}

/// The Runtime API, over a connection that is kept.
struct Api {
    address: String,
    http: Option<Http>,
    /// Longest event in bytes.
    limit: u64,
}

impl Api {
    fn connect(&self, error: Option<FaultKind>) -> Result<Http, Fault> {
        let value = |text: &str| HeaderValue::try_from(text).map_err(|e| Fault::backend(format!("{text}: {e}")));
        let mut headers = HeaderMap::from_iter([
            (HOST, value(&self.address)?),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        if let Some(kind) = error {
            headers.insert(ERROR_TYPE, value(&format!("Function.{kind}"))?);
        }
        within(Deadline::after(SOON), "a connection to the Runtime API", async {
            let stream = TcpStream::connect(&self.address).await;
            let stream = stream.map_err(|e| Fault::backend(format!("{ADDRESS}, {}: {e}", self.address)))?;
            Http::over(stream, headers, self.limit).await
        })
    }

    fn ask(&mut self, method: Method, path: &str, body: &[u8], allowed: Duration) -> Result<http::Answer, Fault> {
        let mut http = match self.http.take() {
            Some(http) => http,
            None => self.connect(None)?,
        };
        if !http.lives() {
            http = self.connect(None)?;
        }
        let answer = http.ask(method, path, body, Deadline::after(allowed))?;
        self.http = Some(http);
        Ok(answer)
    }

    /// The next event and its id.
    fn next(&mut self) -> Result<(String, Vec<u8>), Fault> {
        let path = format!("{INVOCATION}/next");
        let answer = self.ask(Method::GET, &path, b"", NEXT)?;
        let id = answer.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).map(str::to_string);
        match id {
            Some(id) if answer.status == 200 => Ok((id, answer.body.into())),
            // "Non-recoverable state. Runtime should exit promptly."
            _ => Err(Fault::backend(format!("{path}: {}: {}", answer.status, String::from_utf8_lossy(&answer.body)))),
        }
    }

    /// Tells of a fault. On a connection of its own, since its headers name it.
    fn report(&self, path: &str, fault: &Fault) -> Result<(), Fault> {
        let body = json!({ "errorMessage": fault.message, "errorType": fault.kind, "stackTrace": [] }).to_string();
        let mut http = self.connect(Some(fault.kind))?;
        goes_on(path, &http.ask(Method::POST, path, body.as_bytes(), Deadline::after(SOON))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_request() {
        let event = |rest: &str| request(format!("{{\"version\": \"2.0\", {rest}}}").as_bytes());
        let context = r#""requestContext": {"http": {"method": "POST", "path": "/"}, "accountId": "1"}"#;
        assert_eq!(event(context).expect("a request"), ("POST".into(), Vec::new()));
        let plain = format!(r#"{context}, "body": "hi", "isBase64Encoded": false"#);
        assert_eq!(event(&plain).expect("a request").1, b"hi");
        let encoded = format!(r#"{context}, "body": "AP8=", "isBase64Encoded": true"#);
        assert_eq!(event(&encoded).expect("a request").1, [0, 255]);
        assert!(event(&format!(r#"{context}, "body": "?", "isBase64Encoded": true"#)).is_err());
        assert!(event(r#""body": "hi""#).expect_err("an error").contains("requestContext"));
        assert!(request(br#"{"version": "1.0", "requestContext": {"http": {"method": "POST"}}}"#).is_err());
        assert!(request(b"no JSON").is_err());
    }

    #[test]
    fn what_the_api_refuses_alone_ends_nothing() {
        let said = |status: u16| {
            let status = hyper::StatusCode::from_u16(status).expect("a status");
            goes_on("/path", &http::Answer { status, headers: HeaderMap::new(), body: "why".into() })
        };
        assert!([202, 400, 413].into_iter().all(|status| said(status).is_ok()));
        assert!([200, 403, 500, 503].into_iter().all(|status| said(status).is_err()));
        assert!(said(403).expect_err("a fault").message.contains("/path: 403 Forbidden: why"));
    }
}
