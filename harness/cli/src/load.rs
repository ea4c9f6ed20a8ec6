//! The command line of load beyond the closed loop.

use isobench_core::load::{Density, LoadPlan, OpenLoop, Rates, StartLimit, Starters};
use isobench_core::record::Policy;
use isobench_runner::plan::load::{QUICK_STARTS_MS, STARTS_MS, SWEEP};
use std::time::Duration;

/// How instances live where nothing is said: a small pool, one for every request, and one kept for a second.
const POLICIES: [Policy; 3] = [Policy::Warm(2), Policy::Fresh, Policy::KeepAlive(1_000)];

/// How much slower than the first ones starts may become where nothing is said.
const SLOWER: u32 = 10;

/// Most instances of one policy: each has a thread.
const MOST: u64 = 1024;

// No doc comment: clap would take it for that of the whole command.
#[derive(clap::Args)]
#[command(
    next_help_heading = "Load, measured instead of the standard experiments, on echo's small case unless --only names others"
)]
pub struct LoadArgs {
    /// Requests that arrive at these rates (Poisson, seeded) whatever becomes of those before: `200/s,30/m`, or `sweep`
    /// for 10, 25, 50, 75, 90, 100 and 110 % of what each cell can answer. Latency counts from the intended start
    #[arg(long, value_name = "RATES", value_parser = rates)]
    rate: Option<Rates>,
    /// How instances live under --rate: `warm:N` (a pool of N), `fresh` (one for every request), `keep-alive:TIME` (kept
    /// for so long after its last answer). May be given several times [default: warm:2, fresh, keep-alive:1s]
    #[arg(long, value_name = "POLICY", value_parser = policy, requires = "rate")]
    policy: Vec<Policy>,
    /// Most instances at once under `fresh` and `keep-alive` [default: 16, emulated 2]
    #[arg(long, value_name = "N", requires = "rate", value_parser = clap::value_parser!(u32).range(1..=1024))]
    most_instances: Option<u32>,
    /// Requests at once against nothing running: 1, 2, 4, … K, as far as half of the available memory and 30 s go
    /// (emulated: at most 4) [K when not given: 256]
    #[arg(long, value_name = "K", num_args = 0..=1, default_missing_value = "256",
        value_parser = clap::value_parser!(u32).range(1..=4096))]
    burst: Option<u32>,
    /// Start instances step by step and keep them, each still answering, until a bound
    #[arg(long)]
    density: bool,
    /// Memory that all instances together may take, by PSS, such as 1GiB [default: half of what is available]
    #[arg(long, value_name = "SIZE", requires = "density", value_parser = size)]
    density_memory: Option<u64>,
    /// Most live instances [default: 4096 in process, 64 out of process, 4 emulated]
    #[arg(long, value_name = "N", requires = "density", value_parser = clap::value_parser!(u32).range(1..))]
    density_count: Option<u32>,
    /// How slow the median start of a step may become: a time, or so many times the first ones [default: 10x]
    #[arg(long, value_name = "LIMIT", requires = "density", value_parser = start_limit)]
    density_start: Option<StartLimit>,
    /// So many starters at once, each starting an instance, having its first answer, stopping it, and again without a
    /// pause: starts a second and how long one takes; then the same with one of them timed alone, resting between its
    /// starts, beside the others. A pool made ahead is used up at once, so that putting back what was taken counts
    /// (emulated: at most 2) [NUMBERS when not given: 1,2,4,8]
    #[arg(long, value_name = "NUMBERS", num_args = 0..=1, default_missing_value = "1,2,4,8", value_parser = starters)]
    starters: Option<Numbers>,
    /// Seconds for each number of starters, together and again beside one [default: 10, quick 1]
    #[arg(long, value_name = "N", requires = "starters", value_parser = step)]
    starter_seconds: Option<u64>,
}

/// Numbers of starters. A type of its own, because clap takes a plain list for an argument that may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Numbers(Vec<u32>);

impl LoadArgs {
    /// What load was asked for; `None` for a run of the standard experiments.
    pub fn plan(&self, quick: bool) -> Option<LoadPlan> {
        let open_loop = self.rate.clone().map(|rates| OpenLoop {
            rates,
            policies: if self.policy.is_empty() { POLICIES.to_vec() } else { self.policy.clone() },
            most_instances: self.most_instances,
        });
        let density = self.density.then(|| Density {
            memory_bytes: self.density_memory,
            count: self.density_count,
            start: self.density_start.unwrap_or(StartLimit::Times(SLOWER)),
        });
        let starts = self.starters.clone().map(|Numbers(numbers)| Starters {
            numbers,
            step_ms: self.starter_seconds.unwrap_or(if quick { QUICK_STARTS_MS } else { STARTS_MS }),
        });
        let plan = LoadPlan { open_loop, burst: self.burst, density, starts };
        (plan != LoadPlan::default()).then_some(plan)
    }
}

/// `sweep`, or rates with commas between them.
fn rates(text: &str) -> Result<Rates, String> {
    if text == "sweep" {
        return Ok(Rates::Sweep(SWEEP.to_vec()));
    }
    let mut rates: Vec<u64> = text.split(',').map(|rate| millihertz(rate.trim())).collect::<Result<_, _>>()?;
    rates.sort_unstable();
    rates.dedup();
    Ok(Rates::Fixed(rates))
}

