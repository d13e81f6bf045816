//! A controller's road from the link to the store, and agents that are played by the test.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sysop_common::action::OrderEvent;
use sysop_common::bytes::Bytes;
use sysop_common::ids::{Epoch, HostId, Seq};
use sysop_common::metric;
use sysop_common::sample::codec::Encoder;
use sysop_common::sample::{Column, Schema, Tick};
use sysop_common::time::UnixMs;
use sysop_common::tls;
use sysop_common::wire::frame::FrameBuf;
use sysop_common::wire::{
    Ack, CONTROLLER_DNS, Chain, Downward, EnrolAnswer, EnrolRequest, Hello, OutputChunk, PreviousEpoch,
    RenewRequest, Renewed, Samples, Upward, Welcome,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::identity::{EnrolError, Identity, NewToken};
use crate::ingest::{self, Ingest};
use crate::link::ports::{BoxFuture, Enroller, Peer, Ports, Refused, ResultSink, Transport};
use crate::link::{Link, Options, Registry};
use crate::store::Db;
use crate::store::presence::Presence;
use crate::store::samples::{self, SampleStore};
use crate::wake::Wakes;

pub(crate) const BOTH: [Transport; 2] = [Transport::Quic, Transport::Tcp];

/// Takes results and keeps them.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) events: Mutex<Vec<(HostId, OrderEvent)>>,
    pub(crate) outputs: Mutex<Vec<(HostId, OutputChunk)>>,
}

impl ResultSink for Results {
    fn order_event(&self, host: HostId, event: OrderEvent) -> BoxFuture<'_, Result<(), Refused>> {
        self.events.lock().unwrap().push((host, event));
        Box::pin(async { Ok(()) })
    }

    fn output(&self, host: HostId, chunk: OutputChunk) -> BoxFuture<'_, Result<(), Refused>> {
        self.outputs.lock().unwrap().push((host, chunk));
        Box::pin(async { Ok(()) })
    }
}

struct Enrolling(Identity);

impl Enroller for Enrolling {
    fn enrol(&self, request: EnrolRequest, _: SocketAddr) -> BoxFuture<'_, EnrolAnswer> {
        Box::pin(async move {
            match self.0.enrol(&request, now()).await {
                Ok(enrolled) => EnrolAnswer::Enrolled(enrolled),
                Err(error) => EnrolAnswer::Refused(EnrolError::to_string(&error)),
            }
        })
    }

    fn renew<'a>(&'a self, peer: &'a Peer, request: RenewRequest) -> BoxFuture<'a, Result<Renewed, Refused>> {
        Box::pin(async move {
            let renewed = self.0.renew(peer.host, peer.fingerprint, &request.csr.0, now()).await;
            renewed
                .map(|certificate| Renewed { certificate: Bytes(certificate) })
                .map_err(|e| Refused(e.to_string()))
        })
    }
}

pub(crate) fn now() -> UnixMs {
    Clock::system().now()
}

/// The controller's half.
pub(crate) struct World {
    pub(crate) wakes: Wakes,
    pub(crate) db: Db,
    pub(crate) identity: Identity,
    pub(crate) store: SampleStore,
    pub(crate) registry: Registry,
    pub(crate) results: Arc<Results>,
    pub(crate) presence: Presence,
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl World {
    pub(crate) async fn start(dir: &Path) -> Self {
        Self::start_with(dir, |_, _| {}).await
    }

    pub(crate) async fn start_with(
        dir: &Path,
        change: impl FnOnce(&mut Options, &mut ingest::Options),
    ) -> Self {
        let db = Db::open_control(dir).await.unwrap();
        let identity = Identity::open(&db, dir).await.unwrap();
        let store = SampleStore::open(dir, samples::Options::default()).await.unwrap();
        let mut ingest_options = ingest::Options::new(identity.controller());
        let mut options = Options::new("127.0.0.1:0".parse().unwrap());
        change(&mut options, &mut ingest_options);
        let (wakes, presence) = (Wakes::default(), Presence::default());
        let clock = Clock::system();
        let ingest = Ingest::new(
            db.clone(),
            store.clone(),
            wakes.clone(),
            presence.clone(),
            clock.clone(),
            ingest_options,
        );
        let results = Arc::new(Results::default());
        let ports = Ports {
            gate: Arc::new(ingest.clone()),
            results: results.clone(),
            enroller: Arc::new(Enrolling(identity.clone())),
            events: Arc::new(ingest.clone()),
            revoked: wakes.revoked.clone(),
        };
        let tls = identity.server_config().unwrap();
        let link =
            Link::bind(options, tls, identity.controller(), Registry::default(), ports, clock).await.unwrap();
        let (registry, address) = (link.registry(), link.address());
        let (stop, stopped) = watch::channel(false);
        let for_ingest = stopped.clone();
        let tasks =
            vec![tokio::spawn(link.run(stopped)), tokio::spawn(async move { ingest.run(for_ingest).await })];
        Self { wakes, db, identity, store, registry, results, presence, address, stop, tasks }
    }

    /// Stops as on Ctrl-C.
    pub(crate) async fn stop(self) {
        self.stop.send(true).unwrap();
        for task in self.tasks {
            task.await.unwrap();
        }
        self.store.close().await;
        self.db.close().await;
    }

    pub(crate) async fn token(&self) -> String {
        self.identity.create_token(NewToken::single("test", "tester"), now()).await.unwrap().text
    }

    /// A host that is enrolled, without a connection.
    pub(crate) async fn enrolled(&self) -> Credentials {
        let key = Key::new();
        let request = key.request(self.token().await);
        let enrolled = self.identity.enrol(&request, now()).await.unwrap();
        Credentials { host: enrolled.host, key, chain: vec![enrolled.certificate.0], ca: enrolled.ca.0 }
    }
}

/// A key of a host.
pub(crate) struct Key(pub(crate) KeyPair);

impl Key {
    pub(crate) fn new() -> Self {
        Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap())
    }

