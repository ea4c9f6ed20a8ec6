//! Daemons that are none: each listens at a socket that the user names, and none is used or replaced.

use crate::bed;
use isobench_core::Availability;
use isobench_runner::testing::TestBed;
use isobench_runner::testing::daemons::Variable;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};

/// A daemon that follows a script. It lives as long as this program.
struct Fake {
    host: String,
    paths: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// Listens. `answer` returns the whole answer to the request of a path; without one, the client waits for ever.
    fn start(bed: &TestBed, answer: fn(&str) -> Option<String>) -> Fake {
        let folder = bed.context().state;
        fs::create_dir_all(&folder).expect("a folder");
        let socket = folder.join("fake");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let paths = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&paths);
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for mut stream in listener.incoming().flatten() {
                let path = path_of(&stream);
                seen.lock().expect("the paths").push(path.clone());
                match answer(&path) {
                    // The client may be gone already.
                    Some(text) => drop(stream.write_all(text.as_bytes())),
                    None => silent.push(stream),
                }
            }
        });
        Fake { host: format!("unix://{}", socket.display()), paths }
    }

    fn paths(&self) -> Vec<String> {
        self.paths.lock().expect("the paths").clone()
    }
}

/// Reads a request without a body. Returns its path.
fn path_of(stream: &UnixStream) -> String {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    lines.find(String::is_empty);
    first.split(' ').nth(1).unwrap_or_default().into()
}

fn json(body: &str) -> Option<String> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ";
    Some(format!("{head}{}\r\n\r\n{body}", body.len()))
}

/// Asks the backend whether it can run where the user names `host`. Returns its reason not to.
#[track_caller]
fn why_absent(bed: &TestBed, host: &str) -> String {
    let _docker_host = Variable::set("DOCKER_HOST", host);
    match bed.runner.probe(&bed.context()) {
        Availability::Available { notes, .. } => panic!("another daemon is used: {notes:?}"),
        Availability::Unavailable { reason, .. } => reason,
    }
}

#[track_caller]
fn assert_absent(bed: &TestBed, host: &str, words: &[&str]) {
    let reason = why_absent(bed, host);
    assert!(words.iter().all(|word| reason.contains(word)) && !reason.contains('\n'), "{words:?}: {reason}");
}

pub fn elsewhere() {
    let bed = bed();
    for host in ["tcp://192.0.2.1:2375", "ssh://root@192.0.2.1", "npipe:////./pipe/docker_engine"] {
        assert_absent(&bed, host, &["is remote", host, "set DOCKER_HOST to `unix://`"]);
    }
}

pub fn garbage() {
    let bed = bed();
    let fake = Fake::start(&bed, |_| Some("SSH-2.0-OpenSSH_9.2\r\n".into()));
    assert_absent(&bed, &fake.host, &["fake", "not one of Docker's API"]);
    let fake = Fake::start(&bed, |_| json("[1, 2"));
    assert_absent(&bed, &fake.host, &["fake", "not one of Docker's API"]);
    let fake = Fake::start(&bed, |_| json("{}"));
    assert_absent(&bed, &fake.host, &["fake", "names no `ApiVersion`"]);
}

pub fn other_versions() {
    let bed = bed();
    let newer = Fake::start(&bed, |_| json(r#"{"ApiVersion": "1.99", "MinAPIVersion": "1.98"}"#));
    assert_absent(&bed, &newer.host, &["in versions 1.98 to 1.99", "update isobench"]);
    let older = Fake::start(&bed, |_| json(r#"{"ApiVersion": "1.24", "MinAPIVersion": "1.12"}"#));
    assert_absent(&bed, &older.host, &["in versions 1.12 to 1.24", "update Docker"]);
}

/// One wait for an answer, and no other question after it.
pub fn silent() {
    let bed = bed();
    let never = Fake::start(&bed, |_| None);
    assert_absent(&bed, &never.host, &["fake", "no answer"]);
    assert_eq!(never.paths(), ["/version"]);
    let later = Fake::start(&bed, |path| match path {
        "/version" => json(r#"{"ApiVersion": "1.41", "MinAPIVersion": "1.12"}"#),
        _ => None,
    });
    assert_absent(&bed, &later.host, &["fake", "info: no answer"]);
    let asked = later.paths();
    assert_eq!(asked.iter().position(|path| path != "/version"), Some(asked.len() - 1), "{asked:?}");
}

pub fn nothing_there() {
    let bed = bed();
    assert_absent(&bed, "unix:///nonexistent/docker.sock", &["/nonexistent/docker.sock"]);
}
