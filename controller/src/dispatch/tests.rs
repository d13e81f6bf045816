mod flood;
mod settle;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use sysop_common::action::{Event, OrderEvent, Refusal, RunState};
use sysop_common::bytes::{Bytes, Digest};
use sysop_common::ids::HostId;
use sysop_common::order::{Order, SignedOrder, TrustRoot};
use sysop_common::time::{DAY_MS, MINUTE_MS, SECOND_MS};
use sysop_common::wire::{OutputChunk, limits};

use super::claim::claim;
use super::*;
use crate::decide::fixture::{Fixture, ann, bob, host_id, restart};
use crate::decide::{self, Start};
use crate::link::ports::{BoxFuture, ResultSink};
use crate::store::assignments::Selector;
use crate::store::runs::{self, Run};
use crate::store::{outputs, run_states, testing};

/// Hosts that take what they are sent, when they are connected.
#[derive(Default)]
struct Hosts {
    connected: AtomicBool,
    /// Says that it is connected, and is not when it comes to it.
    breaks: AtomicBool,
    /// Happens while an order is on its way.
    meanwhile: Mutex<Option<BoxFuture<'static, ()>>>,
    orders: Mutex<Vec<SignedOrder>>,
    cancelled: Mutex<Vec<OrderId>>,
}

impl Route for Hosts {
    fn reaches(&self, _: HostId) -> bool {
        self.connected.load(Ordering::SeqCst)
    }

    fn send(&self, _: HostId, order: SignedOrder) -> BoxFuture<'_, Result<(), Unreachable>> {
        Box::pin(async move {
            let meanwhile = self.meanwhile.lock().unwrap().take();
            if let Some(meanwhile) = meanwhile {
                meanwhile.await;
            }
            if self.breaks.load(Ordering::SeqCst) {
                return Err(Unreachable);
            }
            self.orders.lock().unwrap().push(order);
            Ok(())
        })
    }

    fn cancel(&self, _: HostId, order: OrderId) -> BoxFuture<'_, Result<(), Unreachable>> {
        Box::pin(async move {
            self.cancelled.lock().unwrap().push(order);
            Ok(())
        })
    }
}

struct Bench {
    fixture: Fixture,
    hosts: Arc<Hosts>,
    ctx: Ctx,
    memory: Memory,
    results: Results,
}

impl Bench {
    async fn new(hosts: u128) -> Self {
        let fixture = Fixture::new(hosts).await;
        let hosts = Arc::new(Hosts { connected: AtomicBool::new(true), ..Hosts::default() });
        let ctx = Ctx {
            db: fixture.ctx.db.clone(),
            audit: fixture.ctx.audit.clone(),
            wakes: fixture.ctx.wakes.clone(),
            clock: fixture.ctx.clock.clone(),
            route: hosts.clone(),
            key: fixture.key.clone(),
            samples: fixture.ctx.samples.clone(),
            keep: Keep { outputs_ms: 90 * DAY_MS, records_ms: 365 * DAY_MS },
        };
        Self { results: Results::new(ctx.clone()), memory: Memory::default(), fixture, hosts, ctx }
    }

    async fn start(&self, host: u128, unit: &str) -> OrderId {
        let start = Start {
            host: host_id(host),
            action: restart(unit),
            incident: None,
            reason: String::new(),
            key: None,
        };
        decide::start_run(&self.fixture.ctx, &start, &bob()).await.unwrap().id
    }

    async fn look(&mut self) {
        look(&self.ctx, &mut self.memory).await.unwrap();
    }

    async fn run(&self, id: OrderId) -> Run {
        runs::find(&self.ctx.db, id).await.unwrap().unwrap()
    }

    async fn state(&self, id: OrderId) -> RunState {
        self.run(id).await.state
    }

    fn sent(&self) -> Vec<SignedOrder> {
        self.hosts.orders.lock().unwrap().clone()
    }

    async fn say(&self, host: u128, order: OrderId, number: u64, event: Event) {
        let event =
            OrderEvent { order, number, at: self.ctx.clock.now(), event, audit_head: None, signature: None };
        self.results.order_event(host_id(host), event).await.unwrap();
    }

