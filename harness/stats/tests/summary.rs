//! Records in, summary out: known answers, faults, flags, and a large run.

use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use isobench_core::availability::{Availability, Description};
use isobench_core::fault::{Fault, FaultKind};
use isobench_core::record::{self, BlockRecord, FaultRecord, Mode, Record, SampleFlag, Samples, Unit};
use isobench_core::run::{BackendEntry, CellEntry, Machine, Order, Plan, RunFile, SCHEMA_VERSION};
use isobench_core::words::{Cell, Experiment, Flag, Guest, Model};
use isobench_stats::{Accumulator, CellSummary, Metric, Spread, Summary, Verdict};

fn run(cells: u32) -> RunFile {
    let cell = |id| CellEntry {
        id,
        cell: Cell {
            backend: "v8".into(),
            variant: "fresh".into(),
            guest: Guest::Js,
            engine: None,
            workload: "echo".into(),
            case: format!("case-{id}"),
        },
        side: None,
        experiments: Experiment::STANDARD.to_vec(),
        blocks: 0,
        flags: Vec::new(),
        faults: Vec::new(),
    };
    RunFile {
        schema: SCHEMA_VERSION,
        id: "test".into(),
        command: vec!["isobench".into(), "run".into()],
        isobench: "0.1.0".into(),
        commit: None,
        started_unix_ms: 0,
        ended_unix_ms: None,
        stopped_early: None,
        plan: Plan { seed: 42, quick: true, ..Plan::default() },
        machine: Machine::default(),
        backends: vec![BackendEntry {
            description: Description {
                backend: "v8".into(),
                model: Model::Isolate,
                variants: vec![],
                in_process: true,
                hidden: false,
                footprint_instances: 256,
                engines: Vec::new(),
            },
            availability: Availability::Available {
                versions: Default::default(),
                emulated: false,
                notes: vec![],
                absent: Default::default(),
            },
            side: None,
            prepare_ns: None,
        }],
        workloads: vec![],
        cells: (0..cells).map(cell).collect(),
        absent: vec![],
    }
}

fn samples(experiment: Experiment, metric: &str, block: u32, n: Option<u32>, values: Vec<u64>) -> Samples {
    let unit = if experiment == Experiment::Footprint { Unit::Bytes } else { Unit::Ns };
    Samples {
        cell: 0,
        block,
        experiment,
        metric: metric.into(),
        n,
        unit,
        index: 0,
        flags: vec![],
        probe_ns: None,
        every: None,
        values,
    }
}

fn start(metric: &str, block: u32, values: Vec<u64>) -> Record {
    Record::Samples(samples(Experiment::ColdStart, metric, block, None, values))
}

fn histogram(block: u32, n: u32, mode: Mode, latencies: impl IntoIterator<Item = u64>, elapsed_ns: u64) -> Record {
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    latencies.into_iter().for_each(|v| histogram.record(v).unwrap());
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap();
    let hdr = base64::engine::general_purpose::STANDARD.encode(bytes);
    Record::Histogram(record::Histogram {
        cell: 0,
        block,
        n,
        mode,
        calls: histogram.len(),
        elapsed_ns,
        stretches: vec![],
        hdr,
    })
}

fn summarise(run: &RunFile, records: impl IntoIterator<Item = Record>) -> Summary {
    let mut accumulator = Accumulator::new(run);
    records.into_iter().for_each(|record| accumulator.push(record));
    accumulator.finish()
}

fn only_cell(records: impl IntoIterator<Item = Record>) -> CellSummary {
    summarise(&run(1), records).cells.remove(0)
}

fn calls(block: u32, values: Vec<u64>) -> Record {
    Record::Samples(samples(Experiment::WarmCall, "call", block, None, values))
}

