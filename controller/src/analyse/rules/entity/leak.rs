//! Services that take memory without giving it back.
//!
//! The valleys of a service's anonymous memory must rise for sure over three windows that grow, without
//! slowing down, as far as a sum of deviations can tell from noise, towards an end within reach, and beyond
//! what earlier lives of the service had at the same age. A fast leak is judged over minutes, a slow one
//! over a day. A step, a filling cache that levels off, a saw-tooth and growth with load pass one of these
//! tests less.

use sysop_common::finding::{Category, Culprit, Finding, Severity, fingerprint};
use sysop_common::metric;
use sysop_common::sample::Active;
use sysop_common::time::{MINUTE_MS, UnixMs};

use super::super::soft::found;
use super::{Detector, HostInput, Look, Rows, number};
use crate::analyse::entities::memory::UnitMemory;
use crate::analyse::messages::bytes;
use crate::analyse::statistics::cusum::{Cusum, FLOOR, Way};
use crate::analyse::statistics::robust::{CLIP, median, sigma};
use crate::analyse::statistics::trend::{Trend, trend};

/// More than this many times what earlier lives had at the same age is a leak; less is how it is.
const EARLIER: f64 = 1.3;
/// Growth that matters: so many bytes, and this share of what was there.
const LEAST_BYTES: f64 = 16.0 * 1_048_576.0;
const LEAST_SHARE: f64 = 0.05;
/// The last third must rise at least this share as fast as the whole.
const STEADY: f64 = 0.5;
/// Growth that slows down to less than the first of these shares is drawn out to its end, which must take up
/// at least the second of what is left.
const SLOWING: f64 = 0.9;
const ENOUGH: f64 = 0.5;
/// CPU use that rose by this factor says that the load grew, and memory with it.
const LOAD: f64 = 1.3;

/// How growth of one speed is judged.
struct Lane {
    /// Windows in minutes, the longest last.
    windows: [i64; 3],
    /// Whether its longer windows are made of ten-minute valleys.
    tens: bool,
    /// The end must come within so many minutes.
    reach: f64,
    /// Minutes of a life that are not looked at: it still warms up.
    warm_up: i64,
    /// Whether growth with load is excused.
    load: bool,
}

const LANES: [Lane; 3] = [
    Lane { windows: [4, 8, 12], tens: false, reach: 120.0, warm_up: 3, load: false },
    Lane { windows: [10, 20, 40], tens: false, reach: 360.0, warm_up: 20, load: true },
    Lane { windows: [60, 360, 1_430], tens: true, reach: 14.0 * 1_440.0, warm_up: 60, load: true },
];

/// Memory that only grows.
pub(super) struct Leak;

