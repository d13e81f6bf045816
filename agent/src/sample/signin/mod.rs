//! Sign-ins, from the binary records that `sshd` and `login` keep: failed ones in `btmp`, accepted ones in
//! `wtmp`. Addresses in them come from the connection, not from what a client says; lines of text logs are
//! not read, since anybody may write them.
//!
//! How many records `btmp` has follows from its size, which everybody may see. Who failed stands inside,
//! where only root and the group `utmp` may look: without that group the sources are not observed. `wtmp` is
//! open to everybody where the system still keeps it.

mod record;
mod sources;

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sysop_common::metric;

use self::record::{RECORD, Record};
use self::sources::{Accepted, Failures};
use super::read::ReadError;
use super::sensor::{Cycle, Output, Sensor};

/// Most bytes read of a file in one look; what a storm adds beyond is counted, not read.
const MOST: u64 = 256 * 1024;
/// Sources with columns, and failures within an hour from which they have them.
const SHOWN: usize = 8;
const WORTH: u32 = 10;
/// Failures within an hour from which a source counts in `signin.sources`.
const MANY: u32 = 30;

/// The sensor of sign-ins.
#[derive(Debug)]
pub(super) struct Signins {
    failed: Follow,
    accepted: Follow,
    failures: Failures,
    good: Accepted,
    /// Seconds since 1970; another clock in tests.
    clock: fn() -> u64,
    first: bool,
}

/// A file of records that grows, and begins anew when it is rotated.
#[derive(Debug)]
struct Follow {
    path: PathBuf,
    inode: u64,
    size: u64,
    /// Records seen to come since the agent's start, read or not.
    count: u64,
    exists: bool,
    readable: bool,
}

impl Signins {
    pub(super) fn new(root: &Path) -> Self {
        let log = root.join("var/log");
        Self {
            failed: Follow::new(log.join("btmp")),
            accepted: Follow::new(log.join("wtmp")),
            failures: Failures::default(),
            good: Accepted::default(),
            clock: || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            first: true,
        }
    }

    fn look(&mut self, now: u64) {
        let first = std::mem::take(&mut self.first);
        let failures = &mut self.failures;
        self.failed.news(first, |record| {
            if let Some(source) = record.source {
                failures.add(source, record.at, now);
            }
        });
        let good = &mut self.good;
        if first {
            // The month before this file began: rotation is monthly.
            let mut older = Follow::new(self.accepted.path.with_extension("1"));
            older.news(true, |record| good.add(record, now));
        }
        self.accepted.news(first, |record| good.add(record, now));
    }
}

impl Follow {
    const fn new(path: PathBuf) -> Self {
        Self { path, inode: 0, size: 0, count: 0, exists: false, readable: false }
    }

    /// Hands what is new to `take`; in the first look the last part of what is there, which is not counted.
    fn news(&mut self, first: bool, mut take: impl FnMut(&Record)) {
        let Ok(data) = std::fs::metadata(&self.path) else {
            self.exists = false;
            return;
        };
        self.exists = true;
        let (inode, size) = (data.ino(), data.len());
        let again = self.inode != inode || size < self.size;
        let from = if first || again { 0 } else { self.size };
        if size == from && !again && self.readable {
            return;
        }
        let whole = RECORD as u64;
        if !first {
            self.count += size.saturating_sub(from) / whole;
        }
        // Torn records at the end are read when they are whole.
        let end = size - size % whole;
        let start = from.max(end.saturating_sub(MOST) / whole * whole);
        self.readable = read(&self.path, start, end, &mut take).is_ok();
        (self.inode, self.size) = (inode, end);
    }
}

fn read(path: &Path, start: u64, end: u64, take: &mut impl FnMut(&Record)) -> io::Result<()> {
    let file = File::open(path)?;
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, start)?;
    bytes.chunks_exact(RECORD).filter_map(Record::parse).for_each(|record| take(&record));
    Ok(())
}

impl Sensor for Signins {
    fn name(&self) -> &'static str {
        "signin"
    }

    fn read(&mut self, _: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        let now = (self.clock)();
        self.look(now);
        out.put(metric::SIGNIN_FAILED, self.failed.exists.then_some(self.failed.count));
        let accepted = self.accepted.exists && self.accepted.readable;
        out.put(metric::SIGNIN_ACCEPTED, accepted.then_some(self.accepted.count));
        let seen = self.failed.exists && self.failed.readable;
        let sources = self.failures.within_hour(now);
        let many = sources.iter().filter(|(_, _, hour)| *hour >= MANY).count() as u64;
        out.put(metric::SIGNIN_SOURCES, seen.then_some(many));
        let shown = sources.iter().filter(|(_, _, hour)| *hour >= WORTH).take(SHOWN);
        let mut shown: Vec<_> =
            shown.map(|(source, five, hour)| (source.to_string(), *source, five, hour)).collect();
        shown.sort();
        for (label, source, five, hour) in shown {
            out.put_labelled(metric::SIGNIN_FAILED_5M, &label, Some((*five).into()));
            out.put_labelled(metric::SIGNIN_FAILED_60M, &label, Some((*hour).into()));
            let good = accepted.then(|| self.good.of(source, now).into());
            out.put_labelled(metric::SIGNIN_ACCEPTED_30D, &label, good);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
