//! From spool entries to messages: chains of differences, batches, and what is on its way.
//!
//! At most [`IN_FLIGHT`] bytes are sent and not acknowledged, so that a slow network still brings an
//! acknowledgement within the time that the session may be silent.

use std::collections::VecDeque;
use std::sync::Arc;

use sysop_common::bytes::Bytes;
use sysop_common::ids::{Epoch, SchemaId, Seq};
use sysop_common::sample::codec::{Decoder, Encoder};
use sysop_common::sample::{Schema, Tick};
use sysop_common::wire::{Chain, Gap, GapReason, Now, Samples, Upward, WireError};

use crate::spool::{Entry, MAX_FRAME, Sample};

/// A message of samples is closed at this size; a single large frame may be longer.
const BATCH: usize = 16 * 1024;
/// Most bytes that are sent and not acknowledged.
const IN_FLIGHT: usize = 64 * 1024;
/// Most messages that are sent and not acknowledged.
const IN_FLIGHT_MESSAGES: usize = 512;
/// Schemas that the controller is taken to remember on one connection.
const SCHEMAS: usize = 8;
/// With this many samples to catch up at the start of a session, live values go ahead of them.
const BEHIND: u64 = 16;

/// Where samples come from.
pub(super) trait Source {
    /// The next entry that is not acknowledged.
    fn next(&mut self) -> Option<Entry>;
    /// The newest sample.
    fn newest(&self) -> Option<Arc<Sample>>;
    /// Numbers that are not acknowledged.
    fn backlog(&self) -> u64;
}

/// The upward stream of one connection.
#[derive(Default)]
pub(super) struct Feed {
    encoder: Encoder,
    chain: Option<(Epoch, SchemaId)>,
    schemas: VecDeque<SchemaId>,
    /// Per epoch the highest number sent, in the order of sending.
    sent: Vec<(Epoch, Seq)>,
    in_flight: VecDeque<(Epoch, Seq, usize)>,
    in_flight_bytes: usize,
    acked: Option<(Epoch, Seq)>,
    /// Whether there was more than one batch took.
    behind: Option<bool>,
    live: Option<Seq>,
    may_live: bool,
}

/// A message of samples that is being filled.
#[derive(Default)]
struct Batch {
    chain: Option<Chain>,
    frames: Vec<Bytes>,
    bytes: usize,
    last: Option<(Epoch, Seq)>,
}

impl Feed {
    /// Whether the controller takes samples out of order.
    pub(super) fn allow_live(&mut self, allowed: bool) {
        self.may_live = allowed;
    }

    /// Whether something is sent and not acknowledged.
    pub(super) fn awaits_ack(&self) -> bool {
        !self.in_flight.is_empty()
    }

    fn is_full(&self) -> bool {
        self.in_flight_bytes >= IN_FLIGHT || self.in_flight.len() >= IN_FLIGHT_MESSAGES
    }

    /// Appends the next batch to `out`; nothing while the controller has enough to acknowledge.
    ///
    /// # Errors
    /// When a message cannot be encoded.
    pub(super) fn fill(&mut self, source: &mut dyn Source, out: &mut Vec<u8>) -> Result<(), WireError> {
        self.put_live(source, out)?;
        if self.is_full() {
            self.behind = Some(true);
            return Ok(());
        }
        let (start, mut batch) = (out.len(), Batch::default());
        let mut more = true;
        while out.len() - start + batch.bytes < BATCH {
            match source.next() {
                Some(Entry::Gap(gap)) => {
                    self.flush(&mut batch, out)?;
                    self.put_gap(gap, out)?;
                }
                Some(Entry::Sample { epoch, seq, at, schema_id, schema, frame, tick }) => {
                    let Some(tick) = tick.or_else(|| decoded(&frame, &schema)) else {
                        self.flush(&mut batch, out)?;
                        let seqs = Some((seq, seq));
                        let reason = GapReason::SpoolCorrupt;
                        self.put_gap(Gap { epoch, seqs, from: at, to: at, reason }, out)?;
                        continue;
                    };
                    if self.chain != Some((epoch, schema_id)) {
                        self.flush(&mut batch, out)?;
                        self.put_schema(schema_id, &schema, out)?;
                        self.begin(epoch, schema_id, &mut batch);
                    }
                    let mut bytes = Vec::new();
                    self.encoder.encode_shared(tick.clone(), &mut bytes);
                    if bytes.len() > MAX_FRAME {
                        // A difference can be longer than the whole, which the spool holds to its cap.
                        self.flush(&mut batch, out)?;
                        self.begin(epoch, schema_id, &mut batch);
                        bytes.clear();
                        self.encoder.encode_shared(tick, &mut bytes);
                    } else if batch.bytes + bytes.len() > MAX_FRAME {
                        self.flush(&mut batch, out)?;
                    }
                    batch.bytes += bytes.len();
                    batch.frames.push(Bytes(bytes));
                    batch.last = Some((epoch, seq));
                }
                None => {
                    more = false;
                    break;
                }
            }
        }
        self.behind = Some(more);
        self.flush(&mut batch, out)
    }

