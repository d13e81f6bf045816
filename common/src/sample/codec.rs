//! Frames: a tick as bytes, full or as the difference to the tick before it.
//!
//! A **full** frame decodes by itself under its schema. A **delta** frame decodes only right after
//! the tick that it was made from, so a reader keeps the last tick of each chain. Integers are
//! LEB128, signed ones zigzag; a process or unit that was in the last tick is named by its position
//! there; processes that left are remembered for a while (the same on both sides) so that their
//! names do not travel again when they come back; of new ones travels what differs from the texts that
//! were there already. What the kernel counts in pages, sectors or ticks travels in those.
//!
//! The first byte is the frame's kind, which also is its version: 3 full, 4 delta.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use super::rows::{self, Identity};
use super::varint::{
    Reader, bit, put, put_bitmap, put_signed, put_sparse, put_stepped, read_sparse, read_stepped, step_of,
};
use super::window::Window;
use super::{MAX_COLUMNS, MAX_PROCESSES, MAX_UNITS, NOT_OBSERVED, Texts, Tick, Unit};
use crate::ids::Seq;
use crate::time::UnixMs;

const FULL: u8 = 3;
const DELTA: u8 = 4;
/// Processes remembered after they left the top list.
pub(super) const REMEMBERED: usize = 64;

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end too early.
    #[error("frame ends too early")]
    Truncated,
    /// Bytes are left over after the frame.
    #[error("frame has bytes left over")]
    Trailing,
    /// A number does not fit.
    #[error("number does not fit")]
    Overflow,
    /// A count exceeds its cap.
    #[error("more than {cap} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The cap.
        cap: usize,
    },
    /// Text is not UTF-8.
    #[error("text is not UTF-8")]
    NotText,
    /// The first byte names no kind of frame.
    #[error("unknown kind of frame {0}")]
    UnknownKind(u8),
    /// The number of values differs from the schema's columns.
    #[error("frame has {got} values, its schema has {want} columns")]
    WrongColumns {
        /// Values in the frame.
        got: usize,
        /// Columns of the schema.
        want: usize,
    },
    /// A delta frame came without the tick that it builds on.
    #[error("delta frame without the frame before it")]
    NoBase,
    /// A position names no row of the tick before.
    #[error("frame names a row that the frame before it does not have")]
    UnknownRow,
    /// A text copies what is not there, or more than it may hold.
    #[error("text copies from where nothing is")]
    BadCopy,
}

/// State of one chain of frames; the same on both sides.
#[derive(Debug, Clone, Default)]
struct Chain {
    /// Shared, so that whoever keeps the newest tick of a host keeps this one.
    last: Option<Arc<Tick>>,
    left: VecDeque<Identity>,
}

impl Chain {
    fn start(&mut self, tick: Arc<Tick>) {
        self.left.clear();
        self.last = Some(tick);
    }

    /// Moves on to `tick`: processes that left are remembered, newest first.
    fn advance(&mut self, tick: Arc<Tick>) {
        let before = self.last.replace(tick);
        let (Some(before), Some(now)) = (before, self.last.as_ref()) else { return };
        let present = |pid, start| now.processes.iter().any(|p| p.pid == pid && p.start_ticks == start);
        self.left.retain(|gone| !present(gone.pid, gone.start_ticks));
        for process in before.processes.iter().filter(|p| !present(p.pid, p.start_ticks)) {
            self.left.push_front(Identity::of(process));
        }
        self.left.truncate(REMEMBERED);
    }
}

/// Writes the frames of one chain.
#[derive(Debug, Clone, Default)]
pub struct Encoder {
    chain: Chain,
}

impl Encoder {
    /// The next frame will be full.
    pub fn reset(&mut self) {
        self.chain = Chain::default();
    }

    /// Encodes `tick`, as a delta where the chain allows it.
    ///
    /// A full frame is written first in a chain, when the number of columns changed (a new schema
    /// needs [`Encoder::reset`] all the same), and when a value began or ceased to be observed.
    pub fn encode(&mut self, tick: &Tick, out: &mut Vec<u8>) {
        self.encode_shared(Arc::new(tick.normal().into_owned()), out);
    }

    /// As [`Encoder::encode`], and keeps `tick` itself where it is within the caps already.
    pub fn encode_shared(&mut self, tick: Arc<Tick>, out: &mut Vec<u8>) {
        let tick = match tick.normal() {
            Cow::Borrowed(_) => tick,
            Cow::Owned(tick) => Arc::new(tick),
        };
        let delta = self.chain.last.as_ref().filter(|last| tick.can_follow(last));
        if let Some(last) = delta {
            encode_delta(last, &self.chain.left, &tick, out);
            self.chain.advance(tick);
        } else {
            put_full(&tick, out);
            self.chain.start(tick);
        }
    }
}