impl Detector for Leak {
    fn category(&self) -> Category {
        Category::MemoryLeak
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["unit.anon", "unit.main_pid", "memory.available", "swap.free", "unit.memory.limit", "unit.cpu"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let units = input.state.entities.units();
        units.filter_map(|(name, memory)| leak(input, name, memory)).map(|(finding, _)| finding).collect()
    }

    fn odds(&self, input: &HostInput, finding: &Finding) -> Option<f64> {
        let memory = input.state.entities.unit(&finding.entity)?;
        Some(leak(input, &finding.entity, memory).map_or(1.0, |(_, odds)| odds))
    }

    fn observes(&self, input: &HostInput, entity: &str) -> bool {
        let unit = input.window.latest().and_then(|latest| latest.unit(entity));
        // A service that does not run has no leak.
        unit.is_some_and(|unit| unit.anon_bytes.is_some() || unit.active != Active::Active)
    }
}

/// What a window of growth shows.
struct Growth {
    /// Of the longest window: bytes per minute.
    slope: Trend,
    first: f64,
    last: f64,
    minutes: i64,
    odds: f64,
    /// Bytes that it would still grow by, if it goes on slowing down as it did; infinite when it does not.
    rest: f64,
}

fn leak(input: &HostInput, name: &str, memory: &UnitMemory) -> Option<(Finding, f64)> {
    let latest = input.window.latest()?;
    let unit = latest.unit(name).filter(|unit| unit.active == Active::Active)?;
    // Points of a life that ended are of another one.
    let fresh = memory.newest().is_some_and(|newest| latest.at().since(newest) <= 3 * MINUTE_MS);
    let current = unit.anon_bytes.filter(|_| fresh)?;
    let open = input.open.contains(&fingerprint(Category::MemoryLeak, name));
    let left = left(latest, name, current as f64);
    let (growth, eta) = LANES.iter().find_map(|lane| {
        let growth = growth(lane, memory, latest.at(), open)?;
        let eta = left.map(|left| left / growth.slope.mid);
        let near = eta.is_none_or(|eta| eta <= lane.reach);
        let endless = left.is_none_or(|left| growth.rest >= ENOUGH * left);
        let excused = !open && lane.load && load_grew(input, name);
        (near && !excused && (open || endless)).then_some((growth, eta))
    })?;
    let earlier = memory.earlier(latest.at());
    if !open && earlier.is_some_and(|(_, then)| growth.last <= EARLIER * then) {
        return None;
    }
    let onset = latest.at().plus(-growth.minutes * MINUTE_MS).max(memory.started());
    let mut finding = found(input, Category::MemoryLeak, name, onset, growth.odds);
    describe(input, &mut finding, latest, name, &growth, eta);
    told_earlier(input, &mut finding, name, earlier, growth.last);
    finding.culprit = Some(Culprit::Unit { unit: name.to_owned(), share: 100 });
    if eta.is_some_and(|eta| eta < 30.0) {
        finding.severity = Severity::Critical;
    }
    Some((finding, growth.odds))
}

/// Bytes that the service can still take: its own limit, or what the host has.
fn left(latest: Look<'_>, name: &str, current: f64) -> Option<f64> {
    let available = latest.value(metric::MEMORY_AVAILABLE, "")? as f64;
    let swap = latest.value(metric::SWAP_FREE, "").unwrap_or(0) as f64;
    let own = latest.value(metric::UNIT_MEMORY_LIMIT, name).map(|limit| (limit as f64 - current).max(0.0));
    Some(own.map_or(available + swap, |own| own.min(available + swap)))
}

fn growth(lane: &Lane, memory: &UnitMemory, now: UnixMs, open: bool) -> Option<Growth> {
    let warm = memory.started().plus(lane.warm_up * MINUTE_MS);
    let mut odds: f64 = 1e-12;
    let mut longest = None;
    for (at, minutes) in lane.windows.into_iter().enumerate() {
        let from = now.plus(-minutes * MINUTE_MS);
        if from < warm {
            return None;
        }
        // The newest stretch is not over yet.
        let mut points = memory.points(from.plus(-MINUTE_MS), lane.tens && at > 0);
        points.pop();
        let width = if lane.tens && at > 0 { 10 } else { 1 };
        let wanted = usize::try_from(minutes / width).unwrap_or(0);
        // Gaps are no evidence.
        if points.len() * 10 < wanted * 8 {
            return None;
        }
        let slope = trend(&points)?;
        if slope.low <= 0.0 {
            return None;
        }
        odds = odds.max(if minutes == lane.windows[2] { slope.p } else { 0.0 });
        longest = Some((points, slope, minutes));
        if open {
            break;
        }
    }
    let (points, slope, minutes) = longest?;
    let (first, last) = (points.first()?.1, points.last()?.1);
    let growth = Growth { slope, first, last, minutes, odds, rest: rest(&points) };
    let enough = last - first >= LEAST_BYTES.max(LEAST_SHARE * first);
    (open || enough && is_steady(&points, slope.mid) && is_beyond_noise(&points)).then_some(growth)
}

/// Whether the last third rises about as fast as the whole.
fn is_steady(points: &[(f64, f64)], slope: f64) -> bool {
    pace(&points[points.len() - points.len() / 3..]).is_some_and(|late| late >= STEADY * slope)
}

fn pace(points: &[(f64, f64)]) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    let ends = (last.1 - first.1) / (last.0 - first.0).max(f64::MIN_POSITIVE);
    Some(trend(points).map_or(ends, |trend| trend.mid))
}

/// What is still to come of growth that slows down evenly, as a cache that fills does: the pace of the last
/// third, times how long it takes to fade.
fn rest(points: &[(f64, f64)]) -> f64 {
    let third = points.len() / 3;
    let (early, late) = (pace(&points[..third]), pace(&points[points.len() - third..]));
    let (Some(early), Some(late), Some(first), Some(last)) = (early, late, points.first(), points.last())
    else {
        return f64::INFINITY;
    };
    let ratio = late / early;
    if !(early > 0.0 && late > 0.0 && ratio < SLOWING) {
        return f64::INFINITY;
    }
    let apart = (last.0 - first.0) * 2.0 / 3.0;
    late * apart / -ratio.ln()
}

