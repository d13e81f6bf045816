//! Findings of one host that belong together, causes over symptoms. Pure.

use std::collections::BTreeMap;

use sysop_common::finding::{Category, Finding, Offer, Value};
use sysop_common::time::{MINUTE_MS, SECOND_MS};

use super::offers::{About, offers};

/// Cause and symptom begin within this time of each other.
const NEAR_MS: i64 = 5 * MINUTE_MS;
/// A cause may be seen this much later than its symptom: sensors look at different times.
const SLACK_MS: i64 = 90 * SECOND_MS;

/// Findings with one root, the root first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// At least one.
    pub findings: Vec<Finding>,
    /// What may be done, best first.
    pub offers: Vec<Offer>,
}

/// Groups active findings. Each keeps one cause at most; what has none is a root.
#[must_use]
pub fn group(mut findings: Vec<Finding>, about: &About<'_>) -> Vec<Group> {
    findings.sort_by(|a, b| (a.category, &a.entity).cmp(&(b.category, &b.entity)));
    let causes: Vec<Option<usize>> = (0..findings.len()).map(|at| cause_of(at, &findings)).collect();
    for (at, cause) in causes.iter().enumerate() {
        let name = cause.map(|cause| findings[cause].fingerprint());
        findings[at].caused_by = name;
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..findings.len() {
        groups.entry(root_of(at, &causes)).or_default().push(at);
    }
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

/// Causes stand before symptoms in the order of categories, so following them ends.
fn root_of(at: usize, causes: &[Option<usize>]) -> usize {
    let mut at = at;
    while let Some(cause) = causes[at] {
        at = cause;
    }
    at
}

/// The finding that explains `at`: of those that can, the one that began first.
fn cause_of(at: usize, findings: &[Finding]) -> Option<usize> {
    let symptom = &findings[at];
    (0..at)
        .filter(|cause| explains(&findings[*cause], symptom))
        .min_by_key(|cause| (findings[*cause].category, findings[*cause].onset, *cause))
}

fn explains(cause: &Finding, symptom: &Finding) -> bool {
    let after = symptom.onset.since(cause.onset);
    let near = (-SLACK_MS..=NEAR_MS).contains(&after);
    match (cause.category, symptom.category) {
        (Category::FsReadOnly, Category::UnitFailed | Category::UnitFlapping) => near,
        (Category::FsReadOnly, Category::DiskFill | Category::InodeFill) => cause.entity == symptom.entity,
        (Category::DiskFill | Category::InodeFill, Category::UnitFailed | Category::UnitFlapping) => {
            exhausted(cause) && after >= -SLACK_MS
        }
        // Files use up both: space first, if both run out.
        (Category::DiskFill, Category::InodeFill) => cause.entity == symptom.entity,
        (Category::OomKill, Category::UnitFailed | Category::UnitFlapping) => {
            near && (cause.entity == symptom.entity || cause.entity == "host")
        }
        (Category::UnitFlapping, Category::UnitFailed) => cause.entity == symptom.entity,
        _ => false,
    }
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
