//! Records and the frames that hold them.

use serde::{Deserialize, Serialize};
use sysop_common::action::{Action, Event};
use sysop_common::bytes::Digest;
use sysop_common::ids::{HostId, OrderId, sha256};
use sysop_common::order::{Order, Origin};
use sysop_common::time::UnixMs;
use sysop_common::wire::limits;

use super::clock::Stamp;

/// Bytes of a frame: four sectors. A torn write shows in the checksum, wherever it tears.
pub(super) const FRAME: usize = 2_048;
const MAGIC: [u8; 4] = *b"SYJ1";
/// Magic, length of the payload, number, checksum.
const HEAD: usize = 4 + 4 + 8 + 16;
/// Most bytes of an order's reason that are kept.
const MAX_REASON: usize = 160;

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Rises by one from record to record, and never falls.
    pub(super) number: u64,
    /// When it was written.
    pub(super) at: UnixMs,
    /// What it says.
    pub(super) body: Body,
}

/// What an entry says. Variants and fields are only ever appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Body {
    /// First in each file: what is known beyond the orders that follow.
    Base(Base),
    /// An order and the first thing that happened to it.
    Order(Box<OrderRecord>),
    /// What happened to it then.
    Event { order: OrderId, event: Event },
    /// Its events up to a number are stored by the controller.
    Acknowledged { order: OrderId, number: u64 },
}

/// What is known beyond single orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Base {
    /// Whose journal it is.
    pub(super) host: HostId,
    /// When root reset it.
    pub(super) reset_at: Option<UnixMs>,
    /// Highest lease of a verified order.
    pub(super) lease: Option<u64>,
    /// Latest time that a verified order proved.
    pub(super) floor: UnixMs,
    /// Number of the last record that was written before this file.
    pub(super) last: u64,
    /// How many records were taken over and follow this one: all of them must be there.
    pub(super) kept: u64,
}

/// What is kept of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OrderRecord {
    pub(super) id: OrderId,
    /// SHA-256 of its signed bytes.
    pub(super) digest: Digest,
    pub(super) action: Action,
    pub(super) not_before: UnixMs,
    pub(super) expires: UnixMs,
    pub(super) lease: u64,
    /// Head of the controller's audit chain: a controller that later shows another history is found out.
    pub(super) audit_head: Digest,
    pub(super) origin: Origin,
    /// Why, in the controller's words.
    pub(super) reason: String,
    /// Accepted, refused or cancelled.
    pub(super) event: Event,
    pub(super) stamp: Stamp,
    /// Its events up to this number are stored by the controller; written when the file is rewritten.
    pub(super) acknowledged: u64,
}

impl OrderRecord {
    pub(super) fn new(order: &Order, digest: Digest, event: Event, stamp: Stamp) -> Self {
        Self {
            id: order.id,
            digest,
            action: order.action.clone(),
            not_before: order.not_before,
            expires: order.expires,
            lease: order.lease,
            audit_head: order.audit_head,
            origin: order.origin,
            reason: shortened(&order.reason, MAX_REASON),
            event,
            stamp,
            acknowledged: 0,
        }
    }
}

/// `text`, cut at a character's end to at most `bytes` bytes.
pub(super) fn shortened(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = (0..=bytes.saturating_sub(3)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    format!("{}…", &text[..end])
}

/// Which frame of which file: part of the checksum, so that a frame is valid in its place only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Drawn when the journal was made.
    pub(super) journal: u128,
    pub(super) generation: u64,
    pub(super) index: u64,
}

/// The frame of a record, or `None` when the record is too large for one.
pub(super) fn encode(record: &Record, place: Place) -> Option<Vec<u8>> {
    let payload = serde_cbor::ser::to_vec_packed(&(record.at, &record.body)).ok()?;
    encode_payload(record.number, &payload, place)
}

/// A frame with any payload.
pub(super) fn encode_payload(number: u64, payload: &[u8], place: Place) -> Option<Vec<u8>> {
    if payload.len() > FRAME - HEAD {
        return None;
    }
    let mut frame = Vec::with_capacity(FRAME);
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&u32::try_from(payload.len()).ok()?.to_le_bytes());
    frame.extend_from_slice(&number.to_le_bytes());
    frame.extend_from_slice(&checksum(number, payload, place));
    frame.extend_from_slice(payload);
    frame.resize(FRAME, 0);
    Some(frame)
}

/// The record in a frame, if it is a valid one in this place.
pub(super) fn decode(frame: &[u8], place: Place) -> Option<Record> {
    let (number, payload) = decode_payload(frame, place)?;
    let (at, body) = limits::decode(payload).ok()?;
    Some(Record { number, at, body })
}

/// Number and payload of a frame, if it is a valid one in this place.
pub(super) fn decode_payload(frame: &[u8], place: Place) -> Option<(u64, &[u8])> {
    if frame.get(..4)? != MAGIC {
        return None;
    }
    let length = u32::from_le_bytes(frame.get(4..8)?.try_into().ok()?);
    let number = u64::from_le_bytes(frame.get(8..16)?.try_into().ok()?);
    let payload = frame.get(HEAD..HEAD.checked_add(usize::try_from(length).ok()?)?)?;
    (frame.get(16..32)? == checksum(number, payload, place)).then_some((number, payload))
}

fn checksum(number: u64, payload: &[u8], place: Place) -> [u8; 16] {
    let mut text = Vec::with_capacity(payload.len() + 40);
    text.extend_from_slice(&place.journal.to_le_bytes());
    text.extend_from_slice(&place.generation.to_le_bytes());
    text.extend_from_slice(&place.index.to_le_bytes());
    text.extend_from_slice(&number.to_le_bytes());
    text.extend_from_slice(payload);
    let mut short = [0; 16];
    short.copy_from_slice(&sha256(&text)[..16]);
    short
}
