//! Making a connection: QUIC, or TLS over TCP, to the same port with the same application protocol.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    AckFrequencyConfig, ConnectionError, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig,
    IdleTimeout, TokioRuntime, TransportConfig, VarInt,
};
use rustls::{AlertDescription, ClientConfig};
use sysop_common::tls;
use sysop_common::wire::CONTROLLER_DNS;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::route::Transport;

/// Samples come at least this often, or a keep-alive does.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
const IDLE: u32 = 60_000;
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;

/// Where to, and as whom.
#[derive(Clone)]
pub struct Target {
    /// Host and port of the controller.
    pub address: (String, u16),
    /// Settings of TLS, with the application protocol.
    pub tls: Arc<ClientConfig>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target {}:{}", self.address.0, self.address.1)
    }
}

/// A connection could not be made, or ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DialError {
    /// One side did not accept the other's certificate.
    #[error("certificate: {0}")]
    Certificate(String),
    /// The controller said no.
    #[error("the controller refused: {0}")]
    Refused(String),
    /// Nothing came in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// It could not be reached.
    #[error("{0}")]
    Unreachable(String),
}

/// Bytes from the controller.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// Bytes to the controller.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A connection with its handshake done.
pub struct Connection {
    /// How it is carried.
    pub transport: Transport,
    /// What comes.
    pub reader: Reader,
    /// What goes.
    pub writer: Writer,
    pub(super) quic: Option<(Endpoint, quinn::Connection)>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection over {}", self.transport.word())
    }
}

impl Connection {
    /// Ends the connection so that the other side knows.
    pub async fn close(mut self) {
        // The controller tells an end in order from a host that went away by this word.
        const GOODBYE: &[u8] = b"done";
        const MOMENT: Duration = Duration::from_millis(300);
        match self.quic.take() {
            Some((endpoint, connection)) => {
                connection.close(VarInt::from_u32(0), GOODBYE);
                let _ = tokio::time::timeout(MOMENT, endpoint.wait_idle()).await;
            }
            None => {
                use tokio::io::AsyncWriteExt as _;
                let _ = tokio::time::timeout(MOMENT, self.writer.shutdown()).await;
            }
        }
    }

    /// Bytes and datagrams so far, both ways; 0 over TCP, where the kernel has them.
    #[must_use]
    pub fn datagrams(&self) -> (u64, u64) {
        let stats = self.quic.as_ref().map(|(_, connection)| connection.stats());
        stats.map_or((0, 0), |stats| {
            let (sent, received) = (stats.udp_tx, stats.udp_rx);
            (sent.bytes + received.bytes, sent.datagrams + received.datagrams)
        })
    }

    /// What an error on this connection means: the transport may know more than the stream.
    #[must_use]
    pub fn explain(&self, error: &io::Error) -> DialError {
        match self.quic.as_ref().and_then(|(_, connection)| connection.close_reason()) {
            Some(reason) => of_quic(&reason),
            None => of_tls(error),
        }
    }
}

/// Makes a connection within `timeout`.
///
/// # Errors
/// When no handshake completes, and what kind of failure it was.
pub async fn dial(transport: Transport, target: &Target, timeout: Duration) -> Result<Connection, DialError> {
    let attempt = async {
        let (host, port) = (target.address.0.as_str(), target.address.1);
        let addresses = tokio::net::lookup_host((host, port))
            .await
            .map_err(|e| DialError::Unreachable(format!("{host} has no address: {e}")))?;
        let addresses: Vec<SocketAddr> = addresses.take(MAX_ADDRESSES).collect();
        // Each address gets its share, so that a dead one does not hide the next.
        let share = timeout / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        let mut last = DialError::Unreachable(format!("{host} has no address"));
        for address in addresses {
            let connecting = async {
                match transport {
                    Transport::Quic => quic(address, &target.tls).await,
                    Transport::Tcp => tcp(address, &target.tls).await,
                }
            };
            match tokio::time::timeout(share, connecting).await.unwrap_or(Err(DialError::Timeout(share))) {
                Err(e @ (DialError::Unreachable(_) | DialError::Timeout(_))) => last = e,
                other => return other,
            }
        }
        Err(last)
    };
    tokio::time::timeout(timeout, attempt).await.unwrap_or(Err(DialError::Timeout(timeout)))
}

/// What was measured best for many agents on one controller: small windows, no path MTU discovery
/// (frames fit a packet), no spin bit.
fn transport_config() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(64 << 10))
        .receive_window(VarInt::from_u32(128 << 10))
        .send_window(128 << 10)
        .crypto_buffer_size(16 << 10)
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(None)
        .initial_mtu(1200)
        .initial_rtt(Duration::from_millis(100))
        .allow_spin(false)
        .ack_frequency_config(Some(rarely_acknowledged()))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE))));
    config
}

