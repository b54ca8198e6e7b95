//! Daily files: one a Beijing day, kept for a number of days.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::model::{Clock, Day, Error, Result};

const BEFORE: &str = "tidegate-";
const AFTER: &str = ".jsonl";

/// Writes to the file of the day it is.
pub struct Daily {
    folder: PathBuf,
    keep_days: u32,
    clock: Clock,
    file: Option<(Day, File)>,
}

impl Daily {
    /// Makes the folder and the file of today: what is wrong with them is said at once.
    pub fn open(folder: &Path, keep_days: u32, clock: Clock) -> Result<Daily> {
        let mut daily = Daily { folder: folder.to_owned(), keep_days, clock, file: None };
        daily.of_today().map_err(|error| {
            let message = format!("the log cannot be written to {}: {error}", folder.display());
            Error::storage(message).caused_by(error).hint("set log.folder to a folder that can be written")
        })?;
        Ok(daily)
    }

    fn of_today(&mut self) -> io::Result<&mut File> {
        let today = self.clock.now().day();
        if self.file.as_ref().is_none_or(|(day, _)| *day != today) {
            fs::create_dir_all(&self.folder)?;
            let path = self.folder.join(format!("{BEFORE}{today}{AFTER}"));
            self.file = Some((today, OpenOptions::new().create(true).append(true).open(path)?));
            self.forget(today);
        }
        match &mut self.file {
            Some((_, file)) => Ok(file),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Removes files that are too old; one that cannot be removed is tried again tomorrow.
    fn forget(&self, today: Day) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let day = name.strip_prefix(BEFORE).and_then(|name| name.strip_suffix(AFTER)).map(Day::parse);
            if day.and_then(Result::ok).is_some_and(|day| day.0 <= today.0 - self.keep_days as i32) {
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

impl Write for Daily {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.of_today()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.file {
            Some((_, file)) => file.flush(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::model::Instant;

    #[test]
    fn each_beijing_day_has_its_file_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let start = Instant::parse("2024-02-27T23:59:00+08:00").unwrap();
        let now = Arc::new(AtomicI64::new(start.0));
        let clock = Clock::told_by({
            let now = now.clone();
            move || Instant(now.load(Ordering::Relaxed))
        });
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        let mut daily = Daily::open(&folder.path().join("logs/deep"), 2, clock.clone()).unwrap();
        for _ in 0..4 {
            daily.write_all(b"a line\n").unwrap();
            now.fetch_add(86_400_000_000, Ordering::Relaxed);
        }
        let names = |folder: &Path| {
            let mut names: Vec<String> =
                fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let logs = folder.path().join("logs/deep");
        assert_eq!(names(&logs), ["tidegate-2024-02-29.jsonl", "tidegate-2024-03-01.jsonl"]);
        // The same day again goes on in the same file, and what is not ours stays.
        fs::write(logs.join("tidegate-old.jsonl"), "mine").unwrap();
        now.fetch_sub(86_400_000_000, Ordering::Relaxed);
        Daily::open(&logs, 2, clock).unwrap().write_all(b"more\n").unwrap();
        assert_eq!(fs::read_to_string(logs.join("tidegate-2024-03-01.jsonl")).unwrap(), "a line\nmore\n");
        assert!(names(&logs).contains(&"tidegate-old.jsonl".to_string()));
        let blocked = folder.path().join("notes.txt");
        assert!(Daily::open(&blocked, 2, Clock::fixed(start)).is_err());
    }
}