    async fn count(&self, action: &str) -> usize {
        self.fixture.audited().await.iter().filter(|audited| *audited == action).count()
    }
}

fn finished(state: RunState) -> Event {
    Event::Finished {
        state,
        exit: Some(0),
        duration_ms: 1_200,
        detail: "done".into(),
        output: Digest([3; 32]),
        output_bytes: 5,
    }
}

fn checked(verified: bool) -> Event {
    Event::Checked { verified, detail: "active (running)".into() }
}

#[tokio::test]
async fn an_approved_run_becomes_a_good_order_and_its_result_is_settled() {
    let mut bench = Bench::new(1).await;
    let id = bench.start(1, "nginx.service").await;
    bench.look().await;
    bench.look().await;
    let sent = bench.sent();
    assert_eq!(sent.len(), 1);
    let trust = TrustRoot::new(&bench.fixture.ca, host_id(1)).unwrap();
    let order = trust.check_signed(&sent[0], bench.ctx.clock.now()).unwrap();
    assert_eq!((order.id, order.host, order.lease), (id, host_id(1), 1));
    assert!(order.expires.since(bench.ctx.clock.now()) <= ORDER_LIFE_MS);
    let head = bench.ctx.audit.head(&mut bench.ctx.db.reader().await.unwrap()).await.unwrap();
    assert_eq!(order.audit_head, head);
    assert_eq!(bench.state(id).await, RunState::Sent);

    for (number, event, state) in [
        (4, Event::Accepted, RunState::Accepted),
        (5, Event::Started, RunState::Started),
        (6, finished(RunState::Succeeded), RunState::Succeeded),
        (7, checked(true), RunState::Verified),
    ] {
        bench.say(1, id, number, event).await;
        assert_eq!(bench.state(id).await, state);
    }
    let chunk = |offset, bytes: &[u8]| OutputChunk { order: id, offset, bytes: Bytes(bytes.to_vec()) };
    for chunk in [chunk(0, b"hello "), chunk(6, b"world"), chunk(0, b"HELLO ")] {
        bench.results.output(host_id(1), chunk).await.unwrap();
    }
    assert_eq!(outputs::read(&bench.ctx.db, id).await.unwrap(), b"hello world");
    let run = bench.run(id).await;
    assert_eq!((run.exit, run.duration_ms, run.pending), (Some(0), Some(1_200), false));
    // The intent is free again.
    bench.start(1, "nginx.service").await;
}

#[tokio::test]
async fn a_host_that_is_away_gets_it_when_it_is_back_or_it_expires_unsent() {
    let mut bench = Bench::new(1).await;
    bench.hosts.connected.store(false, Ordering::SeqCst);
    let (a, b) = (bench.start(1, "a.service").await, bench.start(1, "b.service").await);
    bench.look().await;
    assert_eq!(bench.state(a).await, RunState::Approved);
    // The session breaks under the order: given back, nothing was sent.
    bench.hosts.connected.store(true, Ordering::SeqCst);
    bench.hosts.breaks.store(true, Ordering::SeqCst);
    bench.look().await;
    let run = bench.run(a).await;
    assert_eq!((run.state, run.claimed_at, run.signed_order), (RunState::Approved, None, None));
    bench.hosts.connected.store(false, Ordering::SeqCst);
    bench.ctx.clock.advance(decide::APPROVED_LIFE_MS + 1);
    bench.look().await;
    assert_eq!((bench.state(a).await, bench.state(b).await), (RunState::Expired, RunState::Expired));
    assert_eq!(bench.count("run.expire").await, 2);
    assert!(bench.sent().is_empty());
}

