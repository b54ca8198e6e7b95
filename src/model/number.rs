//! Numbers as they are written: exact, of any size, compared without binary floats.

use std::cmp::Ordering;

/// A decimal number: `0.digits x 10^point`, digits without zeros at either end; zero has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    negative: bool,
    digits: String,
    point: i64,
}

impl Number {
    /// Reads a number in JSON's grammar (`-12.50`, `1e3`); leading zeros are fine. `None` for anything else, and for an
    /// exponent of more than 31 bits.
    pub fn parse(text: &str) -> Option<Number> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let exponent: i64 = exponent.parse::<i32>().ok()?.into();
        let all = format!("{whole}{fraction}");
        let significant = all.trim_start_matches('0');
        let zeros = (all.len() - significant.len()) as i64;
        let digits = significant.trim_end_matches('0').to_string();
        match digits.is_empty() {
            true => Some(Number { negative: false, digits, point: 0 }),
            false => Some(Number { negative, digits, point: whole.len() as i64 - zeros + exponent }),
        }
    }

    pub fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// Without zeros at either end; empty for zero.
    pub fn digits(&self) -> &str {
        &self.digits
    }

    /// How many digits stand before the decimal point; below zero: how many zeros follow it.
    pub fn point(&self) -> i64 {
        self.point
    }

    fn sign(&self) -> i8 {
        match (self.is_zero(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Number) -> Ordering {
        let magnitude = || self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits));
        self.sign().cmp(&other.sign()).then_with(|| if self.negative { magnitude().reverse() } else { magnitude() })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_their_value_to_the_last_digit() {
        let ordered = [
            "-1e300",
            "-100000000000000000000.01",
            "-100000000000000000000",
            "-2",
            "-1.5",
            "-1",
            "-0.05",
            "0",
            "1e-400",
            "0.05",
            "0.1",
            "0.15",
            "1",
            "1.0000000000000000000000001",
            "2",
            "10",
            "99999999999999999999.98",
            "99999999999999999999.99",
            "1e20",
            "1e2147483647",
        ];
        for (index, text) in ordered.iter().enumerate() {
            for (other_index, other) in ordered.iter().enumerate() {
                let found = Number::parse(text).unwrap().cmp(&Number::parse(other).unwrap());
                assert_eq!(found, index.cmp(&other_index), "{text} {other}");
            }
        }
        for (one, other) in [("1.0", "1"), ("1e2", "100"), ("-0.0", "0"), ("0.10", "1e-1"), ("007", "7"), ("0e9", "0")]
        {
            assert_eq!(Number::parse(one), Number::parse(other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in
            ["", "-", ".5", "5.", "+1", "1e", "1e1.5", "e5", "1 ", "NaN", "0x1", "1_000", "1e99999999999", "--1"]
        {
            assert_eq!(Number::parse(text), None, "{text:?}");
        }
    }
}