#[test]
fn cold_starts_by_phase() {
    let mut records = Vec::new();
    for block in 0..3 {
        let one = u64::from(block) + 1;
        // The order of appearance is not the order of phases.
        records.push(start("first_call", block, vec![10 * one]));
        records.push(start("load", block, vec![20 * one]));
        records.push(start("create.start", block, vec![40 * one]));
        records.push(start("total", block, vec![70 * one]));
        records.push(start("destroy", block, vec![5 * one]));
    }
    let cell = only_cell(records);
    let starts = cell.cold_start.unwrap();
    assert_eq!((starts.total.n, starts.total.blocks, starts.total.p50.value), (3, 3, 140.0));
    assert_eq!(starts.total.p50.spread, Some(Spread::Range { low: 70.0, high: 210.0 }));
    assert_eq!(starts.total.p99, None, "three samples support no p99");
    assert_eq!(starts.destroy.unwrap().p50.value, 10.0);
    let phases: Vec<_> = starts.phases.iter().map(|p| (p.name.as_str(), p.time.p50.value)).collect();
    assert_eq!(phases, [("create.start", 80.0), ("load", 40.0), ("first_call", 20.0)]);
    assert_eq!(starts.curve, [70.0, 140.0, 210.0]);
    assert_eq!((cell.model, cell.blocks), (Model::Isolate, 3));
    let Verdict::Flagged { flags } = cell.verdict else { panic!("{:?}", cell.verdict) };
    assert_eq!((flags.len(), flags[0].flag), (1, Flag::Few), "3 blocks are never ok");
    assert!(flags[0].why.starts_with("cold start: 3 blocks"), "{}", flags[0].why);
}

/// A start between two probes.
fn probed(block: u32, index: u32, ns: u64, probe_ns: [u64; 2]) -> Record {
    let samples = samples(Experiment::ColdStart, "total", block, None, vec![ns]);
    Record::Samples(Samples { index, probe_ns: Some(probe_ns), ..samples })
}

#[test]
fn disturbed_starts_are_left_out_and_told() {
    // Of each block's ten starts the last four lay beside a neighbour, and take twice as long.
    let start = |block, index| match index {
        0..6 => probed(block, index, 1000 + u64::from(index), [80_000, 80_000]),
        _ => probed(block, index, 2000 + u64::from(index), [80_000, 110_000]),
    };
    let records = |blocks| (0..blocks).flat_map(move |block| (0..10).map(move |index| start(block, index)));
    let total = only_cell(records(6)).cold_start.unwrap().total;
    let contention = total.contention.unwrap();
    assert_eq!((total.p50.value, total.n, total.max), (1002.5, 36, 1005.0));
    assert_eq!((contention.undisturbed, contention.selected, contention.all.value), (0.6, true, 1004.5));
    // With a seventh block that was disturbed throughout it is six blocks that count.
    let loud = (0..10).map(|index| probed(6, index, 9000, [120_000, 120_000]));
    let total = only_cell(records(6).chain(loud)).cold_start.unwrap().total;
    assert_eq!((total.p50.value, total.blocks), (1002.5, 6));
}

#[test]
fn without_enough_undisturbed_starts_all_count_and_it_is_told() {
    let block =
        |block| (0..10).map(move |index| probed(block, index, 1000, [80_000, if block < 5 { 80_000 } else { 99_000 }]));
    let total = only_cell((0..10).flat_map(block)).cold_start.unwrap().total;
    let contention = total.contention.unwrap();
    assert_eq!((total.blocks, contention.undisturbed, contention.selected), (10, 0.5, false));
}

#[test]
fn early_starts_of_long_blocks_are_a_row_of_their_own() {
    let starts = |block, many| {
        (1..many).map(move |index| probed(block, index, if index < 10 { 3000 } else { 1000 }, [80_000, 80_000]))
    };
    let cell = only_cell((0..6).flat_map(|block| starts(block, 20)));
    let (early, later) = (cell.early_starts.unwrap().total, cell.cold_start.unwrap().total);
    assert_eq!((early.p50.value, early.n, later.p50.value, later.n), (3000.0, 54, 1000.0, 60));
    let short = only_cell((0..6).flat_map(|block| starts(block, 19)));
    assert!(short.early_starts.is_none() && short.cold_start.unwrap().total.n == 108);
}

