//! Units and rounding: the only place where a number loses digits. Three significant digits, because no figure here is
//! good for a fourth; two where fewer blocks stand behind a figure than it is trusted from, and for times under a
//! microsecond, which clocks of virtual machines read in steps of 10 ns. A number and its spread have one unit.

use isobench_stats::{Estimate, Metric, Spread};

/// Significant digits.
const DIGITS: i32 = 3;
/// Significant digits of a number of few blocks, and of a time of few steps of the clock.
const FEW_DIGITS: i32 = 2;
/// Times under this many nanoseconds are few steps of the clock: one of 10 ns is their third digit.
const COARSE_NS: f64 = 1e3;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Nanoseconds.
    Time,
    /// Bytes.
    Bytes,
    /// Calls per second.
    Rate,
}

const TIME: [(&str, f64); 4] = [("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
const BYTES: [(&str, f64); 5] =
    [("B", 1.0), ("KiB", 1024.0), ("MiB", 1_048_576.0), ("GiB", 1_073_741_824.0), ("TiB", 1_099_511_627_776.0)];
const RATE: [(&str, f64); 3] = [("", 1.0), ("k", 1e3), ("M", 1e6)];

impl Quantity {
    fn units(self) -> (&'static [(&'static str, f64)], f64) {
        match self {
            Quantity::Time => (&TIME, 1e3),
            Quantity::Bytes => (&BYTES, 1024.0),
            Quantity::Rate => (&RATE, 1e3),
        }
    }

    /// What a metric counts.
    pub fn of(metric: Metric) -> Quantity {
        match metric {
            Metric::ColdStart | Metric::WarmCall => Quantity::Time,
            Metric::Memory => Quantity::Bytes,
            Metric::Throughput => Quantity::Rate,
        }
    }

    /// The unit that shows `value` with one to three digits before the point, or four of a kibi.
    fn unit_of(self, value: f64, digits: i32) -> (&'static str, f64) {
        let (units, step) = self.units();
        // Rounded first: 999.6 ns is 1.00 µs and not 1000 ns.
        let fits =
            |(_, scale): &&(&str, f64)| rounded(value.abs() / scale, digits).max((value.abs() / scale).round()) < step;
        *units.iter().find(fits).unwrap_or(&units[units.len() - 1])
    }

    /// `value` with its unit: `1.02 ms`, `8.50 KiB`, `41.2 k/s`.
    pub fn show(self, value: f64) -> String {
        self.show_to(value, self.digits_of(value))
    }

    fn digits_of(self, value: f64) -> i32 {
        if self == Quantity::Time && value.abs() < COARSE_NS { FEW_DIGITS } else { DIGITS }
    }

    fn digits_of_estimate(self, estimate: Estimate) -> i32 {
        if estimate.is_of_few() { FEW_DIGITS } else { self.digits_of(estimate.value) }
    }

    /// The value of an estimate with its unit, to as many digits as its blocks bear: `1.02 ms`, of few `1.0 ms`.
    pub fn estimate(self, estimate: Estimate) -> String {
        self.show_to(estimate.value, self.digits_of_estimate(estimate))
    }

    fn show_to(self, value: f64, digits: i32) -> String {
        let (unit, scale) = self.unit_of(value, digits);
        self.join(&text(value / scale, digits), unit)
    }

    fn join(self, digits: &str, unit: &str) -> String {
        match self {
            Quantity::Rate if unit.is_empty() => format!("{digits}/s"),
            Quantity::Rate => format!("{digits} {unit}/s"),
            _ => format!("{digits} {unit}"),
        }
    }

    /// A power of the axis' base without digits that say nothing: `10 µs`, `64 KiB`, `1 k/s`.
    pub fn tick(self, value: f64) -> String {
        let (unit, scale) = self.unit_of(value, DIGITS);
        let value = value / scale;
        let text = if value >= 1.0 { format!("{value:.0}") } else { format!("{value}") };
        self.join(&text, unit)
    }

    /// From one value to another of the same kind: `310 to 340 ms`; once, if both are shown alike.
    pub fn between(self, low: f64, high: f64) -> String {
        let ((unit, scale), own) = (self.unit_of(high, DIGITS), self.unit_of(low, DIGITS));
        if self.show(low) == self.show(high) {
            self.show(high)
        } else if own.1 == scale {
            self.join(&format!("{} to {}", digits(low / scale), digits(high / scale)), unit)
        } else {
            format!("{} to {}", self.show(low), self.show(high))
        }
    }

    /// A difference, with its sign: `+404 ms`, `−12.0 KiB`; `no difference` where it would be shown as zero.
    pub fn difference(self, estimate: Estimate) -> String {
        if self.is_none(estimate) {
            return "no difference".into();
        }
        let size = Estimate { value: estimate.value.abs(), ..estimate };
        format!("{}{}", if estimate.value < 0.0 { "−" } else { "+" }, self.estimate(size))
    }

    /// Whether a difference is under one of the smallest unit: no byte, no nanosecond. A rate has no smallest unit.
    pub fn is_none(self, estimate: Estimate) -> bool {
        let least = if self == Quantity::Rate { 0.0 } else { 0.5 };
        estimate.value.abs() <= least
    }

    /// The spread of an estimate, in the unit and to the digits of its value: `[0.98, 1.11] ms` is an interval, `0.98 …
    /// 1.11 ms` a range that claims nothing. `None` where it has none.
    pub fn spread(self, estimate: Estimate) -> Option<String> {
        let spread = estimate.spread?;
        let (precision, (low, high)) = (self.digits_of_estimate(estimate), spread.ends());
        let (unit, scale) = self.unit_of(estimate.value, precision);
        let (low, high) = (text(low / scale, precision), text(high / scale, precision));
        let ends = match spread {
            Spread::Interval { .. } => format!("[{low}, {high}]"),
            Spread::Range { .. } => format!("{low} … {high}"),
        };
        Some(self.join(&ends, unit))
    }
}

