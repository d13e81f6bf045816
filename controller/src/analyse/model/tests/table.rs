//! Every scenario with every kind of server: what the client must make of it.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::stub_model::{Emulate, KEY, NAMES, StubModel};
use super::*;
use crate::analyse::model::ask::{Answer, Finish};
use crate::analyse::model::error::{AskError, Next};
use crate::analyse::model::extract;

/// What the client must make of a scenario.
#[derive(Debug, Clone, Copy)]
enum Want {
    /// An answer after so many requests.
    Answer(u32),
    /// An error with this code after so many requests.
    Error(&'static str, usize),
}
use Want::{Answer as Good, Error as Bad};

const TABLE: &[(&str, Want)] = &[
    ("normal", Good(1)),
    ("cached", Good(1)),
    ("slow-head", Bad("timeout", 2)),
    ("slow-drip", Bad("timeout", 1)),
    ("429-after-2@1", Good(2)),
    ("429-after-3600", Bad("rate_limited", 1)),
    ("429-date@1", Good(2)),
    ("429-bare@1", Good(2)),
    ("429-quota", Bad("quota", 1)),
    ("500", Bad("server", 3)),
    ("500@2", Good(3)),
    ("502-html@1", Good(2)),
    ("503-loading@2", Good(3)),
    ("200-error@1", Good(2)),
    ("200-html", Bad("malformed", 1)),
    ("reset@1", Good(2)),
    ("reset", Bad("unreachable", 2)),
    ("eof@1", Good(2)),
    ("no-head@1", Good(2)),
    ("bad-chunk@1", Good(2)),
    ("bad-gzip", Bad("malformed", 1)),
    ("401", Bad("unauthorised", 1)),
    ("401-int", Bad("unauthorised", 1)),
    ("403", Bad("unauthorised", 1)),
    ("404", Bad("not_found", 1)),
    ("400", Bad("bad_request", 1)),
    ("400-text", Bad("bad_request", 1)),
    ("400-param", Good(2)),
    ("400-context", Bad("prompt_too_long", 1)),
    ("redirect", Bad("malformed", 1)),
    ("malformed", Good(1)),
    ("fenced", Good(1)),
    ("prose", Good(1)),
    ("bom", Good(1)),
    ("duplicate", Good(1)),
    ("nan", Good(1)),
    ("thoughts", Good(1)),
    ("truncated", Bad("truncated", 1)),
    ("whitespace", Bad("truncated", 1)),
    ("refusal", Bad("refused", 1)),
    ("filter", Bad("content_filter", 1)),
    ("azure-filter", Bad("content_filter", 1)),
    ("reasoning-field", Good(1)),
    ("null-content", Bad("empty", 1)),
    ("empty-finish", Good(1)),
    ("bare", Good(1)),
    ("parts", Good(1)),
    ("events", Good(1)),
    ("mad-usage", Good(1)),
    ("ignores-schema", Good(1)),
    ("ignores-limit", Good(1)),
    ("cuts-prompt", Good(1)),
    ("wrong-language", Good(1)),
    ("mixed-nfd", Good(1)),
    ("flood", Bad("too_large", 1)),
    ("deep", Bad("too_large", 1)),
    ("deep-content", Good(1)),
    ("endless", Bad("timeout", 1)),
    ("flap", Good(2)),
];

/// What is wrong with the content alone is the judge's matter; here the text arrives as it is.
const CONTENT: &[&str] = &[
    "extra",
    "missing",
    "wrong-type",
    "unknown-enum",
    "risk-none",
    "300-findings",
    "ghost",
    "ghost-offer",
    "tenant",
    "contradict",
    "conflict",
    "obey",
    "obey-forged",
    "obey-reads",
    "always-max",
    "flip-flop",
    "replay",
    "swap-handles",
    "wrong-root",
];

fn wanted(name: &str, want: Want, emulate: Emulate) -> Want {
    let own_hardware = matches!(emulate, Emulate::Ollama | Emulate::Vllm | Emulate::LlamaCpp);
    match (name, emulate) {
        // Where an answer comes in one piece from a slow machine, its head may take until the deadline.
        ("slow-head", _) if own_hardware => Good(1),
        // It was not sent what this scenario turns down.
        ("400-param", Emulate::Generic) => Good(1),
        _ => want,
    }
}

/// Scenarios that are played at the same time.
const AT_ONCE: usize = 10;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn every_scenario_with_every_kind_of_server_ends_as_it_should_and_tells_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let started = Instant::now();
    for emulate in Emulate::ALL {
        play_all(emulate).await;
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    drop(guard);
    let text = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(text.contains("turned a field down"), "the log was not taken");
    for secret in [KEY, CANARY, "The unit uses more than there is"] {
        let line = text.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "logged: {line:?}");
    }
}

