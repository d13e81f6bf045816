//! Processes that the kernel killed for memory: who was killed, and who grew.

use sysop_common::finding::{Category, Culprit, Finding, Severity};
use sysop_common::metric;
use sysop_common::time::{MINUTE_MS, SECOND_MS, UnixMs};

use super::{Detector, HostInput, Look, Rows, bytes, grown, number, pairs, word};
use crate::analyse::attribute::{Attribution, Part, attribute};
use crate::analyse::messages::Text;

/// A kill is news for this long.
const NEWS_MS: i64 = 10 * MINUTE_MS;
/// Growth is looked at over this time before the kill.
const GROWTH_MS: i64 = 10 * MINUTE_MS;

/// Unit memory is read every sixth cycle, at most once a minute for slow agents.
const SAME_KILL_MS: i64 = 90 * SECOND_MS;

/// A rise of a kill counter, or a unit's result `oom-kill`.
pub(super) struct OomKill;

/// One kill.
struct Kill<'a> {
    /// The victim's unit; `host` when it is in none that is known.
    victim: String,
    before: Look<'a>,
    now: Look<'a>,
    count: Option<u64>,
}

impl Detector for OomKill {
    fn category(&self) -> Category {
        Category::OomKill
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["memory.oom_kills", "unit.oom_kills", "unit.result", "memory.anon", "unit.anon", "process.rss"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        let mut kills: Vec<Kill<'_>> = Vec::new();
        for (before, now) in pairs(input.window.last(NEWS_MS)) {
            let in_units = unit_kills(before, now);
            if in_units.is_empty() {
                let count = grown(host_kills(before), host_kills(now)).filter(|count| *count > 0);
                kills.extend(count.map(|count| Kill {
                    victim: "host".to_owned(),
                    before,
                    now,
                    count: Some(count),
                }));
            }
            kills.extend(in_units);
        }
        // The host's own counter and the unit's may come in different looks: one kill, told once.
        let units: Vec<UnixMs> = kills.iter().filter(|k| k.victim != "host").map(|k| k.now.at()).collect();
        let told = |at: UnixMs| units.iter().any(|unit| unit.since(at).abs() <= SAME_KILL_MS);
        kills.retain(|kill| kill.victim != "host" || !told(kill.now.at()));
        // The newest kill of each victim.
        kills.sort_by(|a, b| (&a.victim, b.now.at()).cmp(&(&b.victim, a.now.at())));
        kills.dedup_by(|later, first| later.victim == first.victim);
        kills.iter().map(|kill| finding(input, latest, kill)).collect()
    }

    fn observes(&self, input: &HostInput, _: &str) -> bool {
        input.window.latest().is_some_and(|latest| host_kills(latest).is_some() || !latest.units().is_empty())
    }
}

fn host_kills(look: Look<'_>) -> Option<u64> {
    look.value(metric::MEMORY_OOM_KILLS, "").and_then(|count| u64::try_from(count).ok())
}

fn unit_kills<'a>(before: Look<'a>, now: Look<'a>) -> Vec<Kill<'a>> {
    let mut kills = Vec::new();
    for unit in now.units() {
        let known = before.unit(&unit.name);
        let count = grown(known.and_then(|known| known.oom_kills), unit.oom_kills).filter(|count| *count > 0);
        // systemd removes the group of a unit that ended, and its counter with it; the result stays.
        let result = unit.result == "oom-kill" && known.is_some_and(|known| known.result != "oom-kill");
        if count.is_some() || result {
            kills.push(Kill { victim: unit.name.to_string(), before, now, count });
        }
    }
    kills
}

fn finding(input: &HostInput, latest: Look<'_>, kill: &Kill<'_>) -> Finding {
    let (victim, at) = (kill.victim.as_str(), kill.now.at());
    let say = input.text();
    let mut rows = Rows::default();
    let mut not_observed = Vec::new();
    if victim == "host" {
        let (before, now) = (host_kills(kill.before), host_kills(kill.now));
        let before = before.map(|count| (kill.before.at(), number(count)));
        let text = say.say("oom.killed.host", &[("count", &kill.count.unwrap_or(1))]);
        rows.change(("memory.oom_kills", ""), before, (at, number(now.unwrap_or(1))), text);
        not_observed.push(say.say("oom.unseen.unit", &[]));
    } else if let Some(count) = kill.count {
        let now = kill.now.unit(victim).and_then(|unit| unit.oom_kills).unwrap_or(count);
        let before = Some((kill.before.at(), number(now.saturating_sub(count))));
        let text = say.say("oom.killed.unit", &[("count", &count), ("unit", &victim)]);
        rows.change(("unit.oom_kills", victim), before, (at, number(now)), text);
    } else {
        let text = say.say("oom.result", &[("unit", &victim)]);
        rows.value(("unit.result", victim), at, word("oom-kill"), text);
    }
    let culprit = grower(input, kill, &mut rows, &mut not_observed);
    let (cause, confidence) = match &culprit {
        Some(Culprit::Unit { unit, share }) => {
            (say.say("oom.cause.unit", &[("unit", unit), ("share", share)]), 95)
        }
        Some(Culprit::Process { comm, pid, share, .. }) => {
            (say.say("oom.cause.process", &[("comm", comm), ("pid", pid), ("share", share)]), 90)
        }
        _ => (say.say("oom.cause.unclear", &[]), 80),
    };
    Finding {
        category: Category::OomKill,
        entity: victim.to_owned(),
        severity: Severity::Critical,
        confidence,
        onset: at,
        last_true: at.min(latest.at()),
        active: true,
        title: match victim {
            "host" => say.say("oom.title.host", &[]),
            unit => say.say("oom.title.unit", &[("unit", &unit)]),
        },
        cause,
        culprit,
        evidence: rows.0,
        not_observed,
        caused_by: None,
    }
}

/// Who grew in the minutes before the kill.
fn grower(
    input: &HostInput,
    kill: &Kill<'_>,
    rows: &mut Rows,
    not_observed: &mut Vec<String>,
) -> Option<Culprit> {
    let until = kill.before.at();
    let start = input
        .window
        .looks()
        .find(|look| until.since(look.at()) <= GROWTH_MS && look.same_boot(kill.before) && look.at() < until);
    let Some(start) = start else {
        not_observed.push(input.text().say("oom.unseen.before", &[]));
        return None;
    };
    let anon = |look: Look<'_>| look.value(metric::MEMORY_ANON, "");
    let Some(whole) = anon(kill.before).zip(anon(start)).map(|(now, before)| (now - before) as f64) else {
        not_observed.push("memory.anon".to_owned());
        return None;
    };
    let parts = parts(start, kill.before);
    if parts.is_empty() {
        not_observed.push(input.text().say("oom.unseen.parts", &[]));
        return None;
    }
    let culprit = match attribute(whole, &parts) {
        Attribution::One { who, share } => who.named(share),
        Attribution::Diffuse(split) => Culprit::Diffuse { why: split.told(input.text()) },
    };
    describe(input.text(), rows, &culprit, &parts, (start.at(), until));
    Some(culprit)
}

/// A unit, or a process outside of all units.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Who {
    Unit(String),
    Process { pid: u32, start_ticks: u64, comm: String, user: String },
}