/// Nanoseconds with their unit.
pub fn time(ns: f64) -> String {
    Quantity::Time.show(ns)
}

/// Bytes with their unit.
pub fn bytes(bytes: f64) -> String {
    Quantity::Bytes.show(bytes)
}

/// Calls per second as a sentence says it: `0.512`, `205,000`, `12.5 million`.
pub fn calls(rate: f64) -> String {
    match rounded(rate, DIGITS) {
        rate if rate >= 1e6 => format!("{} million", digits(rate / 1e6)),
        rate if rate >= 100.0 => grouped(rate.round() as u64),
        rate => digits(rate),
    }
}

/// How many times, of single numbers without an interval: `1.4`, `47`, `97,100`.
pub fn times(ratio: f64) -> String {
    if ratio < 10.0 {
        return format!("{ratio:.1}");
    }
    grouped(rounded(ratio, DIGITS).round() as u64)
}

/// How many times, rounded to what its interval supports, and the interval: `about 150 times`, `100 to 190 times`. The step is a power of ten of at
/// most a quarter of the interval; never finer than three digits, never coarser than one. A ratio without an interval has
/// one digit.
pub fn about_times(ratio: Estimate) -> (String, Option<String>) {
    let magnitude = ratio.value.log10().floor() as i32;
    let interval = match ratio.spread {
        Some(Spread::Interval { low, high }) => Some((low, high)),
        _ => None,
    };
    let supported = interval.map_or(magnitude, |(low, high)| ((high - low) / 4.0).log10().floor() as i32);
    let step = supported.clamp(magnitude - 2, magnitude);
    let shown = |value: f64| {
        let value = (value / 10f64.powi(step)).round() * 10f64.powi(step);
        if step < 0 { format!("{value:.*}", step.unsigned_abs() as usize) } else { grouped(value.round() as u64) }
    };
    let ends = interval.map(|(low, high)| format!("{} to {} times", shown(low), shown(high)));
    (format!("about {} times", shown(ratio.value)), ends)
}

/// New over base: `1.052` near 1, where the third digit after the point counts; else three digits.
pub fn ratio(ratio: f64) -> String {
    if (0.5..2.0).contains(&ratio) { format!("{ratio:.3}") } else { digits(ratio) }
}

