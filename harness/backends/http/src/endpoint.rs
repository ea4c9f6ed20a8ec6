//! The way to a function: its host's addresses, a connection, TLS.

use crate::targets::{Place, Target};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{HeaderMap, Method};
use isobench_core::{Fault, FaultKind};
use isobench_runner::Deadline;
use isobench_runner::http::{Http, within};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Bytes of an answer that is an error which are told.
const TOLD: usize = 300;

/// Where a workload is answered, and how one gets there.
pub(crate) struct Endpoint {
    place: Place,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    headers: HeaderMap,
    /// Longest answer in bytes.
    limit: u64,
}

impl Endpoint {
    /// All that can be known before a start: headers, certificates. `kept` connections are not asked to be closed.
    pub(crate) fn new(target: &Target, workload: &str, kept: bool, limit: u64) -> Result<Endpoint, Fault> {
        let place = target.place(workload).map_err(Fault::backend)?;
        let mut headers = target.headers().map_err(Fault::backend)?;
        let host = HeaderValue::try_from(&place.authority).map_err(|e| Fault::backend(format!("`url`: {e}")))?;
        headers.insert(HOST, host);
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
        if !kept {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let tls = if place.tls {
            let name =
                ServerName::try_from(place.host.clone()).map_err(|e| Fault::backend(format!("{}: {e}", place.host)))?;
            Some((trusting(target.ca.as_deref()).map_err(Fault::backend)?, name))
        } else {
            None
        };
        Ok(Endpoint { place, tls, headers, limit })
    }

    /// A new connection; `mark` hears the end of each part.
    pub(crate) fn connect(&self, mut mark: impl FnMut(&'static str), deadline: Deadline) -> Result<Http, Fault> {
        let Place { host, port, authority, .. } = &self.place;
        let addresses = resolve(host, *port, deadline)?;
        mark("create.resolve");
        let stream = within(deadline, &format!("a connection to {authority}"), connect(authority, &addresses))?;
        mark("create.connect");
        let Some((connector, name)) = &self.tls else {
            return within(deadline, "the connection", Http::over(stream, self.headers.clone(), self.limit));
        };
        let stream = within(deadline, &format!("TLS with {authority}"), async {
            let stream = connector.connect(name.clone(), stream).await;
            stream.map_err(|e| Fault::backend(format!("TLS with {authority}: {e}")))
        })?;
        mark("create.tls");
        within(deadline, "the connection", Http::over(stream, self.headers.clone(), self.limit))
    }

    /// One request; the answer's body, or the fault that it tells of.
    pub(crate) fn ask(&self, http: &mut Http, request: &[u8], deadline: Deadline) -> Result<Vec<u8>, Fault> {
        let answer = http.ask(Method::POST, &self.place.path, request, deadline)?;
        if answer.status.is_success() {
            return Ok(answer.body.into());
        }
        let words = String::from_utf8_lossy(&answer.body[..answer.body.len().min(TOLD)]).escape_debug().to_string();
        // A guest's fault, as our agents and adapters tell it.
        let told = words.split_once(": ").map(|(kind, message)| (FaultKind::from_name(kind), message));
        Err(match told {
            Some((kind, message)) if kind != FaultKind::Internal => Fault::new(kind, message),
            _ => Fault::backend(format!("{} answered {}: {words}", self.place.authority, answer.status)),
        })
    }
}

/// The addresses of a host, as the system's resolver has them.
fn resolve(host: &str, port: u16, deadline: Deadline) -> Result<Vec<SocketAddr>, Fault> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (sender, receiver) = mpsc::channel();
    let asked = host.to_string();
    // The resolver takes no deadline. A thread that is not waited for ends when it gives up, or with this process.
    std::thread::spawn(move || {
        let found = (asked.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        let _ = sender.send(found);
    });
    match receiver.recv_timeout(deadline.remaining()) {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Ok(Ok(_)) => Err(Fault::backend(format!("{host}: the name has no address"))),
        Ok(Err(e)) => Err(Fault::backend(format!("{host}: {e}"))),
        Err(RecvTimeoutError::Timeout) => Err(deadline.fault(format!("the address of {host}"))),
        Err(RecvTimeoutError::Disconnected) => Err(Fault::backend(format!("{host}: the resolver died"))),
    }
}

/// The first address that takes a connection.
async fn connect(authority: &str, addresses: &[SocketAddr]) -> Result<TcpStream, Fault> {
    let mut refused = Fault::backend(format!("{authority}: the name has no address"));
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // A request in two packets would wait for an acknowledgement in between (Nagle).
                stream.set_nodelay(true).map_err(|e| Fault::backend(format!("{authority}: {e}")))?;
                return Ok(stream);
            }
            Err(e) => refused = Fault::backend(format!("{authority} ({address}): {e}")),
        }
    }
    Err(refused)
}

/// TLS that trusts the certificates in `ca`, or those that the system trusts.
fn trusting(ca: Option<&Path>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            let wrong = |e: &dyn std::fmt::Display| format!("`ca`: {}: {e}", file.display());
            for certificate in CertificateDer::pem_file_iter(file).map_err(|e| wrong(&e))? {
                roots.add(certificate.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err("no certificate to trust: install ca-certificates, or name a file of them as `ca`".into());
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Each connection is a whole handshake: one that resumes another would be a warm one.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
