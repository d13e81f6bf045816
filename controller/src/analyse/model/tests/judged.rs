//! Every scenario as a whole conversation: what is thrown out, what is left, and that no offer ever
//! becomes more than the rules made it.

use std::sync::Arc;

use sysop_common::finding::{Offer, Severity};
use sysop_common::ids::HostId;

use super::stub_model::{Emulate, NAMES, StubModel};
use super::*;
use crate::analyse::model::adviser::Opinions;
use crate::analyse::model::dialogue::{Outcome, Question, hold};
use crate::analyse::model::evidence::{Caps, Material, Sheet, sheet};
use crate::analyse::model::prompt::Notes;
use crate::analyse::model::redact::Redactor;
use crate::analyse::model::testing::{self, Hosts, Words};
use crate::analyse::seam::{Adviser as _, apply};
use crate::store::analyses::Verdict;
use Verdict::{Accepted, Failed, Flagged, Rejected, Repaired};

/// What becomes of each scenario, and of how many requests it takes at most.
const TABLE: &[(&str, Verdict, usize)] = &[
    ("normal", Accepted, 1),
    ("cached", Accepted, 1),
    ("fenced", Accepted, 1),
    ("prose", Accepted, 1),
    ("bom", Accepted, 1),
    ("thoughts", Accepted, 1),
    ("reasoning-field", Accepted, 1),
    ("empty-finish", Accepted, 1),
    ("bare", Accepted, 1),
    ("parts", Accepted, 1),
    ("events", Accepted, 1),
    ("mad-usage", Accepted, 1),
    ("ignores-schema", Accepted, 1),
    ("ignores-limit", Accepted, 1),
    ("cuts-prompt", Accepted, 1),
    ("flap", Accepted, 2),
    ("malformed", Rejected, 2),
    ("malformed@1", Repaired, 2),
    ("duplicate", Rejected, 2),
    ("nan", Rejected, 2),
    ("deep-content", Rejected, 2),
    ("extra", Rejected, 2),
    ("missing", Rejected, 2),
    ("wrong-type", Rejected, 2),
    ("unknown-enum", Rejected, 2),
    ("risk-none", Rejected, 2),
    ("300-findings", Rejected, 2),
    ("ghost", Rejected, 2),
    ("ghost@1", Repaired, 2),
    ("ghost-offer", Rejected, 2),
    ("tenant", Rejected, 2),
    ("contradict", Flagged, 2),
    ("conflict", Flagged, 2),
    ("obey", Flagged, 2),
    ("obey-forged", Flagged, 2),
    ("obey-reads", Accepted, 4),
    ("always-max", Accepted, 1),
    ("flip-flop", Accepted, 1),
    ("replay", Accepted, 1),
    ("swap-handles", Flagged, 2),
    ("wrong-root", Accepted, 1),
    ("wrong-language", Accepted, 1),
    ("mixed-nfd", Accepted, 1),
    ("truncated", Failed, 2),
    ("truncated@1", Accepted, 2),
    ("whitespace", Failed, 2),
    ("400-context", Failed, 2),
    ("400-context@1", Accepted, 2),
    ("refusal", Failed, 1),
    ("filter", Failed, 2),
    ("azure-filter", Failed, 2),
    ("azure-filter@1", Accepted, 2),
    ("null-content", Failed, 1),
];

/// There is no answer at all: how the client gets there is told elsewhere, here it comes to nothing.
const FAULTS: &[(&str, usize)] = &[
    ("slow-head", 2),
    ("slow-drip", 1),
    ("429-after-2", 3),
    ("429-after-3600", 1),
    ("429-date", 3),
    ("429-bare", 3),
    ("429-quota", 1),
    ("500", 3),
    ("502-html", 3),
    ("503-loading", 3),
    ("200-error", 3),
    ("200-html", 1),
    ("reset", 2),
    ("eof", 2),
    ("no-head", 2),
    ("bad-chunk", 2),
    ("bad-gzip", 1),
    ("401", 1),
    ("401-int", 1),
    ("403", 1),
    ("404", 1),
    ("400", 1),
    ("400-text", 1),
    ("redirect", 1),
    ("flood", 1),
    ("deep", 1),
    ("endless", 1),
];

async fn held(client: &ModelClient, hosts: &Hosts, language: &str) -> Outcome {
    let words = Words::default();
    let (incident, processes, units) =
        (testing::incident(&words), testing::processes(&words), testing::units(&words));
    let make = |caps: Caps, _: bool, redactor: &mut Redactor| -> Sheet {
        let material = Material {
            incident: &incident,
            host: "web-07",
            processes: &processes,
            units: &units,
            past: &[],
            now: testing::NOW,
        };
        sheet(&material, caps, redactor)
    };
    let question = Question {
        host: HostId(uuid::Uuid::from_u128(7)),
        severity: Severity::Critical,
        notes: Notes::default(),
        language,
        redactor: Redactor::default(),
        sheet: &make,
    };
    hold(client, hosts, question).await
}

