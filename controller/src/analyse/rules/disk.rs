//! File systems that refuse writes which they took before.

use sysop_common::finding::{Category, Finding, Severity, Value, fingerprint};
use sysop_common::metric;
use sysop_common::time::{HOUR_MS, UnixMs};

use super::{Detector, HostInput, Look, Rows};
use crate::analyse::input::NEW_NORMAL_MS;

/// A flip from writable to read-only: by the samples in memory, or by what was remembered of the last day.
pub(super) struct ReadOnly;

impl Detector for ReadOnly {
    fn category(&self) -> Category {
        Category::FsReadOnly
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["fs.read_only"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        latest
            .labels(metric::FS_READ_ONLY)
            .filter(|mount| flag(latest, mount) == Some(1))
            .filter_map(|mount| flipped(input, latest, mount))
            .collect()
    }

    fn observes(&self, input: &HostInput, entity: &str) -> bool {
        input.window.latest().is_some_and(|latest| flag(latest, entity).is_some())
    }
}

fn flag(look: Look<'_>, mount: &str) -> Option<i64> {
    look.value(metric::FS_READ_ONLY, mount)
}

fn flipped(input: &HostInput, latest: Look<'_>, mount: &str) -> Option<Finding> {
    let writable = input.window.looks().rfind(|look| flag(*look, mount) == Some(0)).map(Look::at);
    let remembered = input.state.memory.writable.get(mount).map(|hour| UnixMs(*hour));
    let recent = |at: &UnixMs| latest.at().since(*at) < NEW_NORMAL_MS + HOUR_MS;
    let before = writable.or(remembered).filter(recent);
    let open = input.open.contains(&fingerprint(Category::FsReadOnly, mount));
    if before.is_none() && !open {
        return None;
    }
    let first = input
        .window
        .looks()
        .find(|look| flag(*look, mount) == Some(1) && writable.is_none_or(|at| look.at() > at))
        .map_or(latest.at(), Look::at);
    let mut rows = Rows::default();
    let was = before.map(|at| (at, Value::Number(0)));
    let say = input.text();
    let text = say.say("disk.read_only.was", &[("mount", &mount)]);
    rows.change(("fs.read_only", mount), was, (first, Value::Number(1)), text);
    Some(Finding {
        category: Category::FsReadOnly,
        entity: mount.to_owned(),
        severity: Severity::Critical,
        confidence: 100,
        onset: first,
        last_true: latest.at(),
        active: true,
        title: say.say("disk.read_only.title", &[("mount", &mount)]),
        cause: say.say("disk.read_only.cause", &[]),
        culprit: None,
        evidence: rows.0,
        not_observed: vec![say.say("disk.read_only.log", &[])],
        caused_by: None,
    })
}
