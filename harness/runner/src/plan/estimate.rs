//! How long visits usually take, to say before a run how long it will be. Rough: figures of a small, idle machine.

use crate::protocol::Visit;
use isobench_core::Model;
use isobench_core::load::Rates;
use std::time::Duration;

/// What a block takes beside its visit: a runner process, the deployment from the cache.
const BLOCK: Duration = Duration::from_millis(20);
/// What an instance takes beside its start where it is kept and its memory is read.
const KEPT: Duration = Duration::from_millis(6);

/// Returns how long a visit usually takes.
pub fn usual(visit: &Visit, model: Model, emulated: bool) -> Duration {
    let start = start(model, emulated);
    let measuring = match visit {
        Visit::ColdStart { starts, warm } => {
            (start * starts.max).min(start * starts.min + Duration::from_millis(starts.max_ms))
                + Duration::from_millis(warm.map_or(0, |w| w.min_ms))
        }
        Visit::Footprint { instances } => (start + KEPT) * instances.iter().copied().max().unwrap_or(0),
        Visit::Throughput { warm, fresh, duration_ms } => {
            let loads = (warm.len() + fresh.len()) as u32;
            let lanes = warm.iter().chain(fresh).copied().max().unwrap_or(0) + 1;
            Duration::from_millis(*duration_ms) * loads + start * lanes
        }
        Visit::OpenLoop(asked) => {
            let rates = match &asked.rates {
                Rates::Fixed(rates) => rates.len() as u32,
                // And the one that finds the capacity.
                Rates::Sweep(percents) => percents.len() as u32 + 1,
            };
            Duration::from_millis(asked.shortest_ms) * rates + start * asked.most_instances
        }
        Visit::Burst { sizes, longest_ms } => {
            (start * sizes.iter().sum::<u32>()).min(Duration::from_millis(*longest_ms))
        }
        Visit::Density(asked) => ((start + KEPT) * asked.count).min(Duration::from_millis(asked.longest_ms)),
        Visit::Starts { starters, step_ms } => Duration::from_millis(*step_ms) * 2 * starters.len() as u32,
    };
    BLOCK + measuring
}

/// Returns how long a start usually takes.
fn start(model: Model, emulated: bool) -> Duration {
    Duration::from_millis(match model {
        Model::Microvm if emulated => 1_400,
        Model::Microvm | Model::Container => 250,
        Model::Remote => 500,
        Model::Process => 20,
        Model::Isolate | Model::Wasm => 2,
        Model::Null => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Series;

    #[test]
    fn what_is_started_more_often_or_more_slowly_takes_longer() {
        let series = Series { min_calls: 100, min_ms: 50, max_calls: 1_000, max_ms: 400 };
        let cold = |starts: u32| Visit::ColdStart { starts: starts.into(), warm: Some(series) };
        assert_eq!(usual(&cold(1), Model::Null, false), Duration::from_millis(70));
        assert_eq!(usual(&cold(1), Model::Container, false), Duration::from_millis(320));
        assert_eq!(usual(&cold(1), Model::Microvm, true), Duration::from_millis(1_470));
        let throughput = Visit::Throughput { warm: vec![1, 2, 4], fresh: vec![1], duration_ms: 250 };
        assert_eq!(usual(&throughput, Model::Container, false), Duration::from_millis(2_270));
        let footprint = Visit::Footprint { instances: vec![1, 8] };
        assert!(usual(&footprint, Model::Container, false) > usual(&footprint, Model::Process, false));
    }
}
