//! Whether two runs were made on one machine and on one day. A ratio between machines, or between days of a shared one,
//! is also theirs.

use super::environment::same_size;
use super::plural;
use crate::units;
use isobench_core::Machine;
use isobench_core::run::RunFile;

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What differs in machine and day, in sentences; empty where neither does.
pub(super) fn between(base: &RunFile, new: &RunFile) -> Vec<String> {
    machines(&base.machine, &new.machine).into_iter().chain(days(base, new)).collect()
}

/// Old runs have no identity of their machine: what was recorded of it can tell two machines apart, never that they
/// are one.
fn machines(base: &Machine, new: &Machine) -> Option<String> {
    let other = "The runs were made on two machines: each ratio is also that of the machines.";
    match (&base.id, &new.id) {
        (Some(base), Some(new)) => (base != new).then(|| other.into()),
        _ if !alike(base, new) => Some(other.into()),
        _ => Some(
            "It cannot be told whether the runs were made on the same machine: the hardware is described alike, but \
             no machine id was recorded."
                .into(),
        ),
    }
}

fn alike(base: &Machine, new: &Machine) -> bool {
    let hardware = |machine: &Machine| (machine.cpu.clone(), machine.cores, machine.hypervisor.clone());
    hardware(base) == hardware(new) && same_size(base.memory_bytes, new.memory_bytes)
}

/// Calendar days, in UTC as everything that the report shows.
fn days(base: &RunFile, new: &RunFile) -> Option<String> {
    let day = |run: &RunFile| run.started_unix_ms / DAY_MS;
    let apart = day(base).abs_diff(day(new));
    (apart > 0).then(|| {
        let date = |run: &RunFile| units::date(run.started_unix_ms);
        format!(
            "The runs were made {apart} {} apart ({} and {}): what else ran on the machine may have changed.",
            plural(apart as usize, "day"),
            date(base),
            date(new)
        )
    })
}
