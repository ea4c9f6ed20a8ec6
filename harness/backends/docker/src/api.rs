//! The Engine's API without its asynchrony: every request is waited for, with a deadline.

use bollard::Docker;
use bollard::errors::Error;
use isobench_core::{Fault, FaultKind};
use isobench_runner::Deadline;
use std::future::Future;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Longest wait for a question that needs no work (version, inspect, list).
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The daemon answered with an error.
    #[error("{what}: the daemon refused ({status}): {message}")]
    Refused {
        /// The request.
        what: &'static str,
        /// HTTP status.
        status: u16,
        /// The daemon's reason.
        message: String,
    },
    /// The daemon did not answer.
    #[error("{what}: the daemon does not answer ({message}): it is gone or was killed")]
    Unreachable {
        /// The request.
        what: &'static str,
        /// The connection's reason.
        message: String,
    },
    /// The deadline passed.
    #[error("{what}: no answer from the daemon after {millis} ms")]
    Late {
        /// The request.
        what: &'static str,
        /// What was allowed.
        millis: u128,
    },
}

impl ApiError {
    /// The HTTP status, where there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            ApiError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Fault {
        let kind = match error {
            ApiError::Late { .. } => FaultKind::DeadlineExceeded,
            _ => FaultKind::BackendFailed,
        };
        Fault::new(kind, error.to_string())
    }
}

thread_local! {
    /// One runtime a thread: instances live on the thread that made them, and so do their requests.
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_all().build().expect("a runtime needs three file descriptors");
}

/// Waits for a request.
pub fn within<T>(
    deadline: Deadline,
    what: &'static str,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, ApiError> {
    let answer = RUNTIME.with(|rt| rt.block_on(async { tokio::time::timeout(deadline.remaining(), request).await }));
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Error::DockerResponseServerError { status_code, message })) => {
            Err(ApiError::Refused { what, status: status_code, message })
        }
        Ok(Err(Error::DockerStreamError { error })) => Err(ApiError::Refused { what, status: 200, message: error }),
        Ok(Err(error)) => Err(ApiError::Unreachable { what, message: reasons(&error) }),
        Err(_) => Err(ApiError::Late { what, millis: deadline.allowed().as_millis() }),
    }
}

/// An error with its causes: the last one is what the operating system said.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// A connection to the daemon at `socket`, in the newest version of the API that both sides speak.
pub fn connect(socket: &Path) -> Result<Docker, Fault> {
    let path = socket.to_string_lossy();
    let docker = Docker::connect_with_unix(&path, ANSWER_DEADLINE.as_secs() * 60, bollard::API_DEFAULT_VERSION)
        .map_err(|e| Fault::backend(format!("{path}: {e}")))?;
    within(Deadline::after(ANSWER_DEADLINE), "version", docker.negotiate_version())
        .map_err(|e| Fault::from(e).context(path))
}
