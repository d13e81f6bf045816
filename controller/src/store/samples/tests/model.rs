//! What goes in comes out, once, whatever was done to it in between.

use proptest::prelude::*;
use sysop_common::sample::NOT_OBSERVED;
use sysop_common::time::{HOUR_MS, MINUTE_MS};
use sysop_common::wire::GapReason;

use super::super::part::Part;
use super::*;

async fn count(store: &SampleStore, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(store.inner.db.read()).await.unwrap()
}

#[tokio::test]
async fn a_sample_is_read_once_from_memory_tail_and_parts() {
    let dir = tempfile::tempdir().unwrap();
    let mut maker = Maker::new(1);
    let mut store = open(dir.path()).await;
    let mut want = Vec::new();
    let mut seq = 0;
    // Three hours: an agent restart, a new schema, compactions, merges and restarts of the controller.
    for step in 0..1_080i64 {
        let at = START.plus(step * 10_000);
        if step == 400 {
            (maker.epoch, seq) = (Epoch(2), 0);
        }
        if step == 700 {
            maker.schema = schema(&[(metric::LOAD_1, ""), (metric::MEMORY_TOTAL, "")]);
        }
        seq += 1;
        let load = 100 + step % 50;
        let mut row = values(seq as i64);
        row[15] = load;
        let row = if step < 700 { row } else { vec![load, 8 << 30] };
        put(&store, vec![maker.with(seq, at, row)]).await;
        want.push((load as u64, at.0));
        if step % 67 == 66 {
            store.compact(at.plus(25)).await.unwrap();
        }
        if step % 250 == 249 {
            store.merge(at).await.unwrap();
        }
        if step % 170 == 169 {
            assert_eq!(seen(&store, maker.host).await, want, "before the restart at {step}");
            store.close().await;
            store = open(dir.path()).await;
            assert_eq!(store.latest(maker.host).unwrap().now.tick.seq.0, seq);
        }
        if step % 90 == 0 {
            assert_eq!(seen(&store, maker.host).await, want, "at {step}");
        }
    }
    store.compact(START.plus(4 * HOUR_MS)).await.unwrap();
    store.merge(START.plus(9 * HOUR_MS)).await.unwrap();
    assert_eq!(seen(&store, maker.host).await, want);
    assert_eq!(count(&store, "SELECT COUNT(*) FROM parts WHERE tier = 0").await, 0);
    assert!(count(&store, "SELECT COUNT(*) FROM parts").await <= 7);
    store.compact(START.plus(5 * HOUR_MS)).await.unwrap();
    assert_eq!(count(&store, "SELECT COUNT(*) FROM tail").await, 0, "the tail is emptied");
    assert!(store.storage(maker.host).await.unwrap() > 1_000);
    let stored = store.stored_epochs(maker.host).await.unwrap();
    assert_eq!(stored.iter().map(|e| (e.epoch.0, e.seq.0)).collect::<Vec<_>>(), [(1, 400), (2, 680)]);
}

#[tokio::test]
async fn recent_ticks_are_whole_and_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let maker = Maker::new(1);
    let store = open(dir.path()).await;
    let made: Vec<Incoming> = (1..=200).map(|n| maker.tick(n, START.plus(n as i64 * 10_000))).collect();
    for (n, tick) in made.iter().enumerate() {
        put(&store, vec![tick.clone()]).await;
        if n % 60 == 59 {
            store.compact(tick.stored.received_at).await.unwrap();
        }
    }
    let since = START.plus(200 * 10_000 - RECENT_MS);
    let check = |store: &SampleStore| {
        let got = store.recent(maker.host, since);
        assert_eq!(got.len(), 91);
        for (got, want) in got.iter().zip(&made[109..]) {
            assert_eq!(got.tick, want.stored.tick);
            assert_eq!(
                (got.at, got.received_at, got.boot),
                (want.stored.at, want.stored.received_at, Boot(1))
            );
        }
        assert_eq!(store.latest(maker.host).unwrap().previous.unwrap().tick.seq.0, 199);
    };
    check(&store);
    store.close().await;
    check(&open(dir.path()).await);
}

#[tokio::test]
async fn rows_of_the_tail_that_are_there_twice_count_once() {
    let dir = tempfile::tempdir().unwrap();
    let maker = Maker::new(1);
    let store = open(dir.path()).await;
    for n in 1..=9 {
        put(&store, vec![maker.tick(n, START.plus(n as i64 * 10_000))]).await;
    }
    let want = seen(&store, maker.host).await;
    assert_eq!(want.len(), 9);
    sqlx::query("INSERT INTO tail (at, frames, body) SELECT at, frames, body FROM tail")
        .execute(store.inner.db.write())
        .await
        .unwrap();
    store.close().await;
    let store = open(dir.path()).await;
    assert_eq!(seen(&store, maker.host).await, want);
    store.compact(START.plus(HOUR_MS)).await.unwrap();
    assert_eq!(seen(&store, maker.host).await, want);
    let ticks: i64 = count(&store, "SELECT SUM(ticks) FROM parts").await;
    assert_eq!(ticks, 9);
}

