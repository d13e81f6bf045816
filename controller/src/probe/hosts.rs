//! Probes that hosts run: which host runs which, the lists that go to them, the results that come in their
//! samples.

use std::collections::{BTreeMap, HashMap};

use sysop_common::ids::{Epoch, HostId};
use sysop_common::probe::{HostProbe, MAX_PROBES, Outcome, ProbeList, Reason};
use sysop_common::time::{MINUTE_MS, SECOND_MS, UnixMs};

use super::judge::Result;
use crate::link::Registry;
use crate::store::probes::standing::Standing;
use crate::store::probes::{Probe, RunBy, Settings};
use crate::store::samples::Latest;

/// The hosts that run a probe; none for one that the controller runs.
#[must_use]
pub(super) fn runners(settings: &Settings, carriers: &[(String, String, HostId)]) -> Vec<HostId> {
    match &settings.run_by {
        RunBy::Controller => Vec::new(),
        RunBy::Host(host) => vec![*host],
        RunBy::Label { name, value } => {
            let carries = |(n, v, _): &&(String, String, HostId)| n == name && v == value;
            carriers.iter().filter(carries).map(|(.., host)| *host).collect()
        }
    }
}

/// The probes of each host, at most as many as it runs.
#[must_use]
pub(super) fn lists(probes: &[Probe], carriers: &[(String, String, HostId)]) -> BTreeMap<HostId, ProbeList> {
    let mut lists: BTreeMap<HostId, ProbeList> = BTreeMap::new();
    let mut sorted: Vec<&Probe> = probes.iter().filter(|probe| probe.settings.enabled).collect();
    sorted.sort_by_key(|probe| probe.id);
    for probe in sorted {
        for host in runners(&probe.settings, carriers) {
            let list = lists.entry(host).or_default();
            if list.probes.len() < MAX_PROBES {
                let Settings { check, interval_ms, timeout_ms, .. } = &probe.settings;
                let (check, interval_ms, timeout_ms) = (check.clone(), *interval_ms, *timeout_ms);
                list.probes.push(HostProbe { id: probe.id, check, interval_ms, timeout_ms });
            }
        }
    }
    lists
}

/// What was sent to whom, by session.
#[derive(Debug, Default)]
pub(super) struct Sent(HashMap<HostId, (Epoch, UnixMs, ProbeList)>);

impl Sent {
    /// Sends each connected host its list, once a session and when it changed. A host without probes gets an
    /// empty list: its agent may still have an older one.
    pub(super) async fn send(&mut self, registry: &Registry, lists: &BTreeMap<HostId, ProbeList>) {
        let sessions = registry.all();
        self.0.retain(|host, _| sessions.iter().any(|session| session.peer.host == *host));
        for session in sessions.iter().filter(|session| session.probes) {
            let host = session.peer.host;
            let list = lists.get(&host).cloned().unwrap_or_default();
            let sent = (session.epoch, session.since, list);
            if self.0.get(&host) != Some(&sent) && registry.send_probes(host, sent.2.clone()).await.is_ok() {
                self.0.insert(host, sent);
            }
        }
    }
}

/// A changed probe reaches its host within this.
const TOLD_MS: i64 = 5 * SECOND_MS;
/// A host without a result for its interval and so long is told to say nothing.
const SILENT_MS: i64 = 2 * MINUTE_MS;

/// A new result of a probe in the newest sample of the host that runs it; that there is none, when it was so for
/// long enough.
#[must_use]
pub(super) fn result(
    probe: &Probe,
    host: HostId,
    latest: Option<&Latest>,
    before: Option<&Standing>,
    now: UnixMs,
) -> Option<Result> {
    let read = latest.and_then(|latest| {
        let label = probe.id.to_string();
        // Whole numbers well within what a float holds exactly.
        let value = |name: &str| latest.value(name, &label).map(|value| value as i64);
        let outcome = Outcome {
            reason: Reason::from_number(value("probe.reason")?).unwrap_or(Reason::LocalFault),
            number: value("probe.number").unwrap_or(0),
            // Read in ms, as every time is.
            micros: latest.value("probe.time", &label).map(|ms| (ms * 1_000.0) as u64),
            days: value("probe.certificate_days"),
        };
        let epoch = latest.now.epoch.0.cast_signed();
        Some(Result { runner: Some(host), at: latest.now.at, outcome, slot: value("probe.runs")?, epoch })
    });
    // What was told before the probe was changed is of another question.
    let read = read.filter(|read| read.at.since(probe.updated_at) >= TOLD_MS);
    let patience = i64::from(probe.settings.interval_ms) * 3 + SILENT_MS;
    let new = |read: &Result| before.is_none_or(|b| (b.epoch, b.slot) != (read.epoch, read.slot));
    match read {
        Some(read) if new(&read) && now.since(read.at) < patience => Some(read),
        _ => {
            let heard = before.map_or(probe.updated_at, |before| before.at);
            let known = before.is_some_and(|before| before.outcome.reason == Reason::NoResult);
            let outcome = Outcome::of(Reason::NoResult);
            let (slot, epoch) = before.map_or((-1, 0), |before| (before.slot, before.epoch));
            let silent = !known && now.since(heard) >= patience;
            silent.then_some(Result { runner: Some(host), at: now, outcome, slot, epoch })
        }
    }
}
