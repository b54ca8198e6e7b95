//! Frames: bytes -> header and body, one message at a time, bounded, and back.
//!
//! A question is `VERSION¦TYPE¦LENGTH` and the body, `¦`, a checksum and a line end; `LENGTH` counts the characters of the
//! body. An answer ends with a marker. Compressed answers count bytes, and the rule of their checksum is not known.
//! Checked against recorded frames of the real service.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::message::is_compressed;
use crate::model::{Error, Result};

/// Between the parts of a header and of a body.
pub const SEPARATOR: char = '\u{1}';
const SEPARATOR_BYTE: u8 = 1;
/// What every answer ends with, refusals too: the official client waits for nothing else.
pub const MARKER: &[u8] = b"<![CDATA[]]>\n";
const HEADER_LEN: usize = 21;
/// The version that the client claims: that of the current official package.
pub const CLIENT_VERSION: &str = "00.9.40";
/// The version that the real service writes.
pub const SERVER_VERSION: &str = "00.9.00";
/// Separator, checksum, line end and marker behind a compressed body, with room to spare.
const TAIL_MAX: usize = 64;

/// A message without its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub version: String,
    pub kind: String,
    pub body: String,
}

/// Bounds on what is read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest frame, as it is sent.
    pub bytes_max: usize,
    /// The largest body, after decompression.
    pub body_bytes_max: usize,
    /// The most rows of one answer.
    pub rows_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes_max: 64 << 20, body_bytes_max: 64 << 20, rows_max: 20_000 }
    }
}

/// The first 21 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Header {
    version: String,
    kind: String,
    length: usize,
}

impl Header {
    /// `None` when these bytes begin no message.
    fn parse(bytes: &[u8]) -> Option<Header> {
        let text = std::str::from_utf8(bytes.get(..HEADER_LEN)?).ok()?;
        let mut parts = text.split(SEPARATOR);
        let (version, kind, length) = (parts.next()?, parts.next()?, parts.next()?);
        let shaped = parts.next().is_none() && version.len() == 7 && kind.len() == 2 && length.len() == 10;
        let plain = version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && length.bytes().all(|byte| byte.is_ascii_digit());
        (shaped && plain)
            .then(|| Some(Header { version: version.into(), kind: kind.into(), length: length.parse().ok()? }))?
    }
}

/// Builds the frame of a question.
pub fn encode_request(version: &str, kind: &str, body: &str) -> Vec<u8> {
    let mut out = plain(version, kind, body);
    out.push(b'\n');
    out
}

/// Builds the frame of an answer; its type says whether the body is compressed.
pub fn encode_reply(kind: &str, body: &str) -> Vec<u8> {
    if !is_compressed(kind) {
        let mut out = plain(SERVER_VERSION, kind, body);
        out.extend_from_slice(MARKER);
        return out;
    }
    let packed = pack(body.as_bytes());
    let mut out = header(SERVER_VERSION, kind, packed.len()).into_bytes();
    out.extend_from_slice(&packed);
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(format!("{SEPARATOR}{checksum}\n").as_bytes());
    out.extend_from_slice(MARKER);
    out
}

fn header(version: &str, kind: &str, length: usize) -> String {
    format!("{version}{SEPARATOR}{kind}{SEPARATOR}{length:010}")
}

fn plain(version: &str, kind: &str, body: &str) -> Vec<u8> {
    let text = format!("{}{body}", header(version, kind, body.chars().count()));
    let checksum = crc32fast::hash(text.as_bytes());
    format!("{text}{SEPARATOR}{checksum}").into_bytes()
}

/// Level 1, as the real service packs.
fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    // Writing into memory does not fail.
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.unwrap_or_default()
}

/// Reads one answer as it arrives.
#[derive(Debug)]
pub struct ReplyDecoder {
    limits: Limits,
    buffer: Vec<u8>,
    header: Option<Header>,
    /// Bytes in which no marker begins.
    searched: usize,
}

fn broken(what: &str) -> Error {
    Error::transient(format!("the answer {what}"))
        .hint("the connection is given up; the question is asked again on a new one")
}

