//! Attribute values in HTTP headers: percent coding of what a header cannot hold (section 3.1.3.2 of the HTTP binding).

use std::borrow::Cow;
use std::fmt::Write;

/// The value as it stands in a header: space, double quote, percent and everything outside of U+0021 to U+007E as UTF-8
/// bytes in upper-case hexadecimal digits.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'%' => percent(&mut out, byte),
            0x21..=0x7e => out.push(char::from(byte)),
            _ => percent(&mut out, byte),
        }
    }
    out
}

fn percent(out: &mut String, byte: u8) {
    // Writing into a text cannot fail.
    let _ = write!(out, "%{byte:02X}");
}

/// The value that a header means: quotes around it and their escapes go, then one round of percent decoding. Bytes that are
/// UTF-8 already are taken as they are. `None`: what comes out is no UTF-8, or a quote is not closed.
pub fn decoded(value: &[u8]) -> Option<String> {
    let value = value.trim_ascii();
    let plain = match value.strip_prefix(b"\"") {
        Some(rest) => Cow::Owned(unquoted(rest)?),
        None => Cow::Borrowed(value),
    };
    let mut out = Vec::with_capacity(plain.len());
    let mut at = 0;
    while at < plain.len() {
        match (plain[at], hex(plain.get(at + 1)), hex(plain.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high * 16 + low);
                at += 3;
            }
            // A percent sign that begins nothing stands for itself.
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

/// What stands between the quotes; `rest` begins after the first.
fn unquoted(rest: &[u8]) -> Option<Vec<u8>> {
    let inner = rest.strip_suffix(b"\"")?;
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => out.push(*bytes.next()?),
            b'"' => return None,
            byte => out.push(*byte),
        }
    }
    Some(out)
}

fn hex(byte: Option<&u8>) -> Option<u8> {
    char::from(*byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
