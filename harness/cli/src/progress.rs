//! The progress bar: what is being measured, and when it will be over. On standard error, and only on a terminal; a
//! pipe gets plain lines.

use crate::output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// Longest silence on standard error where it is no terminal: long enough to stay readable, short enough that nobody,
/// and no CI, takes the run for dead.
const SILENCE: Duration = Duration::from_secs(10);

/// A bar with messages above it.
pub struct Progress {
    bar: ProgressBar,
    /// Where there is no terminal: what happens now, for the thread that says so now and then.
    now: Option<Sender<String>>,
    begun: Instant,
}

impl Progress {
    /// A bar that only spins, until the plan is known.
    pub fn new() -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{spinner} {msg} [{elapsed}]").expect("a fixed template"));
        bar.enable_steady_tick(Duration::from_millis(200));
        let begun = Instant::now();
        Progress { bar, now: (!terminal).then(|| heartbeat(begun)), begun }
    }

    /// A step of the preparation.
    pub fn step(&self, what: &str) {
        match &self.now {
            None => self.bar.set_message(what.to_string()),
            Some(now) => {
                output::note(what);
                // The thread ends when this program does, not before.
                let _ = now.send(what.to_string());
            }
        }
    }

    /// A line that stays.
    pub fn line(&self, line: &str) {
        self.bar.suspend(|| output::line(line));
    }

    /// The plan is known: from here on the bar fills with time.
    pub fn measuring(&self) {
        let style = "{bar:30} {percent:>3}% {elapsed} of about {msg}";
        self.bar.set_style(ProgressStyle::with_template(style).expect("a fixed template").progress_chars("━╸─"));
    }

    /// What is being measured now, and how long it all will take.
    pub fn at(&self, cell: &str, expected_left: Duration) {
        let elapsed = self.begun.elapsed();
        let whole = elapsed + expected_left;
        self.bar.set_length(whole.as_millis().max(1) as u64);
        self.bar.set_position(elapsed.as_millis() as u64);
        let eta = humantime::format_duration(Duration::from_secs(whole.as_secs()));
        match &self.now {
            None => self.bar.set_message(format!("{eta} · {cell}")),
            Some(now) => {
                let _ = now.send(format!("of about {eta}: {cell}"));
            }
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Starts a thread that prints the newest message of those it is sent, at least every [`SILENCE`], until nobody can
/// send any more.
fn heartbeat(begun: Instant) -> Sender<String> {
    let (now, messages) = mpsc::channel::<String>();
    thread::spawn(move || {
        let mut beat = Beat { begun, due: begun + SILENCE, newest: String::new() };
        loop {
            match messages.recv_timeout(beat.due.saturating_duration_since(Instant::now())) {
                Ok(message) => beat.newest = message,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            // Messages that come fast must not put off the line.
            if let Some(line) = beat.line(Instant::now()) {
                output::note(line);
            }
        }
    });
    now
}

/// When the next line is due, and what it says.
struct Beat {
    begun: Instant,
    due: Instant,
    newest: String,
}

impl Beat {
    /// Returns the line that is due at `now`, if one is.
    fn line(&mut self, now: Instant) -> Option<String> {
        (now >= self.due).then(|| {
            self.due = now + SILENCE;
            format!("{} {}", elapsed(now.duration_since(self.begun)), self.newest)
        })
    }
}

fn elapsed(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(time.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_every_ten_seconds_whatever_happens_meanwhile() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut beat = Beat { begun, due: begun + SILENCE, newest: "preparing docker".into() };
        assert_eq!(beat.line(at(9)), None);
        assert_eq!(beat.line(at(11)).as_deref(), Some("11s preparing docker"));
        beat.newest = "of about 4m: docker/runc/js/echo/small".into();
        assert_eq!(beat.line(at(20)), None);
        assert_eq!(beat.line(at(75)).as_deref(), Some("1m 15s of about 4m: docker/runc/js/echo/small"));
    }
}
