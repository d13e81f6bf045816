//! Offers for trouble of single services and processes.

use sysop_common::action::{Action, UnitName};
use sysop_common::finding::{Category, Culprit, Finding, Offer};
use sysop_common::grant::matches_pattern;

use super::super::messages::Text;
use super::{About, Act, holds_data, kill, offer};

/// Services whose end takes the way to the host, or the record of what happened, with it. The host protects
/// more; of these nothing is even offered.
const PROTECTED: &[&str] = &[
    "systemd-*",
    "ssh.service",
    "sshd.service",
    "ssh@*",
    "sshd@*",
    "dropbear*",
    "dbus*",
    "polkit*",
    "NetworkManager*",
    "network*",
    "wpa_supplicant*",
    "dhcpcd*",
    "cloud-init*",
    "firewalld*",
    "nftables*",
    "auditd*",
    "sysop-*",
    "user@*",
    "session-*",
    "getty@*",
    "serial-getty@*",
    "lvm2-*",
    "multipathd*",
];

/// Whether nothing is offered against this service.
pub(super) fn is_protected(unit: &str) -> bool {
    PROTECTED.iter().any(|pattern| matches_pattern(pattern, unit))
}

/// Offers for a finding of one service or process, best first; none for what is nobody's, or whose remedy is
/// not in the catalogue: a source to be blocked, a limit to be raised, a job to be planned anew.
pub(super) fn offers(finding: &Finding, about: &About<'_>) -> Vec<Offer> {
    let (why, acts): (&str, &[Act]) = match finding.category {
        Category::MemoryLeak => ("offer.entity.leak.why", &[Act::Restart]),
        Category::DeletedOpen => ("offer.entity.deleted.why", &[Act::Restart]),
        Category::LogFlood => ("offer.entity.logs.why", &[Act::Restart, Act::Stop]),
        Category::FdExhaustion => ("offer.entity.fd.why", &[Act::Restart]),
        // Begun again, a bomb goes off again.
        Category::PidExhaustion if rests_on(finding, "procs.forked") => {
            ("offer.entity.bomb.why", &[Act::Stop])
        }
        Category::PidExhaustion => ("offer.entity.pids.why", &[Act::Restart]),
        Category::Zombies => ("offer.entity.zombies.why", &[Act::Restart]),
        Category::DnsFailure => ("offer.entity.dns.why", &[Act::Restart]),
        // What waits in the kernel cannot be ended, so it cannot be begun again either.
        Category::UnitHung if rests_on(finding, "task.stopped") => ("offer.entity.hung.why", &[Act::Restart]),
        _ => return Vec::new(),
    };
    match &finding.culprit {
        Some(Culprit::Unit { unit, .. }) if !is_protected(unit) => {
            let make = |act: &Act| service(finding, about, unit, (why, *act));
            acts.iter().filter_map(make).collect()
        }
        Some(culprit @ Culprit::Process { comm, pid, .. }) => {
            let say = about.text;
            let texts = [
                say.say(why, &[("who", &format!("{comm} (pid {pid})"))]),
                say.say("offer.process.check", &[]),
                expect(say, finding.category),
                say.say("offer.entity.kill.not_fixed", &[]),
            ];
            kill(finding, culprit, texts).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn rests_on(finding: &Finding, metric: &str) -> bool {
    finding.evidence.iter().any(|row| row.metric == metric)
}

fn service(finding: &Finding, about: &About<'_>, unit: &str, (why, act): (&str, Act)) -> Option<Offer> {
    let say = about.text;
    let name = unit.parse::<UnitName>().ok()?;
    let action = match act {
        Act::Restart => Action::RestartService { unit: name },
        Act::Stop => Action::StopService { unit: name },
    };
    let not_fixed = match act {
        Act::Restart => say.say("offer.entity.restart.not_fixed", &[("unit", &unit)]),
        Act::Stop => say.say("offer.entity.stop.not_fixed", &[("unit", &unit)]),
    };
    let check = say.say("offer.runs.check", &[("unit", &unit)]);
    let texts = [say.say(why, &[("who", &unit)]), check, expect(say, finding.category), not_fixed];
    let made = offer(finding, action, texts);
    let heavy = holds_data(unit) || about.large.contains(&unit);
    let risk = if heavy { made.risk.raised() } else { made.risk };
    // A service that hangs does nothing for anybody: a restart loses nothing.
    let unattended = finding.category == Category::UnitHung && act == Act::Restart && !heavy;
    Some(Offer { risk, unattended, ..made })
}

fn expect(say: Text, category: Category) -> String {
    match category {
        Category::MemoryLeak => say.say("offer.entity.leak.expect", &[]),
        Category::DeletedOpen => say.say("offer.entity.deleted.expect", &[]),
        Category::LogFlood => say.say("offer.entity.logs.expect", &[]),
        Category::FdExhaustion => say.say("offer.entity.fd.expect", &[]),
        Category::PidExhaustion => say.say("offer.entity.pids.expect", &[]),
        Category::Zombies => say.say("offer.entity.zombies.expect", &[]),
        Category::DnsFailure => say.say("offer.entity.dns.expect", &[]),
        _ => say.say("offer.entity.hung.expect", &[]),
    }
}