fn millihertz(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no rate: write `200/s`, `30/m` or `sweep`");
    let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let per_second = match unit {
        "s" => number,
        "m" => number / 60.0,
        _ => return Err(wrong()),
    };
    // A million a second is far over what the generator itself can keep.
    if !(0.001..=1e6).contains(&per_second) {
        return Err(format!("`{text}`: from 0.06/m to 1000000/s"));
    }
    Ok((per_second * 1e3).round() as u64)
}

fn policy(text: &str) -> Result<Policy, String> {
    let wrong = || format!("`{text}` is no policy: write `warm:2`, `fresh` or `keep-alive:1s`");
    match text.split_once(':') {
        None if text == "fresh" => Ok(Policy::Fresh),
        Some(("warm", n)) => match n.parse() {
            Ok(n @ 1..=MOST) => Ok(Policy::Warm(n as u32)),
            _ => Err(format!("`{text}`: from 1 to {MOST} instances")),
        },
        Some(("keep-alive", time)) => {
            let time: Duration = humantime::parse_duration(time).map_err(|e| format!("`{text}`: {e}"))?;
            Ok(Policy::KeepAlive(time.as_millis() as u64))
        }
        _ => Err(wrong()),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let found = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?.trim(), shift)));
    let bytes = found.and_then(|(number, shift)| number.parse::<u64>().ok()?.checked_mul(1 << shift));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| format!("`{text}` is no size: write `512MiB` or `1GiB`"))
}

fn starters(text: &str) -> Result<Numbers, String> {
    let wrong = || format!("`{text}` are no numbers of starters: write `1,2,4,8`, each from 1 to {MOST}");
    let number = |part: &str| part.trim().parse::<u32>().ok().filter(|n| (1..=MOST as u32).contains(n));
    let numbers: Option<Vec<u32>> = text.split(',').map(number).collect();
    let mut numbers = numbers.ok_or_else(wrong)?;
    numbers.sort_unstable();
    numbers.dedup();
    Ok(Numbers(numbers))
}

/// Milliseconds of a time in seconds.
fn step(text: &str) -> Result<u64, String> {
    let seconds: Option<f64> = text.parse().ok().filter(|s| (0.01..=3600.0).contains(s));
    let seconds = seconds.ok_or_else(|| format!("`{text}` is no time: write seconds, from 0.01 to 3600"))?;
    Ok((seconds * 1e3).round() as u64)
}

fn start_limit(text: &str) -> Result<StartLimit, String> {
    if let Some(times) = text.strip_suffix('x').and_then(|times| times.parse().ok()).filter(|times| *times >= 2) {
        return Ok(StartLimit::Times(times));
    }
    let time = humantime::parse_duration(text);
    time.map(|time| StartLimit::Ns(time.as_nanos() as u64))
        .map_err(|_| format!("`{text}` is no limit: write `10x` (at least 2x) or `500ms`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use isobench_runner::plan::load::STARTERS;

    #[test]
    fn rates_are_read_in_seconds_and_minutes() {
        assert_eq!(rates("500/s, 200/s,30/m"), Ok(Rates::Fixed(vec![500, 200_000, 500_000])));
        assert_eq!(rates("0.5/s"), Ok(Rates::Fixed(vec![500])));
        assert!(matches!(rates("sweep"), Ok(Rates::Sweep(percents)) if percents.contains(&110)));
        for wrong in ["", "200", "200/h", "x/s", "0/s", "2000000/s", "-1/s", "NaN/s"] {
            assert!(rates(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn policies_sizes_and_limits_read_as_they_are_written() {
        for text in ["warm:4", "fresh", "keep-alive:2s", "keep-alive:250ms"] {
            assert_eq!(policy(text).unwrap().to_string(), text);
        }
        for wrong in ["warm", "warm:0", "warm:x", "cold", "keep-alive:", "fresh:1"] {
            assert!(policy(wrong).is_err(), "{wrong}");
        }
        assert_eq!((size("1GiB"), size("512 MiB")), (Ok(1 << 30), Ok(512 << 20)));
        assert!(size("1GB").is_err() && size("0GiB").is_err());
        assert_eq!(
            (start_limit("10x"), start_limit("500ms")),
            (Ok(StartLimit::Times(10)), Ok(StartLimit::Ns(500_000_000)))
        );
        assert!(start_limit("1x").is_err() && start_limit("soon").is_err());
    }

    #[test]
    fn numbers_of_starters_rise_and_their_time_is_in_seconds() {
        assert_eq!(starters("8, 1,4,4"), Ok(Numbers(vec![1, 4, 8])));
        assert_eq!(starters(&STARTERS.map(|n| n.to_string()).join(",")), Ok(Numbers(STARTERS.to_vec())));
        for wrong in ["", "0", "1,,2", "many", "1025", "-1"] {
            assert!(starters(wrong).is_err(), "{wrong}");
        }
        assert_eq!((step("10"), step("0.25")), (Ok(10_000), Ok(250)));
        assert!(step("0").is_err() && step("10s").is_err() && step("inf").is_err());
    }
}
