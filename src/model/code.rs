//! Security codes: every style that sources write, read into the canonical one (`000001.SZ`).

use std::collections::BTreeSet;
use std::fmt;

/// Suffixes and prefixes that name an exchange, with the canonical suffix.
const EXCHANGES: [(&str, &str); 16] = [
    ("SZ", "SZ"),
    ("SH", "SH"),
    ("BJ", "BJ"),
    ("XSHE", "SZ"),
    ("XSHG", "SH"),
    ("XBSE", "BJ"),
    ("XBEI", "BJ"),
    ("SHZ", "SZ"),
    ("SHH", "SH"),
    ("SS", "SH"),
    ("SZSE", "SZ"),
    ("SSE", "SH"),
    ("BSE", "BJ"),
    ("SHSE", "SH"),
    ("BJSE", "BJ"),
    ("NEEQ", "BJ"),
];

/// Exchanges whose securities somebody has not, by the suffix of canonical codes (`BJ`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchanges(BTreeSet<String>);

impl Exchanges {
    pub fn new(suffixes: &[&str]) -> Exchanges {
        Exchanges(suffixes.iter().map(|suffix| suffix.to_string()).collect())
    }

    /// Reads what `Display` writes: suffixes with commas.
    pub fn parse(text: &str) -> Exchanges {
        Exchanges(text.split(',').filter(|suffix| !suffix.is_empty()).map(str::to_string).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the security with this canonical code is listed on one of them.
    pub fn contains(&self, code: &str) -> bool {
        code.rsplit_once('.').is_some_and(|(_, suffix)| self.0.contains(suffix))
    }

    pub fn is_among(&self, others: &Exchanges) -> bool {
        self.0.is_subset(&others.0)
    }

    pub fn common(&self, others: &Exchanges) -> Exchanges {
        Exchanges(self.0.intersection(&others.0).cloned().collect())
    }

    pub fn suffixes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Exchanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.suffixes().collect::<Vec<_>>().join(","))
    }
}

/// Two-digit and three-digit beginnings of bare stock codes; see `bare`.
const BARE_PREFIXES: [(&str, &str); 13] = [
    ("60", "SH"),
    ("68", "SH"),
    ("900", "SH"),
    ("00", "SZ"),
    ("30", "SZ"),
    ("200", "SZ"),
    ("201", "SZ"),
    ("43", "BJ"),
    ("83", "BJ"),
    ("87", "BJ"),
    ("88", "BJ"),
    ("92", "BJ"),
    ("82", "BJ"),
];

/// The canonical code that `text` stands for: `000001.SZ`, `sz.000001`, `SZ000001`, `000001.XSHE`, `600519.SHH`,
/// `000001`, `1` and `1.0` (leading zeros lost to a spreadsheet) are understood. Codes of other families
/// (`885001.TI`) stay as they are, in upper case. `None` when the text is no code.
pub fn canonical(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() || text.len() > 16 || !text.is_ascii() {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return bare(text);
    }
    let upper = text.to_ascii_uppercase();
    match upper.split_once(['.', '_']) {
        Some((digits, "0")) if is_digits(digits) => bare(digits),
        Some((code, exchange)) if is_digits(code) && is_letters(exchange) => with_suffix(code, exchange),
        Some((exchange, code)) if is_letters(exchange) && is_digits(code) => joined(code, exchange_of(exchange)?),
        Some((code, family)) if is_code_text(code) && is_letters(family) => Some(format!("{code}.{family}")),
        Some(_) => None,
        None => glued(&upper),
    }
}

/// A bare stock code with its exchange: `000001` is the bank, never the Shanghai index. Lost leading zeros are put
/// back. `None` when its first digits belong to no stock exchange.
pub fn bare(digits: &str) -> Option<String> {
    if digits.is_empty() || digits.len() > 6 || !is_digits(digits) {
        return None;
    }
    let code = format!("{digits:0>6}");
    let (_, exchange) = BARE_PREFIXES.iter().find(|(prefix, _)| code.starts_with(prefix))?;
    Some(format!("{code}.{exchange}"))
}