/// Encodes `tick` as a frame that decodes by itself.
pub fn encode_full(tick: &Tick, out: &mut Vec<u8>) {
    put_full(&tick.normal(), out);
}

/// Encodes `tick` after `last`, without any other memory: a delta where one is possible, else full.
///
/// A [`Decoder`] that read `last` reads it. Costs more than an [`Encoder`]'s frame only when a process
/// comes back; whoever keeps `last` anyway needs no second copy of it.
pub fn encode_after(last: Option<&Tick>, tick: &Tick, out: &mut Vec<u8>) {
    let tick = tick.normal();
    match last.filter(|last| tick.can_follow(last)) {
        Some(last) => encode_delta(last, &VecDeque::new(), &tick, out),
        None => put_full(&tick, out),
    }
}

/// `tick` must be normal (see [`Tick::normal`]).
fn put_full(tick: &Tick, out: &mut Vec<u8>) {
    out.push(FULL);
    put(out, tick.seq.0);
    put_signed(out, tick.at.0);
    put(out, tick.values.len() as u64);
    put_bitmap(out, tick.values.iter().map(|value| *value != NOT_OBSERVED));
    tick.values.iter().filter(|value| **value != NOT_OBSERVED).for_each(|value| put_signed(out, *value));
    put(out, tick.processes.len() as u64);
    let mut texts = Window::without_copies();
    for (at, process) in tick.processes.iter().enumerate() {
        rows::put_process(out, process, at.checked_sub(1).map(|at| &tick.processes[at]), &mut texts);
    }
    put(out, tick.units.len() as u64);
    tick.units.iter().for_each(|unit| rows::put_unit(out, unit));
}

fn encode_delta(last: &Tick, left: &VecDeque<Identity>, tick: &Tick, out: &mut Vec<u8>) {
    out.push(DELTA);
    put(out, tick.seq.0.wrapping_sub(last.seq.0));
    put_signed(out, tick.at.since(last.at));
    put_sparse(out, last.values.iter().zip(&tick.values).map(|(a, b)| a != b));
    for (before, now) in last.values.iter().zip(&tick.values).filter(|(a, b)| a != b) {
        put_stepped(out, now.wrapping_sub(*before), step_of(*before));
    }
    put(out, tick.processes.len() as u64);
    let (mut texts, mut near) = (Window::new(&last.processes, Some(left)), rows::newest(&last.processes));
    for process in &tick.processes {
        near = rows::put_process_ref(last, left, process, near, &mut texts, out);
    }
    put_units_delta(last, tick, out);
}

fn put_units_delta(last: &Tick, tick: &Tick, out: &mut Vec<u8>) {
    let units = &tick.units;
    let find =
        |name: &str| units.binary_search_by(|unit| unit.name.as_str().cmp(name)).ok().map(|at| &units[at]);
    let mut changed: Vec<(usize, &Unit)> = Vec::new();
    let mut removed: Vec<usize> = Vec::new();
    for (at, before) in last.units.iter().enumerate() {
        match find(&before.name) {
            Some(now) if now != before => changed.push((at, now)),
            Some(_) => {}
            None => removed.push(at),
        }
    }
    put(out, changed.len() as u64);
    let mut from = 0;
    for (at, now) in changed {
        put(out, (at - from) as u64);
        rows::put_unit_delta(out, &last.units[at], now);
        from = at;
    }
    put(out, removed.len() as u64);
    removed.iter().for_each(|at| put(out, *at as u64));
    let known = |unit: &&Unit| last.units.binary_search_by(|before| before.name.cmp(&unit.name)).is_ok();
    let added: Vec<&Unit> = units.iter().filter(|unit| !known(unit)).collect();
    put(out, added.len() as u64);
    added.iter().for_each(|unit| rows::put_unit(out, unit));
}

/// Reads the frames of one chain.
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    chain: Chain,
    texts: Option<Arc<Texts>>,
}

impl Decoder {
    /// One whose ticks share their texts with those of other chains.
    #[must_use]
    pub fn sharing(texts: Arc<Texts>) -> Self {
        Self { chain: Chain::default(), texts: Some(texts) }
    }

    /// The last tick read.
    #[must_use]
    pub fn last(&self) -> Option<&Tick> {
        self.chain.last.as_deref()
    }

    /// The last tick read, to keep.
    #[must_use]
    pub fn last_shared(&self) -> Option<Arc<Tick>> {
        self.chain.last.clone()
    }

    /// Forgets the chain: only a full frame can come next.
    pub fn reset(&mut self) {
        self.chain = Chain::default();
    }

