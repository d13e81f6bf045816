//! What counts of an answer, spelled for people.

use serde::{Deserialize, Serialize};
use sysop_common::action::{Action, Risk};
use sysop_common::finding::Category;

use super::{Reject, Weight};
use crate::analyse::model::evidence::Sheet;
use crate::analyse::model::redact::Redactor;
use crate::analyse::model::sanitise::prose;
use crate::analyse::model::schema::{Direction, Reply, Said, Verdict};

/// What a model makes of an incident, as far as it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    /// What it says it is.
    pub verdict: Verdict,
    /// Its findings.
    pub views: Vec<View>,
}

/// One finding of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// What kind.
    pub category: Category,
    /// The cause, by its name.
    pub root: Option<String>,
    /// Whether the rules name the same cause.
    pub agrees: bool,
    /// What suffers, by name.
    pub affected: Vec<String>,
    /// Risk of what it proposes.
    pub risk: Risk,
    /// How sure it says it is, in percent. Never shown without what comes of it by experience.
    pub confidence: u8,
    /// One line; empty when it is in the wrong language.
    pub title: String,
    /// A few sentences; empty as the title.
    pub summary: String,
    /// How it got there; empty as the title.
    pub reasoning: String,
    /// Rows that speak for it, as they stood in the request, spelled.
    pub evidence: Vec<String>,
    /// Rows that speak against it.
    pub against: Vec<String>,
    /// Offers that it chooses.
    pub picks: Vec<Pick>,
}

/// An offer that a model chooses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pick {
    /// The analyser's action, with its parameters.
    pub action: Action,
    /// Why.
    pub why: String,
    /// What should be seen: metric, where it goes, within how many seconds.
    pub expect: (String, Direction, i64),
}

impl Opinion {
    pub(super) fn of(reply: &Reply, sheet: &Sheet, rejects: &[Reject], redactor: &Redactor) -> Self {
        let none = |weight| !rejects.iter().any(|reject| reject.weight == weight);
        let (actions, text) = (none(Weight::Action), none(Weight::Text));
        let views = reply.findings.iter().map(|said| view(said, sheet, redactor, actions, text)).collect();
        Self { verdict: reply.verdict, views }
    }
}

fn view(said: &Said, sheet: &Sheet, redactor: &Redactor, actions: bool, text: bool) -> View {
    let spelled = |words: &str, most: usize| {
        if text { prose(&redactor.restore(&sheet.names.spelled(words)), most) } else { String::new() }
    };
    let name = |handle: &String| sheet.names.get(handle).map(|named| prose(&named.raw, 96));
    let row = |handle: &str| sheet.row(handle).map(|row| prose(&sheet.names.spelled(&row.line), 200));
    let picks = said.actions.iter().filter(|_| actions).filter_map(|action| {
        let choice = sheet.offers.iter().find(|choice| choice.handle == action.offer)?;
        let metric = sheet.names.get(&action.expect.metric)?.raw.clone();
        Some(Pick {
            action: choice.action().clone(),
            why: spelled(&action.why, 300),
            expect: (metric, action.expect.dir, action.expect.within_s),
        })
    });
    View {
        category: said.category,
        root: said.root.as_ref().and_then(name),
        agrees: agrees(said, sheet),
        affected: said.affected.iter().filter_map(name).collect(),
        risk: said.risk,
        confidence: u8::try_from(said.confidence).unwrap_or(0).min(100),
        title: spelled(&said.title, 120),
        summary: spelled(&said.summary, 600),
        reasoning: spelled(&said.reasoning, 1_200),
        evidence: said.evidence.iter().filter_map(|cite| row(&cite.row)).collect(),
        against: said.against.iter().filter_map(|handle| row(handle)).collect(),
        picks: picks.collect(),
    }
}

/// Whether the cause is one that the rules name for a finding, as its entity or its culprit.
fn agrees(said: &Said, sheet: &Sheet) -> bool {
    let Some(root) = &said.root else { return false };
    sheet.findings.iter().any(|shown| {
        let same = shown.entity == *root || shown.culprit.as_ref() == Some(root);
        same && sheet
            .findings
            .first()
            .is_some_and(|first| first.handle == shown.handle || shown.category == said.category)
    })
}