/// The one security that a file name speaks of: `SH_601006.txt`, `600000_2024.csv`. `None` when it names none or several.
pub fn in_file_name(name: &str) -> Option<String> {
    let stem = name.to_ascii_uppercase();
    let words: Vec<&str> = stem.split(|letter: char| !letter.is_ascii_alphanumeric()).collect();
    let mut found: Vec<String> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Some(code) = code_of_word(&words, at, word) else { continue };
        if !found.contains(&code) {
            found.push(code);
        }
    }
    // A number that is no stock of any exchange still makes the name ambiguous (`600000_named_987654`).
    let numbers = words.iter().filter(|word| word.len() == 6 && is_digits(word)).count();
    (found.len() == 1 && numbers <= 1).then(|| found.remove(0))
}

fn code_of_word(words: &[&str], at: usize, word: &str) -> Option<String> {
    if word.len() != 6 || !is_digits(word) {
        return if word.len() == 8 && !is_digits(word) { glued(word) } else { None };
    }
    let after = words.get(at + 1).and_then(|next| exchange_of(next));
    let before = at.checked_sub(1).and_then(|index| words.get(index)).and_then(|previous| exchange_of(previous));
    match after.or(before) {
        Some(exchange) => joined(word, exchange),
        None => bare(word),
    }
}

/// `SZ000001` and `000001SZ`.
fn glued(upper: &str) -> Option<String> {
    let (head, tail) = (upper.get(..2)?, upper.get(2..)?);
    if is_digits(tail) {
        return joined(tail, exchange_of(head)?);
    }
    let (code, exchange) = upper.split_at_checked(6)?;
    joined(code, exchange_of(exchange)?)
}

fn with_suffix(code: &str, exchange: &str) -> Option<String> {
    match exchange_of(exchange) {
        Some(canonical) => joined(code, canonical),
        None => Some(format!("{code}.{exchange}")),
    }
}

fn joined(digits: &str, exchange: &str) -> Option<String> {
    (is_digits(digits) && digits.len() <= 6).then(|| format!("{digits:0>6}.{exchange}"))
}

fn exchange_of(name: &str) -> Option<&'static str> {
    EXCHANGES.iter().find(|(style, _)| *style == name).map(|(_, canonical)| *canonical)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_letters(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn is_code_text(text: &str) -> bool {
    (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_style_of_code_becomes_the_canonical_one() {
        for (text, expected) in [
            ("000001.SZ", Some("000001.SZ")),
            ("sz.000001", Some("000001.SZ")),
            ("SZ000001", Some("000001.SZ")),
            ("sh600000", Some("600000.SH")),
            ("000001.XSHE", Some("000001.SZ")),
            ("600000.XSHG", Some("600000.SH")),
            ("600519.SHH", Some("600519.SH")),
            ("600519.SS", Some("600519.SH")),
            ("600519SH", Some("600519.SH")),
            ("000001.SH", Some("000001.SH")),
            ("SH_601006", Some("601006.SH")),
            (" 000001.sz ", Some("000001.SZ")),
            ("000001", Some("000001.SZ")),
            ("1", Some("000001.SZ")),
            ("1.0", Some("000001.SZ")),
            ("600000", Some("600000.SH")),
            ("688001", Some("688001.SH")),
            ("900955", Some("900955.SH")),
            ("200002", Some("200002.SZ")),
            ("201872", Some("201872.SZ")),
            ("300001", Some("300001.SZ")),
            ("430047", Some("430047.BJ")),
            ("830799", Some("830799.BJ")),
            ("920001", Some("920001.BJ")),
            ("885001.TI", Some("885001.TI")),
            ("H30533.CSI", Some("H30533.CSI")),
            ("987654", None),
            ("1234567", None),
            ("", None),
            ("平安银行", None),
            ("SZ", None),
            ("ABCDEFGH", None),
            ("12.5", None),
            ("000001.S-Z", None),
        ] {
            assert_eq!(canonical(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_file_name_gives_a_code_only_when_it_names_one_security() {
        for (name, expected) in [
            ("SH_601006.txt.gz", Some("601006.SH")),
            ("600000_2024.csv", Some("600000.SH")),
            ("akshare_raw_full_600000.SH.csv.gz", Some("600000.SH")),
            ("hikyuu_h5_SZ000002.csv.gz", Some("000002.SZ")),
            ("000001.SH.csv", Some("000001.SH")),
            ("stockstats_002032.csv.gz", Some("002032.SZ")),
            ("tushare_raw_603186_2019_2020.csv.gz", Some("603186.SH")),
            ("yahoo_like_600000_named_987654.csv.gz", None),
            ("600000_600036.csv", None),
            ("20190102.csv", None),
            ("daily.csv", None),
        ] {
            assert_eq!(in_file_name(name).as_deref(), expected, "{name}");
        }
    }
}