#[tokio::test]
async fn after_a_crash_between_claim_and_word_the_very_same_bytes_are_sent_again() {
    let mut bench = Bench::new(1).await;
    let id = bench.start(1, "nginx.service").await;
    // Crash after the claim's commit, before the link.
    let (_, signed) = claim(&bench.ctx, id).await.unwrap();
    assert_eq!(bench.state(id).await, RunState::Claimed);
    bench.memory = Memory::default();
    bench.look().await;
    assert_eq!(bench.sent(), std::slice::from_ref(&signed));
    assert_eq!(bench.state(id).await, RunState::Sent);
    // Crash after the link, or a link that lost it: again, the same bytes, not faster than the pace.
    bench.look().await;
    assert_eq!(bench.sent().len(), 1);
    bench.ctx.clock.advance(11 * SECOND_MS);
    bench.look().await;
    assert_eq!(bench.sent(), [signed.clone(), signed]);
    // The host's word ends it.
    bench.say(1, id, 1, Event::Accepted).await;
    bench.say(1, id, 2, Event::Duplicate).await;
    bench.ctx.clock.advance(11 * SECOND_MS);
    bench.look().await;
    assert_eq!((bench.sent().len(), bench.state(id).await), (2, RunState::Accepted));
    // Two claims of one run: the second finds it taken.
    assert!(matches!(claim(&bench.ctx, id).await, Err(ClaimError::NotNow)));
}

#[tokio::test]
async fn cancelling_asks_the_host_and_its_word_counts() {
    let mut bench = Bench::new(1).await;
    let id = bench.start(1, "nginx.service").await;
    bench.look().await;
    let run = decide::cancel_run(&bench.fixture.ctx, id, &bob()).await.unwrap();
    assert_eq!((run.state, run.cancel_by.as_deref()), (RunState::Sent, Some("bob")));
    bench.look().await;
    bench.look().await;
    assert_eq!(*bench.hosts.cancelled.lock().unwrap(), [id]);
    bench.say(1, id, 1, Event::Cancelled).await;
    assert_eq!(bench.state(id).await, RunState::Cancelled);
}