#[test]
fn the_rate_is_that_of_undisturbed_stretches() {
    let stretch = |calls, after| record::Stretch { calls, elapsed_ns: 1_000_000, probe_ns: [80_000, after] };
    let visit = |block| {
        let Record::Histogram(visit) = histogram(block, 1, Mode::Warm, [100; 5], 4_000_000) else { unreachable!() };
        let stretches = [vec![stretch(10, 80_000); 3], vec![stretch(2, 120_000)]].concat();
        Record::Histogram(record::Histogram { stretches, ..visit })
    };
    let throughput = only_cell((0..6).map(visit)).throughput.remove(0);
    assert_eq!(throughput.rate.value, 10_000.0);
    let contention = throughput.contention.unwrap();
    assert_eq!((contention.undisturbed, contention.all.value), (0.75, 1_250.0));
}

#[test]
fn a_row_that_escapes_the_limits_of_isobench_says_so() {
    let mut run = run(1);
    run.cells[0].flags.push(Flag::Unbound);
    let cell = summarise(&run, (0..4).map(|block| start("total", block, vec![70]))).cells.remove(0);
    let [unbound] = cell.flags() else { panic!("{:?}", cell.verdict) };
    assert_eq!(unbound.flag, Flag::Unbound);
    assert!(unbound.why.contains("CPU quota"), "{}", unbound.why);
}

#[test]
fn first_starts_are_a_row_of_their_own_and_warm_ups_none() {
    let flagged = |flag, value| {
        let samples = samples(Experiment::ColdStart, "total", 0, None, vec![value]);
        Record::Samples(Samples { flags: vec![flag], ..samples })
    };
    let cell = only_cell([
        flagged(SampleFlag::FirstInProcess, 2200),
        flagged(SampleFlag::FirstAfterImport, 1500),
        start("total", 0, vec![950, 960]),
        flagged(SampleFlag::WarmUp, 7),
    ]);
    assert_eq!(cell.first_in_process.unwrap().total.p50.value, 2200.0);
    assert_eq!(cell.first_after_import.unwrap().total.p50.value, 1500.0);
    let total = cell.cold_start.unwrap().total;
    assert_eq!((total.n, total.min, total.max), (2, 950.0, 960.0));
}

#[test]
fn warm_calls_take_the_settled_part_and_keep_the_whole() {
    let series = |fast: u64| (0..100).map(|i| if i < 20 { 9000 } else { fast }).collect::<Vec<u64>>();
    let cell = only_cell((0..9).map(|block| calls(block, series(1000 + u64::from(block)))));
    let warm = cell.warm_call.clone().unwrap();
    assert_eq!((warm.tail.n, warm.calls, warm.tail.max), (720, 900, 1008.0));
    assert_eq!((warm.shapes.judged(), warm.shapes.warmup, warm.halves), (9, 9, None));
    assert!(matches!(warm.tail.p50.spread, Some(Spread::Interval { low, high }) if low <= 1004.0 && high >= 1004.0));
    assert!(warm.tail.p99.is_some() && warm.tail.p999.is_none());
    assert_eq!(cell.verdict, Verdict::Ok);
}

#[test]
fn a_series_in_pieces_is_put_in_order() {
    let piece =
        |index, values| Record::Samples(Samples { index, ..samples(Experiment::WarmCall, "call", 0, None, values) });
    let cell = only_cell([piece(50, vec![1; 50]), piece(0, vec![9; 50])]);
    assert_eq!(cell.warm_call.unwrap().tail.max, 1.0);
}

#[test]
fn calls_that_still_change_are_unstable_and_scattered_blocks_noisy() {
    let falling: Vec<u64> = (0..300).map(|i| 4000 - 10 * i).collect();
    let cell = only_cell((0..3).map(|block| calls(block, falling.clone())));
    assert!(cell.has(Flag::Unstable) && !cell.has(Flag::Noisy), "{:?}", cell.verdict);
    assert!(cell.flags()[0].why.contains("in 3 of 3 blocks"), "{}", cell.flags()[0].why);
    let warm = cell.warm_call.unwrap();
    assert_eq!(warm.halves.map(|halves| halves.map(|half| half.value)), Some([3255.0, 1755.0]));
    assert_eq!(warm.tail.p50.value, 1755.0, "nothing settled: the second half");
    let cell = only_cell([1000, 3000, 900, 2500].iter().zip(0..).map(|(v, block)| calls(block, vec![*v; 40])));
    assert!(cell.has(Flag::Noisy) && !cell.has(Flag::Unstable), "{:?}", cell.verdict);
}

