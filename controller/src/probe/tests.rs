use std::sync::Arc;

use sysop_common::finding::{Category, Severity};
use sysop_common::ids::{Epoch, Seq};
use sysop_common::metric;
use sysop_common::probe::{Check, Reason};
use sysop_common::sample::{Column, NOT_OBSERVED, Schema, Tick};
use sysop_common::time::MINUTE_MS;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::analyse::messages::Language;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::decide::fixture::host_id;
use crate::identity::Identity;
use crate::store::incidents::{Incident, IncidentFilter};
use crate::store::presence::Presence;
use crate::store::probes::Settings;
use crate::store::samples::{Batch, Boot, Incoming, NamedSchema, Options, Stored};
use crate::store::{Db, testing};
use crate::wake::Wakes;

const START: UnixMs = UnixMs(1_760_000_000_000);
const INTERVAL: u32 = 10_000;

struct World {
    prober: Prober,
    clock: Clock,
    dir: TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::over(dir, Clock::manual(START)).await
    }

    async fn over(dir: TempDir, clock: Clock) -> Self {
        let db = Db::open_control(dir.path()).await.unwrap();
        let identity = Identity::open(&db, dir.path()).await.unwrap();
        let audit = Audit::new(identity.controller(), clock.clone());
        let samples = SampleStore::open(dir.path(), Options::default()).await.unwrap();
        let wakes = Wakes::default();
        let engine = Engine::new(Nets { own_ports: vec![8080], ..Nets::default() });
        let desk = Desk::new(db.clone(), audit.clone(), wakes.clone(), clock.clone(), engine);
        let analyse = analyse::Ctx {
            db,
            samples: samples.clone(),
            presence: Presence::default(),
            audit,
            wakes,
            clock: clock.clone(),
            language: Language::English,
            adviser: None,
        };
        let ctx = Ctx { desk, samples, registry: Registry::default(), analyse };
        Self { prober: Prober::new(ctx), clock, dir }
    }

    fn desk(&self) -> Desk {
        self.prober.ctx.desk.clone()
    }

    /// A round, the end of the tries that it started, and a round that takes them in.
    async fn round(&mut self) {
        self.prober.round().await.unwrap();
        while !self.prober.tries.is_empty() {
            self.prober.finished().await;
        }
        self.prober.round().await.unwrap();
    }

    async fn later(&mut self, times: u32) {
        for _ in 0..times {
            self.clock.advance(INTERVAL.into());
            self.round().await;
        }
    }

    async fn incidents(&self) -> Vec<Incident> {
        let all = IncidentFilter { limit: 50, ..IncidentFilter::default() };
        incidents::list(&self.desk().db, all).await.unwrap()
    }

    fn standing(&self, id: ProbeId) -> Standing {
        self.prober.standings[&(id, None)].clone()
    }
}

fn tcp(port: u16) -> Settings {
    Settings {
        name: format!("port {port}"),
        check: Check::Tcp { host: "127.0.0.1".into(), port },
        run_by: RunBy::Controller,
        host: None,
        interval_ms: INTERVAL,
        timeout_ms: 5_000,
        failures: 3,
        successes: 2,
        severity: Severity::Critical,
        enabled: true,
    }
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn a_probe_that_fails_often_enough_opens_an_incident_and_answers_close_it() {
    let mut world = World::new().await;
    testing::host(&world.desk().db, host_id(1), "db-1").await;
    let (up, port) = listener().await;
    let settings = Settings { host: Some(host_id(1)), ..tcp(port) };
    let probe = world.desk().add(&settings, "user:ann").await.unwrap();
    world.round().await;
    assert_eq!(world.standing(probe.id).outcome.reason, Reason::Answered);
    drop(up);
    world.later(2).await;
    assert_eq!((world.standing(probe.id).fails, world.incidents().await.len()), (2, 0));
    world.later(1).await;
    let found = world.incidents().await;
    let incident = &found[0];
    assert_eq!((incident.category, incident.host), (Category::ProbeFailed, Some(host_id(1))));
    assert_eq!((incident.entity.as_str(), incident.offers.len()), ("probe 1", 0));
    assert!(incident.cause.contains("refused") && incident.title.contains(&settings.name), "{incident:?}");
    assert_eq!(incident.opened_at, world.clock.now());
    assert!(incident.findings[0].evidence.iter().any(|row| row.text == "3 failures in a row"));
    let up = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    world.later(1).await;
    assert_eq!(world.incidents().await[0].closed_at, None, "one answer is not enough");
    world.later(1).await;
    assert_eq!(world.incidents().await[0].closed_at, Some(world.clock.now()));
    drop(up);
}

#[tokio::test]
async fn each_due_time_is_tried_once_also_across_a_restart_and_state_goes_on() {
    let mut world = World::new().await;
    let (up, port) = listener().await;
    drop(up);
    let probe = world.desk().add(&tcp(port), "user:ann").await.unwrap();
    world.later(2).await;
    for _ in 0..20 {
        world.round().await;
    }
    assert_eq!(world.standing(probe.id).fails, 2);
    let World { prober, clock, dir } = world;
    prober.ctx.samples.close().await;
    prober.ctx.desk.db.close().await;
    drop(prober);
    let mut world = World::over(dir, clock).await;
    world.round().await;
    world.round().await;
    assert_eq!((world.standing(probe.id).fails, world.incidents().await.len()), (2, 0));
    world.later(1).await;
    let found = world.incidents().await;
    assert_eq!((found.len(), found[0].host), (1, None));
    let kept = standing::results(&world.desk().db, probe.id, None, 100).await.unwrap();
    assert_eq!(kept.len(), 3);
    let counts =
        standing::buckets(&world.desk().db, probe.id, None, START.plus(-standing::BUCKET_MS)).await.unwrap();
    assert_eq!(
        counts.iter().map(|count| (count.up, count.down)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)),
        (0, 3)
    );
    world.desk().remove(probe.id, "user:ann").await.unwrap();
    world.later(1).await;
    assert!(world.incidents().await[0].closed_at.is_some() && world.prober.standings.is_empty());
}

