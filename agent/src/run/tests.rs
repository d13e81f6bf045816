//! The wiring: what can be said of it without a controller.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::*;

fn is_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test]
async fn an_agent_that_is_not_enrolled_says_what_to_do_and_its_future_may_move_between_threads() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::in_directory("127.0.0.1:1", directory.path());
    let error = Box::pin(is_send(run(config.clone(), std::future::pending()))).await.unwrap_err();
    assert!(error.to_string().contains("sysop-agent enroll"), "{error}");
    let enrolment = crate::Enrolment {
        config,
        token: String::new(),
        ca: sysop_common::bytes::Digest([0; 32]),
        name: String::new(),
        allow: Vec::new(),
        owner: None,
    };
    let error = is_send(crate::enrol(enrolment)).await.unwrap_err();
    assert!(error.to_string().contains("standard input"), "{error}");
}

#[test]
fn a_status_file_that_is_no_file_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::in_directory("127.0.0.1:1", directory.path());
    let path = status::path(&config);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(status::read(&config).is_none());
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(status::read(&config).is_none());
}

#[test]
fn the_service_manager_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let notifier = Notifier::new(path.to_str(), Some(Duration::from_secs(30)));
    assert_eq!(notifier.watchdog(), Some(Duration::from_secs(15)));
    notifier.ready();
    notifier.alive();
    notifier.stopping();
    let mut buf = [0; 64];
    for want in ["READY=1", "WATCHDOG=1", "STOPPING=1"] {
        let len = socket.recv(&mut buf).unwrap();
        assert_eq!(&buf[..len], want.as_bytes());
    }
    Notifier::none().ready();
    assert_eq!(Notifier::new(None, Some(Duration::from_secs(1))).watchdog(), None);
}

use crate::link::tests::stub::{Came, Face, Stub};
use crate::{Enrolment, enrol};
use std::sync::atomic::Ordering;
use sysop_common::action::{Action, Event, Refusal};
use sysop_common::bytes::{Bytes, Digest};
use sysop_common::ids::OrderId;
use sysop_common::order::{Order, Origin, SignedOrder};
use sysop_common::query::Query;
use sysop_common::tls::fingerprint;
use sysop_common::wire::{Downward, QueryRequest, Upward};

fn enrolment(stub: &Stub, directory: &std::path::Path) -> Enrolment {
    Enrolment {
        config: Config::in_directory(&stub.address(), directory),
        token: "good\n".into(),
        ca: fingerprint(&stub.inner.ca.der()),
        name: "web-1".into(),
        allow: Vec::new(),
        owner: None,
    }
}

fn order() -> SignedOrder {
    let action = Action::RestartService { unit: "nginx.service".parse().unwrap() };
    let order = Order {
        version: 1,
        id: OrderId(uuid::Uuid::now_v7()),
        host: "0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b".parse().unwrap(),
        entry: action.entry().digest(),
        action,
        not_before: UnixMs(0),
        expires: UnixMs(1),
        lease: 1,
        audit_head: Digest([0; 32]),
        origin: Origin::Person,
        risk: sysop_common::action::Risk::Medium,
        reason: "test".into(),
    };
    let bytes = Bytes(order.encode().unwrap());
    SignedOrder { order: bytes, signature: Bytes(vec![0; 64]), certificate: Bytes(vec![]), approvals: vec![] }
}

