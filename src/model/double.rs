//! Doubles as the shortest decimal that names them.

/// Digits and exponent, `1.25e-3`: the fewest digits that read back as the same double, of those the nearest to it, and of two
/// as near the one whose last digit is even. Python, JavaScript and PostgreSQL print the same digits.
pub fn shortest(value: f64) -> String {
    let short = format!("{value:e}");
    let digits = short.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    // Rust rounds up in the middle between two where the length is free, and to the even digit where it is given.
    let even = format!("{value:.*e}", digits.saturating_sub(1));
    if even.parse() == Ok(value) { even } else { short }
}

#[cfg(test)]
mod tests {
    use super::shortest;

    #[test]
    fn in_the_middle_between_two_the_last_digit_is_even() {
        for (value, expected) in [
            (1_880_200_582_142_653.0 + 0.25, "1.8802005821426532e15"),
            (1_880_200_582_142_653.0 + 0.75, "1.8802005821426538e15"),
            (-1_880_200_582_142_653.0 - 0.25, "-1.8802005821426532e15"),
            (0.1, "1e-1"),
            (5e-324, "5e-324"),
            (2f64.powi(-1022), "2.2250738585072014e-308"),
            (9_007_199_254_740_993.0, "9.007199254740992e15"),
            (0.0, "0e0"),
            (f64::MAX, "1.7976931348623157e308"),
        ] {
            assert_eq!(shortest(value), expected);
            assert_eq!(expected.parse(), Ok(value));
        }
    }
}
