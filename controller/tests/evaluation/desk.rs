//! Incidents and decisions as the controller makes them, with its own pure parts, and an owner who allows all
//! there is. An operator approves what is proposed after a minute.

use std::collections::BTreeSet;

use sysop_common::action::{Action, RunState};
use sysop_common::finding::{Finding, Offer};
use sysop_common::grant::{Allowed, Grants};
use sysop_common::sample::Active;
use sysop_common::time::{MINUTE_MS, UnixMs};
use sysop_controller::analyse::correlate::Group;
use sysop_controller::analyse::incident::{Change, REOPEN_MS, Stand, active, reconcile};
use sysop_controller::decide::budget::Spent;
use sysop_controller::decide::plan::{Judged, Past, failed_before, next};
use sysop_controller::decide::policy::{Inputs, waits};
use sysop_controller::decide::risk::{Circumstances, assess};
use sysop_controller::store::incidents::Incident;

use super::host::Host;

/// How long an operator takes, and an order until its effect is looked at.
const APPROVES_MS: i64 = MINUTE_MS;
const SETTLES_MS: i64 = MINUTE_MS;

/// The incidents of one host, and what was done about them.
#[derive(Default)]
pub struct Desk {
    pub known: Vec<Incident>,
    runs: Vec<Run>,
    proposed: Vec<(i64, Action, UnixMs)>,
    next: i64,
}

struct Run {
    incident: i64,
    past: Past,
    automatic: bool,
    at: UnixMs,
}

/// What is to be done now.
pub struct Order {
    pub incident: i64,
    pub action: Action,
    pub automatic: bool,
}

impl Desk {
    /// Fingerprints of what is open.
    pub fn open(&self) -> BTreeSet<String> {
        active(&self.known)
    }

    pub fn has_open(&self) -> bool {
        self.known.iter().any(|incident| incident.closed_at.is_none())
    }

    /// Takes in what a look found; returns what was opened.
    pub fn take(
        &mut self,
        groups: &[Group],
        now: UnixMs,
        looked: UnixMs,
        observes: &dyn Fn(&Finding) -> bool,
    ) -> Vec<Incident> {
        let repaired: Vec<(i64, UnixMs)> = self
            .runs
            .iter()
            .filter(|run| run.past.state == RunState::Verified)
            .map(|run| (run.incident, run.past.updated_at))
            .collect();
        let stand = Stand { host: Some(super::world::HOST), now, looked, observes, repaired: &repaired };
        let mut opened = Vec::new();
        for change in reconcile(groups, &self.known, &stand) {
            let mut incident = change.incident().clone();
            if matches!(change, Change::Open(_)) {
                self.next += 1;
                incident.id = self.next;
                opened.push(incident.clone());
                self.known.push(incident);
                continue;
            }
            if matches!(change, Change::Reopen(_)) {
                opened.push(incident.clone());
            }
            if let Some(known) = self.known.iter_mut().find(|known| known.id == incident.id) {
                *known = incident;
            }
        }
        self.known.retain(|incident| incident.closed_at.is_none_or(|at| now.since(at) <= REOPEN_MS));
        opened
    }

    /// Orders that are due, by policy or because somebody approved them.
    pub fn orders(&mut self, host: &Host, now: UnixMs) -> Vec<Order> {
        let mut orders = Vec::new();
        let open: Vec<Incident> = self.known.iter().filter(|i| i.closed_at.is_none()).cloned().collect();
        for incident in open.iter().filter(|incident| !incident.offers.is_empty()) {
            let past: Vec<Past> = self
                .runs
                .iter()
                .filter(|run| run.incident == incident.id)
                .map(|run| run.past.clone())
                .collect();
            let judged: Vec<Judged> =
                incident.offers.iter().map(|offer| self.judge(host, incident, offer, &past, now)).collect();
            let Some(planned) = next(&judged, &past, incident.last_true) else { continue };
            let action = judged[planned.offer].action.clone();
            if !planned.automatic && !self.approved(incident.id, &action, now) {
                continue;
            }
            let updated_at = now;
            let past = Past {
                action: action.clone(),
                attempt: planned.attempt,
                state: RunState::Started,
                pending: true,
                withdrawn: false,
                updated_at,
            };
            self.runs.push(Run { incident: incident.id, past, automatic: planned.automatic, at: now });
            orders.push(Order { incident: incident.id, action, automatic: planned.automatic });
        }
        orders
    }