/// The interval of a ratio, `[1.031, 1.074]`.
pub fn ratio_interval((low, high): (f64, f64)) -> String {
    format!("[{}, {}]", ratio(low), ratio(high))
}

/// A share as per cent, two digits: `0.42 %`, `5.2 %`, `22 %`. The space does not break.
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    match value.abs() {
        v if v >= 9.95 => format!("{value:.0}\u{a0}%"),
        v if v >= 0.995 => format!("{value:.1}\u{a0}%"),
        v if v >= 0.005 => format!("{value:.2}\u{a0}%"),
        _ => "0\u{a0}%".into(),
    }
}

/// A probability: `0.042`, `0.0012`, `< 0.0001`.
pub fn probability(p: f64) -> String {
    match p {
        p if p < 0.0001 => "<\u{a0}0.0001".into(),
        p if p < 0.01 => format!("{p:.4}"),
        p => format!("{p:.3}"),
    }
}

/// A whole number with its thousands set apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `value` rounded to that many significant digits.
fn rounded(value: f64, digits: i32) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let scale = 10f64.powi(digits - 1 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

/// Three significant digits, whole numbers from 100 up.
fn digits(value: f64) -> String {
    text(value, DIGITS)
}

/// That many significant digits. Of three, a number over 1000 (bytes, under a kibi) keeps its fourth.
fn text(value: f64, digits: i32) -> String {
    let rounded = rounded(value, digits);
    let whole = if digits < DIGITS { rounded } else { value };
    let after = |before: i32| (digits - before).max(0) as usize;
    match rounded.abs() {
        0.0 => "0".into(),
        v if v >= 100.0 => format!("{whole:.0}"),
        v if v >= 10.0 => format!("{rounded:.*}", after(2)),
        v if v >= 1.0 => format!("{rounded:.*}", after(1)),
        _ => format!("{rounded:.*}", after(0)),
    }
}

/// `2026-11-21 14:05 UTC` from milliseconds since the Unix epoch.
pub fn date(unix_ms: u64) -> String {
    let minutes = unix_ms / 60_000;
    let (days, minute_of_day) = ((minutes / 1440) as i64, minutes % 1440);
    // Days to date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minute_of_day / 60, minute_of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_the_right_unit() {
        let shown: Vec<String> = [0.0, 1.0, 36.4, 999.4, 999.6, 1024.0, 970_000.0, 1.9e9, 75e9].map(time).to_vec();
        insta::assert_snapshot!(shown.join(" | "), @"0 ns | 1.0 ns | 36 ns | 1.0 µs | 1.0 µs | 1.02 µs | 970 µs | 1.90 s | 75.0 s");
        let shown: Vec<String> = [0.0, 900.0, 1023.0, 1024.0, 8704.0, 1.2e6, -4096.0, 3e9].map(bytes).to_vec();
        insta::assert_snapshot!(shown.join(" | "), @"0 B | 900 B | 1023 B | 1.00 KiB | 8.50 KiB | 1.14 MiB | -4.00 KiB | 2.79 GiB");
        let shown: Vec<String> = [0.512, 12.3, 999.9, 41_234.0, 2.5e6].map(|v| Quantity::Rate.show(v)).to_vec();
        insta::assert_snapshot!(shown.join(" | "), @"0.512/s | 12.3/s | 1.00 k/s | 41.2 k/s | 2.50 M/s");
    }

    #[test]
    fn an_interval_does_not_look_like_a_range() {
        let of = |spread, blocks| Estimate { value: 1e6, spread: Some(spread), blocks };
        let time = |spread| Quantity::Time.spread(of(spread, 8)).unwrap();
        let range = Spread::Range { low: 980_000.0, high: 1_110_000.0 };
        assert_eq!(time(range), "0.980 … 1.11 ms");
        assert_eq!(Quantity::Time.spread(of(range, 3)).unwrap(), "0.98 … 1.1 ms");
        assert_eq!(time(Spread::Interval { low: 980_000.0, high: 1_110_000.0 }), "[0.980, 1.11] ms");
        assert_eq!(time(Spread::Interval { low: 1_500.0, high: 1_110_000.0 }), "[0.002, 1.11] ms");
        let rate = Estimate { value: 15.0, ..of(Spread::Interval { low: 10.0, high: 20.0 }, 8) };
        assert_eq!(Quantity::Rate.spread(rate).unwrap(), "[10.0, 20.0]/s");
        assert_eq!(Quantity::Time.spread(Estimate::alone(1.0, 1)), None);
    }

    #[test]
    fn few_blocks_bear_two_digits() {
        let few = |value| Quantity::Time.estimate(Estimate::alone(value, 3));
        assert_eq!(
            [0.0, 0.5, 36.4, 228e6, 994.0, 996.0, 1_234.0].map(few).join(" | "),
            "0 ns | 0.50 ns | 36 ns | 230 ms | 990 ns | 1.0 µs | 1.2 µs"
        );
        assert_eq!(Quantity::Bytes.estimate(Estimate::alone(8704.0, 1)), "8.5 KiB");
        assert_eq!(Quantity::Time.estimate(Estimate::alone(228e6, 4)), "228 ms");
    }

    #[test]
    fn from_one_value_to_another() {
        assert_eq!(Quantity::Time.between(310e6, 340e6), "310 to 340 ms");
        assert_eq!(Quantity::Time.between(310.1e6, 310.2e6), "310 ms");
        assert_eq!(Quantity::Time.between(-5e3, 1.2e6), "-5.00 µs to 1.20 ms");
        let difference = |ns| Quantity::Time.difference(Estimate::alone(ns, 8));
        assert_eq!(
            [404e6, -3.2e3, 0.0, -0.4].map(difference),
            ["+404 ms", "−3.20 µs", "no difference", "no difference"]
        );
    }

    #[test]
    fn a_ratio_has_the_digits_that_its_interval_supports() {
        let of = |value, low, high| {
            let (about, ends) =
                about_times(Estimate { value, spread: Some(Spread::Interval { low, high }), blocks: 8 });
            format!("{about}, {}", ends.unwrap())
        };
        assert_eq!(of(147.0, 98.0, 189.0), "about 150 times, 100 to 190 times");
        assert_eq!(of(502.0, 361.0, 602.0), "about 500 times, 360 to 600 times");
        assert_eq!(of(4.93, 3.88, 6.41), "about 4.9 times, 3.9 to 6.4 times");
        assert_eq!(of(47.2, 47.1, 47.3), "about 47.2 times, 47.1 to 47.3 times");
        assert_eq!(of(21_498.0, 18_000.0, 26_000.0), "about 21,000 times, 18,000 to 26,000 times");
        assert_eq!(about_times(Estimate::alone(21_498.0, 1)), ("about 20,000 times".into(), None));
    }

    #[test]
    fn ratios_ticks_and_dates() {
        assert_eq!([1.44, 47.2, 97_142.0].map(times), ["1.4", "47", "97,100"]);
        assert_eq!(Quantity::Time.tick(10_000.0), "10 µs");
        assert_eq!(Quantity::Bytes.tick(65536.0), "64 KiB");
        assert_eq!([0.5123, 205_123.0, 12_543_000.0].map(calls), ["0.512", "205,000", "12.5 million"]);
        assert_eq!(grouped(1_000_000), "1,000,000");
        assert_eq!([1.0516, 0.948, 2.5, 31.2].map(ratio), ["1.052", "0.948", "2.50", "31.2"]);
        assert_eq!(ratio_interval((0.97, 2.1)), "[0.970, 2.10]");
        assert_eq!([0.0, 0.0042, 0.0521, 0.22].map(percent), ["0\u{a0}%", "0.42\u{a0}%", "5.2\u{a0}%", "22\u{a0}%"]);
        assert_eq!([0.00001, 0.00123, 0.0421].map(probability), ["<\u{a0}0.0001", "0.0012", "0.042"]);
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(1_795_269_900_000), "2026-11-21 14:05 UTC");
    }
}
