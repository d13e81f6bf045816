//! What may be done about a finding: actions of the catalogue with their parameters bound. Pure.
//!
//! An action that is not offered here can be started by a person, and by nobody else.

mod entity;

use sysop_common::action::{Action, ProcessRef, Risk, TempRoot, UnitName};
use sysop_common::finding::{Category, Culprit, Finding, Offer, OfferSource, Severity};
use sysop_common::grant::matches_pattern;

use super::messages::Text;

/// What of a host beside the finding matters to an offer.
#[derive(Debug, Clone, Default)]
pub struct About<'a> {
    /// All its mount points.
    pub mounts: Vec<&'a str>,
    /// Services that hold more than a quarter of the host's memory: ending one hurts more.
    pub large: Vec<&'a str>,
    /// The texts in which offers speak.
    pub text: Text,
}

/// Files of this age in a directory for temporary files are taken for abandoned, in seconds.
const ABANDONED_S: u32 = 24 * 3_600;
/// In an emergency, in seconds.
const IDLE_S: u32 = 600;
/// Most bytes that one cleaning may free.
const MOST_BYTES: u64 = 64 << 30;
/// Share in percent, and confidence, from which an offer against the one that takes all memory may run by
/// itself: everything else on the host is about to fail.
const CLEAR: (u8, u8) = (70, 85);
/// Services of which a plain start is offered before a restart: they hold data.
const START_FIRST: &[&str] = &["mysql*", "mariadb*", "postgresql*", "mongod*", "redis*", "etcd*"];
/// Owners whose processes nobody is offered to end.
const SYSTEM_USERS: &[&str] =
    &["root", "0", "mysql", "postgres", "redis", "mongodb", "etcd", "systemd-network"];

/// Offers for one finding, best first.
#[must_use]
pub fn offers(finding: &Finding, about: &About<'_>) -> Vec<Offer> {
    let say = about.text;
    match finding.category {
        Category::UnitFailed => failed(say, finding),
        Category::UnitFlapping => flapping(say, finding),
        Category::MustRun => must_run(say, finding),
        Category::OomKill => grower(say, finding),
        Category::DiskFill | Category::InodeFill => fill(finding, about),
        Category::CpuPressure => user(finding, about, "offer.cpu", &[Act::Restart, Act::Stop]),
        Category::IoPressure => user(finding, about, "offer.io", &[Act::Stop]),
        Category::MemoryPressure => user(finding, about, "offer.memory", &[Act::Restart, Act::Stop]),
        Category::ClockSkew => keeper(say, finding),
        // A broken disk, a lost host or a copied key is not mended by any action of ours.
        _ => entity::offers(finding, about),
    }
}

/// Whether a service holds data, as far as its name tells.
pub(super) fn holds_data(unit: &str) -> bool {
    START_FIRST.iter().any(|pattern| matches_pattern(pattern, unit))
}

/// What may be done about a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Restart,
    Stop,
}

/// Offers against the one that uses up what others wait for. Nothing, where nobody is named.
fn user(finding: &Finding, about: &About<'_>, key: &str, acts: &[Act]) -> Vec<Offer> {
    let say = about.text;
    match &finding.culprit {
        Some(Culprit::Unit { unit, share }) if !entity::is_protected(unit) => {
            let Ok(name) = unit.parse::<UnitName>() else { return Vec::new() };
            let heavy = holds_data(unit) || about.large.contains(&unit.as_str());
            let make = |act: &Act| {
                let action = match act {
                    Act::Restart => Action::RestartService { unit: name.clone() },
                    Act::Stop => Action::StopService { unit: name.clone() },
                };
                let fixed = if *act == Act::Restart { "restart" } else { "stop" };
                let texts = [
                    say.say(&format!("{key}.why"), &[("who", unit), ("share", share)]),
                    say.say("offer.runs.check", &[("unit", unit)]),
                    say.say(&format!("{key}.expect"), &[]),
                    say.say(&format!("offer.{fixed}.not_fixed"), &[("unit", unit)]),
                ];
                let made = offer(finding, action, texts);
                let risk = if heavy { made.risk.raised() } else { made.risk };
                let alone = *act == Act::Restart && !heavy && all_at_stake(finding, *share);
                Offer { risk, unattended: alone, ..made }
            };
            acts.iter().map(make).collect()
        }
        Some(culprit @ Culprit::Process { comm, share, .. }) => {
            let texts = [
                say.say(&format!("{key}.why"), &[("who", comm), ("share", share)]),
                say.say("offer.process.check", &[]),
                say.say(&format!("{key}.expect"), &[]),
                say.say("offer.kill.not_fixed", &[]),
            ];
            kill(finding, culprit, texts).into_iter().collect()
        }
        Some(Culprit::Unit { .. } | Culprit::Diffuse { .. }) | None => Vec::new(),
    }
}

