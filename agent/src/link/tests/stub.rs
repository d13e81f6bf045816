//! A controller for tests: the real protocol over real QUIC and TLS, on loopback, with a memory of what
//! came and knobs for what it does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sysop_common::bytes::{Bytes, SchemaId};
use sysop_common::ids::{ControllerId, Epoch, Seq};
use sysop_common::sample::Schema;
use sysop_common::sample::codec::Decoder;
use sysop_common::time::UnixMs;
use sysop_common::tls;
use sysop_common::wire::frame::{Frame, FrameBuf};
use sysop_common::wire::{
    ALPN_ENROLL, Ack, CONTROLLER_DNS, Downward, EnrolAnswer, EnrolRequest, Enrolled, Gap, Hello, Samples,
    Upward, Welcome,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::broadcast;

use crate::identity::tests::Ca;

/// What came, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Came {
    Hello(&'static str, Hello),
    Sample(&'static str, Epoch, Seq),
    Gap(Gap),
    Live(Seq),
    Other(&'static str, Upward),
}

pub(crate) struct Knobs {
    pub(crate) ack: AtomicBool,
    pub(crate) refuse: AtomicBool,
    pub(crate) udp: AtomicBool,
    pub(crate) tcp_accepted: AtomicUsize,
    pub(crate) quic_accepted: AtomicUsize,
    pub(crate) interval_ms: AtomicUsize,
    pub(crate) window_ms: AtomicUsize,
    /// Days of their thirty that certificates given at enrolment are old.
    pub(crate) age: AtomicUsize,
}

pub(crate) struct Inner {
    pub(crate) ca: Ca,
    pub(crate) knobs: Knobs,
    came: Mutex<Vec<Came>>,
    stored: Mutex<BTreeMap<Epoch, Seq>>,
    commands: broadcast::Sender<Downward>,
    cut: broadcast::Sender<()>,
}

#[derive(Clone)]
pub(crate) struct Stub {
    pub(crate) inner: Arc<Inner>,
    pub(crate) port: u16,
}

/// How the stub presents itself.
pub(crate) struct Face {
    pub(crate) name: &'static str,
    pub(crate) years: (i32, i32),
    /// Another CA than the one that hosts are given.
    pub(crate) foreign: bool,
}

impl Default for Face {
    fn default() -> Self {
        Self { name: CONTROLLER_DNS, years: (2020, 2090), foreign: false }
    }
}

impl Stub {
    pub(crate) async fn start(face: Face) -> Self {
        let ca = Ca::new();
        let foreign = Ca::new();
        let signer = if face.foreign { &foreign } else { &ca };
        let (certificate, key) = signer.controller(face.name, face.years);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
        let chain = vec![certificate.into(), signer.der().into()];
        let config = Arc::new(tls::controller(ca.der().into(), chain, key).unwrap());
        let knobs = Knobs {
            ack: true.into(),
            refuse: false.into(),
            udp: true.into(),
            tcp_accepted: 0.into(),
            quic_accepted: 0.into(),
            interval_ms: 1_000.into(),
            window_ms: 1.into(),
            age: 1.into(),
        };
        let (came, stored) = (Mutex::default(), Mutex::default());
        let (commands, cut) = (broadcast::channel(64).0, broadcast::channel(4).0);
        let inner = Arc::new(Inner { ca, knobs, came, stored, commands, cut });
        // The agent's UDP goes through a relay, so that it can be dropped.
        let (tcp, relay) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(relay) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, relay);
            }
        };
        let port = tcp.local_addr().unwrap().port();
        let quic = QuicServerConfig::try_from(config.clone()).unwrap();
        let server = quinn::ServerConfig::with_crypto(Arc::new(quic));
        let endpoint = quinn::Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();
        tokio::spawn(carry_udp(Arc::new(relay), endpoint.local_addr().unwrap(), inner.clone()));
        tokio::spawn(accept_quic(endpoint, inner.clone()));
        tokio::spawn(accept_tcp(tcp, config, inner.clone()));
        Self { inner, port }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, knob: impl Fn(&Knobs) -> &AtomicBool, value: bool) {
        knob(&self.inner.knobs).store(value, Ordering::SeqCst);
    }

    pub(crate) fn count(&self, knob: impl Fn(&Knobs) -> &AtomicUsize) -> usize {
        knob(&self.inner.knobs).load(Ordering::SeqCst)
    }

    pub(crate) fn came(&self) -> MutexGuard<'_, Vec<Came>> {
        self.inner.came.lock().unwrap()
    }

    /// Samples that came, over which transport.
    pub(crate) fn samples(&self) -> Vec<(&'static str, Seq)> {
        let sample = |came: &Came| match came {
            Came::Sample(transport, _, seq) => Some((*transport, *seq)),
            _ => None,
        };
        self.came().iter().filter_map(sample).collect()
    }

    pub(crate) fn send(&self, message: Downward) {
        self.inner.commands.send(message).unwrap();
    }

    /// Breaks all sessions.
    pub(crate) fn cut(&self) {
        let _ = self.inner.cut.send(());
    }

    /// Waits until `look` finds something, for at most ten seconds.
    pub(crate) async fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        for _ in 0..1_000 {
            if let Some(found) = look(self) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let came = self.came();
        let tail = came.len().saturating_sub(20);
        panic!("waited in vain for {what}; the last that came: {:#?}", &came[tail..]);
    }

    /// Waits until sample `seq` came.
    pub(crate) async fn until_sample(&self, seq: u64) {
        self.until(&format!("sample {seq}"), |stub| {
            stub.samples().iter().find(|(_, s)| s.0 == seq).map(drop)
        })
        .await;
    }
}

