//! Student's t with whole degrees of freedom, for comparisons of few runs.

use std::f64::consts::PI;

/// Probability that |t| of `freedom` degrees exceeds `t`, exact: Abramowitz and Stegun, *Handbook of Mathematical
/// Functions*, 1964, 26.7.3 and 26.7.4.
pub(crate) fn two_sided(t: f64, freedom: usize) -> f64 {
    let angle = (t.abs() / (freedom as f64).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    let is_odd = freedom % 2 == 1;
    // Each term is the one before it times cos² and a quotient of neighbouring numbers.
    let (mut term, mut sum) = if is_odd { (cos, if freedom > 1 { cos } else { 0.0 }) } else { (1.0, 1.0) };
    let first = if is_odd { 3 } else { 2 };
    for k in (first..freedom.saturating_sub(1)).step_by(2) {
        term *= cos * cos * (k as f64 - 1.0) / k as f64;
        sum += term;
    }
    let within = if is_odd { 2.0 / PI * (angle + sin * sum) } else { sin * sum };
    (1.0 - within).max(0.0)
}

/// The t of `freedom` degrees that is exceeded with probability `tail` on one side, `tail` at most one half; by halving.
pub(crate) fn quantile(tail: f64, freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, 1e6);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if two_sided(middle, freedom) > 2.0 * tail { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        let table =
            [(1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (5, 2.57058), (10, 2.22814), (29, 2.04523)];
        for (freedom, t) in table {
            assert!((quantile(0.025, freedom) - t).abs() < 1e-4, "{freedom}: {}", quantile(0.025, freedom));
            assert!((two_sided(t, freedom) - 0.05).abs() < 1e-6);
        }
        assert!((quantile(0.2, 30) - 0.853_767).abs() < 1e-5 && quantile(0.5, 4).abs() < 1e-9);
    }
}
