//! The link against a controller that speaks the real protocol over real sockets.

mod carried;
mod pure;
pub(crate) mod stub;

use sysop_common::action::{Event, Refusal};
use sysop_common::bytes::Bytes;
use sysop_common::ids::{Epoch, HostId, Seq};
use sysop_common::metric;
use sysop_common::query::Query;
use sysop_common::sample::{Column, Process, Schema, Tick};
use sysop_common::wire::{Configure, Downward, GapReason, Upward};

use super::*;
use crate::config::{Paths, Span};
use crate::identity::tests::Ca;
use crate::identity::{HostKey, Identity};
use crate::spool::{Options, Writer};
use stub::{Came, Face, Stub};

const HOST: &str = "0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b";

fn quick() -> config::Link {
    let ms = |ms| Span(Duration::from_millis(ms));
    config::Link {
        handshake_timeout: ms(1_000),
        ack_timeout: ms(700),
        quic_retry: ms(300),
        max_backoff: ms(100),
        ..config::Link::default()
    }
}

/// An agent's spool and link, without sampling.
struct Rig {
    spool: Spool,
    asks: mpsc::Receiver<Ask>,
    report: mpsc::Sender<Report>,
    interval: watch::Receiver<Duration>,
    status: watch::Receiver<Status>,
    stop: watch::Sender<bool>,
    running: tokio::task::JoinHandle<()>,
    directory: Arc<tempfile::TempDir>,
}

fn tls(ca: &Ca, signer: &Ca) -> Arc<rustls::ClientConfig> {
    let directory = tempfile::tempdir().unwrap();
    let paths = Paths::default().below(directory.path());
    let key = HostKey::generate().unwrap();
    let certificate = signer.issue(&key.request().unwrap(), HOST, 3_650);
    let identity = Identity::install(&paths, key, &signer.der(), &certificate, None).unwrap();
    if std::ptr::eq(ca, signer) {
        return Arc::new(identity.tls().unwrap());
    }
    // A certificate of one CA and trust in another.
    let (key, chain) = identity.parts();
    Arc::new(sysop_common::tls::agent(ca.der().into(), chain, key).unwrap())
}

fn open(directory: &tempfile::TempDir) -> (Spool, Writer) {
    let options = Options {
        max_bytes: 8 << 20,
        max_age: Duration::from_secs(86_400),
        silence: Duration::from_secs(20),
    };
    let host: HostId = HOST.parse().unwrap();
    Spool::open(directory.path(), host, options, UnixMs(1_000)).unwrap()
}

impl Rig {
    fn start(stub: &Stub) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Self::with(stub, quick(), tls(&stub.inner.ca, &stub.inner.ca), directory)
    }

    fn with(
        stub: &Stub,
        link: config::Link,
        tls: Arc<rustls::ClientConfig>,
        directory: Arc<tempfile::TempDir>,
    ) -> Self {
        let (spool, writer) = open(&directory);
        std::thread::spawn(move || writer.run());
        let (asks, asked) = mpsc::channel(32);
        let (report, reports) = mpsc::channel(32);
        let (interval, interval_seen) = watch::channel(Duration::from_secs(10));
        let (status, status_seen) = watch::channel(Status::default());
        let (stop, stopped) = watch::channel(false);
        let interval_bounds = (Duration::from_secs(1), Duration::from_secs(60));
        let settings = Settings { link, interval: interval_bounds, boot_id: "boot".into() };
        let ends = Ends { asks, reports, interval, status, stop: stopped };
        let target = Target { address: ("127.0.0.1".into(), stub.port), tls };
        let running = tokio::spawn(Link::new(target, settings, spool.clone(), ends).run());
        Self {
            spool,
            asks: asked,
            report,
            interval: interval_seen,
            status: status_seen,
            stop,
            running,
            directory,
        }
    }

    fn add(&self, count: usize) {
        add(&self.spool, count);
    }

    /// Ends the agent and waits until its spool is free.
    async fn end(self) -> Arc<tempfile::TempDir> {
        self.stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(2), self.running).await.unwrap().unwrap();
        self.spool.close();
        let directory = self.directory.clone();
        drop(self.spool);
        for _ in 0..200 {
            let file = std::fs::File::open(directory.path()).unwrap();
            if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok() {
                return directory;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the writer did not end");
    }
}

