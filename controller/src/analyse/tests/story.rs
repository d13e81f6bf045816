use sysop_common::action::RunState;
use sysop_common::finding::Category;
use sysop_common::time::{HOUR_MS, MINUTE_MS};

use super::*;
use crate::analyse::{Analyser, Ctx};
use crate::decide::fixture::{Fixture, host_id, restart};
use crate::store::host_events;
use crate::store::incidents::{self, Incident, IncidentFilter};
use crate::store::presence::Presence;
use crate::store::runs::{self, RunFilter};
use crate::store::samples::{Batch, Incoming};
use crate::store::{run_states, testing};

/// A controller with hosts that send a sample every ten seconds.
struct Story {
    fixture: Fixture,
    analyser: Analyser,
    seq: u64,
}

impl Story {
    async fn new(hosts: u128) -> Self {
        let fixture = Fixture::new(hosts).await;
        let analyser = Self::analyser(&fixture).await;
        Self { fixture, analyser, seq: 0 }
    }

    async fn analyser(fixture: &Fixture) -> Analyser {
        let ctx = Ctx {
            db: fixture.ctx.db.clone(),
            samples: fixture.ctx.samples.clone(),
            presence: Presence::default(),
            audit: fixture.ctx.audit.clone(),
            wakes: fixture.ctx.wakes.clone(),
            clock: fixture.ctx.clock.clone(),
            language: Default::default(),
            adviser: None,
        };
        let started = fixture.ctx.clock.now();
        Analyser::load(ctx, started).await.unwrap()
    }

    /// As after a restart of the controller.
    async fn restart(&mut self) {
        self.analyser = Self::analyser(&self.fixture).await;
    }

    /// Ten seconds later, one sample of each named host, and a look.
    async fn sample(&mut self, hosts: &[u128], seen: &Seen) {
        self.fixture.ctx.clock.advance(10 * SECOND_MS);
        let now = self.fixture.ctx.clock.now();
        self.seq += 1;
        let ticks = hosts.iter().map(|n| Incoming { host: host_id(*n), stored: seen.stored(self.seq, now) });
        let batch = Batch { ticks: ticks.collect(), gaps: Vec::new() };
        self.fixture.ctx.samples.append(&batch, now).await.unwrap();
        self.analyser.look().await.unwrap();
    }

    async fn incidents(&self) -> Vec<Incident> {
        let filter = IncidentFilter { limit: 50, ..IncidentFilter::default() };
        incidents::list(&self.fixture.ctx.db, filter).await.unwrap()
    }
}

fn up() -> Seen {
    Seen::default().fs("/", 60.0).unit(running("nginx.service"))
}

fn down() -> Seen {
    Seen::default().fs("/", 60.0).unit(failed("nginx.service", "signal"))
}

#[tokio::test]
async fn a_failure_is_an_incident_within_one_sample_and_survives_a_restart() {
    let mut story = Story::new(2).await;
    story.sample(&[1, 2], &up()).await;
    story.sample(&[1, 2], &up()).await;
    assert!(story.incidents().await.is_empty());
    story.sample(&[1], &down()).await;
    let found = story.incidents().await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].host, found[0].offers.len()), (Some(host_id(1)), 2));
    story.restart().await;
    story.sample(&[1], &down()).await;
    story.sample(&[1], &up()).await;
    assert_eq!(story.incidents().await.len(), 1);
    story.restart().await;
    for _ in 0..3 {
        story.sample(&[1], &up()).await;
    }
    let found = story.incidents().await;
    assert!(found[0].closed_at.is_some());
    story.sample(&[1], &down()).await;
    let found = story.incidents().await;
    assert_eq!((found.len(), found[0].opens, found[0].closed_at), (1, 2, None));
    assert_eq!(
        story.fixture.audited().await,
        ["incident.open", "incident.update", "incident.close", "incident.reopen"]
    );
}

