//! Messages between collector and executor: one packet each, CBOR, bounded before it is decoded.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sysop_common::action::OrderEvent;
use sysop_common::bytes::Bytes;
use sysop_common::ids::OrderId;
use sysop_common::wire::{OutputChunk, limits};

/// Most bytes of a message.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// What a collector asks. Variants are only ever appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToExecutor {
    /// A signed order as it came from the controller, undecoded.
    Submit(Bytes),
    /// Withdraws an order that has not started.
    Cancel(OrderId),
    /// Report again whatever no controller has acknowledged.
    Poke,
    /// The controller has stored an order's events up to a number.
    Acknowledge {
        /// Of which order.
        order: OrderId,
        /// Up to which number of the journal.
        number: u64,
    },
}

/// What an executor says. Variants are only ever appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromExecutor {
    /// What happened to an order. Number 0 means that it is not in the journal and comes once.
    Event(OrderEvent),
    /// Output of a run, before the event that ends it.
    Output(OutputChunk),
    /// Nothing runs and the executor goes: connect again when there is something to ask.
    Idle,
}

/// A message could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProtocolError {
    /// It is larger than a packet may be.
    #[error("message has {0} bytes, at most {MAX_MESSAGE} are allowed")]
    TooLong(usize),
    /// It is not a message.
    #[error("message does not decode: {0}")]
    Decode(#[from] limits::DecodeError),
    /// It cannot be encoded.
    #[error("message cannot be encoded: {0}")]
    Encode(#[from] serde_cbor::Error),
}

/// The packet of a message.
pub(super) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, ProtocolError> {
    let bytes = serde_cbor::ser::to_vec_packed(message)?;
    if bytes.len() > MAX_MESSAGE { Err(ProtocolError::TooLong(bytes.len())) } else { Ok(bytes) }
}

/// The message in a packet.
pub(super) fn decode<T: DeserializeOwned>(packet: &[u8]) -> Result<T, ProtocolError> {
    if packet.len() > MAX_MESSAGE {
        return Err(ProtocolError::TooLong(packet.len()));
    }
    Ok(limits::decode(packet)?)
}
