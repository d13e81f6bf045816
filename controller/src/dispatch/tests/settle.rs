//! What hosts say of their orders.

use super::*;

#[tokio::test]
async fn without_word_it_is_unknown_only_after_the_order_is_void_and_a_late_word_settles_it() {
    let mut bench = Bench::new(1).await;
    let id = bench.start(1, "nginx.service").await;
    bench.look().await;
    bench.hosts.connected.store(false, Ordering::SeqCst);
    bench.ctx.clock.advance(ORDER_LIFE_MS + expire::GRACE_MS - 1);
    bench.look().await;
    assert_eq!(bench.state(id).await, RunState::Sent);
    bench.ctx.clock.advance(2);
    bench.look().await;
    assert_eq!(bench.state(id).await, RunState::Unknown);
    // Nothing new with this intent, until a person looked or the host spoke.
    let start = Start {
        host: host_id(1),
        action: restart("nginx.service"),
        incident: None,
        reason: String::new(),
        key: None,
    };
    assert_eq!(decide::start_run(&bench.fixture.ctx, &start, &ann()).await.unwrap_err().status(), 409);
    bench.say(1, id, 1, Event::Accepted).await;
    bench.say(1, id, 2, Event::Started).await;
    bench.say(1, id, 3, finished(RunState::Failed)).await;
    let run = bench.run(id).await;
    assert_eq!((run.state, run.pending, run.detail.as_str()), (RunState::Failed, false, "done"));
    assert!(decide::start_run(&bench.fixture.ctx, &start, &ann()).await.is_ok());
}

#[tokio::test]
async fn a_person_can_settle_what_stays_unknown() {
    let mut bench = Bench::new(1).await;
    let id = bench.start(1, "nginx.service").await;
    bench.look().await;
    bench.say(1, id, 1, Event::Unknown { detail: "power cut".into() }).await;
    assert_eq!(bench.state(id).await, RunState::Unknown);
    decide::settle_unknown(&bench.fixture.ctx, id, &bob(), "it runs").await.unwrap();
    assert_eq!(decide::settle_unknown(&bench.fixture.ctx, id, &bob(), "").await.unwrap_err().status(), 409);
    bench.start(1, "nginx.service").await;
}

#[tokio::test]
async fn result_from_agent_not_addressed_by_order_refused_and_audited() {
    let mut bench = Bench::new(2).await;
    let id = bench.start(1, "nginx.service").await;
    // Not sent yet: even the right host cannot know of it.
    bench.say(1, id, 1, finished(RunState::Succeeded)).await;
    assert_eq!(bench.state(id).await, RunState::Approved);
    bench.look().await;
    bench.say(2, id, 1, finished(RunState::Succeeded)).await;
    bench
        .results
        .output(host_id(2), OutputChunk { order: id, offset: 0, bytes: Bytes(b"lies".to_vec()) })
        .await
        .unwrap();
    assert_eq!(bench.state(id).await, RunState::Sent);
    assert!(outputs::read(&bench.ctx.db, id).await.unwrap().is_empty());
    // One record per host and minute: a liar cannot fill the chain.
    for number in 0..20 {
        bench.say(2, id, number, checked(true)).await;
    }
    assert_eq!(bench.count("run.result_refused").await, 2);
    bench.ctx.clock.advance(2 * MINUTE_MS);
    bench.say(2, id, 99, Event::Accepted).await;
    assert_eq!(bench.count("run.result_refused").await, 3);
    assert!(
        run_states::events(&bench.ctx.db, id)
            .await
            .unwrap()
            .iter()
            .all(|e| e.source == run_states::Source::Controller)
    );
}

#[tokio::test]
async fn a_resend_is_harmless_and_another_event_under_a_known_number_is_refused() {
    let mut bench = Bench::new(1).await;
    let id = bench.start(1, "nginx.service").await;
    bench.look().await;
    for _ in 0..3 {
        bench.say(1, id, 1, Event::Accepted).await;
        bench.say(1, id, 2, Event::Started).await;
    }
    bench.say(1, id, 2, finished(RunState::Succeeded)).await;
    assert_eq!(bench.state(id).await, RunState::Started);
    assert_eq!(bench.count("run.result_refused").await, 1);
    bench.say(1, id, 3, finished(RunState::Verified)).await;
    assert_eq!(bench.state(id).await, RunState::Started);
    for number in 10..200 {
        bench.say(1, id, number, Event::Duplicate).await;
    }
    let events = run_states::events(&bench.ctx.db, id).await.unwrap();
    assert!(events.len() <= run_states::MAX_HOST_EVENTS as usize + 4, "{}", events.len());
}

