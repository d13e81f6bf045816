//! Ended processes that their parent does not collect.

use sysop_common::finding::{Category, Finding, Severity, fingerprint};
use sysop_common::metric;
use sysop_common::time::{MINUTE_MS, SECOND_MS};

use super::{Detector, HostInput, Look, Rows, culprit_of, entity_of, fact, lasts, process, row, since};
use crate::analyse::statistics::trend::trend;

/// So many of one parent are told when they grow in number, and so many in any case.
const SOME: i64 = 50;
pub(super) const MANY: i64 = 200;
/// They must have been there for so long: a parent may collect in its own time.
const HELD_MS: i64 = 50 * SECOND_MS;

/// Zombies by parent.
pub(super) struct Zombies;

impl Detector for Zombies {
    fn category(&self) -> Category {
        Category::Zombies
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["tasks.zombie", "task.zombies", "process.unit"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        latest.labels(metric::TASK_ZOMBIES).filter_map(|pid| left(input, latest, pid)).collect()
    }

    fn observes(&self, input: &HostInput, _: &str) -> bool {
        input.window.latest().is_some_and(|latest| latest.value(metric::TASKS_ZOMBIE, "").is_some())
    }
}

fn left(input: &HostInput, latest: Look<'_>, pid: &str) -> Option<Finding> {
    let count = latest.value(metric::TASK_ZOMBIES, pid)?;
    let parent = process(latest, pid)?;
    let entity = entity_of(parent);
    let open = input.open.contains(&fingerprint(Category::Zombies, &entity));
    let limit = if count >= MANY { MANY } else { SOME };
    let held = lasts(input, metric::TASK_ZOMBIES, pid, limit, HELD_MS);
    let holds = if open { count >= SOME / 2 } else { held && (count >= MANY || grow(input, pid)) };
    if !holds {
        return None;
    }
    let say = input.text();
    let onset = since(input, |look| look.value(metric::TASK_ZOMBIES, pid).map(|count| count >= SOME / 2));
    let mut finding = fact(input, Category::Zombies, &entity, onset);
    finding.severity = Severity::Warning;
    let comm = &parent.comm;
    finding.title = say.say("zombies.title", &[("who", &entity)]);
    finding.cause = say.say("zombies.cause", &[("comm", comm), ("pid", &pid)]);
    let mut rows = Rows::default();
    let text = say.say("zombies.count", &[("count", &count), ("comm", comm), ("pid", &pid)]);
    row(&mut rows, latest, (metric::TASK_ZOMBIES, pid), text);
    finding.evidence = rows.0;
    let all = latest.value(metric::TASKS_ZOMBIE, "").unwrap_or(count).max(1);
    let share = u8::try_from(count.saturating_mul(100) / all).unwrap_or(100).min(100);
    finding.culprit = Some(culprit_of(parent, share));
    Some(finding)
}

/// Whether they grow in number for sure.
fn grow(input: &HostInput, pid: &str) -> bool {
    let start = input.window.latest().map(|latest| latest.at().plus(-10 * MINUTE_MS));
    let Some(start) = start else { return false };
    let points: Vec<(f64, f64)> = input
        .window
        .looks()
        .filter(|look| look.at() >= start)
        .filter_map(|look| {
            let count = look.value(metric::TASK_ZOMBIES, pid)?;
            Some((look.at().since(start) as f64 / 60_000.0, count as f64))
        })
        .collect();
    points.len() >= 12 && trend(&points).is_some_and(|slope| slope.low > 0.0)
}
