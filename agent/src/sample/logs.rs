//! How fast logs grow: the journal as a whole, and plain log files that grew since the agent's start.
//!
//! Names and sizes are open to everybody, contents are not needed. journald reserves space in steps of
//! 8 MiB, so slow growth shows in steps. Which service writes into the journal stands only in the journal
//! itself, whose contents the agent does not read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sysop_common::metric;

use super::read::ReadError;
use super::sensor::{Cycle, Output, Sensor, clean};

/// Most files watched, and most plain ones with a column.
const MAX_FILES: usize = 64;
const MAX_SHOWN: usize = 8;
/// Growth from which a plain file has a column, in bytes.
const WORTH: u64 = 1 << 20;
const JOURNAL: &str = "journal";

/// The log sensor.
#[derive(Debug)]
pub(super) struct Logs {
    journals: [PathBuf; 2],
    folder: PathBuf,
    files: BTreeMap<PathBuf, File>,
    journal: Option<u64>,
}

#[derive(Debug)]
struct File {
    /// `None` for a part of the journal.
    label: Option<String>,
    size: u64,
    grown: u64,
}

impl Logs {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            journals: [root.join("var/log/journal"), root.join("run/log/journal")],
            folder: root.join("var/log"),
            files: BTreeMap::new(),
            journal: None,
        }
    }

    /// Takes over the list of files. One that was not there at the look before grew by its whole size.
    fn list(&mut self, first: bool) {
        let mut listed: BTreeMap<PathBuf, Option<String>> = BTreeMap::new();
        let mut any = false;
        for journal in &self.journals {
            for machine in names(journal, |_| true) {
                any = true;
                listed.extend(names(&machine, is_active_journal).into_iter().map(|path| (path, None)));
            }
        }
        if any && self.journal.is_none() {
            self.journal = Some(0);
        }
        for path in names(&self.folder, is_plain_log) {
            let name = path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
            let label = clean(&[b"/var/log/", name].concat());
            listed.insert(path, Some(label));
        }
        self.files.retain(|path, _| listed.contains_key(path));
        // Of more than are looked at, one that comes new may have been there all along.
        let known = first || listed.len() > MAX_FILES;
        for (path, label) in listed.into_iter().take(MAX_FILES) {
            if self.files.contains_key(&path) || self.files.len() >= MAX_FILES {
                continue;
            }
            let size = if known { size_of(&path).unwrap_or(0) } else { 0 };
            self.files.insert(path, File { label, size, grown: 0 });
        }
    }

    fn measure(&mut self) {
        let mut journal = 0;
        for (path, file) in &mut self.files {
            let Some(size) = size_of(path) else { continue };
            // A smaller one began anew.
            let grown = size.checked_sub(file.size).unwrap_or(size);
            file.size = size;
            match file.label {
                Some(_) => file.grown += grown,
                None => journal += grown,
            }
        }
        self.journal = self.journal.map(|sum| sum + journal);
    }
}

/// Files of a kind in a folder, as far as it can be read.
fn names(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path()).filter(|path| wanted(path));
    let mut paths: Vec<PathBuf> = paths.take(MAX_FILES * 4).collect();
    paths.sort();
    paths
}

fn size_of(path: &Path) -> Option<u64> {
    let data = std::fs::symlink_metadata(path).ok()?;
    data.is_file().then_some(data.len())
}

/// Files that journald still writes to; archived ones have an `@` in their names.
fn is_active_journal(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with(".journal") && !name.contains('@')
}

fn is_plain_log(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with(".log") || matches!(name, "syslog" | "messages" | "secure" | "maillog" | "debug")
}

impl Sensor for Logs {
    fn name(&self) -> &'static str {
        "logs"
    }

    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        if cycle.slow {
            self.list(cycle.number == 0);
        }
        // Sizes every third look: growth that matters shows in half a minute too.
        if cycle.slow || cycle.number.is_multiple_of(3) {
            self.measure();
        }
        out.put_labelled(metric::LOG_BYTES, JOURNAL, self.journal);
        let mut shown: Vec<(&str, u64)> = self
            .files
            .values()
            .filter(|file| file.grown >= WORTH)
            .filter_map(|file| Some((file.label.as_deref()?, file.grown)))
            .collect();
        shown.sort_by_key(|(_, grown)| std::cmp::Reverse(*grown));
        shown.truncate(MAX_SHOWN);
        shown.sort_unstable();
        for (label, grown) in shown {
            out.put_labelled(metric::LOG_BYTES, label, Some(grown));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sysop_common::sample::NOT_OBSERVED;

    fn look(sensor: &mut Logs, number: u64) -> Vec<(String, i64)> {
        let mut out = Output::default();
        out.begin();
        let mut cycle = Cycle { number, slow: true, ..Cycle::default() };
        sensor.read(&mut cycle, &mut out).unwrap();
        out.commit();
        out.columns().iter().map(|column| column.label.clone()).zip(out.values().iter().copied()).collect()
    }

    #[test]
    fn growth_is_counted_through_rotation() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let mut sensor = Logs::new(root.path());
        assert_eq!(look(&mut sensor, 0), [("journal".to_owned(), NOT_OBSERVED)]);
        std::fs::create_dir_all(path("var/log/journal/0123")).unwrap();
        let grow = |name: &str, mib: usize| std::fs::write(path(name), vec![b'x'; mib << 20]).unwrap();
        grow("var/log/journal/0123/system.journal", 8);
        grow("var/log/app.log", 2);
        grow("var/log/installer.txt", 9);
        let mut sensor = Logs::new(root.path());
        assert_eq!(look(&mut sensor, 0), [("journal".to_owned(), 0)]);
        grow("var/log/journal/0123/system.journal", 10);
        grow("var/log/app.log", 5);
        let seen = look(&mut sensor, 1);
        assert_eq!(seen, [("journal".to_owned(), 2 << 20), ("/var/log/app.log".to_owned(), 3 << 20)]);
        std::fs::rename(
            path("var/log/journal/0123/system.journal"),
            path("var/log/journal/0123/system@1.journal"),
        )
        .unwrap();
        grow("var/log/journal/0123/system.journal", 1);
        grow("var/log/app.log", 1);
        let seen = look(&mut sensor, 2);
        assert_eq!(seen, [("journal".to_owned(), 3 << 20), ("/var/log/app.log".to_owned(), 4 << 20)]);
    }
}