    pub(crate) fn csr(&self) -> Bytes {
        Bytes(CertificateParams::default().serialize_request(&self.0).unwrap().der().to_vec())
    }

    pub(crate) fn request(&self, token: String) -> EnrolRequest {
        EnrolRequest { token, csr: self.csr(), hostname: "web-1".into(), agent_version: "0.1.0".into() }
    }
}

/// What a host presents.
pub(crate) struct Credentials {
    pub(crate) host: HostId,
    pub(crate) key: Key,
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) ca: Vec<u8>,
}

impl Credentials {
    /// TLS settings of an agent with these.
    pub(crate) fn tls(&self) -> ClientConfig {
        let chain = self.chain.iter().cloned().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.0.serialize_der()));
        tls::agent(CertificateDer::from(self.ca.clone()), chain, key).unwrap()
    }
}

type Stop<T> = Result<T, String>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// One connection, as an agent has it.
pub(crate) struct Wire {
    read: Box<dyn AsyncRead + Send + Unpin>,
    write: Box<dyn AsyncWrite + Send + Unpin>,
    buf: FrameBuf,
    pub(crate) quic: Option<(quinn::Endpoint, quinn::Connection)>,
}

impl Wire {
    pub(crate) async fn connect(
        address: SocketAddr,
        transport: Transport,
        config: ClientConfig,
    ) -> Stop<Self> {
        tokio::time::timeout(Duration::from_secs(6), Self::dial(address, transport, config))
            .await
            .unwrap_or_else(|_| Err("no connection in time".into()))
    }

    async fn dial(address: SocketAddr, transport: Transport, config: ClientConfig) -> Stop<Self> {
        match transport {
            Transport::Quic => {
                let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).map_err(text)?;
                let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).map_err(text)?;
                endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
                let connection =
                    endpoint.connect(address, CONTROLLER_DNS).map_err(text)?.await.map_err(text)?;
                let (write, read) = connection.open_bi().await.map_err(text)?;
                Ok(Self {
                    read: Box::new(read),
                    write: Box::new(write),
                    buf: FrameBuf::default(),
                    quic: Some((endpoint, connection)),
                })
            }
            Transport::Tcp => {
                let stream = tokio::net::TcpStream::connect(address).await.map_err(text)?;
                let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
                let stream = connector.connect(tls::controller_name(), stream).await.map_err(text)?;
                let (read, write) = tokio::io::split(stream);
                Ok(Self {
                    read: Box::new(read),
                    write: Box::new(write),
                    buf: FrameBuf::default(),
                    quic: None,
                })
            }
        }
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> Stop<()> {
        self.write.write_all(bytes).await.map_err(text)?;
        self.write.flush().await.map_err(text)
    }

    pub(crate) async fn send(&mut self, message: &Upward) -> Stop<()> {
        let mut out = Vec::new();
        message.encode(&mut out).map_err(text)?;
        self.send_bytes(&out).await
    }

    async fn fill(&mut self) -> Stop<()> {
        let mut space = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(8), self.read.read(&mut space));
        let len = read.await.map_err(|_| "nothing came".to_owned())?.map_err(text)?;
        self.buf.extend(&space[..len]);
        if len == 0 { Err("ended".into()) } else { Ok(()) }
    }

    /// The next message; the reason when the session was closed with one.
    pub(crate) async fn next(&mut self) -> Stop<Downward> {
        loop {
            if let Some(frame) = self.buf.next_frame().map_err(text)? {
                return match Downward::decode(frame).map_err(text)? {
                    Downward::Close(why) => Err(why),
                    message => Ok(message),
                };
            }
            if let Err(why) = self.fill().await {
                // Over QUIC a refusal may come as the reason of the connection's end.
                let reason = self.quic.as_ref().and_then(|(_, connection)| connection.close_reason());
                return Err(reason.map_or(why, |reason| reason.to_string()));
            }
        }
    }

    pub(crate) async fn enrol(&mut self, request: &EnrolRequest) -> Stop<EnrolAnswer> {
        let mut out = Vec::new();
        request.encode(&mut out).map_err(text)?;
        self.send_bytes(&out).await?;
        self.answer().await
    }

    pub(crate) async fn answer(&mut self) -> Stop<EnrolAnswer> {
        loop {
            if let Some(frame) = self.buf.next_frame().map_err(text)? {
                return EnrolAnswer::decode(frame).map_err(text);
            }
            self.fill().await?;
        }
    }
}

