//! Load beyond the closed loop, with scripts whose times are known from below: sleeps last at least as long as asked.

use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use isobench_core::load::{Rates, StartLimit};
use isobench_core::record::{BURST, Bound, BoundBy, Load, Policy, StartMode, Starts};
use isobench_core::{Experiment, FaultKind, Guest, Record};
use isobench_runner::experiments::Arrivals;
use isobench_runner::protocol::{BlockRequest, Density, OpenLoop, Visit};
use isobench_runner::testing::{Outcome, TestBed};
use std::time::{Duration, Instant};

const MS: u64 = 1_000_000;

fn bed() -> TestBed {
    TestBed::new(env!("CARGO_BIN_EXE_isobench-runner-null"))
}

fn request(bed: &TestBed, script: &str, visit: Visit) -> BlockRequest {
    let guest = bed.write("guest.js", script);
    bed.request("scripted", Guest::Js, &guest, b"hello", b"hello", visit)
}

fn open_loop(policy: Policy, rates: Rates) -> OpenLoop {
    OpenLoop { policy, rates, seed: 7, requests: 1, shortest_ms: 400, longest_ms: 400, most_instances: 4 }
}

fn loads(outcome: &Outcome) -> Vec<&Load> {
    outcome.0.iter().filter_map(|r| if let Record::Load(load) = r { Some(load) } else { None }).collect()
}

fn one_load(script: &str, policy: Policy, rate_mhz: u64) -> Load {
    let bed = bed();
    let visit = Visit::OpenLoop(open_loop(policy, Rates::Fixed(vec![rate_mhz])));
    let outcome = bed.run(&request(&bed, script, visit)).expect_ok();
    loads(&outcome)[0].clone()
}

fn decoded(hdr: &str) -> Histogram<u64> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(hdr).unwrap();
    Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap()
}

fn latencies(load: &Load) -> Histogram<u64> {
    decoded(&load.hdr)
}

fn the_bound(outcome: &Outcome) -> &Bound {
    let mut bounds = outcome.0.iter().filter_map(|r| if let Record::Bound(bound) = r { Some(bound) } else { None });
    let bound = bounds.next().expect("a bound");
    assert!(bounds.next().is_none());
    bound
}

#[test]
fn the_requests_that_arrive_are_those_of_the_seed() {
    let load = one_load("", Policy::Warm(2), 500_000);
    let due: Vec<Duration> =
        Arrivals::new(load.seed, 500_000).take_while(|at| *at < Duration::from_millis(400)).collect();
    assert_eq!(load.offered, due.len() as u64);
    assert_eq!(load.offered_ns, (due[due.len() - 1] - due[0]).as_nanos() as u64);
    assert_eq!((load.answered, load.dropped, load.cold), (load.offered, 0, 0));
    assert_eq!((load.most_instances, latencies(&load).len()), (2, load.answered));
    assert_eq!(one_load("", Policy::Warm(2), 500_000).seed, load.seed);
}

#[test]
fn a_queue_counts_from_the_intended_start() {
    // One instance answers at most 50/s and is offered 100/s for 400 ms: a closed loop would show 20 ms for each call.
    let load = one_load("call_us = 20000", Policy::Warm(1), 100_000);
    let latencies = latencies(&load);
    assert_eq!(load.answered + load.dropped, load.offered);
    assert_eq!(latencies.len(), load.answered);
    // Of the requests that came by the time the last one did, the instance had served at most one for every 20 ms.
    let behind = load.offered * 20 * MS - load.offered_ns;
    assert!(latencies.max() >= behind * 9 / 10, "{} {behind}", latencies.max());
    assert!(load.late > load.answered / 2, "{load:?}");
    assert!(load.answered_ns >= (load.answered - 1) * 20 * MS);
}

#[test]
fn a_request_that_waits_as_long_as_a_call_may_take_is_given_up() {
    let bed = bed();
    let visit = Visit::OpenLoop(open_loop(Policy::Warm(1), Rates::Fixed(vec![100_000])));
    let mut request = request(&bed, "call_us = 80000", visit);
    request.target.limits.call_deadline_ms = 200;
    let outcome = bed.run(&request).expect_ok();
    let load = loads(&outcome)[0];
    assert!(load.dropped > 0 && load.answered > 0, "{load:?}");
    assert_eq!(load.answered + load.dropped, load.offered);
}