#[tokio::test]
async fn in_maintenance_failures_are_counted_and_told_of_only_afterwards() {
    let mut world = World::new().await;
    let (up, port) = listener().await;
    drop(up);
    world.desk().add(&tcp(port), "user:ann").await.unwrap();
    let mut tx = world.desk().db.begin().await.unwrap();
    let span = (START, START.plus(MINUTE_MS));
    maintenance::insert(&mut tx, None, span, "", "ann", START).await.unwrap();
    tx.commit().await.unwrap();
    world.later(5).await;
    assert_eq!(world.incidents().await.len(), 0);
    world.later(2).await;
    assert_eq!(world.incidents().await.len(), 1);
}

#[tokio::test]
async fn the_controllers_own_listeners_and_metadata_are_refused_and_open_nothing() {
    let mut world = World::new().await;
    let own = world.desk().add(&tcp(8080), "user:ann").await.unwrap();
    let check = Check::Tcp { host: "169.254.169.254".into(), port: 80 };
    let metadata = world.desk().add(&Settings { check, ..tcp(1) }, "user:ann").await.unwrap();
    world.later(5).await;
    for id in [own.id, metadata.id] {
        assert_eq!(world.standing(id).outcome.reason, Reason::TargetForbidden);
    }
    assert!(world.incidents().await.is_empty());
}

#[tokio::test]
async fn what_does_not_fit_is_not_stored_and_tries_by_hand_are_few() {
    let world = World::new().await;
    let desk = world.desk();
    let field = |error| match error {
        DeskError::Invalid { field, .. } => field,
        other => panic!("{other}"),
    };
    for (settings, wrong) in [
        (Settings { name: String::new(), ..tcp(1) }, "name"),
        (Settings { interval_ms: 9_999, ..tcp(1) }, "interval"),
        (Settings { timeout_ms: 10_001, ..tcp(1) }, "timeout"),
        (Settings { failures: 0, ..tcp(1) }, "failures"),
        (Settings { successes: 21, ..tcp(1) }, "successes"),
        (Settings { host: Some(host_id(9)), ..tcp(1) }, "host"),
        (Settings { run_by: RunBy::Host(host_id(9)), ..tcp(1) }, "run_by"),
        (Settings { run_by: RunBy::Label { name: "host.x".into(), value: "y".into() }, ..tcp(1) }, "run_by"),
        (tcp(0), "port"),
    ] {
        assert_eq!(field(desk.add(&settings, "user:ann").await.unwrap_err()), wrong);
    }
    desk.add(&tcp(1), "user:ann").await.unwrap();
    assert!(matches!(desk.add(&tcp(1), "user:ann").await, Err(DeskError::Store(StoreError::Conflict(_)))));
    for _ in 0..10 {
        desk.try_now(&tcp(1).check, 1_000, "user:ann").await.unwrap();
    }
    assert!(matches!(desk.try_now(&tcp(1).check, 1_000, "user:ann").await, Err(DeskError::TooMany(_))));
    assert!(desk.try_now(&tcp(1).check, 1_000, "user:bob").await.is_ok());
    world.clock.advance(MINUTE_MS);
    assert!(desk.try_now(&tcp(1).check, 1_000, "user:ann").await.is_ok());
}

#[test]
fn a_host_gets_at_most_as_many_probes_as_it_runs_and_a_label_reaches_its_carriers() {
    let probe = |id: u32, run_by| Probe {
        id: ProbeId(id),
        settings: Settings { run_by, ..tcp(1) },
        created_by: String::new(),
        created_at: START,
        updated_at: START,
    };
    let label = || RunBy::Label { name: "role".into(), value: "web".into() };
    let carriers = [1, 2].map(|n| ("role".to_owned(), "web".to_owned(), host_id(n)));
    let mut all: Vec<Probe> = (1..=40).map(|id| probe(id, label())).collect();
    all.push(probe(50, RunBy::Host(host_id(3))));
    all.push(probe(51, RunBy::Controller));
    let lists = hosts::lists(&all, &carriers);
    let sizes: Vec<usize> = lists.values().map(|list| list.probes.len()).collect();
    assert_eq!(sizes, [32, 32, 1]);
}