/// Asks for few acknowledgements of packets: each sample is acknowledged anyway, when it is stored, and the
/// packet's acknowledgement rides along. A burst is acknowledged each ten packets.
fn rarely_acknowledged() -> AckFrequencyConfig {
    let mut config = AckFrequencyConfig::default();
    config.ack_eliciting_threshold(VarInt::from_u32(10)).reordering_threshold(VarInt::from_u32(0));
    config
}

/// An endpoint has one connection, which its socket tells: no connection id need travel downwards.
#[derive(Debug)]
struct NoIds;

impl ConnectionIdGenerator for NoIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&[])
    }

    fn cid_len(&self) -> usize {
        0
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn endpoint(from: SocketAddr) -> io::Result<Endpoint> {
    let mut config = EndpointConfig::default();
    config.cid_generator(|| Box::new(NoIds));
    Endpoint::new(config, None, UdpSocket::bind(from)?, Arc::new(TokioRuntime))
}

async fn quic(address: SocketAddr, tls: &Arc<ClientConfig>) -> Result<Connection, DialError> {
    let unreachable = |e: &dyn std::fmt::Display| DialError::Unreachable(format!("{address}: {e}"));
    let crypto = QuicClientConfig::try_from(tls.clone()).map_err(|e| unreachable(&e))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport_config()));
    let from: SocketAddr =
        if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let endpoint = endpoint(from).map_err(|e| unreachable(&e))?;
    let connecting = endpoint.connect_with(config, address, CONTROLLER_DNS).map_err(|e| unreachable(&e))?;
    let connection = connecting.await.map_err(|e| of_quic(&e))?;
    let (send, receive) = connection.open_bi().await.map_err(|e| of_quic(&e))?;
    Ok(Connection {
        transport: Transport::Quic,
        reader: Box::new(receive),
        writer: Box::new(send),
        quic: Some((endpoint, connection)),
    })
}

async fn tcp(address: SocketAddr, tls: &Arc<ClientConfig>) -> Result<Connection, DialError> {
    let unreachable = |e: io::Error| DialError::Unreachable(format!("{address}: {e}"));
    let stream = TcpStream::connect(address).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let connector = tokio_rustls::TlsConnector::from(tls.clone());
    let stream = connector.connect(tls::controller_name(), stream).await.map_err(|e| of_tls(&e))?;
    if stream.get_ref().1.alpn_protocol().is_none() {
        let reason = format!("{address}: the other side does not speak this protocol");
        return Err(DialError::Unreachable(reason));
    }
    let (reader, writer) = tokio::io::split(stream);
    Ok(Connection {
        transport: Transport::Tcp,
        reader: Box::new(reader),
        writer: Box::new(writer),
        quic: None,
    })
}

/// Whether an alert is about a certificate. A pin that does not fit ends as a failure of the handshake.
fn is_about_certificates(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
            | A::CertificateRequired
            | A::HandshakeFailure
            | A::DecryptError
            | A::UnrecognisedName
    )
}

fn of_quic(error: &ConnectionError) -> DialError {
    // Codes of the TLS handshake are 0x100 and the alert (RFC 9001, section 4.8).
    let alert = |code: u64| {
        let alert = u8::try_from(code.checked_sub(0x100)?).ok()?;
        Some(AlertDescription::from(alert)).filter(|alert| is_about_certificates(*alert))
    };
    match error {
        ConnectionError::TransportError(e) if alert(e.code.into()).is_some() => {
            DialError::Certificate(format!("the controller's is not accepted here: {}", e.reason))
        }
        ConnectionError::ConnectionClosed(close) => match alert(close.error_code.into()) {
            Some(alert) => DialError::Certificate(refused(alert)),
            None => DialError::Unreachable(error.to_string()),
        },
        ConnectionError::ApplicationClosed(close) => {
            DialError::Refused(String::from_utf8_lossy(&close.reason).chars().take(200).collect())
        }
        _ => DialError::Unreachable(error.to_string()),
    }
}

fn of_tls(error: &io::Error) -> DialError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) if is_about_certificates(*alert) => {
            DialError::Certificate(refused(*alert))
        }
        Some(e @ (rustls::Error::InvalidCertificate(_) | rustls::Error::General(_))) => {
            DialError::Certificate(format!("the controller's is not accepted here: {e}"))
        }
        _ => DialError::Unreachable(error.to_string()),
    }
}

fn refused(alert: AlertDescription) -> String {
    format!(
        "the controller does not accept this host's ({alert:?}); if the host was revoked or its certificate expired, enrol it again"
    )
}