#[test]
fn steal_makes_noisy_from_over_a_third_of_the_blocks() {
    let block = |block, steal_ppm| Record::Block(BlockRecord { block, steal_ppm, ..BlockRecord::default() });
    let totals = || (0..3).map(|b| start("total", b, vec![100]));
    let quiet = only_cell(totals().chain([block(0, 300_000), block(1, 0), block(2, 0)]));
    assert_eq!((quiet.has(Flag::Noisy), quiet.circumstances.all().disturbed), (false, 1));
    let stolen = only_cell(totals().chain([block(0, 300_000), block(1, 80_000), block(2, 0)]));
    assert!(stolen.has(Flag::Noisy));
    assert!(stolen.flags()[0].why.contains("2 of 3 blocks were disturbed: steal time 2"), "{}", stolen.flags()[0].why);
}

fn flags(cell: &CellSummary) -> Vec<(Flag, Option<Metric>)> {
    cell.flags().iter().map(|flagged| (flagged.flag, flagged.metric)).collect()
}

fn memory(block: u32, bytes: u64) -> [Record; 2] {
    [1, 2].map(|n| Record::Samples(samples(Experiment::Footprint, "pss", block, Some(n), vec![u64::from(n) * bytes])))
}

#[test]
fn a_flag_belongs_to_the_metric_that_it_speaks_of() {
    let disturbed = |block, experiment| {
        let experiment = Some(experiment);
        Record::Block(BlockRecord { block, experiment, steal_ppm: 300_000, ..BlockRecord::default() })
    };
    let rate = |block, ns| histogram(block, 1, Mode::Warm, (0..100).map(|_| 1000), ns);
    let mut records: Vec<Record> = Vec::new();
    for block in 0..8 {
        records.push(start("total", block, vec![1000]));
        records.push(calls(block, vec![if block % 2 == 0 { 100 } else { 200 }; 40]));
        records.extend(memory(100 + block, 4096));
        records.push(rate(200 + block, 1_000_000));
    }
    let cell = only_cell(records.clone());
    assert_eq!(flags(&cell), [(Flag::Noisy, Some(Metric::WarmCall))]);
    assert!(cell.flags()[0].why.contains("warm call: the interval spans a factor of 2.0"), "{:?}", cell.flags());
    assert_eq!(cell.flags_of(Metric::Memory).count(), 0);

    let starts = (0..4).map(|block| disturbed(block, Experiment::ColdStart));
    let of_starts = only_cell(records.iter().cloned().chain(starts));
    assert_eq!(flags(&of_starts), [(Flag::Noisy, Some(Metric::ColdStart)), (Flag::Noisy, Some(Metric::WarmCall))]);
    let footprints = (0..4).map(|block| disturbed(100 + block, Experiment::Footprint));
    assert_eq!(flags(&only_cell(records.iter().cloned().chain(footprints))), flags(&cell), "no time, no noise");
    let visits = (0..4).map(|block| disturbed(200 + block, Experiment::Throughput));
    let of_visits = only_cell(records.iter().cloned().chain(visits));
    assert_eq!(flags(&of_visits), [(Flag::Noisy, Some(Metric::WarmCall)), (Flag::Noisy, Some(Metric::Throughput))]);
}

#[test]
fn few_counts_the_blocks_of_each_metric() {
    let mut records: Vec<Record> = (0..8).map(|block| start("total", block, vec![1000])).collect();
    records.extend(memory(8, 4096));
    records.extend((10..13).map(|block| histogram(block, 1, Mode::Warm, [1000], 1_000_000)));
    let cell = only_cell(records);
    assert_eq!(flags(&cell), [(Flag::Few, Some(Metric::Memory)), (Flag::Few, Some(Metric::Throughput))]);
    assert!(cell.flags()[0].why.starts_with("memory: 1 block,"), "{:?}", cell.flags());
}

