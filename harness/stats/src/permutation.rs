//! Could a difference this large be luck? The Wilcoxon–Mann–Whitney test, a permutation test over blocks, and the
//! correction for asking it of many rows.

/// Blocks of both sides up to which the test's distribution is counted out; beyond, its normal approximation is off by
/// less than the p-values that are compared with 5 % can show.
pub const EXACT_BLOCKS: usize = 50;

/// Probability of rank sums at least as far apart as those of `a` and `b`, if every way of dealing the same values out
/// to the two sides is equally likely: two-sided, as far from the mean of the sum as the one observed, on either side. Ties share
/// the mean of their ranks, and the distribution is that of the ranks as they are. 1 if a side is empty.
///
/// Wilcoxon, "Individual Comparisons by Ranking Methods", 1945; Mann and Whitney 1947; exact with ties, and the
/// variance with ties and the continuity correction of the approximation: Hollander, Wolfe and Chicken, *Nonparametric
/// Statistical Methods*, 3rd edition 2014, §4.1.
pub fn rank_sum_test(a: &[f64], b: &[f64]) -> f64 {
    let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if few.is_empty() {
        return 1.0;
    }
    let ranks = Ranks::of(few, many);
    if few.len() + many.len() <= EXACT_BLOCKS { ranks.exact() } else { ranks.approximate() }
}

/// The smallest p that [`rank_sum_test`] can give for `a` and `b` blocks without ties: no value of one side among those
/// of the other.
pub fn smallest_p(a: usize, b: usize) -> f64 {
    // 2 / (a + b choose a), factor by factor.
    2.0 * (1..=a).map(|i| i as f64 / (b + i) as f64).product::<f64>()
}

/// Twice the ranks of all values together, so that the mean rank of two tied values is whole too.
struct Ranks {
    /// Of every value, lowest first.
    all: Vec<usize>,
    /// How many values are tied at each value.
    ties: Vec<usize>,
    /// Values of the smaller side.
    few: usize,
    /// Sum over the smaller side.
    sum: usize,
}

impl Ranks {
    fn of(few: &[f64], many: &[f64]) -> Ranks {
        let mut values: Vec<(f64, bool)> =
            few.iter().map(|v| (*v, true)).chain(many.iter().map(|v| (*v, false))).collect();
        values.sort_unstable_by(|x, y| x.0.total_cmp(&y.0));
        let mut ranks = Ranks { all: Vec::new(), ties: Vec::new(), few: few.len(), sum: 0 };
        for tied in values.chunk_by(|x, y| x.0 == y.0) {
            // Twice the mean of the ranks (before + 1) … (before + tied).
            let rank = 2 * ranks.all.len() + tied.len() + 1;
            ranks.all.extend(tied.iter().map(|_| rank));
            ranks.ties.push(tied.len());
            ranks.sum += rank * tied.iter().filter(|(_, of_few)| *of_few).count();
        }
        ranks
    }

    /// Twice the mean of the sum.
    fn mean(&self) -> usize {
        self.few * (self.all.len() + 1)
    }

    /// Counts, for every sum, the ways to choose as many ranks as the smaller side has. Counts stay below 2⁵³ up to
    /// [`EXACT_BLOCKS`], so they are exact.
    fn exact(&self) -> f64 {
        let most: usize = self.all.iter().rev().take(self.few).sum();
        let mut ways = vec![vec![0.0f64; most + 1]; self.few + 1];
        ways[0][0] = 1.0;
        for (seen, rank) in self.all.iter().enumerate() {
            for chosen in (1..=self.few.min(seen + 1)).rev() {
                let (fewer, more) = ways.split_at_mut(chosen);
                for (from, to) in fewer[chosen - 1].iter().zip(more[0].iter_mut().skip(*rank)) {
                    *to += from;
                }
            }
        }
        let far = self.sum.abs_diff(self.mean());
        let as_far = |(sum, _): &(usize, &f64)| sum.abs_diff(self.mean()) >= far;
        let all: f64 = ways[self.few].iter().sum();
        ways[self.few].iter().enumerate().filter(as_far).map(|(_, ways)| ways).sum::<f64>() / all
    }

    fn approximate(&self) -> f64 {
        let (few, all) = (self.few as f64, self.all.len() as f64);
        let ties: f64 = self.ties.iter().map(|t| (*t as f64).powi(3) - *t as f64).sum();
        let variance = few * (all - few) / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
        let far = (self.sum.abs_diff(self.mean()) as f64 / 2.0 - 0.5).max(0.0);
        if variance > 0.0 { (2.0 * crate::detect::normal_tail(far / variance.sqrt())).min(1.0) } else { 1.0 }
    }
}

