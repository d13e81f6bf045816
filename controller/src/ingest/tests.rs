//! From an agent's samples to the store and back as acks, over real connections.

use std::time::Duration;

use sqlx::Connection as _;
use sysop_common::bytes::Bytes;
use sysop_common::ids::{Epoch, Seq};
use sysop_common::sample::Tick;
use sysop_common::sample::codec::encode_full;
use sysop_common::time::UnixMs;
use sysop_common::wire::{Gap, GapReason, Now, PreviousEpoch, Samples, Upward};

use crate::link::ports::Transport;
use crate::link::tests::world::{Agent, BOTH, Credentials, World, hello, now, schema, tick};
use crate::store::samples::{Resolution, SeriesRequest};

/// Numbers of all ticks of a host, as readers see them.
async fn stored(world: &World, who: &Credentials) -> Vec<u64> {
    let request = SeriesRequest {
        host: who.host,
        metrics: vec![("load.1".into(), None)],
        from: now().plus(-86_400_000),
        to: now().plus(1_000),
        resolution: Resolution::Step(1),
    };
    let set = world.store.series(&request).await.unwrap();
    let points = set.series.first().map_or(&[][..], |series| &series.points);
    points.iter().filter_map(|(_, value)| value.map(|load| (load * 100.0).round() as u64)).collect()
}

