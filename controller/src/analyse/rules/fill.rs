//! File systems that run out of space or inodes: a hard floor, and a forecast over several windows.

use sysop_common::finding::{Category, Culprit, Finding, Severity, Value, fingerprint};
use sysop_common::metric::{self, MetricId};
use sysop_common::time::{HOUR_MS, MINUTE_MS, UnixMs};

use super::memory::Who;
use super::{Detector, HostInput, Look, Rows, bytes, grown};
use crate::analyse::attribute::{Attribution, Part, attribute};
use crate::analyse::forecast::{Slope, next_reset, resets, slope};
use crate::analyse::input::FillHistory;
use crate::analyse::messages::Text;

/// Left, in percent: below the first it is trouble, below the second critical. An open finding ends
/// only above the first plus [`MARGIN`].
const FLOOR: (f64, f64) = (5.0, 3.0);
const MARGIN: f64 = 3.0;
/// The windows over which a slope is taken: how much must be there, below what is left (percent), and
/// below what time it is trouble.
const WINDOWS: [Horizon; 4] = [
    Horizon { span_ms: 5 * MINUTE_MS, least_ms: 2 * MINUTE_MS, left: 20.0, eta_ms: 15 * MINUTE_MS },
    Horizon { span_ms: 30 * MINUTE_MS, least_ms: 20 * MINUTE_MS, left: 20.0, eta_ms: 4 * HOUR_MS },
    Horizon { span_ms: 6 * HOUR_MS, least_ms: 3 * HOUR_MS, left: 40.0, eta_ms: 24 * HOUR_MS },
    Horizon { span_ms: 72 * HOUR_MS, least_ms: 24 * HOUR_MS, left: 40.0, eta_ms: 24 * HOUR_MS },
];
/// Full within this time is critical.
const CRITICAL_ETA_MS: i64 = HOUR_MS;
/// Writers are compared over this time.
const WRITERS_MS: i64 = 5 * MINUTE_MS;
/// And step by step over this long: services are read at every sixth sample only.
const PACE_MS: i64 = MINUTE_MS;

struct Horizon {
    span_ms: i64,
    least_ms: i64,
    left: f64,
    eta_ms: i64,
}

/// Bytes.
pub(super) struct Space;
/// Inodes.
pub(super) struct Inodes;

/// What fills up: names and columns.
struct Resource {
    category: Category,
    metric: &'static str,
    total: MetricId,
    free: MetricId,
    /// What ordinary users may still use, where that is less than what is free.
    available: MetricId,
    noun: &'static str,
}

const SPACE: Resource = Resource {
    category: Category::DiskFill,
    metric: "fs.available",
    total: metric::FS_TOTAL,
    free: metric::FS_FREE,
    available: metric::FS_AVAILABLE,
    noun: "space",
};
const INODES: Resource = Resource {
    category: Category::InodeFill,
    metric: "fs.inodes.free",
    total: metric::FS_INODES_TOTAL,
    free: metric::FS_INODES_FREE,
    available: metric::FS_INODES_FREE,
    noun: "inodes",
};

impl Detector for Space {
    fn category(&self) -> Category {
        SPACE.category
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["fs.total", "fs.free", "fs.available", "fs.used over 3 days", "unit.io_write", "process.io_write"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        look(input, &SPACE)
    }

    fn observes(&self, input: &HostInput, entity: &str) -> bool {
        input.window.latest().is_some_and(|latest| Level::of(latest, &SPACE, entity).is_some())
    }
}

impl Detector for Inodes {
    fn category(&self) -> Category {
        INODES.category
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["fs.inodes.total", "fs.inodes.free", "fs.inodes.free over 3 days"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        look(input, &INODES)
    }

    fn observes(&self, input: &HostInput, entity: &str) -> bool {
        input.window.latest().is_some_and(|latest| Level::of(latest, &INODES, entity).is_some())
    }
}

/// How full it is at one look.
#[derive(Debug, Clone, Copy)]
struct Level {
    used: f64,
    available: f64,
}

impl Level {
    fn of(look: Look<'_>, resource: &Resource, mount: &str) -> Option<Self> {
        let value = |id| look.value(id, mount).map(|value| value as f64);
        let (total, free) = (value(resource.total)?, value(resource.free)?);
        let available = value(resource.available)?;
        let level = Self { used: total - free, available };
        (total > 0.0 && level.used >= 0.0 && available >= 0.0).then_some(level)
    }

