//! Work that waits for memory, and memory that will be gone in minutes.

use sysop_common::finding::{Category, Culprit, Finding, Severity, fingerprint};
use sysop_common::metric;
use sysop_common::time::{MINUTE_MS, SECOND_MS, UnixMs};

use super::memory::{Who, parts};
use super::soft::{CLOSE, culprit, found, least, odds, over, percent, row, since, usual};
use super::{Detector, HostInput, Look, Rows, bytes, number};
use crate::analyse::attribute::{Attribution, attribute};
use crate::analyse::baseline::Signal;
use crate::analyse::forecast::slope;

/// All tasks wait for memory in this share of the time. systemd-oomd kills at 60 % for 30 s by default:
/// this warns before.
const FULL: f64 = 0.10;
/// Or some task does in this share.
const SOME: f64 = 0.40;
/// Bytes per second from swap that are trouble, where some task waits for memory in a tenth of the time:
/// for a host whose past is known and has nothing like it, and for any other.
const SWAPPED: (f64, f64) = (1_048_576.0, 8_388_608.0);
const SWAP_WAITING: f64 = 0.10;
/// Memory that is gone within this time, with less than this share left, is trouble before anything waits.
const ETA_MS: i64 = 5 * MINUTE_MS;
const LEFT: f64 = 0.35;
/// The slope for that is taken over this long.
const SLOPE_MS: i64 = 60 * SECOND_MS;
/// Who grew is looked for over this long.
const GROWTH_MS: i64 = 10 * MINUTE_MS;
const STRETCH_MS: i64 = 30 * SECOND_MS;

/// Memory pressure.
pub(super) struct MemoryPressure;

/// Why it is trouble.
enum Sign {
    Waiting { full: f64, some: f64 },
    Swapping { rate: f64, some: f64 },
    Ending { eta_ms: i64, left: f64 },
}