fn ticks(range: std::ops::RangeInclusive<u64>) -> Vec<Tick> {
    let start = now().plus(-3_600_000);
    range.map(|n| tick(n, start.plus(n as i64 * 10_000))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_are_stored_then_acked_and_a_resend_is_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    for transport in BOTH {
        let who = world.enrolled().await;
        let all = ticks(1..=30);
        let mut agent = Agent::connect(&world, &who, transport, hello(7, None)).await.unwrap();
        agent.start_chain(7, &all[..20]).await.unwrap();
        agent.acked(7, 20).await.unwrap();
        agent.samples(&all[20..25]).await.unwrap();
        agent.acked(7, 25).await.unwrap();
        // The acks were lost: all of it again, and more.
        let mut agent = Agent::connect(&world, &who, transport, hello(7, None)).await.unwrap();
        assert_eq!(agent.welcome.stored, [(Epoch(7), Seq(25))]);
        agent.start_chain(7, &all[10..]).await.unwrap();
        agent.acked(7, 30).await.unwrap();
        agent.start_chain(7, &all[29..]).await.unwrap();
        agent.acked(7, 30).await.unwrap();
        assert_eq!(stored(&world, &who).await, (1..=30).collect::<Vec<_>>());
        assert!(world.store.numbered_gaps(who.host).await.unwrap().is_empty());
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acked_before_its_commit() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    let who = world.enrolled().await;
    let mut agent = Agent::connect(&world, &who, Transport::Quic, hello(7, None)).await.unwrap();
    agent.start_chain(7, &ticks(1..=1)).await.unwrap();
    agent.acked(7, 1).await.unwrap();
    // Somebody else holds the write lock.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.path().join("samples.db"));
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    agent.samples(&ticks(2..=3)).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(700), agent.acked(7, 2)).await;
    assert!(early.is_err(), "acked while nothing could be committed");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    agent.acked(7, 3).await.unwrap();

    // The database is gone in the middle: no ack, and after a restart the agent sends it again.
    world.store.close().await;
    agent.samples(&ticks(4..=6)).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(500), agent.acked(7, 4)).await;
    assert!(early.is_err(), "acked although the database is closed");
    world.stop().await;
    let world = World::start(dir.path()).await;
    let mut agent = Agent::connect(&world, &who, Transport::Quic, hello(7, None)).await.unwrap();
    assert_eq!(agent.welcome.stored, [(Epoch(7), Seq(3))]);
    agent.start_chain(7, &ticks(4..=6)).await.unwrap();
    agent.acked(7, 6).await.unwrap();
    assert_eq!(stored(&world, &who).await, [1, 2, 3, 4, 5, 6]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_number_is_stored_or_in_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    let who = world.enrolled().await;
    let all = ticks(1..=60);
    let at = |n: usize| all[n - 1].at;
    let mut agent = Agent::connect(&world, &who, Transport::Quic, hello(7, None)).await.unwrap();
    agent.start_chain(7, &all[..5]).await.unwrap();
    // Reported by the agent.
    let gap = Gap {
        epoch: Epoch(7),
        seqs: Some((Seq(6), Seq(8))),
        from: at(6),
        to: at(8),
        reason: GapReason::SpoolFull,
    };
    agent.wire.send(&Upward::Gap(gap.clone())).await.unwrap();
    agent.acked(7, 8).await.unwrap();
    agent.wire.send(&Upward::Gap(gap)).await.unwrap();
    agent.acked(7, 8).await.unwrap();
    // Not reported.
    agent.samples(&all[11..13]).await.unwrap();
    agent.acked(7, 13).await.unwrap();
    // A restart that lost the end of the spool: 14 and 15 were written and never come.
    let previous = PreviousEpoch { epoch: Epoch(7), last_seq: Seq(15), last_at: at(15) };
    let mut agent = Agent::connect(&world, &who, Transport::Quic, hello(8, Some(previous))).await.unwrap();
    assert_eq!(agent.welcome.stored, [(Epoch(7), Seq(13))]);
    let next: Vec<Tick> = (1..=3).map(|n| Tick { at: at(30 + n as usize), ..tick(n, UnixMs(0)) }).collect();
    agent.start_chain(8, &next).await.unwrap();
    agent.acked(8, 3).await.unwrap();
    drop(agent);
    let check = async |world: &World| {
        let gaps = world.store.numbered_gaps(who.host).await.unwrap();
        let mut short: Vec<(u64, Option<(u64, u64)>, GapReason)> =
            gaps.iter().map(|g| (g.epoch.0, g.seqs.map(|(a, b)| (a.0, b.0)), g.reason)).collect();
        short.sort_by_key(|gap| (gap.0, gap.1));
        assert_eq!(
            short,
            [
                (7, Some((6, 8)), GapReason::SpoolFull),
                (7, Some((9, 11)), GapReason::StateLost),
                (7, Some((14, 15)), GapReason::StateLost),
                (8, None, GapReason::AgentDown),
            ]
        );
        let down = gaps.iter().find(|gap| gap.epoch == Epoch(8)).unwrap();
        assert_eq!((down.from, down.to), (at(15), at(31)));
        assert_eq!(stored(world, &who).await, [1, 2, 3, 4, 5, 12, 13, 1, 2, 3]);
        let epochs = world.store.stored_epochs(who.host).await.unwrap();
        assert_eq!(epochs.iter().map(|e| (e.epoch.0, e.seq.0)).collect::<Vec<_>>(), [(7, 15), (8, 3)]);
    };
    check(&world).await;
    world.stop().await;
    let world = World::start(dir.path()).await;
    check(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_sample_ends_the_session_and_costs_nothing_that_was_good() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    let who = world.enrolled().await;
    let mut agent = Agent::connect(&world, &who, Transport::Quic, hello(7, None)).await.unwrap();
    let all = ticks(1..=3);
    agent.start_chain(7, &all[..2]).await.unwrap();
    agent
        .wire
        .send(&Upward::Samples(Samples { chain: None, frames: vec![Bytes(vec![2, 99, 99])] }))
        .await
        .unwrap();
    let why = loop {
        if let Err(why) = agent.wire.next().await {
            break why;
        }
    };
    assert!(why.contains("sample"), "{why}");
    let mut agent = Agent::connect(&world, &who, Transport::Quic, hello(7, None)).await.unwrap();
    agent.start_chain(7, &all).await.unwrap();
    agent.acked(7, 3).await.unwrap();
    assert_eq!(stored(&world, &who).await, [1, 2, 3]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_sample_is_shown_during_a_catch_up_and_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    let who = world.enrolled().await;
    let mut agent = Agent::connect(&world, &who, Transport::Tcp, hello(7, None)).await.unwrap();
    agent.start_chain(7, &ticks(1..=5)).await.unwrap();
    agent.acked(7, 5).await.unwrap();
    let newest = tick(100, now());
    let mut frame = Vec::new();
    encode_full(&newest, &mut frame);
    agent.wire.send(&Upward::Now(Now { schema: schema().id(), frame: Bytes(frame) })).await.unwrap();
    agent.samples(&ticks(6..=9)).await.unwrap();
    agent.acked(7, 9).await.unwrap();
    assert_eq!(world.store.latest(who.host).unwrap().now.tick.seq, Seq(100));
    assert_eq!(stored(&world, &who).await, (1..=9).collect::<Vec<_>>());
    // Its own turn comes.
    let mut rest = ticks(10..=99);
    rest.push(newest);
    agent.samples(&rest).await.unwrap();
    agent.acked(7, 100).await.unwrap();
    assert_eq!(world.store.latest(who.host).unwrap().now.tick.seq, Seq(100));
    assert_eq!(stored(&world, &who).await.len(), 100);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_sends_faster_than_is_committed_waits() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start_with(dir.path(), |_, ingest| ingest.max_queued_per_host = 2_000).await;
    let who = world.enrolled().await;
    let mut agent = Agent::connect(&world, &who, Transport::Quic, hello(7, None)).await.unwrap();
    agent.start_chain(7, &ticks(1..=1)).await.unwrap();
    let all = ticks(1..=2_000);
    for some in all[1..].chunks(250) {
        agent.samples(some).await.unwrap();
    }
    agent.acked(7, 2_000).await.unwrap();
    assert_eq!(stored(&world, &who).await, (1..=2_000).collect::<Vec<_>>());
    assert!(world.store.numbered_gaps(who.host).await.unwrap().is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_s_clock_is_corrected_by_what_its_hello_said() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    let who = world.enrolled().await;
    let ahead = 7_200_000;
    let mut said = hello(7, None);
    said.clock = said.clock.plus(ahead);
    let mut agent = Agent::connect(&world, &who, Transport::Quic, said).await.unwrap();
    let taken = now();
    agent.start_chain(7, &[tick(1, taken.plus(ahead))]).await.unwrap();
    agent.acked(7, 1).await.unwrap();
    let latest = world.store.latest(who.host).unwrap();
    assert!(latest.now.at.since(taken).abs() < 2_000, "{}", latest.now.at.since(taken));
    assert_eq!(latest.now.tick.at, taken.plus(ahead), "the host's own word is kept");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_that_the_store_refuses_leaves_a_gap_and_does_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path()).await;
    let (good, bad) = (world.enrolled().await, world.enrolled().await);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.path().join("samples.db"));
    let mut other = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let refuse =
        "CREATE TRIGGER no BEFORE INSERT ON chains WHEN NEW.epoch = 666 BEGIN SELECT RAISE(ABORT, 'no'); END";
    sqlx::query(refuse).execute(&mut other).await.unwrap();

    let all = ticks(1..=9);
    let mut agent = Agent::connect(&world, &good, Transport::Quic, hello(7, None)).await.unwrap();
    let mut poison = Agent::connect(&world, &bad, Transport::Quic, hello(666, None)).await.unwrap();
    poison.start_chain(666, &all[..3]).await.unwrap();
    agent.start_chain(7, &all).await.unwrap();
    agent.acked(7, 9).await.unwrap();
    poison.acked(666, 3).await.unwrap();
    assert_eq!(stored(&world, &good).await, (1..=9).collect::<Vec<_>>());
    assert!(stored(&world, &bad).await.is_empty());
    let gaps = world.store.numbered_gaps(bad.host).await.unwrap();
    let got: Vec<_> = gaps.iter().map(|gap| (gap.seqs.unwrap().0.0, gap.reason)).collect();
    assert_eq!(got, [1, 2, 3].map(|seq| (seq, GapReason::Refused)));

    // What is accepted again is stored again.
    sqlx::query("DROP TRIGGER no").execute(&mut other).await.unwrap();
    poison.samples(&all[3..5]).await.unwrap();
    poison.acked(666, 5).await.unwrap();
    assert_eq!(stored(&world, &bad).await, [4, 5]);
    world.stop().await;
}
