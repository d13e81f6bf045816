//! Gathers what a decision rests on.

use sysop_common::action::{Action, Risk, RunState};
use sysop_common::ids::HostId;
use sysop_common::metric;
use sysop_common::sample::Active;
use sysop_common::time::{HOUR_MS, UnixMs};

use super::budget::{FLEET_WINDOW_MS, HOST_WINDOW_MS, Spent};
use super::plan::Past;
use super::risk::{Assessed, Circumstances, assess};
use crate::store::host_facts::{self, HostFacts};
use crate::store::runs::{BY_POLICY, Run};
use crate::store::samples::{Latest, SampleStore, Stored};
use crate::store::{Conn, StoreError, assignments, maintenance, run_states, settings};

/// How things stand on one host and around it.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) host: HostFacts,
    pub(super) fleet: u32,
    pub(super) automation: bool,
    pub(super) maintenance: Option<String>,
    /// Name of the action and its flag.
    pub(super) assignments: Vec<(String, bool)>,
    pub(super) busy_hours: bool,
    pub(super) latest: Option<Latest>,
    pub(super) now: UnixMs,
}

impl Scene {
    /// `None` when the host was removed.
    pub(super) async fn load(
        conn: &mut Conn,
        samples: &SampleStore,
        host: HostId,
        now: UnixMs,
    ) -> Result<Option<Self>, StoreError> {
        let Some(facts) = host_facts::get(&mut *conn, host).await? else { return Ok(None) };
        let window = maintenance::active(&mut *conn, host, now).await?;
        let found = assignments::of_host(&mut *conn, host).await?;
        let busy = settings::get(&mut *conn, settings::BUSY_HOURS).await?;
        Ok(Some(Self {
            fleet: host_facts::count(&mut *conn).await?,
            automation: settings::automation(conn).await?,
            maintenance: window.map(|window| window.reason),
            assignments: found.into_iter().map(|found| (found.action, found.automatic)).collect(),
            busy_hours: busy.as_deref().and_then(hours).is_some_and(|span| within(span, now)),
            latest: samples.latest(host),
            host: facts,
            now,
        }))
    }

    /// The risk of `action` here and now.
    pub(super) async fn assess(
        &self,
        conn: &mut Conn,
        action: &Action,
        offered: Option<Risk>,
    ) -> Result<Assessed, StoreError> {
        let since = self.now.plus(-FLEET_WINDOW_MS);
        let elsewhere = run_states::elsewhere(conn, action.name(), self.host.id, since).await?;
        let stored = self.latest.as_ref().map(|latest| &*latest.now);
        let process = stored.and_then(|stored| process_of(stored, action));
        Ok(assess(
            action,
            &Circumstances {
                host_critical: self.host.critical,
                protected: &self.host.grants.protected,
                running: stored.and_then(|stored| running(stored, action)),
                share: self.latest.as_ref().and_then(|latest| share(latest, action)),
                process_unit: process.map(|process| process.unit.as_str()),
                process_user: process.map(|process| process.user.as_str()),
                elsewhere,
                fleet: self.fleet,
                busy_hours: self.busy_hours,
                offered,
            },
        ))
    }

    /// Flags of the assignments of an action.
    pub(super) fn flags(&self, action: &str) -> Vec<bool> {
        self.assignments.iter().filter(|(name, _)| name == action).map(|(_, flag)| *flag).collect()
    }

    /// Whether the agent announced this version of the action's entry.
    pub(super) fn knows(&self, action: &Action) -> bool {
        let entry = action.entry();
        self.host
            .inventory
            .catalogue
            .iter()
            .any(|(name, version)| name == entry.name && *version == entry.version)
    }

    /// Owner of the process that an action is about.
    pub(super) fn process_user(&self, action: &Action) -> Option<String> {
        process_of(&self.latest.as_ref()?.now, action).map(|process| process.user.to_string())
    }
}

/// What was spent of the budgets, by what is claimed.
pub(super) async fn spent(
    conn: &mut Conn,
    host: HostId,
    incident: Option<i64>,
    now: UnixMs,
) -> Result<Spent, StoreError> {
    let runs = run_states::automatic_since(&mut *conn, now.plus(-HOST_WINDOW_MS)).await?;
    let own = match incident {
        Some(incident) => run_states::automatic_of(&mut *conn, incident).await?,
        None => 0,
    };
    let fleet = host_facts::count(conn).await?;
    Ok(Spent::count(runs, host, own, fleet, now))
}

/// An incident's runs as planning sees them.
pub(super) fn past(runs: &[Run]) -> Vec<Past> {
    runs.iter()
        .map(|run| Past {
            action: run.action.clone(),
            attempt: run.attempt,
            state: run.state,
            pending: run.pending,
            withdrawn: run.state == RunState::Cancelled && run.cancel_by.as_deref() == Some(BY_POLICY),
            updated_at: run.updated_at,
        })
        .collect()
}

fn process_of<'a>(stored: &'a Stored, action: &Action) -> Option<&'a sysop_common::sample::Process> {
    let Action::KillProcess { process } = action else { return None };
    let same = |p: &&sysop_common::sample::Process| {
        p.pid == process.pid && p.start_ticks == process.start_ticks && p.comm == process.comm
    };
    stored.tick.processes.iter().find(same)
}

fn running(stored: &Stored, action: &Action) -> Option<bool> {
    let unit = action.unit()?;
    let found = stored.tick.units.iter().find(|found| found.name == unit.as_str())?;
    Some(!matches!(found.active, Active::Failed | Active::Inactive))
}

/// The target's share of memory or CPU, whichever is larger, in percent.
fn share(latest: &Latest, action: &Action) -> Option<u8> {
    let stored = &latest.now;
    let total = stored.raw(metric::MEMORY_TOTAL, "")?;
    let percent = |part: f64| (part * 100.0).clamp(0.0, 100.0) as u8;
    if let Some(process) = process_of(stored, action) {
        return Some(percent(process.rss_bytes as f64 / total.max(1.0)));
    }
    let unit = action.unit()?.as_str();
    let find = |stored: &Stored| stored.tick.units.iter().find(|found| found.name == unit).cloned();
    let now = find(stored)?;
    let memory = now.memory_bytes.map(|bytes| percent(bytes as f64 / total.max(1.0)));
    let cpu = || {
        let before = latest.previous.as_deref()?;
        let grown = now.cpu_us?.checked_sub(find(before)?.cpu_us?)?;
        let span_us = stored.at.since(before.at) as f64 * 1_000.0;
        let cores = stored.raw(metric::CPU_CORES, "")?;
        (span_us > 0.0).then(|| percent(grown as f64 / (span_us * cores.max(1.0))))
    };
    memory.max(cpu())
}

/// `8-18`: from the first hour up to, not including, the second.
fn hours(text: &str) -> Option<(i64, i64)> {
    let (from, to) = text.trim().split_once('-')?;
    let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    ((0..24).contains(&from) && (1..=24).contains(&to) && from != to).then_some((from, to))
}

fn within((from, to): (i64, i64), now: UnixMs) -> bool {
    let hour = now.0.div_euclid(HOUR_MS).rem_euclid(24);
    if from < to { (from..to).contains(&hour) } else { hour >= from || hour < to }
}

/// Whether a text can be the setting [`settings::BUSY_HOURS`].
#[must_use]
pub(super) fn valid_hours(text: &str) -> bool {
    text.is_empty() || hours(text).is_some()
}
