//! What a session does once it is live.

use std::time::{Duration, Instant};

use sysop_common::action::{Action, Event, OrderEvent, Risk};
use sysop_common::bytes::{Bytes, Digest};
use sysop_common::ids::{Epoch, OrderId, Seq};
use sysop_common::order::{ORDER_VERSION, Order, Origin, TrustRoot};
use sysop_common::query::{Answer, Query, Reading};
use sysop_common::tls;
use sysop_common::wire::{
    Downward, EnrolAnswer, Inventory, OutputChunk, PreviousEpoch, RenewRequest, Upward,
};

use super::world::{Agent, BOTH, Key, Wire, World, hello, now};
use crate::identity::NewToken;
use crate::link::ports::Transport;
use crate::link::{NotConnected, QueryError};
use crate::store::{host_events, hosts, testing};

fn previous(epoch: u64) -> Option<PreviousEpoch> {
    Some(PreviousEpoch { epoch: Epoch(epoch), last_seq: Seq(0), last_at: now() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_enrols_connects_and_renews_on_either_transport() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    for transport in BOTH {
        let key = Key::new();
        let config = tls::enrolment(world.identity.ca_fingerprint()).unwrap();
        let mut wire = Wire::connect(world.address, transport, config).await.unwrap();
        let answer = wire.enrol(&key.request(world.token().await)).await.unwrap();
        let EnrolAnswer::Enrolled(enrolled) = answer else { panic!("{answer:?}") };
        let who = super::world::Credentials {
            host: enrolled.host,
            key,
            chain: vec![enrolled.certificate.0],
            ca: enrolled.ca.0,
        };
        let mut agent = Agent::connect(&world, &who, transport, hello(7, None)).await.unwrap();
        assert_eq!(agent.welcome.controller, world.identity.controller());
        assert_eq!(agent.welcome.features, ["now"]);
        assert_eq!(agent.welcome.reconnect_window_ms, 5_000);
        assert!(agent.welcome.stored.is_empty());
        let view = world.registry.session(who.host).unwrap();
        assert_eq!((view.transport(), view.epoch), (transport, Epoch(7)));
        while world.presence.of(who.host).is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }

        // Time for its renewal.
        testing::try_sql(&world.db, "UPDATE certificates SET issued_at = issued_at - 31 * 86400000")
            .await
            .unwrap();
        let next = Key::new();
        agent.wire.send(&Upward::RenewRequest(RenewRequest { csr: next.csr() })).await.unwrap();
        let Downward::Renewed(renewed) = agent.wire.next().await.unwrap() else { panic!() };
        let renewed = super::world::Credentials {
            host: who.host,
            key: next,
            chain: vec![renewed.certificate.0],
            ca: who.ca,
        };
        Agent::connect(&world, &renewed, transport, hello(7, None)).await.unwrap();

        let inventory = Inventory {
            hostname: "web-1".into(),
            agent_version: "0.1.0".into(),
            labels: vec![("host.rack".into(), "a".into()), ("env".into(), "prod".into())],
            ..Inventory::default()
        };
        let mut agent = Agent::connect(&world, &renewed, transport, hello(7, None)).await.unwrap();
        agent.wire.send(&Upward::Inventory(Box::new(inventory.clone()))).await.unwrap();
        let stored = loop {
            let host = hosts::get(&world.db, who.host).await.unwrap();
            if host.inventory == inventory {
                break host;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(
            stored.labels.keys().collect::<Vec<_>>(),
            ["host.rack"],
            "an agent gives itself no rights"
        );
        assert_eq!((stored.name.as_str(), stored.lease), ("web-1", 1));
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_readings_events_and_outputs_find_their_way() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    for transport in BOTH {
        let who = world.enrolled().await;
        let mut agent = Agent::connect(&world, &who, transport, hello(7, None)).await.unwrap();
        let action = Action::RestartService { unit: "nginx.service".parse().unwrap() };
        let order = Order {
            version: ORDER_VERSION,
            id: OrderId(uuid::Uuid::now_v7()),
            host: who.host,
            entry: action.entry().digest(),
            action,
            not_before: now(),
            expires: now().plus(60_000),
            lease: 1,
            audit_head: Digest([0; 32]),
            origin: Origin::Person,
            risk: Risk::Medium,
            reason: "test".into(),
        };
        let signed = world.identity.dispatch_key().sign(&order).unwrap();
        world.registry.send_order(who.host, signed).await.unwrap();
        let Downward::Order(got) = agent.wire.next().await.unwrap() else { panic!() };
        let trust = TrustRoot::new(&world.identity.ca_certificate().into(), who.host).unwrap();
        assert_eq!(trust.check_signed(&got, now()).unwrap(), order);

        let event = OrderEvent {
            order: order.id,
            number: 3,
            at: now(),
            event: Event::Accepted,
            audit_head: None,
            signature: None,
        };
        agent.wire.send(&Upward::OrderEvent(event.clone())).await.unwrap();
        let acked = agent.wire.next().await.unwrap();
        assert_eq!(acked, Downward::EventAck { order: order.id, number: 3 });
        assert_eq!(world.results.events.lock().unwrap().last(), Some(&(who.host, event)));

        let chunk = OutputChunk { order: order.id, offset: 0, bytes: Bytes(vec![b'x'; 50_000]) };
        let mut bytes = Vec::new();
        Upward::Output(chunk.clone()).encode(&mut bytes).unwrap();
        match &agent.wire.quic {
            Some((_, connection)) => {
                let mut stream = connection.open_uni().await.unwrap();
                stream.write_all(&bytes).await.unwrap();
                stream.finish().unwrap();
            }
            None => agent.wire.send_bytes(&bytes).await.unwrap(),
        }
        while !world.results.outputs.lock().unwrap().contains(&(who.host, chunk.clone())) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }

        let asked = world.registry.query(who.host, Query::GetSystemLoad, Duration::from_secs(5));
        let answered = async {
            let Downward::Query(asked) = agent.wire.next().await.unwrap() else { panic!() };
            assert_eq!(asked.query, Query::GetSystemLoad);
            let reading = Reading { text: "load".into(), json: "{}".into() };
            let answer = Answer { id: asked.id, result: Ok(reading) };
            agent.wire.send(&Upward::Answer(answer.clone())).await.unwrap();
            answer
        };
        let (got, want) = tokio::join!(asked, answered);
        assert_eq!(got.unwrap(), want);
        let unanswered = world.registry.query(who.host, Query::GetCpuUsage, Duration::from_millis(50)).await;
        assert_eq!(unanswered, Err(QueryError::TimedOut));

        assert!(world.registry.close(who.host, "enough"));
        while let Ok(message) = agent.wire.next().await {
            assert!(matches!(message, Downward::Query(_)));
        }
        let signed = world.identity.dispatch_key().sign(&order).unwrap();
        assert_eq!(world.registry.send_order(who.host, signed).await, Err(NotConnected));
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_takes_over_from_itself_and_a_clone_is_refused_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    let who = world.enrolled().await;
    let mut first = Agent::connect(&world, &who, Transport::Quic, hello(7, None)).await.unwrap();
    // The same agent falls back to the other transport.
    let mut second = Agent::connect(&world, &who, Transport::Tcp, hello(7, None)).await.unwrap();
    assert!(first.wire.next().await.unwrap_err().contains("took over"));
    // It restarts.
    let mut live = Agent::connect(&world, &who, Transport::Quic, hello(8, previous(7))).await.unwrap();
    assert!(second.wire.next().await.unwrap_err().contains("took over"));
    assert_eq!(world.registry.count(), 1);

    // A copy of the machine: refused, and reported once both have shown to be alive.
    let copy = |epoch| Agent::connect(&world, &who, Transport::Tcp, hello(epoch, previous(7)));
    let why = copy(9).await.err().unwrap();
    assert!(why.contains("another session"), "{why}");
    let events = async || {
        let mut conn = world.db.reader().await.unwrap();
        host_events::since(&mut conn, sysop_common::time::UnixMs(0)).await.unwrap()
    };
    assert!(events().await.is_empty(), "not known yet which is alive");
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    live.start_chain(8, &[super::world::tick(1, now())]).await.unwrap();
    live.acked(8, 1).await.unwrap();
    copy(9).await.err().unwrap();
    copy(10).await.err().unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let reported = events().await;
    assert_eq!(reported.len(), 1, "once a minute is enough");
    assert_eq!((reported[0].0, reported[0].1.kind.as_str()), (who.host, host_events::CLONE));
    live.samples(&[super::world::tick(2, now())]).await.unwrap();
    live.acked(8, 2).await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_says_goodbye_within_two_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    let mut agents = Vec::new();
    for n in 0..6 {
        let who = world.enrolled().await;
        agents.push(Agent::connect(&world, &who, BOTH[n % 2], hello(7, None)).await.unwrap());
    }
    let before = Instant::now();
    let said = async {
        for agent in &mut agents {
            assert!(agent.wire.next().await.unwrap_err().contains("stops"));
        }
    };
    tokio::join!(world.stop(), said);
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_host_that_say_nothing_are_few_and_short() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    let (who, other) = (world.enrolled().await, world.enrolled().await);
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(Wire::connect(world.address, Transport::Tcp, who.tls()).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let why = Agent::connect(&world, &who, Transport::Tcp, hello(7, None)).await.err().unwrap();
    assert!(why.contains("too many connections"), "{why}");
    Agent::connect(&world, &other, Transport::Tcp, hello(7, None)).await.unwrap();
    drop(silent);
    tokio::time::sleep(Duration::from_millis(100)).await;
    Agent::connect(&world, &who, Transport::Tcp, hello(7, None)).await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_one_use_lets_one_in_whoever_comes_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    let token = world.token().await;
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let (identity, request) = (world.identity.clone(), Key::new().request(token.clone()));
            tokio::spawn(async move { identity.enrol(&request, now()).await.is_ok() })
        })
        .collect();
    let mut let_in = 0;
    for tried in tries {
        let_in += u32::from(tried.await.unwrap());
    }
    assert_eq!((let_in, hosts::count(&world.db).await.unwrap()), (1, 1));

    // A token that brings a host back: the old key is out, the id stays.
    let who = world.enrolled().await;
    let recovery = NewToken { recovers: Some(who.host), ..NewToken::single("back", "tester") };
    let recovery = world.identity.create_token(recovery, now()).await.unwrap().text;
    let key = Key::new();
    let back = world.identity.enrol(&key.request(recovery), now()).await.unwrap();
    assert_eq!(back.host, who.host);
    assert!(
        Agent::connect(&world, &who, Transport::Quic, hello(7, None))
            .await
            .err()
            .unwrap()
            .contains("revoked")
    );
    let renewed = super::world::Credentials { key, chain: vec![back.certificate.0], ..who };
    Agent::connect(&world, &renewed, Transport::Quic, hello(8, None)).await.unwrap();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sits_on_connections_keeps_nobody_else_out() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start_with(dir.path(), |link, _| link.max_handshakes = 16).await;
    let who = world.enrolled().await;
    // As many as there are places, without a byte of TLS, and the other way with garbage.
    let mut silent = Vec::new();
    for _ in 0..16 {
        silent.push(tokio::net::TcpStream::connect(world.address).await.unwrap());
    }
    let garbage = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for n in 0..200u8 {
        garbage.send_to(&[0xc0 | n; 1200], world.address).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    Agent::connect(&world, &who, Transport::Quic, hello(7, None)).await.unwrap();
    assert!(
        Agent::connect(&world, &who, Transport::Tcp, hello(7, None)).await.is_err(),
        "its share is taken"
    );
    // They are given up after a few seconds, by themselves.
    tokio::time::sleep(Duration::from_secs(5)).await;
    Agent::connect(&world, &who, Transport::Tcp, hello(7, None)).await.unwrap();
    drop(silent);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_pressure_peers_show_that_their_address_is_their_own_and_get_in() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start_with(dir.path(), |link, _| link.retry_above = 0).await;
    for _ in 0..3 {
        let who = world.enrolled().await;
        Agent::connect(&world, &who, Transport::Quic, hello(7, None)).await.unwrap();
    }
    world.stop().await;
}
