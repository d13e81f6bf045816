//! Many failed sign-ins, from one source or from many.
//!
//! Counts come from records that the system's own programs keep, with the address of the connection; text
//! of a log is never a fact. A source that got in within the last 30 days is nobody's attacker here: its
//! user forgot a password, or a job has an old one.

use sysop_common::finding::{Category, Finding, Severity, fingerprint};
use sysop_common::metric;
use sysop_common::time::{HOUR_MS, MINUTE_MS};

use super::super::soft::found;
use super::{Detector, HostInput, Look, Rows, fact, number, row};
use crate::analyse::entities::grown;
use crate::analyse::statistics::distribution::poisson_tail;

/// Failures of one source in 5 and in 60 minutes from which it is told.
pub(super) const FIVE: i64 = 20;
pub(super) const HOUR: i64 = 30;
/// So many sources with [`HOUR`] failures each are one attack.
const SOURCES: i64 = 5;
/// Failures of all in ten minutes from which they can be told without their sources, how odd they must be,
/// and what is taken for usual where nothing was learned.
const TEN: f64 = 60.0;
const ODD: f64 = 1e-6;
const USUAL: f64 = 20.0;

/// Sign-ins.
pub(super) struct BruteForce;

impl Detector for BruteForce {
    fn category(&self) -> Category {
        Category::BruteForce
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["signin.failed", "signin.failed.5m", "signin.failed.60m", "signin.accepted.30d", "signin.sources"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        let many = latest.value(metric::SIGNIN_SOURCES, "");
        if many.is_some_and(|many| many >= SOURCES) {
            return set(input, latest).into_iter().collect();
        }
        let sources = latest.labels(metric::SIGNIN_FAILED_60M);
        let found: Vec<Finding> = sources.filter_map(|source| one(input, latest, source)).collect();
        if !found.is_empty() {
            return found;
        }
        // Many sources with few failures each are in the sum alone.
        total(input, latest).into_iter().collect()
    }

    fn odds(&self, input: &HostInput, finding: &Finding) -> Option<f64> {
        let many = input.window.latest().and_then(|latest| latest.value(metric::SIGNIN_SOURCES, ""));
        let by_sum =
            finding.entity == "host" || finding.entity == "sources" && many.is_none_or(|n| n < SOURCES);
        by_sum.then(|| rise(input).map_or(1.0, |(_, _, odds)| odds))
    }

    fn observes(&self, input: &HostInput, entity: &str) -> bool {
        let id = if entity == "host" { metric::SIGNIN_FAILED } else { metric::SIGNIN_SOURCES };
        input.window.latest().is_some_and(|latest| latest.value(id, "").is_some())
    }
}

fn counts(look: Look<'_>, source: &str) -> Option<(i64, i64)> {
    Some((look.value(metric::SIGNIN_FAILED_5M, source)?, look.value(metric::SIGNIN_FAILED_60M, source)?))
}

fn one(input: &HostInput, latest: Look<'_>, source: &str) -> Option<Finding> {
    let (five, hour) = counts(latest, source)?;
    let open = input.open.contains(&fingerprint(Category::BruteForce, source));
    let accepted = latest.value(metric::SIGNIN_ACCEPTED_30D, source);
    let many = five >= FIVE || hour >= HOUR;
    // The last hour remembers what is over: it goes on while failures come.
    let holds = if open { five > 0 } else { many };
    if !holds || accepted.is_some_and(|accepted| accepted > 0) {
        return None;
    }
    let say = input.text();
    let ms = if five >= FIVE { 5 * MINUTE_MS } else { HOUR_MS };
    let mut finding = fact(input, Category::BruteForce, source, latest.at().plus(-ms));
    finding.severity = Severity::Warning;
    finding.title = say.say("signin.title", &[("source", &source)]);
    finding.cause = say.say("signin.cause", &[("source", &source)]);
    let mut rows = Rows::default();
    let text = say.say("signin.count", &[("five", &five), ("hour", &hour), ("source", &source)]);
    row(&mut rows, latest, (metric::SIGNIN_FAILED_60M, source), text);
    if accepted.is_some() {
        let text = say.say("signin.never", &[("source", &source)]);
        row(&mut rows, latest, (metric::SIGNIN_ACCEPTED_30D, source), text);
    } else {
        finding.confidence = 90;
        finding.not_observed.push(say.say("signin.unseen.accepted", &[("source", &source)]));
    }
    finding.evidence = rows.0;
    Some(finding)
}

/// Many sources at once.
fn set(input: &HostInput, latest: Look<'_>) -> Option<Finding> {
    let many = latest.value(metric::SIGNIN_SOURCES, "")?;
    let say = input.text();
    let mut finding = fact(input, Category::BruteForce, "sources", latest.at().plus(-HOUR_MS));
    finding.severity = Severity::Warning;
    finding.title = say.say("signin.set.title", &[("count", &many)]);
    finding.cause = say.say("signin.set.cause", &[]);
    let mut rows = Rows::default();
    let text = say.say("signin.set.count", &[("count", &many), ("each", &HOUR)]);
    row(&mut rows, latest, (metric::SIGNIN_SOURCES, ""), text);
    for source in latest.labels(metric::SIGNIN_FAILED_60M) {
        let Some((five, hour)) = counts(latest, source).filter(|(_, hour)| *hour >= HOUR) else { continue };
        let text = say.say("signin.count", &[("five", &five), ("hour", &hour), ("source", &source)]);
        row(&mut rows, latest, (metric::SIGNIN_FAILED_60M, source), text);
    }
    finding.evidence = rows.0;
    Some(finding)
}

/// Failures in ten minutes, what is usual, and how odd that is.
fn rise(input: &HostInput) -> Option<(f64, f64, f64)> {
    let (count, ms) = grown(&input.window, metric::SIGNIN_FAILED, "", 10 * MINUTE_MS)?;
    // Of users who got in before, and forgot, nobody is told.
    let latest = input.window.latest()?;
    let known = |source: &&str| latest.value(metric::SIGNIN_ACCEPTED_30D, source).is_some_and(|n| n > 0);
    let known = latest.labels(metric::SIGNIN_FAILED_5M).filter(known);
    let known: i64 = known.filter_map(|source| latest.value(metric::SIGNIN_FAILED_5M, source)).sum();
    let count = (count * (10 * MINUTE_MS) as f64 / ms - 2.0 * known as f64).max(0.0);
    let usual = input.state.entities.usual("failed:").filter(|usual| usual.is_grown());
    let usual = usual.map_or(USUAL, |usual| usual.mean.max(1.0));
    // Attackers come in waves: three times the usual is not odd yet.
    Some((count, usual, poisson_tail(count.round() as u64, 3.0 * usual)))
}

/// Failures of all sources, where the sources are not observed.
fn total(input: &HostInput, latest: Look<'_>) -> Option<Finding> {
    let (count, usual, odds) = rise(input)?;
    // Where sources are observed and none of them stands out, it is all of them.
    let entity = if latest.value(metric::SIGNIN_SOURCES, "").is_some() { "sources" } else { "host" };
    let open = input.open.contains(&fingerprint(Category::BruteForce, entity));
    let holds = if open { count > 3.0 * usual } else { count >= TEN && odds < ODD };
    if !holds {
        return None;
    }
    let say = input.text();
    let onset = latest.at().plus(-10 * MINUTE_MS);
    let mut finding = found(input, Category::BruteForce, entity, onset, odds);
    finding.title = say.say("signin.total.title", &[]);
    finding.cause = say.say("signin.total.cause", &[]);
    let mut rows = Rows::default();
    let (told, before) = (format!("{count:.0}"), format!("{usual:.0}"));
    let text = say.say("signin.total.count", &[("count", &told), ("usual", &before)]);
    rows.value(("signin.failed", ""), latest.at(), number(count as u64), text);
    finding.evidence = rows.0;
    if latest.value(metric::SIGNIN_SOURCES, "").is_none() {
        finding.not_observed.push(say.say("signin.unseen.sources", &[]));
    }
    Some(finding)
}