fn too_large(what: &str, bytes: usize) -> Error {
    Error::invalid(format!("the answer {what} more than {bytes} bytes"))
        .hint("raise reply_mb_max of the source baostock, if the answer is meant to be that large")
}

impl ReplyDecoder {
    pub fn new(limits: Limits) -> ReplyDecoder {
        ReplyDecoder { limits, buffer: Vec::new(), header: None, searched: HEADER_LEN }
    }

    /// Bytes read so far.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes what arrived; the frame once it is whole. `Transient` when this is no answer of BaoStock, `Invalid` when it
    /// is larger than allowed. After an error or a frame the decoder is used up.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Frame>> {
        if self.buffer.len() + bytes.len() > self.limits.bytes_max.saturating_add(HEADER_LEN + TAIL_MAX) {
            return Err(too_large("has", self.limits.bytes_max));
        }
        self.buffer.extend_from_slice(bytes);
        if self.header.is_none() {
            if self.buffer.len() < HEADER_LEN {
                return Ok(None);
            }
            let header =
                Header::parse(&self.buffer).ok_or_else(|| broken("does not begin as answers of BaoStock do"))?;
            if header.length > self.limits.bytes_max {
                return Err(too_large("announces", self.limits.bytes_max));
            }
            self.header = Some(header);
        }
        let Some(header) = &self.header else { return Ok(None) };
        let from = match is_compressed(&header.kind) {
            true => HEADER_LEN + header.length,
            false => HEADER_LEN,
        };
        let start = self.searched.max(from);
        let Some(rest) = self.buffer.get(start..) else { return Ok(None) };
        let Some(at) = rest.windows(MARKER.len()).position(|part| part == MARKER) else {
            if is_compressed(&header.kind) && self.buffer.len() > from + TAIL_MAX {
                return Err(broken("does not end where it said"));
            }
            self.searched = self.buffer.len().saturating_sub(MARKER.len() - 1).max(HEADER_LEN);
            return Ok(None);
        };
        let end = start + at;
        if end + MARKER.len() != self.buffer.len() {
            return Err(broken("is followed by something that was not asked for"));
        }
        let body = match is_compressed(&header.kind) {
            true => unpack(&self.buffer[HEADER_LEN..from], self.limits.body_bytes_max)?,
            false => checked(&self.buffer[..end], header.length)?,
        };
        Ok(Some(Frame { version: header.version.clone(), kind: header.kind.clone(), body }))
    }

    /// What is wrong when nothing more will come.
    pub fn cut_off(&self) -> Error {
        match self.buffer.len() {
            0 => broken("never came: the connection was closed"),
            _ => broken("was cut off: the connection was closed"),
        }
    }
}

/// The body between header and checksum, with both found right.
fn checked(message: &[u8], length: usize) -> Result<String> {
    let at = message.iter().rposition(|byte| *byte == SEPARATOR_BYTE).filter(|at| *at >= HEADER_LEN);
    let (framed, checksum) = message.split_at(at.ok_or_else(|| broken("has no checksum"))?);
    let said: Option<u32> = std::str::from_utf8(&checksum[1..]).ok().and_then(|text| text.trim().parse().ok());
    let body = std::str::from_utf8(&framed[HEADER_LEN..]).map_err(|_| broken("is no UTF-8 text"))?;
    if said != Some(crc32fast::hash(framed)) {
        return Err(broken("has a wrong checksum"));
    }
    if body.chars().count() != length {
        return Err(broken("is not as long as it said"));
    }
    Ok(body.to_string())
}

/// Unpacks at most `bytes_max` bytes.
fn unpack(packed: &[u8], bytes_max: usize) -> Result<String> {
    let mut out = Vec::with_capacity(packed.len().saturating_mul(4).min(bytes_max));
    let mut decoder = ZlibDecoder::new(packed);
    let limit = (bytes_max as u64).saturating_add(1);
    decoder.by_ref().take(limit).read_to_end(&mut out).map_err(|_| broken("cannot be decompressed"))?;
    if out.len() > bytes_max {
        return Err(too_large("decompresses to", bytes_max));
    }
    if decoder.total_in() != packed.len() as u64 {
        return Err(broken("has bytes behind its compressed part"));
    }
    String::from_utf8(out).map_err(|_| broken("is no UTF-8 text"))
}

