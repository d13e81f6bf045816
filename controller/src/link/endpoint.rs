//! The listeners: QUIC and TLS over TCP on the same port, with caps on what is coming in.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::{
    AckFrequencyConfig, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout,
    TokioRuntime, TransportConfig, VarInt,
};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::ServerSessionMemoryCache;
use sysop_common::ids::HostId;
use sysop_common::tls::fingerprint;
use sysop_common::wire::{ALPN, ALPN_ENROLL};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::carrier::{Reader, Writer};
use super::coming::{Counted, Place};
use super::ports::{Admission, Peer, Transport};
use super::session::{self, Streams};
use super::socket::BatchSocket;
use super::{Context, LinkError, MAX_OPENING, enrol};
use crate::identity::host_of;

/// A handshake that takes longer is given up; so do agents.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Quiet for this long, a QUIC connection is dead. Three intervals of samples and more.
const IDLE_MS: u32 = 60_000;
/// Bytes of the socket's buffers: what a fleet sends while the process is busy.
const SOCKET_BUFFER: usize = 4 << 20;
/// Bytes of a connection's id.
const CONNECTION_ID: usize = 4;
/// How long sessions have to say goodbye.
const GOODBYE: Duration = Duration::from_millis(400);

/// Both listeners, bound.
pub(super) struct Listeners {
    endpoint: Endpoint,
    tcp: TcpListener,
    acceptor: TlsAcceptor,
    pub(super) address: SocketAddr,
}

impl Listeners {
    pub(super) async fn bind(
        address: SocketAddr,
        mut tls: ServerConfig,
        sessions: usize,
    ) -> Result<Self, LinkError> {
        // Stateful, so that a ticket is nothing that outlives us; revocation is checked again anyway.
        tls.session_storage = ServerSessionMemoryCache::new(sessions);
        tls.send_tls13_tickets = 1;
        let tls = Arc::new(tls);
        let (tcp, udp) = sockets(address).await?;
        let failed = |source| LinkError::Bind { address, source };
        let address = tcp.local_addr().map_err(failed)?;
        let crypto = QuicServerConfig::try_from(tls.clone()).map_err(|_| LinkError::Crypto)?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(Arc::new(transport()?));
        config.max_incoming(1_024).incoming_buffer_size(16 << 10).incoming_buffer_size_total(16 << 20);
        let mut ids = EndpointConfig::default();
        ids.cid_generator(|| Box::new(ShortIds));
        let socket = Arc::new(BatchSocket::new(udp).map_err(failed)?);
        let endpoint = Endpoint::new_with_abstract_socket(ids, Some(config), socket, Arc::new(TokioRuntime))
            .map_err(failed)?;
        Ok(Self { endpoint, tcp, acceptor: TlsAcceptor::from(tls), address })
    }

    /// Accepts until `stop` is set, then lets the sessions say goodbye.
    pub(super) async fn run(self, context: Arc<Context>, mut stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        while !*stop.borrow() {
            tokio::select! {
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => quic(&context, incoming, &mut tasks),
                    None => break,
                },
                accepted = self.tcp.accept() => match accepted {
                    Ok((stream, from)) => tcp(&context, &self.acceptor, stream, from, &mut tasks),
                    // Out of descriptors, most likely: wait until some are free again.
                    Err(error) => {
                        tracing::warn!(%error, "a connection cannot be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = tasks.join_next() => {}
                _ = stop.changed() => {}
            }
        }
        drop(self.tcp);
        context.registry.close_all("the controller stops");
        let gone = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GOODBYE, gone).await;
        tasks.abort_all();
        self.endpoint.close(VarInt::from_u32(0), b"the controller stops");
        let _ = tokio::time::timeout(Duration::from_millis(100), self.endpoint.wait_idle()).await;
    }
}

/// Random ids, in each packet of an agent: short, and far more than one controller has agents. Two alike are
/// drawn again.
#[derive(Debug)]
struct ShortIds;

impl ConnectionIdGenerator for ShortIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(uuid::Uuid::new_v4().as_bytes().first_chunk::<CONNECTION_ID>().unwrap_or(&[0; _]))
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Both sockets on one port; with port 0 on one that is free for both.
async fn sockets(address: SocketAddr) -> Result<(TcpListener, UdpSocket), LinkError> {
    let failed = |source| LinkError::Bind { address, source };
    let mut tries = 0;
    loop {
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        match UdpSocket::bind(tcp.local_addr().map_err(failed)?) {
            Ok(udp) => {
                // Smaller buffers than asked for are no reason not to start.
                let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&udp, SOCKET_BUFFER);
                let _ = rustix::net::sockopt::set_socket_send_buffer_size(&udp, SOCKET_BUFFER);
                return Ok((tcp, udp));
            }
            Err(error) if address.port() == 0 && error.kind() == io::ErrorKind::AddrInUse && tries < 16 => {
                tries += 1
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Windows are limits, not allocations: they bound what a hostile peer can make us hold.
fn transport() -> Result<TransportConfig, LinkError> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(2))
        .max_concurrent_uni_streams(VarInt::from_u32(4))
        .stream_receive_window(VarInt::from_u32(64 << 10))
        .receive_window(VarInt::from_u32(128 << 10))
        .send_window(64 << 10)
        .crypto_buffer_size(16 << 10)
        .datagram_receive_buffer_size(None)
        .initial_mtu(1_200)
        // Frames are smaller than one packet; probing would cost one packet per probe and host.
        .mtu_discovery_config(None)
        .initial_rtt(Duration::from_millis(100))
        // What goes to a host fits one packet; batches would keep ten packets' buffer per connection.
        .enable_segmentation_offload(false)
        .allow_spin(false)
        // An agent that acknowledges at once wakes once, not twice.
        .ack_frequency_config(Some(at_once()))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS))))
        // Samples keep the path alive; agents send keep-alives themselves when they sample rarely.
        .keep_alive_interval(None);
    Ok(config)
}

