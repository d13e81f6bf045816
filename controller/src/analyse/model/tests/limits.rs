//! Repeats, breaker, allowances, queue and single flight, each by itself.

use tokio::time::Instant;

use super::*;
use crate::analyse::model::breaker::Breaker;
use crate::analyse::model::bucket::Buckets;
use crate::analyse::model::error::AskError;
use crate::analyse::model::fault::Again;
use crate::analyse::model::queue::Queue;
use crate::analyse::model::retry;
use crate::config::{Limits, Timeouts};

const MINUTE: Duration = Duration::from_secs(60);

fn pace() -> Pace {
    Pace::new(Timeouts { connect_ms: 5_000, read_ms: 30_000, triage_ms: 45_000, deep_ms: 120_000 })
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[test]
fn pauses_have_full_jitter_within_bounds_and_end_after_three_tries() {
    let pause = |tried, again, fraction| retry::pause(&pace(), tried, again, fraction, MINUTE).map(seconds);
    assert_eq!(pause(1, Again::Later(None), 0.0), Some(0.5));
    assert_eq!(pause(1, Again::Later(None), 1.0), Some(2.0));
    assert_eq!(pause(2, Again::Later(None), 1.0), Some(8.0));
    assert_eq!(pause(3, Again::Later(None), 0.0), None);
    assert_eq!(pause(2, Again::Once, 0.0), None);
    assert_eq!(pause(1, Again::Never, 0.0), None);
    let after = |s| Again::Later(Some(Duration::from_secs(s)));
    assert_eq!(pause(1, after(2), 0.0), Some(2.0));
    assert_eq!(pause(1, after(2), 1.0), Some(2.5));
    assert_eq!(pause(1, after(61), 0.0), None, "a longer pause is not waited for");
    let late = retry::pause(&pace(), 1, after(50), 0.0, Duration::from_secs(45));
    assert_eq!(late, None, "what cannot end in time is not begun");
}

#[test]
fn a_pause_is_asked_for_in_seconds_or_by_a_date() {
    let after = |text| retry::retry_after(&pace(), text, NOW.0).map(seconds);
    assert_eq!(after("7"), Some(7.0));
    assert_eq!(after("0.25"), Some(0.25));
    assert_eq!(after("Tue, 01 Jan 2030 00:00:10 GMT"), Some(10.0));
    assert_eq!(after("Tue, 01 Jan 2019 00:00:10 GMT"), Some(0.0));
    for wrong in ["-1", "soon", "NaN", "", "Tue, 99 Jan 2030"] {
        assert_eq!(after(wrong), None, "{wrong}");
    }
}

#[test]
fn the_breaker_opens_at_five_failures_in_two_minutes_and_lets_one_through_each_minute() {
    let (pace, start) = (pace(), Instant::now());
    let at = |s| start + Duration::from_secs(s);
    let mut breaker = Breaker::default();
    for s in [0, 10, 20, 30] {
        assert!(!breaker.ill(&pace, at(s)));
    }
    assert!(!breaker.ill(&pace, at(125)), "the first is older than two minutes");
    assert!(!breaker.is_open());
    assert!(breaker.ill(&pace, at(126)));
    assert_eq!(breaker.admit(&pace, at(127)), Err(Duration::from_secs(59)));
    assert_eq!(breaker.admit(&pace, at(186)), Ok(()), "the probe");
    assert!(breaker.admit(&pace, at(187)).is_err(), "one alone");
    assert!(!breaker.ill(&pace, at(190)), "it was open already");
    assert_eq!(breaker.admit(&pace, at(200)), Err(Duration::from_secs(50)));
    assert_eq!(breaker.admit(&pace, at(250)), Ok(()));
    breaker.well();
    assert_eq!(breaker.admit(&pace, at(251)), Ok(()));
    assert!(!breaker.ill(&pace, at(252)), "it counts from the beginning");
}

#[test]
fn allowances_fill_over_a_minute_and_the_server_can_only_lower_them() {
    let limits = Limits {
        daily_tokens: 0,
        daily_cost_micro: 0,
        requests_per_minute: 2,
        tokens_per_minute: 6_000,
        concurrency: 1,
    };
    let (pace, start) = (pace(), Instant::now());
    let at = |s| start + Duration::from_secs(s);
    let mut buckets = Buckets::new(&limits, start);
    assert_eq!(buckets.take(&pace, 3_000, start), Ok(()));
    assert_eq!(buckets.take(&pace, 3_500, start).map_err(seconds), Err(5.0), "tokens");
    buckets.settle(3_000, 1_000);
    assert_eq!(buckets.take(&pace, 3_500, start), Ok(()), "less was taken than reckoned");
    assert_eq!(buckets.take(&pace, 1, start).map_err(seconds), Err(30.0), "requests");
    assert_eq!(buckets.take(&pace, 1_000_000, at(60)), Ok(()), "more than the whole goes when it is full");

    let mut buckets = Buckets::new(&limits, start);
    let feed = |buckets: &mut Buckets, pairs: &[(&'static str, &'static str)]| {
        let headers = pairs.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
        });
        buckets.feed(&pace, &headers.collect(), start);
    };
    feed(&mut buckets, &[("x-ratelimit-remaining-tokens", "900000")]);
    assert!(buckets.take(&pace, 6_000, start).is_ok(), "no more than ours");
    feed(&mut buckets, &[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "1m")]);
    assert_eq!(buckets.held(start), MINUTE);
    let mut buckets = Buckets::new(&limits, start);
    feed(&mut buckets, &[("x-ratelimit-remaining-tokens", "-5"), ("x-ratelimit-reset-tokens", "1e9s")]);
    assert!(buckets.take(&pace, 6_000, start).is_ok(), "nonsense is not listened to");
    feed(&mut buckets, &[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "6m0s")]);
    assert_eq!(buckets.held(start), Duration::ZERO, "it fills again by itself");
    buckets.hold(MINUTE, start);
    assert_eq!(buckets.take(&pace, 1, at(10)).map_err(seconds), Err(50.0));
}