async fn carry_udp(relay: Arc<UdpSocket>, server: SocketAddr, inner: Arc<Inner>) {
    let (mut agents, mut buf): (BTreeMap<SocketAddr, Arc<UdpSocket>>, _) = (BTreeMap::new(), vec![0; 65536]);
    while let Ok((len, from)) = relay.recv_from(&mut buf).await {
        if !inner.knobs.udp.load(Ordering::SeqCst) {
            continue;
        }
        if let std::collections::btree_map::Entry::Vacant(place) = agents.entry(from) {
            let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
            socket.connect(server).await.unwrap();
            place.insert(socket.clone());
            let (relay, inner) = (relay.clone(), inner.clone());
            tokio::spawn(async move {
                let mut buf = vec![0; 65536];
                while let Ok(len) = socket.recv(&mut buf).await {
                    if inner.knobs.udp.load(Ordering::SeqCst) {
                        let _ = relay.send_to(&buf[..len], from).await;
                    }
                }
            });
        }
        let _ = agents[&from].send(&buf[..len]).await;
    }
}

async fn accept_quic(endpoint: quinn::Endpoint, inner: Arc<Inner>) {
    while let Some(incoming) = endpoint.accept().await {
        let inner = inner.clone();
        inner.knobs.quic_accepted.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            let data = connection.handshake_data().unwrap();
            let data = data.downcast::<quinn::crypto::rustls::HandshakeData>().unwrap();
            let Ok((send, receive)) = connection.accept_bi().await else { return };
            if data.protocol.as_deref() == Some(ALPN_ENROLL) {
                enrol(receive, send, &inner).await;
                connection.closed().await;
                return;
            }
            assert!(connection.peer_identity().is_some(), "no certificate, no session");
            let (streams, theirs) = (connection.clone(), inner.clone());
            tokio::spawn(async move {
                while let Ok(mut stream) = streams.accept_uni().await {
                    let inner = theirs.clone();
                    tokio::spawn(async move {
                        let bytes = stream.read_to_end(1 << 20).await.unwrap_or_default();
                        let mut frames = FrameBuf::default();
                        frames.extend(&bytes);
                        while let Ok(Some(frame)) = frames.next_frame() {
                            let message = Upward::decode(frame).unwrap();
                            inner.came.lock().unwrap().push(Came::Other("uni", message));
                        }
                    });
                }
            });
            let mut cut = inner.cut.subscribe();
            tokio::select! {
                () = session("quic", receive, send, &inner) => {}
                _ = cut.recv() => {}
            }
            connection.close(0u32.into(), b"over");
        });
    }
}

async fn accept_tcp(listener: TcpListener, config: Arc<rustls::ServerConfig>, inner: Arc<Inner>) {
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    while let Ok((stream, _)) = listener.accept().await {
        let (inner, acceptor) = (inner.clone(), acceptor.clone());
        inner.knobs.tcp_accepted.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let enrols = stream.get_ref().1.alpn_protocol() == Some(ALPN_ENROLL);
            let (read, write) = tokio::io::split(stream);
            if enrols {
                return enrol(read, write, &inner).await;
            }
            let mut cut = inner.cut.subscribe();
            tokio::select! {
                () = session("tcp", read, write, &inner) => {}
                _ = cut.recv() => {}
            }
        });
    }
}

/// Takes any host in whose token is `good`.
async fn enrol(mut read: impl AsyncRead + Unpin, mut write: impl AsyncWrite + Unpin, inner: &Inner) {
    let (mut frames, mut buf) = (FrameBuf::default(), [0; 4096]);
    let request = loop {
        let len = read.read(&mut buf).await.unwrap();
        assert!(len > 0);
        frames.extend(&buf[..len]);
        if let Some(frame) = frames.next_frame().unwrap() {
            break EnrolRequest::decode(frame).unwrap();
        }
    };
    let host = "0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b";
    let age = inner.knobs.age.load(Ordering::SeqCst) as u64;
    let answer = if request.token == "good" {
        EnrolAnswer::Enrolled(Enrolled {
            host: host.parse().unwrap(),
            certificate: Bytes(inner.ca.issue_aged(&request.csr.0, host, age, 30)),
            ca: Bytes(inner.ca.der()),
        })
    } else {
        EnrolAnswer::Refused("the token is not valid".into())
    };
    let mut out = Vec::new();
    answer.encode(&mut out).unwrap();
    write.write_all(&out).await.unwrap();
    write.flush().await.unwrap();
    let _ = write.shutdown().await;
}