/// Whatever came of it, offers are those of the rules, at their risk or above, attended at least as much.
fn nothing_grew(outcome: &Outcome, what: &str) -> Vec<Offer> {
    let incident = testing::incident(&Words::default());
    let mut after = incident.offers.clone();
    if let Some(opinion) = &outcome.opinion {
        let opinions = Opinions::default();
        opinions.hold(&incident, opinion.clone());
        apply(&mut after, &opinions.advice(&incident));
    }
    assert_eq!(after.len(), incident.offers.len(), "{what}");
    for (new, old) in after.iter().zip(&incident.offers) {
        let same = Offer { risk: old.risk, unattended: old.unattended, ..new.clone() };
        assert_eq!(same, *old, "{what}: only risk and attendance may change");
        assert!(new.risk >= old.risk && (old.unattended || !new.unattended), "{what}");
    }
    after
}

async fn play(stub: &StubModel, emulate: Emulate, (name, verdict, most): (&str, Verdict, usize)) {
    let (client, hosts) = (client(stub, emulate, name), Hosts::default());
    let language = if matches!(name, "wrong-language" | "mixed-nfd") { "vi" } else { "en" };
    let outcome = held(&client, &hosts, language).await;
    let calls = stub.transcript().iter().filter(|seen| seen.scenario == name).count();
    let what = format!(
        "{} {name}: {:?} after {calls} requests, {:?}, {:?}",
        emulate.name(),
        outcome.verdict,
        outcome.error,
        outcome.rejects
    );
    assert!(outcome.verdict == verdict && calls <= most && calls > 0, "{what}: wanted {verdict:?}, {most}");
    let after = nothing_grew(&outcome, &what);
    let views = outcome.opinion.as_ref().map(|opinion| opinion.views.as_slice()).unwrap_or_default();
    match verdict {
        Failed | Rejected => assert!(outcome.opinion.is_none(), "{what}"),
        Flagged => assert!(views.iter().all(|view| view.picks.is_empty()), "{what}"),
        _ => assert!(!views.is_empty(), "{what}"),
    }
    for text in views.iter().flat_map(|view| [&view.title, &view.summary, &view.reasoning]) {
        let strange = |c: char| c.is_control() || matches!(u32::from(c), 0x200B..=0x202E | 0x300..=0x36F);
        assert!(!text.contains(strange), "{what}: {text:?}");
    }
    match name {
        "wrong-language" => assert!(views.iter().all(|view| view.title.is_empty()), "{what}: {views:?}"),
        "mixed-nfd" => assert!(views.iter().all(|view| !view.title.is_empty()), "{what}: {views:?}"),
        "wrong-root" => assert!(after.iter().all(|offer| !offer.unattended), "{what}: a person decides"),
        "obey-reads" => assert!(hosts.0.lock().unwrap().len() <= 12, "{what}: 4 readings in 3 turns"),
        _ => assert!(hosts.0.lock().unwrap().is_empty(), "{what}"),
    }
}

#[tokio::test]
async fn every_conversation_with_every_kind_of_server_leaves_at_most_words_and_doubt() {
    for name in NAMES {
        let is = |row: &str| row.split('@').next() == Some(name);
        // One form of request less, and then as any other.
        let known =
            TABLE.iter().any(|row| is(row.0)) || FAULTS.iter().any(|row| is(row.0)) || is("400-param");
        assert!(known, "no row for {name}");
    }
    let mut wrong = 0;
    for emulate in Emulate::ALL {
        let stub = Arc::new(StubModel::start(emulate, SECOND).await);
        // What ends without an answer ends so with each kind; one tells it.
        let faults = FAULTS.iter().filter(|_| emulate == Emulate::OpenAi);
        let rows: Vec<_> =
            TABLE.iter().copied().chain(faults.map(|(name, most)| (*name, Failed, *most))).collect();
        let places = Arc::new(tokio::sync::Semaphore::new(10));
        let mut plays = tokio::task::JoinSet::new();
        for row in rows {
            let (stub, places) = (stub.clone(), places.clone());
            plays.spawn(async move {
                let _place = places.acquire().await;
                play(&stub, emulate, row).await;
            });
        }
        while let Some(played) = plays.join_next().await {
            // Each says by itself what is wrong.
            wrong += usize::from(played.is_err());
        }
        assert_eq!(stub.violations(), Vec::<String>::new());
    }
    assert_eq!(wrong, 0, "{wrong} conversations");
}
