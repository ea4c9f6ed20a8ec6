//! The Engine's API without its asynchrony: every request is waited for, with a deadline.

use bollard::errors::Error;
use bollard::models::SystemVersion;
use bollard::{API_DEFAULT_VERSION as NEWEST_API, ClientVersion, Docker};
use isobench_core::{Fault, FaultKind};
use isobench_runner::Deadline;
use std::future::Future;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Longest wait for a question that needs no work (version, inspect, list).
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// The oldest version of the API with all that isobench asks for: mounts in a container's `HostConfig` (Docker 17.06).
const OLDEST_API: ClientVersion = ClientVersion { major_version: 1, minor_version: 30 };

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
    /// What listens there is no Docker daemon.
    #[error("{what}: the answer is not one of Docker's API ({message})")]
    Garbled {
        /// The request.
        what: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The daemon and isobench have no version of the API in common.
    #[error(
        "the daemon speaks the API in versions {oldest} to {newest}, isobench in {OLDEST_API} to {NEWEST_API}: {remedy}"
    )]
    Version {
        /// The daemon's oldest version.
        oldest: ClientVersion,
        /// The daemon's newest version.
        newest: ClientVersion,
        /// What to do.
        remedy: &'static str,
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
        Ok(Err(error)) if is_garbled(&error) => Err(ApiError::Garbled { what, message: reasons(&error) }),
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

/// Whether something answered that is not HTTP, or not JSON.
fn is_garbled(error: &Error) -> bool {
    let not_json = matches!(error, Error::JsonDataError { .. } | Error::JsonSerdeError { .. });
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        cause = error.source();
    }
    not_json
}

/// Connects to the daemon at `socket`, in the newest version of the API that both sides speak.
///
/// # Errors
/// Returns an error if the daemon does not answer within 10 s, or if there is no such version.
pub fn connect(socket: &Path) -> Result<Docker, Fault> {
    let (path, deadline) = (socket.to_string_lossy(), Deadline::after(ANSWER_DEADLINE));
    let docker = Docker::connect_with_unix(&path, ANSWER_DEADLINE.as_secs() * 60, NEWEST_API)
        .map_err(|e| Fault::backend(format!("{path}: {e}")))?;
    let agreed = within(deadline, "version", docker.version())
        .and_then(|version| check_version(&version))
        .and_then(|()| within(deadline, "version", docker.negotiate_version()));
    agreed.map_err(|e| Fault::from(e).context(path))
}

fn check_version(daemon: &SystemVersion) -> Result<(), ApiError> {
    let missing = || ApiError::Garbled { what: "version", message: "it names no `ApiVersion`".into() };
    let newest = daemon.api_version.as_deref().and_then(parse).ok_or_else(missing)?;
    // Daemons older than 1.25 do not name their oldest one.
    let oldest = daemon.min_api_version.as_deref().and_then(parse).unwrap_or(newest);
    let remedy = if newest < OLDEST_API {
        "update Docker"
    } else if *NEWEST_API < oldest {
        "update isobench"
    } else {
        return Ok(());
    };
    Err(ApiError::Version { oldest, newest, remedy })
}

fn parse(version: &str) -> Option<ClientVersion> {
    let (major, minor) = version.split_once('.')?;
    Some(ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
}
