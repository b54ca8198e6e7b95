//! Exact decimals: text to a scaled integer and back, without passing through binary floats.
//!
//! A decimal column of scale `s` holds `value x 10^s` as an `i128`. Sources print float noise
//! (`-0.21340000000000003`), so digits beyond the scale are rounded half to even.

/// Reads decimal text (`-12.5`, `1.2e3`) at `scale`, shifted by `shift` powers of ten first
/// (`shift = 2` reads lots of 100 as shares). `None` when the text is no number or does not fit 38 digits.
pub fn parse(text: &str, scale: i8, shift: i8) -> Option<i128> {
    let bytes = text.as_bytes();
    let (negative, mut rest) = match bytes.first()? {
        b'-' => (true, &bytes[1..]),
        b'+' => (false, &bytes[1..]),
        _ => (false, bytes),
    };
    let mut exponent = i32::from(scale) + i32::from(shift);
    if let Some(value) = parse_short(rest, exponent) {
        return Some(if negative { -value } else { value });
    }
    if let Some(at) = rest.iter().position(|byte| *byte == b'e' || *byte == b'E') {
        exponent = exponent.checked_add(std::str::from_utf8(&rest[at + 1..]).ok()?.parse::<i32>().ok()?)?;
        rest = &rest[..at];
    }
    let (digits, fraction_len) = collect_digits(rest)?;
    let value = scale_digits(&digits, exponent.checked_sub(fraction_len)?)?;
    Some(if negative { -value } else { value })
}

/// What most cells hold: a few digits, with or without a point, none of them beyond the scale. `None` leaves it to the
/// general way.
fn parse_short(text: &[u8], exponent: i32) -> Option<i128> {
    const LEN_MAX: usize = 19;
    let (mut value, mut after_point) = (0u64, None);
    for byte in text.get(..text.len().min(LEN_MAX))? {
        match byte {
            b'0'..=b'9' => {
                value = value * 10 + u64::from(byte - b'0');
                after_point = after_point.map(|places| places + 1);
            }
            b'.' if after_point.is_none() => after_point = Some(0),
            _ => return None,
        }
    }
    let digits = text.len() - usize::from(after_point.is_some());
    let fits = digits > 0 && text.len() <= LEN_MAX;
    let power = power_of_ten(exponent - after_point.unwrap_or(0)).filter(|_| fits)?;
    Some(i128::from(value) * i128::from(power))
}

/// Up to 60 significant digits of `12.5` as `[1, 2, 5]` and how many of them follow the point.
fn collect_digits(text: &[u8]) -> Option<(Digits, i32)> {
    let mut digits = Digits::default();
    let mut fraction_len = 0;
    let (mut seen_point, mut seen_digit) = (false, false);
    for byte in text {
        match byte {
            b'.' if !seen_point => seen_point = true,
            b'0'..=b'9' => {
                seen_digit = true;
                let kept = digits.push(byte - b'0');
                fraction_len += i32::from(seen_point) - i32::from(!kept);
            }
            _ => return None,
        }
    }
    seen_digit.then_some((digits, fraction_len))
}

/// A significand of at most 38 digits; what follows is only remembered as "not zero".
#[derive(Default)]
struct Digits {
    value: u128,
    len: u32,
    dropped_non_zero: bool,
}

impl Digits {
    const LEN_MAX: u32 = 38;

    /// Whether the digit was kept.
    fn push(&mut self, digit: u8) -> bool {
        if self.len == Digits::LEN_MAX {
            self.dropped_non_zero |= digit != 0;
            return false;
        }
        if self.value != 0 || digit != 0 {
            self.len += 1;
        }
        self.value = self.value * 10 + u128::from(digit);
        true
    }
}

/// The powers that 64 bits hold; most values need no more.
fn power_of_ten(exponent: i32) -> Option<u64> {
    const POWERS: [u64; 16] = {
        let mut powers = [1; 16];
        let mut index = 1;
        while index < powers.len() {
            powers[index] = powers[index - 1] * 10;
            index += 1;
        }
        powers
    };
    POWERS.get(usize::try_from(exponent).ok()?).copied()
}

