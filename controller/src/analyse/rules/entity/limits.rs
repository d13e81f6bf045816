//! Services held back by their own limits: of processor time, of reading and writing.

use sysop_common::finding::{Category, Finding, fingerprint};
use sysop_common::metric::{self, MetricId};
use sysop_common::sample::Active;
use sysop_common::time::MINUTE_MS;

use super::super::soft::{found, over, percent};
use super::{Detector, HostInput, Rows, number, odds_at};
use crate::analyse::baseline::Signal;
use crate::analyse::entities::throttled;
use crate::analyse::messages::bytes;

/// Share of periods in which a service was throttled, over the long and the short stretch.
const SHARE: f64 = 0.25;
const LONG_MS: i64 = 5 * MINUTE_MS;
const SHORT_MS: i64 = 2 * MINUTE_MS;
/// A finding that is open goes on down to this share.
const SHARE_OPEN: f64 = 0.1;
/// A service that is throttled so much on all days is meant to be.
const MEANT: f64 = 0.1;
/// Share of the limit that is used, and for how long.
const IO_SHARE: f64 = 0.9;
const IO_MS: i64 = 3 * MINUTE_MS;
/// Where tasks are seen to wait for storage in this share of the time, this is long enough.
const IO_WAITING: f64 = 0.2;
const IO_SHORT_MS: i64 = MINUTE_MS;

/// The processor quota.
pub(super) struct Throttled;

impl Detector for Throttled {
    fn category(&self) -> Category {
        Category::CpuThrottled
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["unit.cpu.periods", "unit.cpu.throttled", "unit.active"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        let units = latest.labels(metric::UNIT_CPU_PERIODS);
        units.filter_map(|unit| held(input, unit)).collect()
    }

    fn odds(&self, input: &HostInput, finding: &Finding) -> Option<f64> {
        let share = throttled(&input.window, &finding.entity, LONG_MS).unwrap_or(0.0);
        Some(odds_at(share, SHARE))
    }

    fn observes(&self, input: &HostInput, entity: &str) -> bool {
        let latest = input.window.latest();
        latest.is_some_and(|latest| {
            latest.value(metric::UNIT_CPU_PERIODS, entity).is_some() || ended(input, entity)
        })
    }
}

/// A service that does not run is held back by nothing.
fn ended(input: &HostInput, unit: &str) -> bool {
    let unit = input.window.latest().and_then(|latest| latest.unit(unit));
    unit.is_some_and(|unit| unit.active != Active::Active)
}

fn held(input: &HostInput, unit: &str) -> Option<Finding> {
    let latest = input.window.latest()?;
    // A job that is done some time may be slow.
    latest.unit(unit).filter(|unit| unit.active == Active::Active && unit.sub == "running")?;
    let open = input.open.contains(&fingerprint(Category::CpuThrottled, unit));
    let (long, short) = (throttled(&input.window, unit, LONG_MS)?, throttled(&input.window, unit, SHORT_MS)?);
    let usual = input.state.entities.usual(&format!("throttle:{unit}"));
    let meant = usual.is_some_and(|usual| usual.is_grown() && usual.mean >= MEANT);
    let holds = if open { short >= SHARE_OPEN } else { long > SHARE && short > SHARE && !meant };
    holds.then(|| {
        let say = input.text();
        let onset = latest.at().plus(-LONG_MS);
        let mut finding = found(input, Category::CpuThrottled, unit, onset, odds_at(long, SHARE));
        finding.title = say.say("throttle.title", &[("unit", &unit)]);
        finding.cause = say.say("throttle.cause", &[("unit", &unit)]);
        let mut rows = Rows::default();
        let told = percent(long);
        let text = say.say("throttle.share", &[("unit", &unit), ("percent", &told)]);
        rows.value(("unit.cpu.throttled", unit), latest.at(), number(told.unsigned_abs()), text);
        finding.evidence = rows.0;
        finding
    })
}

/// The limit on reading and writing.
pub(super) struct IoLimited;

impl Detector for IoLimited {
    fn category(&self) -> Category {
        Category::IoLimited
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["unit.io.read_limit", "unit.io.write_limit", "unit.io_read", "unit.io_write"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        let both = [(metric::UNIT_IO_READ_LIMIT, false), (metric::UNIT_IO_WRITE_LIMIT, true)];
        let mut found: Vec<Finding> = Vec::new();
        for (id, write) in both {
            for unit in latest.labels(id) {
                if !found.iter().any(|finding| finding.entity == unit) {
                    found.extend(slowed(input, unit, id, write));
                }
            }
        }
        found
    }

    fn odds(&self, _: &HostInput, _: &Finding) -> Option<f64> {
        Some(odds_at(2.0 * IO_SHARE, IO_SHARE))
    }

    fn observes(&self, input: &HostInput, entity: &str) -> bool {
        input.window.latest().is_some_and(|latest| latest.unit(entity).is_some())
    }
}

fn slowed(input: &HostInput, unit: &str, id: MetricId, write: bool) -> Option<Finding> {
    let latest = input.window.latest()?;
    let limit = latest.value(id, unit).filter(|limit| *limit > 0)? as f64;
    let amount = |look: super::Look<'_>| {
        let unit = look.unit(unit)?;
        if write { unit.io_write_bytes } else { unit.io_read_bytes }
    };
    let waiting = over(input, Signal::PsiIoFull, "", IO_SHORT_MS).is_some_and(|share| share >= IO_WAITING);
    let least_ms = if waiting { IO_SHORT_MS } else { IO_MS };
    let first = input
        .window
        .last(least_ms + 15_000)
        .find(|look| look.same_boot(latest) && amount(*look).is_some())?;
    let ms = latest.at().since(first.at());
    if ms < least_ms {
        return None;
    }
    let done = amount(latest)?.checked_sub(amount(first)?)? as f64;
    let rate = done * 1_000.0 / ms as f64;
    let open = input.open.contains(&fingerprint(Category::IoLimited, unit));
    let share = rate / limit;
    if share < if open { IO_SHARE * super::CLOSE } else { IO_SHARE } {
        return None;
    }
    let say = input.text();
    let mut finding = found(input, Category::IoLimited, unit, first.at(), odds_at(2.0 * IO_SHARE, IO_SHARE));
    finding.title = say.say("io_limit.title", &[("unit", &unit)]);
    finding.cause = say.say("io_limit.cause", &[("unit", &unit)]);
    let mut rows = Rows::default();
    let (rate_told, limit_told) = (bytes(rate), bytes(limit));
    let text = say.say("io_limit.rate", &[("unit", &unit), ("rate", &rate_told), ("limit", &limit_told)]);
    let name = if write { "unit.io_write" } else { "unit.io_read" };
    rows.value((name, unit), latest.at(), number(rate as u64), text);
    finding.evidence = rows.0;
    finding.not_observed.push(say.say("io_limit.unseen", &[]));
    Some(finding)
}