#[tokio::test]
async fn a_cancellation_while_the_order_is_on_its_way_is_not_lost() {
    for breaks in [false, true] {
        let mut bench = Bench::new(1).await;
        let id = bench.start(1, "nginx.service").await;
        bench.hosts.breaks.store(breaks, Ordering::SeqCst);
        let ctx = bench.fixture.ctx.clone();
        let cancel = async move {
            assert_eq!(decide::cancel_run(&ctx, id, &bob()).await.unwrap().state, RunState::Claimed);
        };
        *bench.hosts.meanwhile.lock().unwrap() = Some(Box::pin(cancel));
        bench.look().await;
        bench.look().await;
        if breaks {
            assert_eq!(bench.state(id).await, RunState::Cancelled);
        } else {
            let run = bench.run(id).await;
            assert_eq!((run.state, run.cancel_by.as_deref()), (RunState::Sent, Some("bob")));
            assert_eq!(*bench.hosts.cancelled.lock().unwrap(), [id]);
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_when_the_audit_record_cannot_be_written() {
    let mut bench = Bench::new(1).await;
    let id = bench.start(1, "nginx.service").await;
    let full = "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'disk full'); END";
    testing::try_sql(&bench.ctx.db, full).await.unwrap();
    bench.look().await;
    let run = bench.run(id).await;
    assert_eq!((run.state, run.signed_order, run.claimed_at), (RunState::Approved, None, None));
    assert!(bench.sent().is_empty());
    testing::try_sql(&bench.ctx.db, "DROP TRIGGER full").await.unwrap();
    bench.look().await;
    assert_eq!(bench.sent().len(), 1);
}

#[tokio::test]
async fn budgets_kill_switch_and_risk_are_asked_again_inside_the_claim() {
    let mut bench = Bench::new(3).await;
    for host in 1..=3 {
        let selector = Selector::Host(host_id(host));
        decide::set_assignment(&bench.fixture.ctx, &selector, "restart_service", true, &ann()).await.unwrap();
        bench.fixture.incident(host, restart("nginx.service")).await;
    }
    decide::look(&bench.fixture.ctx).await.unwrap();
    let approved =
        runs::in_state(&mut bench.ctx.db.reader().await.unwrap(), RunState::Approved).await.unwrap();
    assert_eq!(approved.len(), 3);
    // Three decided before any was claimed; the fleet's budget lets one host through.
    bench.look().await;
    assert_eq!(bench.sent().len(), 1);
    let held =
        runs::in_state(&mut bench.ctx.db.reader().await.unwrap(), RunState::AwaitingApproval).await.unwrap();
    assert_eq!(held.len(), 2);
    assert!(held[0].reason.contains("5 % of the fleet"), "{}", held[0].reason);

    let mut bench = Bench::new(1).await;
    let selector = Selector::Host(host_id(1));
    decide::set_assignment(&bench.fixture.ctx, &selector, "restart_service", true, &ann()).await.unwrap();
    bench.fixture.incident(1, restart("nginx.service")).await;
    decide::look(&bench.fixture.ctx).await.unwrap();
    decide::set_automation(&bench.fixture.ctx, false, &bob()).await.unwrap();
    bench.look().await;
    assert!(bench.sent().is_empty());
    // A row that was raised to high risk behind our back is not sent, whoever approved it.
    let id = bench.start(1, "php.service").await;
    testing::try_sql(&bench.ctx.db, "UPDATE runs SET risk = 'high' WHERE state = 'approved'").await.unwrap();
    bench.look().await;
    assert!(bench.sent().is_empty());
    assert_eq!(bench.state(id).await, RunState::AwaitingApproval);
}

#[tokio::test]
async fn old_outputs_and_runs_are_deleted_and_open_ones_stay() {
    let mut bench = Bench::new(1).await;
    let (old, open) = (bench.start(1, "a.service").await, bench.start(1, "b.service").await);
    bench.look().await;
    let chunk = OutputChunk { order: old, offset: 0, bytes: Bytes(vec![7; 40_000]) };
    bench.results.output(host_id(1), chunk).await.unwrap();
    assert_eq!(outputs::read(&bench.ctx.db, old).await.unwrap().len(), 16 * 1024);
    bench.say(1, old, 1, finished(RunState::Failed)).await;
    let day = sysop_common::time::DAY_MS;
    let now = bench.ctx.clock.now();
    // Both are old enough by a clock that jumped: nothing goes before somebody looked at it.
    assert!(retain::retain(&bench.ctx, now).await.unwrap());
    assert!(!retain::retain(&bench.ctx, now.plus(400 * day)).await.unwrap());
    assert!(!outputs::read(&bench.ctx.db, old).await.unwrap().is_empty());
    bench.ctx.samples.confirm_clock(now.plus(91 * day)).await.unwrap();
    assert!(retain::retain(&bench.ctx, now.plus(91 * day)).await.unwrap());
    assert!(outputs::read(&bench.ctx.db, old).await.unwrap().is_empty());
    assert!(runs::find(&bench.ctx.db, old).await.unwrap().is_some());
    bench.ctx.samples.clock_doubted(now.plus(366 * day)).await.unwrap();
    bench.ctx.samples.confirm_clock(now.plus(366 * day)).await.unwrap();
    assert!(retain::retain(&bench.ctx, now.plus(366 * day)).await.unwrap());
    assert!(runs::find(&bench.ctx.db, old).await.unwrap().is_none());
    assert!(runs::find(&bench.ctx.db, open).await.unwrap().is_some());
}

#[tokio::test]
async fn the_order_in_the_store_is_the_one_that_was_sent() {
    let mut bench = Bench::new(1).await;
    let id = bench.start(1, "nginx.service").await;
    bench.look().await;
    let stored = bench.run(id).await.signed_order.unwrap();
    assert_eq!(limits::decode::<SignedOrder>(&stored).unwrap(), bench.sent()[0]);
    let order: Order = limits::decode(&bench.sent()[0].order.0).unwrap();
    // A host that journaled another head than its order carried is reported.
    let event = |audit_head, number| OrderEvent {
        order: id,
        number,
        at: bench.ctx.clock.now(),
        event: Event::Accepted,
        audit_head,
        signature: None,
    };
    bench.results.order_event(host_id(1), event(Some(order.audit_head), 1)).await.unwrap();
    assert_eq!(bench.count("audit.head_differs").await, 0);
    bench.results.order_event(host_id(1), event(Some(Digest([1; 32])), 2)).await.unwrap();
    assert_eq!(bench.count("audit.head_differs").await, 1);
}