#[test]
fn the_width_of_what_is_printed_makes_noisy() {
    let noisy = |values: &[u64]| {
        let cell = only_cell(values.iter().zip(0..).map(|(ns, block)| start("total", block, vec![*ns])));
        cell.has(Flag::Noisy)
    };
    assert!(!noisy(&[100, 101, 99, 100, 102, 98, 100, 101, 99, 900]), "one bad block of ten");
    assert!(noisy(&[100, 100, 100, 100, 160, 160, 160, 160]), "two levels");
    assert!(!noisy(&[100, 100, 100, 100, 149, 149, 149, 149]));
    assert!(noisy(&[100, 110, 120, 160]) && !noisy(&[100, 110, 120, 150]), "the range of four");
    assert!(!noisy(&[100, 900, 200]), "three are few");
}

/// What the circumstances of a visit on two cores look like, and what becomes of them and of its times while `stress`
/// keeps both cores busy: some task always waits, a calibration of a millisecond is interrupted now and then, a start
/// takes its turn behind the others.
fn visit(block: u32, stressed: bool) -> [Record; 2] {
    let jitter = u64::from(block * 7919 % 13);
    let pressure = if stressed { 870_000 } else { 180_000 } + jitter * 1000;
    let after = if stressed && block.is_multiple_of(3) { 4_000_000 } else { 1_010_000 };
    let record = BlockRecord {
        block,
        experiment: Some(Experiment::ColdStart),
        wall_ns: 50_000_000,
        cpu_pressure_ppm: Some(pressure),
        calibration_ns: Some([1_000_000 + jitter * 1000, after]),
        involuntary_switches: Some(if stressed { 400 } else { 3 }),
        ..BlockRecord::default()
    };
    let start_ns = if stressed { 2000 + 900 * jitter } else { 1000 + jitter };
    [start("total", block, vec![start_ns; 3]), Record::Block(record)]
}

#[test]
fn another_run_in_parallel_makes_noisy_and_not_wrong() {
    let blocks = |stressed: fn(u32) -> bool| only_cell((0..12).flat_map(move |b| visit(b, stressed(b))));
    let quiet = blocks(|_| false);
    assert_eq!((&quiet.verdict, quiet.circumstances.all().disturbed), (&Verdict::Ok, 0));
    let throughout = blocks(|_| true);
    assert!(throughout.has(Flag::Noisy), "{:?}", throughout.verdict);
    let all = throughout.circumstances.all();
    assert_eq!((all.blocks, all.disturbed, all.pressure, all.calibration), (12, 12, 12, 4));
    // Half of the time, so that the medians of all blocks lie somewhere between: flagged, with the reason and the
    // count.
    let half = blocks(|block| block % 2 == 0);
    let why = &half.flags()[0].why;
    assert!(why.contains("cold start: 6 of 12 blocks were disturbed: slow calibration 2, pressure 6"), "{why}");
    // A few blocks leave the median where it was: counted, kept, no flag.
    let few = blocks(|block| block < 2);
    assert_eq!((&few.verdict, few.circumstances.all().disturbed, few.blocks), (&Verdict::Ok, 2, 12));
    let [quiet, few] = [quiet, few].map(|cell| cell.cold_start.unwrap().total);
    assert_eq!((few.n, quiet.n), (36, 36));
    assert!((few.p50.value / quiet.p50.value - 1.0).abs() < 0.01, "{} {}", few.p50.value, quiet.p50.value);
}

