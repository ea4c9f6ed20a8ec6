//! The contention probe: the same work always, so wide that whatever shares the core makes it slower.
//!
//! A neighbour on the other hardware thread of a core takes execution units away for milliseconds at a time. Neither
//! steal time nor frequency nor run queues show it, and a chain of dependent steps hardly feels it, because such a chain
//! leaves most of the core idle anyway. The probe keeps all integer units of a core busy with independent steps in
//! registers. It is run directly before and after what is measured, on the thread that measures; statistics decide from
//! its readings alone which samples were undisturbed (`isobench_stats::undisturbed`).

use crate::stopwatch::nanos;
use std::hint::black_box;
use std::time::Instant;

/// Independent chains: four integer units (x86-64 since Haswell and Zen, and the larger Arm cores) are busy in every
/// cycle if each chain needs one step of two dependent single-cycle instructions in two cycles.
const CHAINS: usize = 8;

/// Steps of every chain: about 80 µs at 3.7 GHz. Ten times as long as the fastest start, so that the clock's tick of
/// 10 ns is nothing; short beside the milliseconds for which a neighbour comes and goes.
const STEPS: u32 = 70_000;

/// How long the probe takes now, nanoseconds.
pub fn probe() -> u64 {
    let begun = Instant::now();
    black_box(work(black_box(STEPS)));
    nanos(begun.elapsed())
}

/// Takes `steps` steps that each wait for the one before, which leaves most of a core idle, and returns the last value.
pub(crate) fn dependent_steps(from: u64, steps: u64) -> u64 {
    // A step of MurmurHash3's finaliser (Appleby). The shift keeps the compiler from folding many steps into one, as it
    // does with multiplications and additions alone.
    (0..steps).fold(from, |x, _| (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd))
}

/// Not inlined, so that it is the same machine code wherever it is called from.
#[inline(never)]
fn work(steps: u32) -> u64 {
    let mut chains: [u64; CHAINS] = std::array::from_fn(|i| i as u64 + 1);
    for _ in 0..steps {
        for x in &mut chains {
            *x = (*x ^ 0x55).rotate_left(5);
        }
    }
    chains.iter().fold(0, |all, x| all ^ x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_changes_every_chain() {
        assert_ne!(work(1), work(0));
        assert_ne!(work(2), work(1));
        assert!(probe() > 0);
    }
}
