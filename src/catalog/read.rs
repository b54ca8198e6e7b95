//! Reads catalogue files: TOML text -> `Dataset`, with errors that name the file, the place and the remedy.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::model::{Dataset, Error, Result};

/// A catalogue file is text written by hand: more than this is a mistake.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads one dataset; `origin` names the file in errors.
pub fn parse(origin: &str, text: &str) -> Result<Dataset> {
    toml::from_str(text).map_err(|error| {
        let place = error.span().map_or(String::new(), |span| {
            let (line, column) = place_of(text, span.start);
            format!(" line {line}, column {column}")
        });
        let message = error.message().replace('\n', ", ");
        Error::invalid(format!("{origin}{place}: {message}"))
            .hint("docs/guide/catalogue.md explains every key of a catalogue file")
    })
}

/// Line and column, from 1, of a byte offset. Columns count characters.
fn place_of(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The `*.toml` files of `folder` with their texts, sorted by name.
pub fn folder(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let unreadable = |path: &Path, error: std::io::Error| {
        Error::invalid(format!("cannot read {}", path.display()))
            .caused_by(error)
            .hint("catalog.folder in the configuration names a folder of catalogue files; remove it if there is none")
    };
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, error))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        if path.extension() != Some(OsStr::new("toml")) {
            continue;
        }
        let bytes = fs::metadata(&path).map_err(|error| unreadable(&path, error))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(Error::invalid(format!("{} is larger than {FILE_BYTES_MAX} bytes", path.display()))
                .hint("a catalogue file declares one dataset; rows are loaded with `tidegate import`"));
        }
        let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
        files.push((path, text));
    }
    files.sort();
    Ok(files)
}