impl Who {
    pub(super) fn named(self, share: u8) -> Culprit {
        match self {
            Self::Unit(unit) => Culprit::Unit { unit, share },
            Self::Process { pid, start_ticks, comm, user } => {
                Culprit::Process { pid, start_ticks, comm, user, share }
            }
        }
    }
}

pub(super) fn parts(start: Look<'_>, end: Look<'_>) -> Vec<Part<Who>> {
    let mut parts = Vec::new();
    for unit in end.units() {
        let known = start.unit(&unit.name);
        let memory = |unit: &sysop_common::sample::Unit| unit.anon_bytes.or(unit.memory_bytes);
        let Some(now) = memory(unit) else { continue };
        let before = match known {
            Some(known) => memory(known),
            // No services at all: they were not read, so that nobody is new.
            None if start.units().is_empty() => None,
            None => Some(0),
        };
        if let Some(before) = before {
            parts.push(Part { who: Who::Unit(unit.name.to_string()), amount: now as f64 - before as f64 });
        }
    }
    // What began before the youngest process known then was there already, if not among the top ones.
    let youngest = start.processes().iter().map(|process| process.start_ticks).max();
    let counted = |unit: &str| parts.iter().any(|part| matches!(&part.who, Who::Unit(name) if name == unit));
    let free: Vec<Part<Who>> = end
        .processes()
        .iter()
        .filter(|process| process.unit.is_empty() || !counted(&process.unit))
        .map(|process| {
            let known = start
                .processes()
                .iter()
                .find(|known| known.pid == process.pid && known.start_ticks == process.start_ticks);
            let before = match known {
                Some(known) => known.rss_bytes,
                None if youngest.is_some_and(|ticks| process.start_ticks > ticks) => 0,
                None => process.rss_bytes,
            };
            let who = if process.unit.is_empty() {
                Who::Process {
                    pid: process.pid,
                    start_ticks: process.start_ticks,
                    comm: process.comm.to_string(),
                    user: process.user.to_string(),
                }
            } else {
                Who::Unit(process.unit.to_string())
            };
            Part { who, amount: process.rss_bytes as f64 - before as f64 }
        })
        .collect();
    parts.extend(free);
    parts
}

fn describe(
    say: Text,
    rows: &mut Rows,
    culprit: &Culprit,
    parts: &[Part<Who>],
    (from, to): (UnixMs, UnixMs),
) {
    let found = parts.iter().find(|part| match (&part.who, culprit) {
        (Who::Unit(name), Culprit::Unit { unit, .. }) => name == unit,
        (Who::Process { pid, .. }, Culprit::Process { pid: named, .. }) => pid == named,
        _ => false,
    });
    let Some(part) = found else { return };
    let (metric, label) = match &part.who {
        Who::Unit(unit) => ("unit.anon", unit.clone()),
        Who::Process { comm, pid, .. } => ("process.rss", format!("{comm} ({pid})")),
    };
    let (amount, span) = (bytes(part.amount), say.span(to.since(from)));
    let text = say.say("oom.grew", &[("who", &label), ("amount", &amount), ("span", &span)]);
    rows.change((metric, &label), Some((from, number(0))), (to, number(part.amount.max(0.0) as u64)), text);
}