#[test]
fn a_fresh_instance_for_every_request_is_cold_and_one_at_a_time_is_late() {
    let load = one_load("start_us = 5000", Policy::Fresh, 50_000);
    assert_eq!(load.cold, load.answered);
    assert!(latencies(&load).min() >= 5 * MS * 99 / 100);
    assert!((1..=4).contains(&load.most_instances));
}

#[test]
fn an_instance_is_kept_for_as_long_as_said_and_no_longer() {
    // For longer than the visit: only as many starts as instances. Not at all: which requests may still use an instance is
    // tested beside the code, where no other program has a part in it.
    let kept = one_load("start_us = 2000", Policy::KeepAlive(60_000), 200_000);
    assert_eq!(kept.cold, u64::from(kept.most_instances), "{kept:?}");
    let dismissed = one_load("start_us = 2000", Policy::KeepAlive(0), 20_000);
    assert!(dismissed.cold > 0 && dismissed.cold <= dismissed.answered, "{dismissed:?}");
}

#[test]
fn a_sweep_offers_shares_of_what_the_cell_can_answer() {
    let bed = bed();
    let visit = Visit::OpenLoop(open_loop(Policy::Warm(2), Rates::Sweep(vec![25, 50, 100])));
    let outcome = bed.run(&request(&bed, "call_us = 5000", visit)).expect_ok();
    let loads = loads(&outcome);
    assert_eq!(loads.iter().map(|l| l.percent).collect::<Vec<_>>(), [Some(25), Some(50), Some(100)]);
    // Two instances that sleep 5 ms a call answer at most 400/s.
    assert!(loads[2].rate_mhz <= 400_000, "{}", loads[2].rate_mhz);
    assert_eq!(loads[0].rate_mhz, loads[2].rate_mhz / 4);
}

#[test]
fn what_goes_wrong_under_load_ends_the_visit_with_its_name() {
    let run = |script: &str, policy: Policy, within: Duration| {
        let bed = bed();
        let visit = Visit::OpenLoop(open_loop(policy, Rates::Fixed(vec![100_000])));
        let mut request = request(&bed, script, visit);
        request.target.limits.call_deadline_ms = 200;
        let begun = Instant::now();
        let outcome = bed.run_within(&request, within);
        assert!(begun.elapsed() < Duration::from_secs(60), "it hung");
        let experiment =
            outcome.0.iter().find_map(|r| if let Record::Fault(f) = r { Some(f.experiment) } else { None });
        assert_eq!(experiment, Some(Experiment::OpenLoop));
        outcome.fault().unwrap().kind
    };
    let (short, long) = (Duration::from_secs(3), Duration::from_secs(120));
    let misdeed = |fault: &str| format!("fault = \"{fault}\"\nafter_calls = 5");
    assert_eq!(run(&misdeed("hang_call"), Policy::Warm(2), short), FaultKind::DeadlineExceeded);
    assert_eq!(run("call_us = 900000", Policy::KeepAlive(500), long), FaultKind::DeadlineExceeded);
    assert_eq!(run(&misdeed("throw"), Policy::Warm(2), long), FaultKind::GuestThrow);
    assert_eq!(run(&misdeed("wrong_answer"), Policy::KeepAlive(500), long), FaultKind::WrongAnswer);
    assert_eq!(run("fault = \"crash\"", Policy::Fresh, long), FaultKind::RunnerDied);
}

fn burst(script: &str, sizes: &[u32], longest_ms: u64) -> Outcome {
    let bed = bed();
    bed.run(&request(&bed, script, Visit::Burst { sizes: sizes.to_vec(), longest_ms }))
}

#[test]
fn a_burst_tells_first_half_and_all_of_every_size() {
    let outcome = burst("start_us = 3000", &[1, 2, 4, 8, 16], 60_000).expect_ok();
    let [first, half, all] = BURST.map(|metric| outcome.values(Experiment::Burst, metric));
    assert_eq!((first.len(), half.len(), all.len()), (5, 5, 5));
    for ((first, half), all) in first.iter().zip(&half).zip(&all) {
        assert!(3 * MS <= *first && first <= half && half <= all);
    }
    assert_eq!(first[0], all[0]);
    let bound = the_bound(&outcome);
    assert_eq!((bound.experiment, bound.n, bound.by), (Experiment::Burst, 16, BoundBy::Count), "{bound:?}");
}

#[test]
fn a_burst_ends_at_its_time_and_not_in_the_middle() {
    let outcome = burst("start_us = 100000", &[1, 2, 4, 8], 350).expect_ok();
    let bound = the_bound(&outcome);
    assert_eq!(bound.by, BoundBy::Time, "{bound:?}");
    assert_eq!(outcome.values(Experiment::Burst, "all").len(), bound.n.ilog2() as usize + 1);
}