    fn approved(&mut self, incident: i64, action: &Action, now: UnixMs) -> bool {
        let known = self.proposed.iter().find(|(id, known, _)| *id == incident && known == action);
        match known {
            Some((_, _, at)) => now.since(*at) >= APPROVES_MS,
            None => {
                self.proposed.push((incident, action.clone(), now));
                false
            }
        }
    }

    /// What became of orders: `helped` says whether the trouble of an action's incident is gone.
    pub fn settle(&mut self, now: UnixMs, helped: bool) {
        for run in self.runs.iter_mut().filter(|run| run.past.pending && now.since(run.at) >= SETTLES_MS) {
            run.past.pending = false;
            run.past.state = if helped { RunState::Verified } else { RunState::NotVerified };
            run.past.updated_at = now;
        }
    }

    fn judge(&self, host: &Host, incident: &Incident, offer: &Offer, past: &[Past], now: UnixMs) -> Judged {
        let action = &offer.action;
        let unit = action.unit().and_then(|unit| host.find(unit.as_str())).map(|at| &host.works[at]);
        let process = match action {
            Action::KillProcess { process } => host.works.iter().find(|work| work.pid == process.pid),
            _ => None,
        };
        let grants = grants();
        let held = unit.or(process).map(|work| (work.now + work.grown) / host.memory * 100.0);
        let risk = assess(
            action,
            &Circumstances {
                running: unit.map(|work| !matches!(work.active, Active::Failed | Active::Inactive)),
                share: held.map(|share| share.clamp(0.0, 100.0) as u8),
                process_unit: process.filter(|work| !work.session).map(|work| work.name.as_str()),
                process_user: process.map(|work| work.user.as_str()),
                offered: Some(offer.risk),
                ..Circumstances::default()
            },
        );
        let automatic = |run: &&Run| run.automatic && now.since(run.at) < 60 * MINUTE_MS;
        let spent = Spent {
            incident: self.runs.iter().filter(automatic).filter(|run| run.incident == incident.id).count()
                as u32,
            host: self.runs.iter().filter(automatic).count() as u32,
            ..Spent::default()
        };
        let fresh = incident.findings.iter().any(|f| f.active && f.fingerprint() == offer.finding);
        let inputs = Inputs {
            action,
            risk: risk.risk,
            automation: true,
            maintenance: None,
            assignments: &[true],
            source: offer.source,
            unattended: offer.unattended,
            fresh,
            grants: &grants,
            process_user: process.map(|work| work.user.as_str()),
            known: true,
            failed_before: failed_before(past),
            doubt: None,
            spent: &spent,
        };
        Judged { action: action.clone(), waits: waits(&inputs) }
    }
}

/// The owner allows everything, also without a person.
fn grants() -> Grants {
    let all = || vec!["*".to_owned()];
    let allow = ["restart_service", "start_service", "stop_service", "kill_process", "cleanup_temp_files"]
        .map(|action| Allowed {
            action: action.to_owned(),
            units: all(),
            processes: all(),
            roots: vec!["/tmp".to_owned(), "/var/tmp".to_owned()],
            automatic: true,
            ..Allowed::default()
        });
    Grants { allow: allow.into(), executor: true, max_actions_per_hour: 100, ..Grants::default() }
}

/// What an action does to the host.
pub fn act(host: &mut Host, action: &Action) {
    match action {
        Action::RestartService { unit } | Action::StartService { unit } => {
            if let Some(at) = host.find(unit.as_str()) {
                host.begin(at, true);
            }
        }
        Action::StopService { unit } => {
            if let Some(at) = host.find(unit.as_str()) {
                host.end(at, None);
            }
        }
        Action::KillProcess { process } => {
            if let Some(at) = host.works.iter().position(|work| work.pid == process.pid) {
                let session = host.works[at].session;
                host.end(at, (!session).then_some("signal"));
            }
        }
        Action::CleanupTempFiles { root, .. } => {
            let under = |path: &str| root.as_str().starts_with(path);
            if let Some(mount) = host.mounts.iter_mut().filter(|m| under(m.path)).max_by_key(|m| m.path.len())
            {
                mount.used -= if mount.temp > 0.0 { 0.9 * mount.used } else { 0.0 };
                mount.inodes_used -= if mount.temp_inodes > 0.0 { 0.9 * mount.inodes_used } else { 0.0 };
            }
        }
    }
}
