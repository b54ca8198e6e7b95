//! Opening files: what a file is follows from its first bytes, whatever it is called.

use std::fs::File;
use std::io::{self, BufReader, Cursor, ErrorKind, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::tar;
use crate::model::{Error, Result};

/// What stands in a file.
pub enum Content {
    /// A Parquet file; its reader seeks.
    Parquet(File),
    Text(Box<dyn Read>),
    /// An archive of files.
    Archive(Box<dyn Read>),
}

/// Enough to recognise an archive.
const HEAD_BYTES: usize = 512;

/// Opens `path` and looks at its first bytes, through gzip.
pub fn open(path: &Path) -> Result<Content> {
    let name = path.display();
    let file = File::open(path).map_err(|cause| cannot_open(path, cause))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        let error = Error::invalid(format!("{name} is a folder"));
        return Err(error.hint(format!("name the files in it: {name}/*.csv")));
    }
    let (head, reader) = peek(file.try_clone().map_err(|cause| cannot_open(path, cause))?)?;
    if head.starts_with(b"PAR1") {
        let mut file = file;
        io::Seek::rewind(&mut file).map_err(broken)?;
        return Ok(Content::Parquet(file));
    }
    if !head.starts_with(b"\x1f\x8b") {
        return classify(&head, Box::new(reader));
    }
    let (head, reader) = peek(MultiGzDecoder::new(BufReader::with_capacity(128 * 1024, reader)))?;
    classify(&head, Box::new(reader))
}

fn classify(head: &[u8], reader: Box<dyn Read>) -> Result<Content> {
    let other =
        |what: &str, hint: &str| Err(Error::invalid(format!("{what} cannot be imported")).hint(hint.to_owned()));
    if tar::is_tar(head) {
        return Ok(Content::Archive(reader));
    }
    match head {
        [b'P', b'K', 3, 4, ..] => other("a zip or Excel file", "unpack it, or save the sheet as CSV"),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => other("an old Excel file", "save the sheet as CSV"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => other("a zstd file", "unpack it with: zstd -d"),
        [b'B', b'Z', b'h', ..] => other("a bzip2 file", "unpack it with: bunzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => other("an xz file", "unpack it with: unxz"),
        [b'P', b'A', b'R', b'1', ..] => other("a Parquet file inside gzip", "unpack it with: gunzip"),
        [b'S', b'Q', b'L', b'i', b't', b'e', ..] => other("a database file", "export its table as CSV"),
        _ if looks_like_json(head) => other("a JSON file", "convert it to CSV or Parquet"),
        _ if !is_text(head) => other("a binary file", "export the rows as CSV or Parquet"),
        _ => Ok(Content::Text(reader)),
    }
}

/// Text has no zero bytes, except every second one of UTF-16, which begins with a mark.
fn is_text(head: &[u8]) -> bool {
    !head.contains(&0) || head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff")
}

fn looks_like_json(head: &[u8]) -> bool {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    matches!(text.first(), Some(b'{' | b'['))
}

/// A reader that begins with the bytes that were looked at.
type Replayed<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// The first bytes, and a reader that begins with them again.
fn peek<R: Read>(mut reader: R) -> Result<(Vec<u8>, Replayed<R>)> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    reader.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(broken)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// Text may stand in archives under these names; everything else is passed over.
pub fn is_table_name(name: &str) -> bool {
    let base = name.rsplit('/').next().unwrap_or(name);
    let base = base.to_ascii_lowercase();
    !base.starts_with('.')
        && [".csv", ".tsv", ".txt", ".csv.gz", ".txt.gz", ".tsv.gz"].iter().any(|end| base.ends_with(end))
}

/// A member of an archive as text, through gzip.
pub fn member<'a>(reader: &'a mut dyn Read) -> Result<Box<dyn Read + 'a>> {
    let (head, reader) = peek(reader)?;
    if head.starts_with(b"\x1f\x8b") { Ok(Box::new(MultiGzDecoder::new(reader))) } else { Ok(Box::new(reader)) }
}

fn cannot_open(path: &Path, cause: io::Error) -> Error {
    let name = path.display();
    let error = match cause.kind() {
        ErrorKind::NotFound => Error::not_found(format!("there is no file {name}")).hint("check the path"),
        ErrorKind::PermissionDenied => Error::denied(format!("{name} may not be read")).hint("check its permissions"),
        _ => Error::storage(format!("{name} cannot be opened")).hint("check the disk and the path"),
    };
    error.caused_by(cause)
}

/// A failure while bytes are read.
pub fn broken(cause: io::Error) -> Error {
    let error = match cause.kind() {
        ErrorKind::UnexpectedEof => Error::invalid("the file is cut short").hint("fetch or copy the file again"),
        ErrorKind::InvalidData | ErrorKind::InvalidInput => {
            Error::invalid("the file is damaged").hint("fetch or copy the file again")
        }
        _ => Error::storage("the file cannot be read").hint("check the disk"),
    };
    error.caused_by(cause)
}
