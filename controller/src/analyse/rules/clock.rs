//! A host's clock that is wrong: by the kernel's own word, or by when its samples arrive.

use sysop_common::finding::{Category, Culprit, Finding, Severity, Value, fingerprint};
use sysop_common::metric;
use sysop_common::sample::Active;
use sysop_common::time::MINUTE_MS;

use super::soft::found;
use super::{Detector, HostInput, Look, Rows};

/// The kernel's offset to its time source, in µs, over ten minutes.
const OFFSET_US: i64 = 50_000;
const LASTING_MS: i64 = 10 * MINUTE_MS;
/// Samples arrive after they are taken: one that comes from the future by this much, in ms, tells of a
/// clock that is ahead. Delay makes a clock look slow, so for that the least delay must be this long.
const AHEAD_MS: i64 = 500;
const BEHIND_MS: i64 = 5_000;
/// The fastest of so many samples count, and they must agree within this much.
const FASTEST: usize = 8;
const AGREE_MS: i64 = 1_000;
/// Beyond this, certificates and logs are of no use.
const CRITICAL_MS: i64 = 60_000;
/// Services that set the clock.
const KEEPERS: &[&str] = &[
    "systemd-timesyncd.service",
    "chrony.service",
    "chronyd.service",
    "ntp.service",
    "ntpd.service",
    "ntpsec.service",
];

/// A wrong clock.
pub(super) struct Clock;

impl Detector for Clock {
    fn category(&self) -> Category {
        Category::ClockSkew
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["clock.offset", "clock.synced", "arrival of samples"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        skew(input).into_iter().collect()
    }

    fn odds(&self, _: &HostInput, _: &Finding) -> Option<f64> {
        // Measured, not estimated; but a clock is set right by its own service often enough.
        Some(1e-6)
    }

    fn observes(&self, input: &HostInput, _: &str) -> bool {
        input.window.looks().count() >= 3
    }
}

/// How far the host's clock is off by when its samples arrive, in ms: positive when it is ahead.
fn by_arrival(input: &HostInput) -> Option<i64> {
    let latest = input.window.latest()?;
    // What was kept while the link was down arrives late: only what came as it was taken tells.
    let mut delays: Vec<i64> =
        input.window.last(5 * MINUTE_MS).filter(|look| look.same_boot(latest)).map(Look::delay_ms).collect();
    delays.sort_unstable();
    delays.truncate(FASTEST);
    let (least, most) = (*delays.first()?, *delays.last()?);
    if delays.len() < 3 || most - least > AGREE_MS {
        return None;
    }
    let middle = delays[delays.len() / 2];
    (middle <= -AHEAD_MS || middle >= BEHIND_MS).then_some(-middle)
}

/// The kernel's offset in µs, if it was too large in each look for long enough.
fn by_kernel(input: &HostInput, open: bool) -> Option<i64> {
    let limit = if open { OFFSET_US / 3 } else { OFFSET_US };
    let latest = input.window.latest()?;
    let offset = |look: Look<'_>| look.value(metric::CLOCK_OFFSET, "");
    let now = offset(latest).filter(|offset| offset.abs() >= limit)?;
    let stretch =
        input.window.looks().rev().take_while(|look| offset(*look).is_some_and(|o| o.abs() >= limit));
    let since = stretch.last()?.at();
    (open || latest.at().since(since) >= LASTING_MS).then_some(now)
}

fn skew(input: &HostInput) -> Option<Finding> {
    let open = input.open.contains(&fingerprint(Category::ClockSkew, "host"));
    let latest = input.window.latest()?;
    let say = input.text();
    let mut rows = Rows::default();
    let (arrival, kernel) = (by_arrival(input), by_kernel(input, open));
    let off_ms = arrival.or_else(|| kernel.map(|us| us / 1_000))?;
    if let Some(ms) = arrival {
        let key = if ms > 0 { "clock.ahead" } else { "clock.behind" };
        let text = say.say(key, &[("seconds", &format!("{:.1}", ms.abs() as f64 / 1_000.0))]);
        rows.value(("clock.arrival", ""), latest.at(), Value::Number(ms), text);
    }
    if let Some(us) = kernel {
        let text = say.say("clock.kernel", &[("ms", &(us / 1_000))]);
        rows.value(("clock.offset", ""), latest.at(), Value::Number(us), text);
    }
    let mut finding = found(input, Category::ClockSkew, "host", latest.at(), 1e-6);
    let first = input.window.looks().find(|look| {
        let off = look.value(metric::CLOCK_OFFSET, "").is_some_and(|offset| offset.abs() >= OFFSET_US);
        arrival.is_some_and(|ms| (look.delay_ms() + ms).abs() <= AGREE_MS) || kernel.is_some() && off
    });
    finding.onset = first.map_or(latest.at(), Look::at);
    finding.title = say.say("clock.title", &[]);
    match latest.value(metric::CLOCK_SYNCED, "") {
        Some(synced) => {
            let key = if synced == 1 { "clock.cause.synced" } else { "clock.cause.unsynced" };
            finding.cause = say.say(key, &[]);
            rows.value(("clock.synced", ""), latest.at(), Value::Number(synced), finding.cause.clone());
        }
        None => finding.not_observed.push("clock.synced".to_owned()),
    }
    let runs = |name: &str| latest.unit(name).is_some_and(|unit| unit.active == Active::Active);
    let keeper = KEEPERS.iter().find(|name| runs(name));
    finding.culprit = keeper.map(|unit| Culprit::Unit { unit: (*unit).to_owned(), share: 100 });
    if off_ms.abs() >= CRITICAL_MS {
        finding.severity = Severity::Critical;
    }
    finding.evidence = rows.0;
    Some(finding)
}