async fn play_all(emulate: Emulate) {
    let stub = Arc::new(StubModel::start(emulate, SECOND).await);
    let content = CONTENT.iter().map(|name| (*name, Good(1)));
    let rows: Vec<_> = TABLE.iter().copied().chain(content).collect();
    for name in NAMES {
        assert!(rows.iter().any(|(row, _)| row.split('@').next() == Some(name)), "no row for {name}");
    }
    // A few at a time: what is measured is the client's time, not this machine's.
    let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let mut plays = tokio::task::JoinSet::new();
    for (name, want) in rows {
        let (stub, places) = (stub.clone(), places.clone());
        plays.spawn(async move {
            let _place = places.acquire().await;
            play(&stub, emulate, name, wanted(name, want, emulate)).await;
        });
    }
    let mut wrong = 0;
    while let Some(played) = plays.join_next().await {
        // Each says by itself what is wrong.
        wrong += usize::from(played.is_err());
    }
    assert_eq!(wrong, 0, "{} scenarios with {}", wrong, emulate.name());
    assert_eq!(stub.violations(), Vec::<String>::new());
    // 50 MB stay where they are, but for what the sockets hold.
    assert!(stub.sent() < 16 << 20, "{} bytes were taken", stub.sent());
}

async fn play(stub: &StubModel, emulate: Emulate, name: &str, want: Want) {
    let client = client(stub, emulate, name);
    let started = Instant::now();
    let outcome = client.ask(question()).await;
    let took = started.elapsed();
    let calls = stub.transcript().iter().filter(|seen| seen.scenario == name).count();
    let what = format!("{} {name}: {outcome:?} after {calls} requests, {took:?}", emulate.name());
    assert!(took < 46 * SECOND + Duration::from_millis(500), "{what}: later than the deadline");
    match (want, &outcome) {
        (Good(tries), Ok(answer)) => {
            assert_eq!((answer.tries, calls), (tries, tries as usize), "{what}");
            good(name, emulate, answer, took, &what);
        }
        (Bad(code, times), Err(error)) => {
            assert_eq!((error.code(), calls), (code, times), "{what}");
            bad(name, error, took, &what);
        }
        _ => panic!("{what}: wanted {want:?}"),
    }
    if name == "400-param" {
        assert_eq!(client.profile().level, Level::Plain, "{what}: the profile was not lowered");
    }
}

fn good(name: &str, emulate: Emulate, answer: &Answer, took: Duration, what: &str) {
    assert!(!answer.shared && !answer.text.trim().is_empty(), "{what}");
    let counted = emulate != Emulate::Generic;
    match name {
        "normal" => {
            assert_eq!(answer.usage.estimated, !counted, "{what}");
            assert!(answer.usage.prompt > 50 && answer.usage.completion > 50, "{what}");
            assert_eq!(answer.finish, Finish::Stop);
            assert_eq!(answer.model, "stub:normal");
        }
        "cached" => assert_eq!(answer.usage.cached > 0, counted, "{what}"),
        "bare" | "mad-usage" | "events" => assert!(answer.usage.estimated, "{what}"),
        "429-after-2@1" => assert!(took >= 2 * SECOND, "{what}: came back too early"),
        "429-date@1" => assert!(took >= 3 * SECOND, "{what}: came back too early"),
        "empty-finish" => assert_eq!(answer.finish, Finish::Unknown, "{what}"),
        _ => {}
    }
    let object = extract::object(&answer.text);
    match name {
        "malformed" | "duplicate" | "nan" => {
            assert!(matches!(object, Err(extract::ExtractError::Invalid(_))), "{what}: {object:?}");
        }
        "deep-content" => assert_eq!(object, Err(extract::ExtractError::TooLarge), "{what}"),
        _ => assert!(object.is_ok(), "{what}: {object:?}"),
    }
}

fn bad(name: &str, error: &AskError, took: Duration, what: &str) {
    let shown = format!("{error} {error:?} {:?}", error.remedy());
    for secret in [KEY, CANARY, "0123456789abcdef", "\n"] {
        assert!(!shown.contains(secret), "{what}: tells {secret:?}");
    }
    let next = match name {
        "truncated" | "whitespace" | "400-context" => Next::HalveEvidence,
        "filter" | "azure-filter" => Next::CleanHarder,
        _ => Next::FallBack,
    };
    assert_eq!(error.next(), next, "{what}");
    if error.code() != "timeout" && name != "500" && name != "reset" {
        assert!(took < Duration::from_secs(2), "{what}: falling back took too long");
    }
}
