//! A model's opinions as advice on offers. All that it can do is make things wait for a person or count
//! as riskier.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use sysop_common::finding::Offer;

use super::schema::Verdict;
use super::verify::{Opinion, View};
use crate::analyse::seam::{Advice, Adviser};
use crate::store::incidents::Incident;

/// An opinion and what it was about.
#[derive(Debug, Clone)]
struct Held {
    /// Fingerprint of the incident's root at that time: about another cause it says nothing.
    root: String,
    opinion: Arc<Opinion>,
}

/// The opinions that hold, by incident. Cheap to clone: all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Opinions(Arc<RwLock<HashMap<i64, Held>>>);

impl Opinions {
    /// An opinion holds from now on.
    pub fn hold(&self, incident: &Incident, opinion: Opinion) {
        let held = Held { root: root(incident), opinion: Arc::new(opinion) };
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(incident.id, held);
    }

    /// Forgets opinions about other incidents than these.
    pub fn keep(&self, open: &[i64]) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|id, _| open.contains(id));
    }

    fn of(&self, incident: &Incident) -> Option<Arc<Opinion>> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&incident.id).cloned()?;
        (held.root == root(incident)).then_some(held.opinion)
    }
}

fn root(incident: &Incident) -> String {
    incident.findings.first().map(|finding| finding.fingerprint()).unwrap_or_default()
}

impl Adviser for Opinions {
    fn advice(&self, incident: &Incident) -> Vec<Advice> {
        let Some(opinion) = self.of(incident) else { return Vec::new() };
        incident.offers.iter().filter_map(|offer| advise(&opinion, offer)).collect()
    }
}

/// What an opinion says of one offer.
fn advise(opinion: &Opinion, offer: &Offer) -> Option<Advice> {
    let picks = |view: &&View| view.picks.iter().any(|pick| pick.action == offer.action);
    let at_least = opinion.views.iter().filter(picks).map(|view| view.risk).max();
    let doubt = if opinion.verdict == Verdict::Benign {
        Some("the model takes it for ordinary work")
    } else if opinion.verdict == Verdict::Incident && opinion.views.iter().all(|view| !view.agrees) {
        Some("the model names another cause")
    } else {
        None
    };
    let raises = at_least.filter(|least| *least > offer.risk);
    if raises.is_none() && doubt.is_none() {
        return None;
    }
    let why = doubt.map_or_else(|| "the model takes it for riskier".to_owned(), str::to_owned);
    Some(Advice { offer: offer.id.clone(), at_least: raises, withdraw: doubt.is_some(), why })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sysop_common::action::Risk;

    use super::super::redact::Redactor;
    use super::super::testing::{Words, incident, plain, sound};
    use super::super::verify::judge;
    use super::*;
    use crate::analyse::seam::apply;

    fn advised(change: impl FnOnce(&mut Value)) -> Vec<Offer> {
        let (sheet, incident) = (plain(), incident(&Words::default()));
        let mut answer = sound(&sheet);
        change(&mut answer);
        let judged = judge(&answer.to_string(), &sheet, "en", &Redactor::default());
        let opinions = Opinions::default();
        opinions.hold(&incident, judged.opinion.unwrap());
        let mut offers = incident.offers.clone();
        apply(&mut offers, &opinions.advice(&incident));
        offers
    }

    #[test]
    fn an_opinion_raises_and_withdraws_and_changes_nothing_else() {
        let before = incident(&Words::default()).offers;
        assert_eq!(advised(|_| ()), before, "agreement changes nothing");
        assert_eq!(advised(|a| a["findings"][0]["risk"] = json!("low")), before, "nothing is lowered");
        let raised = advised(|a| a["findings"][0]["risk"] = json!("high"));
        assert_eq!((raised[0].risk, raised[1].risk), (Risk::High, before[1].risk));
        let benign = advised(|a| {
            a["verdict"] = json!("benign");
            a["findings"][0]["actions"] = json!([]);
        });
        assert!(benign.iter().all(|offer| !offer.unattended) && benign.len() == before.len());
        let other = advised(|a| {
            a["findings"][0]["root"] = json!("U2");
            a["findings"][0]["evidence"] = json!([{ "row": "E4", "says": "state" }]);
            a["findings"][0]["actions"] = json!([]);
        });
        assert!(other.iter().all(|offer| !offer.unattended), "another cause waits for a person");
        for (offer, was) in benign.iter().zip(&before) {
            assert_eq!((&offer.action, offer.risk, offer.source), (&was.action, was.risk, was.source));
        }
    }

    #[test]
    fn an_opinion_about_another_cause_says_nothing() {
        let (sheet, mut incident) = (plain(), incident(&Words::default()));
        let mut answer = sound(&sheet);
        answer["findings"][0]["risk"] = json!("high");
        let judged = judge(&answer.to_string(), &sheet, "en", &Redactor::default());
        let opinions = Opinions::default();
        opinions.hold(&incident, judged.opinion.unwrap());
        assert_eq!(opinions.advice(&incident).len(), 1);
        incident.findings[0].entity = "/srv".into();
        assert!(opinions.advice(&incident).is_empty());
        opinions.keep(&[]);
        assert!(opinions.of(&super::super::testing::incident(&Words::default())).is_none());
    }
}
