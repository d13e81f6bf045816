//! What the link asks of the other steps, and hands to them. `ingest` and `dispatch` implement these;
//! the wiring joins them.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use sysop_common::action::OrderEvent;
use sysop_common::bytes::Digest;
use sysop_common::ids::{Epoch, HostId, Seq};
use sysop_common::sample::Schema;
use sysop_common::time::UnixMs;
use sysop_common::wire::{
    Ack, EnrolAnswer, EnrolRequest, Gap, Hello, Inventory, Now, OutputChunk, RenewRequest, Renewed, Samples,
};
use tokio::sync::Notify;

use crate::wake::Signal;

/// A future in a box: these traits are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a session is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// QUIC over UDP.
    Quic,
    /// TLS over TCP.
    Tcp,
}

impl Transport {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        }
    }
}

/// Who is at the other end: from the TLS session alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The host that the certificate names.
    pub host: HostId,
    /// SHA-256 of the certificate.
    pub fingerprint: Digest,
    /// How.
    pub transport: Transport,
    /// From where.
    pub address: SocketAddr,
}

/// Why a peer gets no session, or no longer. The text is sent to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// What a session may do, decided before its first byte is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// When the certificate ends, and the session with it.
    pub not_after: UnixMs,
    /// Whether the host was this controller's already.
    pub leased: bool,
}

/// A session that was opened.
pub struct Opened {
    /// Takes what the host sends.
    pub intake: Box<dyn Intake>,
    /// For each epoch of the hello, the last number that is stored.
    pub stored: Vec<(Epoch, Seq)>,
}

/// Takes samples in and says who may come.
pub trait Gate: Send + Sync {
    /// Whether a peer with this certificate may have a session.
    fn admit<'a>(&'a self, peer: &'a Peer) -> BoxFuture<'a, Result<Admission, Refused>>;

    /// Opens the intake of a session whose hello is accepted.
    fn open<'a>(
        &'a self,
        peer: &'a Peer,
        hello: &'a Hello,
        admission: Admission,
    ) -> BoxFuture<'a, Result<Opened, Refused>>;

    /// Certificates that are revoked and not expired: sessions that use them end.
    fn revoked(&self) -> BoxFuture<'_, Result<Vec<Digest>, Refused>>;

    /// Number of hosts, from which the reconnect window follows.
    fn hosts(&self) -> BoxFuture<'_, u64>;
}

/// Takes what one session sends, in order.
pub trait Intake: Send {
    /// A schema was announced.
    ///
    /// # Errors
    /// When it is not acceptable: the session ends with this reason.
    fn schema(&mut self, schema: Schema) -> Result<(), Refused>;

    /// Samples came. They are decoded and queued; the ack follows their commit.
    ///
    /// # Errors
    /// When they do not decode: the session ends with this reason, nothing that was accepted is lost.
    fn samples(&mut self, samples: Samples) -> Result<(), Refused>;

    /// Goes on with samples that waited for room. Called after each signal.
    ///
    /// # Errors
    /// As [`Intake::samples`].
    fn pump(&mut self) -> Result<(), Refused>;

    /// A gap came, in order with the samples.
    ///
    /// # Errors
    /// When it is not acceptable.
    fn gap(&mut self, gap: Gap) -> Result<(), Refused>;

    /// The newest sample came, out of order.
    ///
    /// # Errors
    /// When it does not decode.
    fn now(&mut self, now: Now) -> Result<(), Refused>;

    /// The host said what it is.
    fn inventory<'a>(&'a mut self, inventory: &'a Inventory) -> BoxFuture<'a, Result<(), Refused>>;

    /// Woken when there are acks to send, and when there is room again.
    fn signal(&self) -> Arc<Notify>;

    /// Whether more may be read now: the caps on queued bytes are not reached.
    fn has_room(&self) -> bool;

    /// What is committed and not acknowledged on this session yet.
    fn acks(&mut self) -> Vec<Ack>;

    /// Whether something came again, so that acks are due without a commit.
    fn resent(&self) -> bool;
}

/// Takes what orders bring back. Implemented by dispatch.
pub trait ResultSink: Send + Sync {
    /// Something happened to an order. Once this returns `Ok` it is committed, and the host is told so.
    /// A resend is harmless: the key is (order, number).
    fn order_event(&self, host: HostId, event: OrderEvent) -> BoxFuture<'_, Result<(), Refused>>;

    /// A piece of a run's output. A resend is harmless: the key is (order, offset).
    fn output(&self, host: HostId, chunk: OutputChunk) -> BoxFuture<'_, Result<(), Refused>>;
}

/// Takes hosts in and renews their certificates. Implemented by the wiring over `identity`, so that it
/// can be audited there.
pub trait Enroller: Send + Sync {
    /// Answers a request for enrolment.
    fn enrol(&self, request: EnrolRequest, from: SocketAddr) -> BoxFuture<'_, EnrolAnswer>;

    /// Answers a request for the next certificate.
    fn renew<'a>(&'a self, peer: &'a Peer, request: RenewRequest) -> BoxFuture<'a, Result<Renewed, Refused>>;
}

/// Something that people or other steps should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// A session is live.
    Opened {
        /// Whose.
        peer: Peer,
        /// Since when.
        since: UnixMs,
    },
    /// It ended.
    Closed {
        /// Whose.
        peer: Peer,
        /// Since when it was live.
        since: UnixMs,
        /// Why.
        reason: String,
        /// Whether the agent ended it in order: it was stopped, or goes another way.
        in_order: bool,
    },
    /// Two agents are alive with one certificate. The second is refused.
    Clone {
        /// The one that was refused.
        peer: Peer,
    },
}

/// Hears [`LinkEvent`]s. Must not block.
pub trait Events: Send + Sync {
    /// Something happened.
    fn happened(&self, event: LinkEvent);
}

/// All of them.
#[derive(Clone)]
pub struct Ports {
    /// Takes samples in.
    pub gate: Arc<dyn Gate>,
    /// Takes results of orders.
    pub results: Arc<dyn ResultSink>,
    /// Takes hosts in.
    pub enroller: Arc<dyn Enroller>,
    /// Hears what happens.
    pub events: Arc<dyn Events>,
    /// Somebody revoked a certificate or removed a host.
    pub revoked: Signal,
}