fn add(spool: &Spool, count: usize) {
    let schema = Arc::new(Schema { columns: vec![Column::new(metric::CPU_USER, "").unwrap()] });
    for _ in 0..count {
        let seq = spool.next_seq();
        let process = Process { pid: 1, args: "x".repeat(100).into(), cpu_ms: seq.0, ..Process::default() };
        let at = UnixMs(1_000 * seq.0 as i64);
        let tick = Tick { seq, at, values: vec![seq.0 as i64], processes: vec![process], units: vec![] };
        spool.append(&schema, tick);
        // Nobody samples faster than a disk can write.
        while spool.depth().pending > 100 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn numbers(stub: &Stub) -> Vec<u64> {
    stub.samples().iter().map(|(_, seq)| seq.0).collect()
}

#[tokio::test]
async fn samples_arrive_in_order_and_acknowledgements_empty_the_spool() {
    let stub = Stub::start(Face::default()).await;
    let rig = Rig::start(&stub);
    for seq in 1..=20 {
        rig.add(1);
        stub.until_sample(seq).await;
    }
    assert_eq!(numbers(&stub), (1..=20).collect::<Vec<_>>());
    assert!(stub.samples().iter().all(|(transport, _)| *transport == "quic"));
    stub.until("an empty spool", |_| (rig.spool.depth().unacked == 0).then_some(())).await;
    let status = rig.status.borrow().clone();
    assert_eq!((status.transport.as_deref(), status.last_error), (Some("quic"), None));
    assert!(status.last_ack.is_some() && *rig.interval.borrow() == Duration::from_secs(1));
    rig.end().await;
}

#[tokio::test]
async fn udp_that_is_dead_from_the_start_falls_back_to_tcp() {
    let stub = Stub::start(Face::default()).await;
    stub.set(|k| &k.udp, false);
    let rig = Rig::start(&stub);
    rig.add(3);
    stub.until_sample(3).await;
    assert!(stub.samples().iter().all(|(transport, _)| *transport == "tcp"));
    rig.end().await;
}

#[tokio::test]
async fn a_session_whose_udp_dies_goes_on_over_tcp_and_returns_to_quic() {
    let stub = Stub::start(Face::default()).await;
    let rig = Rig::start(&stub);
    rig.add(2);
    stub.until_sample(2).await;
    stub.set(|k| &k.udp, false);
    let dead = Instant::now();
    rig.add(1);
    stub.until_sample(3).await;
    assert!(dead.elapsed() < Duration::from_secs(5));
    assert!(stub.samples().contains(&("tcp", Seq(3))));
    stub.set(|k| &k.udp, true);
    let mut seq = 3;
    stub.until("QUIC again", |stub| {
        rig.add(1);
        seq += 1;
        stub.samples().iter().any(|(transport, s)| *transport == "quic" && s.0 > 3).then_some(())
    })
    .await;
    stub.until_sample(seq).await;
    let mut all = numbers(&stub);
    all.dedup();
    assert_eq!(all, (1..=seq).collect::<Vec<_>>(), "in order, and a resend only right after itself");
    rig.end().await;
}

#[tokio::test]
async fn tls_negative_matrix_both_transports() {
    let faces = [
        ("wrong CA", Face { foreign: true, ..Face::default() }),
        ("expired", Face { years: (2020, 2021), ..Face::default() }),
        ("not yet valid", Face { years: (2080, 2090), ..Face::default() }),
        ("wrong name", Face { name: "elsewhere.example.org", ..Face::default() }),
    ];
    for (what, face) in faces {
        let stub = Stub::start(face).await;
        for transport in [config::Transport::Auto, config::Transport::Tcp] {
            let link = config::Link { transport, max_backoff: Span(Duration::from_secs(60)), ..quick() };
            let ours = tls(&stub.inner.ca, &stub.inner.ca);
            let rig = Rig::with(&stub, link, ours, Arc::new(tempfile::tempdir().unwrap()));
            let error = stub.until(what, |_| rig.status.borrow().last_error.clone()).await;
            assert!(error.contains("certificate"), "{what}: {error}");
            let tcp = stub.count(|k| &k.tcp_accepted);
            assert_eq!(tcp > 0, transport == config::Transport::Tcp, "{what}: the other transport was tried");
            rig.end().await;
        }
        assert!(stub.came().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn a_host_whose_certificate_is_not_accepted_gets_no_session_on_either_transport() {
    let stub = Stub::start(Face::default()).await;
    let foreign = Ca::new();
    for transport in [config::Transport::Auto, config::Transport::Tcp] {
        let link = config::Link { transport, max_backoff: Span(Duration::from_secs(60)), ..quick() };
        let theirs = tls(&stub.inner.ca, &foreign);
        let rig = Rig::with(&stub, link, theirs, Arc::new(tempfile::tempdir().unwrap()));
        let error = stub.until("an error", |_| rig.status.borrow().last_error.clone()).await;
        assert!(error.contains("enrol it again"), "{error}");
        assert_eq!(stub.count(|k| &k.tcp_accepted) > 0, transport == config::Transport::Tcp);
        rig.end().await;
    }
    stub.set(|k| &k.refuse, true);
    let tcp = stub.count(|k| &k.tcp_accepted);
    let rig = Rig::start(&stub);
    rig.add(1);
    stub.until("refusals", |stub| (stub.came().len() >= 2).then_some(())).await;
    assert!(rig.status.borrow().last_error.as_ref().unwrap().contains("revoked"));
    assert!(stub.samples().is_empty() && stub.count(|k| &k.tcp_accepted) == tcp);
    rig.end().await;
}

#[tokio::test]
async fn after_a_reconnect_only_what_is_not_stored_comes_again() {
    let stub = Stub::start(Face::default()).await;
    let rig = Rig::start(&stub);
    rig.add(5);
    stub.until("five stored", |_| (rig.spool.depth().unacked == 0).then_some(())).await;
    stub.set(|k| &k.ack, false);
    rig.add(4);
    stub.until_sample(9).await;
    stub.cut();
    stub.set(|k| &k.ack, true);
    stub.until("a resend", |_| (rig.spool.depth().unacked == 0).then_some(())).await;
    assert_eq!(numbers(&stub), [1, 2, 3, 4, 5, 6, 7, 8, 9, 6, 7, 8, 9]);
    // A controller that stored more than it could acknowledge says so in its welcome.
    stub.cut();
    rig.add(1);
    stub.until_sample(10).await;
    assert_eq!(numbers(&stub).len(), 14);
    rig.end().await;
}

#[tokio::test]
async fn catch_up_is_in_order_the_previous_epoch_first_with_live_values_ahead() {
    let stub = Stub::start(Face::default()).await;
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let first = {
        let (spool, writer) = open(&directory);
        let writing = std::thread::spawn(move || writer.run());
        add(&spool, 900);
        spool.close();
        writing.join().unwrap();
        spool.epoch()
    };
    let rig = Rig::with(&stub, quick(), tls(&stub.inner.ca, &stub.inner.ca), directory);
    let second = rig.spool.epoch();
    rig.add(600);
    stub.until("everything stored", |_| (rig.spool.depth().unacked == 0).then_some(())).await;
    let came = stub.came().clone();
    let Came::Hello(_, hello) = &came[0] else { panic!("{:?}", came[0]) };
    assert_eq!(
        (hello.epoch, hello.previous.map(|p| (p.epoch, p.last_seq))),
        (second, Some((first, Seq(900))))
    );
    let order: Vec<(Epoch, Seq)> = came
        .iter()
        .filter_map(|came| match came {
            Came::Sample(_, epoch, seq) => Some((*epoch, *seq)),
            _ => None,
        })
        .collect();
    let numbers = |epoch, last| (1..=last).map(move |seq| (epoch, Seq(seq)));
    let wanted: Vec<_> = numbers(first, 900).chain(numbers(second, 600)).collect();
    assert!(order == wanted, "{} of {}: {:?}…", order.len(), wanted.len(), &order[..order.len().min(5)]);
    let live = came.iter().position(|came| matches!(came, Came::Live(_))).expect("no live value");
    let last = came.iter().rposition(|came| matches!(came, Came::Sample(..))).unwrap();
    assert!(live < last);
    let directory = rig.end().await;
    assert!(std::fs::read_dir(directory.path()).unwrap().count() <= 4, "segments are gone");
}

#[tokio::test]
async fn gaps_come_in_order_and_are_acknowledged() {
    let stub = Stub::start(Face::default()).await;
    let directory = Arc::new(tempfile::tempdir().unwrap());
    {
        let (spool, writer) = open(&directory);
        add(&spool, 3);
        spool.close();
        writer.run();
    }
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "seg") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let rig = Rig::with(&stub, quick(), tls(&stub.inner.ca, &stub.inner.ca), directory);
    rig.add(1);
    stub.until("everything stored", |_| (rig.spool.depth().unacked == 0).then_some(())).await;
    let came = stub.came().clone();
    assert!(
        matches!(&came[1], Came::Gap(gap) if gap.seqs == Some((Seq(1), Seq(3))) && gap.reason == GapReason::SpoolCorrupt),
        "{came:?}"
    );
    assert!(matches!(came[2], Came::Sample(_, _, Seq(1))), "{came:?}");
    rig.end().await;
}

fn event(number: u64) -> OrderEvent {
    OrderEvent {
        order: OrderId(uuid::Uuid::from_u128(5)),
        number,
        at: UnixMs(0),
        event: Event::Refused { reason: Refusal::Busy, detail: String::new() },
        audit_head: None,
        signature: None,
    }
}
