//! What a probe that fails is told as.

use std::fmt::Display;

use sysop_common::finding::{Category, Evidence, Finding, Severity, Value};
use sysop_common::probe::{Outcome, Reason};
use sysop_common::time::UnixMs;

use crate::analyse::messages::Text;
use crate::store::probes::Probe;
use crate::store::probes::standing::Standing;

/// Of what its incident is.
#[must_use]
pub(super) fn entity(probe: &Probe) -> String {
    format!("probe {}", probe.id)
}

/// Why a try ended as it did, for people.
#[must_use]
pub(super) fn why(say: Text, outcome: &Outcome) -> String {
    let number = outcome.number;
    let key = format!("probe.reason.{}", outcome.reason.word());
    say.say(&key, &[("n", &number)])
}

/// The finding of a probe that is told of; `None` while it is not.
#[must_use]
pub(super) fn finding(say: Text, probe: &Probe, standing: &Standing) -> Option<Finding> {
    let onset = standing.failing_since?;
    let settings = &probe.settings;
    // The last result may be an answer that is not confirmed yet.
    let (told, number) = standing.told.unwrap_or((standing.outcome.reason, standing.outcome.number));
    let expiry = told.is_expiry();
    let severity = match told {
        Reason::CertificateSoon => settings.severity.min(Severity::Warning),
        Reason::CertificateExpired | Reason::CertificateVerySoon => Severity::Critical,
        _ => settings.severity,
    };
    let cause = why(say, &Outcome { number, ..Outcome::of(told) });
    let last = why(say, &standing.outcome);
    let (name, target) = (&settings.name, settings.check.target());
    let title = |key| say.say(key, &[("name", name), ("target", &target)]);
    Some(Finding {
        category: if expiry { Category::CertificateExpiry } else { Category::ProbeFailed },
        entity: entity(probe),
        severity,
        confidence: 95,
        onset,
        last_true: standing.at,
        active: true,
        title: title(if expiry { "probe.expiry.title" } else { "probe.failed.title" }),
        cause,
        culprit: None,
        evidence: rows(say, probe, standing, &last),
        not_observed: Vec::new(),
        caused_by: None,
    })
}

fn rows(say: Text, probe: &Probe, standing: &Standing, reason: &str) -> Vec<Evidence> {
    let row = |number: usize, metric: &str, from: UnixMs, value: Value, text: String| Evidence {
        id: format!("E{number}"),
        metric: metric.to_owned(),
        label: probe.id.to_string(),
        from,
        to: standing.at,
        before: None,
        value,
        text,
    };
    let text = |key, values: &[(&str, &dyn Display)]| say.say(key, values);
    let mut rows = vec![row(
        1,
        "probe.result",
        standing.at,
        Value::Word(standing.outcome.reason.word().to_owned()),
        text("probe.row.last", &[("reason", &reason), ("target", &probe.settings.check.target())]),
    )];
    if standing.fails > 0 {
        let fails = Value::Number(standing.fails.into());
        rows.push(row(
            2,
            "probe.fails",
            standing.since,
            fails,
            text("probe.row.fails", &[("n", &standing.fails)]),
        ));
    } else {
        let (passes, needed) = (standing.passes, probe.settings.successes);
        let told = text("probe.row.passes", &[("n", &passes), ("needed", &needed)]);
        rows.push(row(2, "probe.passes", standing.since, Value::Number(passes.into()), told));
    }
    if let Some(days) = standing.outcome.days {
        let number = rows.len() + 1;
        let told = text("probe.row.days", &[("n", &days)]);
        rows.push(row(number, "probe.certificate_days", standing.at, Value::Number(days), told));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::messages::Language;

    #[test]
    fn every_reason_has_a_text_in_every_language() {
        for language in Language::ALL {
            for reason in Reason::ALL {
                let said = why(language.text(), &Outcome { number: 41, ..Outcome::of(*reason) });
                assert!(!said.starts_with("probe.reason") && !said.contains('{'), "{said}");
                let counts = matches!(reason, Reason::Status | Reason::CertificateSoon | Reason::WrongAnswer);
                assert!(!counts || said.contains("41"), "{said}");
            }
        }
    }
}
