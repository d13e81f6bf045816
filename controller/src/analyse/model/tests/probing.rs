//! What probing finds out about each kind of server, and keeps.

use super::*;
use crate::analyse::model::known::{probe_now, renew};
use crate::analyse::model::probe::{Probed, probe};
use crate::analyse::model::profile::LimitField;
use crate::store::Db;

async fn probed(emulate: Emulate, scenario: &str, told: bool) -> Probed {
    let stub = StubModel::start(emulate, SECOND).await;
    let model = settings(&stub, told.then_some(emulate), scenario);
    let pace = Pace::scaled(model.timeouts, SECOND);
    let client = ModelClient::with_pace(&model, Clock::manual(NOW), pace).unwrap();
    let found = probe(&client, NOW.0).await.unwrap();
    assert_eq!(stub.violations(), Vec::<String>::new(), "{emulate:?}");
    found
}

#[tokio::test]
async fn each_kind_of_server_is_recognised_with_its_level_its_limit_field_and_its_window() {
    use Emulate::{Azure, Generic, LlamaCpp, Ollama, OpenAi, Vllm};
    for (emulate, told, kind, level, limit, window) in [
        (OpenAi, true, ServerKind::OpenAi, Level::Strict, LimitField::MaxCompletionTokens, None),
        (Azure, true, ServerKind::Azure, Level::Strict, LimitField::MaxCompletionTokens, None),
        (Ollama, false, ServerKind::Ollama, Level::Strict, LimitField::MaxTokens, Some(4_096)),
        (Vllm, false, ServerKind::Vllm, Level::Strict, LimitField::MaxTokens, None),
        (LlamaCpp, false, ServerKind::LlamaCpp, Level::Strict, LimitField::MaxTokens, None),
        (Generic, false, ServerKind::Generic, Level::Plain, LimitField::MaxTokens, None),
        // An address that nobody knows, and a server that takes the newer field alone.
        (OpenAi, false, ServerKind::Generic, Level::Strict, LimitField::MaxCompletionTokens, None),
    ] {
        let found = probed(emulate, "normal", told).await;
        let profile = &found.profile;
        assert_eq!(
            (profile.server, profile.level, profile.limit, profile.context_tokens),
            (kind, level, limit, window),
            "{emulate:?}: {:?}",
            profile.notes
        );
        assert_eq!(profile.probed_at, Some(NOW.0));
        assert!(found.usage.total() > 0 && found.answers >= 2, "{emulate:?}: {found:?}");
    }
}

#[tokio::test]
async fn a_server_that_ignores_what_it_is_told_is_noticed() {
    for emulate in [Emulate::OpenAi, Emulate::Vllm] {
        let found = probed(emulate, "ignores-schema", true).await.profile;
        assert_eq!(found.level, Level::Plain, "{emulate:?}");
        assert!(found.notes.iter().any(|note| note.contains("not kept to")), "{:?}", found.notes);
        let found = probed(emulate, "ignores-limit", true).await.profile;
        assert!(found.notes.iter().any(|note| note.contains("not bounded")), "{:?}", found.notes);
    }
    let found = probed(Emulate::Vllm, "cuts-prompt", true).await.profile;
    assert_eq!(found.context_tokens, Some(2_048));
    assert!(found.notes.iter().any(|note| note.contains("context window")), "{:?}", found.notes);
    let failing = StubModel::start(Emulate::Vllm, SECOND).await;
    let error = probe(&client(&failing, Emulate::Vllm, "500"), NOW.0).await.unwrap_err();
    assert_eq!(error.code(), "server", "a server that is ill says nothing of what it can do");
}

#[tokio::test]
async fn what_was_found_is_kept_for_a_day_and_for_the_same_server() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open_control(folder.path()).await.unwrap();
    let clock = Clock::manual(NOW);
    let stub = StubModel::start(Emulate::Vllm, SECOND).await;
    let fresh = |scenario: &str| {
        let model = settings(&stub, None, scenario);
        ModelClient::with_pace(&model, clock.clone(), Pace::scaled(model.timeouts, SECOND)).unwrap()
    };
    let known = async |client: &ModelClient| renew(client, &db, &clock, &|_: &Probed| {}).await.unwrap();
    let first = fresh("normal");
    probe_now(&first, &db, &clock, |probed| assert!(probed.answers > 0)).await.unwrap();
    assert_eq!(first.profile().server, ServerKind::Vllm);
    let calls = stub.calls();
    let second = fresh("normal");
    known(&second).await;
    assert_eq!((second.profile(), stub.calls()), (first.profile(), calls), "nothing was asked");
    known(&fresh("cached")).await;
    assert!(stub.calls() > calls, "another model is probed");
    let calls = stub.calls();
    clock.advance(25 * 3_600_000);
    known(&fresh("cached")).await;
    assert!(stub.calls() > calls, "a day later it is probed again");
}
