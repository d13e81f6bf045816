//! What may be done about a finding: actions of the catalogue with their parameters bound. Pure.
//!
//! An action that is not offered here can be started by a person, and by nobody else.

use sysop_common::action::{Action, ProcessRef, Risk, TempRoot, UnitName};
use sysop_common::finding::{Category, Culprit, Finding, Offer, OfferSource};
use sysop_common::grant::matches_pattern;

/// Files of this age in a directory for temporary files are taken for abandoned, in seconds.
const ABANDONED_S: u32 = 24 * 3_600;
/// In an emergency, in seconds.
const IDLE_S: u32 = 600;
/// Most bytes that one cleaning may free.
const MOST_BYTES: u64 = 64 << 30;
/// Services of which a plain start is offered before a restart: they hold data.
const START_FIRST: &[&str] = &["mysql*", "mariadb*", "postgresql*", "mongod*", "redis*", "etcd*"];
/// Owners whose processes nobody is offered to end.
const SYSTEM_USERS: &[&str] =
    &["root", "0", "mysql", "postgres", "redis", "mongodb", "etcd", "systemd-network"];

/// Offers for one finding, best first. `mounts` are all mount points of the host.
#[must_use]
pub fn offers(finding: &Finding, mounts: &[&str]) -> Vec<Offer> {
    match finding.category {
        Category::UnitFailed => failed(finding),
        Category::UnitFlapping => flapping(finding),
        Category::OomKill => grower(finding),
        Category::DiskFill | Category::InodeFill => fill(finding, mounts),
        // A broken disk, a lost host or a copied key is not mended by any action of ours.
        _ => Vec::new(),
    }
}

/// Everything but what must be said of each.
fn offer(finding: &Finding, action: Action, texts: [&str; 4]) -> Offer {
    let [why, pre_check, expect, not_fixed] = texts.map(str::to_owned);
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

fn failed(finding: &Finding) -> Vec<Offer> {
    let Ok(unit) = finding.entity.parse::<UnitName>() else { return Vec::new() };
    let name = unit.as_str();
    let texts: [&str; 4] = [
        &format!("{name} is failed and systemd will not start it again by itself"),
        &format!("{name} is still failed, and is not protected on the host"),
        &format!("{name} is active after 10 s, and still after 60 s"),
        "why it failed: if that persists, it will fail again",
    ];
    let restart =
        Offer { unattended: true, ..offer(finding, Action::RestartService { unit: unit.clone() }, texts) };
    let start =
        Offer { unattended: true, ..offer(finding, Action::StartService { unit: unit.clone() }, texts) };
    if START_FIRST.iter().any(|pattern| matches_pattern(pattern, name)) {
        vec![start, restart]
    } else {
        vec![restart, start]
    }
}

fn flapping(finding: &Finding) -> Vec<Offer> {
    let Ok(unit) = finding.entity.parse::<UnitName>() else { return Vec::new() };
    let name = unit.as_str();
    let texts: [&str; 4] = [
        &format!("{name} ends soon after each start, and the restarts cost time and fill logs"),
        &format!("{name} still restarts, and nothing that runs needs it"),
        &format!("{name} is inactive and stays so"),
        "what it should do is not done until its cause is mended and it is started again",
    ];
    vec![offer(finding, Action::StopService { unit: unit.clone() }, texts)]
}

fn grower(finding: &Finding) -> Vec<Offer> {
    let Some(Culprit::Unit { unit, .. }) = &finding.culprit else { return Vec::new() };
    let Ok(name) = unit.parse::<UnitName>() else { return Vec::new() };
    let texts: [&str; 4] = [
        &format!("{unit} grew most before the kernel had to kill"),
        &format!("{unit} runs, and is not protected on the host"),
        &format!("{unit} is active after 10 s, and uses less memory"),
        "a leak: it will grow again until it is mended or limited",
    ];
    vec![offer(finding, Action::RestartService { unit: name }, texts)]
}

fn fill(finding: &Finding, mounts: &[&str]) -> Vec<Offer> {
    let mount = finding.entity.as_str();
    let mut found = Vec::new();
    for root in ["/tmp", "/var/tmp"].into_iter().filter(|root| holder(root, mounts) == Some(mount)) {
        let Ok(root) = root.parse::<TempRoot>() else { continue };
        found.extend(cleanings(finding, &root, mount == root.as_str()));
    }
    match &finding.culprit {
        Some(Culprit::Unit { unit, .. }) => found.extend(writer_unit(finding, unit)),
        Some(culprit @ Culprit::Process { .. }) => found.extend(writer_process(finding, culprit)),
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
fn cleanings(finding: &Finding, root: &TempRoot, own: bool) -> Vec<Offer> {
    let clean = |min_age_s| Action::CleanupTempFiles { root: root.clone(), min_age_s, max_bytes: MOST_BYTES };
    let share = if own {
        format!("{root} is a file system of its own: all of its growth is there")
    } else {
        format!("{root} lies on {}; how much of the growth is there is not observed", finding.entity)
    };
    let texts = |age: &str| -> [String; 4] {
        [
            format!("{share}; files not touched for {age} can go"),
            format!("{root} is a directory of the system, on the same file system, and holds such files"),
            format!("5 % of {} is free again", finding.entity),
            "whoever writes goes on writing".to_owned(),
        ]
    };
    let make = |min_age_s, age: &str| {
        let texts = texts(age);
        offer(finding, clean(min_age_s), [&texts[0], &texts[1], &texts[2], &texts[3]])
    };
    let mut found = vec![Offer { unattended: own, ..make(ABANDONED_S, "a day") }];
    if own {
        found.push(Offer { risk: Risk::Medium, ..make(IDLE_S, "10 minutes") });
    }
    found
}

fn writer_unit(finding: &Finding, unit: &str) -> Vec<Offer> {
    let Ok(name) = unit.parse::<UnitName>() else { return Vec::new() };
    let why = format!("{unit} writes most of what fills {}", finding.entity);
    let pre = format!("{unit} runs, and is not protected on the host");
    let expect = format!("{} stops filling up", finding.entity);
    let kept = "what it wrote stays where it is";
    vec![
        offer(finding, Action::RestartService { unit: name.clone() }, [&why, &pre, &expect, kept]),
        offer(finding, Action::StopService { unit: name }, [&why, &pre, &expect, kept]),
    ]
}

fn writer_process(finding: &Finding, culprit: &Culprit) -> Option<Offer> {
    let Culprit::Process { pid, start_ticks, comm, user, .. } = culprit else { return None };
    if SYSTEM_USERS.contains(&user.as_str()) || *pid < 2 || comm.is_empty() {
        return None;
    }
    let process = ProcessRef { pid: *pid, start_ticks: *start_ticks, comm: comm.clone() };
    let texts: [&str; 4] = [
        &format!("{comm} (pid {pid}, user {user}) writes most of what fills {}", finding.entity),
        "the process is still the same one, and belongs to no service",
        &format!("the process is gone, and {} stops filling up", finding.entity),
        "what it wrote stays where it is; it cannot be brought back",
    ];
    Some(offer(finding, Action::KillProcess { process }, texts))
}
