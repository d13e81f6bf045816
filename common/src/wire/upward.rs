//! From agent to controller.

use serde::{Deserialize, Serialize};

use super::frame::{self, Frame, kind};
use super::{Hello, Inventory, WireError, limits};
use crate::action::OrderEvent;
use crate::bytes::{Bytes, SchemaId};
use crate::ids::{Epoch, OrderId, Seq};
use crate::query::Answer;
use crate::sample::Schema;
use crate::time::UnixMs;

/// A message from an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upward {
    /// Opens the session.
    Hello(Hello),
    /// What the host is.
    Inventory(Box<Inventory>),
    /// Meaning of the columns, before the first samples that use it.
    Schema(Schema),
    /// Samples, durable: kept by the agent until acknowledged.
    Samples(Samples),
    /// The newest sample while older ones are being caught up. Not durable.
    Now(Now),
    /// Samples that will never come, or time without any. Durable, in order with the samples.
    Gap(Gap),
    /// What happened to an order. Kept by the executor until acknowledged.
    OrderEvent(OrderEvent),
    /// Output of a run, on a stream of its own where the transport has streams.
    Output(OutputChunk),
    /// Answer to a reading.
    Answer(Answer),
    /// Asks for a new certificate.
    RenewRequest(RenewRequest),
}

/// Frames of one chain, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    /// Starts a chain: the first frame is full. Absent while the chain goes on.
    pub chain: Option<Chain>,
    /// Encoded ticks (see [`crate::sample::codec`]).
    pub frames: Vec<Bytes>,
}

/// What the frames of a chain belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The agent's epoch in which they were taken.
    pub epoch: Epoch,
    /// The schema of their columns.
    pub schema: SchemaId,
}

/// The newest sample, out of order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// The schema of its columns.
    pub schema: SchemaId,
    /// A full frame.
    pub frame: Bytes,
}

/// Why samples are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The spool reached its bound in bytes; the oldest samples were dropped.
    SpoolFull,
    /// The spool reached its bound in age.
    SpoolAge,
    /// Samples in the spool could not be read back.
    SpoolCorrupt,
    /// A sample could not be written to the spool.
    SpoolWrite,
    /// The agent was not running.
    AgentDown,
    /// The agent's state was lost or rolled back.
    StateLost,
    /// The agent was suspended or too slow to sample in time.
    Stalled,
    /// The controller's store does not take them, however often it is tried.
    Refused,
}

/// Samples that will never come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The epoch that it belongs to.
    pub epoch: Epoch,
    /// First and last number that are missing; `None` when no number was given to them.
    pub seqs: Option<(Seq, Seq)>,
    /// Time from which on samples are missing.
    pub from: UnixMs,
    /// Time up to which they are missing.
    pub to: UnixMs,
    /// Why.
    pub reason: GapReason,
}

/// A piece of a run's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputChunk {
    /// Of which run.
    pub order: OrderId,
    /// Position of the first byte in the whole output.
    pub offset: u64,
    /// The bytes, standard output and error as they came.
    pub bytes: Bytes,
}

/// Asks for a certificate for a new key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewRequest {
    /// PKCS#10 request, DER, signed by the new key.
    pub csr: Bytes,
}

impl Upward {
    /// Appends the message to `out` as a frame.
    ///
    /// # Errors
    /// When it is over its cap.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        match self {
            Self::Hello(m) => super::put(out, kind::HELLO, m),
            Self::Inventory(m) => super::put(out, kind::INVENTORY, m),
            Self::Schema(m) => super::put(out, kind::SCHEMA, m),
            Self::Samples(m) => super::put(out, kind::SAMPLES, m),
            Self::Now(m) => super::put(out, kind::NOW, m),
            Self::Gap(m) => super::put(out, kind::GAP, m),
            Self::OrderEvent(m) => super::put(out, kind::ORDER_EVENT, m),
            Self::Output(m) => super::put(out, kind::OUTPUT, m),
            Self::Answer(m) => super::put(out, kind::ANSWER, m),
            Self::RenewRequest(m) => super::put(out, kind::RENEW_REQUEST, m),
        }
    }

    /// The message in a frame.
    ///
    /// # Errors
    /// When the kind is unknown or the body does not decode.
    pub fn decode(frame: Frame<'_>) -> Result<Self, WireError> {
        let body = frame.body;
        let kind = frame.kind;
        let wrap = |source| WireError::Body { kind, source };
        Ok(match kind {
            kind::HELLO => Self::Hello(limits::decode(body).map_err(wrap)?),
            kind::INVENTORY => Self::Inventory(limits::decode(body).map_err(wrap)?),
            kind::SCHEMA => Self::Schema(limits::decode(body).map_err(wrap)?),
            kind::SAMPLES => Self::Samples(limits::decode(body).map_err(wrap)?),
            kind::NOW => Self::Now(limits::decode(body).map_err(wrap)?),
            kind::GAP => Self::Gap(limits::decode(body).map_err(wrap)?),
            kind::ORDER_EVENT => Self::OrderEvent(limits::decode(body).map_err(wrap)?),
            kind::OUTPUT => Self::Output(limits::decode(body).map_err(wrap)?),
            kind::ANSWER => Self::Answer(limits::decode(body).map_err(wrap)?),
            kind::RENEW_REQUEST => Self::RenewRequest(limits::decode(body).map_err(wrap)?),
            other => return Err(WireError::UnknownKind(other)),
        })
    }
}

/// Encodes `message` as the body of a frame of `kind`.
pub(super) fn put<T: Serialize>(out: &mut Vec<u8>, kind: u8, message: &T) -> Result<(), WireError> {
    let body = serde_cbor::ser::to_vec_packed(message).map_err(WireError::Encode)?;
    frame::put(out, kind, &body)
}