#[tokio::test]
async fn what_a_host_says_without_its_journal_has_no_number_and_counts_all_the_same() {
    let mut bench = Bench::new(1).await;
    let id = bench.start(1, "nginx.service").await;
    bench.look().await;
    for _ in 0..3 {
        bench.say(1, id, 0, Event::Duplicate).await;
    }
    let refused = Event::Refused { reason: Refusal::MonitorOnly, detail: "no executor".into() };
    bench.say(1, id, 0, refused.clone()).await;
    bench.say(1, id, 0, refused).await;
    let run = bench.run(id).await;
    assert_eq!((run.state, run.refusal.as_deref()), (RunState::Refused, Some("monitor_only")));
    assert_eq!(bench.count("run.result_refused").await, 0);
    let events = run_states::events(&bench.ctx.db, id).await.unwrap();
    let said = events.iter().filter(|event| event.source == run_states::Source::Host);
    assert_eq!(
        said.map(|event| (event.number, event.state.as_str())).collect::<Vec<_>>(),
        [(0, "duplicate"), (0, "refused")]
    );
}

#[tokio::test]
async fn a_refusal_keeps_its_own_word_and_a_missing_check_is_not_taken_for_success() {
    let mut bench = Bench::new(1).await;
    let (a, b) = (bench.start(1, "a.service").await, bench.start(1, "b.service").await);
    bench.look().await;
    let refused = Event::Refused { reason: Refusal::ParameterNotAllowed, detail: "add this line".into() };
    bench.say(1, a, 1, refused).await;
    let run = bench.run(a).await;
    assert_eq!((run.state, run.refusal.as_deref()), (RunState::Refused, Some("parameter_not_allowed")));
    assert_eq!(run.detail, "add this line");
    bench.say(1, b, 2, finished(RunState::Succeeded)).await;
    bench.ctx.clock.advance(10 * MINUTE_MS);
    bench.look().await;
    assert_eq!(bench.state(b).await, RunState::NotVerified);
    // The host was away, and its own word settles it.
    bench.say(1, b, 3, Event::Checked { verified: true, detail: "active".into() }).await;
    assert_eq!(bench.state(b).await, RunState::Verified);
}

#[tokio::test]
async fn what_was_settled_by_a_person_and_goes_on_after_all_keeps_its_like_away() {
    let mut bench = Bench::new(1).await;
    let id = bench.start(1, "nginx.service").await;
    bench.look().await;
    bench.ctx.clock.advance(30 * MINUTE_MS);
    bench.look().await;
    assert_eq!(bench.state(id).await, RunState::Unknown);
    decide::settle_unknown(&bench.fixture.ctx, id, &bob(), "nothing ran").await.unwrap();
    bench.say(1, id, 1, Event::Started).await;
    assert_eq!(bench.state(id).await, RunState::Started);
    let start = Start {
        host: host_id(1),
        action: restart("nginx.service"),
        incident: None,
        reason: String::new(),
        key: None,
    };
    assert!(decide::start_run(&bench.fixture.ctx, &start, &bob()).await.is_err());
    bench.say(1, id, 2, finished(RunState::Failed)).await;
    decide::start_run(&bench.fixture.ctx, &start, &bob()).await.unwrap();
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Accepted),
        Just(Event::Started),
        (0usize..18).prop_map(|at| finished(RunState::ALL[at])),
        Just(Event::Refused { reason: Refusal::Busy, detail: String::new() }),
        Just(Event::Refused { reason: Refusal::Replayed, detail: String::new() }),
        Just(Event::Cancelled),
        Just(Event::Unknown { detail: String::new() }),
        any::<bool>().prop_map(checked),
        Just(Event::Duplicate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn whatever_a_host_says_in_whatever_order_a_run_never_goes_back(events in prop::collection::vec(any_event(), 0..12)) {
        let rank = |state: RunState| RunState::ALL.iter().position(|s| *s == state).unwrap();
        let mut state = RunState::Sent;
        let mut started = false;
        for event in &events {
            let Some(next) = states::next(state, event) else { continue };
            if state == RunState::Unknown {
                prop_assert!(next != RunState::Unknown);
            } else {
                prop_assert!(!state.is_final(), "{state:?} -> {next:?}");
                prop_assert!(rank(next) > rank(state));
            }
            if next == RunState::Verified {
                prop_assert_eq!(state, RunState::Succeeded);
            }
            started |= matches!(next, RunState::Started | RunState::Succeeded);
            prop_assert!(!(started && matches!(next, RunState::Accepted) && state != RunState::Unknown));
            state = next;
        }
    }
}
