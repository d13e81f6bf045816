//! The operator's lane: findings of rules that fire. What fires is worked out by [`crate::rules`]; here it
//! is said, and joined with what the other lanes found. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use sysop_common::finding::{Category, Evidence, Finding, Value};
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::input::HostInput;
use super::messages::Text;
use super::rules::Detector;
use crate::rules::explain::{self, Reading};
use crate::rules::standing::{Cell, Subject, Truth};
use crate::rules::state::Phase;
use crate::rules::{Compiled, Standing, States, Verdict, look, must_run};
use crate::store::rules::Check;
use crate::store::samples::Latest;

/// Most labels that one finding names.
const NAMED: usize = 5;

/// Both kinds of rules.
pub(super) fn lane() -> Vec<Box<dyn Detector>> {
    vec![Box::new(Kind(Category::RuleBreached)), Box::new(Kind(Category::MustRun))]
}

/// Judges all ticks that are new; what is remembered of rules that are gone is forgotten.
pub(super) fn stand(input: &mut HostInput) -> Vec<Standing> {
    let ticks = input.window.stored();
    let mut old = std::mem::take(&mut input.state.rules).rules;
    let mut next = States::default();
    let judge = |compiled: &Arc<Compiled>| {
        let id = compiled.rule.id;
        let mut state = old.remove(&id);
        let standing = look(compiled, ticks, &mut state);
        state.map(|state| next.rules.insert(id, state));
        standing
    };
    let standings = input.rules.iter().map(judge).collect();
    input.state.rules = next;
    standings
}

/// Whether a host's newest sample calls for a look at once because something that must run does not.
pub(super) fn calls(rules: &[Arc<Compiled>], host: HostId, states: &States, latest: &Latest) -> bool {
    let down = |rule: &&Arc<Compiled>| {
        let must_run = matches!(rule.subject, Subject::MustRun) && rule.rule.covers(host);
        let known = |rule: &Arc<Compiled>| {
            states.rules.get(&rule.rule.id).is_some_and(|state| !state.instances.is_empty())
        };
        let seen = || must_run::seen(&rule.rule.definition.check, &latest.now);
        must_run && !known(rule) && seen().is_some_and(|seen| seen.down == Truth::Yes)
    };
    states.pending() || rules.iter().any(|rule| down(&rule))
}

/// Rules that fire: those with an expression, or those about what must run.
struct Kind(Category);

impl Kind {
    fn is_of(&self, compiled: &Compiled) -> bool {
        compiled.category() == self.0
    }
}

