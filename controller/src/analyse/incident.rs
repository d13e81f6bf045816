//! Incidents from groups of findings: open, update, join, close, with hysteresis. Pure.

use std::collections::BTreeSet;

use sysop_common::finding::{Category, Finding, fingerprint};
use sysop_common::ids::HostId;
use sysop_common::time::{HOUR_MS, MINUTE_MS, SECOND_MS, UnixMs};

use super::correlate::Group;
use crate::store::incidents::Incident;

/// What comes back within this time of its closing is the same incident again.
pub const REOPEN_MS: i64 = HOUR_MS;
/// An open incident is written again for its time alone this often.
const TOUCH_MS: i64 = MINUTE_MS;
/// Trouble that can no longer be observed is given up after this long.
const LOST_MS: i64 = HOUR_MS;
/// Most findings that an incident keeps, past ones included.
const MAX_FINDINGS: usize = 32;
/// Most incidents that a host has open at a time: one that makes up trouble fills neither the store nor
/// anybody's day.
const MAX_OPEN: usize = 32;
/// Most incidents that are opened for one host within [`REOPEN_MS`].
const MAX_OPENINGS: usize = 128;

/// What is to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A new incident; its id is not looked at.
    Open(Incident),
    /// One that was closed within [`REOPEN_MS`] goes on.
    Reopen(Incident),
    /// Something of it changed; `true` when people should see it.
    Update(Incident, bool),
    /// It is over; `close_why` says why.
    Close(Incident),
}

impl Change {
    /// The incident after the change.
    #[must_use]
    pub const fn incident(&self) -> &Incident {
        match self {
            Self::Open(incident)
            | Self::Reopen(incident)
            | Self::Update(incident, _)
            | Self::Close(incident) => incident,
        }
    }
}

/// How things stand beside the findings.
pub struct Stand<'a> {
    /// Of which host; `None` for the fleet.
    pub host: Option<HostId>,
    /// The time.
    pub now: UnixMs,
    /// Time of the newest sample that was looked at.
    pub looked: UnixMs,
    /// Whether the look tells if a finding's trouble holds.
    pub observes: &'a dyn Fn(&Finding) -> bool,
    /// Incidents with a repair whose effect was seen, and when.
    pub repaired: &'a [(i64, UnixMs)],
}

/// What follows from `groups` for the open and lately closed incidents in `known`.
#[must_use]
pub fn reconcile(groups: &[Group], known: &[Incident], stand: &Stand<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut taken: BTreeSet<i64> = BTreeSet::new();
    // An incident goes on with the group that has what it was opened for, should its findings part.
    let named = |group: &&Group| {
        let named = |i: &Incident| group.findings.iter().any(|f| f.fingerprint() == i.fingerprint);
        known.iter().any(|i| i.closed_at.is_none() && named(i))
    };
    let (first, rest): (Vec<&Group>, Vec<&Group>) = groups.iter().partition(named);
    for group in first.into_iter().chain(rest) {
        let free = |incident: &&Incident| !taken.contains(&incident.id);
        let is_open = |incident: &&Incident| incident.closed_at.is_none();
        let open: Vec<&Incident> =
            known.iter().filter(is_open).filter(free).filter(|i| holds(i, group)).collect();
        let wanted = |i: &Incident| groups.iter().any(|other| holds(i, other));
        let past = || known.iter().filter(is_open).filter(free).find(|i| knows(i, group) && !wanted(i));
        let gone = |i: &&Incident| came_back(i, stand.now) && holds(i, group) && free(i);
        let closed = || known.iter().rfind(gone);
        let Some(first) = open.first().copied().or_else(past).or_else(closed) else {
            if may_open(known, &changes, stand.now) {
                changes.push(Change::Open(opened(group, stand)));
            } else {
                let trouble = group.findings.first().map(Finding::fingerprint);
                tracing::warn!(host = ?stand.host, trouble, "not opened: the host has too many incidents");
            }
            continue;
        };
        taken.extend(open.iter().map(|incident| incident.id));
        taken.insert(first.id);
        for other in open.iter().skip(1) {
            changes.push(close(other, format!("joined with incident {}", first.id), stand.now));
        }
        let others: Vec<&Finding> = open.iter().skip(1).flat_map(|other| &other.findings).collect();
        changes.extend(updated(first, group, &others, stand));
    }
    for incident in known.iter().filter(|i| i.closed_at.is_none() && !taken.contains(&i.id)) {
        changes.extend(quiet(incident, stand));
    }
    // Closings first: they free what openings may need.
    changes.sort_by_key(|change| !matches!(change, Change::Close(_)));
    changes
}

