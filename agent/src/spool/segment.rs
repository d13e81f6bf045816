//! Reading one segment, whatever happened to it.

use std::io;
use std::sync::Arc;

use sysop_common::ids::{SchemaId, Seq};
use sysop_common::sample::{Schema, Tick};
use sysop_common::time::UnixMs;
use sysop_common::wire::Upward;
use sysop_common::wire::frame::FrameBuf;

use super::disk::Disk;
use super::format::{self, Found, HEADER, Record, Seal};

/// Bytes that are read at once.
const CHUNK: u64 = 64 * 1024;
/// Schemas that a reader remembers, the last ones of a segment; the writer puts any other one there again.
pub(super) const SCHEMAS: usize = 8;
/// How often a place that cannot be read is tried before it counts as damage.
const TRIES: u32 = 8;

/// A segment as the index knows it: complete up to `len`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) seal: Seal,
    pub(super) first: (Seq, UnixMs),
    pub(super) last: (Seq, UnixMs),
    pub(super) len: u64,
}

/// A sample as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) seq: Seq,
    pub(super) at: UnixMs,
    pub(super) schema_id: SchemaId,
    pub(super) schema: Arc<Schema>,
    pub(super) frame: Vec<u8>,
    pub(super) tick: Option<Arc<Tick>>,
}

/// Walks over the good records of a segment; damage is stepped over.
#[derive(Debug)]
pub(super) struct Reader {
    seal: Seal,
    buf: Vec<u8>,
    /// Position in the segment of the first byte of `buf`.
    base: u64,
    at: usize,
    schemas: Vec<(SchemaId, Arc<Schema>)>,
    /// How often the next place could not be read.
    failed: u32,
}

impl Reader {
    pub(super) fn new(seal: Seal) -> Self {
        Self { seal, buf: Vec::new(), base: HEADER.len() as u64, at: 0, schemas: Vec::new(), failed: 0 }
    }

    pub(super) const fn seal(&self) -> &Seal {
        &self.seal
    }

    const fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The next sample that is good and whose schema is known, below `len` bytes.
    ///
    /// # Errors
    /// When the file cannot be read now; the next call tries that place again, and steps over it after
    /// [`TRIES`]. A file that is not there any more is at its end for this reader.
    pub(super) fn next(&mut self, disk: &dyn Disk, len: u64) -> io::Result<Option<Read>> {
        while self.offset() < len {
            match format::get(&self.buf[self.at..], &self.seal, self.offset()) {
                Found::Record(record, size) => {
                    let read = take(&mut self.schemas, &record);
                    self.at += size;
                    if read.is_some() {
                        return Ok(read);
                    }
                }
                Found::Short(need) if self.offset() + need as u64 <= len => {
                    if !self.fill(disk, need, len)? {
                        if self.buf.is_empty() {
                            return Ok(None);
                        }
                        self.skip();
                    }
                }
                // Less than a head may be in the buffer although more is in the file.
                _ if self.buf.len() == self.at => {
                    if !self.fill(disk, 1, len)? {
                        return Ok(None);
                    }
                }
                Found::Short(_) | Found::Damage => self.skip(),
            }
        }
        if self.buf.capacity() > 4 * CHUNK as usize {
            self.base = self.offset();
            (self.buf, self.at) = (Vec::new(), 0);
        }
        Ok(None)
    }

    /// Steps over the byte here and all that cannot begin a record.
    fn skip(&mut self) {
        let rest = &self.buf[self.at..];
        self.at += format::next_mark(rest).unwrap_or(rest.len());
    }

    /// Has at least `need` bytes at hand; `false` when the file does not have them.
    fn fill(&mut self, disk: &dyn Disk, need: usize, len: u64) -> io::Result<bool> {
        self.buf.drain(..self.at);
        self.base += self.at as u64;
        self.at = 0;
        let have = self.buf.len();
        let end = len.min(self.base + (need as u64).max(CHUNK));
        let want = usize::try_from(end.saturating_sub(self.base)).unwrap_or(have);
        self.buf.resize(want.max(have), 0);
        match disk.read_at(&self.seal.name(), self.base + have as u64, &mut self.buf[have..]) {
            Ok(read) => {
                self.failed = 0;
                self.buf.truncate(have + read);
            }
            Err(e) => {
                self.buf.truncate(have);
                self.fail(&e, end);
                return Err(e);
            }
        }
        Ok(self.buf.len() >= need)
    }

    /// Notes that what comes before `end` could not be read.
    fn fail(&mut self, error: &io::Error, end: u64) {
        let gone = error.kind() == io::ErrorKind::NotFound;
        if !passes(error) {
            self.failed += 1;
        }
        if gone || self.failed >= TRIES {
            self.base = if gone { u64::MAX / 2 } else { end };
            self.buf.clear();
            self.failed = 0;
        }
    }
}

/// Whether an error passes by itself: a host that is out of descriptors or memory says nothing about the disk.
pub(super) fn passes(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// A sample with its schema; a schema is remembered and yields nothing.
fn take(schemas: &mut Vec<(SchemaId, Arc<Schema>)>, record: &Record<'_>) -> Option<Read> {
    match *record {
        Record::Schema(bytes) => {
            let schema = decode_schema(bytes)?;
            if schemas.len() == SCHEMAS {
                schemas.remove(0);
            }
            schemas.push((schema.id(), Arc::new(schema)));
            None
        }
        Record::Sample { seq, at, schema, frame } => {
            let (schema_id, schema) = schemas.iter().rev().find(|(id, _)| *id == schema)?.clone();
            Some(Read { seq, at, schema_id, schema, frame: frame.to_vec(), tick: None })
        }
    }
}

/// A schema stands in a segment as it travels: as a message.
fn decode_schema(bytes: &[u8]) -> Option<Schema> {
    let mut frames = FrameBuf::default();
    frames.extend(bytes);
    match Upward::decode(frames.next_frame().ok()??).ok()? {
        Upward::Schema(schema) => Some(schema),
        _ => None,
    }
}

/// First and last sample of a segment; `None` when it holds none that is good.
///
/// # Errors
/// When it cannot be read before the first one. After that an error ends the walk like the end of the
/// file: what was read so far is good.
pub(super) fn scan(disk: &dyn Disk, seal: Seal, len: u64, whole: bool) -> io::Result<Option<Segment>> {
    let mut reader = Reader::new(seal);
    let mut found: Option<Segment> = None;
    loop {
        match reader.next(disk, len) {
            Ok(Some(read)) => {
                let last = (read.seq, read.at);
                found.get_or_insert(Segment { seal, first: last, last, len }).last = last;
                if !whole {
                    return Ok(found);
                }
            }
            Err(e) if found.is_none() => return Err(e),
            Ok(None) | Err(_) => return Ok(found),
        }
    }
}
