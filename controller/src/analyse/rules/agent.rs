//! Two agents with one host's certificate.

use sysop_common::finding::{Category, Finding, Severity, Value};

use super::{Detector, HostInput, Rows};

/// What the link writes for a second live session.
const CLONE: &str = "agent_clone";

/// A second live session on one certificate, refused by the link.
pub(super) struct Clone;

impl Detector for Clone {
    fn category(&self) -> Category {
        Category::AgentClone
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["link: refused sessions"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let clones = || input.events.iter().filter(|event| event.kind == CLONE);
        let (Some(first), Some(last)) = (clones().next(), clones().next_back()) else { return Vec::new() };
        let mut rows = Rows::default();
        let say = input.text();
        let text = say.say("agent.clone.refused", &[("detail", &last.detail)]);
        rows.value(("link.refused", "agent"), last.at, Value::Word(last.detail.clone()), text);
        vec![Finding {
            category: Category::AgentClone,
            entity: "agent".to_owned(),
            severity: Severity::Critical,
            confidence: 95,
            onset: first.at,
            last_true: last.at,
            active: true,
            title: say.say("agent.clone.title", &[]),
            cause: say.say("agent.clone.cause", &[]),
            culprit: None,
            evidence: rows.0,
            not_observed: Vec::new(),
            caused_by: None,
        }]
    }

    fn observes(&self, _: &HostInput, _: &str) -> bool {
        true
    }
}
