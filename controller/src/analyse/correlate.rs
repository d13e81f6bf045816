//! Findings of one host that belong together, causes over symptoms. Pure.

use std::collections::BTreeMap;

use sysop_common::finding::{Category, Culprit, Finding, Offer, Value};
use sysop_common::time::{MINUTE_MS, SECOND_MS};

use super::offers::{About, holds_data, offers};
use super::operator::told_by;

/// Cause and symptom begin within this time of each other.
const NEAR_MS: i64 = 5 * MINUTE_MS;
/// A cause may be seen this much later than its symptom: sensors look at different times.
const SLACK_MS: i64 = 90 * SECOND_MS;

/// What something else explains weighs half.
const EXPLAINED: f64 = 0.5;

/// Findings with one root, the root first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// At least one.
    pub findings: Vec<Finding>,
    /// What may be done, best first.
    pub offers: Vec<Offer>,
}

/// Groups active findings. Each keeps one cause at most. What explains something and what it explains
/// belong together, and so do findings about one service that begin at once. The root of a group is
/// what nothing explains; of several the surest, then the first.
#[must_use]
pub fn group(mut findings: Vec<Finding>, about: &About<'_>) -> Vec<Group> {
    let key = |finding: &Finding| (rank(finding.category), !holds_data(&finding.entity));
    findings.sort_by(|a, b| (key(a), &a.entity, a.category).cmp(&(key(b), &b.entity, b.category)));
    let causes: Vec<Option<usize>> = (0..findings.len()).map(|at| cause_of(at, &findings)).collect();
    for (at, cause) in causes.iter().enumerate() {
        let name = cause.map(|cause| findings[cause].fingerprint());
        findings[at].caused_by = name;
    }
    let mut sets = Sets::new(findings.len());
    for (at, cause) in causes.iter().enumerate() {
        cause.iter().for_each(|cause| sets.join(at, *cause));
        let same = (0..at).filter(|other| of_one_service(&findings[*other], &findings[at]));
        same.for_each(|other| sets.join(at, other));
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..findings.len() {
        groups.entry(sets.of(at)).or_default().push(at);
    }
    let mut groups: Vec<(usize, Vec<usize>)> =
        groups.into_values().map(|members| (root_of(&members, &findings, &causes), members)).collect();
    groups.sort_by_key(|(root, _)| *root);
    groups
        .into_iter()
        .map(|(root, members)| {
            let rest = members.iter().copied().filter(|at| *at != root);
            let order: Vec<usize> = std::iter::once(root).chain(rest).collect();
            let offers = collect(&order, &findings, &causes, about);
            Group { findings: order.iter().map(|at| findings[*at].clone()).collect(), offers }
        })
        .collect()
}

/// Sets that are joined one pair at a time.
struct Sets(Vec<usize>);

impl Sets {
    fn new(n: usize) -> Self {
        Self((0..n).collect())
    }

    /// The least member of the set of `at`.
    fn of(&self, at: usize) -> usize {
        let mut at = at;
        while self.0[at] != at {
            at = self.0[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.of(a), self.of(b));
        self.0[a.max(b)] = a.min(b);
    }
}

/// What a group is named for.
fn root_of(members: &[usize], findings: &[Finding], causes: &[Option<usize>]) -> usize {
    let score = |at: usize| {
        let finding = &findings[at];
        let sure = f64::from(finding.confidence) / 100.0;
        // A fact weighs its confidence; who is to blame for only a part weighs that part.
        let share = match &finding.culprit {
            Some(Culprit::Unit { share, .. } | Culprit::Process { share, .. }) => f64::from(*share) / 100.0,
            Some(Culprit::Diffuse { .. }) => 0.5,
            None => 1.0,
        };
        if causes[at].is_some() { sure * share * EXPLAINED } else { sure * share }
    };
    let better = |a: &usize, b: &usize| {
        let explained = causes[*b].is_some().cmp(&causes[*a].is_some());
        let sooner = || findings[*b].onset.cmp(&findings[*a].onset);
        explained.then_with(|| score(*a).total_cmp(&score(*b))).then_with(sooner).then_with(|| b.cmp(a))
    };
    members.iter().copied().max_by(better).unwrap_or(0)
}

/// Causes before their symptoms: the order of categories, but for what was named in another order.
fn rank(category: Category) -> (Category, bool) {
    match category {
        Category::CpuSteal | Category::CpuThrottled => (Category::CpuPressure, false),
        Category::Zombies => (Category::PidExhaustion, false),
        Category::ConnectionFlood | Category::NetLoss => (Category::FdExhaustion, false),
        other => (other, true),
    }
}

/// Both are about one service and began within [`NEAR_MS`].
fn of_one_service(a: &Finding, b: &Finding) -> bool {
    let service = |finding: &Finding| match &finding.culprit {
        Some(Culprit::Unit { unit, .. }) => Some(unit.clone()),
        _ => finding.entity.ends_with(".service").then(|| finding.entity.clone()),
    };
    let same = service(a).is_some_and(|unit| service(b).as_ref() == Some(&unit));
    same && a.onset.since(b.onset).abs() <= NEAR_MS
}

/// The finding that explains `at`: of those that can, the one that began first.
fn cause_of(at: usize, findings: &[Finding]) -> Option<usize> {
    let symptom = &findings[at];
    (0..at)
        .filter(|cause| explains(&findings[*cause], symptom))
        .min_by_key(|cause| (rank(findings[*cause].category), findings[*cause].onset, *cause))
}

fn explains(cause: &Finding, symptom: &Finding) -> bool {
    use Category as C;
    let after = symptom.onset.since(cause.onset);
    let near = (-SLACK_MS..=NEAR_MS).contains(&after);
    let later = after >= -SLACK_MS;
    let same = cause.entity == symptom.entity;
    let down = matches!(symptom.category, C::UnitFailed | C::UnitFlapping);
    match (cause.category, symptom.category) {
        (C::FsReadOnly, _) if down => near,
        (C::FsReadOnly, C::DiskFill | C::InodeFill) => same,
        (C::DiskFill | C::InodeFill, _) if down => exhausted(cause) && later,
        // Files use up both: space first, if both run out.
        (C::DiskFill, C::InodeFill) | (C::DeletedOpen, C::DiskFill) => same,
        (C::LogFlood, C::DiskFill | C::InodeFill) => later && (near || to_blame(cause, symptom)),
        (C::LogFlood | C::TimerOverlap, C::IoPressure | C::CpuPressure) => near,
        (C::TimerOverlap, C::MemoryPressure | C::PidExhaustion) => near,
        (C::MemoryLeak, C::MemoryPressure) => later,
        (C::MemoryLeak, C::OomKill) => {
            later && (same || to_blame(cause, symptom) || symptom.entity == "host")
        }
        (C::MemoryPressure, C::OomKill | C::IoPressure | C::CpuPressure | C::StuckProcess) => near,
        (C::OomKill, _) if down => near && (same || cause.entity == "host"),
        (C::FdExhaustion | C::PidExhaustion, _) if down => later && (same || cause.entity == "host"),
        (C::Zombies, C::PidExhaustion) => later && (same || to_blame(cause, symptom)),
        (C::CpuSteal, C::CpuPressure) | (C::NetLoss, C::DnsFailure) => near,
        (C::ConnectionFlood, C::CpuPressure | C::FdExhaustion | C::NetLoss) => near,
        (C::IoPressure, C::StuckProcess) | (C::IoLimited, C::IoPressure) => near,
        (C::CpuPressure | C::MemoryPressure | C::IoPressure, C::UnitHung | C::ProbeFailed) => near,
        (C::DnsFailure, C::ProbeFailed) => near,
        (C::DnsFailure, _) if down => near,
        (C::UnitFlapping, C::UnitFailed) => same,
        // What others need holds data, as a rule: it fails first, and they follow.
        (C::UnitFailed, C::UnitFailed | C::UnitHung) => {
            near && holds_data(&cause.entity) && !holds_data(&symptom.entity)
        }
        (C::UnitFailed | C::UnitFlapping | C::UnitHung, C::MustRun) => same,
        (C::UnitFailed | C::UnitFlapping | C::UnitHung, C::ProbeFailed) => near || same,
        (_, C::RuleBreached) => told_by(cause, symptom),
        _ => false,
    }
}

/// Whether the entity of the one is the culprit of the other, or both have the same culprit.
fn to_blame(cause: &Finding, symptom: &Finding) -> bool {
    let unit = |finding: &Finding| match &finding.culprit {
        Some(Culprit::Unit { unit, .. }) => Some(unit.clone()),
        _ => None,
    };
    let named = unit(symptom);
    named.is_some() && (named.as_ref() == Some(&cause.entity) || named == unit(cause))
}

/// Nothing is left, so that writers fail: a file system that is merely almost full hurts nobody yet.
fn exhausted(finding: &Finding) -> bool {
    let left = finding.evidence.first().map(|row| &row.value);
    // Less than 1 MiB, or than 16 inodes.
    let least = if finding.category == Category::InodeFill { 16 } else { 1 << 20 };
    matches!(left, Some(Value::Number(left)) if *left < least)
}

/// Offers of the root, and of symptoms whose cause does not stand in the way of mending them.
fn collect(order: &[usize], findings: &[Finding], causes: &[Option<usize>], about: &About<'_>) -> Vec<Offer> {
    let mut found: Vec<Offer> = Vec::new();
    for at in order {
        let blocked = |cause: usize| {
            // A kill for memory is over when it is seen. The others last.
            findings[cause].category != Category::OomKill
        };
        if causes[*at].is_some_and(blocked) {
            continue;
        }
        for offer in offers(&findings[*at], about) {
            if !found.iter().any(|known| known.action == offer.action) {
                found.push(offer);
            }
        }
    }
    // What may run by itself comes first: it mends the trouble that lasts.
    found.sort_by_key(|offer| !offer.unattended);
    for (at, offer) in found.iter_mut().enumerate() {
        offer.id = format!("O{}", at + 1);
    }
    found
}
