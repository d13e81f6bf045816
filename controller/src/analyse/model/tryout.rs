//! What people see before they let a model in: what would be sent, and what it makes of a made-up
//! incident.

use sysop_common::action::Action;
use sysop_common::finding::{Category, Evidence, Finding, Offer, OfferSource, Severity, Value, fingerprint};
use sysop_common::ids::HostId;
use sysop_common::query::Query;
use sysop_common::time::{MINUTE_MS, UnixMs};
use uuid::Uuid;

use super::ask::{AskRequest, Purpose};
use super::deep::{Answering, Reader};
use super::desk::{Stage, cost};
use super::dialogue::{Outcome, Question, hold};
use super::evidence::{Caps, Sheet};
use super::gather::Gathered;
use super::prompt::{self, Notes};
use super::redact::Redactor;
use super::schema::schema;
use crate::store::incidents::Incident;
use crate::store::model_costs::Cost;

/// The request that would be sent first about what was gathered.
#[must_use]
pub fn request(stage: &Stage, gathered: &Gathered) -> AskRequest {
    let mut redactor = stage.redactor();
    let sheet = gathered.sheet(Caps::FULL, false, &mut redactor);
    let notes = gathered.notes.through(&mut redactor);
    AskRequest {
        system_prefix: prompt::prefix().to_owned(),
        messages: prompt::messages(&sheet, &notes, &stage.model.language),
        schema: schema(&sheet),
        max_output_tokens: 0,
        deadline: None,
        purpose: Purpose::Test,
        severity: gathered.incident.severity,
    }
}

/// Asks about a made-up incident; returns what came of it and what it cost.
pub async fn test(stage: &Stage, now: UnixMs) -> (Outcome, Vec<Cost>) {
    let outcome = ask(stage, &made_up(now)).await;
    let costs = outcome.turns.iter().map(|turn| cost(stage, None, None, "test", &turn.usage, now)).collect();
    (outcome, costs)
}

/// Asks about what was gathered; no host is read from.
pub async fn ask(stage: &Stage, gathered: &Gathered) -> Outcome {
    let make = |caps: Caps, nameless: bool, redactor: &mut Redactor| -> Sheet {
        gathered.sheet(caps, nameless, redactor)
    };
    let question = Question {
        host: HostId(Uuid::nil()),
        severity: gathered.incident.severity,
        notes: gathered.notes.clone(),
        language: &stage.model.language,
        redactor: stage.redactor(),
        sheet: &make,
    };
    hold(&*stage.ask, &Nobody, question).await
}

/// There is no host to read from.
struct Nobody;

impl Reader for Nobody {
    fn read(&self, _: HostId, _: Query) -> Answering<'_> {
        Box::pin(async { Err("there is no host".to_owned()) })
    }
}

/// A service that failed, on no host.
fn made_up(now: UnixMs) -> Gathered {
    let unit = "example.service";
    let began = now.plus(-5 * MINUTE_MS);
    let row = |id: &str, metric: &str, before: Option<Value>, value: Value| Evidence {
        id: id.to_owned(),
        metric: metric.to_owned(),
        label: unit.to_owned(),
        from: began,
        to: now,
        before,
        value,
        text: String::new(),
    };
    let word = |text: &str| Value::Word(text.to_owned());
    let finding = Finding {
        category: Category::UnitFailed,
        entity: unit.to_owned(),
        severity: Severity::Critical,
        confidence: 100,
        onset: began,
        last_true: now,
        active: true,
        title: String::new(),
        cause: String::new(),
        culprit: None,
        evidence: vec![
            row("E1", "unit.active", Some(word("active")), word("failed")),
            row("E2", "unit.restarts", Some(Value::Number(0)), Value::Number(3)),
        ],
        not_observed: Vec::new(),
        caused_by: None,
    };
    let offers = unit.parse().map(|unit| Offer {
        id: "O1".to_owned(),
        finding: finding.fingerprint(),
        action: Action::RestartService { unit },
        risk: sysop_common::action::Risk::Medium,
        source: OfferSource::Analyser,
        unattended: false,
        why: String::new(),
        pre_check: String::new(),
        expect: String::new(),
        not_fixed: String::new(),
    });
    let incident = Incident {
        id: 0,
        host: None,
        fingerprint: fingerprint(Category::UnitFailed, unit),
        category: Category::UnitFailed,
        entity: unit.to_owned(),
        severity: Severity::Critical,
        title: String::new(),
        cause: String::new(),
        confidence: 100,
        findings: vec![finding],
        offers: offers.into_iter().collect(),
        opened_at: began,
        updated_at: now,
        last_true: now,
        closed_at: None,
        close_why: None,
        acked_by: None,
        acked_at: None,
        opens: 1,
    };
    Gathered {
        incident,
        host: "example".to_owned(),
        processes: Vec::new(),
        units: Vec::new(),
        past: Vec::new(),
        notes: Notes::default(),
        now,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::testing::{NOW, Scripted, sound};
    use super::*;

    #[tokio::test]
    async fn a_try_goes_through_everything_and_tells_what_it_cost() {
        let sheet = made_up(NOW).sheet(Caps::FULL, false, &mut Redactor::default());
        let answer = sound(&sheet).to_string();
        let stage = Stage {
            ask: Arc::new(Scripted(Mutex::new(move |_: &AskRequest| Ok(answer.clone())))),
            model: super::super::desk::tests::model(&[]),
            pseudonyms: true,
        };
        let (outcome, costs) = test(&stage, NOW).await;
        assert_eq!(outcome.verdict, crate::store::analyses::Verdict::Accepted, "{:?}", outcome.rejects);
        assert_eq!((costs.len(), costs[0].micro, costs[0].purpose), (1, 1_900, "test"));
        let request = request(&stage, &made_up(NOW));
        assert!(!request.messages[1].text.contains("host-1 \"") && request.messages[1].text.contains("U1"));
    }
}
