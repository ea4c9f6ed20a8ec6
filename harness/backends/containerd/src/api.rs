//! containerd's API without its asynchrony: every request is waited for, with a deadline.

use crate::messages::{Request, WriteContent};
use futures_util::{StreamExt, stream};
use http::uri::PathAndQuery;
use isobench_core::{Fault, FaultKind};
use isobench_runner::Deadline;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

/// Longest wait for a question that needs no work (version, list).
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// containerd's namespace that all of ours is in. Other clients' things are in other ones.
pub const NAMESPACE: &str = "isobench";

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The daemon answered with an error.
    #[error("{what}: containerd refused ({code:?}): {message}")]
    Refused {
        /// The request's method.
        what: &'static str,
        /// The kind of error.
        code: Code,
        /// The daemon's reason.
        message: String,
    },
    /// The daemon did not answer.
    #[error("{what}: containerd does not answer ({message}): it is gone or was killed")]
    Unreachable {
        /// The request's method.
        what: &'static str,
        /// The connection's reason.
        message: String,
    },
    /// The deadline passed.
    #[error("{what}: no answer from containerd after {millis} ms")]
    Late {
        /// The request's method.
        what: &'static str,
        /// What was allowed.
        millis: u128,
    },
}

impl ApiError {
    /// The kind of error, where there was an answer.
    pub fn code(&self) -> Option<Code> {
        match self {
            ApiError::Refused { code, .. } => Some(*code),
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

/// Takes that something is there, or gone, already for what was wanted.
pub fn unless(code: Code, result: Result<(), ApiError>) -> Result<(), ApiError> {
    match result {
        Err(error) if error.code() == Some(code) => Ok(()),
        other => other,
    }
}

thread_local! {
    /// One runtime a thread: instances live on the thread that made them, and so do their requests.
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_all().build().expect("a runtime needs three file descriptors");
    /// One connection a thread, made by the first request and kept, as every client of containerd does.
    static CONNECTION: RefCell<Option<(PathBuf, Channel)>> = const { RefCell::new(None) };
}

/// Who asks containerd for things.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    lease: String,
}

impl Client {
    /// Asks the daemon at `socket`; what is made belongs to the lease of that name until it is removed.
    pub fn new(socket: &Path, lease: &str) -> Client {
        Client { socket: socket.into(), lease: lease.into() }
    }

    /// The lease.
    pub fn lease(&self) -> &str {
        &self.lease
    }

    /// One request, one answer.
    ///
    /// # Errors
    /// The daemon refuses, is gone, or does not answer in time.
    pub fn call<R: Request>(&self, request: R, deadline: Deadline) -> Result<R::Answer, ApiError> {
        let what = what(R::METHOD);
        self.within(deadline, what, async |mut grpc| {
            let codec = ProstCodec::<R, R::Answer>::default();
            let answer = grpc.unary(self.addressed(request), PathAndQuery::from_static(R::METHOD), codec).await?;
            Ok(answer.into_inner())
        })
    }

    /// Brings a blob into the content store, piece by piece.
    ///
    /// # Errors
    /// As [`Client::call`]; `AlreadyExists` where the store has that content.
    pub fn upload(&self, pieces: Vec<WriteContent>, deadline: Deadline) -> Result<(), ApiError> {
        let method = WriteContent::METHOD;
        self.within(deadline, what(method), async |mut grpc| {
            let codec = ProstCodec::<WriteContent, ()>::default();
            let pieces = self.addressed(stream::iter(pieces));
            let mut answers = grpc.streaming(pieces, PathAndQuery::from_static(method), codec).await?.into_inner();
            while let Some(answer) = answers.next().await {
                answer?;
            }
            Ok(())
        })
    }

    fn addressed<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let headers = request.metadata_mut();
        headers.insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
        if let Ok(lease) = self.lease.parse() {
            headers.insert("containerd-lease", lease);
        }
        request
    }

    fn within<T>(
        &self,
        deadline: Deadline,
        what: &'static str,
        request: impl AsyncFnOnce(Grpc<Channel>) -> Result<T, Status>,
    ) -> Result<T, ApiError> {
        let asked = async {
            let mut grpc = Grpc::new(self.connection()?);
            grpc.ready().await.map_err(|e| Status::from_error(e.into()))?;
            request(grpc).await
        };
        let answer = RUNTIME.with(|rt| rt.block_on(async { tokio::time::timeout(deadline.remaining(), asked).await }));
        match answer {
            Ok(Ok(value)) => Ok(value),
            // What did not come from the daemon has a cause here.
            Ok(Err(status)) if std::error::Error::source(&status).is_some() => {
                Err(ApiError::Unreachable { what, message: reasons(&status) })
            }
            Ok(Err(status)) => Err(ApiError::Refused { what, code: status.code(), message: status.message().into() }),
            Err(_) => Err(ApiError::Late { what, millis: deadline.allowed().as_millis() }),
        }
    }

    fn connection(&self) -> Result<Channel, Status> {
        CONNECTION.with_borrow_mut(|kept| {
            if let Some((socket, channel)) = kept
                && *socket == self.socket
            {
                return Ok(channel.clone());
            }
            let endpoint = Endpoint::from_shared(format!("unix://{}", self.socket.display()));
            let channel = endpoint.map_err(|e| Status::from_error(e.into()))?.connect_lazy();
            *kept = Some((self.socket.clone(), channel.clone()));
            Ok(channel)
        })
    }
}

/// `Tasks/Create` of `/containerd.services.tasks.v1.Tasks/Create`.
fn what(method: &'static str) -> &'static str {
    method.rsplit_once('.').map_or(method, |(_, what)| what)
}

/// An error with its causes: the last one is what the operating system said.
fn reasons(status: &Status) -> String {
    let mut text = status.message().to_string();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