#[tokio::test]
async fn a_host_enrols_samples_answers_refuses_and_stops() {
    let stub = Stub::start(Face::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let enrolled = enrolment(&stub, directory.path());
    let mut config = enrolled.config.clone();
    let done = enrol(enrolled.clone()).await.unwrap();
    assert!(done.wrote_policy && done.transport == crate::link::Transport::Quic);
    assert!(enrol(enrolled).await.unwrap_err().to_string().contains("unenroll"));

    config.host.labels.insert("role".into(), "web".into());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let started = std::time::Instant::now();
    let agent = tokio::spawn(run(config.clone(), async { drop(stopped.await) }));
    stub.until_sample(2).await;
    assert!(started.elapsed() < Duration::from_secs(3), "two samples within three seconds");
    let inventory = stub
        .until("the inventory", |stub| {
            stub.came().iter().find_map(|came| match came {
                Came::Other(_, Upward::Inventory(inventory)) => Some(inventory.clone()),
                _ => None,
            })
        })
        .await;
    assert_eq!(inventory.labels, [("host.role".to_owned(), "web".to_owned())]);
    assert_eq!((inventory.grants.executor, inventory.grants.queries.len()), (false, 7));
    assert!(!inventory.catalogue.is_empty() && !inventory.hostname.is_empty());

    stub.send(Downward::Query(QueryRequest { id: 1, query: Query::GetMemoryUsage }));
    stub.send(Downward::Order(Box::new(order())));
    let refusal = stub
        .until("an answer and a refusal", |stub| {
            let came = stub.came();
            let answered =
                came.iter().any(|c| matches!(c, Came::Other(_, Upward::Answer(a)) if a.result.is_ok()));
            came.iter().find_map(|c| match c {
                Came::Other(_, Upward::OrderEvent(event)) if answered => Some(event.event.clone()),
                _ => None,
            })
        })
        .await;
    assert!(matches!(refusal, Event::Refused { reason: Refusal::MonitorOnly, .. }), "{refusal:?}");

    let report =
        stub.until("the status", |_| status::read(&config).filter(|r| r.link.transport.is_some())).await;
    assert_eq!((report.pid, report.host), (std::process::id(), done.host));
    let stopping = std::time::Instant::now();
    stop.send(()).unwrap();
    agent.await.unwrap().unwrap();
    assert!(stopping.elapsed() < Duration::from_secs(2));
    assert!(status::read(&config).is_none());

    // Once more, with what is on disk: the epoch is another one and names the one before.
    let before = stub.came().len();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let agent = tokio::spawn(run(config, async { drop(stopped.await) }));
    stub.until("a second hello", |stub| {
        let hello = |came: &Came| matches!(came, Came::Hello(_, hello) if hello.previous.is_some());
        stub.came()[before..].iter().any(hello).then_some(())
    })
    .await;
    drop(stop);
    agent.await.unwrap().unwrap();
}

#[tokio::test]
async fn enrolment_over_either_transport_and_each_way_in_which_it_fails() {
    let stub = Stub::start(Face::default()).await;
    stub.set(|k| &k.udp, false);
    let directory = tempfile::tempdir().unwrap();
    let mut good = enrolment(&stub, directory.path());
    good.config.link.handshake_timeout = crate::config::Span(Duration::from_millis(500));

    let wrong_pin = Enrolment { ca: Digest([7; 32]), ..good.clone() };
    let error = enrol(wrong_pin.clone()).await.unwrap_err().to_string();
    assert!(error.contains("whose fingerprint was given"), "{error}");
    stub.set(|k| &k.udp, true);
    let tcp = stub.count(|k| &k.tcp_accepted);
    let error = enrol(wrong_pin).await.unwrap_err().to_string();
    assert!(error.contains("whose fingerprint was given"), "{error}");
    assert_eq!(stub.count(|k| &k.tcp_accepted), tcp, "the other transport was tried");
    stub.set(|k| &k.udp, false);
    let spent = Enrolment { token: "spent".into(), ..good.clone() };
    let error = enrol(spent).await.unwrap_err().to_string();
    assert!(error.contains("the controller refused: the token is not valid"), "{error}");
    assert!(!good.config.paths.state.join("key.pem").exists());
    let mut elsewhere = good.clone();
    elsewhere.config.controller = "127.0.0.1:1".into();
    let error = enrol(elsewhere).await.unwrap_err().to_string();
    assert!(error.contains("was not reached") && error.contains("tcp"), "{error}");
    let done = enrol(good).await.unwrap();
    assert_eq!(done.transport, crate::link::Transport::Tcp);
}

#[tokio::test]
async fn a_certificate_is_renewed_at_two_thirds_of_its_life_and_used_at_once() {
    let stub = Stub::start(Face::default()).await;
    stub.inner.knobs.age.store(21, Ordering::SeqCst);
    let directory = tempfile::tempdir().unwrap();
    let enrolled = enrolment(&stub, directory.path());
    let config = enrolled.config.clone();
    enrol(enrolled).await.unwrap();
    let before = std::fs::read(config.paths.state.join("key.pem")).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let agent = tokio::spawn(run(config.clone(), async { drop(stopped.await) }));
    stub.until("a session with the new certificate", |stub| {
        let came = stub.came();
        let asked = came.iter().position(|c| matches!(c, Came::Other(_, Upward::RenewRequest(_))))?;
        came[asked..].iter().any(|c| matches!(c, Came::Hello(..))).then_some(())
    })
    .await;
    assert_ne!(std::fs::read(config.paths.state.join("key.pem")).unwrap(), before);
    let facts = Identity::load(&config.paths).unwrap().facts().clone();
    assert!(facts.renew_at() > UnixMs::from_system(SystemTime::now()));
    let asked = |stub: &Stub| {
        stub.came().iter().filter(|c| matches!(c, Came::Other(_, Upward::RenewRequest(_)))).count()
    };
    stub.until_sample(2).await;
    assert_eq!(asked(&stub), 1);
    drop(stop);
    agent.await.unwrap().unwrap();
}
