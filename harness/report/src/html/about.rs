//! What the numbers rest on: method, machine, versions, the exact command, the samples.

use super::{page::PageOptions, prose};
use crate::units;
use isobench_core::Availability;
use isobench_core::run::{Allowance, BackendEntry, Machine, Order, RunFile};
use isobench_core::text::one_line;
use isobench_stats::{Summary, noise, settle, spread};
use maud::{Markup, html};

/// The last sections of the page.
pub fn about(run: &RunFile, summary: &Summary, options: &PageOptions) -> Markup {
    html! {
        (method(run))
        (machine(&run.machine))
        (versions(&run.backends))
        (this_run(run, summary, options))
    }
}

fn method(run: &RunFile) -> Markup {
    let order = match run.plan.order {
        Order::Shuffled => {
            "The blocks of all cells were shuffled together with a recorded seed, so that drift of the machine hits every boundary alike."
        }
        Order::Sequential => {
            "Blocks ran one cell after another, as Criterion orders them, so that drift of the machine may favour a cell."
        }
    };
    html! {
        h2 id="method" { "Method in short" }
        p { b { "Cold start" } " runs from just before the instance is asked for to the last byte of its first correct answer, on the host's monotonic clock. What was ready before is part of each row and stands in the table. Every answer is checked after the clock has stopped; a wrong one makes an error row." }
        p { b { "Warm calls" } " are kept from call 0. A change-point test on each block's series tells where its settled part begins: the last segments whose medians lie within " (percent(settle::SETTLE_LIMIT)) " of the last one's. The headline takes that part, without the first " (percent(settle::SHORTEST_SEGMENT)) " of the series, or the second half where the last change lies in the last " (percent(settle::SETTLED_SHARE)) ": such a block has not settled. A cell is " span.tag.warn { "unstable" } " where most of its blocks have not, and shows the medians of its first and last halves too." }
        p { b { "A block" } " is one visit to a cell in a fresh runner process. " (order) " Samples inside a block are not independent, so each block counts once: a median is that of the blocks' medians, its interval (95 %, from " (spread::INTERVAL_BLOCKS) " blocks) lies between order statistics of them, and quantiles of the tail weigh blocks alike. Fewer blocks cover too little: their range is shown instead, as it is for a p90 under " (spread::interval_blocks(0.9)) " blocks and a p99 under " (spread::interval_blocks(0.99)) "." }
        p { b { "Noisy" } " is a number whose printed interval (of 4 or 5 blocks: the range) spans more than a factor of " (noise::WIDTH_LIMIT) ", or a time or rate of whose blocks over a third were disturbed. " b { "Few" } " is a number of fewer than " (spread::TRUSTED_BLOCKS) " blocks. Both speak of that number alone. A quantile q is shown from 1/(1−q) samples: with fewer it is the largest sample." }
        p { b { "A disturbed block" } " lost over " (percent(noise::STEAL_LIMIT_PPM as f64 / 1e6)) " of the processor to other machines (steal time); or a fixed calibration loop before or after it took over " (percent(noise::CALIBRATION_LIMIT)) " longer than in the run's best quarter; or the frequency lay over " (percent(noise::FREQUENCY_LIMIT)) " below the run's median; or, in a cold-start visit, some task waited for a processor during over " (percent(noise::PRESSURE_LIMIT_PPM as f64 / 1e6)) " of it (pressure); or other programs wanted half of the processors that isobench may use, both just before and just after it; or a CPU quota held isobench back for over " (percent(noise::THROTTLED_LIMIT_PPM as f64 / 1e6)) " of it. It is counted and stays in every figure." }
        p { b { "Memory" } " is read with 0, 1, 2, 4, … live instances, for all processes that keep them alive; the slope is Theil–Sen's, the headline its PSS." }
    }
}

fn percent(share: f64) -> String {
    // The space does not break.
    format!("{:.0}\u{a0}%", share * 100.0)
}

fn machine(machine: &Machine) -> Markup {
    let unknown = || "not readable".to_string();
    let facts: Vec<(&str, String)> = vec![
        ("Processor", machine.cpu.clone()),
        ("Microcode", machine.microcode.clone().unwrap_or_else(unknown)),
        ("Cores", machine.cores.to_string()),
        ("Memory", units::bytes(machine.memory_bytes as f64)),
        ("Swap", units::bytes(machine.swap_bytes as f64)),
        ("Kernel", machine.kernel.clone()),
        ("System", machine.os.clone()),
        ("Hypervisor", machine.hypervisor.clone().unwrap_or_else(|| "none seen".into())),
        ("Frequency governor", machine.governor.clone().unwrap_or_else(unknown)),
        (
            "Round trip between processors",
            machine.wake_up_ns.map_or_else(unknown, |[halting, awake]| {
                format!("{} if they may halt, {} kept awake", units::time(halting as f64), units::time(awake as f64))
            }),
        ),
        ("Clock source", machine.clocksource.clone().unwrap_or_else(unknown)),
        ("Control groups", machine.cgroup.clone()),
        ("Transparent huge pages", machine.thp.clone().unwrap_or_else(unknown)),
        (
            "Same-page merging",
            machine
                .ksm
                .map_or_else(unknown, |on| if on { "on: memory figures are lower for it" } else { "off" }.into()),
        ),
    ];
    let allowed = machine.allowance.as_ref().map(allowance).unwrap_or_default();
    html! {
        h2 id="machine" { "Machine" }
        dl { @for (name, fact) in facts.iter().chain(&allowed) { dt { (name) } dd { (fact) } } }
        @if !machine.mitigations.is_empty() {
            details {
                summary { "Processor vulnerabilities and mitigations" }
                dl { @for (name, state) in &machine.mitigations { dt { (name) } dd { (state) } } }
            }
        }
    }
}

