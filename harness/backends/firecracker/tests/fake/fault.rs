//! What the fake does wrong on purpose: `WHEN:WHAT` in `ISOBENCH_FAKE_FAULT`, where WHEN is `spawn`, a request (`PUT
//! /vsock`) or `guest`.

use crate::http::{Asked, Connection};
use std::io::Write;
use std::time::Duration;

/// One thing to do wrong, or none.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    when: String,
    what: String,
}

impl Plan {
    pub fn from_environment() -> Plan {
        let text = std::env::var("ISOBENCH_FAKE_FAULT").unwrap_or_default();
        let (when, what) = text.rsplit_once(':').unwrap_or_default();
        Plan { when: when.into(), what: what.into() }
    }

    /// What the guest does wrong.
    pub fn of_guest(&self) -> Option<&str> {
        (self.when == "guest").then_some(&self.what)
    }

    /// Before the API's socket is made.
    pub fn at_spawn(&self) {
        match self.what.as_str() {
            _ if self.when != "spawn" => {}
            "hang" => hang(),
            "die" => die(),
            what => panic!("spawn: {what}?"),
        }
    }

    /// In place of an answer. Whether the connection is over.
    pub fn at_request(&self, asked: &Asked, connection: &mut Connection) -> bool {
        if self.when != format!("{} {}", asked.method, asked.path) {
            return false;
        }
        let mut say = |text: &str| {
            let _ = connection.stream.write_all(text.as_bytes());
        };
        match self.what.as_str() {
            "refuse" => connection.answer(400, Some(&crate::refusal("refused as told"))),
            "500" => say("HTTP/1.1 500 \r\nContent-Length: 13\r\n\r\n<p>as told</p"),
            "404" => say("HTTP/1.1 404 Not Found\r\n\r\n"),
            "garbage" => say("220 smtp.example.org ESMTP\r\n"),
            "half" => say("HTTP/1.1 400 \r\nContent-Length: 100\r\n\r\n{\"fault_mess"),
            "long" => say("HTTP/1.1 400 \r\nContent-Length: 1000000000\r\n\r\n"),
            "flood" => (0..100).for_each(|n| say(&format!("{}X-{n}: {:1000}\r\n", first(n), "y"))),
            "more" => say("HTTP/1.1 204 \r\n\r\nHTTP/1.1 204 \r\n\r\n"),
            "slow" => {
                for byte in "HTTP/1.1 204 \r\nServer: a very slow one".chars().chain(std::iter::repeat('y')) {
                    say(&byte.to_string());
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            "close" => {}
            "hang" => hang(),
            "die" => die(),
            "kill" => {
                // SAFETY: a signal to this process.
                unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            }
            what => panic!("{}: {what}?", self.when),
        }
        true
    }
}

fn first(n: u32) -> &'static str {
    if n == 0 { "HTTP/1.1 204 \r\n" } else { "" }
}

pub fn hang() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn die() {
    eprintln!("Error: died as told");
    std::process::exit(1);
}
