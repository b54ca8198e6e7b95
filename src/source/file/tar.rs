//! Tar archives, read only and as a stream: ustar headers, long names of GNU tar and pax.

use std::io::{Error, ErrorKind, Read, Result};

const BLOCK_BYTES: usize = 512;
/// The longest member name (or block of pax records) that is kept.
const NAME_BYTES_MAX: u64 = 64 * 1024;

/// Whether `head`, the first bytes of a file, begins a tar archive.
pub fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// Calls `visit` for every plain file of the archive with its name and its bytes.
pub fn for_each<R: Read>(
    archive: R,
    mut visit: impl FnMut(&str, &mut dyn Read) -> crate::model::Result<()>,
) -> crate::model::Result<()> {
    let mut archive = archive;
    let mut long_name = None;
    while let Some(header) = next_header(&mut archive).map_err(super::open::broken)? {
        let mut body = (&mut archive).take(header.bytes);
        match header.kind {
            b'L' => long_name = Some(read_name(&mut body).map_err(super::open::broken)?),
            b'x' => long_name = pax_path(&mut body).map_err(super::open::broken)?.or(long_name),
            b'0' | 0 => visit(&long_name.take().unwrap_or(header.name), &mut body)?,
            _ => long_name = None,
        }
        let rest = body.limit() + padding(header.bytes);
        skip(&mut archive, rest).map_err(super::open::broken)?;
    }
    Ok(())
}

struct Header {
    name: String,
    kind: u8,
    bytes: u64,
}

/// `None` at the end of the archive.
fn next_header(archive: &mut impl Read) -> Result<Option<Header>> {
    let mut block = [0u8; BLOCK_BYTES];
    let mut filled = 0;
    while filled < BLOCK_BYTES {
        match archive.read(&mut block[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let damaged = || Error::new(ErrorKind::InvalidData, "the archive has a damaged header");
    let sum: u64 =
        block.iter().enumerate().map(|(at, byte)| u64::from(if (148..156).contains(&at) { b' ' } else { *byte })).sum();
    if octal(&block[148..156]) != Some(sum) {
        return Err(damaged());
    }
    let (name, prefix) = (text(&block[..100]), text(&block[345..500]));
    let name = if is_tar(&block) && !prefix.is_empty() { format!("{prefix}/{name}") } else { name };
    Ok(Some(Header { name, kind: block[156], bytes: octal(&block[124..136]).ok_or_else(damaged)? }))
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// Octal digits between blanks, or (GNU, for large files) big-endian bytes behind a set top bit.
fn octal(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (head, tail) = field.split_at(field.len() - 8);
        let high = head.iter().skip(1).any(|byte| *byte != 0);
        return (!high).then(|| tail.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

fn padding(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES as u64) - bytes
}

fn read_name(body: &mut impl Read) -> Result<String> {
    let mut bytes = Vec::new();
    body.take(NAME_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(text(&bytes))
}

/// The `path` record among pax records of the form `18 path=long/name\n`.
fn pax_path(body: &mut impl Read) -> Result<Option<String>> {
    let records = read_name(body)?;
    Ok(records.lines().find_map(|line| line.split_once(' ')?.1.strip_prefix("path=").map(str::to_owned)))
}

fn skip(archive: &mut impl Read, bytes: u64) -> Result<()> {
    let skipped = std::io::copy(&mut archive.take(bytes), &mut std::io::sink())?;
    if skipped < bytes { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A member as tar writes it.
    fn member(name: &str, kind: u8, body: &[u8]) -> Vec<u8> {
        let mut block = vec![0u8; BLOCK_BYTES];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..136].copy_from_slice(format!("{:011o}\0", body.len()).as_bytes());
        block[156] = kind;
        block[257..263].copy_from_slice(b"ustar\0");
        block[148..156].copy_from_slice(b"        ");
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block.extend_from_slice(body);
        block.resize(block.len().next_multiple_of(BLOCK_BYTES), 0);
        block
    }

    fn members(archive: &[u8]) -> crate::model::Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for_each(archive, |name, body| {
            let mut text = String::new();
            body.read_to_string(&mut text).map_err(super::super::open::broken)?;
            found.push((name.to_owned(), text));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn plain_files_are_visited_under_their_full_names() {
        let long = format!("{}/a.csv", "long".repeat(30));
        let archive = [
            member("folder/", b'5', b""),
            member("folder/a.csv", b'0', b"a,b\n"),
            member("././@LongLink", b'L', format!("{long}\0").as_bytes()),
            member("cut.csv", b'0', &[b'x'; 513]),
            member("PaxHeaders/b", b'x', b"14 path=b.csv\n"),
            member("cut", b'0', b""),
            vec![0; 2 * BLOCK_BYTES],
        ]
        .concat();
        let found = members(&archive).unwrap();
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["folder/a.csv", long.as_str(), "b.csv"]);
        assert_eq!((found[0].1.as_str(), found[1].1.len()), ("a,b\n", 513));
    }

    #[test]
    fn damaged_and_cut_archives_are_errors() {
        let whole = member("a.csv", b'0', b"a,b\n");
        assert!(members(&whole[..600]).is_err());
        let mut damaged = whole.clone();
        damaged[0] = b'b';
        assert!(members(&damaged).is_err());
    }
}