/// What isobench may use of the machine, as far as something limits it.
fn allowance(allowance: &Allowance) -> Vec<(&'static str, String)> {
    let bytes = |bytes: u64| units::bytes(bytes as f64);
    let mut facts = vec![("Processors allowed", format!("{} ({})", allowance.processors, allowance.cpus))];
    let limits = [
        ("CPU quota", allowance.cpu_quota_milli.map(|milli| format!("{} processors", milli as f64 / 1e3))),
        ("Memory limit of the cgroup", allowance.memory_bytes.map(bytes)),
        ("Processes and threads of the cgroup", allowance.pids.map(|n| n.to_string())),
        ("Processes and threads of the user", allowance.processes.map(|n| n.to_string())),
        ("Open files", allowance.open_files.map(|[soft, hard]| format!("{hard} (raised from {soft})"))),
        ("Address space of a process", allowance.address_space_bytes.map(bytes)),
    ];
    facts.extend(limits.into_iter().filter_map(|(name, limit)| Some((name, limit?))));
    facts
}

fn versions(backends: &[BackendEntry]) -> Markup {
    html! {
        h2 id="versions" { "Backends" }
        p.read { "Preparation happens once a run, engine initialisation included, and is part of no cold start." }
        div.scroll tabindex="0" role="region" aria-label="Backends" { table {
            thead { tr { th { "Backend" } th { "Model" } th.n { "Preparation" } th { "Versions" } th { "What instances share" } } }
            tbody { @for entry in backends.iter().filter(|b| !b.description.hidden) {
                tr {
                    th { (entry.description.backend) } td { (entry.description.model) }
                    td.n { (entry.prepare_ns.map_or_else(|| "–".into(), |ns| units::time(ns as f64))) }
                    td.text { @match &entry.availability {
                        Availability::Available { versions, notes, .. } => {
                            @for (i, (part, version)) in versions.iter().enumerate() {
                                @if i > 0 { ", " } (part) " " (version)
                            }
                            @for note in notes { br; (prose(note)) }
                        },
                        Availability::Unavailable { reason, .. } => { "cannot run here: " (prose(reason)) },
                    } }
                    td.text { @for variant in &entry.description.variants {
                        code { (variant.name) } ": " (prose(&variant.shared)) br;
                    } }
                }
            } }
        } }
    }
}

fn this_run(run: &RunFile, summary: &Summary, options: &PageOptions) -> Markup {
    let took = run.ended_unix_ms.map(|end| units::time((end.saturating_sub(run.started_unix_ms)) as f64 * 1e6));
    html! {
        h2 id="run" { "This run" }
        pre tabindex="0" role="region" aria-label="The command" { (one_line(&run.command.join(" "))) }
        dl {
            dt { "Started" } dd { (units::date(run.started_unix_ms)) @if let Some(took) = took { ", took " (took) } }
            dt { "Seed" } dd { (run.plan.seed) }
            dt { "Order of blocks" } dd { @match run.plan.order { Order::Shuffled => "shuffled", Order::Sequential => "sequential" } }
            dt { "Plan" } dd {
                @if run.plan.quick { "quick: small cases" } @else { "all cases" }
                @if let Some(ms) = run.plan.budget_ms { ", budget " (units::time(ms as f64 * 1e6)) }
            }
            dt { "Samples" } dd {
                (units::grouped(summary.samples)) ": "
                a href=(options.samples_href) download { "samples.jsonl" } ", "
                a href=(options.run_href) download { "run.json" }
                @if let Some(line) = options.truncated {
                    " (line " (line) ", the last one, was cut short and is left out)"
                }
            }
        }
        @if !run.workloads.is_empty() {
            details {
                summary { "Workloads and the artifacts that ran" }
                div.scroll tabindex="0" role="region" aria-label="Workloads and artifacts" { table {
                    thead { tr { th { "Workload" } th { "What it does" } th { "SHA-256 of each guest" } } }
                    tbody { @for workload in &run.workloads { tr {
                        th { (workload.name) } td.text { (workload.summary) }
                        td { @for (guest, sum) in &workload.guests { code { (guest) " " (sum.get(..16).unwrap_or(sum)) } br; } }
                    } } }
                } }
            }
        }
        @if !summary.defects.is_empty() {
            h3 { "Left out" }
            ul.plain.defects { @for defect in &summary.defects { li { (defect) } } }
        }
    }
}
