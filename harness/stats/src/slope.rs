//! Cost per instance: the Theil–Sen slope.

use crate::quantile::median;

/// A line through points of memory against live instances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Rise for each further instance.
    pub slope: f64,
    /// Value at no instance: the fixed cost.
    pub fixed: f64,
}

/// The Theil–Sen line: the median of the slopes of all pairs of points with different `x`, and the median of what it
/// leaves of each point (Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", 1968). Up to 29 % of
/// the points may be anywhere without moving it far, so that one reading taken while the machine was busy does not
/// set the price of an instance. `None` without two different `x`.
pub fn theil_sen(points: &[(f64, f64)]) -> Option<Line> {
    let mut slopes = Vec::new();
    for (i, a) in points.iter().enumerate() {
        slopes.extend(points[i + 1..].iter().filter(|b| b.0 != a.0).map(|b| (b.1 - a.1) / (b.0 - a.0)));
    }
    let slope = median(&slopes)?;
    let rests: Vec<f64> = points.iter().map(|(x, y)| y - slope * x).collect();
    Some(Line { slope, fixed: median(&rests)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_wild_reading_does_not_move_it() {
        let mut points: Vec<(f64, f64)> = (0..9).map(|i| (f64::from(i), 100.0 + 5.0 * f64::from(i))).collect();
        points[4].1 = 1e9;
        let line = theil_sen(&points).unwrap();
        assert!((line.slope - 5.0).abs() < 1e-9 && (line.fixed - 100.0).abs() < 1e-9);
    }

    #[test]
    fn the_published_example() {
        // Sen 1968, the example of the paper: a slope of 4.
        let (t, y) = ([1.0, 2.0, 3.0, 4.0, 10.0, 12.0, 18.0], [9.0, 15.0, 19.0, 20.0, 45.0, 55.0, 78.0]);
        let points: Vec<(f64, f64)> = t.into_iter().zip(y).collect();
        assert_eq!(theil_sen(&points), Some(Line { slope: 4.0, fixed: 6.0 }));
    }

    #[test]
    fn no_slope_without_two_counts() {
        assert_eq!(theil_sen(&[]), None);
        assert_eq!(theil_sen(&[(1.0, 2.0), (1.0, 3.0)]), None);
    }

    proptest! {
        #[test]
        fn exact_on_a_line(slope in -1e6..1e6f64, fixed in -1e9..1e9f64, xs in prop::collection::btree_set(0u16..512, 2..12)) {
            let points: Vec<(f64, f64)> = xs.iter().map(|x| (f64::from(*x), fixed + slope * f64::from(*x))).collect();
            let line = theil_sen(&points).unwrap();
            prop_assert!((line.slope - slope).abs() < 1e-3 && (line.fixed - fixed).abs() < 1.0);
        }

        #[test]
        fn the_order_of_points_does_not_matter(points in prop::collection::vec((0.0..100.0f64, 0.0..1e6f64), 2..12)) {
            let mut turned = points.clone();
            turned.reverse();
            prop_assert_eq!(theil_sen(&points), theil_sen(&turned));
        }
    }
}
