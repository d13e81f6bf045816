//! Sessions with agents: one QUIC endpoint and one TLS listener on the same port, the same frames on both.
//!
//! The application protocol decides what a connection may do: `sysop/1` needs a host's certificate before
//! any byte is read, `sysop-enroll/1` gets one request and one answer. Who a peer is comes from its TLS
//! session alone. The link knows no SQL and takes no decision: it asks through [`ports`].

mod carrier;
mod coming;
mod endpoint;
mod enrol;
mod outputs;
pub mod ports;
mod registry;
mod session;
mod socket;
#[cfg(test)]
pub(crate) mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use sysop_common::ids::{ControllerId, HostId};
use tokio::sync::watch;

use crate::clock::Clock;
pub use registry::{Delivered, NotConnected, QueryError, Registry, SessionView};

/// How often sessions are compared with the revoked certificates when nobody wakes the link: well within
/// the five seconds in which a revocation by another process takes effect.
const SWEEP: Duration = Duration::from_secs(3);
/// Connections of one host that may be coming in at once.
const MAX_OPENING: usize = 4;
/// Agents that may reconnect per second; see [`window_ms`].
const RECONNECTS_PER_S: u64 = 300;

/// Settings of the link.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Where to listen, UDP and TCP.
    pub address: SocketAddr,
    /// Interval of the agents' samples, ms.
    pub interval_ms: u32,
    /// Connections that may be coming in at once, per transport; a quarter of them from one source.
    pub max_handshakes: usize,
    /// Beyond so many, peers must show that their address is their own.
    pub retry_above: usize,
    /// TLS sessions that may be resumed: about the number of agents.
    pub resumable: usize,
}

impl Options {
    /// The usual ones.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, interval_ms: 10_000, max_handshakes: 512, retry_above: 256, resumable: 20_000 }
    }
}

/// The link cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address is taken or not ours.
    #[error(
        "cannot listen for agents on {address} (UDP and TCP): {source}; free the port or set another address"
    )]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The TLS settings lack what QUIC needs.
    #[error("the TLS settings lack the cipher suite that QUIC needs")]
    Crypto,
}

/// What all connections share.
struct Context {
    ports: ports::Ports,
    registry: Registry,
    controller: ControllerId,
    clock: Clock,
    options: Options,
    quic: coming::Places,
    tcp: coming::Places,
    /// Connections per host that are coming in.
    hosts: Arc<coming::Counter<HostId>>,
    enrolments: enrol::Rate,
    window_ms: AtomicU32,
}

impl Context {
    fn reconnect_window_ms(&self) -> u32 {
        self.window_ms.load(Ordering::Relaxed)
    }

    /// Ends sessions whose certificates are revoked, and keeps the reconnect window fit for the fleet.
    async fn sweep(&self, mut stop: watch::Receiver<bool>) {
        let mut wake = self.ports.revoked.listen();
        while !*stop.borrow() {
            match self.ports.gate.revoked().await {
                Ok(revoked) => self.registry.close_certificates(&revoked, "this certificate is revoked"),
                Err(error) => tracing::error!(%error, "revoked certificates cannot be read"),
            }
            self.window_ms.store(window_ms(self.ports.gate.hosts().await), Ordering::Relaxed);
            tokio::select! {
                () = wake.wait(SWEEP) => {}
                _ = stop.changed() => {}
            }
        }
    }
}

/// Over how long agents spread their reconnects: so that a whole fleet comes back no faster than its
/// handshakes can be served.
fn window_ms(agents: u64) -> u32 {
    u32::try_from(agents.saturating_mul(1_000) / RECONNECTS_PER_S).unwrap_or(u32::MAX).max(5_000)
}

/// The link, listening.
pub struct Link {
    context: Arc<Context>,
    listeners: endpoint::Listeners,
}

impl Link {
    /// Binds both listeners. Sessions enter `registry`, which the caller may have handed out already.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn bind(
        options: Options,
        tls: ServerConfig,
        controller: ControllerId,
        registry: Registry,
        ports: ports::Ports,
        clock: Clock,
    ) -> Result<Self, LinkError> {
        let listeners = endpoint::Listeners::bind(options.address, tls, options.resumable).await?;
        let context = Context {
            ports,
            registry,
            controller,
            clock,
            options,
            quic: coming::Places::new(options.max_handshakes),
            tcp: coming::Places::new(options.max_handshakes),
            hosts: Arc::default(),
            enrolments: enrol::Rate::default(),
            window_ms: AtomicU32::new(window_ms(0)),
        };
        Ok(Self { context: Arc::new(context), listeners })
    }

    /// Where it listens, with the port that was chosen.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.listeners.address
    }

    /// Who is connected, and the way to them.
    #[must_use]
    pub fn registry(&self) -> Registry {
        self.context.registry.clone()
    }

    /// Serves until `stop` is set, then ends all sessions, within two seconds.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let Self { context, listeners } = self;
        tokio::join!(listeners.run(context.clone(), stop.clone()), context.sweep(stop));
    }
}