fn scale_digits(digits: &Digits, exponent: i32) -> Option<i128> {
    if digits.value == 0 {
        return Some(0);
    }
    if let (Ok(value), Some(power)) = (u64::try_from(digits.value), power_of_ten(exponent)) {
        return Some(i128::from(value) * i128::from(power));
    }
    if exponent >= 0 {
        let value = 10u128.checked_pow(exponent as u32).and_then(|power| digits.value.checked_mul(power))?;
        return i128::try_from(value).ok();
    }
    let Some(power) = 10u128.checked_pow(exponent.unsigned_abs()) else { return Some(0) };
    let (quotient, remainder) = (digits.value / power, digits.value % power);
    let half = power / 2;
    let above_half = remainder > half || (remainder == half && digits.dropped_non_zero);
    let rounds_up = above_half || (remainder == half && quotient % 2 == 1);
    i128::try_from(quotient + u128::from(rounds_up)).ok()
}

/// Writes `value x 10^-scale`, shifted back by `shift` powers of ten, without trailing zeros.
/// `keep_point` writes whole numbers as `12.0`, the way sources print float columns.
pub fn write(out: &mut Vec<u8>, value: i128, scale: i8, shift: i8, keep_point: bool) {
    if value < 0 {
        out.push(b'-');
    }
    let mut magnitude = value.unsigned_abs();
    let mut places = i32::from(scale) + i32::from(shift);
    while places < 0 {
        magnitude = magnitude.saturating_mul(10);
        places += 1;
    }
    if let (Ok(small), 0..=30) = (u64::try_from(magnitude), places) {
        return write_small(out, small, places as u32, keep_point);
    }
    while places > 0 && magnitude.is_multiple_of(10) {
        magnitude /= 10;
        places -= 1;
    }
    let power = 10u128.pow(places as u32);
    write_u128(out, magnitude / power);
    if places > 0 {
        out.push(b'.');
        let mut fraction = magnitude % power;
        let mut unit = power / 10;
        while unit > 0 {
            out.push(b'0' + (fraction / unit) as u8);
            fraction %= unit;
            unit /= 10;
        }
    } else if keep_point {
        out.extend_from_slice(b".0");
    }
}

/// As `write` for what fits 64 bits, digit by digit from the end.
fn write_small(out: &mut Vec<u8>, mut value: u64, mut places: u32, keep_point: bool) {
    while places > 0 && value.is_multiple_of(10) {
        value /= 10;
        places -= 1;
    }
    let mut buffer = [0u8; 56];
    let mut at = buffer.len();
    let mut push = |byte| {
        at -= 1;
        buffer[at] = byte;
    };
    if places == 0 && keep_point {
        push(b'0');
        push(b'.');
    }
    for _ in 0..places {
        push(b'0' + (value % 10) as u8);
        value /= 10;
    }
    if places > 0 {
        push(b'.');
    }
    loop {
        push(b'0' + (value % 10) as u8);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&buffer[at..]);
}

fn write_u128(out: &mut Vec<u8>, mut value: u128) {
    let mut buffer = [0u8; 39];
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&buffer[at..]);
}

/// `value x factor / divisor`, rounded half to even. `None` when the divisor is 0 or 38 digits do not suffice.
pub fn multiply_divide(value: i128, factor: i128, divisor: i128) -> Option<i128> {
    let product = value.checked_mul(factor)?;
    let (quotient, rest) = (product.checked_div(divisor)?, product.checked_rem(divisor)?);
    let away = if (product < 0) == (divisor < 0) { 1 } else { -1 };
    let (twice, whole) = (rest.unsigned_abs().checked_mul(2)?, divisor.unsigned_abs());
    let rounds = twice > whole || (twice == whole && quotient % 2 != 0);
    Some(if rounds { quotient + away } else { quotient })
}