#[tokio::test]
async fn a_commit_that_fails_leaves_nothing_and_may_be_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let maker = Maker::new(1);
    let store = open(dir.path()).await;
    put(&store, vec![maker.tick(1, START)]).await;
    let batch = Batch { ticks: vec![maker.tick(2, START.plus(10_000))], gaps: vec![] };
    sqlx::query("ALTER TABLE tail RENAME TO away").execute(store.inner.db.write()).await.unwrap();
    assert!(store.append(&batch, START.plus(10_001)).await.is_err());
    assert_eq!(store.latest(maker.host).unwrap().now.tick.seq.0, 1);
    sqlx::query("ALTER TABLE away RENAME TO tail").execute(store.inner.db.write()).await.unwrap();
    store.append(&batch, START.plus(10_002)).await.unwrap();
    store.close().await;
    assert_eq!(seen(&open(dir.path()).await, maker.host).await.len(), 2);
}

#[tokio::test]
async fn gaps_are_kept_once_and_shown_in_their_window() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let gap = HostGap {
        host: host(1),
        epoch: Epoch(1),
        seqs: Some((Seq(3), Seq(9))),
        from: START,
        to: START.plus(60_000),
        reason: GapReason::SpoolFull,
    };
    for _ in 0..2 {
        store.append(&Batch { ticks: vec![], gaps: vec![gap.clone()] }, START).await.unwrap();
    }
    assert_eq!(store.numbered_gaps(host(1)).await.unwrap(), std::slice::from_ref(&gap));
    assert_eq!(store.gaps(host(1), START.plus(59_000), START.plus(99_000)).await.unwrap().len(), 1);
    assert_eq!(store.gaps(host(1), START.plus(61_000), START.plus(99_000)).await.unwrap().len(), 0);
    assert_eq!(store.stored_epochs(host(1)).await.unwrap()[0].seq, Seq(9));
}

#[tokio::test]
async fn old_samples_go_and_a_clock_that_jumps_stops_that() {
    let dir = tempfile::tempdir().unwrap();
    let maker = Maker::new(1);
    let store = open(dir.path()).await;
    for n in 1..=3 {
        put(&store, vec![maker.tick(n, START.plus(n as i64 * 10_000))]).await;
    }
    store.compact(START.plus(MINUTE_MS)).await.unwrap();
    assert_eq!(store.retire(START.plus(HOUR_MS)).await.unwrap(), Retention::Done { parts: 0, gaps: 0 });
    let jumped = START.plus(10 * DAY_MS);
    assert_eq!(store.retire(jumped).await.unwrap(), Retention::Held { since: jumped });
    assert_eq!(store.retire(jumped.plus(HOUR_MS)).await.unwrap(), Retention::Held { since: jumped });
    assert_eq!(seen(&store, maker.host).await.len(), 3);
    // Said on the command line, beside the running store.
    let confirmed = SampleStore::confirm_clock_in(dir.path(), jumped.plus(HOUR_MS)).await.unwrap();
    assert_eq!(confirmed, Some(jumped));
    assert_eq!(store.retention_held().await.unwrap(), None);
    assert_eq!(store.retire(jumped.plus(2 * HOUR_MS)).await.unwrap(), Retention::Done { parts: 1, gaps: 0 });
    assert_eq!(count(&store, "SELECT COUNT(*) FROM parts").await, 0);
}

#[tokio::test]
async fn processes_and_units_are_read_back_from_memory_and_parts() {
    let dir = tempfile::tempdir().unwrap();
    let maker = Maker::new(1);
    let store = open(dir.path()).await;
    for n in 1..=400 {
        put(&store, vec![maker.tick(n, START.plus(n as i64 * 10_000))]).await;
    }
    store.compact(START.plus(400 * 10_000)).await.unwrap();
    for n in [2i64, 57, 361, 400] {
        let at = START.plus(n * 10_000 + 4_000);
        let found = store.processes_at(maker.host, at).await.unwrap().unwrap();
        assert_eq!(found.at, START.plus(n * 10_000));
        assert_eq!(found.rows, [process(1, n), process(2 + (n / 5) as u32, n)], "{n}");
        let (before, rows) = found.before.unwrap();
        assert_eq!((before, rows[0].cpu_ms), (START.plus((n - 1) * 10_000), (n as u64 - 1) * 10));
        assert_eq!(store.units_at(maker.host, at).await.unwrap().unwrap().rows[0].name, "nginx.service");
    }
    assert!(store.processes_at(maker.host, START.plus(-MINUTE_MS)).await.unwrap().is_none());
    assert!(store.processes_at(maker.host, START.plus(2 * HOUR_MS)).await.unwrap().is_none());
}