    /// During a catch-up, the newest sample goes ahead: not durable, so that pages stay live.
    fn put_live(&mut self, source: &dyn Source, out: &mut Vec<u8>) -> Result<(), WireError> {
        if !self.may_live || !self.behind.unwrap_or_else(|| source.backlog() > BEHIND) {
            return Ok(());
        }
        let Some(newest) = source.newest().filter(|newest| self.live < Some(newest.seq)) else {
            return Ok(());
        };
        self.live = Some(newest.seq);
        self.put_schema(newest.schema_id, &newest.schema, out)?;
        let frame = Bytes(newest.frame.clone());
        Upward::Now(Now { schema: newest.schema_id, frame }).encode(out)
    }

    fn begin(&mut self, epoch: Epoch, schema: SchemaId, batch: &mut Batch) {
        self.encoder.reset();
        self.chain = Some((epoch, schema));
        batch.chain = Some(Chain { epoch, schema });
    }

    fn put_schema(&mut self, id: SchemaId, schema: &Arc<Schema>, out: &mut Vec<u8>) -> Result<(), WireError> {
        if self.schemas.contains(&id) {
            return Ok(());
        }
        if self.schemas.len() == SCHEMAS {
            self.schemas.pop_front();
        }
        self.schemas.push_back(id);
        Upward::Schema(Schema::clone(schema)).encode(out)
    }

    fn put_gap(&mut self, gap: Gap, out: &mut Vec<u8>) -> Result<(), WireError> {
        let (start, epoch, seqs) = (out.len(), gap.epoch, gap.seqs);
        Upward::Gap(gap).encode(out)?;
        if let Some((_, last)) = seqs {
            self.on_its_way(epoch, last, out.len() - start);
        }
        Ok(())
    }

    fn flush(&mut self, batch: &mut Batch, out: &mut Vec<u8>) -> Result<(), WireError> {
        let Batch { chain, frames, last: Some((epoch, seq)), .. } = std::mem::take(batch) else {
            return Ok(());
        };
        let start = out.len();
        Upward::Samples(Samples { chain, frames }).encode(out)?;
        self.on_its_way(epoch, seq, out.len() - start);
        Ok(())
    }

    fn on_its_way(&mut self, epoch: Epoch, seq: Seq, bytes: usize) {
        match self.sent.last_mut() {
            Some((last, highest)) if *last == epoch => *highest = seq,
            _ => self.sent.push((epoch, seq)),
        }
        self.in_flight.push_back((epoch, seq, bytes));
        self.in_flight_bytes += bytes;
    }

    /// What an acknowledgement covers, per epoch: the stream is in order, so everything that was sent
    /// before is covered too. What it names beyond what was sent here is ignored, and so is one that
    /// says nothing new.
    pub(super) fn acknowledged(&mut self, epoch: Epoch, seq: Seq) -> Vec<(Epoch, Seq)> {
        if self.acked.replace((epoch, seq)) == Some((epoch, seq)) {
            return Vec::new();
        }
        let Some(at) = self.sent.iter().position(|(sent, _)| *sent == epoch) else { return Vec::new() };
        let covers = |(e, s, _): &(Epoch, Seq, usize)| *e == epoch && *s <= seq;
        if let Some(last) = self.in_flight.iter().rposition(covers) {
            self.in_flight_bytes -= self.in_flight.drain(..=last).map(|(_, _, bytes)| bytes).sum::<usize>();
        }
        let mut covered: Vec<(Epoch, Seq)> = self.sent.drain(..at).collect();
        covered.extend(self.sent.first().map(|(epoch, highest)| (*epoch, seq.min(*highest))));
        covered
    }
}

/// What a frame of the spool holds; `None` when it is none.
fn decoded(frame: &[u8], schema: &Schema) -> Option<Arc<Tick>> {
    let mut decoder = Decoder::default();
    decoder.decode(frame, schema.columns.len()).ok()?;
    decoder.last_shared()
}
