//! IronFunctions: its two formats, on standard input and output.

use crate::bed::{Running, Unit, has_agent};
use crate::{MISBEHAVING, WORKLOADS};
use isobench_core::Guest;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::ChildStdout;

/// A call in the format `default`: a process of its own.
fn default(unit: &Unit, request: &[u8]) -> (Running, Vec<u8>) {
    let mut running = unit.start("isobench-function", &[], &[]);
    let mut stdin = running.child.stdin.take().expect("piped");
    let written = std::thread::scope(|scope| {
        // Beside the answer, of which a pipe holds only some.
        scope.spawn(move || drop(stdin.write_all(request)));
        running.output()
    });
    (running, written)
}

/// A request as the platform's writer has it: GET, no host, its settings and the client's headers as variables' names.
fn request(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "GET / HTTP/1.1\r\nContent-Length: {}\r\nHeader_content_type: application/octet-stream\r\nMethod: POST\r\n\
         Request_url: http//127.0.0.1:8080/r/isobench/echo\r\nRoute: /echo\r\nTask-Id: 1\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn answer(output: &mut BufReader<ChildStdout>) -> (String, Vec<u8>) {
    let (mut status, mut length) = (String::new(), None);
    output.read_line(&mut status).expect("a line");
    loop {
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length.expect("a length")];
    output.read_exact(&mut body).expect("a body");
    (status, body)
}

#[test]
fn every_guest_answers_in_both_formats() {
    for guest in Guest::ALL.into_iter().filter(|&guest| has_agent(guest)) {
        for workload in WORKLOADS {
            let unit = Unit::of("ironfunctions", workload, guest);
            unit.verify(|request| {
                let (mut running, output) = default(&unit, request);
                assert!(running.ends().success(), "{}", running.said());
                output
            });
            let mut running = unit.start("isobench-function", &[], &[("FN_FORMAT", "http")]);
            let mut stdin = running.child.stdin.take().expect("piped");
            let mut output = BufReader::new(running.child.stdout.take().expect("piped"));
            unit.verify(|body| {
                stdin.write_all(&request(body)).expect("written");
                let (status, answer) = answer(&mut output);
                assert_eq!(status, "HTTP/1.1 200 OK\r\n");
                answer
            });
            drop(stdin);
            assert!(running.ends().success(), "{}", running.said());
            unit.assert_nothing_left();
        }
    }
}

#[test]
fn faults_are_told_as_the_formats_can() {
    let unit = Unit::of("ironfunctions", MISBEHAVING, Guest::Native);
    let (mut running, output) = default(&unit, b"panic");
    assert_eq!(running.ends().code(), Some(1));
    assert_eq!(output, b"");
    assert!(running.said().contains("guest_trap: "), "{}", running.said());
    unit.assert_nothing_left();

    let hot = || unit.start("isobench-function", &[], &[("FN_FORMAT", "http")]);
    let mut running = hot();
    let mut stdin = running.child.stdin.take().expect("piped");
    let mut output = BufReader::new(running.child.stdout.take().expect("piped"));
    stdin.write_all(&request(b"segv")).expect("written");
    let (status, line) = answer(&mut output);
    assert_eq!(status, "HTTP/1.1 500 Internal Server Error\r\n");
    assert!(line.starts_with(b"guest_trap: "), "{}", String::from_utf8_lossy(&line));
    assert_eq!(running.ends().code(), Some(139), "with its input still open");
    unit.assert_nothing_left();

    let mut running = hot();
    let mut stdin = running.child.stdin.take().expect("piped");
    stdin.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("written");
    assert_eq!(running.ends().code(), Some(1));
    assert!(running.said().contains("without a Content-Length"), "{}", running.said());
    unit.assert_nothing_left();
}
