//! Ladders: the rungs of one technology side by side, from nothing prepared to almost everything. What each costs in
//! time, what it keeps in memory to be that fast, what it shares and so gives up.

use crate::rows::{Row, Table};
use crate::units::{self, Quantity};
use isobench_core::availability::VariantInfo;
use isobench_core::run::RunFile;
use isobench_core::words::Guest;
use isobench_stats::compare::IMPORTANT;
use isobench_stats::{CellSummary, Estimate};

/// The variants of one backend with one guest.
#[derive(Debug, Clone)]
pub struct Ladder<'a> {
    /// The backend.
    pub backend: &'a str,
    /// The guest, with its engine where that is not the usual one.
    pub guest: String,
    /// Whether its processor is emulated.
    pub emulated: bool,
    /// In the order in which the backend names its variants, each with more prepared than the one before.
    pub rungs: Vec<Rung<'a>>,
}

/// A variant as a rung.
#[derive(Debug, Clone, Copy)]
pub struct Rung<'a> {
    /// Its row.
    pub row: Row<'a>,
    /// What it prepares and shares.
    pub variant: &'a VariantInfo,
    /// What it keeps in memory to be that fast, in bytes more than the rung that keeps least; absent for that one.
    pub kept: Option<Estimate>,
}

/// Every technology with more than one rung in the table, by guest; emulated ones last.
pub fn ladders<'a>(run: &'a RunFile, table: &Table<'a>) -> Vec<Ladder<'a>> {
    let mut ladders: Vec<Ladder> = Vec::new();
    for description in run.backends.iter().map(|entry| &entry.description) {
        for variant in &description.variants {
            let of_variant =
                |row: &&Row| row.cell.cell.backend == description.backend && row.cell.cell.variant == variant.name;
            for row in table.rows.iter().filter(of_variant) {
                let (backend, guest, emulated) = (description.backend.as_str(), row.guest_on_engine(), row.emulated());
                let rung = Rung { row: *row, variant, kept: None };
                match ladders.iter_mut().find(|l| (l.backend, &l.guest) == (backend, &guest)) {
                    // An A/B run names each backend twice.
                    Some(ladder) if ladder.rungs.iter().any(|r| r.row.cell.id == row.cell.id) => {}
                    Some(ladder) => ladder.rungs.push(rung),
                    None => ladders.push(Ladder { backend, guest, emulated, rungs: vec![rung] }),
                }
            }
        }
    }
    ladders.retain(|ladder| ladder.rungs.len() > 1);
    ladders.iter_mut().for_each(|ladder| keep(&mut ladder.rungs));
    let order = |guest: Guest| [Guest::Js, Guest::Wasm, Guest::Native].iter().position(|g| *g == guest);
    ladders.sort_by_key(|ladder| (ladder.emulated, order(ladder.rungs[0].row.guest())));
    ladders
}

/// What each rung keeps in memory to be that fast: PSS with no live instance, after deployment and one instance that
/// came and went, less that of the rung which keeps least. It is the whole of what is kept, for however many instances
/// a rung is prepared. Not the first rung, though it has least prepared: one that compiles inside the clock leaves its
/// compiler's memory behind.
fn keep(rungs: &mut [Rung]) {
    let read = rungs.iter().filter_map(|rung| idle(rung.row.cell));
    let Some(least) = read.min_by(|a, b| a.value.total_cmp(&b.value)) else { return };
    for rung in rungs {
        let more = idle(rung.row.cell).map(|own| own.minus(least));
        rung.kept = more.filter(|more| !Quantity::Bytes.is_none(*more));
    }
}

/// PSS with no live instance.
pub fn idle(cell: &CellSummary) -> Option<Estimate> {
    cell.yardstick("pss")?.points.iter().find(|reading| reading.n == 0).map(|reading| reading.bytes)
}

/// The phases of a rung's cold start: `create 600 µs · load 320 µs`.
pub fn phases(row: &Row) -> String {
    let phases = row.cell.cold_start.iter().flat_map(|starts| &starts.phases);
    let said = |phase: &isobench_stats::summary::Phase| {
        format!("{} {}", phase.name.replace('_', " "), Quantity::Time.estimate(phase.time.p50))
    };
    phases.map(said).collect::<Vec<_>>().join(" · ")
}

/// What is kept more or less, as the end of a sentence: nothing of a difference that would be shown as none.
fn keeps(more: Estimate) -> String {
    let shown = Quantity::Bytes.estimate(Estimate { value: more.value.abs(), ..more });
    match more.value {
        _ if Quantity::Bytes.is_none(more) => " and keeps as much in memory".into(),
        value if value > 0.0 => format!(" and keeps {shown} more in memory for it"),
        _ => format!(" and keeps {shown} less in memory"),
    }
}

/// The variant with its degree of preparation.
fn named(rung: &Rung) -> String {
    let degree = rung.row.preparation.map_or_else(String::new, |degree| format!(" ({degree})"));
    format!("`{}`{degree}", rung.variant.name)
}

/// What the highest rung of a ladder gains over the first, and keeps for it: in one sentence. Names in backticks are
/// code.
pub fn sentence(ladder: &Ladder) -> Option<String> {
    let start = |rung: &Rung| Some(rung.row.cold_start()?.value);
    let (first, base) = (ladder.rungs[0], start(&ladder.rungs[0])?);
    let measured = ladder.rungs.iter().filter_map(|rung| Some((rung, start(rung)?)));
    let (best, fastest) = measured.min_by(|a, b| a.1.total_cmp(&b.1))?;
    if base / fastest < 1.0 + IMPORTANT {
        return Some(format!("No rung answers clearly sooner than the first, `{}`.", first.variant.name));
    }
    let idle = |rung: &Rung| idle(rung.row.cell);
    let keeps = idle(best).zip(idle(&first)).map_or_else(String::new, |(own, base)| keeps(own.minus(base)));
    Some(format!(
        "{} answers {} times sooner than {} ({} against {}){keeps}.",
        named(best),
        units::times(base / fastest),
        named(&first),
        units::time(fastest),
        units::time(base)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_difference_is_not_a_number_of_bytes() {
        let said = |bytes| keeps(Estimate::alone(bytes, 8));
        assert_eq!([0.0, 0.4, -0.4].map(said), [" and keeps as much in memory"; 3]);
        assert_eq!(said(2048.0), " and keeps 2.00 KiB more in memory for it");
        assert_eq!(said(-2048.0), " and keeps 2.00 KiB less in memory");
    }
}