#[tokio::test]
async fn memory_is_bounded_and_taking_in_waits_for_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { max_uncompacted: 60_000, ..Options::default() };
    let store = SampleStore::open(dir.path(), options).await.unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let maintained = tokio::spawn(store.clone().maintain(stopped));
    let maker = Maker::new(1);
    for n in 0..40 {
        // What a spool of days brings at once.
        let ticks = (1..=50).map(|m| maker.tick(n * 50 + m, START.plus((n * 50 + m) as i64 * 10_000)));
        put(&store, ticks.collect()).await;
        assert!(store.inner.memory.owed() < 120_000, "{}", store.inner.memory.owed());
    }
    assert_eq!(seen(&store, maker.host).await.len(), 2_000);
    stop.send(true).unwrap();
    maintained.await.unwrap();
}

#[tokio::test]
async fn a_removed_host_leaves_its_last_samples_and_no_debt() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let maker = Maker::new(1);
    put(&store, (1..=50).map(|n| maker.tick(n, START.plus(n as i64 * 10_000))).collect()).await;
    store.forget(maker.host);
    assert!(store.latest(maker.host).is_some() && store.inner.memory.owed() > 0);
    store.compact(START.plus(HOUR_MS)).await.unwrap();
    assert!(store.latest(maker.host).is_none());
    assert_eq!(store.inner.memory.owed(), 0);
    assert_eq!(seen(&store, maker.host).await.len(), 50);
}

#[tokio::test]
async fn small_frames_that_unfold_large_cost_bounded_memory_and_are_all_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let maker = Maker::new(1);
    let unit = |n: usize| Unit { name: format!("{n:04}{}", "u".repeat(150)).into(), ..Unit::default() };
    let units: Vec<Unit> = (0..512).map(unit).collect();
    let heavy = |n: u64| {
        let mut incoming = maker.tick(n, START.plus(n as i64 * 10));
        let stored = Arc::make_mut(&mut incoming.stored);
        Arc::make_mut(&mut stored.tick).units = units.clone();
        incoming
    };
    let each = heavy(1).stored.cost();
    let count = 2 * super::super::memory::MAX_UNFOLDED as u64 / each as u64;
    for from in (1..=count).step_by(50) {
        put(&store, (from..from + 50).map(heavy).collect()).await;
    }
    assert!(store.recent(maker.host, START).len() < count as usize, "no more than is allowed at once");
    let want: Vec<u64> = seen(&store, maker.host).await.iter().map(|(load, _)| *load).collect();
    assert!(want.len() >= count as usize);
    let done = store.compact(START.plus(HOUR_MS)).await.unwrap();
    assert!(done.parts >= 2, "{done:?}");
    store.merge(START.plus(9 * HOUR_MS)).await.unwrap();
    store.close().await;
    let store = open(dir.path()).await;
    assert_eq!(seen(&store, maker.host).await.iter().map(|(load, _)| *load).collect::<Vec<_>>(), want);
}

fn any_ticks() -> impl Strategy<Value = Vec<(i64, i64, Vec<i64>, Vec<u32>)>> {
    let value = prop_oneof![Just(NOT_OBSERVED), any::<i64>(), 0i64..1_000];
    let tick = (
        0i64..100_000,
        -50i64..50,
        prop::collection::vec(value, 3),
        prop::collection::btree_set(1u32..20, 0..6).prop_map(|set| set.into_iter().collect()),
    );
    prop::collection::vec(tick, 1..40)
}

proptest! {
    #[test]
    fn a_part_gives_back_its_ticks(ticks in any_ticks()) {
        let schema = schema(&[(metric::LOAD_1, ""), (metric::FS_FREE, "/"), (metric::NET_RX_BYTES, "eth0")]);
        let mut at = START;
        let ticks: Vec<Arc<Stored>> = ticks.into_iter().enumerate().map(|(n, (step, clock, values, pids))| {
            at = at.plus(step);
            let processes = pids.iter().map(|pid| process(*pid, step)).collect();
            let tick = Tick { seq: Seq(n as u64 * 3 + 1), at: at.plus(clock), values, processes, units: vec![] };
            Arc::new(Stored {
                tick: Arc::new(tick), schema: schema.clone(), epoch: Epoch(1), boot: Boot(1), at, received_at: at.plus(clock * 2),
            })
        }).collect();
        let body = super::super::part::encode(&ticks);
        let part = Part::open(&body).unwrap();
        let got = part.ticks().unwrap();
        prop_assert_eq!(got.len(), ticks.len());
        for ((tick, at, received_at), want) in got.iter().zip(&ticks) {
            prop_assert_eq!(tick, &*want.tick);
            prop_assert_eq!((*at, *received_at), (want.at, want.received_at));
        }
        for column in 0..3 {
            let want: Vec<i64> = ticks.iter().map(|t| t.tick.values[column]).collect();
            prop_assert_eq!(part.column(column).unwrap(), want);
        }
    }

    #[test]
    fn no_bytes_panic_a_part(bytes in prop::collection::vec(any::<u8>(), 0..200), version in prop_oneof![Just(1u8), any::<u8>()]) {
        let mut body = vec![version];
        body.extend(bytes);
        if let Ok(part) = Part::open(&body) {
            let _ = part.ticks();
        }
    }
}
