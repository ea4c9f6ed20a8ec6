//! How fast the host's time-stamp counter runs. QEMU's emulation hands the guest the host's counter as it is, and a
//! distribution's kernel does not boot on the `microvm` machine unless it is told the rate (`tsc_early_khz`).

use std::time::{Duration, Instant};

/// How long the counter is watched: a reading is off by a microsecond at worst, so the rate by 20 parts per million.
const WATCHED: Duration = Duration::from_millis(50);

/// Tries per reading; the one in which the least time passed is kept, so that an interruption does no harm.
const TRIES: u32 = 16;

/// The counter's rate in kHz, measured against the monotonic clock.
pub fn khz() -> u64 {
    let (t0, c0) = reading();
    std::thread::sleep(WATCHED);
    let (t1, c1) = reading();
    let ns = t1.duration_since(t0).as_nanos().max(1);
    (u128::from(c1.wrapping_sub(c0)) * 1_000_000 / ns) as u64
}

fn reading() -> (Instant, u64) {
    let one = || {
        let before = Instant::now();
        let count = counter();
        (before.elapsed(), before, count)
    };
    let (gap, at, count) = (0..TRIES).map(|_| one()).min_by_key(|r| r.0).expect("at least one try");
    (at + gap / 2, count)
}

#[cfg(target_arch = "x86_64")]
fn counter() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux lets programs use it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    0
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    #[test]
    fn the_rate_is_that_of_a_processor() {
        let khz = super::khz();
        assert!((100_000..10_000_000).contains(&khz), "{khz} kHz");
    }
}