impl Detector for MemoryPressure {
    fn category(&self) -> Category {
        Category::MemoryPressure
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["psi.memory.full", "psi.memory.some", "swap.in", "memory.available", "unit.anon", "process.rss"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        pressure(input).into_iter().collect()
    }

    fn odds(&self, input: &HostInput, _: &Finding) -> Option<f64> {
        sign(input).map(|sign| chance(input, &sign))
    }

    fn observes(&self, input: &HostInput, _: &str) -> bool {
        let available =
            || input.window.latest().is_some_and(|l| l.value(metric::MEMORY_AVAILABLE, "").is_some());
        over(input, Signal::PsiMemoryFull, "", STRETCH_MS).is_some() || available()
    }
}

fn sign(input: &HostInput) -> Option<Sign> {
    let open = input.open.contains(&fingerprint(Category::MemoryPressure, "host"));
    let factor = if open { CLOSE } else { 1.0 };
    let stretches = if open { 1 } else { 2 };
    let held = |signal| least(input, signal, "", STRETCH_MS, stretches);
    let (full, some) = (held(Signal::PsiMemoryFull), held(Signal::PsiMemorySome));
    let (full, some) = (full.unwrap_or(0.0), some.unwrap_or(0.0));
    let as_ever = !open && usual(input, Signal::PsiMemoryFull, "") && usual(input, Signal::PsiMemorySome, "");
    if (full >= FULL * factor || some >= SOME * factor) && !as_ever {
        return Some(Sign::Waiting { full, some });
    }
    let known = input.state.baselines.get(Signal::SwapIn, "").filter(|known| known.grown_up());
    let limit = known.map_or(SWAPPED.1, |known| if known.z() > 4.0 { SWAPPED.0 } else { f64::INFINITY });
    let rate = held(Signal::SwapIn).filter(|rate| *rate >= limit * factor);
    if let Some(rate) = rate.filter(|_| some >= SWAP_WAITING * factor) {
        return Some(Sign::Swapping { rate, some });
    }
    ending(input, if open { 2 } else { 1 })
}

/// Available memory that falls for sure, in an unbroken line, and will be gone soon.
fn ending(input: &HostInput, patience: i64) -> Option<Sign> {
    let available = |look: Look<'_>| look.value(metric::MEMORY_AVAILABLE, "").map(|value| value as f64);
    let latest = input.window.latest()?;
    let (now, total) = (available(latest)?, latest.value(metric::MEMORY_TOTAL, "")? as f64);
    let left = now / total.max(1.0);
    if left > LEFT {
        return None;
    }
    let points: Vec<(UnixMs, f64)> = input
        .window
        .last(SLOPE_MS)
        .filter(|look| look.same_boot(latest))
        .filter_map(|look| Some((look.at(), -available(look)?)))
        .collect();
    let rising = slope(&points).filter(|slope| slope.low > 0.0 && slope.span_ms >= SLOPE_MS * 2 / 3)?;
    // What grew in the first part only is over.
    let tail = &points[points.len() * 2 / 3..];
    let span = tail.last()?.0.since(tail.first()?.0).max(1) as f64;
    let at_end = (tail.last()?.1 - tail.first()?.1) / span;
    let eta_ms = (now / rising.mid) as i64;
    (at_end >= 0.5 * rising.mid && eta_ms < ETA_MS * patience).then_some(Sign::Ending { eta_ms, left })
}

fn chance(input: &HostInput, sign: &Sign) -> f64 {
    match sign {
        Sign::Waiting { full, some } => odds(input, Signal::PsiMemoryFull, "", *full, FULL).min(odds(
            input,
            Signal::PsiMemorySome,
            "",
            *some,
            SOME,
        )),
        Sign::Swapping { rate, some } => {
            odds(input, Signal::SwapIn, "", *rate, SWAPPED.0)
                * odds(input, Signal::PsiMemorySome, "", *some, SOME).sqrt()
        }
        // Falling all the way for a minute, with little left.
        Sign::Ending { eta_ms, .. } => {
            1e-4f64.powf((ETA_MS as f64 / (*eta_ms).max(1) as f64).clamp(1.0, 3.0))
        }
    }
}

fn pressure(input: &HostInput) -> Option<Finding> {
    let sign = sign(input)?;
    let say = input.text();
    let mut rows = Rows::default();
    let latest = input.window.latest()?;
    let (onset, title, bad) = match &sign {
        Sign::Waiting { full, some } => {
            let signal = if *full >= FULL * CLOSE { Signal::PsiMemoryFull } else { Signal::PsiMemorySome };
            let onset = since(input, signal, "", FULL * CLOSE);
            let text = say.say("memory.waiting", &[("full", &percent(*full)), ("some", &percent(*some))]);
            row(input, &mut rows, "psi.memory.full", Signal::PsiMemoryFull, (*full, onset, text));
            (onset, "memory.title.waiting", *full >= 3.0 * FULL)
        }
        Sign::Swapping { rate, .. } => {
            let onset = since(input, Signal::SwapIn, "", SWAPPED.0 * CLOSE);
            let text = say.say("memory.swapping", &[("amount", &bytes(*rate))]);
            rows.value(("swap.in", ""), latest.at(), number(*rate as u64), text);
            (onset, "memory.title.swapping", false)
        }
        Sign::Ending { eta_ms, left } => {
            let text = say.say("memory.ending", &[("percent", &percent(*left)), ("eta", &say.span(*eta_ms))]);
            let available = latest.value(metric::MEMORY_AVAILABLE, "").unwrap_or(0);
            rows.value(("memory.available", ""), latest.at(), number(available.unsigned_abs()), text);
            (latest.at().plus(-SLOPE_MS), "memory.title.ending", true)
        }
    };
    let mut finding = found(input, Category::MemoryPressure, "host", onset, chance(input, &sign));
    finding.title = say.say(title, &[]);
    if bad {
        finding.severity = Severity::Critical;
    }
    let who = grower(input, latest);
    if who.is_none() {
        finding.not_observed.push(say.say("oom.unseen.parts", &[]));
    }
    (finding.culprit, finding.cause) = culprit(say, who, "memory.cause");
    if let Some(Culprit::Unit { unit, .. }) = &finding.culprit {
        let used = latest.unit(unit).and_then(|unit| unit.anon_bytes.or(unit.memory_bytes));
        if let Some(used) = used {
            let text = say.say("memory.uses", &[("unit", unit), ("amount", &bytes(used as f64))]);
            rows.value(("unit.anon", unit), latest.at(), number(used), text);
        }
    }
    finding.evidence = rows.0;
    Some(finding)
}

/// Who grew in the last minutes.
fn grower(input: &HostInput, latest: Look<'_>) -> Option<Attribution<Who>> {
    let start = input
        .window
        .looks()
        .find(|look| latest.at().since(look.at()) <= GROWTH_MS && look.same_boot(latest))
        .filter(|look| look.at() < latest.at())?;
    let anon = |look: Look<'_>| look.value(metric::MEMORY_ANON, "");
    let whole = (anon(latest)? - anon(start)?) as f64;
    let parts = parts(start, latest);
    (!parts.is_empty()).then(|| attribute(whole, &parts))
}
