//! A server that does what a test says, on loopback.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Bytes both ways.
pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A request as it came.
pub struct Request {
    /// The first line and the headers, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What is done with a request; whether the connection goes on.
type Act = Arc<dyn Fn(&mut dyn Stream, &Request) -> bool + Send + Sync>;

/// A server. Its threads end with the test's process.
pub struct Server {
    /// Where it listens.
    pub port: u16,
    /// Its certificate (PEM), where it speaks TLS.
    pub certificate: String,
    connections: Arc<AtomicU32>,
}

impl Server {
    /// Does `act` with each request.
    pub fn plain(act: impl Fn(&mut dyn Stream, &Request) -> bool + Send + Sync + 'static) -> Server {
        Server::listen(None, Arc::new(act))
    }

    /// Echoes, behind TLS with a certificate of its own for `localhost`.
    pub fn tls() -> Server {
        let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("its key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key));
        let mut server = Server::listen(Some(Arc::new(config.expect("a configuration"))), Arc::new(echo));
        server.certificate = made.cert.pem();
        server
    }

    fn listen(tls: Option<Arc<ServerConfig>>, act: Act) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let connections = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::Relaxed);
                let (tls, act) = (tls.clone(), Arc::clone(&act));
                std::thread::spawn(move || match tls {
                    None => serve(stream, &act),
                    Some(config) => {
                        let connection = ServerConnection::new(config).expect("a connection");
                        serve(StreamOwned::new(connection, stream), &act);
                    }
                });
            }
        });
        Server { port, certificate: String::new(), connections }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/run", self.port)
    }

    /// How many connections there have been.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: impl Stream, act: &Act) {
    while let Some(request) = read(&mut stream) {
        if !act(&mut stream, &request) {
            return;
        }
    }
}

fn read(stream: &mut dyn Stream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Request { head, body })
}

/// Answers with the request's body.
pub fn echo(stream: &mut dyn Stream, request: &Request) -> bool {
    answer(stream, "200 OK", "", &request.body);
    !request.head.contains("connection: close")
}

/// Answers.
pub fn answer(stream: &mut dyn Stream, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).and_then(|()| stream.flush());
}

/// Says `text` and no more, with the connection open.
pub fn says(text: &'static str) -> impl Fn(&mut dyn Stream, &Request) -> bool + Send + Sync {
    move |stream, _| {
        let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
        true
    }
}

/// Says `text` and closes.
pub fn says_and_closes(text: &'static str) -> impl Fn(&mut dyn Stream, &Request) -> bool + Send + Sync {
    move |stream, request| {
        says(text)(stream, request);
        false
    }
}

/// Says a header again and again.
pub fn drips(stream: &mut dyn Stream, _: &Request) -> bool {
    let mut line: &[u8] = b"HTTP/1.1 200 OK\r\n";
    while stream.write_all(line).and_then(|()| stream.flush()).is_ok() {
        line = b"X: y\r\n";
        std::thread::sleep(Duration::from_millis(30));
    }
    false
}

/// A port at which nobody listens.
pub fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// A server that takes connections and says `text` at once, whatever comes.
pub fn blurts(text: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        let mut held: Vec<TcpStream> = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(text);
            held.push(stream);
        }
    });
    port
}
