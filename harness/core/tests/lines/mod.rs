//! Lines of `samples.jsonl` that several tests look at.

use isobench_core::record::{
    BlockRecord, Bound, BoundBy, FaultRecord, Histogram, Load, Mode, Policy, Samples, StartMode, Starts, Stretch,
};
use isobench_core::{Experiment, Fault, FaultKind, Record, SampleFlag, Unit};

/// A line of cold starts.
pub fn samples(values: Vec<u64>) -> Record {
    Record::Samples(Samples {
        cell: 3,
        block: 17,
        experiment: Experiment::ColdStart,
        metric: "create.api".into(),
        n: None,
        unit: Unit::Ns,
        index: 0,
        flags: vec![SampleFlag::FirstInProcess],
        probe_ns: None,
        every: None,
        values,
    })
}

/// One line of every kind, optional keys present in some and absent in others.
pub fn lines() -> Vec<Record> {
    vec![
        samples(vec![812]),
        Record::Samples(Samples {
            cell: 3,
            block: 18,
            experiment: Experiment::Footprint,
            metric: "pss".into(),
            n: Some(4),
            unit: Unit::Bytes,
            index: 0,
            flags: Vec::new(),
            probe_ns: None,
            every: None,
            values: vec![5_242_880],
        }),
        Record::Histogram(Histogram {
            cell: 3,
            block: 19,
            n: 2,
            mode: Mode::Fresh,
            calls: 40,
            elapsed_ns: 1_000_000,
            stretches: vec![Stretch { calls: 40, elapsed_ns: 1_000_000, probe_ns: [80_000, 81_000] }],
            hdr: "HISTFA==".into(),
        }),
        Record::Samples(Samples {
            cell: 3,
            block: 19,
            experiment: Experiment::WarmCall,
            metric: "call".into(),
            n: None,
            unit: Unit::Ns,
            index: 100,
            flags: Vec::new(),
            probe_ns: Some([80_000, 130_000]),
            every: Some(25),
            values: vec![140, 150],
        }),
        Record::Fault(FaultRecord {
            cell: 4,
            block: 20,
            experiment: Experiment::WarmCall,
            fault: Fault::new(FaultKind::WrongAnswer, "5 bytes"),
        }),
        Record::Block(BlockRecord {
            cell: 3,
            block: 17,
            experiment: Some(Experiment::ColdStart),
            at_unix_ms: 1_795_000_000_000,
            wall_ns: 99,
            steal_ppm: 0,
            cpu_pressure_ppm: None,
            involuntary_switches: Some(7),
            khz: None,
            calibration_ns: Some([1_000_000, 1_010_000]),
            others_runnable: Some([0, 1]),
            throttled_us: Some(0),
            awake: None,
        }),
        Record::Load(Load {
            cell: 3,
            block: 21,
            policy: Policy::KeepAlive(500),
            rate_mhz: 200_000,
            percent: Some(50),
            seed: 42,
            offered: 1000,
            offered_ns: 4_990_000_000,
            answered: 998,
            answered_ns: 5_000_000_000,
            late: 12,
            dropped: 2,
            cold: 4,
            most_instances: 3,
            generator_ns: [9_000, 70_000],
            hdr: "HISTFA==".into(),
        }),
        Record::Bound(Bound {
            cell: 3,
            block: 22,
            experiment: Experiment::Density,
            n: 64,
            by: BoundBy::Memory,
            why: "1 GiB".into(),
        }),
        Record::Starts(Starts {
            cell: 3,
            block: 23,
            n: 4,
            mode: StartMode::Beside,
            starts: 4_000,
            elapsed_ns: 10_000_000_000,
            hdr: "HISTFA==".into(),
            destroy_hdr: "HISTFA==".into(),
        }),
    ]
}