    /// Left, in percent of what ordinary users can use at all, as `df` counts.
    fn left(self) -> f64 {
        100.0 * self.available / (self.used + self.available).max(1.0)
    }
}

fn look(input: &HostInput, resource: &Resource) -> Vec<Finding> {
    let Some(latest) = input.window.latest() else { return Vec::new() };
    let writable = |mount: &&str| latest.value(metric::FS_READ_ONLY, mount) != Some(1);
    latest
        .labels(resource.total)
        .filter(writable)
        .filter_map(|mount| fill(input, latest, resource, mount))
        .collect()
}

/// A slope that reaches the end.
struct Forecast {
    eta_ms: i64,
    slope: Slope,
}

fn fill(input: &HostInput, latest: Look<'_>, resource: &Resource, mount: &str) -> Option<Finding> {
    let level = Level::of(latest, resource, mount)?;
    let open = input.open.contains(&fingerprint(resource.category, mount));
    let margin = if open { MARGIN } else { 0.0 };
    let left = level.left();
    let floor = left < FLOOR.0 + margin;
    let mut not_observed = Vec::new();
    let forecast = if left < 40.0 + margin {
        forecast(input, resource, mount, level, open, &mut not_observed)
    } else {
        None
    };
    if !floor && forecast.is_none() {
        return None;
    }
    let soon = forecast.as_ref().is_some_and(|forecast| forecast.eta_ms < CRITICAL_ETA_MS);
    let severity = if left < FLOOR.1 || soon { Severity::Critical } else { Severity::Warning };
    let say = input.text();
    let mut rows = evidence(say, latest, resource, (mount, level), forecast.as_ref());
    let culprit = if resource.category == Category::DiskFill {
        writers(input, latest, mount, &mut rows, &mut not_observed)
    } else {
        not_observed.push(say.say("fill.unseen.makers", &[]));
        None
    };
    let cause = match &culprit {
        Some(Culprit::Unit { unit, .. }) => say.say("fill.cause.unit", &[("unit", unit)]),
        Some(Culprit::Process { comm, pid, .. }) => {
            say.say("fill.cause.process", &[("comm", comm), ("pid", pid)])
        }
        _ => String::new(),
    };
    let title = format!("fill.title.{}.{}", resource.noun, if floor { "floor" } else { "soon" });
    Some(Finding {
        category: resource.category,
        entity: mount.to_owned(),
        severity,
        confidence: if floor { 100 } else { 85 },
        onset: onset(input, resource, mount, floor, latest.at()),
        last_true: latest.at(),
        active: true,
        title: say.say(&title, &[("mount", &mount)]),
        cause,
        culprit,
        evidence: rows.0,
        not_observed,
        caused_by: None,
    })
}

/// The first look of the unbroken stretch below the floor; for a forecast there is no sharper one than now.
fn onset(input: &HostInput, resource: &Resource, mount: &str, floor: bool, now: UnixMs) -> UnixMs {
    let below = |look: Look<'_>| {
        Level::of(look, resource, mount).is_some_and(|level| level.left() < FLOOR.0 + MARGIN)
    };
    let stretch = input.window.looks().rev().take_while(|look| floor && below(*look));
    stretch.last().map_or(now, Look::at)
}

/// The soonest end by any window whose slope surely rises.
fn forecast(
    input: &HostInput,
    resource: &Resource,
    mount: &str,
    level: Level,
    open: bool,
    not_observed: &mut Vec<String>,
) -> Option<Forecast> {
    let recent: Vec<(UnixMs, f64)> = input
        .window
        .looks()
        .filter_map(|look| Some((look.at(), Level::of(look, resource, mount)?.used)))
        .collect();
    let now = recent.last()?.0;
    let empty = FillHistory::default();
    let history = input.fills.get(mount);
    if history.is_none() {
        let key = format!("fill.unseen.{}", resource.noun);
        not_observed.push(input.text().say(&key, &[("mount", &mount)]));
    }
    let history = history.unwrap_or(&empty);
    let (hours, days) = match resource.category {
        Category::InodeFill => (&history.inodes_6h, &history.inodes_3d),
        _ => (&history.bytes_6h, &history.bytes_3d),
    };
    // A cleaner that runs regularly will run before the end: no forecast beyond its next time.
    let due = next_reset(&resets(days)).or_else(|| next_reset(&resets(hours)));
    let factor = if open { 1.5 } else { 1.0 };
    let margin = if open { MARGIN } else { 0.0 };
    WINDOWS
        .iter()
        .filter(|horizon| level.left() < horizon.left + margin)
        .filter_map(|horizon| {
            let source = match horizon.span_ms / HOUR_MS {
                0 if horizon.span_ms <= 5 * MINUTE_MS => &recent,
                0..=6 => hours,
                _ => days,
            };
            let slope = rising(source, horizon, now)?;
            let eta_ms = (level.available / slope.high) as i64;
            let cleaned = due.is_some_and(|due| due > now && now.plus(eta_ms) > due);
            let soon = (eta_ms as f64) < horizon.eta_ms as f64 * factor;
            (soon && !cleaned).then_some(Forecast { eta_ms, slope })
        })
        .min_by_key(|forecast| forecast.eta_ms)
}

/// The slope over one window, if it surely rises and still does at its end.
fn rising(points: &[(UnixMs, f64)], horizon: &Horizon, now: UnixMs) -> Option<Slope> {
    let within: Vec<(UnixMs, f64)> =
        points.iter().filter(|(at, _)| now.since(*at) <= horizon.span_ms).copied().collect();
    let slope = slope(&within)?;
    // Went away: what grew in the first part only is over.
    let tail = &within[within.len() * 2 / 3..];
    let lasting = tail.first()?.1 < tail.last()?.1;
    (slope.low > 0.0 && slope.span_ms >= horizon.least_ms && lasting).then_some(slope)
}

fn evidence(
    say: Text,
    latest: Look<'_>,
    resource: &Resource,
    (mount, level): (&str, Level),
    forecast: Option<&Forecast>,
) -> Rows {
    let mut rows = Rows::default();
    let amount = |value: f64| match resource.category {
        Category::DiskFill => bytes(value),
        _ => say.say("fill.inodes", &[("n", &format!("{value:.0}"))]),
    };
    let (left, percent) = (amount(level.available), format!("{:.1}", level.left()));
    let text = say.say("fill.left", &[("amount", &left), ("mount", &mount), ("percent", &percent)]);
    rows.value((resource.metric, mount), latest.at(), Value::Number(level.available as i64), text);
    if let Some(Forecast { eta_ms, slope }) = forecast {
        let per_hour = slope.mid * HOUR_MS as f64;
        let (amount, span, eta) = (amount(per_hour), say.span(slope.span_ms), say.span(*eta_ms));
        let text = say.say("fill.forecast", &[("amount", &amount), ("span", &span), ("eta", &eta)]);
        let from = Some((
            latest.at().plus(-slope.span_ms),
            Value::Number((level.used - slope.mid * slope.span_ms as f64) as i64),
        ));
        rows.change(("fs.used", mount), from, (latest.at(), Value::Number(level.used as i64)), text);
    }
    rows
}

/// Who wrote while it grew.
fn writers(
    input: &HostInput,
    latest: Look<'_>,
    mount: &str,
    rows: &mut Rows,
    not_observed: &mut Vec<String>,
) -> Option<Culprit> {
    let start = input.window.last(WRITERS_MS).find(|look| look.same_boot(latest))?;
    let used = |look: Look<'_>| Level::of(look, &SPACE, mount).map(|level| level.used);
    let added = used(latest)? - used(start)?;
    if added <= 0.0 {
        return None;
    }
    let mut parts: Vec<Part<Who>> = Vec::new();
    for unit in latest.units() {
        let before = start.unit(&unit.name).and_then(|known| known.io_write_bytes);
        if let Some(wrote) = grown(before, unit.io_write_bytes) {
            parts.push(Part { who: Who::Unit(unit.name.to_string()), amount: wrote as f64 });
        }
    }
    for process in latest.processes().iter().filter(|process| latest.unit(&process.unit).is_none()) {
        let known = start
            .processes()
            .iter()
            .find(|known| known.pid == process.pid && known.start_ticks == process.start_ticks);
        let before = known.map_or(Some(0), |known| known.io_write_bytes);
        if let Some(wrote) = grown(before, process.io_write_bytes) {
            let who = Who::Process {
                pid: process.pid,
                start_ticks: process.start_ticks,
                comm: process.comm.to_string(),
                user: process.user.to_string(),
            };
            parts.push(Part { who, amount: wrote as f64 });
        }
    }
    if parts.is_empty() {
        not_observed.push(input.text().say("fill.unseen.writers", &[]));
        return None;
    }
    // Who keeps pace with it goes before who wrote most; where both are the same, all that it wrote counts.
    let by_amount = attribute(added, &parts);
    let divided = match (attribute(added, &paced(input, latest, mount, &parts)), &by_amount) {
        (Attribution::Diffuse(_), _) => by_amount,
        (Attribution::One { who, .. }, Attribution::One { who: most, .. }) if who == *most => by_amount,
        (one, _) => one,
    };
    let culprit = match divided {
        Attribution::One { who, share } => who.named(share),
        Attribution::Diffuse(split) => Culprit::Diffuse { why: split.told(input.text()) },
    };
    let say = input.text();
    let (amount, span) = (bytes(added), say.span(latest.at().since(start.at())));
    let text = say.say("fill.added", &[("amount", &amount), ("mount", &mount), ("span", &span)]);
    let before = used(start).map(|used| (start.at(), Value::Number(used as i64)));
    rows.change(("fs.used", mount), before, (latest.at(), Value::Number(used(latest)? as i64)), text);
    Some(culprit)
}

/// The same parts, each counted as far as what it wrote keeps pace with what was added here: of all that
/// either did in each stretch, the share that both did. Who writes more, or to another file system, does not.
fn paced(input: &HostInput, latest: Look<'_>, mount: &str, parts: &[Part<Who>]) -> Vec<Part<Who>> {
    let mut looks: Vec<Look<'_>> = Vec::new();
    for look in input.window.last(WRITERS_MS).filter(|look| look.same_boot(latest)) {
        if looks.last().is_none_or(|before| look.at().since(before.at()) >= PACE_MS) {
            looks.push(look);
        }
    }
    let used = |look: Look<'_>| Level::of(look, &SPACE, mount).map_or(0.0, |level| level.used);
    let added: f64 = looks.first().zip(looks.last()).map_or(0.0, |(first, last)| used(*last) - used(*first));
    let share = |who: &Who| {
        let (mut both, mut either) = (0.0, 0.0);
        for pair in looks.windows(2) {
            let grew = (used(pair[1]) - used(pair[0])).max(0.0);
            let wrote = grown(wrote(pair[0], who), wrote(pair[1], who)).unwrap_or(0) as f64;
            (both, either) = (both + grew.min(wrote), either + grew.max(wrote));
        }
        both / either.max(1.0)
    };
    parts.iter().map(|part| Part { who: part.who.clone(), amount: added * share(&part.who) }).collect()
}

fn wrote(look: Look<'_>, who: &Who) -> Option<u64> {
    match who {
        Who::Unit(name) => look.unit(name)?.io_write_bytes,
        Who::Process { pid, start_ticks, .. } => {
            let mut all = look.processes().iter();
            all.find(|p| p.pid == *pid && p.start_ticks == *start_ticks)?.io_write_bytes
        }
    }
}
