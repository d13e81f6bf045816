use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sysop_common::finding::Severity;
use sysop_common::time::{DAY_MS, MINUTE_MS};

use super::super::ask::AskRequest;
use super::super::error::AskError;
use super::super::testing::{Hosts, NOW, Scripted, Words, incident, plain, sound};
use super::*;
use crate::analyse::seam::Adviser as _;
use crate::config::{Config, Sources};
use crate::decide::fixture::{Fixture, host_id};
use crate::store::analyses::Filter;

/// Settings of a model that costs 1 per million tokens of any kind.
pub(in crate::analyse::model) fn model(settings: &[(&str, &str)]) -> Model {
    let mut environment: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in
        [("OPENAI_API_KEY", "test-canary-key"), ("SYSOP_MODEL_PRICES", "*=1/0.5/1")].iter().chain(settings)
    {
        environment.insert((*name).to_owned(), (*value).to_owned());
    }
    Config::load(Sources::new(vec![], environment, None, "/nonexistent".as_ref()).unwrap()).unwrap().model
}

struct World {
    fixture: Fixture,
    desk: Desk,
    asked: Arc<AtomicUsize>,
}

impl World {
    async fn new(
        settings: &[(&str, &str)],
        mut script: impl FnMut(&AskRequest) -> Result<String, AskError> + Send + 'static,
    ) -> Self {
        let fixture = Fixture::new(3).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let ask = Scripted(Mutex::new(move |request: &AskRequest| {
            count.fetch_add(1, Ordering::SeqCst);
            assert!(!format!("{request:?}").contains("test-canary-key"));
            script(request)
        }));
        let stage = Stage { ask: Arc::new(ask), model: model(settings), pseudonyms: false };
        let (_, stage) = watch::channel(Some(Arc::new(stage)));
        let ctx = fixture.ctx.clone();
        let desk = Desk::new(Ctx {
            db: ctx.db,
            samples: ctx.samples,
            audit: ctx.audit,
            wakes: ctx.wakes,
            clock: ctx.clock,
            stage,
            reader: Arc::new(Hosts::default()),
            opinions: Opinions::default(),
            keep: Keep { texts_ms: 90 * DAY_MS, records_ms: 365 * DAY_MS },
        });
        Self { fixture, desk, asked }
    }