/// What a session decodes with.
#[derive(Default)]
struct Chain {
    decoder: Decoder,
    schemas: BTreeMap<SchemaId, Schema>,
    now: Option<(Epoch, SchemaId)>,
}

impl Chain {
    fn samples(&mut self, samples: Samples) -> Vec<(Epoch, Seq)> {
        if let Some(chain) = samples.chain {
            self.decoder.reset();
            self.now = Some((chain.epoch, chain.schema));
        }
        let (epoch, schema) = self.now.unwrap();
        let columns = self.schemas[&schema].columns.len();
        let decode = |frame: Bytes| (epoch, self.decoder.decode(&frame.0, columns).unwrap().seq);
        samples.frames.into_iter().map(decode).collect()
    }
}

async fn session(
    transport: &'static str,
    mut read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin,
    inner: &Inner,
) {
    let (mut frames, mut buf, mut chain) = (FrameBuf::default(), [0; 4096], Chain::default());
    let mut commands = inner.commands.subscribe();
    loop {
        let mut out = Vec::new();
        tokio::select! {
            command = commands.recv() => command.unwrap().encode(&mut out).unwrap(),
            len = read.read(&mut buf) => {
                let Ok(len @ 1..) = len else { return };
                frames.extend(&buf[..len]);
            }
        }
        while let Some(frame) = frames.next_frame().unwrap() {
            let answers = hear(transport, frame, &mut chain, inner);
            answers.iter().for_each(|answer| answer.encode(&mut out).unwrap());
        }
        if write.write_all(&out).await.is_err() || write.flush().await.is_err() {
            return;
        }
    }
}

fn hear(transport: &'static str, frame: Frame<'_>, chain: &mut Chain, inner: &Inner) -> Vec<Downward> {
    let mut came = inner.came.lock().unwrap();
    let mut stored = inner.stored.lock().unwrap();
    let mut keep = |epoch: Epoch, seq: Seq| {
        let acks = inner.knobs.ack.load(Ordering::SeqCst);
        if acks {
            stored.insert(epoch, seq);
        }
        acks.then_some(Downward::Ack(Ack { epoch, seq })).into_iter().collect::<Vec<_>>()
    };
    match Upward::decode(frame).unwrap() {
        Upward::Hello(hello) => {
            came.push(Came::Hello(transport, hello.clone()));
            if inner.knobs.refuse.load(Ordering::SeqCst) {
                return vec![Downward::Close("this certificate was revoked".into())];
            }
            let named = [Some(hello.epoch), hello.previous.map(|p| p.epoch)];
            let stored = named.into_iter().flatten().filter_map(|e| Some((e, *stored.get(&e)?))).collect();
            vec![Downward::Welcome(Welcome {
                version: 1,
                features: vec!["now".into()],
                controller: ControllerId(uuid::Uuid::from_u128(1)),
                stored,
                interval_ms: inner.knobs.interval_ms.load(Ordering::SeqCst) as u32,
                reconnect_window_ms: inner.knobs.window_ms.load(Ordering::SeqCst) as u32,
                clock: UnixMs(0),
            })]
        }
        Upward::Schema(schema) => {
            chain.schemas.insert(SchemaId(schema.id().0), schema);
            vec![]
        }
        Upward::Samples(samples) => {
            let numbers = chain.samples(samples);
            came.extend(numbers.iter().map(|(epoch, seq)| Came::Sample(transport, *epoch, *seq)));
            numbers.last().map_or(vec![], |(epoch, seq)| keep(*epoch, *seq))
        }
        Upward::Gap(gap) => {
            came.push(Came::Gap(gap.clone()));
            gap.seqs.map_or(vec![], |(_, last)| keep(gap.epoch, last))
        }
        Upward::Now(now) => {
            let columns = chain.schemas[&now.schema].columns.len();
            let mut decoder = Decoder::default();
            came.push(Came::Live(decoder.decode(&now.frame.0, columns).unwrap().seq));
            vec![]
        }
        Upward::RenewRequest(request) => {
            let host = "0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b";
            let certificate = Bytes(inner.ca.issue(&request.csr.0, host, 30));
            came.push(Came::Other(transport, Upward::RenewRequest(request)));
            vec![Downward::Renewed(sysop_common::wire::Renewed { certificate })]
        }
        other => {
            came.push(Came::Other(transport, other));
            vec![]
        }
    }
}
