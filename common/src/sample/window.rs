//! The texts of processes as what they have in common with texts that both sides have already seen.
//!
//! A new process seldom brings new words: workers, compilers and shells share nearly all of their command
//! lines. So the texts of a row are written as literals and as copies from a window of bytes that both
//! sides build alike: the texts of processes that left, then those of the frame before, then those of
//! this frame. Copies count back from the end of the window; so a writer that does not remember who left
//! (see [`super::codec::encode_after`]) makes frames that one who does can read.
//!
//! A text is a byte count and steps until so many bytes are there. A step is a number, twice its length
//! plus 0 for a literal, which follows, or plus 1 for a copy, whose distance follows.

use std::collections::VecDeque;

use super::codec::CodecError;
use super::rows::Identity;
use super::varint::{Reader, cut, put};
use super::{MAX_TEXT, Process, Text};

/// Processes that left whose texts are in the window, newest first.
const FROM_LEFT: usize = 24;
/// A copy takes three bytes as a rule, and one more where it interrupts a literal.
const SHORTEST: usize = 5;
/// Bytes that must agree before two places are compared.
const KEY: usize = 4;
/// Places that are compared; further ones are seldom better.
const TRIES: usize = 12;
/// Slots of the table of places, a power of two.
const SLOTS: usize = 1 << 11;
const NOWHERE: u32 = u32::MAX;
/// Most bytes of a row's texts with the lengths of all but the last.
const MAX_BYTES: usize = 4 * MAX_TEXT + 3;

/// Words of a process.
pub(super) struct Words {
    pub(super) comm: Text,
    pub(super) user: Text,
    pub(super) unit: Text,
    pub(super) args: Text,
}

/// The window of one frame. Built when the first text needs it: most frames have none.
pub(super) struct Window<'a> {
    last: &'a [Process],
    left: Option<&'a VecDeque<Identity>>,
    bytes: Vec<u8>,
    built: bool,
    /// Whether copies are looked for in writing.
    copies: bool,
    /// Per key the last place where it stands, and per place the one before with the same key.
    heads: Vec<u32>,
    before: Vec<u32>,
}

impl<'a> Window<'a> {
    /// A window over the processes of the frame before and those that left before it.
    pub(super) fn new(last: &'a [Process], left: Option<&'a VecDeque<Identity>>) -> Self {
        let (bytes, heads, before) = (Vec::new(), Vec::new(), Vec::new());
        Self { last, left, bytes, built: false, copies: true, heads, before }
    }

    /// A window for a frame that is written in each look and kept on the host's own disk as a rule: it
    /// costs less time and more bytes.
    pub(super) fn without_copies() -> Self {
        Self { copies: false, ..Self::new(&[], None) }
    }

    fn build(&mut self) {
        if std::mem::replace(&mut self.built, true) {
            return;
        }
        for gone in self.left.into_iter().flatten().take(FROM_LEFT).collect::<Vec<_>>().into_iter().rev() {
            append(&mut self.bytes, gone.texts());
        }
        for process in self.last {
            append(&mut self.bytes, texts(process));
        }
    }