/// Reads questions as they arrive.
#[derive(Debug)]
pub struct RequestDecoder {
    bytes_max: usize,
    buffer: Vec<u8>,
    searched: usize,
}

impl RequestDecoder {
    pub fn new(bytes_max: usize) -> RequestDecoder {
        RequestDecoder { bytes_max, buffer: Vec::new(), searched: 0 }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole question; `Invalid` when the bytes are none, or too many. After an error the connection is of no
    /// more use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return match self.buffer.len() > self.bytes_max {
                true => Err(Error::invalid(format!("the question has more than {} bytes", self.bytes_max))),
                false => Ok(None),
            };
        };
        let line: Vec<u8> = self.buffer.drain(..=self.searched + at).collect();
        self.searched = 0;
        read_request(&line).map(Some).ok_or_else(|| Error::invalid("this is no question in BaoStock's form"))
    }
}

fn read_request(line: &[u8]) -> Option<Frame> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let header = Header::parse(line)?;
    let at = line.iter().rposition(|byte| *byte == SEPARATOR_BYTE).filter(|at| *at >= HEADER_LEN)?;
    let checksum: u32 = std::str::from_utf8(&line[at + 1..]).ok()?.parse().ok()?;
    let body = std::str::from_utf8(&line[HEADER_LEN..at]).ok()?;
    let right = checksum == crc32fast::hash(&line[..at]) && body.chars().count() == header.length;
    right.then(|| Frame { version: header.version, kind: header.kind, body: body.to_string() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::ErrorKind;

    fn small() -> Limits {
        Limits { bytes_max: 4096, body_bytes_max: 8192, rows_max: 100 }
    }

    fn read(bytes: &[u8]) -> Result<Option<Frame>> {
        ReplyDecoder::new(small()).push(bytes)
    }

    #[test]
    fn what_is_written_is_read_back() {
        for kind in ["34", "96", "04"] {
            for body in ["", "0\u{1}success", "名称 万 科Ａ\u{1}x"] {
                let frame = read(&encode_reply(kind, body)).unwrap().unwrap();
                assert_eq!(
                    (frame.kind.as_str(), frame.body.as_str(), frame.version.as_str()),
                    (kind, body, SERVER_VERSION)
                );
                let mut decoder = RequestDecoder::new(4096);
                decoder.push(&encode_request(CLIENT_VERSION, kind, body));
                decoder.push(&encode_request(CLIENT_VERSION, kind, "next"));
                assert_eq!(decoder.next_frame().unwrap().unwrap().body, body);
                assert_eq!(decoder.next_frame().unwrap().unwrap().body, "next");
                assert_eq!(decoder.next_frame().unwrap(), None);
            }
        }
    }

    #[test]
    fn a_length_counts_characters_and_a_compressed_one_bytes() {
        let text = String::from_utf8(encode_request("00.9.10", "45", "万科")).unwrap();
        assert!(text.starts_with("00.9.10\u{1}45\u{1}0000000002万科\u{1}"), "{text}");
        let packed = encode_reply("96", "万科");
        let length: usize = std::str::from_utf8(&packed[11..21]).unwrap().parse().unwrap();
        assert_eq!(&packed[21..23], b"\x78\x01");
        assert_eq!(packed[21 + length], SEPARATOR_BYTE);
        assert!(packed.ends_with(b"\n<![CDATA[]]>\n"));
    }

    #[test]
    fn bad_answers_are_refused_by_name() {
        let good = encode_reply("34", "0\u{1}success\u{1}名");
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let packed = encode_reply("96", "0\u{1}success");
        let mut spoiled = packed.clone();
        spoiled[25] ^= 0x55;
        let gbk = {
            let mut bytes = header(SERVER_VERSION, "34", 2).into_bytes();
            bytes.extend_from_slice(b"\xc6\xd6\xb7\xa2");
            let checksum = crc32fast::hash(&bytes);
            bytes.extend_from_slice(format!("\u{1}{checksum}").as_bytes());
            bytes.extend_from_slice(MARKER);
            bytes
        };
        for (bytes, expected) in [
            (b"<html><body>Bad Gateway</body></html>".to_vec(), "does not begin as answers of BaoStock do"),
            (with(22, b'7'), "has a wrong checksum"),
            (with(20, b'2'), "has a wrong checksum"),
            ([good.clone(), good.clone()].concat(), "is followed by something"),
            (gbk, "is no UTF-8 text"),
            (spoiled, "cannot be decompressed"),
            ([&header("00.9.00", "96", 3).into_bytes()[..], &[b'x'; 100]].concat(), "does not end where it said"),
            ([&header("00.9.00", "34", 2).into_bytes()[..], b"ab", MARKER].concat(), "has no checksum"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
            assert!(error.message().contains(expected), "{expected}: {error}");
        }
        let mut long = plain(SERVER_VERSION, "34", "abc");
        let shorter = String::from_utf8(long.clone()).unwrap().replace("0000000003", "0000000002");
        let framed = shorter.rsplit_once('\u{1}').unwrap().0;
        long = format!("{framed}\u{1}{}", crc32fast::hash(framed.as_bytes())).into_bytes();
        long.extend_from_slice(MARKER);
        assert!(read(&long).unwrap_err().message().contains("not as long as it said"));
    }

    #[test]
    fn answers_beyond_the_limits_are_refused_before_they_are_kept() {
        for (bytes, expected) in [
            (header("00.9.00", "96", 1 << 30).into_bytes(), "announces more than 4096 bytes"),
            (header("00.9.00", "34", 1 << 30).into_bytes(), "announces more than 4096 bytes"),
            (encode_reply("96", &"0".repeat(8193)), "decompresses to more than 8192 bytes"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert_eq!((error.kind(), error.message().contains(expected)), (ErrorKind::Invalid, true), "{error}");
        }
        let mut decoder = ReplyDecoder::new(small());
        decoder.push(&header("00.9.00", "34", 9).into_bytes()).unwrap();
        let endless = std::iter::repeat_with(|| decoder.push(&[b'x'; 512])).find_map(Result::err).unwrap();
        assert!(endless.message().contains("has more than 4096 bytes"), "{endless}");
        let mut questions = RequestDecoder::new(100);
        questions.push(&[b'x'; 101]);
        assert_eq!(questions.next_frame().unwrap_err().kind(), ErrorKind::Invalid);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_neither_panic_nor_grow_without_bound(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            head in prop_oneof![Just(""), Just("00.9.00\u{1}34\u{1}0000000010"), Just("00.9.00\u{1}96\u{1}0000000010")],
            piece in 1usize..40,
        ) {
            let whole = [head.as_bytes(), &bytes].concat();
            let mut replies = ReplyDecoder::new(Limits { bytes_max: 200, ..small() });
            for part in whole.chunks(piece) {
                if replies.push(part).map_or(true, |frame| frame.is_some()) {
                    break;
                }
                prop_assert!(replies.len() <= 200 + HEADER_LEN + TAIL_MAX);
            }
            let mut questions = RequestDecoder::new(200);
            for part in whole.chunks(piece) {
                questions.push(part);
                if questions.next_frame().is_err() {
                    break;
                }
            }
        }

        #[test]
        fn pieces_make_no_difference(body in "[a-z万科Ａ \u{1}]{0,80}", piece in 1usize..30, packed in any::<bool>()) {
            let bytes = encode_reply(if packed { "96" } else { "34" }, &body);
            let mut decoder = ReplyDecoder::new(small());
            let mut found = None;
            for part in bytes.chunks(piece) {
                prop_assert!(found.is_none());
                found = decoder.push(part).unwrap();
            }
            prop_assert_eq!(found.unwrap().body, body);
        }

        #[test]
        fn a_changed_byte_never_gives_another_body(
            body in "[a-z万科]{1,60}", at in any::<prop::sample::Index>(), change in 1u8..=255, packed in any::<bool>(),
        ) {
            let mut bytes = encode_reply(if packed { "96" } else { "34" }, &body);
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            if let Ok(Some(frame)) = ReplyDecoder::new(small()).push(&bytes) {
                prop_assert!(frame.body == body);
            }
        }
    }
}