/// Whether a sum of what lies above the beginning passes what noise could give.
fn is_beyond_noise(points: &[(f64, f64)]) -> bool {
    let third = (points.len() / 3).max(2);
    let mut early: Vec<f64> = points.iter().take(third).map(|(_, value)| *value).collect();
    let Some(level) = median(&mut early) else { return false };
    let steps: Vec<f64> = points.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    let Some(step) = median(&mut steps.clone()) else { return false };
    // The spread of steps around the usual one: a steady rise is no noise.
    let noise = sigma(&steps, step, (0.005 * level).max(262_144.0));
    let mut sum = Cusum::default();
    for (_, value) in &points[third..] {
        sum.push(((value - level) / noise).clamp(-CLIP, CLIP));
    }
    matches!(sum.alarm(FLOOR), Some((Way::Up, _)))
}

/// Whether the service works more than at the beginning of the window.
fn load_grew(input: &HostInput, name: &str) -> bool {
    let looks: Vec<Look<'_>> = input.window.looks().collect();
    let third = looks.len() / 3;
    let rate = |looks: &[Look<'_>]| {
        let (first, last) = (looks.first()?, looks.last()?);
        let used = last.unit(name)?.cpu_us?.checked_sub(first.unit(name)?.cpu_us?)?;
        let ms = last.at().since(first.at());
        (ms > 0).then(|| used as f64 / ms as f64)
    };
    let (Some(early), Some(late)) = (rate(&looks[..third]), rate(&looks[looks.len() - third..])) else {
        return false;
    };
    // Below a hundredth of a core nothing is said about load.
    late >= 10.0 && late > LOAD * early
}

fn describe(
    input: &HostInput,
    finding: &mut Finding,
    latest: Look<'_>,
    name: &str,
    growth: &Growth,
    eta: Option<f64>,
) {
    let say = input.text();
    finding.title = say.say("leak.title", &[("unit", &name)]);
    finding.cause = match eta {
        Some(eta) => {
            let span = say.span((eta * 60_000.0) as i64);
            say.say("leak.cause.eta", &[("unit", &name), ("span", &span)])
        }
        None => say.say("leak.cause", &[("unit", &name)]),
    };
    let mut rows = Rows::default();
    let whole = |bytes: f64| number(bytes.max(0.0) as u64);
    let from = latest.at().plus(-growth.minutes * MINUTE_MS);
    let (before, now) = (bytes(growth.first), bytes(growth.last));
    let span = say.span(growth.minutes * MINUTE_MS);
    let speed = bytes(growth.slope.mid);
    let text = say.say(
        "leak.grew",
        &[("unit", &name), ("before", &before), ("now", &now), ("span", &span), ("speed", &speed)],
    );
    rows.change(
        ("unit.anon", name),
        Some((from, whole(growth.first))),
        (latest.at(), whole(growth.last)),
        text,
    );
    if let Some(available) = latest.value(metric::MEMORY_AVAILABLE, "") {
        let text = say.say("leak.available", &[("amount", &bytes(available as f64))]);
        rows.value(("memory.available", ""), latest.at(), whole(available as f64), text);
    } else {
        finding.not_observed.push("memory.available".to_owned());
    }
    finding.evidence = rows.0;
}

fn told_earlier(input: &HostInput, finding: &mut Finding, name: &str, earlier: Option<(i64, f64)>, now: f64) {
    let say = input.text();
    let Some((age, then)) = earlier else {
        finding.not_observed.push(say.say("leak.unseen.earlier", &[("unit", &name)]));
        return;
    };
    let span = say.span(age * MINUTE_MS);
    let (then_told, now_told) = (bytes(then), bytes(now));
    let text = say.say("leak.earlier", &[("span", &span), ("then", &then_told), ("now", &now_told)]);
    let mut rows = Rows(std::mem::take(&mut finding.evidence));
    rows.value(("unit.anon.earlier", name), finding.last_true, number(then.max(0.0) as u64), text);
    finding.evidence = rows.0;
}
