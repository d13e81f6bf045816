//! The process that is measured: identity, store, ingest and link, and nothing else.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::json;
use sysop_common::action::OrderEvent;
use sysop_common::bytes::Bytes;
use sysop_common::ids::HostId;
use sysop_common::wire::{EnrolAnswer, EnrolRequest, OutputChunk, RenewRequest, Renewed};
use sysop_controller::clock::Clock;
use sysop_controller::identity::{Identity, NewToken};
use sysop_controller::ingest::{self, Ingest};
use sysop_controller::link::ports::{BoxFuture, Enroller, Peer, Ports, Refused, ResultSink};
use sysop_controller::link::{Link, Options, Registry};
use sysop_controller::store::Db;
use sysop_controller::store::presence::Presence;
use sysop_controller::store::samples::{self, SampleStore};
use sysop_controller::wake::Wakes;
use tokio::sync::watch;

use super::{Plan, proc};

struct Nobody;

impl ResultSink for Nobody {
    fn order_event(&self, _: HostId, _: OrderEvent) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async { Ok(()) })
    }

    fn output(&self, _: HostId, _: OutputChunk) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async { Ok(()) })
    }
}

impl Enroller for Nobody {
    fn enrol(&self, _: EnrolRequest, _: SocketAddr) -> BoxFuture<'_, EnrolAnswer> {
        Box::pin(async { EnrolAnswer::Refused("hosts are enrolled beforehand".into()) })
    }

    fn renew<'a>(&'a self, _: &'a Peer, _: RenewRequest) -> BoxFuture<'a, Result<Renewed, Refused>> {
        Box::pin(async { Err(Refused("not here".into())) })
    }
}

/// Enrols the fleet into `dir`, then serves until its standard input ends.
pub fn run(dir: &Path, plan: &Plan) {
    proc::raise_descriptors();
    let runtime = match plan.threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        n => tokio::runtime::Builder::new_multi_thread().worker_threads(n).enable_all().build(),
    };
    runtime.unwrap().block_on(serve(dir, plan));
}

/// Makes keys and certificates of all hosts; the load reads them.
async fn enrol(identity: &Identity, dir: &Path, agents: usize) {
    let clock = Clock::system();
    let token = NewToken { max_uses: 10_000, ..NewToken::single("bench", "bench") };
    let token = identity.create_token(token, clock.now()).await.unwrap().text;
    let mut hosts = Vec::new();
    for n in 0..agents {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
        let request = EnrolRequest {
            token: token.clone(),
            csr: Bytes(csr),
            hostname: format!("bench-{n}"),
            agent_version: "0.1.0".into(),
        };
        let enrolled = identity.enrol(&request, clock.now()).await.unwrap();
        hosts.push((Bytes(key.serialize_der()), enrolled.certificate));
    }
    let fleet = (Bytes(identity.ca_certificate().to_vec()), hosts);
    std::fs::write(dir.join("fleet.cbor"), serde_cbor::to_vec(&fleet).unwrap()).unwrap();
}

async fn serve(dir: &Path, plan: &Plan) {
    let db = Db::open_control(dir).await.unwrap();
    let identity = Identity::open(&db, dir).await.unwrap();
    enrol(&identity, dir, plan.agents).await;
    let store = SampleStore::open(dir, samples::Options::default()).await.unwrap();
    let mut options = ingest::Options::new(identity.controller());
    options.linger = Duration::from_millis(plan.linger_ms);
    let wakes = Wakes::default();
    let clock = Clock::system();
    let ingest =
        Ingest::new(db.clone(), store.clone(), wakes.clone(), Presence::default(), clock.clone(), options);
    let ports = Ports {
        gate: Arc::new(ingest.clone()),
        results: Arc::new(Nobody),
        enroller: Arc::new(Nobody),
        events: Arc::new(ingest.clone()),
        revoked: wakes.revoked.clone(),
    };
    let tls = identity.server_config().unwrap();
    let options = Options::new("127.0.0.1:0".parse().unwrap());
    let registry = Registry::default();
    let link = Link::bind(options, tls, identity.controller(), registry.clone(), ports, clock.clone())
        .await
        .unwrap();
    let address = link.address();
    let (stop, stopped) = watch::channel(false);
    let commits = Arc::new(AtomicU64::new(0));
    let counter = commits.clone();
    let mut woken = wakes.samples.listen();
    tokio::spawn(async move {
        loop {
            woken.wait(Duration::from_secs(60)).await;
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let running = tokio::spawn(link.run(stopped.clone()));
    tokio::spawn(store.clone().maintain(stopped.clone()));
    let taking_in = tokio::spawn(async move { ingest.run(stopped).await });

    let (lines, mut asked) = tokio::sync::mpsc::channel::<String>(4);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    say(&json!({ "address": address.to_string() }));
    while let Some(line) = asked.recv().await {
        let mut parts = serde_json::Map::new();
        if line == "compact" {
            let before = proc::cpu();
            let done = store.compact(clock.now()).await.unwrap();
            parts.insert("ticks".into(), json!(done.ticks));
            parts.insert("bytes".into(), json!(done.bytes));
            parts.insert("compaction_cpu_us".into(), json!((proc::cpu() - before).as_micros() as u64));
        }
        parts.insert("cpu_us".into(), json!(proc::cpu().as_micros() as u64));
        parts.insert("rss".into(), json!(proc::rss()));
        parts.insert("connected".into(), json!(registry.count()));
        parts.insert("commits".into(), json!(commits.load(Ordering::Relaxed)));
        parts.insert(
            "tail_bytes".into(),
            json!(std::fs::metadata(dir.join("samples.db")).map_or(0, |m| m.len())),
        );
        say(&serde_json::Value::Object(parts));
    }
    stop.send_replace(true);
    running.await.unwrap();
    taking_in.await.unwrap();
    store.close().await;
}

fn say(value: &serde_json::Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}").unwrap();
    out.flush().unwrap();
}
