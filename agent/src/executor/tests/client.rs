use std::path::Path;
use std::time::Duration;

use sysop_common::action::{Action, Event, OrderEvent, Refusal, Risk};
use sysop_common::bytes::{Bytes, Digest};
use sysop_common::ids::{HostId, OrderId};
use sysop_common::order::{ORDER_VERSION, Order, Origin, SignedOrder};
use sysop_common::time::UnixMs;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::super::protocol::{FromExecutor, MAX_MESSAGE, ToExecutor, decode, encode};
use super::super::socket::{Channel, Listener};
use super::super::{Client, Report};

fn signed(id: u128) -> SignedOrder {
    let action = Action::RestartService { unit: "nginx.service".parse().unwrap() };
    let order = Order {
        version: ORDER_VERSION,
        id: OrderId(Uuid::from_u128(id)),
        host: HostId(Uuid::nil()),
        entry: action.entry().digest(),
        action,
        not_before: UnixMs(0),
        expires: UnixMs(1),
        lease: 1,
        audit_head: Digest([0; 32]),
        origin: Origin::Person,
        risk: Risk::Low,
        reason: String::new(),
    };
    SignedOrder {
        order: Bytes(order.encode().unwrap()),
        signature: Bytes::default(),
        certificate: Bytes::default(),
        approvals: Vec::new(),
    }
}

fn event(id: u128, number: u64) -> OrderEvent {
    let order = OrderId(Uuid::from_u128(id));
    OrderEvent { order, number, at: UnixMs(0), event: Event::Accepted, audit_head: None, signature: None }
}

async fn hear(channel: &Channel) -> ToExecutor {
    let packet = tokio::time::timeout(Duration::from_secs(5), channel.receive()).await.unwrap();
    decode(&packet.unwrap().unwrap()).unwrap()
}

async fn accept(listener: &Listener) -> Channel {
    tokio::time::timeout(Duration::from_secs(5), listener.accept()).await.unwrap().unwrap()
}

fn start(path: &Path) -> (Client, mpsc::Receiver<Report>) {
    let (sender, reports) = mpsc::channel(4);
    (Client::start(path.to_owned(), sender), reports)
}

#[tokio::test]
async fn without_an_executor_each_order_is_refused_as_monitor_only() {
    let dir = tempfile::tempdir().unwrap();
    let (client, mut reports) = start(&dir.path().join("none.sock"));
    client.poke().await.unwrap();
    client.submit(&signed(1)).await.unwrap();
    let Some(Report::Event(event)) = reports.recv().await else { panic!("no report") };
    assert!(matches!(event.event, Event::Refused { reason: Refusal::MonitorOnly, .. }));
    assert_eq!((event.order, event.number), (OrderId(Uuid::from_u128(1)), 0));
}

#[tokio::test]
async fn whoever_asks_without_listening_is_not_held_up_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let (client, mut reports) = start(&dir.path().join("none.sock"));
    let asked = async {
        for id in 0..1_000 {
            client.submit(&signed(id)).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap();
    assert!(reports.recv().await.is_some());
}

#[tokio::test]
async fn an_unanswered_order_is_handed_over_again_and_an_idle_executor_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("executor.sock");
    let listener = Listener::bind(&path, None).unwrap();
    let (client, mut reports) = start(&path);
    client.submit(&signed(1)).await.unwrap();
    let channel = accept(&listener).await;
    let first = hear(&channel).await;
    assert!(matches!(first, ToExecutor::Submit(_)));
    assert_eq!(hear(&channel).await, ToExecutor::Poke);
    drop(channel);
    let channel = accept(&listener).await;
    assert_eq!(hear(&channel).await, first);
    assert_eq!(hear(&channel).await, ToExecutor::Poke);
    channel.send(&encode(&FromExecutor::Event(event(1, 3))).unwrap()).await.unwrap();
    assert_eq!(reports.recv().await, Some(Report::Event(event(1, 3))));
    client.acknowledge(OrderId(Uuid::from_u128(1)), 3).await.unwrap();
    assert!(matches!(hear(&channel).await, ToExecutor::Acknowledge { number: 3, .. }));
    channel.send(&encode(&FromExecutor::Idle).unwrap()).await.unwrap();
    drop(channel);
    // Gone in peace: nothing to ask, so nobody comes.
    assert!(tokio::time::timeout(Duration::from_millis(300), listener.accept()).await.is_err());
    client.cancel(OrderId(Uuid::from_u128(9))).await.unwrap();
    let channel = accept(&listener).await;
    assert!(matches!(hear(&channel).await, ToExecutor::Cancel(_)));
    // Gone without a word: it is asked what became of everything.
    drop(channel);
    let channel = accept(&listener).await;
    assert_eq!(hear(&channel).await, ToExecutor::Poke);
}

#[tokio::test]
async fn an_order_that_is_too_large_or_never_answered_does_not_stay_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("executor.sock");
    let listener = Listener::bind(&path, None).unwrap();
    let (client, mut reports) = start(&path);
    let large = SignedOrder { approvals: vec![Bytes(vec![0; 17_000])], ..signed(2) };
    client.submit(&large).await.unwrap();
    let Some(Report::Event(event)) = reports.recv().await else { panic!("no report") };
    assert!(matches!(event.event, Event::Refused { reason: Refusal::Malformed, .. }), "{event:?}");
    client.submit(&signed(1)).await.unwrap();
    let mut submitted = 0;
    for _ in 0..25 {
        let channel = accept(&listener).await;
        match hear(&channel).await {
            ToExecutor::Submit(_) => submitted += 1,
            other => assert_eq!(other, ToExecutor::Poke),
        }
        if submitted == 20 {
            break;
        }
    }
    assert_eq!(submitted, 20);
    let channel = accept(&listener).await;
    assert_eq!(hear(&channel).await, ToExecutor::Poke, "it is not handed over once more");
}

#[tokio::test]
async fn packets_over_the_cap_are_an_error_on_either_side() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("executor.sock");
    let listener = Listener::bind(&path, None).unwrap();
    assert!(Listener::bind(&path, None).is_err(), "one executor listens");
    drop(accept(&listener).await); // the other one's look
    let one = Channel::connect(&path).unwrap();
    let other = accept(&listener).await;
    assert_eq!(other.peer_uid().unwrap(), rustix::process::geteuid().as_raw());
    one.send(&vec![1; MAX_MESSAGE]).await.unwrap();
    one.send(&vec![1; MAX_MESSAGE + 1]).await.unwrap();
    assert_eq!(other.receive().await.unwrap().unwrap().len(), MAX_MESSAGE);
    assert!(other.receive().await.is_err());
    drop(one);
    assert_eq!(other.receive().await.unwrap(), None);
    assert!(encode(&ToExecutor::Submit(Bytes(vec![0; MAX_MESSAGE]))).is_err());
    assert!(decode::<ToExecutor>(&vec![0; MAX_MESSAGE + 1]).is_err());
    drop(listener);
    assert!(Listener::bind(&path, None).is_ok(), "a socket nobody listens on is replaced");
}