/// A host's newest sample with one probe in it.
fn sample(id: ProbeId, runs: i64, outcome: &Outcome, at: UnixMs) -> Arc<Stored> {
    let label = id.to_string();
    let value = |value: Option<i64>| value.unwrap_or(NOT_OBSERVED);
    let columns = [
        (metric::PROBE_RUNS, runs),
        (metric::PROBE_STATE, outcome.state().number().into()),
        (metric::PROBE_REASON, outcome.reason.number().into()),
        (metric::PROBE_NUMBER, outcome.number),
        (metric::PROBE_TIME, value(outcome.micros.and_then(|us| i64::try_from(us).ok()))),
        (metric::PROBE_DAYS, value(outcome.days)),
    ];
    let schema =
        Schema { columns: columns.iter().map(|(id, _)| Column::new(*id, &*label).unwrap()).collect() };
    let values = columns.iter().map(|(_, value)| *value).collect();
    let tick = Tick { seq: Seq(u64::try_from(runs).unwrap()), at, values, processes: vec![], units: vec![] };
    let schema = NamedSchema::new(schema);
    Arc::new(Stored { tick: Arc::new(tick), schema, epoch: Epoch(1), boot: Boot(1), at, received_at: at })
}

#[tokio::test]
async fn results_of_a_host_are_taken_once_each_from_its_samples_with_their_time() {
    let mut world = World::new().await;
    let host = host_id(1);
    testing::host(&world.desk().db, host, "web-1").await;
    let settings = Settings { run_by: RunBy::Host(host), failures: 2, ..tcp(1) };
    let probe = world.desk().add(&settings, "user:ann").await.unwrap();
    let up = Outcome { micros: Some(41_500), ..Outcome::of(Reason::Answered) };
    let down = Outcome::of(Reason::ConnectionRefused);
    for (runs, outcome) in [(1, up), (1, up), (2, down), (2, down), (2, down), (3, down)] {
        world.clock.advance(5_000);
        let now = world.clock.now();
        let ticks = vec![Incoming { host, stored: sample(probe.id, runs, &outcome, now) }];
        world.prober.ctx.samples.append(&Batch { ticks, gaps: Vec::new() }, now).await.unwrap();
        world.round().await;
        let standing = &world.prober.standings[&(probe.id, Some(host))];
        assert_eq!((standing.slot, standing.outcome), (runs, outcome));
        assert_eq!(world.incidents().await.len(), usize::from(runs == 3), "{runs}");
    }
    let kept = standing::results(&world.desk().db, probe.id, Some(host), 100).await.unwrap();
    assert_eq!(kept.len(), 3);
    assert_eq!(world.incidents().await[0].host, Some(host));
    // A host that says nothing any more is not taken for a target that fails, nor for one that answers.
    world.clock.advance(5 * MINUTE_MS);
    world.round().await;
    let standing = &world.prober.standings[&(probe.id, Some(host))];
    assert_eq!((standing.outcome.reason, standing.fails), (Reason::NoResult, 2));
    assert_eq!(world.incidents().await[0].closed_at, None);
    // When it is removed, its probes are run by nobody: what was open is closed, once.
    testing::remove_host(&world.desk().db, host).await;
    for _ in 0..3 {
        world.later(1).await;
    }
    let after = world.incidents().await;
    assert!(after.len() == 1 && after[0].closed_at.is_some() && after[0].opens == 1, "{after:?}");
}

#[test]
fn a_lost_answer_does_not_hide_a_certificate_that_ends_and_an_answer_is_confirmed_first() {
    let settings = Settings { failures: 2, successes: 2, ..tcp(1) };
    let probe =
        Probe { id: ProbeId(1), settings, created_by: String::new(), created_at: START, updated_at: START };
    let soon = Outcome { number: 14, days: Some(14), ..Outcome::of(Reason::CertificateSoon) };
    let (lost, up) = (Outcome::of(Reason::TimedOut), Outcome::of(Reason::Answered));
    let mut standing: Option<Standing> = None;
    let mut told = Vec::new();
    for (at, outcome) in [soon, soon, lost, soon, up, lost, lost, up, up].into_iter().enumerate() {
        let at = START.plus(at as i64 * 10_000);
        let result = judge::Result { runner: None, at, outcome, slot: at.0, epoch: 0 };
        let next = judge::next(standing.as_ref(), &probe, &result, false);
        let found = finding::finding(Language::English.text(), &probe, &next);
        told.push(found.map(|found| (found.category, found.cause)));
        standing = Some(next);
    }
    let expiry = Some((Category::CertificateExpiry, "its certificate ends in 14 days".to_owned()));
    let failed = Some((Category::ProbeFailed, "no answer in time".to_owned()));
    let want = [&None, &expiry, &expiry, &expiry, &expiry, &expiry, &failed, &failed, &None];
    assert_eq!(told.iter().collect::<Vec<_>>(), want);
}