    /// Decodes one frame under a schema of `columns` columns and returns the tick.
    ///
    /// # Errors
    /// When the bytes are not a frame. The chain is then as it was before.
    pub fn decode(&mut self, frame: &[u8], columns: usize) -> Result<&Tick, CodecError> {
        let mut reader = Reader::new(frame);
        let kind = reader.byte()?;
        let tick = match kind {
            FULL => {
                let mut tick = read_full(&mut reader, columns)?;
                self.texts.iter().for_each(|texts| texts.share(&mut tick));
                tick
            }
            DELTA => {
                let last = self.chain.last.as_ref().ok_or(CodecError::NoBase)?;
                read_delta(&mut reader, last, &self.chain.left, columns)?
            }
            other => return Err(CodecError::UnknownKind(other)),
        };
        if !reader.is_empty() {
            return Err(CodecError::Trailing);
        }
        let tick = Arc::new(tick);
        if kind == FULL {
            self.chain.start(tick)
        } else {
            self.chain.advance(tick)
        }
        self.chain.last.as_deref().ok_or(CodecError::NoBase)
    }
}

/// Whether `frame` decodes without the frame before it.
#[must_use]
pub fn is_full(frame: &[u8]) -> bool {
    frame.first() == Some(&FULL)
}

fn read_full(reader: &mut Reader<'_>, columns: usize) -> Result<Tick, CodecError> {
    let seq = Seq(reader.unsigned()?);
    let at = UnixMs(reader.signed()?);
    let count = reader.count(MAX_COLUMNS, "columns")?;
    if count != columns {
        return Err(CodecError::WrongColumns { got: count, want: columns });
    }
    let present = reader.bytes(count.div_ceil(8))?;
    let mut values = vec![NOT_OBSERVED; count];
    for (at, value) in values.iter_mut().enumerate() {
        if bit(present, at) {
            *value = reader.signed()?;
        }
    }
    let (mut processes, mut texts) = (Vec::new(), Window::new(&[], None));
    for _ in 0..reader.count(MAX_PROCESSES, "processes")? {
        let process = rows::read_process(reader, processes.last(), &mut texts)?;
        processes.push(process);
    }
    let mut units = Vec::new();
    for _ in 0..reader.count(MAX_UNITS, "units")? {
        units.push(rows::read_unit(reader)?);
    }
    // Ticks are kept for a while: without the room that growing left.
    processes.shrink_to_fit();
    units.shrink_to_fit();
    Ok(Tick { seq, at, values, processes, units })
}

fn read_delta(
    reader: &mut Reader<'_>,
    last: &Tick,
    left: &VecDeque<Identity>,
    columns: usize,
) -> Result<Tick, CodecError> {
    if last.values.len() != columns {
        return Err(CodecError::WrongColumns { got: last.values.len(), want: columns });
    }
    let seq = Seq(last.seq.0.checked_add(reader.unsigned()?).ok_or(CodecError::Overflow)?);
    let at = last.at.plus(reader.signed()?);
    let changed = read_sparse(reader, columns)?;
    let mut values = last.values.clone();
    for (at, value) in values.iter_mut().enumerate() {
        if bit(&changed, at) {
            *value = value.wrapping_add(read_stepped(reader, step_of(*value))?);
        }
    }
    let count = reader.count(MAX_PROCESSES, "processes")?;
    let mut processes = Vec::with_capacity(count.min(last.processes.len()));
    let mut texts = Window::new(&last.processes, Some(left));
    let mut near = rows::newest(&last.processes).cloned();
    for _ in 0..count {
        processes.push(rows::read_process_ref(reader, last, left, &mut near, &mut texts)?);
    }
    let units = read_units_delta(reader, last)?;
    Ok(Tick { seq, at, values, processes, units })
}

fn read_units_delta(reader: &mut Reader<'_>, last: &Tick) -> Result<Vec<Unit>, CodecError> {
    let mut units = last.units.clone();
    let mut at = 0usize;
    for _ in 0..reader.count(MAX_UNITS, "units")? {
        at = at.checked_add(reader.count(MAX_UNITS, "units")?).ok_or(CodecError::Overflow)?;
        let before = last.units.get(at).ok_or(CodecError::UnknownRow)?;
        units[at] = rows::read_unit_delta(reader, before)?;
    }
    let mut gone = Vec::new();
    for _ in 0..reader.count(MAX_UNITS, "units")? {
        let at = reader.count(MAX_UNITS, "units")?;
        gone.push(Some(at).filter(|at| *at < units.len()).ok_or(CodecError::UnknownRow)?);
    }
    if !gone.is_empty() {
        gone.sort_unstable();
        let mut at = 0..;
        units.retain(|_| at.next().is_some_and(|at| gone.binary_search(&at).is_err()));
    }
    for _ in 0..reader.count(MAX_UNITS, "units")? {
        units.push(rows::read_unit(reader)?);
    }
    if units.len() > MAX_UNITS {
        return Err(CodecError::TooMany { what: "units", cap: MAX_UNITS });
    }
    units.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(units)
}
