//! When a model is asked: never about a healthy host, at once about a new incident, and again only where
//! there is something new. Pure.

use sysop_common::finding::{Category, Severity};
use sysop_common::time::{HOUR_MS, MINUTE_MS, SECOND_MS, UnixMs};

use crate::store::incidents::Incident;

/// An incident that is open for longer is asked about again when its evidence changed.
const LONG_MS: i64 = 30 * MINUTE_MS;
/// Questions about one incident are at least this far apart.
pub(super) const APART_MS: i64 = 30 * SECOND_MS;
/// Most questions about one host in an hour: whoever can make incidents cannot make cost of it.
pub(super) const PER_HOST_HOUR: usize = 12;
/// An answer to an equal question holds for this long.
pub const TTL_MS: i64 = 30 * MINUTE_MS;

/// Why a model is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The incident is new.
    Opened,
    /// It became another kind of trouble.
    Category,
    /// Its cause changed.
    Root,
    /// It became better or worse.
    Severity,
    /// It lasts, and there is new evidence.
    Evidence,
    /// The periodic look.
    Periodic,
    /// A person wants it.
    Person,
}

impl Reason {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Category => "category",
            Self::Root => "root",
            Self::Severity => "severity",
            Self::Evidence => "evidence",
            Self::Periodic => "periodic",
            Self::Person => "person",
        }
    }
}

/// How things stood at the last question about an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// When it was asked.
    pub at: UnixMs,
    /// What kind of trouble it was.
    pub category: Category,
    /// Fingerprint of its root.
    pub root: String,
    /// How bad it was.
    pub severity: Severity,
    /// Key of the question.
    pub key: [u8; 32],
    /// Whether there was an answer: a question that failed is asked again at the periodic look.
    pub answered: bool,
}

impl Before {
    /// How things stand now.
    #[must_use]
    pub fn of(incident: &Incident, key: [u8; 32], answered: bool, at: UnixMs) -> Self {
        let root = incident.findings.first().map(|finding| finding.fingerprint()).unwrap_or_default();
        Self { at, category: incident.category, root, severity: incident.severity, key, answered }
    }
}

/// Whether to ask about `incident` under `key`, and why. `hour` are the times of the last hour's
/// questions about its host.
#[must_use]
pub fn reason(
    incident: &Incident,
    key: &[u8; 32],
    before: Option<&Before>,
    hour: &[UnixMs],
    interval_ms: i64,
    now: UnixMs,
) -> Option<Reason> {
    let alive = incident.closed_at.is_none() && incident.host.is_some() && !incident.findings.is_empty();
    let asked = hour.iter().filter(|at| now.since(**at) < HOUR_MS).count();
    if !alive || asked >= PER_HOST_HOUR {
        return None;
    }
    let Some(before) = before else { return Some(Reason::Opened) };
    let since = now.since(before.at);
    if since < APART_MS {
        return None;
    }
    let root = incident.findings.first().map(|finding| finding.fingerprint()).unwrap_or_default();
    if incident.category != before.category {
        return Some(Reason::Category);
    }
    if root != before.root {
        return Some(Reason::Root);
    }
    if incident.severity != before.severity {
        return Some(Reason::Severity);
    }
    let new = *key != before.key;
    if !before.answered && since >= interval_ms.min(TTL_MS) {
        return Some(Reason::Periodic);
    }
    if new && now.since(incident.opened_at) > LONG_MS && since >= interval_ms.min(LONG_MS) {
        return Some(Reason::Evidence);
    }
    (new && since >= interval_ms).then_some(Reason::Periodic)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, Words, incident};
    use super::*;

    const FIVE: i64 = 5 * MINUTE_MS;

    fn open() -> Incident {
        incident(&Words::default())
    }

    fn before(answered: bool) -> Before {
        Before::of(&open(), [1; 32], answered, NOW)
    }

    fn at(ms: i64, incident: &Incident, key: [u8; 32], answered: bool) -> Option<Reason> {
        reason(incident, &key, Some(&before(answered)), &[], FIVE, NOW.plus(ms))
    }

    #[test]
    fn a_new_incident_is_asked_about_at_once_and_an_unchanged_one_never_again() {
        assert_eq!(reason(&open(), &[1; 32], None, &[], FIVE, NOW), Some(Reason::Opened));
        for ms in [0, MINUTE_MS, FIVE, HOUR_MS, 100 * HOUR_MS] {
            assert_eq!(at(ms, &open(), [1; 32], true), None, "{ms}");
        }
    }

    #[test]
    fn what_changed_is_asked_about_again_and_not_at_every_look() {
        let changed = |change: fn(&mut Incident)| {
            let mut incident = open();
            change(&mut incident);
            (at(1_000, &incident, [1; 32], true), at(MINUTE_MS, &incident, [1; 32], true))
        };
        assert_eq!(changed(|i| i.severity = Severity::Warning), (None, Some(Reason::Severity)));
        assert_eq!(changed(|i| i.category = Category::OomKill), (None, Some(Reason::Category)));
        assert_eq!(changed(|i| i.findings[0].entity = "/srv".into()), (None, Some(Reason::Root)));
        // New evidence: at the periodic look.
        assert_eq!(at(MINUTE_MS, &open(), [2; 32], true), None);
        assert_eq!(at(FIVE, &open(), [2; 32], true), Some(Reason::Periodic));
        assert_eq!(at(40 * MINUTE_MS, &open(), [2; 32], true), Some(Reason::Evidence));
        assert_eq!(at(FIVE, &open(), [1; 32], false), Some(Reason::Periodic), "no answer before");
    }

    #[test]
    fn nothing_healthy_closed_or_flooding_is_asked_about() {
        let closed = Incident { closed_at: Some(NOW), ..open() };
        assert_eq!(reason(&closed, &[1; 32], None, &[], FIVE, NOW), None);
        let fleet = Incident { host: None, ..open() };
        assert_eq!(reason(&fleet, &[1; 32], None, &[], FIVE, NOW), None);
        let hour = [NOW.plus(-MINUTE_MS); PER_HOST_HOUR];
        assert_eq!(reason(&open(), &[1; 32], None, &hour, FIVE, NOW), None);
        assert!(reason(&open(), &[1; 32], None, &hour, FIVE, NOW.plus(HOUR_MS)).is_some());
    }
}