impl Detector for Kind {
    fn category(&self) -> Category {
        self.0
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["rules of operators"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let mut found: BTreeMap<String, Finding> = BTreeMap::new();
        let all = input.rules.iter().zip(&input.standings).filter(|(rule, _)| self.is_of(rule));
        for (rule, standing) in all {
            let Some(finding) = finding(input, rule, standing) else { continue };
            let open = input.open.contains(&finding.fingerprint());
            if input.maintenance && !open {
                continue;
            }
            // Two rules about one unit are one trouble: the worse says it.
            match found.get(&finding.entity) {
                Some(known) if known.severity >= finding.severity => {}
                _ => drop(found.insert(finding.entity.clone(), finding)),
            }
        }
        found.into_values().collect()
    }

    fn observes(&self, input: &HostInput, named: &str) -> bool {
        let mut own = input.rules.iter().zip(&input.standings).filter(|(rule, _)| rule.entity() == named);
        // The rule was deleted or switched off: over. Else whether what it says is known.
        let unknown = |standing: &Standing| {
            let mut firing = firing(standing).peekable();
            firing.peek().is_some() && firing.all(|(cell, ..)| matches!(cell.truth, Truth::Unknown(_)))
                || matches!(standing.verdict(), Verdict::Unknown(_))
        };
        own.all(|(_, standing)| !unknown(standing))
    }
}

fn firing(standing: &Standing) -> impl Iterator<Item = (&Cell, UnixMs, UnixMs)> {
    standing.cells.iter().filter_map(|cell| match cell.phase {
        Some(Phase::Firing { onset, last_true, .. }) => Some((cell, onset, last_true)),
        _ => None,
    })
}

fn finding(input: &HostInput, compiled: &Compiled, standing: &Standing) -> Option<Finding> {
    let cells: Vec<_> = firing(standing).collect();
    if cells.iter().all(|(cell, ..)| matches!(cell.truth, Truth::Unknown(_))) {
        return None;
    }
    let onset = cells.iter().map(|(_, onset, _)| *onset).min()?;
    let last_true = cells.iter().map(|(.., last)| *last).max()?;
    let at = standing.at?;
    let (say, written) = (input.text(), &compiled.rule.definition);
    let labels: Vec<&str> =
        cells.iter().map(|(cell, ..)| cell.label.as_str()).filter(|label| !label.is_empty()).collect();
    let mut evidence = Vec::new();
    for (cell, onset, _) in cells.iter().take(NAMED) {
        for reading in explain::readings(compiled, input.window.stored(), &cell.label) {
            evidence.push(row(say, &reading, (*onset).min(at), at));
        }
    }
    evidence.push(about_rule(say, compiled, at));
    for (n, row) in evidence.iter_mut().enumerate() {
        row.id = format!("E{}", n + 1);
    }
    let not_observed = standing.cells.iter().filter_map(|cell| match &cell.truth {
        Truth::Unknown(_) if !cell.label.is_empty() => Some(cell.label.clone()),
        _ => None,
    });
    Some(Finding {
        category: compiled.category(),
        entity: compiled.entity(),
        severity: written.severity,
        confidence: 100,
        onset,
        last_true,
        active: true,
        title: title(say, compiled, &labels),
        cause: cause(say, compiled),
        culprit: None,
        evidence,
        not_observed: not_observed.take(NAMED).collect(),
        caused_by: None,
    })
}

fn title(say: Text, compiled: &Compiled, labels: &[&str]) -> String {
    let rule = &compiled.rule;
    match &rule.definition.check {
        Check::Unit { unit } => say.say("must.title.unit", &[("unit", unit)]),
        Check::Process { name, least: 1 } => say.say("must.title.process", &[("name", name)]),
        Check::Process { name, least } => {
            say.say("must.title.processes", &[("name", name), ("least", least)])
        }
        Check::Port { port } => say.say("must.title.port", &[("port", port)]),
        Check::Expression { .. } => {
            let own = say.get(&format!("rule.builtin.{}", rule.builtin));
            let name = own.unwrap_or(&rule.definition.name);
            if labels.is_empty() {
                return name.to_owned();
            }
            let mut named = labels.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
            if labels.len() > NAMED {
                named += ", …";
            }
            say.say("rule.title.on", &[("name", &name), ("labels", &named)])
        }
    }
}

fn cause(say: Text, compiled: &Compiled) -> String {
    let written = &compiled.rule.definition;
    let span = say.span(written.for_ms);
    match &written.check {
        Check::Expression { when, .. } if written.for_ms > 0 => {
            say.say("rule.cause.for", &[("when", when), ("span", &span)])
        }
        Check::Expression { when, .. } => say.say("rule.cause", &[("when", when)]),
        _ => say.say("must.cause", &[("name", &written.name)]),
    }
}

fn row(say: Text, reading: &Reading, from: UnixMs, at: UnixMs) -> Evidence {
    let series = if reading.label.is_empty() {
        reading.metric.clone()
    } else {
        format!("{} {}", reading.metric, reading.label)
    };
    Evidence {
        id: String::new(),
        metric: reading.metric.clone(),
        label: reading.label.clone(),
        from: from.min(at),
        to: at,
        before: None,
        value: Value::Word(reading.words.clone()),
        text: say.say("rule.value", &[("series", &series), ("value", &reading.words)]),
    }
}

/// Which rule, and the labels that it gives its incidents.
fn about_rule(say: Text, compiled: &Compiled, at: UnixMs) -> Evidence {
    let (id, written) = (compiled.rule.id, &compiled.rule.definition);
    let labels: Vec<String> = written.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let labels = labels.join(", ");
    let text = if labels.is_empty() {
        say.say("rule.of", &[("id", &id), ("name", &written.name)])
    } else {
        say.say("rule.of.labels", &[("id", &id), ("name", &written.name), ("labels", &labels)])
    };
    Evidence {
        id: String::new(),
        metric: "rule".to_owned(),
        label: id.to_string(),
        from: at,
        to: at,
        before: None,
        value: Value::Word(labels),
        text,
    }
}

/// Whether a detector tells already what a rule reads: then both are one incident, and the detector's
/// finding, which names a cause, leads it.
#[must_use]
pub(super) fn told_by(cause: &Finding, rule: &Finding) -> bool {
    let families = families(cause.category);
    // A finding of a mount is about that mount alone.
    let of_mount = matches!(
        cause.category,
        Category::DiskFill | Category::InodeFill | Category::FsReadOnly | Category::DeletedOpen
    );
    let about = |label: &str| {
        label == cause.entity
            || !of_mount && (label.is_empty() || cause.evidence.iter().any(|row| row.label == label))
    };
    // The last row is about the rule itself. What fires for two file systems is told only when both are.
    let Some((_, read)) = rule.evidence.split_last() else { return false };
    !read.is_empty()
        && read
            .iter()
            .all(|row| about(&row.label) && families.iter().any(|family| row.metric.starts_with(family)))
}

/// Beginnings of names of what a detector looks at.
const fn families(category: Category) -> &'static [&'static str] {
    use Category as C;
    match category {
        C::DiskFill | C::DeletedOpen => {
            &["fs.used", "fs.free", "fs.available", "fs.total", "fs.deleted_open"]
        }
        C::InodeFill => &["fs.inodes"],
        C::FsReadOnly => &["fs.read_only"],
        C::MemoryPressure | C::MemoryLeak | C::OomKill => &["memory.", "swap.", "psi.memory"],
        C::CpuPressure | C::CpuThrottled => &["cpu.", "load.", "psi.cpu", "procs.running", "unit.cpu"],
        C::CpuSteal => &["cpu.", "load."],
        C::IoPressure | C::IoLimited | C::StuckProcess => {
            &["disk.", "psi.io", "procs.blocked", "cpu.iowait", "cpu.mode.iowait", "load.", "task.stuck"]
        }
        C::NetLoss => &["net.", "tcp.retransmits", "udp."],
        C::ConnectionFlood => &["conntrack.", "tcp."],
        C::FdExhaustion => &["fd.", "task.fds", "tcp.close_wait"],
        C::PidExhaustion => &["threads.", "procs.total", "unit.pids", "pid."],
        C::Zombies => &["tasks.zombie", "task.zombies"],
        C::ClockSkew => &["clock."],
        C::DnsFailure => &["dns."],
        C::BruteForce => &["signin."],
        C::LogFlood => &["log."],
        C::TimerOverlap => &["job."],
        _ => &[],
    }
}