/// `write` as a string, for people: `12.5`, `12`.
pub fn to_text(value: i128, scale: i8) -> String {
    let mut out = Vec::with_capacity(24);
    write(&mut out, value, scale, 0, false);
    String::from_utf8(out).unwrap_or_default()
}

/// The nearest double. Exact to the scale while `|value| <= 2^53`.
pub fn to_f64(value: i128, scale: i8) -> f64 {
    value as f64 / 10f64.powi(i32::from(scale))
}

/// The decimal that a double stands for at `scale`: what `to_f64` of a value up to 2^53 gives back.
pub fn from_f64(value: f64, scale: i8) -> i128 {
    (value * 10f64.powi(i32::from(scale))).round() as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_scaled_integers_and_noise_is_rounded() {
        for (text, scale, shift, expected) in [
            ("12.5", 4, 0, Some(125_000)),
            ("-0.21340000000000003", 4, 0, Some(-2134)),
            ("525152.77", 0, 2, Some(52_515_277)),
            ("460697.377", 2, 3, Some(46_069_737_700)),
            ("1.5e3", 2, 0, Some(150_000)),
            ("1E-9", 2, 0, Some(0)),
            ("0.125", 2, 0, Some(12)),
            ("0.135", 2, 0, Some(14)),
            (".5", 1, 0, Some(5)),
            ("5.", 1, 0, Some(50)),
            (".", 1, 0, None),
            ("9999999999999999999", 4, 0, Some(99_999_999_999_999_999_990_000)),
            ("99999999999999999999", 4, 0, Some(999_999_999_999_999_999_990_000)),
            ("-1234567.1234", 4, 3, Some(-12_345_671_234_000)),
            ("000000000000000000000000000000000000000000.1", 1, 0, Some(1)),
            ("12345678901234567890123456789012345678", 0, 0, Some(12_345_678_901_234_567_890_123_456_789_012_345_678)),
            (
                "-9.9999999999999999999999999999999999999",
                37,
                0,
                Some(-99_999_999_999_999_999_999_999_999_999_999_999_999),
            ),
            ("", 2, 0, None),
            ("-", 2, 0, None),
            ("nan", 2, 0, None),
            ("1.2.3", 2, 0, None),
            ("1e999", 2, 0, None),
            ("1e99999999999", 2, 0, None),
        ] {
            assert_eq!(parse(text, scale, shift), expected, "{text}");
        }
    }

    #[test]
    fn scaled_integers_are_written_back_exactly() {
        for (value, scale, shift, keep_point, expected) in [
            (125_000, 4, 0, false, "12.5"),
            (52_515_277, 0, 2, true, "525152.77"),
            (120_000, 4, 0, true, "12.0"),
            (-5, 2, 0, true, "-0.05"),
            (0, 2, 3, true, "0.0"),
            (7, 0, -2, false, "700"),
            (i128::from(u64::MAX), 30, 0, true, "0.000000000018446744073709551615"),
            (i128::from(u64::MAX) + 1, 2, 0, true, "184467440737095516.16"),
            (i128::from(u64::MAX) + 5, 1, 0, true, "1844674407370955162.0"),
        ] {
            let mut out = Vec::new();
            write(&mut out, value, scale, shift, keep_point);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn quotients_are_rounded_half_to_even() {
        for (value, factor, divisor, expected) in [
            (10, 1, 4, Some(2)),
            (14, 1, 4, Some(4)),
            (-10, 1, 4, Some(-2)),
            (-14, 1, 4, Some(-4)),
            (7, 3, 2, Some(10)),
            (100_001, 1_000_000, 3_000_000, Some(33_334)),
            (-11, 1, 4, Some(-3)),
            (5, 0, 7, Some(0)),
            (5, 1, 0, None),
            (i128::MAX, 2, 2, None),
        ] {
            assert_eq!(multiply_divide(value, factor, divisor), expected, "{value} x {factor} / {divisor}");
        }
    }
}
