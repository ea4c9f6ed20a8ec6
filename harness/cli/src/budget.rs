//! How long a run may take, and what is said of that before it starts.

use std::time::{Duration, Instant};

/// How long after its budget a run may still measure, so that a first round is whole that takes a little longer than
/// expected.
const OVERRUN: Duration = Duration::from_secs(10);

/// A run's budget. `--budget` counts from the start of the command and holds; the usual one counts from the first visit
/// and does not cut the first round short.
pub struct Budget {
    begun: Instant,
    limit: Option<Duration>,
    asked: bool,
}

/// A budget that is too short for the first round.
#[derive(Debug, thiserror::Error)]
#[error(
    "--budget {} is too short: {} before the first visit, and the first round takes about {} ({visits} visits). Pass \
     --budget {}, choose fewer cells (--quick, --only, --backend, --guest, --workload, --case, --skip), or pass \
     --rounds 1 for every cell once, however long that takes",
    seconds(*.limit), seconds(*.spent), seconds(*.expected), rounded(*.spent + *.expected)
)]
pub struct TooShort {
    limit: Duration,
    spent: Duration,
    expected: Duration,
    visits: usize,
}

impl Budget {
    /// The budget that the user set, from the start of the command.
    pub fn asked(limit: Duration, begun: Instant) -> Budget {
        Budget { begun, limit: Some(limit), asked: true }
    }

    /// The budget of a run that sets none, from now; `None` for a run of a number of rounds.
    pub fn usual(limit: Option<Duration>) -> Budget {
        Budget { begun: Instant::now(), limit, asked: false }
    }

    /// The time that is left, which is never negative.
    pub fn left(&self) -> Duration {
        self.limit.map_or(Duration::MAX, |limit| limit.saturating_sub(self.begun.elapsed()))
    }

    /// Returns whether a visit of that cost may begin.
    pub fn admits(&self, cost: Duration, first_round: bool) -> bool {
        admits(self.limit, self.asked, self.begun.elapsed(), cost, first_round)
    }

    /// Returns the line that is printed before the first visit.
    ///
    /// # Errors
    /// [`TooShort`] if a budget that the user set ends before the first round.
    pub fn announce(&self, visits: usize, expected: Duration) -> Result<String, TooShort> {
        announce(self.limit, self.asked, self.begun.elapsed(), visits, expected)
    }
}

fn admits(limit: Option<Duration>, asked: bool, elapsed: Duration, cost: Duration, first_round: bool) -> bool {
    match limit {
        None => true,
        Some(_) if first_round && !asked => true,
        Some(limit) if first_round => elapsed + cost <= limit + OVERRUN,
        Some(limit) => elapsed + cost <= limit,
    }
}

fn announce(
    limit: Option<Duration>,
    asked: bool,
    spent: Duration,
    visits: usize,
    expected: Duration,
) -> Result<String, TooShort> {
    let first = format!("first round: {visits} visits, about {}", seconds(expected));
    match limit {
        None => Ok(first),
        Some(limit) if asked && spent + expected > limit + OVERRUN => Err(TooShort { limit, spent, expected, visits }),
        Some(limit) if expected > limit => Ok(format!(
            "{first}, longer than the budget of {}: the run ends after it. Fewer cells take less time: --quick, --only, \
             --backend, --guest, --workload, --case, --skip",
            seconds(limit)
        )),
        Some(limit) => Ok(format!("{first}; more rounds until {} are over", seconds(limit))),
    }
}

/// A duration in whole seconds, and in milliseconds under one.
pub fn seconds(time: Duration) -> humantime::FormattedDuration {
    let whole = Duration::from_secs_f64(time.as_secs_f64().round());
    humantime::format_duration(if time.as_secs() == 0 { Duration::from_millis(time.as_millis() as u64) } else { whole })
}

/// A budget to suggest: half as long again, for a machine that is busy, and a round number.
fn rounded(time: Duration) -> humantime::FormattedDuration {
    let seconds = (time.as_secs_f64() * 1.5).ceil() as u64;
    let step = if seconds < 120 { 10 } else { 60 };
    humantime::format_duration(Duration::from_secs(seconds.div_ceil(step) * step))
}

/// Reads `--budget`.
pub fn parse(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("a budget of 0 measures nothing: write `90s` or `10m`, or --rounds 1".into()),
        parsed => parsed.map_err(|e| e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_budget_that_was_set_holds_even_in_the_first_round() {
        let admitted = |asked, elapsed, cost, first| admits(Some(60 * S), asked, elapsed * S, cost * S, first);
        assert!(admitted(true, 55, 5, false) && !admitted(true, 55, 6, false));
        assert!(admitted(true, 60, 9, true) && !admitted(true, 65, 6, true));
        assert!(admitted(false, 500, 30, true) && !admitted(false, 55, 6, false), "the usual one cuts no first round");
        assert!(admits(None, false, 500 * S, 30 * S, false));
    }

    #[test]
    fn what_it_will_take_is_said_before_the_start() {
        let said = |limit: Option<u32>, asked, expected| {
            let said = announce(limit.map(|s| s * S), asked, 8 * S, 34, expected * S);
            said.unwrap_or_else(|refused| refused.to_string())
        };
        assert_eq!(said(Some(240), false, 70), "first round: 34 visits, about 1m 10s; more rounds until 4m are over");
        assert_eq!(said(None, false, 70), "first round: 34 visits, about 1m 10s");
        assert!(said(Some(240), false, 600).contains("longer than the budget of 4m: the run ends after it"));
        let refused = said(Some(60), true, 600);
        assert!(refused.starts_with("--budget 1m is too short: 8s before the first visit"), "{refused}");
        assert!(refused.contains("about 10m (34 visits). Pass --budget 16m,"), "{refused}");
        assert!(said(Some(60), true, 50).starts_with("first round"));
    }

    #[test]
    fn no_budget_of_nothing() {
        assert!(parse("0s").unwrap_err().contains("--rounds 1") && parse("soon").is_err());
        assert_eq!(parse("90s"), Ok(90 * S));
        assert_eq!(seconds(Duration::from_millis(250)).to_string(), "250ms");
    }
}