#[test]
fn a_block_is_held_against_the_whole_run() {
    let run = run(2);
    let record = |cell, block, ns| {
        let calibration_ns = Some([ns; 2]);
        Record::Block(BlockRecord { cell, block, calibration_ns, ..BlockRecord::default() })
    };
    // The second cell's blocks agree with each other; only the first one's tell that they were slow.
    let records = (0..6).flat_map(|b| [record(0, b, 1_000_000), record(1, b, 1_500_000)]);
    let summary = summarise(&run, records.chain([start("total", 0, vec![100])]));
    let slow: Vec<u32> = summary.cells.iter().map(|cell| cell.circumstances.all().calibration).collect();
    assert_eq!(slow, [0, 6]);
    assert_eq!(summary.blocks().sentence().unwrap(), "6 of 12 blocks were disturbed: slow calibration 6");
}

#[test]
fn memory_is_a_slope_and_a_fixed_cost() {
    let mut records = Vec::new();
    for block in 0..2 {
        for n in [0u32, 1, 2, 4, 8] {
            // Blocks at different heights, one slope: the difference between blocks is no cost of an instance.
            let bytes = 1_000_000 * u64::from(block) + 5000 + 1200 * u64::from(n);
            records.push(Record::Samples(samples(Experiment::Footprint, "rss", block, Some(n), vec![bytes * 2])));
            records.push(Record::Samples(samples(Experiment::Footprint, "pss", block, Some(n), vec![bytes])));
        }
    }
    let cell = only_cell(records);
    let names: Vec<_> = cell.footprint.iter().map(|y| y.metric.as_str()).collect();
    assert_eq!(names, ["pss", "rss"]);
    let pss = cell.yardstick("pss").unwrap();
    assert_eq!((pss.slope.unwrap().value, pss.fixed.unwrap().value, pss.blocks), (1200.0, 505_000.0, 2));
    assert_eq!(pss.points.iter().map(|p| p.n).collect::<Vec<_>>(), [0, 1, 2, 4, 8]);
}

#[test]
fn throughput_adds_histograms_up() {
    let cell = only_cell([
        histogram(0, 2, Mode::Warm, (1..=100).map(|v| v * 10), 1_000_000),
        histogram(1, 2, Mode::Warm, (1..=100).map(|v| v * 30), 500_000),
        histogram(0, 1, Mode::Fresh, [5_000_000_000], 5_000_000_000),
    ]);
    let warm = cell.throughput_at(Mode::Warm, 2).unwrap();
    assert_eq!((warm.rate.value, warm.blocks), (150_000.0, 2));
    assert_eq!((warm.latency.n, warm.latency.p999), (200, None));
    assert!(warm.latency.p99.unwrap().abs_diff(2940) <= 3, "{:?}", warm.latency);
    let fresh = cell.throughput_at(Mode::Fresh, 1).unwrap();
    assert_eq!((fresh.rate.value, fresh.rate.spread), (0.2, None));
}

#[test]
fn a_fault_makes_an_error_row_without_numbers() {
    let fault = Record::Fault(FaultRecord {
        cell: 0,
        block: 1,
        experiment: Experiment::WarmCall,
        fault: Fault::new(FaultKind::WrongAnswer, "3 bytes differ"),
    });
    let cell = only_cell([start("total", 0, vec![100]), fault.clone(), fault]);
    assert_eq!(cell.fault(), Some(FaultKind::WrongAnswer));
    assert!(cell.cold_start.is_none() && cell.flags().is_empty());
    let Verdict::Error { faults } = &cell.verdict else { panic!("{:?}", cell.verdict) };
    assert_eq!((faults.len(), faults[0].blocks), (1, 2));
}

#[test]
fn flags_of_the_run_reach_the_cell() {
    let mut run = run(1);
    run.plan.order = Order::Sequential;
    run.cells[0].flags = vec![Flag::Emulated];
    let cell = summarise(&run, [start("total", 0, vec![1])]).cells.remove(0);
    assert!(cell.has(Flag::Emulated) && cell.has(Flag::Sequential));
}

