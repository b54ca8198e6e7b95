//! Bytes of any of the encodings in use become UTF-8, as a stream.

use std::io::{BufRead, Read, Result};

use encoding_rs::{Decoder, Encoding, GB18030, UTF_8};

/// How the text of a file is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextEncoding {
    /// A byte-order mark decides; without one UTF-8 when the text is valid, else GB18030 (which includes GBK and GB2312).
    #[default]
    Auto,
    Fixed(&'static Encoding),
}

impl TextEncoding {
    /// Understands `auto` and every name of the WHATWG list (`utf-8`, `gbk`, `gb18030`, `utf-16le`, `big5`).
    pub fn from_name(name: &str) -> Option<TextEncoding> {
        if name.eq_ignore_ascii_case("auto") {
            return Some(TextEncoding::Auto);
        }
        Encoding::for_label(name.as_bytes()).map(TextEncoding::Fixed)
    }
}

/// Text is judged by this many bytes, beginning with the first one that is not ASCII.
const WINDOW_BYTES: usize = 64 * 1024;

/// A reader whose bytes are UTF-8. What cannot be decoded becomes U+FFFD, which the cell reader refuses.
pub struct Utf8Reader<R> {
    inner: R,
    raw: Vec<u8>,
    raw_len: usize,
    text: Vec<u8>,
    at: usize,
    len: usize,
    decoder: Option<Decoder>,
    begun: bool,
    ended: bool,
}

impl<R: Read> Utf8Reader<R> {
    pub fn new(inner: R, encoding: TextEncoding) -> Utf8Reader<R> {
        let decoder = match encoding {
            TextEncoding::Auto => None,
            TextEncoding::Fixed(encoding) => Some(encoding.new_decoder_with_bom_removal()),
        };
        let raw = vec![0; WINDOW_BYTES];
        // GB18030 and UTF-16 grow by a half at most; U+FFFD for each bad byte grows threefold.
        let text = vec![0; 3 * WINDOW_BYTES + 16];
        Utf8Reader { inner, raw, raw_len: 0, text, at: 0, len: 0, decoder, begun: false, ended: false }
    }

    /// The encoding that was found; UTF-8 while everything was ASCII.
    pub fn encoding(&self) -> &'static str {
        self.decoder.as_ref().map_or(UTF_8, Decoder::encoding).name()
    }

    fn refill(&mut self) -> Result<()> {
        while self.raw_len < self.raw.len() && !self.ended {
            match self.inner.read(&mut self.raw[self.raw_len..]) {
                Ok(0) => self.ended = true,
                Ok(count) => self.raw_len += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let raw = &self.raw[..self.raw_len];
        if self.decoder.is_none() {
            let ascii = raw.iter().take_while(|byte| byte.is_ascii()).count();
            let marked = if self.begun { None } else { Encoding::for_bom(raw) };
            self.begun = true;
            match marked {
                Some((encoding, _)) => self.decoder = Some(encoding.new_decoder_with_bom_removal()),
                None if ascii > 0 || raw.is_empty() => return self.pass_ascii(ascii),
                None => self.decoder = Some(judge(raw, self.ended).new_decoder_without_bom_handling()),
            }
        }
        self.decode();
        Ok(())
    }

    /// ASCII is the same in every encoding: hand it on and judge from the first other byte.
    fn pass_ascii(&mut self, count: usize) -> Result<()> {
        self.text[..count].copy_from_slice(&self.raw[..count]);
        self.raw.copy_within(count..self.raw_len, 0);
        self.raw_len -= count;
        (self.at, self.len) = (0, count);
        Ok(())
    }

    fn decode(&mut self) {
        let Some(decoder) = &mut self.decoder else { return };
        let last = self.ended;
        let (_, read, written, _) = decoder.decode_to_utf8(&self.raw[..self.raw_len], &mut self.text, last);
        self.raw.copy_within(read..self.raw_len, 0);
        self.raw_len -= read;
        (self.at, self.len) = (0, written);
    }
}

fn judge(raw: &[u8], whole: bool) -> &'static Encoding {
    match std::str::from_utf8(raw) {
        Ok(_) => UTF_8,
        Err(error) if error.error_len().is_none() && !whole => UTF_8,
        Err(_) => GB18030,
    }
}

impl<R: Read> BufRead for Utf8Reader<R> {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        while self.at == self.len && !(self.ended && self.raw_len == 0) {
            self.refill()?;
        }
        Ok(&self.text[self.at..self.len])
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.len);
    }
}

impl<R: Read> Read for Utf8Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(out.len());
        out[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8], encoding: TextEncoding) -> (String, &'static str) {
        let mut reader = Utf8Reader::new(bytes, encoding);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        (text, reader.encoding())
    }

    #[test]
    fn the_encoding_is_found_wherever_the_first_foreign_byte_stands() {
        for padding in [0, 1, WINDOW_BYTES - 1, WINDOW_BYTES, WINDOW_BYTES + 1, 3 * WINDOW_BYTES] {
            let text = format!("{}日期,成交量 万科Ａ\n", "x".repeat(padding));
            let (gbk, _, _) = GB18030.encode(&text);
            assert_eq!(decoded(text.as_bytes(), TextEncoding::Auto), (text.clone(), "UTF-8"), "{padding}");
            assert_eq!(decoded(&gbk, TextEncoding::Auto), (text.clone(), "gb18030"), "{padding}");
        }
    }

    #[test]
    fn marks_are_removed_and_decide() {
        for (bytes, encoding, expected) in [
            (&b"\xef\xbb\xbfdate"[..], TextEncoding::Auto, ("date", "UTF-8")),
            (&b"\xef\xbb\xbfdate"[..], TextEncoding::Fixed(UTF_8), ("date", "UTF-8")),
            (&b"\xff\xfed\0a\0"[..], TextEncoding::Auto, ("da", "UTF-16LE")),
            (&b"date"[..], TextEncoding::Auto, ("date", "UTF-8")),
            (&b""[..], TextEncoding::Auto, ("", "UTF-8")),
            (&b"\xc8\xd5"[..], TextEncoding::from_name("gbk").unwrap(), ("日", "GBK")),
            (&b"a\xe6\x97"[..], TextEncoding::Fixed(UTF_8), ("a\u{fffd}", "UTF-8")),
        ] {
            let (text, name) = decoded(bytes, encoding);
            assert_eq!((text.as_str(), name), expected);
        }
        assert_eq!(TextEncoding::from_name("klingon"), None);
    }
}
