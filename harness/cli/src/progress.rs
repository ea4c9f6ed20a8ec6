//! The progress bar: what is being measured, and when it will be over. On standard error, and only on a terminal; a
//! pipe gets plain lines.

use crate::output;
use crate::schedule::Planned;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// A bar with messages above it.
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
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
        Progress { bar, terminal, begun: Instant::now() }
    }

    /// A step of the preparation.
    pub fn step(&self, what: &str) {
        if self.terminal { self.bar.set_message(what.to_string()) } else { output::note(what) }
    }

    /// A line that stays.
    pub fn line(&self, line: &str) {
        if self.terminal { self.bar.suspend(|| output::line(line)) } else { output::line(line) }
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
        self.bar.set_message(format!("{eta} · {cell}"));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// What the rest of a first round will take: visits that have not been made cost what visits of the same kind did.
pub fn expected_left(planned: &[Planned], kind: impl Fn(&Planned) -> u32) -> Duration {
    let made: Vec<&Planned> = planned.iter().filter(|p| p.blocks > 0).collect();
    let mean = |of: &dyn Fn(&Planned) -> bool| {
        let of_kind: Vec<&&Planned> = made.iter().filter(|p| of(p)).collect();
        let spent: Duration = of_kind.iter().map(|p| p.spent).sum();
        spent.checked_div(of_kind.iter().map(|p| p.blocks).sum())
    };
    let open = planned.iter().filter(|p| p.blocks == 0 && !p.failed);
    open.map(|p| mean(&|other| kind(other) == kind(p)).or_else(|| mean(&|_| true)).unwrap_or(Duration::from_secs(2)))
        .sum()
}
