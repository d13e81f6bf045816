//! Space held by files that were deleted while somebody has them open.

use sysop_common::finding::{Category, Finding, Severity, fingerprint};
use sysop_common::metric;

use super::super::soft::percent;
use super::{CLOSE, Detector, HostInput, Look, Rows, culprit_of, fact, process, row, since};
use crate::analyse::messages::bytes;

/// Share of a file system that is told.
const SHARE: f64 = 0.1;
/// Who holds at least this share of it is named.
const HOLDS: f64 = 0.5;

/// Deleted files that are open.
pub(super) struct DeletedOpen;

impl Detector for DeletedOpen {
    fn category(&self) -> Category {
        Category::DeletedOpen
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["fs.deleted_open", "fs.total", "task.deleted_open"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        let mounts = latest.labels(metric::FS_DELETED_OPEN).filter(|mount| !mount.is_empty());
        mounts.filter_map(|mount| held(input, latest, mount)).collect()
    }

    fn observes(&self, input: &HostInput, _: &str) -> bool {
        input.window.latest().is_some_and(|latest| latest.value(metric::FS_DELETED_OPEN, "").is_some())
    }
}

fn share(look: Look<'_>, mount: &str) -> Option<f64> {
    let total = look.value(metric::FS_TOTAL, mount).filter(|total| *total > 0)?;
    Some(look.value(metric::FS_DELETED_OPEN, mount)? as f64 / total as f64)
}

fn held(input: &HostInput, latest: Look<'_>, mount: &str) -> Option<Finding> {
    let now = share(latest, mount)?;
    let open = input.open.contains(&fingerprint(Category::DeletedOpen, mount));
    let limit = if open { SHARE * CLOSE } else { SHARE };
    if now < limit {
        return None;
    }
    let say = input.text();
    let onset = since(input, |look| Some(share(look, mount).unwrap_or(0.0) >= limit));
    let mut finding = fact(input, Category::DeletedOpen, mount, onset);
    finding.severity = Severity::Warning;
    finding.title = say.say("deleted.title", &[("mount", &mount)]);
    let all = latest.value(metric::FS_DELETED_OPEN, mount)? as f64;
    let mut rows = Rows::default();
    let amount = bytes(all);
    let text =
        say.say("deleted.share", &[("amount", &amount), ("mount", &mount), ("percent", &percent(now))]);
    row(&mut rows, latest, (metric::FS_DELETED_OPEN, mount), text);
    let holders = latest.labels(metric::TASK_DELETED_OPEN);
    let bytes_of = |pid: &&str| latest.value(metric::TASK_DELETED_OPEN, pid).unwrap_or(0);
    let most = holders.max_by_key(bytes_of);
    let holder = most.and_then(|pid| Some((pid, process(latest, pid)?)));
    finding.cause = say.say("deleted.cause", &[]);
    if let Some((pid, process)) = holder {
        let held = bytes_of(&pid) as f64;
        // It may hold files of other mounts as well: of this one at least what the others cannot account for.
        let sum = latest.value(metric::FS_DELETED_OPEN, "").unwrap_or(0) as f64;
        let part = ((held - (sum - all).max(0.0)) / all).clamp(0.0, 1.0);
        let held = bytes(held);
        let text =
            say.say("deleted.holder", &[("comm", &process.comm), ("pid", &process.pid), ("amount", &held)]);
        row(&mut rows, latest, (metric::TASK_DELETED_OPEN, pid), text);
        if part >= HOLDS {
            let share = u8::try_from(percent(part)).unwrap_or(100);
            finding.culprit = Some(culprit_of(process, share));
        }
    }
    finding.evidence = rows.0;
    Some(finding)
}
