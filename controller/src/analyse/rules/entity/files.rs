//! Processes, and hosts, that come near their limit of open files.

use sysop_common::finding::{Category, Finding, Severity, fingerprint};
use sysop_common::metric;
use sysop_common::time::{MINUTE_MS, SECOND_MS};

use super::super::soft::{found, percent};
use super::{
    CLOSE, Detector, HostInput, Look, Rows, culprit_of, entity_of, minutes_left, odds_at, process, row, since,
};

/// Share of its limit at which a process is told, and the shares of the host's at which it is.
const SHARE: f64 = 0.8;
const HOST: (f64, f64) = (0.7, 0.9);
/// From half of the limit on, an end within so many minutes is told.
const HALF: f64 = 0.5;
const SOON_MINUTES: f64 = 60.0;

/// Open files.
pub(super) struct OpenFiles;

impl Detector for OpenFiles {
    fn category(&self) -> Category {
        Category::FdExhaustion
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["task.fds", "task.fds.max", "fd.used", "fd.max"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        let pids = latest.labels(metric::TASK_FDS_MAX);
        let mut found: Vec<Finding> = Vec::new();
        for finding in host(input, latest).into_iter().chain(pids.filter_map(|pid| near(input, latest, pid)))
        {
            if !found.iter().any(|known| known.entity == finding.entity) {
                found.push(finding);
            }
        }
        found
    }

    fn odds(&self, input: &HostInput, finding: &Finding) -> Option<f64> {
        let latest = input.window.latest()?;
        if finding.entity == "host" {
            return None;
        }
        let pids = latest.labels(metric::TASK_FDS_MAX);
        let of = |pid: &&str| process(latest, pid).is_some_and(|p| entity_of(p) == finding.entity);
        let share = pids.filter(of).filter_map(|pid| share(latest, pid)).fold(0.0, f64::max);
        // What nears its limit without a break is no chance.
        Some(odds_at(share.max(SHARE) * 2.0, SHARE))
    }

    fn observes(&self, input: &HostInput, entity: &str) -> bool {
        let id = if entity == "host" { metric::FD_USED } else { metric::TASK_FDS };
        input.window.latest().is_some_and(|latest| latest.value(id, "").is_some())
    }
}

fn share(look: Look<'_>, pid: &str) -> Option<f64> {
    let (used, max) = (look.value(metric::TASK_FDS, pid)?, look.value(metric::TASK_FDS_MAX, pid)?);
    (max > 0).then(|| used as f64 / max as f64)
}

fn near(input: &HostInput, latest: Look<'_>, pid: &str) -> Option<Finding> {
    let process = process(latest, pid)?;
    let entity = entity_of(process);
    let share = share(latest, pid)?;
    let open = input.open.contains(&fingerprint(Category::FdExhaustion, &entity));
    let limit = if open { SHARE * CLOSE } else { SHARE };
    let max = latest.value(metric::TASK_FDS_MAX, pid)? as f64;
    let left = (share >= HALF).then(|| minutes_left(input, metric::TASK_FDS, pid, max)).flatten();
    let soon = left.filter(|left| *left < SOON_MINUTES);
    if share < limit && soon.is_none() {
        return None;
    }
    let say = input.text();
    let onset = since(input, |look| super::files::share(look, pid).map(|share| share >= HALF));
    let mut finding =
        found(input, Category::FdExhaustion, &entity, onset, odds_at(share.max(SHARE) * 2.0, SHARE));
    finding.title = say.say("fd.title", &[("who", &entity)]);
    finding.cause = match soon {
        Some(left) => {
            let span = say.span((left * MINUTE_MS as f64) as i64);
            say.say("fd.cause.soon", &[("comm", &process.comm), ("pid", &process.pid), ("span", &span)])
        }
        None => say.say("fd.cause", &[("comm", &process.comm), ("pid", &process.pid)]),
    };
    if share >= 0.9 {
        finding.severity = Severity::Critical;
    }
    let (told, most) = (latest.value(metric::TASK_FDS, pid)?, max as i64);
    let mut rows = Rows::default();
    let text = say.say("fd.share", &[("used", &told), ("max", &most), ("percent", &percent(share))]);
    row(&mut rows, latest, (metric::TASK_FDS, pid), text);
    finding.evidence = rows.0;
    finding.culprit = Some(culprit_of(process, 100));
    Some(finding)
}

fn host(input: &HostInput, latest: Look<'_>) -> Option<Finding> {
    let share = |look: Look<'_>| {
        let (used, max) = (look.value(metric::FD_USED, "")?, look.value(metric::FD_MAX, "")?);
        (max > 0).then(|| used as f64 / max as f64)
    };
    let now = share(latest)?;
    let open = input.open.contains(&fingerprint(Category::FdExhaustion, "host"));
    let limit = if open { HOST.0 * CLOSE } else { HOST.0 };
    let onset = since(input, |look| share(look).map(|share| share >= limit));
    if now < limit || latest.at().since(onset) < 30 * SECOND_MS {
        return None;
    }
    let say = input.text();
    let mut finding = super::fact(input, Category::FdExhaustion, "host", onset);
    finding.severity = if now >= HOST.1 { Severity::Critical } else { Severity::Warning };
    finding.title = say.say("fd.host.title", &[]);
    finding.cause = say.say("fd.host.cause", &[]);
    let mut rows = Rows::default();
    let text = say.say("fd.host.share", &[("percent", &percent(now))]);
    row(&mut rows, latest, (metric::FD_USED, ""), text);
    finding.evidence = rows.0;
    Some(finding)
}