/// Whether there is room for one more incident of this host.
fn may_open(known: &[Incident], changes: &[Change], now: UnixMs) -> bool {
    let new = changes.iter().filter(|change| matches!(change, Change::Open(_))).count();
    let open = known.iter().filter(|incident| incident.closed_at.is_none()).count();
    let lately = known.iter().filter(|incident| now.since(incident.opened_at) <= REOPEN_MS).count();
    open + new < MAX_OPEN && lately + new < MAX_OPENINGS
}

fn came_back(incident: &Incident, now: UnixMs) -> bool {
    let joined = incident.close_why.as_deref().is_some_and(|why| why.starts_with("joined"));
    !joined && incident.closed_at.is_some_and(|at| now.since(at) <= REOPEN_MS)
}

/// Whether the group is about trouble that the incident was opened for, or that it holds now.
fn holds(incident: &Incident, group: &Group) -> bool {
    group.findings.iter().any(|finding| {
        let fingerprint = finding.fingerprint();
        let active = |known: &Finding| known.active && known.fingerprint() == fingerprint;
        incident.fingerprint == fingerprint || incident.findings.iter().any(active)
    })
}

/// Whether the group is about trouble that the incident has, or had.
fn knows(incident: &Incident, group: &Group) -> bool {
    let had = |finding: &Finding| {
        let fingerprint = finding.fingerprint();
        incident.findings.iter().any(|known| known.fingerprint() == fingerprint)
    };
    holds(incident, group) || group.findings.iter().any(had)
}

fn opened(group: &Group, stand: &Stand<'_>) -> Incident {
    let root = &group.findings[0];
    let mut incident = Incident {
        id: 0,
        host: stand.host,
        fingerprint: root.fingerprint(),
        category: root.category,
        entity: root.entity.clone(),
        severity: root.severity,
        title: String::new(),
        cause: String::new(),
        confidence: 0,
        findings: group.findings.clone(),
        offers: group.offers.clone(),
        opened_at: stand.now,
        updated_at: stand.now,
        last_true: root.last_true,
        closed_at: None,
        close_why: None,
        acked_by: None,
        acked_at: None,
        opens: 1,
    };
    describe(&mut incident);
    incident
}

/// Takes what an incident says of itself from its findings, the root first.
fn describe(incident: &mut Incident) {
    let Some(root) = incident.findings.first() else { return };
    incident.category = root.category;
    incident.entity = root.entity.clone();
    incident.title = root.title.clone();
    incident.cause = root.cause.clone();
    incident.confidence = root.confidence;
    let active = incident.findings.iter().filter(|finding| finding.active);
    if let Some(worst) = active.map(|finding| finding.severity).max() {
        incident.severity = worst;
    }
    let last = incident.findings.iter().map(|finding| finding.last_true).max();
    incident.last_true = last.unwrap_or(incident.last_true).max(incident.last_true);
}

fn updated(known: &Incident, group: &Group, others: &[&Finding], stand: &Stand<'_>) -> Option<Change> {
    let mut next = known.clone();
    next.findings = group.findings.iter().map(|finding| merged(known, others, finding)).collect();
    let here: BTreeSet<String> = next.findings.iter().map(Finding::fingerprint).collect();
    let past = known.findings.iter().chain(others.iter().copied());
    for old in past.filter(|old| !here.contains(&old.fingerprint())) {
        let mut old = old.clone();
        old.active &= !(stand.observes)(&old);
        next.findings.push(old);
    }
    next.findings.truncate(MAX_FINDINGS);
    next.offers = group.offers.clone();
    describe(&mut next);
    if known.closed_at.is_some() {
        next.closed_at = None;
        next.close_why = None;
        next.opens = known.opens.saturating_add(1);
        next.updated_at = stand.now;
        // Whoever knew of it knows of what was; now it is news.
        return Some(Change::Reopen(next));
    }
    written(known, next, stand.now)
}

