//! Frames in two files that take turns, and the mark.

use std::os::fd::OwnedFd;

use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;
use uuid::Uuid;

use super::disk::{Disk, Disks, JournalError};
use super::record::{Base, Body, FRAME, Place, Record, decode, decode_payload, encode, encode_payload};

/// Frames of a file that hold records; one more is its head.
pub(super) const CAPACITY: usize = 1_023;
/// Bytes of a file: 2 MiB.
const FILE: usize = (CAPACITY + 1) * FRAME;
/// The two slots of the mark lie in different pages.
const SLOT: usize = 4_096;
/// In the checksum of heads and marks: no record has this place.
const HEAD_INDEX: u64 = u64::MAX;

/// The frames.
#[derive(Debug)]
pub(super) struct Store {
    disks: Disks,
    _lock: Option<OwnedFd>,
    journal: u128,
    host: HostId,
    active: usize,
    generation: u64,
    /// Frames in use in the active file.
    used: usize,
    last: u64,
    mark_slot: usize,
    stale_tail: bool,
    broken: Option<String>,
}

/// What a file's head says.
#[derive(Debug, Clone, Copy)]
struct Head {
    journal: u128,
    generation: u64,
    host: HostId,
}

impl Store {
    /// Writes an empty journal. Every byte is written, so that no later write needs space.
    pub(super) fn format(
        mut disks: Disks,
        host: HostId,
        reset_at: Option<UnixMs>,
        at: UnixMs,
    ) -> Result<(), JournalError> {
        let broken = |e: std::io::Error| JournalError::Broken(e.to_string());
        for file in &mut disks.files {
            file.write(0, &vec![0; FILE]).map_err(broken)?;
        }
        disks.mark.write(0, &vec![0; 2 * SLOT]).map_err(broken)?;
        let mut store = Self {
            disks,
            _lock: None,
            journal: Uuid::new_v4().as_u128(),
            host,
            active: 1,
            generation: 0,
            used: 0,
            last: 0,
            mark_slot: 0,
            stale_tail: false,
            broken: None,
        };
        let base = Base { host, reset_at, lease: None, floor: UnixMs(0), last: 0, kept: 0 };
        store.rewrite(base, &[], at)?;
        store.write_mark()?;
        // The second slot too: from now on one that is torn leaves another.
        store.write_mark()
    }

    /// Finds the file in force and reads its records.
    pub(super) fn open(
        mut disks: Disks,
        lock: Option<OwnedFd>,
        host: HostId,
    ) -> Result<(Self, Vec<Record>), JournalError> {
        let read = |disk: &mut Box<dyn Disk>| disk.read().map_err(|e| JournalError::Broken(e.to_string()));
        let files = [read(&mut disks.files[0])?, read(&mut disks.files[1])?];
        let mark = read(&mut disks.mark)?;
        if files.iter().any(|file| file.len() != FILE) || mark.len() != 2 * SLOT {
            return Err(JournalError::Damaged("a file has another size"));
        }
        let (active, head) = (0..2)
            .filter_map(|at| Some((at, read_head(&files[at])?)))
            .max_by_key(|(_, head)| head.generation)
            .ok_or(JournalError::Damaged("no file has a head"))?;
        if head.host != host {
            return Err(JournalError::OtherHost);
        }
        let marks: Vec<_> = (0..2)
            .filter_map(|slot| Some((slot, read_mark(&mark[slot * SLOT..(slot + 1) * SLOT], head.journal)?)))
            .collect();
        let (slot, marked) = marks
            .into_iter()
            .max_by_key(|(_, number)| *number)
            .ok_or(JournalError::Damaged("the mark cannot be read"))?;
        let (records, used, stale_tail) = read_records(&files[active], head);
        let last =
            last_number(&records).ok_or(JournalError::Damaged("records cannot be read that were synced"))?;
        if last < marked {
            return Err(JournalError::Damaged("records are missing that were synced"));
        }
        let store = Self {
            disks,
            _lock: lock,
            journal: head.journal,
            host,
            active,
            generation: head.generation,
            used,
            last,
            mark_slot: 1 - slot,
            stale_tail,
            broken: None,
        };
        Ok((store, records))
    }

    /// Whether valid frames lie beyond the end: written, not synced, and not in order.
    pub(super) const fn has_stale_tail(&self) -> bool {
        self.stale_tail
    }

    pub(super) const fn room(&self) -> usize {
        CAPACITY - self.used
    }

    pub(super) const fn host(&self) -> HostId {
        self.host
    }

    pub(super) const fn last_number(&self) -> u64 {
        self.last
    }

    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Writes records at the end; `durable` ones are synced and marked before this returns.
    pub(super) fn append(
        &mut self,
        bodies: Vec<Body>,
        at: UnixMs,
        durable: bool,
    ) -> Result<Vec<Record>, JournalError> {
        self.usable()?;
        if self.room() < bodies.len() {
            return Err(JournalError::Full);
        }
        let mut records = Vec::with_capacity(bodies.len());
        let mut frames = Vec::with_capacity(bodies.len());
        for (next, body) in (self.last + 1..).zip(bodies) {
            let record = Record { number: next, at, body };
            let place = self.place(self.used + frames.len());
            frames.push(encode(&record, place).ok_or(JournalError::TooLarge)?);
            records.push(record);
        }
        let offset = (self.used + 1) * FRAME;
        self.write(self.active, offset, &frames.concat())?;
        self.used += frames.len();
        self.last += frames.len() as u64;
        if durable {
            self.sync(self.active)?;
            self.write_mark()?;
        }
        Ok(records)
    }