fn all_at_stake(finding: &Finding, share: u8) -> bool {
    finding.category == Category::MemoryPressure
        && finding.severity == Severity::Critical
        && share >= CLEAR.0
        && finding.confidence >= CLEAR.1
}

/// The service that sets the clock.
fn keeper(say: Text, finding: &Finding) -> Vec<Offer> {
    let Some(Culprit::Unit { unit, .. }) = &finding.culprit else { return Vec::new() };
    if entity::is_protected(unit) {
        return Vec::new();
    }
    let Ok(name) = unit.parse::<UnitName>() else { return Vec::new() };
    let texts = [
        say.say("offer.clock.why", &[("unit", unit)]),
        say.say("offer.runs.check", &[("unit", unit)]),
        say.say("offer.clock.expect", &[]),
        say.say("offer.clock.not_fixed", &[]),
    ];
    vec![offer(finding, Action::RestartService { unit: name }, texts)]
}

/// The end of a process, where its owner and number allow it.
fn kill(finding: &Finding, culprit: &Culprit, texts: [String; 4]) -> Option<Offer> {
    let Culprit::Process { pid, start_ticks, comm, user, .. } = culprit else { return None };
    if SYSTEM_USERS.contains(&user.as_str()) || *pid < 2 || comm.is_empty() {
        return None;
    }
    let process = ProcessRef { pid: *pid, start_ticks: *start_ticks, comm: comm.clone() };
    Some(offer(finding, Action::KillProcess { process }, texts))
}

/// Everything but what must be said of each.
fn offer(finding: &Finding, action: Action, texts: [String; 4]) -> Offer {
    let [why, pre_check, expect, not_fixed] = texts;
    Offer {
        id: String::new(),
        finding: finding.fingerprint(),
        risk: action.entry().floor,
        action,
        source: OfferSource::Analyser,
        unattended: false,
        why,
        pre_check,
        expect,
        not_fixed,
    }
}

fn failed(say: Text, finding: &Finding) -> Vec<Offer> {
    let Ok(unit) = finding.entity.parse::<UnitName>() else { return Vec::new() };
    let name = unit.as_str();
    let texts = || {
        [
            say.say("offer.failed.why", &[("unit", &name)]),
            say.say("offer.failed.check", &[("unit", &name)]),
            say.say("offer.failed.expect", &[("unit", &name)]),
            say.say("offer.failed.not_fixed", &[]),
        ]
    };
    let unattended = |action| Offer { unattended: true, ..offer(finding, action, texts()) };
    let restart = unattended(Action::RestartService { unit: unit.clone() });
    let start = unattended(Action::StartService { unit: unit.clone() });
    if holds_data(name) { vec![start, restart] } else { vec![restart, start] }
}

fn flapping(say: Text, finding: &Finding) -> Vec<Offer> {
    let Ok(unit) = finding.entity.parse::<UnitName>() else { return Vec::new() };
    let name = unit.as_str();
    let texts = [
        say.say("offer.flapping.why", &[("unit", &name)]),
        say.say("offer.flapping.check", &[("unit", &name)]),
        say.say("offer.flapping.expect", &[("unit", &name)]),
        say.say("offer.flapping.not_fixed", &[]),
    ];
    vec![offer(finding, Action::StopService { unit: unit.clone() }, texts)]
}

/// A service that an operator wants to run and that was not started, or was stopped.
fn must_run(say: Text, finding: &Finding) -> Vec<Offer> {
    let Ok(unit) = finding.entity.parse::<UnitName>() else { return Vec::new() };
    let name = unit.as_str();
    let texts = || {
        [
            say.say("offer.must.why", &[("unit", &name)]),
            say.say("offer.must.check", &[("unit", &name)]),
            say.say("offer.must.expect", &[("unit", &name)]),
            say.say("offer.must.not_fixed", &[]),
        ]
    };
    let start = offer(finding, Action::StartService { unit: unit.clone() }, texts());
    let restart = offer(finding, Action::RestartService { unit: unit.clone() }, texts());
    // A unit that is not failed may have been stopped on purpose: a person decides.
    vec![start, restart]
}