/// A finding that goes on keeps its beginning, and the evidence of it once the window has moved on.
fn merged(known: &Incident, others: &[&Finding], new: &Finding) -> Finding {
    let old = known
        .findings
        .iter()
        .chain(others.iter().copied())
        .find(|old| old.active && old.fingerprint() == new.fingerprint());
    let Some(old) = old else { return new.clone() };
    let mut next = new.clone();
    next.onset = old.onset.min(new.onset);
    let change = |finding: &Finding| finding.evidence.first().is_some_and(|row| row.before.is_some());
    let kept = matches!(
        new.category,
        Category::UnitFailed | Category::UnitFlapping | Category::OomKill | Category::FsReadOnly
    );
    if kept && change(old) {
        next.evidence = old.evidence.clone();
        // The same kill, seen in a window that moved on: what was made of it then stands.
        if new.category == Category::OomKill && new.last_true == old.last_true {
            (next.culprit, next.cause) = (old.culprit.clone(), old.cause.clone());
        }
    }
    if next.culprit.is_none() {
        next.culprit = old.culprit.clone();
    }
    next
}

/// The update, unless nothing but the time changed a moment ago.
fn written(known: &Incident, mut next: Incident, now: UnixMs) -> Option<Change> {
    let visible = |incident: &Incident| {
        let findings: Vec<_> = incident
            .findings
            .iter()
            .map(|f| (f.fingerprint(), f.active, f.severity, f.cause.clone(), f.caused_by.clone()))
            .collect();
        (incident.title.clone(), incident.severity, incident.offers.clone(), findings)
    };
    let news = visible(known) != visible(&next);
    if !news && next.last_true.since(known.last_true) < TOUCH_MS {
        return None;
    }
    next.updated_at = now;
    Some(Change::Update(next, news))
}

/// An open incident of which nothing was found: its trouble is over for now, or over.
fn quiet(known: &Incident, stand: &Stand<'_>) -> Option<Change> {
    let mut next = known.clone();
    for finding in next.findings.iter_mut().filter(|finding| finding.active) {
        finding.active = !(stand.observes)(finding);
    }
    if next.findings.iter().any(|finding| finding.active) {
        // Not observed: neither confirmed nor over, until it is given up.
        if stand.looked.since(known.last_true) >= LOST_MS {
            return Some(close(&next, "it can no longer be observed".to_owned(), stand.now));
        }
        return None;
    }
    next.offers.clear();
    let repaired = stand.repaired.iter().any(|(id, at)| *id == known.id && *at >= known.last_true);
    let quiet_ms = next.findings.iter().map(|finding| quiet_ms(finding.category, repaired)).max();
    if stand.looked.since(known.last_true) >= quiet_ms.unwrap_or(0) && stand.looked > known.last_true {
        let why = if repaired { "repaired; the effect was seen" } else { "the trouble is gone" };
        return Some(close(&next, why.to_owned(), stand.now));
    }
    written(known, next, stand.now)
}

/// How long trouble must be away before its incident is closed.
fn quiet_ms(category: Category, repaired: bool) -> i64 {
    match category {
        Category::UnitFlapping | Category::OomKill | Category::AgentClone => 30 * MINUTE_MS,
        Category::DiskFill | Category::InodeFill if !repaired => 10 * MINUTE_MS,
        // Soft findings hold down to a third of what opens them, and must be away for this long.
        Category::MemoryLeak
        | Category::LogFlood
        | Category::BruteForce
        | Category::DnsFailure
        | Category::IoLimited
        | Category::CpuPressure
        | Category::CpuThrottled
        | Category::CpuSteal
        | Category::IoPressure
        | Category::MemoryPressure
        | Category::NetLoss
        | Category::ConnectionFlood
        | Category::ClockSkew => {
            if repaired {
                MINUTE_MS
            } else {
                10 * MINUTE_MS
            }
        }
        // Answers in a row are waited for where they are counted.
        Category::ProbeFailed | Category::CertificateExpiry => 0,
        _ if repaired => 0,
        Category::FsReadOnly => MINUTE_MS,
        _ => 30 * SECOND_MS,
    }
}

fn close(known: &Incident, why: String, now: UnixMs) -> Change {
    let mut next = known.clone();
    next.findings.iter_mut().for_each(|finding| finding.active = false);
    next.offers.clear();
    next.closed_at = Some(now);
    next.updated_at = now;
    next.close_why = Some(why);
    Change::Close(next)
}

/// Closes what belongs to a host that was removed.
#[must_use]
pub fn removed(known: &Incident, now: UnixMs) -> Change {
    close(known, "the host was removed".to_owned(), now)
}

/// Fingerprints of findings that are active in open incidents.
#[must_use]
pub fn active(known: &[Incident]) -> BTreeSet<String> {
    known
        .iter()
        .filter(|incident| incident.closed_at.is_none())
        .flat_map(|incident| incident.findings.iter().filter(|finding| finding.active))
        .map(|finding| fingerprint(finding.category, &finding.entity))
        .collect()
}
