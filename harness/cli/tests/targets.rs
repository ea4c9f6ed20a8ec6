//! `isobench run --target`: deployed functions, which are a server of this test.

mod common;

use common::Checkout;
use isobench_core::Experiment;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

/// A checkout whose only backend is that of URLs.
fn checkout() -> Checkout {
    let checkout = Checkout::new();
    let name = "isobench-runner-http";
    let program = Path::new(env!("CARGO_BIN_EXE_isobench")).with_file_name(name);
    assert!(program.is_file(), "{} is missing: run the tests with --workspace", program.display());
    std::os::unix::fs::symlink(program, checkout.path("programs").join(name)).unwrap();
    checkout.fixture("echo", "", &[("guest.js", "")]);
    checkout.fixture("other", "", &[("guest.js", "")]);
    checkout
}

/// Answers each POST with its body; the URL. The threads end with the test.
fn function() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(BufReader::new(stream)));
        }
    });
    url
}

fn answer(mut stream: BufReader<TcpStream>) -> Option<()> {
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if let Some(said) = line.to_lowercase().strip_prefix("content-length:") {
                length = said.trim().parse().ok()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        stream.get_mut().write_all(&[head.as_bytes(), &body].concat()).ok()?;
    }
}

#[test]
fn a_target_has_rows_for_what_it_answers_and_no_memory() {
    let checkout = checkout();
    let target = format!("[targets.mine]\nurl = '{}'\nguest = 'js'\n", function());
    fs::write(checkout.path("targets.toml"), target).unwrap();
    let args = ["run", "--quick", "--only", "http/", "--rounds", "1", "--target", "targets.toml"];
    checkout.run(&args).expect(0).says("http/mine").says("http/mine-close");
    let (run, _) = checkout.read_run();
    let mut cells: Vec<String> = run.cells.iter().map(|entry| entry.cell.to_string()).collect();
    cells.dedup();
    cells.sort();
    cells.dedup();
    assert_eq!(cells, ["http/mine-close/js/echo/small", "http/mine/js/echo/small"]);
    assert!(run.cells.iter().all(|entry| !entry.experiments.contains(&Experiment::Footprint)));
    assert_eq!(run.absent, []);
    assert!(checkout.page().contains("http/mine-close"));
    checkout.assert_nothing_left();
}

/// Answers each POST with that status and no body; the URL.
fn empty(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    url
}

#[test]
fn a_server_that_answers_everything_with_nothing_is_an_error_row() {
    for status in ["204 No Content", "200 OK"] {
        let checkout = checkout();
        // The case that is measured has an empty request and an empty answer.
        let nothing = isobench_core::sha256_hex(b"");
        let more = format!("[[case]]\nname = \"empty\"\ninput = \"nothing\"\nexpected_sha256 = \"{nothing}\"\n");
        checkout.fixture("echo", &more, &[("guest.js", ""), ("nothing", "")]);
        let target = format!("[targets.mine]\nurl = '{}'\nguest = 'js'\n", empty(status));
        fs::write(checkout.path("targets.toml"), target).unwrap();
        checkout.run(&["run", "--only", "http/", "--budget", "60s", "--target", "targets.toml"]).expect(3);
        let (run, records) = checkout.read_run();
        assert!(run.cells.iter().all(|cell| cell.blocks == 0 && !cell.faults.is_empty()), "{:?}", run.cells);
        assert!(!run.cells.is_empty() && records.is_empty());
        let message = &run.cells[0].faults[0].fault.message;
        assert!(message.contains("verifying with the case `small`"), "{message}");
        // Nothing was measured, and nothing is missing.
        checkout.run(&["report", "latest"]).expect(0);
        assert!(!checkout.page().contains("incomplete"));
    }
}

#[test]
fn what_is_wrong_with_a_target_is_told_before_anything_runs() {
    let checkout = checkout();
    fs::write(checkout.path("targets.toml"), "[targets.mine]\nurl = 'http://h'\ncolour = 1\n").unwrap();
    let ran = checkout.run(&["run", "--only", "http/", "--target", "targets.toml"]);
    assert!(ran.expect(1).stderr.contains("targets.toml:3: unknown field `colour`"), "{}", ran.stderr);
    let ran = checkout.run(&["run", "--only", "http/", "--target", "ftp://h"]);
    assert!(ran.expect(1).stderr.contains("names a file or a URL"), "{}", ran.stderr);
    let ran = checkout.run(&["run", "--only", "http/"]);
    assert!(ran.expect(1).stderr.contains("no cell to measure"), "{}", ran.stderr);
    checkout.assert_nothing_left();
}