    async fn open(&self, host: u128, words: &Words) -> i64 {
        let mut tx = self.fixture.ctx.db.begin().await.unwrap();
        let new = Incident { host: Some(host_id(host)), ..incident(words) };
        let id = incidents::insert(&mut tx, &new).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    async fn look(&mut self) {
        self.desk.look().await.unwrap();
        self.desk.settle().await;
    }

    async fn stored(&self) -> Vec<(Option<i64>, Verdict)> {
        let list =
            analyses::list(&self.fixture.ctx.db, Filter { limit: 5_000, ..Filter::default() }).await.unwrap();
        list.into_iter().rev().map(|row| (row.incident, row.verdict)).collect()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(_: &AskRequest) -> Result<String, AskError> {
    Ok(sound(&plain()).to_string())
}

#[tokio::test]
async fn healthy_hosts_cost_nothing_and_a_new_incident_one_question() {
    let mut world = World::new(&[], answer).await;
    for _ in 0..50 {
        world.look().await;
        world.fixture.ctx.clock.advance(5 * MINUTE_MS);
    }
    assert_eq!((world.asked(), world.stored().await.len()), (0, 0));
    let id = world.open(1, &Words::default()).await;
    world.look().await;
    assert_eq!(world.stored().await, [(Some(id), Verdict::Accepted)]);
    for _ in 0..50 {
        world.look().await;
        world.fixture.ctx.clock.advance(5 * MINUTE_MS);
    }
    assert_eq!(world.asked(), 1, "nothing new, nothing asked");
    let sum = model_costs::of_incident(&world.fixture.ctx.db, id).await.unwrap();
    // 600 fresh tokens at 1, 2,000 cached at a half, 300 of the answer at 1.
    assert_eq!((sum.calls, sum.tokens(), sum.money()), (1, 2_900, 1_900));
    let row =
        &analyses::list(&world.fixture.ctx.db, Filter { limit: 1, ..Filter::default() }).await.unwrap()[0];
    assert!(row.prompt.contains("EVIDENCE") && row.answer.contains("need") | row.answer.contains("verdict"));
    assert_eq!(row.confidence, Some(70), "88 by its own word, nothing by experience");
    assert!(world.fixture.audited().await.contains(&"model.answer".to_owned()));
}

#[tokio::test]
async fn what_it_says_reaches_the_analyser_and_lasts_over_a_restart() {
    let mut world = World::new(&[], |_| {
        let mut answer = sound(&plain());
        answer["findings"][0]["risk"] = serde_json::json!("high");
        Ok(answer.to_string())
    })
    .await;
    let id = world.open(1, &Words::default()).await;
    world.look().await;
    let stored = incidents::find(&world.fixture.ctx.db, id).await.unwrap().unwrap();
    assert_eq!(world.desk.ctx.opinions.advice(&stored).len(), 1);
    let ctx = Ctx { opinions: Opinions::default(), ..world.desk.ctx.clone() };
    world.desk = Desk::new(ctx);
    world.look().await;
    assert_eq!(world.desk.ctx.opinions.advice(&stored).len(), 1);
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn equal_trouble_on_another_host_shares_the_answer() {
    let mut world = World::new(&[], answer).await;
    let first = world.open(1, &Words::default()).await;
    let second = world.open(2, &Words::default()).await;
    world.look().await;
    world.fixture.ctx.clock.advance(MINUTE_MS);
    world.look().await;
    assert_eq!(world.asked(), 1);
    assert_eq!(world.stored().await, [(Some(first), Verdict::Accepted), (Some(second), Verdict::Shared)]);
    assert_eq!(model_costs::of_incident(&world.fixture.ctx.db, second).await.unwrap().tokens(), 0);
}

#[tokio::test]
async fn without_an_answer_it_is_tried_again_at_the_periodic_look() {
    let mut first = true;
    let mut world = World::new(&[], move |request| {
        if std::mem::take(&mut first) { Err(AskError::Server { status: 500 }) } else { answer(request) }
    })
    .await;
    let id = world.open(1, &Words::default()).await;
    world.look().await;
    world.fixture.ctx.clock.advance(MINUTE_MS);
    world.look().await;
    assert_eq!(world.asked(), 1);
    world.fixture.ctx.clock.advance(5 * MINUTE_MS);
    world.look().await;
    assert_eq!(world.stored().await, [(Some(id), Verdict::Failed), (Some(id), Verdict::Accepted)]);
}

#[tokio::test]
async fn the_days_limit_is_a_hard_one_whatever_number_of_incidents_is_forged() {
    let limit = 100_000;
    let mut world = World::new(&[("SYSOP_MODEL_DAILY_TOKENS", &limit.to_string())], answer).await;
    for n in 0..40 {
        let words = Words { mount: format!("/m{n}"), victim: format!("v{n}.service"), ..Words::default() };
        world.open(1 + n % 3, &words).await;
    }
    for _ in 0..30 {
        world.look().await;
        world.fixture.ctx.clock.advance(MINUTE_MS);
    }
    let spent =
        model_costs::of_day(&mut world.fixture.ctx.db.reader().await.unwrap(), day(NOW)).await.unwrap();
    assert!(spent.tokens() <= limit && spent.tokens() > limit / 4, "{}", spent.tokens());
    let capped = world.stored().await.iter().filter(|(_, verdict)| *verdict == Verdict::Capped).count();
    assert!(capped > 0 && capped <= 40, "{capped}");
}

#[tokio::test]
async fn worse_trouble_goes_first_and_a_closed_incident_is_forgotten() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    let mut world = World::new(&[], move |request| {
        seen.lock().unwrap().push(request.severity);
        answer(request)
    })
    .await;
    let mut tx = world.fixture.ctx.db.begin().await.unwrap();
    let mild =
        Incident { host: Some(host_id(1)), severity: Severity::Warning, ..incident(&Words::default()) };
    incidents::insert(&mut tx, &mild).await.unwrap();
    tx.commit().await.unwrap();
    let id = world.open(2, &Words::default()).await;
    world.look().await;
    assert_eq!(*order.lock().unwrap(), [Severity::Critical, Severity::Warning]);
    let closed = Incident { id, host: Some(host_id(2)), closed_at: Some(NOW), ..incident(&Words::default()) };
    let mut tx = world.fixture.ctx.db.begin().await.unwrap();
    incidents::update(&mut tx, &closed).await.unwrap();
    tx.commit().await.unwrap();
    world.look().await;
    assert!(world.desk.ctx.opinions.advice(&closed).is_empty());
}
