//! The likely cause of differences in one column, from the pairs of numbers that differ.

use std::collections::BTreeMap;
use std::fmt;

use super::Pair;

/// Why a column differs.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// The right side is the left one times this power of ten.
    Unit { power: i32 },
    /// The signs are opposed.
    Sign,
    /// For each security the ratio stays the same between a few days: prices are adjusted by factors.
    Adjustment { securities: usize, steps: usize },
    /// For each security the difference stays the same between a few days: dividends are subtracted from prices.
    Subtraction { securities: usize, steps: usize },
    /// No rule: single values differ.
    Scattered,
}

impl Cause {
    pub fn name(&self) -> &'static str {
        match self {
            Cause::Unit { .. } => "unit",
            Cause::Sign => "sign",
            Cause::Adjustment { .. } => "adjustment",
            Cause::Subtraction { .. } => "subtraction",
            Cause::Scattered => "scattered",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Unit { power } if *power > 0 => write!(f, "unit: the right side is x{}", 10f64.powi(*power)),
            Cause::Unit { power } => write!(f, "unit: the left side is x{}", 10f64.powi(-*power)),
            Cause::Sign => f.write_str("sign: the values are opposed"),
            Cause::Adjustment { securities, steps } => {
                write!(f, "adjustment: a constant ratio with {steps} steps over {securities} securities")
            }
            Cause::Subtraction { securities, steps } => write!(
                f,
                "adjustment by subtraction: a constant difference with {steps} steps over {securities} securities"
            ),
            Cause::Scattered => f.write_str("scattered: single values differ"),
        }
    }
}

/// Share of the pairs that a cause must explain.
const SHARE: f64 = 0.9;
/// Pairs that a rule needs to be seen at all.
const PAIRS_MIN: usize = 3;

/// `pairs` are all pairs of numbers of the column, in the order of security and day; `differing` those that differ.
pub fn likely(pairs: &[Pair], differing: &[usize]) -> Cause {
    let explained = |holds: &dyn Fn(&Pair) -> bool| {
        let count = differing.iter().filter(|index| holds(&pairs[**index])).count();
        differing.len() >= PAIRS_MIN && count as f64 >= SHARE * differing.len() as f64
    };
    let opposed = |pair: &Pair| (pair.left + pair.right).abs() <= pair.noise && pair.left != 0.0;
    if explained(&opposed) {
        return Cause::Sign;
    }
    for power in (-8..=8).filter(|power| *power != 0) {
        let factor = 10f64.powi(power);
        let scaled = |pair: &Pair| {
            let noise = pair.noise * factor.max(1.0) + 1e-9 * pair.right.abs();
            pair.left != 0.0 && (pair.left * factor - pair.right).abs() <= noise
        };
        if explained(&scaled) {
            return Cause::Unit { power };
        }
    }
    if differing.len() < PAIRS_MIN {
        return Cause::Scattered;
    }
    let steps_max = (differing.len() / 10).max(1);
    piecewise(pairs, steps_max, &|pair| (pair.left != 0.0).then(|| (pair.right / pair.left, ratio_noise(pair))))
        .map(|(securities, steps)| Cause::Adjustment { securities, steps })
        .or_else(|| {
            piecewise(pairs, steps_max, &|pair| Some((pair.right - pair.left, pair.noise)))
                .map(|(securities, steps)| Cause::Subtraction { securities, steps })
        })
        .unwrap_or(Cause::Scattered)
}

fn ratio_noise(pair: &Pair) -> f64 {
    let ratio = (pair.right / pair.left).abs();
    (pair.noise / pair.left.abs()) * (1.0 + ratio) + 1e-9 * ratio
}

/// Whether a figure of each pair stays the same, for each security, but for a few steps: securities and steps.
fn piecewise(pairs: &[Pair], steps_max: usize, figure: &dyn Fn(&Pair) -> Option<(f64, f64)>) -> Option<(usize, usize)> {
    let mut by_security: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for pair in pairs {
        if let Some(figure) = figure(pair) {
            by_security.entry(&pair.security).or_default().push(figure);
        }
    }
    let (mut securities, mut steps) = (0, 0);
    for figures in by_security.values().filter(|figures| figures.len() >= PAIRS_MIN) {
        securities += 1;
        // The interval in which the constant of this stretch must lie.
        let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
        for (index, (value, noise)) in figures.iter().enumerate() {
            (low, high) = (low.max(value - noise), high.min(value + noise));
            if low > high {
                steps += usize::from(index > 0);
                (low, high) = (value - noise, value + noise);
            }
        }
    }
    (securities > 0 && steps <= steps_max).then_some((securities, steps))
}