#[test]
fn what_cannot_be_used_is_said_once() {
    let broken = || {
        let mut record = histogram(0, 1, Mode::Warm, [1], 10);
        if let Record::Histogram(h) = &mut record {
            h.hdr = "AAAA".into();
        }
        record
    };
    let mut stray = start("total", 0, vec![1]);
    if let Record::Samples(s) = &mut stray {
        s.cell = 9;
    }
    let summary = summarise(&run(1), [broken(), broken(), stray]);
    assert_eq!(summary.defects.len(), 2, "{:?}", summary.defects);
    assert!(summary.defects[0].contains("cell 0, block 0, concurrency 1"));
    assert_eq!(summary.cells[0].verdict, Verdict::NotMeasured);
}

#[test]
fn the_order_of_lines_does_not_matter() {
    let mut records: Vec<Record> = (0..10)
        .flat_map(|b| {
            let values: Vec<u64> = (0..50).map(|i| 1000 + (i * 37 + u64::from(b) * 11) % 90).collect();
            [start("total", b, vec![u64::from(b) * 3 + 100, 105]), calls(b, values)]
        })
        .collect();
    let one = summarise(&run(1), records.clone());
    records.reverse();
    assert_eq!(one, summarise(&run(1), records));
}

#[test]
fn a_million_samples_stream_through() {
    let run = run(50);
    let mut accumulator = Accumulator::new(&run);
    for cell in 0..50 {
        for block in 0..10 {
            let values = (0..2000).map(|i| 1000 + (i * 7919 + u64::from(block) * 104_729) % 500).collect();
            let samples = samples(Experiment::WarmCall, "call", block, None, values);
            accumulator.push(Record::Samples(Samples { cell, ..samples }));
        }
    }
    let summary = accumulator.finish();
    assert_eq!(summary.samples, 1_000_000);
    assert!(summary.cells.iter().all(|c| c.warm_call.as_ref().is_some_and(|w| w.tail.p999.is_some())));
}

/// `jHiccup-2.0.7S.logV2.hlog` is a log of 62 intervals from HdrHistogram's own tests
/// (github.com/HdrHistogram/HdrHistogram, `src/test/resources/org/HdrHistogram`; public domain, CC0). What must be
/// found in it is what `HistogramLogReaderWriterTest.jHiccupV2Log` there asks of its reader.
#[test]
fn a_histogram_whose_times_were_cut_at_its_ceiling_is_left_out() {
    let hour = record::HISTOGRAM_CEILING_NS;
    let summary = summarise(&run(1), [histogram(0, 1, Mode::Warm, [9, hour], 1_000)]);
    assert_eq!(summary.defects.len(), 1, "{:?}", summary.defects);
    assert!(summary.defects[0].contains("an hour or more"), "{}", summary.defects[0]);
    assert!(summarise(&run(1), [histogram(0, 1, Mode::Warm, [9, hour / 2], 1_000)]).defects.is_empty());
}

#[test]
fn the_log_of_hdr_histograms_own_tests() {
    let log = include_str!("data/jHiccup-2.0.7S.logV2.hlog");
    let intervals: Vec<(f64, &str)> = log
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .map(|line| (line.split(',').next().unwrap().parse().unwrap(), line.rsplit(',').next().unwrap()))
        .collect();
    let found = |from: f64, to: f64| {
        let within = intervals.iter().filter(|(begin, _)| (from..to).contains(begin));
        let cell = only_cell(within.zip(0..).map(|((_, hdr), block)| {
            let hdr = hdr.to_string();
            Record::Histogram(record::Histogram {
                cell: 0,
                block,
                n: 1,
                mode: Mode::Warm,
                calls: 1,
                elapsed_ns: 1,
                stretches: Vec::new(),
                hdr,
            })
        }));
        let warm = cell.throughput_at(Mode::Warm, 1).unwrap();
        (warm.blocks, warm.latency.n, warm.latency.p999, warm.latency.max)
    };
    assert_eq!(found(0.0, f64::INFINITY), (62, 48_761, Some(1_745_879_039), 1_796_210_687));
    assert_eq!(found(5.0, 20.0), (15, 11_664, Some(1_536_163_839), 1_544_552_447));
    assert_eq!(found(40.0, 60.0), (20, 15_830, Some(1_779_433_471), 1_796_210_687));
}