    /// Appends the texts of `process` to `out`, and to the window.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, process: &Process) {
        if !self.copies {
            let mut bytes = Vec::with_capacity(MAX_BYTES);
            append(&mut bytes, texts(process));
            put(out, bytes.len() as u64);
            return put_literal(out, &bytes);
        }
        self.build();
        if self.heads.is_empty() {
            self.heads = vec![NOWHERE; SLOTS];
            self.before.reserve(self.bytes.len() + MAX_BYTES);
        }
        let start = self.bytes.len();
        append(&mut self.bytes, texts(process));
        let end = self.bytes.len();
        put(out, (end - start) as u64);
        self.index(start);
        let (mut literal, mut at) = (start, start);
        while at < end {
            let (length, place) = self.longest(at, end);
            if length < SHORTEST {
                at += 1;
                self.index(at);
                continue;
            }
            put_literal(out, &self.bytes[literal..at]);
            put(out, (length as u64) << 1 | 1);
            put(out, (at - place) as u64);
            at += length;
            literal = at;
            self.index(at);
        }
        put_literal(out, &self.bytes[literal..end]);
    }

    fn slot(&self, at: usize) -> Option<usize> {
        let key = self.bytes.get(at..at + KEY)?.first_chunk::<KEY>()?;
        Some((u32::from_le_bytes(*key).wrapping_mul(0x9E37_79B1) >> 21) as usize % SLOTS)
    }

    /// Notes all places before `end` that were not noted yet.
    fn index(&mut self, end: usize) {
        for at in self.before.len()..end {
            let slot = self.slot(at);
            let head = slot.map_or(NOWHERE, |slot| std::mem::replace(&mut self.heads[slot], at as u32));
            self.before.push(head);
        }
    }

    /// The longest run before `at` that equals what follows there, up to `end`, and its place.
    fn longest(&self, at: usize, end: usize) -> (usize, usize) {
        let mut best = (0, 0);
        let Some(slot) = self.slot(at) else { return best };
        let (mut place, wanted) = (self.heads[slot], &self.bytes[at..end]);
        for _ in 0..TRIES {
            if place == NOWHERE {
                break;
            }
            let here = place as usize;
            let same = self.bytes[here..].iter().zip(wanted).take_while(|(a, b)| a == b).count();
            if same > best.0 {
                best = (same, here);
            }
            place = self.before[here];
        }
        best
    }

    /// Reads the texts of a process, which are in the window afterwards.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<Words, CodecError> {
        self.build();
        let start = self.bytes.len();
        let end = start + reader.count(MAX_BYTES, "bytes of texts")?;
        while self.bytes.len() < end {
            let step = reader.count(2 * MAX_BYTES + 1, "bytes of texts")?;
            let (length, here) = (step >> 1, self.bytes.len());
            if length == 0 || length > end - here {
                return Err(CodecError::BadCopy);
            }
            if step & 1 == 0 {
                self.bytes.extend_from_slice(reader.bytes(length)?);
                continue;
            }
            let distance = usize::try_from(reader.unsigned()?).unwrap_or(usize::MAX);
            let from = here.checked_sub(distance).filter(|_| distance > 0).ok_or(CodecError::BadCopy)?;
            // What is copied may reach into what is being written.
            for at in from..from + length {
                self.bytes.push(self.bytes[at]);
            }
        }
        split(&self.bytes[start..])
    }
}

fn put_literal(out: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.is_empty() {
        put(out, (bytes.len() as u64) << 1);
        out.extend_from_slice(bytes);
    }
}

fn texts(process: &Process) -> [&str; 4] {
    [&process.comm, &process.user, &process.unit, &process.args]
}

/// Each with its length before it but the last, whose length follows from the whole.
fn append(bytes: &mut Vec<u8>, texts: [&str; 4]) {
    for (at, text) in texts.into_iter().map(cut).enumerate() {
        if at < 3 {
            bytes.push(text.len() as u8);
        }
        bytes.extend_from_slice(text.as_bytes());
    }
}

fn split(bytes: &[u8]) -> Result<Words, CodecError> {
    let mut rest = bytes;
    let mut next = || {
        let (length, tail) = rest.split_first().ok_or(CodecError::Truncated)?;
        let (text, tail) = tail.split_at_checked((*length).into()).ok_or(CodecError::Truncated)?;
        rest = tail;
        owned(text)
    };
    let (comm, user, unit) = (next()?, next()?, next()?);
    Ok(Words { comm, user, unit, args: owned(rest)? })
}

fn owned(bytes: &[u8]) -> Result<Text, CodecError> {
    if bytes.len() > MAX_TEXT {
        return Err(CodecError::TooMany { what: "bytes of text", cap: MAX_TEXT });
    }
    std::str::from_utf8(bytes).map(Text::from).map_err(|_| CodecError::NotText)
}