/// Holm's correction: with these in place of the p-values, comparing each with 5 % calls a difference where there is
/// none in any row at all in at most 5 % of comparisons, whatever the rows have to do with each other. Given in the order of `p` (Holm, "A
/// Simple Sequentially Rejective Multiple Test Procedure", 1979).
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut corrected = vec![1.0; p.len()];
    let mut largest = 0.0f64;
    for (rejected, index) in order.into_iter().enumerate() {
        largest = largest.max(p[index] * (p.len() - rejected) as f64).min(1.0);
        corrected[index] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Permeability of the human chorioamnion: Hollander, Wolfe and Chicken 2014, table 4.1, where the one-sided
    /// probability is 0.1272.
    #[test]
    fn the_published_example() {
        let at_term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
        let early = [1.15, 0.88, 0.90, 0.74, 1.21];
        let p = rank_sum_test(&at_term, &early);
        assert!((p / 2.0 - 0.1272).abs() < 5e-5, "{p}");
        assert_eq!(p, rank_sum_test(&early, &at_term));
    }

    /// The worked example of the article on the Holm–Bonferroni method in Wikipedia: the first and the last are
    /// rejected at 5 %.
    #[test]
    fn holm_s_procedure() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (corrected, expected) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((corrected - expected).abs() < 1e-12, "{corrected} {expected}");
        }
        assert_eq!(holm(&[]), [] as [f64; 0]);
        assert_eq!(holm(&[0.7, 0.8]), [1.0, 1.0]);
    }

    #[test]
    fn the_smallest_p_is_that_of_sides_that_do_not_overlap() {
        let low: Vec<f64> = (0..8).map(f64::from).collect();
        let high: Vec<f64> = (10..20).map(f64::from).collect();
        assert!((rank_sum_test(&low, &high) / smallest_p(8, 10) - 1.0).abs() < 1e-9);
        assert!((smallest_p(8, 8) - 2.0 / 12870.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_and_all_alike_show_no_difference() {
        assert_eq!(rank_sum_test(&[], &[1.0]), 1.0);
        assert_eq!(rank_sum_test(&[5.0; 8], &[5.0; 9]), 1.0);
        assert_eq!(rank_sum_test(&[5.0; 30], &[5.0; 30]), 1.0);
    }

    #[test]
    fn the_approximation_continues_what_is_counted() {
        // 25 and 25 blocks are counted; the same ranks approximated differ in the third digit.
        let (a, b): (Vec<f64>, Vec<f64>) = (0..50).map(f64::from).partition(|v| (v * 7.3 + v * v / 9.0) % 10.0 < 4.7);
        let ranks = if a.len() <= b.len() { Ranks::of(&a, &b) } else { Ranks::of(&b, &a) };
        for shift in 0..12 {
            let moved: Vec<f64> = b.iter().map(|v| v + f64::from(shift)).collect();
            let ranks = Ranks::of(&a, &moved);
            assert!((ranks.exact() - ranks.approximate()).abs() < 0.006, "{} {}", ranks.exact(), ranks.approximate());
        }
        assert_eq!(ranks.all.len(), EXACT_BLOCKS);
    }

    /// All ways to deal the values out, one by one.
    fn by_hand(a: &[f64], b: &[f64]) -> f64 {
        let all = [a, b].concat();
        let rank = |v: &f64| {
            let below = all.iter().filter(|o| *o < v).count();
            2 * below + all.iter().filter(|o| *o == v).count() + 1
        };
        let ranks: Vec<usize> = all.iter().map(rank).collect();
        let far = |mask: u32| {
            let sum: usize = ranks.iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, r)| r).sum();
            sum.abs_diff(a.len() * (all.len() + 1))
        };
        let observed = far((1 << a.len()) - 1);
        let masks: Vec<u32> = (0..1u32 << all.len()).filter(|m| m.count_ones() as usize == a.len()).collect();
        masks.iter().filter(|m| far(**m) >= observed).count() as f64 / masks.len() as f64
    }

    proptest! {
        #[test]
        fn exact_with_ties(a in prop::collection::vec(0u8..6, 1..6), b in prop::collection::vec(0u8..6, 1..6)) {
            let (a, b): (Vec<f64>, Vec<f64>) =
                (a.into_iter().map(f64::from).collect(), b.into_iter().map(f64::from).collect());
            prop_assert!((rank_sum_test(&a, &b) - by_hand(&a, &b)).abs() < 1e-12);
        }

        #[test]
        fn holm_never_lowers_a_p(p in prop::collection::vec(0.0..1.0f64, 0..40)) {
            let corrected = holm(&p);
            prop_assert!(p.iter().zip(&corrected).all(|(p, c)| c >= p && *c <= 1.0));
        }
    }
}