#[test]
fn a_guest_that_fails_in_a_burst_is_a_fault_and_a_slow_one_a_bound_only_once_one_went_well() {
    burst("fault = \"throw\"", &[1, 2], 60_000).expect_fault(FaultKind::GuestThrow);
    burst("start_us = 20000000", &[1, 2], 60_000).expect_fault(FaultKind::DeadlineExceeded);
}

fn density(script: &str, asked: Density) -> Outcome {
    let bed = bed();
    bed.run(&request(&bed, script, Visit::Density(asked))).expect_ok()
}

fn unbounded() -> Density {
    Density { memory_bytes: None, count: 20, start: StartLimit::Times(1_000_000), longest_ms: 60_000 }
}

#[test]
fn density_is_bound_by_count() {
    let outcome = density("memory_kib = 256", unbounded());
    let bound = the_bound(&outcome);
    assert_eq!((bound.experiment, bound.n, bound.by), (Experiment::Density, 20, BoundBy::Count), "{bound:?}");
    // 1, 2, 4, 8, 16 and 20, each with its four figures.
    for metric in ["start", "answer", "pss", "available"] {
        assert_eq!(outcome.values(Experiment::Density, metric).len(), 6, "{metric}");
    }
    let pss = outcome.values(Experiment::Density, "pss");
    assert!(pss[5] - pss[0] >= 19 * 256 * 1024 * 9 / 10, "{pss:?}");
}

#[test]
fn density_is_bound_by_memory() {
    let asked = Density { memory_bytes: Some(20 << 20), ..unbounded() };
    let outcome = density("memory_kib = 2048", asked);
    let bound = the_bound(&outcome);
    assert_eq!((bound.n, bound.by), (8, BoundBy::Memory), "{bound:?}");
    assert!(bound.why.contains("20.000 MiB"), "{}", bound.why);
}

#[test]
fn density_is_bound_by_the_time_of_a_start() {
    let asked = Density { start: StartLimit::Ns(10 * MS), ..unbounded() };
    let bound = density("start_us = 10000", asked);
    // The very first is too slow: none went well, and its figures are there.
    assert_eq!((the_bound(&bound).n, the_bound(&bound).by), (0, BoundBy::StartTime));
    assert_eq!(bound.values(Experiment::Density, "start").len(), 1);
}

#[test]
fn density_is_bound_by_time() {
    let asked = Density { longest_ms: 200, ..unbounded() };
    let outcome = density("start_us = 50000", asked);
    assert_eq!(the_bound(&outcome).by, BoundBy::Time);
    assert!(the_bound(&outcome).n <= 4);
}

#[test]
fn density_is_bound_by_an_instance_that_does_not_answer_in_time() {
    // Once at its start, once at each of two steps; then the first one stalls, and it was two that went well.
    let bed = bed();
    let script = "fault = \"stall\"\nafter_calls = 3";
    let mut request = request(&bed, script, Visit::Density(unbounded()));
    request.target.limits.call_deadline_ms = 200;
    let outcome = bed.run(&request).expect_ok();
    let bound = the_bound(&outcome);
    assert_eq!((bound.n, bound.by), (2, BoundBy::Deadline), "{bound:?}");
}

#[test]
fn a_backend_without_room_for_more_is_a_bound_with_its_own_words() {
    let outcome = density("room = 11", unbounded());
    let bound = the_bound(&outcome);
    assert_eq!((bound.n, bound.by), (11, BoundBy::Failure), "{bound:?}");
    assert!(bound.why.contains("room for 11 instances"), "{}", bound.why);
    let outcome = burst("room = 5", &[1, 2, 4, 8], 60_000).expect_ok();
    assert_eq!((the_bound(&outcome).n, the_bound(&outcome).by), (4, BoundBy::Failure));
}

#[test]
fn a_guest_that_dies_of_density_is_a_fault() {
    let bed = bed();
    let script = "fault = \"out_of_memory\"\nafter_calls = 3";
    bed.run(&request(&bed, script, Visit::Density(unbounded()))).expect_fault(FaultKind::OutOfMemory);
}