#[tokio::test]
async fn the_most_severe_goes_first_and_a_full_queue_turns_the_least_away() {
    let queue = Queue::new(1);
    let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let place = queue.enter(Severity::Info).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for (number, severity) in [(1, Severity::Info), (2, Severity::Critical), (3, Severity::Warning)] {
        let (queue, order) = (queue.clone(), order.clone());
        tasks.spawn(async move {
            let place = queue.enter(severity).await;
            order.lock().unwrap().push((number, place.is_ok()));
        });
        tokio::task::yield_now().await;
    }
    // Whoever goes away while waiting takes no place with it.
    let gone = tokio::time::timeout(Duration::from_millis(1), queue.enter(Severity::Critical)).await;
    assert!(gone.is_err());
    drop(place);
    tasks.join_all().await;
    assert_eq!(*order.lock().unwrap(), [(2, true), (3, true), (1, true)]);
    let place = tokio::time::timeout(Duration::from_millis(1), queue.enter(Severity::Info)).await.unwrap();

    let mut waiting = Vec::new();
    for _ in 0..64 {
        let queue = queue.clone();
        waiting.push(tokio::spawn(async move { queue.enter(Severity::Info).await.map(drop) }));
        tokio::task::yield_now().await;
    }
    assert!(matches!(queue.enter(Severity::Info).await, Err(AskError::Busy)));
    let urgent = {
        let queue = queue.clone();
        tokio::spawn(async move { queue.enter(Severity::Critical).await.map(drop) })
    };
    tokio::task::yield_now().await;
    assert_eq!(waiting.pop().unwrap().await.unwrap(), Err(AskError::Busy), "the last of the least severe");
    drop(place);
    assert_eq!(urgent.await.unwrap(), Ok(()));
    for turn in waiting {
        assert_eq!(turn.await.unwrap(), Ok(()));
    }
}

#[tokio::test]
async fn identical_questions_are_sent_once_and_paid_for_once() {
    let stub = StubModel::start(Emulate::OpenAi, SECOND).await;
    let client = client(&stub, Emulate::OpenAi, "503-loading@1");
    let mut asks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        asks.spawn(async move { client.ask(question()).await });
    }
    let answers = asks.join_all().await;
    assert_eq!(stub.calls(), 2);
    assert_eq!(answers.iter().filter(|answer| !answer.as_ref().unwrap().shared).count(), 1);
    // The next one begins anew.
    assert!(!client.ask(question()).await.unwrap().shared);
    assert_eq!(stub.calls(), 3);
}

#[tokio::test]
async fn whoever_goes_away_does_not_take_the_question_along() {
    let stub = StubModel::start(Emulate::OpenAi, SECOND).await;
    let client = client(&stub, Emulate::OpenAi, "503-loading@1");
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.ask(question()).await }
    });
    while stub.calls() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let second = client.ask(question());
    first.abort();
    assert!(second.await.unwrap().shared);
}

