//! Undo files: every row of a repair as it was before and after, line by line as JSON, and taking it all back.
//!
//! The first line says what was repaired. A line is in the file before its change is made durable, so that nothing that
//! was changed is missing; one whose change did not come to pass is passed over when it is taken back.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::address::shown;
use super::wire::{KeyText, key, texts};
use super::{Reconciler, repair::Sides};
use crate::model::compared::Shape;
use crate::model::reconciliation::{Reconciled, Report};
use crate::model::{Change, Commit, Error, Instant, Key, Result};
use crate::source::sides::Mended;

/// The version of the format.
const VERSION: u32 = 1;
/// Rows that are taken back in one transaction.
const BATCH: usize = 500;

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Head {
    tidegate_undo: u32,
    report: i64,
    target: String,
    at: String,
    shape: Shape,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The difference within the report.
    number: u64,
    key: KeyText,
    #[serde(flatten)]
    mended: Mended,
}

impl Entry {
    pub fn new(number: u64, key: &Key, mended: Mended) -> Entry {
        Entry { number, key: texts(key), mended }
    }
}

pub struct UndoFile {
    path: PathBuf,
    file: File,
}

impl UndoFile {
    /// Makes a new file that only its owner may read; one that is there already is a conflict.
    pub fn create(path: &Path, report: &Report, shape: &Shape, at: Instant) -> Result<UndoFile> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| unwritable(path, error))?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::conflict(format!("{} is there already", path.display()))
                .hint("name another undo file (--undo-file)"),
            _ => unwritable(path, error),
        })?;
        let mut undo = UndoFile { path: path.to_owned(), file };
        let head = Head {
            tidegate_undo: VERSION,
            report: report.id,
            target: report.wanted.target.clone(),
            at: at.to_string(),
            shape: shape.clone(),
        };
        undo.write(&[json(&head)?])?;
        Ok(undo)
    }

    /// Adds rows; they are on disk when it returns.
    pub fn append(&mut self, entries: impl Iterator<Item = Entry>) -> Result<()> {
        let lines = entries.map(|entry| json(&entry)).collect::<Result<Vec<_>>>()?;
        self.write(&lines)
    }

    fn write(&mut self, lines: &[String]) -> Result<()> {
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| unwritable(&self.path, error))
    }
}

fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::bug("writing an undo file").caused_by(error))
}

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    let message = format!("the undo file {} cannot be written; nothing was changed", path.display());
    Error::storage(message).hint("name another place with --undo-file").caused_by(error)
}

/// What taking back came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    pub report: i64,
    pub target: String,
    /// Differences whose rows are as they were before the repair.
    pub restored: u64,
    /// Differences whose rows are not as the repair left them: they stay.
    pub changed_since: Vec<u64>,
}

impl Reconciler {
    /// Takes a repair back, row by row the last first.
    pub async fn undo(&self, path: &Path, sides: Sides) -> Result<Undone> {
        let (head, mut entries) = read(path)?;
        let address = sides.target.unwrap_or_else(|| head.target.clone());
        if shown(&address) != head.target {
            let error = Error::invalid(format!("the file is about {}, not {}", head.target, shown(&address)));
            return Err(error.hint("name the same table, with its password"));
        }
        let target = self.side(&address)?;
        let nowhere = || Error::invalid(format!("{} cannot be written to", target.name()));
        let writer = target.writer().ok_or_else(nowhere)?;
        entries.reverse();
        let mut undone = Undone { report: head.report, target: head.target.clone(), ..Undone::default() };
        for some in entries.chunks(BATCH) {
            let keys = some.iter().map(|entry| key(&head.shape, &entry.key)).collect::<Result<Vec<Key>>>()?;
            let mended: Vec<Mended> = some.iter().map(|entry| entry.mended.clone()).collect();
            let restored = writer.undo(&head.shape, &keys, &mended).await?;
            let mut numbers = Vec::new();
            for (entry, restored) in some.iter().zip(restored) {
                match restored {
                    true => numbers.push(entry.number),
                    false => undone.changed_since.push(entry.number),
                }
            }
            undone.restored += numbers.len() as u64;
            let data = json!({ "report": head.report, "target": head.target, "restored": numbers.len() });
            let change = Change::Reconciled(Reconciled::Undone { report: head.report, numbers, data });
            self.store.commit(Commit { at: self.clock.now(), fence: None, changes: vec![change] }).await?;
        }
        Ok(undone)
    }
}

fn read(path: &Path) -> Result<(Head, Vec<Entry>)> {
    let unreadable = |what: &str| {
        Error::invalid(format!("{} is no undo file: {what}", path.display()))
            .hint("name a file that a repair has written")
    };
    let file = File::open(path).map_err(|error| {
        Error::not_found(format!("{} cannot be read", path.display())).hint("check its path").caused_by(error)
    })?;
    let mut lines = BufReader::new(file).lines();
    let first = lines.next().and_then(|line| line.ok()).ok_or_else(|| unreadable("it is empty"))?;
    let head: Head = serde_json::from_str(&first).map_err(|_| unreadable("its first line is another"))?;
    if head.tidegate_undo != VERSION {
        return Err(unreadable("it was written by another version"));
    }
    let mut entries = Vec::new();
    let mut broken = false;
    for line in lines {
        let line = line.map_err(|_| unreadable("it ends within a line"))?;
        // Only the last line can be half: its change never came to pass.
        if broken {
            return Err(unreadable("a line in the middle cannot be read"));
        }
        match serde_json::from_str::<Entry>(&line) {
            Ok(entry) => entries.push(entry),
            Err(_) => broken = true,
        }
    }
    Ok((head, entries))
}