/// Asks for an acknowledgement of each packet as it comes: they are few, one for each sample.
fn at_once() -> AckFrequencyConfig {
    let mut config = AckFrequencyConfig::default();
    config.ack_eliciting_threshold(VarInt::from_u32(0));
    config
}

fn quic(context: &Arc<Context>, incoming: quinn::Incoming, tasks: &mut JoinSet<()>) {
    let Some(place) = context.quic.take(incoming.remote_address().ip()) else { return incoming.ignore() };
    if context.quic.taken() > context.options.retry_above
        && incoming.may_retry()
        && !incoming.remote_address_validated()
    {
        // Whoever sends from an address that is not its own does not come back.
        let _ = incoming.retry();
        return;
    }
    let context = context.clone();
    tasks.spawn(async move {
        let Ok(connecting) = incoming.accept() else { return };
        let Ok(Ok(connection)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting).await else { return };
        Box::pin(quic_connection(context, connection, place)).await;
    });
}

async fn quic_connection(context: Arc<Context>, connection: quinn::Connection, place: Place) {
    let refuse = |why: &str| connection.close(VarInt::from_u32(1), why.as_bytes());
    let protocol = connection
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|d| d.protocol);
    let certificates =
        connection.peer_identity().and_then(|id| id.downcast::<Vec<CertificateDer<'static>>>().ok());
    let from = connection.remote_address();
    match protocol.as_deref() {
        Some(ALPN) => {
            let leaf = certificates.as_ref().and_then(|chain| chain.first());
            let (peer, admission, opening) = match admit(&context, leaf, Transport::Quic, from, place).await {
                Ok(admitted) => admitted,
                Err(why) => return goodbye(&connection, &why).await,
            };
            let Ok(Ok((send, recv))) = tokio::time::timeout(HANDSHAKE_TIMEOUT, connection.accept_bi()).await
            else {
                return refuse("no stream was opened in time");
            };
            let streams = Streams {
                reader: Reader::Quic(recv),
                writer: Writer::Quic(send),
                quic: Some(connection.clone()),
            };
            session::run(context, peer, admission, streams, opening).await;
        }
        Some(ALPN_ENROLL) => {
            let Ok(Ok((send, recv))) = tokio::time::timeout(HANDSHAKE_TIMEOUT, connection.accept_bi()).await
            else {
                return refuse("no stream was opened in time");
            };
            let streams =
                Streams { reader: Reader::Quic(recv), writer: Writer::Quic(send), quic: Some(connection) };
            enrol::run(&context, from, streams).await;
        }
        _ => refuse("unknown application protocol"),
    }
}

/// Tells a peer why it gets no session, on the stream that it opens; nothing of that stream is read.
async fn goodbye(connection: &quinn::Connection, why: &str) {
    if let Ok(Ok((send, recv))) = tokio::time::timeout(HANDSHAKE_TIMEOUT, connection.accept_bi()).await {
        let (reader, writer) = (Reader::Quic(recv), Writer::Quic(send));
        session::refuse(&mut Streams { reader, writer, quic: Some(connection.clone()) }, why).await;
    }
    connection.close(VarInt::from_u32(1), why.as_bytes());
}

fn tcp(
    context: &Arc<Context>,
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    from: SocketAddr,
    tasks: &mut JoinSet<()>,
) {
    let Some(place) = context.tcp.take(from.ip()) else { return };
    let (context, acceptor) = (context.clone(), acceptor.clone());
    tasks.spawn(async move {
        let _ = stream.set_nodelay(true);
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await else {
            return;
        };
        Box::pin(tcp_connection(context, stream, from, place)).await;
    });
}

async fn tcp_connection(
    context: Arc<Context>,
    stream: tokio_rustls::server::TlsStream<TcpStream>,
    from: SocketAddr,
    place: Place,
) {
    let (_, tls) = stream.get_ref();
    let protocol = tls.alpn_protocol().map(<[u8]>::to_vec);
    let leaf = tls.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.clone().into_owned());
    let (read, write) = tokio::io::split(stream);
    let mut streams = Streams { reader: Reader::tcp(read), writer: Writer::Tcp(write), quic: None };
    match protocol.as_deref() {
        Some(ALPN) => match admit(&context, leaf.as_ref(), Transport::Tcp, from, place).await {
            Ok((peer, admission, opening)) => session::run(context, peer, admission, streams, opening).await,
            Err(why) => session::refuse(&mut streams, &why).await,
        },
        Some(ALPN_ENROLL) => enrol::run(&context, from, streams).await,
        _ => {}
    }
}

/// What a connection holds until its session is live.
pub(super) type Opening = (Place, Counted<HostId>);

/// Who a peer is and whether it may have a session: by its certificate, before a byte of it is read.
async fn admit(
    context: &Arc<Context>,
    leaf: Option<&CertificateDer<'_>>,
    transport: Transport,
    address: SocketAddr,
    place: Place,
) -> Result<(Peer, Admission, Opening), String> {
    let leaf = leaf.ok_or("a host's certificate is needed")?;
    let host = host_of(leaf).map_err(|e| e.to_string())?;
    let opening =
        context.hosts.take(host, MAX_OPENING).ok_or("too many connections of this host are coming in")?;
    let peer = Peer { host, fingerprint: fingerprint(leaf), transport, address };
    let admission = context.ports.gate.admit(&peer).await.map_err(|e| {
        tracing::info!(%host, %address, reason = %e, "certificate refused");
        e.0
    })?;
    Ok((peer, admission, (place, opening)))
}