    /// Puts `base` and `kept` into the other file and makes that the one in force.
    pub(super) fn rewrite(&mut self, base: Base, kept: &[Record], at: UnixMs) -> Result<(), JournalError> {
        self.usable()?;
        let (target, generation) = (1 - self.active, self.generation + 1);
        let place = |index: usize| Place { journal: self.journal, generation, index: index as u64 };
        let base = Base { kept: kept.len() as u64, ..base };
        let base = Record { number: 0, at, body: Body::Base(base) };
        let mut frames = Vec::with_capacity((kept.len() + 1) * FRAME);
        for (index, record) in std::iter::once(&base).chain(kept).enumerate() {
            frames.extend(encode(record, place(index)).ok_or(JournalError::TooLarge)?);
        }
        let head = Head { journal: self.journal, generation, host: self.host };
        let head = encode_head(head).ok_or(JournalError::TooLarge)?;
        self.write(target, FRAME, &frames)?;
        self.sync(target)?;
        // Only now does the file count.
        self.write(target, 0, &head)?;
        self.sync(target)?;
        (self.active, self.generation, self.used, self.stale_tail) =
            (target, generation, kept.len() + 1, false);
        Ok(())
    }

    const fn place(&self, index: usize) -> Place {
        Place { journal: self.journal, generation: self.generation, index: index as u64 }
    }

    fn write_mark(&mut self) -> Result<(), JournalError> {
        let place = Place { journal: self.journal, generation: 0, index: HEAD_INDEX };
        let frame = encode_payload(self.last, b"mark", place).ok_or(JournalError::TooLarge)?;
        let at = (self.mark_slot * SLOT) as u64;
        let result = self.disks.mark.write(at, &frame).and_then(|()| self.disks.mark.sync());
        self.mark_slot = 1 - self.mark_slot;
        self.noted(result)
    }

    fn write(&mut self, file: usize, at: usize, bytes: &[u8]) -> Result<(), JournalError> {
        let result = self.disks.files[file].write(at as u64, bytes);
        self.noted(result)
    }

    fn sync(&mut self, file: usize) -> Result<(), JournalError> {
        let result = self.disks.files[file].sync();
        self.noted(result)
    }

    /// After one failure nothing is tried again: a second sync may succeed over pages that were lost.
    fn noted(&mut self, result: std::io::Result<()>) -> Result<(), JournalError> {
        result.map_err(|e| {
            self.broken = Some(e.to_string());
            JournalError::Broken(e.to_string())
        })
    }

    fn usable(&self) -> Result<(), JournalError> {
        match &self.broken {
            Some(why) => Err(JournalError::Broken(why.clone())),
            None => Ok(()),
        }
    }
}

/// The number up to which the records reach; `None` when the first is not a base, or one of those
/// that were taken over is missing: they were synced before the file counted.
fn last_number(records: &[Record]) -> Option<u64> {
    let Some(Record { body: Body::Base(base), .. }) = records.first() else { return None };
    if (records.len() as u64) <= base.kept {
        return None;
    }
    records.last().map(|record| record.number.max(base.last))
}

/// The records up to the first frame that is not one, how many, and whether more follow after it.
fn read_records(file: &[u8], head: Head) -> (Vec<Record>, usize, bool) {
    let frame = |index: usize| {
        let place = Place { journal: head.journal, generation: head.generation, index: index as u64 };
        file.get((index + 1) * FRAME..(index + 2) * FRAME).and_then(|frame| decode(frame, place))
    };
    let mut records: Vec<Record> = Vec::new();
    while let Some(record) = frame(records.len()) {
        if records.last().is_some_and(|before| record.number <= before.number) {
            break;
        }
        records.push(record);
    }
    let used = records.len();
    let stale = (used..CAPACITY).any(|index| frame(index).is_some());
    (records, used, stale)
}

fn encode_head(head: Head) -> Option<Vec<u8>> {
    let payload = [&head.journal.to_le_bytes()[..], head.host.0.as_bytes()].concat();
    // A head says of itself which journal it belongs to, so that cannot be part of its checksum.
    encode_payload(head.generation, &payload, Place { journal: 0, generation: 0, index: HEAD_INDEX })
}

fn read_head(file: &[u8]) -> Option<Head> {
    let place = Place { journal: 0, generation: 0, index: HEAD_INDEX };
    let (generation, payload) = decode_payload(file.get(..FRAME)?, place)?;
    let journal = u128::from_le_bytes(payload.get(..16)?.try_into().ok()?);
    let host = HostId(Uuid::from_slice(payload.get(16..32)?).ok()?);
    Some(Head { journal, generation, host })
}

fn read_mark(slot: &[u8], journal: u128) -> Option<u64> {
    let place = Place { journal, generation: 0, index: HEAD_INDEX };
    decode_payload(slot, place).map(|(number, _)| number)
}
