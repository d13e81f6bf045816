//! From controller to agent. Whatever is not a signed order is bounded on the host.

use serde::{Deserialize, Serialize};

use super::frame::{Frame, kind};
use super::{Welcome, WireError, limits, put};
use crate::bytes::Bytes;
use crate::ids::{Epoch, OrderId, Seq};
use crate::order::SignedOrder;
use crate::probe::ProbeList;
use crate::query::Query;

/// A message from a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Downward {
    /// Answers the hello.
    Welcome(Welcome),
    /// Samples and gaps up to a number are stored.
    Ack(Ack),
    /// Asks for an action.
    Order(Box<SignedOrder>),
    /// Withdraws an order that has not started.
    Cancel(OrderId),
    /// Changes settings within the host's own bounds.
    Configure(Configure),
    /// A new certificate.
    Renewed(Renewed),
    /// Asks for a reading.
    Query(QueryRequest),
    /// An order's events up to a number of the journal are stored.
    EventAck {
        /// Of which order.
        order: OrderId,
        /// Up to which number of the journal.
        number: u64,
    },
    /// The controller ends the session, and says why.
    Close(String),
    /// The probes that the host is asked to run, in place of those before.
    Probes(ProbeList),
}

/// Cumulative acknowledgement: everything up to `seq` is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Of which epoch.
    pub epoch: Epoch,
    /// The last number that is stored or covered by a stored gap.
    pub seq: Seq,
}

/// Settings that a controller may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    /// Interval between samples, in ms.
    pub interval_ms: u32,
    /// Window over which reconnects are spread, in ms.
    pub reconnect_window_ms: u32,
}

/// A new certificate for the key of a [`super::RenewRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// The certificate, DER.
    pub certificate: Bytes,
}

/// A reading that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryRequest {
    /// Number within the session, repeated in the answer.
    pub id: u64,
    /// What to read.
    pub query: Query,
}

impl Downward {
    /// Appends the message to `out` as a frame.
    ///
    /// # Errors
    /// When it is over its cap.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        match self {
            Self::Welcome(m) => put(out, kind::WELCOME, m),
            Self::Ack(m) => put(out, kind::ACK, m),
            Self::Order(m) => put(out, kind::ORDER, m),
            Self::Cancel(m) => put(out, kind::CANCEL, m),
            Self::Configure(m) => put(out, kind::CONFIGURE, m),
            Self::Renewed(m) => put(out, kind::RENEWED, m),
            Self::Query(m) => put(out, kind::QUERY, m),
            Self::EventAck { order, number } => put(out, kind::EVENT_ACK, &(order, number)),
            Self::Close(m) => put(out, kind::CLOSE, m),
            Self::Probes(m) => put(out, kind::PROBES, m),
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
            kind::WELCOME => Self::Welcome(limits::decode(body).map_err(wrap)?),
            kind::ACK => Self::Ack(limits::decode(body).map_err(wrap)?),
            kind::ORDER => Self::Order(limits::decode(body).map_err(wrap)?),
            kind::CANCEL => Self::Cancel(limits::decode(body).map_err(wrap)?),
            kind::CONFIGURE => Self::Configure(limits::decode(body).map_err(wrap)?),
            kind::RENEWED => Self::Renewed(limits::decode(body).map_err(wrap)?),
            kind::QUERY => Self::Query(limits::decode(body).map_err(wrap)?),
            kind::EVENT_ACK => {
                let (order, number) = limits::decode(body).map_err(wrap)?;
                Self::EventAck { order, number }
            }
            kind::CLOSE => Self::Close(limits::decode(body).map_err(wrap)?),
            kind::PROBES => Self::Probes(limits::decode(body).map_err(wrap)?),
            other => return Err(WireError::UnknownKind(other)),
        })
    }
}