/// An agent's life between two starts.
pub(crate) struct Agent {
    pub(crate) wire: Wire,
    pub(crate) welcome: Welcome,
    encoder: Encoder,
    schema: Schema,
}

pub(crate) fn hello(epoch: u64, previous: Option<PreviousEpoch>) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        agent_version: "0.1.0".into(),
        features: vec!["now".into(), "later".into()],
        epoch: Epoch(epoch),
        previous,
        boot_id: "b1".into(),
        next_seq: Seq(1),
        clock: now(),
    }
}

pub(crate) fn schema() -> Schema {
    let column = |id| Column::new(id, "").unwrap();
    Schema { columns: vec![column(metric::LOAD_1), column(metric::MEMORY_TOTAL)] }
}

pub(crate) fn tick(seq: u64, at: UnixMs) -> Tick {
    Tick { seq: Seq(seq), at, values: vec![seq as i64, 1 << 30], processes: vec![], units: vec![] }
}

impl Agent {
    pub(crate) async fn connect(
        world: &World,
        who: &Credentials,
        transport: Transport,
        hello: Hello,
    ) -> Stop<Self> {
        Self::on(Wire::connect(world.address, transport, who.tls()).await?, hello).await
    }

    pub(crate) async fn on(mut wire: Wire, hello: Hello) -> Stop<Self> {
        wire.send(&Upward::Hello(hello)).await?;
        let Downward::Welcome(welcome) = wire.next().await? else { return Err("no welcome".into()) };
        Ok(Self { wire, welcome, encoder: Encoder::default(), schema: schema() })
    }

    /// Announces the schema and starts a chain with `ticks`.
    pub(crate) async fn start_chain(&mut self, epoch: u64, ticks: &[Tick]) -> Stop<()> {
        self.wire.send(&Upward::Schema(self.schema.clone())).await?;
        self.encoder.reset();
        let chain = Some(Chain { epoch: Epoch(epoch), schema: self.schema.id() });
        let frames = ticks.iter().map(|tick| self.frame(tick)).collect();
        self.wire.send(&Upward::Samples(Samples { chain, frames })).await
    }

    /// Goes on with the chain.
    pub(crate) async fn samples(&mut self, ticks: &[Tick]) -> Stop<()> {
        let frames = ticks.iter().map(|tick| self.frame(tick)).collect();
        self.wire.send(&Upward::Samples(Samples { chain: None, frames })).await
    }

    fn frame(&mut self, tick: &Tick) -> Bytes {
        let mut frame = Vec::new();
        self.encoder.encode(tick, &mut frame);
        Bytes(frame)
    }

    /// Reads acks until `seq` of `epoch` is acknowledged.
    pub(crate) async fn acked(&mut self, epoch: u64, seq: u64) -> Stop<()> {
        loop {
            match self.wire.next().await? {
                Downward::Ack(Ack { epoch: of, seq: upto }) if of.0 == epoch && upto.0 >= seq => {
                    return Ok(());
                }
                Downward::Ack(_) => {}
                other => return Err(format!("not an ack: {other:?}")),
            }
        }
    }
}