#[test]
fn what_is_kept_lives_on_from_one_rate_to_the_next() {
    let bed = bed();
    let visit = OpenLoop {
        shortest_ms: 50,
        longest_ms: 50,
        ..open_loop(Policy::KeepAlive(60_000), Rates::Sweep(vec![50, 60, 70, 80, 90]))
    };
    let outcome = bed.run(&request(&bed, "start_us = 20000\ncall_us = 2000", Visit::OpenLoop(visit))).expect_ok();
    let loads = loads(&outcome);
    // Four instances at most, started once each, by the search for the capacity or later; not again for every rate.
    assert!(loads.iter().map(|l| l.cold).sum::<u64>() <= 4, "{loads:?}");
    assert!(loads.iter().all(|l| l.most_instances <= 4 && l.rate_mhz <= 2_000_000), "{loads:?}");
}

fn starts(script: &str, starters: &[u32], step_ms: u64, call_deadline_ms: u64) -> Outcome {
    let bed = bed();
    let mut request = request(&bed, script, Visit::Starts { starters: starters.to_vec(), step_ms });
    request.target.limits.call_deadline_ms = call_deadline_ms;
    let begun = Instant::now();
    let outcome = bed.run(&request);
    assert!(begun.elapsed() < Duration::from_secs(60), "it hung");
    outcome
}

/// Every step: how many starters in which mode, and their starts.
fn steps(outcome: &Outcome) -> Vec<&Starts> {
    outcome.0.iter().filter_map(|r| if let Record::Starts(starts) = r { Some(starts) } else { None }).collect()
}

#[test]
fn starters_are_counted_together_and_one_is_timed_beside_the_others() {
    let outcome = starts("start_us = 5000", &[1, 2, 4], 200, 2_000).expect_ok();
    let steps = steps(&outcome);
    let modes = [StartMode::Together, StartMode::Beside];
    let expected: Vec<_> = [1, 2, 4].into_iter().flat_map(|n| modes.map(|mode| (n, mode))).collect();
    assert_eq!(steps.iter().map(|s| (s.n, s.mode)).collect::<Vec<_>>(), expected);
    for step in steps {
        let [timed, destroyed] = [&step.hdr, &step.destroy_hdr].map(|hdr| decoded(hdr));
        assert_eq!(timed.len(), destroyed.len());
        assert!(timed.min() >= 5 * MS * 99 / 100 && step.elapsed_ns >= 5 * MS, "{step:?}");
        match step.mode {
            StartMode::Together => assert_eq!(step.starts, timed.len()),
            // Each of the others has started at least once.
            StartMode::Beside => assert!(step.starts >= timed.len() + u64::from(step.n) - 1, "{step:?}"),
        }
        // A starter that sleeps 5 ms for each start makes no more than its time allows.
        assert!((step.starts - u64::from(step.n)) * 5 * MS <= u64::from(step.n) * step.elapsed_ns, "{step:?}");
    }
    let bound = the_bound(&outcome);
    assert_eq!((bound.experiment, bound.n, bound.by), (Experiment::Starts, 4, BoundBy::Count), "{bound:?}");
}

#[test]
fn starters_that_find_no_room_are_a_bound_after_the_steps_before() {
    let outcome = starts("start_us = 20000\nstop_us = 20000\nroom = 3", &[1, 2, 8], 100, 2_000).expect_ok();
    assert_eq!(steps(&outcome).last().unwrap().n, 2);
    let bound = the_bound(&outcome);
    assert_eq!((bound.n, bound.by), (2, BoundBy::Failure), "{bound:?}");
    assert!(bound.why.contains("room for 3 instances"), "{}", bound.why);
}

#[test]
fn a_start_that_fails_in_the_middle_ends_the_visit_and_what_was_measured_is_kept() {
    // One starter that sleeps 5 ms makes at most 44 starts in its two steps of 100 ms; 64 make over 60 in any case.
    let of = |fault: &str| format!("start_us = 5000\nfault = \"{fault}\"\nafter_starts = 60");
    let stalled = starts(&of("stall"), &[1, 2, 64], 100, 300).expect_ok();
    let bound = the_bound(&stalled);
    assert!((1..=2).contains(&bound.n) && bound.by == BoundBy::Deadline, "{bound:?}");
    let thrown = starts(&of("throw"), &[1, 2, 64], 100, 2_000);
    thrown.expect_fault(FaultKind::GuestThrow);
    assert!(steps(&thrown).len() >= 2);
    let experiment = thrown.0.iter().find_map(|r| if let Record::Fault(f) = r { Some(f.experiment) } else { None });
    assert_eq!(experiment, Some(Experiment::Starts));
    starts("fault = \"throw\"", &[1, 2], 100, 2_000).expect_fault(FaultKind::GuestThrow);
    starts("fault = \"stall\"", &[1, 2], 100, 300).expect_fault(FaultKind::DeadlineExceeded);
}