#[tokio::test]
async fn an_ill_server_is_left_alone_and_comes_back_by_one_question() {
    let stub = StubModel::start(Emulate::Vllm, SECOND).await;
    let client = client(&stub, Emulate::Vllm, "500@6");
    let ask = |severity| {
        let client = client.clone();
        async move { client.ask(AskRequest { severity, ..question() }).await }
    };
    for _ in 0..2 {
        assert_eq!(ask(Severity::Warning).await.unwrap_err().code(), "server");
    }
    assert_eq!(stub.calls(), 6);
    let started = std::time::Instant::now();
    let refused = ask(Severity::Critical).await.unwrap_err();
    assert_eq!(refused.code(), "breaker_open");
    assert!(started.elapsed() < Duration::from_secs(1) && stub.calls() == 6, "nothing was sent");
    assert!(client.state().breaker_open);
    tokio::time::sleep(61 * SECOND).await;
    assert!(ask(Severity::Warning).await.is_ok());
    assert!(!client.state().breaker_open);
}

#[tokio::test]
async fn a_long_pause_that_was_asked_for_holds_for_those_who_come_after() {
    let stub = StubModel::start(Emulate::OpenAi, SECOND).await;
    let client = client(&stub, Emulate::OpenAi, "429-after-3600@1");
    for _ in 0..2 {
        let error = client.ask(question()).await.unwrap_err();
        let AskError::RateLimited { retry_after: Some(after) } = error else { panic!("{error:?}") };
        assert!((3_500..=3_600).contains(&after.as_secs()), "{after:?}");
    }
    assert_eq!(stub.calls(), 1);
    assert!(client.state().held > Duration::ZERO);
}

#[tokio::test]
async fn without_a_key_and_a_server_nothing_is_sent() {
    let stub = StubModel::start(Emulate::OpenAi, SECOND).await;
    let mut model = settings(&stub, Some(Emulate::OpenAi), "normal");
    model.key = None;
    let client = ModelClient::new(&model, Clock::manual(NOW)).unwrap();
    assert_eq!(client.ask(question()).await, Err(AskError::NotSetUp));
    assert_eq!(stub.calls(), 0);
}

#[tokio::test]
async fn requests_have_the_form_that_each_kind_of_server_takes() {
    for emulate in Emulate::ALL {
        let stub = StubModel::start(emulate, SECOND).await;
        client(&stub, emulate, "normal").ask(question()).await.unwrap();
        let [seen] = &stub.transcript()[..] else { panic!("one request") };
        let azure = emulate == Emulate::Azure;
        assert_eq!(seen.path.starts_with("/openai/deployments/"), azure);
        assert_eq!(
            (seen.header("api-key").is_some(), seen.header("authorization").is_some()),
            (azure, !azure)
        );
        let messages = seen.body["messages"].as_array().unwrap();
        let newer = matches!(emulate, Emulate::OpenAi | Emulate::Azure);
        assert_eq!(messages.len(), if newer { 3 } else { 2 }, "chat templates want one system message");
        assert!(messages[0]["content"].as_str().unwrap().starts_with(&question().system_prefix));
        assert_eq!(seen.body.get("max_completion_tokens").is_some(), newer);
        assert_eq!(seen.body.get("max_tokens").is_some(), !newer);
        assert!(!seen.body.to_string().contains(KEY));
    }
}

#[tokio::test]
async fn a_thousand_questions_at_once_stay_within_the_limits() {
    let stub = StubModel::start(Emulate::Vllm, SECOND).await;
    let client = client(&stub, Emulate::Vllm, "normal");
    let started = std::time::Instant::now();
    let mut asks = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        let client = client.clone();
        let mut request = question();
        request.messages.push(Message::user(format!("incident {number}")));
        asks.spawn(async move { client.ask(request).await });
    }
    let outcomes = asks.join_all().await;
    let codes: std::collections::BTreeSet<_> =
        outcomes.iter().filter_map(|outcome| outcome.as_ref().err().map(AskError::code)).collect();
    assert!(codes.iter().all(|code| ["busy", "timeout"].contains(code)), "{codes:?}");
    assert!(outcomes.iter().filter(|outcome| outcome.is_err()).count() > 800);
    // What a minute allows, and what filled again until the deadline.
    assert!((10..=60 + 50).contains(&stub.calls()), "{} requests", stub.calls());
    assert!(started.elapsed() < 47 * SECOND + Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(client.state().waiting, 0);
}

#[tokio::test]
async fn what_a_small_window_would_cut_is_not_sent() {
    let stub = StubModel::start(Emulate::Ollama, SECOND).await;
    let client = client(&stub, Emulate::Ollama, "normal");
    client.set_profile(Profile { context_tokens: Some(1_300), ..client.profile() });
    assert!(client.ask(question()).await.is_ok());
    let mut long = question();
    long.messages.push(Message::user("x".repeat(2_000)));
    let error = client.ask(long).await.unwrap_err();
    assert_eq!(
        (error.code(), error.next()),
        ("prompt_too_long", crate::analyse::model::error::Next::HalveEvidence)
    );
    assert_eq!(stub.calls(), 1);
}