fn grower(say: Text, finding: &Finding) -> Vec<Offer> {
    let Some(Culprit::Unit { unit, .. }) = &finding.culprit else { return Vec::new() };
    let Ok(name) = unit.parse::<UnitName>() else { return Vec::new() };
    let texts = [
        say.say("offer.grower.why", &[("unit", unit)]),
        say.say("offer.runs.check", &[("unit", unit)]),
        say.say("offer.grower.expect", &[("unit", unit)]),
        say.say("offer.grower.not_fixed", &[]),
    ];
    vec![offer(finding, Action::RestartService { unit: name }, texts)]
}

fn fill(finding: &Finding, about: &About<'_>) -> Vec<Offer> {
    let (mount, say) = (finding.entity.as_str(), about.text);
    let mut found = Vec::new();
    let here = |root: &&str| holder(root, &about.mounts) == Some(mount);
    for root in ["/tmp", "/var/tmp"].into_iter().filter(here) {
        let Ok(root) = root.parse::<TempRoot>() else { continue };
        found.extend(cleanings(say, finding, &root, mount == root.as_str()));
    }
    match &finding.culprit {
        Some(Culprit::Unit { unit, .. }) => found.extend(writer_unit(say, finding, unit)),
        Some(culprit @ Culprit::Process { .. }) => found.extend(writer_process(say, finding, culprit)),
        Some(Culprit::Diffuse { .. }) | None => {}
    }
    found
}

/// The mount that holds a directory: the longest one that is a prefix of its path.
fn holder<'a>(root: &str, mounts: &[&'a str]) -> Option<&'a str> {
    let holds = |mount: &str| {
        mount == "/" || root == mount || root.strip_prefix(mount).is_some_and(|rest| rest.starts_with('/'))
    };
    mounts.iter().copied().filter(|mount| holds(mount)).max_by_key(|mount| mount.len())
}

/// `own`: the file system holds nothing but temporary files, so all of its growth is there.
fn cleanings(say: Text, finding: &Finding, root: &TempRoot, own: bool) -> Vec<Offer> {
    let (root_name, mount) = (root.as_str(), finding.entity.as_str());
    let clean = |min_age_s| Action::CleanupTempFiles { root: root.clone(), min_age_s, max_bytes: MOST_BYTES };
    let make = |min_age_s, age: &str| {
        let age = say.say(age, &[]);
        let key = if own { "offer.clean.own" } else { "offer.clean.shared" };
        let texts = [
            say.say(key, &[("root", &root_name), ("mount", &mount), ("age", &age)]),
            say.say("offer.clean.check", &[("root", &root_name)]),
            say.say("offer.clean.expect", &[("mount", &mount)]),
            say.say("offer.clean.not_fixed", &[]),
        ];
        offer(finding, clean(min_age_s), texts)
    };
    let mut found = vec![Offer { unattended: own, ..make(ABANDONED_S, "offer.clean.age.day") }];
    if own {
        found.push(Offer { risk: Risk::Medium, ..make(IDLE_S, "offer.clean.age.short") });
    }
    found
}

fn writer_unit(say: Text, finding: &Finding, unit: &str) -> Vec<Offer> {
    let Ok(name) = unit.parse::<UnitName>() else { return Vec::new() };
    let texts = || {
        [
            say.say("offer.writer.unit.why", &[("unit", &unit), ("mount", &finding.entity)]),
            say.say("offer.runs.check", &[("unit", &unit)]),
            say.say("offer.writer.expect", &[("mount", &finding.entity)]),
            say.say("offer.writer.not_fixed", &[]),
        ]
    };
    vec![
        offer(finding, Action::RestartService { unit: name.clone() }, texts()),
        offer(finding, Action::StopService { unit: name }, texts()),
    ]
}

fn writer_process(say: Text, finding: &Finding, culprit: &Culprit) -> Option<Offer> {
    let Culprit::Process { pid, comm, user, .. } = culprit else { return None };
    let mount = &finding.entity;
    let texts = [
        say.say(
            "offer.writer.process.why",
            &[("comm", comm), ("pid", pid), ("user", user), ("mount", mount)],
        ),
        say.say("offer.process.check", &[]),
        say.say("offer.writer.process.expect", &[("mount", mount)]),
        say.say("offer.writer.process.not_fixed", &[]),
    ];
    kill(finding, culprit, texts)
}
