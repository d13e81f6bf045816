//! A part: a stretch of one host, epoch and schema, column by column, so that reading one metric
//! reads its columns only.
//!
//! Layout: version, number of ticks, number of columns, the length of each block, the blocks. The
//! blocks are: numbers, times, host's clock less time, time of receipt less time, one per column of
//! the schema, and last the rows (processes and units) as a chain of frames without columns.

use std::sync::Arc;

use sysop_common::ids::Seq;
use sysop_common::sample::codec::{Decoder, Encoder};
use sysop_common::sample::{MAX_COLUMNS, Process, Tick, Unit};
use sysop_common::time::UnixMs;

use super::ints::{self, Cursor, Damaged, put};
use super::types::Stored;

const VERSION: u8 = 1;
const SEQS: usize = 0;
const TIMES: usize = 1;
const CLOCKS: usize = 2;
const RECEIPTS: usize = 3;
const FIRST_COLUMN: usize = 4;
/// Most ticks in one part: an hour at one per second has 3,600; a stretch may be somewhat longer.
pub(super) const MAX_TICKS: usize = 1 << 16;
const ROWS: u8 = 5;

/// Encodes ticks of one epoch and schema, in the order of their numbers.
pub(super) fn encode(ticks: &[Arc<Stored>]) -> Vec<u8> {
    let columns = ticks.first().map_or(0, |first| first.schema.schema.columns.len());
    let column = |f: &dyn Fn(&Stored) -> i64| ints::encode(&ticks.iter().map(|t| f(t)).collect::<Vec<_>>());
    let mut blocks = vec![
        column(&|t| t.tick.seq.0 as i64),
        column(&|t| t.at.0),
        column(&|t| t.tick.at.0.wrapping_sub(t.at.0)),
        column(&|t| t.received_at.0.wrapping_sub(t.at.0)),
    ];
    blocks.extend((0..columns).map(|at| column(&|t| t.tick.values.get(at).copied().unwrap_or_default())));
    blocks.push(encode_rows(ticks));

    let mut out = vec![VERSION];
    put(&mut out, ticks.len() as u64);
    put(&mut out, columns as u64);
    blocks.iter().for_each(|block| put(&mut out, block.len() as u64));
    blocks.iter().for_each(|block| out.extend_from_slice(block));
    out
}

fn encode_rows(ticks: &[Arc<Stored>]) -> Vec<u8> {
    let (mut encoder, mut plain, mut frame) = (Encoder::default(), vec![ROWS], Vec::new());
    for (at, stored) in ticks.iter().enumerate() {
        let rows = Tick {
            seq: Seq(at as u64 + 1),
            at: UnixMs(0),
            values: Vec::new(),
            processes: stored.tick.processes.clone(),
            units: stored.tick.units.clone(),
        };
        frame.clear();
        encoder.encode(&rows, &mut frame);
        put(&mut plain, frame.len() as u64);
        plain.extend_from_slice(&frame);
    }
    ints::pack(plain)
}

/// A part whose blocks are found but not decoded.
#[derive(Debug, Clone)]
pub(super) struct Part<'a> {
    ticks: usize,
    blocks: Vec<&'a [u8]>,
}

impl<'a> Part<'a> {
    /// Finds the blocks.
    pub(super) fn open(body: &'a [u8]) -> Result<Self, Damaged> {
        let mut cursor = Cursor(body);
        if cursor.byte()? != VERSION {
            return Err(Damaged("part has an unknown version"));
        }
        let (ticks, columns) = (cursor.len()?, cursor.len()?);
        if ticks > MAX_TICKS || columns > MAX_COLUMNS {
            return Err(Damaged("part has too many ticks or columns"));
        }
        let lengths = (0..FIRST_COLUMN + columns + 1).map(|_| cursor.len()).collect::<Result<Vec<_>, _>>()?;
        let blocks = lengths.into_iter().map(|len| cursor.bytes(len)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { ticks, blocks })
    }

    /// Number of columns.
    pub(super) fn columns(&self) -> usize {
        self.blocks.len().saturating_sub(FIRST_COLUMN + 1)
    }

    fn block(&self, at: usize) -> Result<Vec<i64>, Damaged> {
        ints::decode(self.blocks.get(at).ok_or(Damaged("part lacks a column"))?, self.ticks)
    }

    /// Numbers of the ticks.
    pub(super) fn seqs(&self) -> Result<Vec<u64>, Damaged> {
        Ok(self.block(SEQS)?.into_iter().map(|seq| seq as u64).collect())
    }

    /// Times of the ticks, ms on the controller's clock.
    pub(super) fn times(&self) -> Result<Vec<i64>, Damaged> {
        self.block(TIMES)
    }

    /// The values of one column.
    pub(super) fn column(&self, at: usize) -> Result<Vec<i64>, Damaged> {
        if at >= self.columns() {
            return Err(Damaged("part lacks a column"));
        }
        self.block(FIRST_COLUMN + at)
    }

    /// Calls `f` with the position, processes and units of each tick, in order, until it returns false.
    pub(super) fn each_rows(
        &self,
        mut f: impl FnMut(usize, &[Process], &[Unit]) -> bool,
    ) -> Result<(), Damaged> {
        let (kind, plain) = ints::unpack(self.blocks.last().ok_or(Damaged("part lacks its rows"))?)?;
        if kind != ROWS {
            return Err(Damaged("part's rows have an unknown kind"));
        }
        let (mut cursor, mut decoder) = (Cursor(&plain), Decoder::default());
        for at in 0..self.ticks {
            let len = cursor.len()?;
            let frame = cursor.bytes(len)?;
            let tick = decoder.decode(frame, 0).map_err(|_| Damaged("part's rows do not decode"))?;
            if !f(at, &tick.processes, &tick.units) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// All ticks, each with its time and the time of its receipt.
    pub(super) fn ticks(&self) -> Result<Vec<(Tick, UnixMs, UnixMs)>, Damaged> {
        let (seqs, times) = (self.seqs()?, self.times()?);
        let (clocks, receipts) = (self.block(CLOCKS)?, self.block(RECEIPTS)?);
        let columns = (0..self.columns()).map(|at| self.column(at)).collect::<Result<Vec<_>, _>>()?;
        let mut ticks = Vec::with_capacity(self.ticks);
        self.each_rows(|at, processes, units| {
            let time = times[at];
            let tick = Tick {
                seq: Seq(seqs[at]),
                at: UnixMs(time.wrapping_add(clocks[at])),
                values: columns.iter().map(|column| column[at]).collect(),
                processes: processes.to_vec(),
                units: units.to_vec(),
            };
            ticks.push((tick, UnixMs(time), UnixMs(time.wrapping_add(receipts[at]))));
            true
        })?;
        Ok(ticks)
    }
}