#[tokio::test]
async fn from_failure_to_decision_to_verified_repair_to_closed_incident() {
    let mut story = Story::new(1).await;
    story.sample(&[1], &up()).await;
    story.sample(&[1], &down()).await;
    crate::decide::look(&story.fixture.ctx).await.unwrap();
    let run = runs::list(&story.fixture.ctx.db, RunFilter { limit: 9, ..RunFilter::default() })
        .await
        .unwrap()
        .remove(0);
    assert_eq!((run.action.clone(), run.state), (restart("nginx.service"), RunState::AwaitingApproval));
    story.fixture.ctx.clock.advance(5 * SECOND_MS);
    let mut verified = run.clone();
    (verified.state, verified.updated_at) = (RunState::Verified, story.fixture.ctx.clock.now());
    let mut tx = story.fixture.ctx.db.begin().await.unwrap();
    run_states::move_on(&mut tx, &verified, run.state).await.unwrap();
    tx.commit().await.unwrap();
    story.sample(&[1], &up()).await;
    let found = story.incidents().await;
    assert_eq!(found[0].close_why.as_deref(), Some("repaired; the effect was seen"));
}

#[tokio::test]
async fn a_flip_to_read_only_while_nobody_looked_is_found_from_what_was_remembered() {
    let mut story = Story::new(1).await;
    story.sample(&[1], &up()).await;
    story.fixture.ctx.clock.advance(3 * HOUR_MS);
    story.restart().await;
    let flipped = up().set(metric::FS_READ_ONLY, "/", 1);
    story.sample(&[1], &flipped).await;
    let found = story.incidents().await;
    assert_eq!((found.len(), found[0].category), (1, Category::FsReadOnly));
}

#[tokio::test]
async fn silence_of_one_host_of_many_hosts_and_their_return() {
    let mut story = Story::new(4).await;
    // Long enough for everyone to be back after the start.
    for _ in 0..12 {
        story.sample(&[1, 2, 3, 4], &up()).await;
    }
    for _ in 0..3 {
        story.sample(&[2, 3, 4], &up()).await;
    }
    assert!(story.incidents().await.is_empty());
    story.sample(&[2, 3, 4], &up()).await;
    let found = story.incidents().await;
    assert_eq!((found.len(), found[0].category, found[0].host), (1, Category::Silence, Some(host_id(1))));
    for _ in 0..5 {
        story.sample(&[1, 2, 3, 4], &up()).await;
    }
    assert!(story.incidents().await[0].closed_at.is_some());
    // All at once: one trouble, not four.
    for _ in 0..5 {
        story.sample(&[], &up()).await;
    }
    let found = story.incidents().await;
    assert_eq!((found.len(), found[0].category, found[0].host), (2, Category::FleetSilence, None));
    for _ in 0..6 {
        story.sample(&[1, 2, 3, 4], &up()).await;
    }
    let found = story.incidents().await;
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|incident| incident.closed_at.is_some()));
}

#[tokio::test]
async fn clones_are_told_removed_hosts_are_let_go_and_a_quiet_host_is_looked_at_each_minute() {
    let mut story = Story::new(1).await;
    story.sample(&[1], &up()).await;
    let mut tx = story.fixture.ctx.db.begin().await.unwrap();
    let now = story.fixture.ctx.clock.now();
    host_events::insert(&mut tx, host_id(1), host_events::CLONE, "second live agent", now).await.unwrap();
    tx.commit().await.unwrap();
    story.sample(&[1], &up()).await;
    assert_eq!(story.incidents().await[0].category, Category::AgentClone);
    // Slow filling is not called for by any single sample: the minute's look finds it.
    let full = Seen::default().fs("/", 4.0).unit(running("nginx.service"));
    story.fixture.ctx.clock.advance(MINUTE_MS);
    story.sample(&[1], &full).await;
    let found = story.incidents().await;
    assert_eq!((found.len(), found[0].category), (2, Category::DiskFill));
    testing::remove_host(&story.fixture.ctx.db, host_id(1)).await;
    story.sample(&[], &full).await;
    let found = story.incidents().await;
    assert!(found.iter().all(|incident| incident.close_why.as_deref() == Some("the host was removed")));
}
