//! Axes: a value becomes a pixel, and a few round values become ticks.

/// How an axis runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Equal steps for equal ratios; ticks at powers of the base.
    Log(u32),
    /// Equal steps for equal differences.
    Linear,
}

/// An axis from `low` to `high`, in the unit of its values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    kind: Kind,
    low: f64,
    high: f64,
}

impl Axis {
    /// An axis from 0 to 1.
    pub fn share() -> Axis {
        Axis { kind: Kind::Linear, low: 0.0, high: 1.0 }
    }

    /// A logarithmic axis over all positive `values`, out to whole powers of `base`; `None` without any.
    pub fn log(base: u32, values: impl IntoIterator<Item = f64>) -> Option<Axis> {
        let (mut low, mut high) = (f64::INFINITY, 0.0f64);
        for value in values.into_iter().filter(|v| *v > 0.0 && v.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if high == 0.0 {
            return None;
        }
        let base_f = f64::from(base);
        let power = |value: f64| value.log(base_f);
        // A value that is a power of the base is a fine end as it is.
        let low = base_f.powf((power(low) + 1e-9).floor());
        let high = base_f.powf((power(high) - 1e-9).ceil());
        let high = if high > low { high } else { low * base_f };
        Some(Axis { kind: Kind::Log(base), low, high })
    }

    /// Where `value` lies, 0 at the low end and 1 at the high one.
    pub fn at(&self, value: f64) -> f64 {
        match self.kind {
            Kind::Linear => (value - self.low) / (self.high - self.low),
            Kind::Log(_) => (value.max(self.low).ln() - self.low.ln()) / (self.high.ln() - self.low.ln()),
        }
        .clamp(0.0, 1.0)
    }

    /// At most `most` round values, both ends of a linear axis among them.
    pub fn ticks(&self, most: usize) -> Vec<f64> {
        let most = most.max(2);
        match self.kind {
            Kind::Linear => [0.0, 0.25, 0.5, 0.75, 1.0].map(|s| self.low + s * (self.high - self.low)).to_vec(),
            Kind::Log(base) => {
                let base = f64::from(base);
                let (first, last) = (self.low.log(base).round() as i32, self.high.log(base).round() as i32);
                let step = (last - first + 1).div_euclid(most as i32) + i32::from((last - first + 1) % most as i32 > 0);
                (first..=last).step_by(step.max(1) as usize).map(|power| base.powi(power)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_axis_ends_at_powers() {
        let axis = Axis::log(10, [4150.0, 1.9e9, 0.0]).unwrap();
        assert_eq!((axis.low, axis.high), (1e3, 1e10));
        assert_eq!(axis.ticks(20), [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10]);
        assert_eq!(axis.ticks(4), [1e3, 1e5, 1e7, 1e9]);
        assert!((axis.at(1e5) - 2.0 / 7.0).abs() < 1e-9);
        assert_eq!(Axis::log(2, [1.0, 256.0]).unwrap().ticks(9).len(), 9);
        assert_eq!(Axis::log(10, [0.0]), None);
        assert_eq!(Axis::log(10, [1000.0]).unwrap().ticks(9), [1e3, 1e4]);
    }
}
