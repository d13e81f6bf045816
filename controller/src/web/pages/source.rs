//! What pages are filled from, and what several of them compute in the same way.

use std::collections::{BTreeSet, HashMap};

use sysop_common::action::RunState;
use sysop_common::finding::Severity;
use sysop_common::ids::HostId;
use sysop_common::metric;
use sysop_common::order::Origin;
use sysop_common::time::{MINUTE_MS, UnixMs};

use super::hosts::HostRow;
use super::shared::{HostRef, IncidentLine, RunLine};
use super::words;
use crate::store::hosts::{self, Host, HostStatus};
use crate::store::incidents::Incident;
use crate::store::presence::{Carrier, Presence};
use crate::store::runs::{self, Run, RunFilter};
use crate::store::samples::{Latest, SampleStore};
use crate::store::{Db, StoreError, incidents};
use crate::web::state::AppState;
use crate::web::widgets::{State, format};

/// How far back the small lines of lists go.
const LINE_MS: i64 = 10 * MINUTE_MS;
/// Hosts that are looked at for one page at most.
const MAX_HOSTS: usize = 5_000;

/// What pages are filled from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Control data.
    pub db: &'a Db,
    /// Samples.
    pub samples: &'a SampleStore,
    /// Who is connected.
    pub presence: &'a Presence,
    /// Time between two samples of a host, ms.
    pub interval_ms: i64,
    /// Now.
    pub now: UnixMs,
}

/// What is wrong with a host, from its open incidents and waiting runs.
#[derive(Debug, Clone, Default)]
pub struct Trouble {
    /// The worst severity, and how many incidents are open.
    pub worst: Option<(Severity, u32)>,
    /// Title of the worst.
    pub title: String,
    /// Runs that wait for a person.
    pub waiting: u32,
}

impl<'a> Source<'a> {
    /// From the application's state.
    #[must_use]
    pub fn of(state: &'a AppState) -> Self {
        Self {
            db: &state.db,
            samples: &state.samples,
            presence: &state.presence,
            interval_ms: state.agents.interval_ms,
            now: state.now(),
        }
    }

    /// All hosts that are not removed, by id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn hosts(&self) -> Result<Vec<Host>, StoreError> {
        let mut all: Vec<Host> = Vec::new();
        loop {
            let after = all.last().map(|host| host.id);
            let more =
                hosts::list(self.db, &hosts::HostFilter { after, limit: 500, ..Default::default() }).await?;
            let last = more.len() < 500;
            all.extend(more);
            if last || all.len() >= MAX_HOSTS {
                return Ok(all);
            }
        }
    }

    /// Names of these hosts, for lines that link to them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn names(
        &self,
        ids: impl IntoIterator<Item = HostId>,
    ) -> Result<HashMap<HostId, HostRef>, StoreError> {
        let mut names = HashMap::new();
        for id in ids.into_iter().collect::<BTreeSet<_>>() {
            let name = match hosts::get(self.db, id).await {
                Ok(host) => host.name,
                Err(StoreError::NotFound(_)) => id.to_string(),
                Err(error) => return Err(error),
            };
            names.insert(id, HostRef { id: id.to_string(), name });
        }
        Ok(names)
    }

    /// Open incidents, and by host what is wrong there.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn troubles(&self) -> Result<(Vec<Incident>, Vec<Run>, HashMap<HostId, Trouble>), StoreError> {
        let open = incidents::open(&mut *self.db.reader().await?).await?;
        let waiting = self
            .runs(RunFilter { state: Some(RunState::AwaitingApproval), limit: 500, ..RunFilter::default() })
            .await?;
        let mut troubles: HashMap<HostId, Trouble> = HashMap::new();
        for incident in &open {
            let Some(host) = incident.host else { continue };
            let trouble = troubles.entry(host).or_default();
            let (worst, count) = trouble.worst.unwrap_or((incident.severity, 0));
            if count == 0 || incident.severity > worst {
                trouble.title.clone_from(&incident.title);
            }
            trouble.worst = Some((worst.max(incident.severity), count + 1));
        }
        for run in &waiting {
            troubles.entry(run.host).or_default().waiting += 1;
        }
        Ok((open, waiting, troubles))
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn runs(&self, filter: RunFilter) -> Result<Vec<Run>, StoreError> {
        runs::list(self.db, filter).await
    }

    /// How a host is doing.
    #[must_use]
    pub fn status(&self, host: HostId, latest: Option<&Latest>) -> HostStatus {
        HostStatus::derive(
            self.presence.of(host).is_some(),
            latest.map(|l| l.now.at),
            self.interval_ms,
            self.now,
        )
    }

    /// How it is reached: `QUIC`, `TLS`; empty when it is not.
    #[must_use]
    pub fn link(&self, host: HostId) -> String {
        match self.presence.of(host).map(|connected| connected.carrier) {
            Some(Carrier::Quic) => "QUIC".to_owned(),
            Some(Carrier::Tcp) => "TLS".to_owned(),
            None => String::new(),
        }
    }

    /// A host as a row, without its small line.
    #[must_use]
    pub fn row(&self, host: &Host, trouble: Option<&Trouble>) -> HostRow {
        let latest = self.samples.latest(host.id);
        let latest = latest.as_ref();
        let status = self.status(host.id, latest);
        let (state, problem) = self.problem(status, latest, trouble, self.presence.left(host.id));
        let value = |name: &str| latest.and_then(|latest| latest.value(name, ""));
        let old = matches!(status, HostStatus::Offline | HostStatus::Stale);
        let link = self.link(host.id);
        HostRow {
            id: host.id.to_string(),
            name: host.name.clone(),
            state,
            labels: host.labels.iter().map(|(name, label)| (name.clone(), label.value.clone())).collect(),
            problem,
            cpu_line: Vec::new(),
            cpu: value("cpu.usage").filter(|_| !old),
            memory: value("memory.used_ratio").filter(|_| !old),
            disk: latest.and_then(fullest),
            network: latest.filter(|_| !old).and_then(flows),
            pressure_io: value("psi.io.some").filter(|_| !old),
            may_do: words::may_do(&host.grants),
            link: if link.is_empty() && !old { "spool".to_owned() } else { link },
            seen_ms: latest
                .map(|l| l.now.at.0)
                .or_else(|| (host.last_seen.0 > 0).then_some(host.last_seen.0)),
            uptime_ms: value("host.uptime").map(|ms| ms as i64),
        }
    }

    fn problem(
        &self,
        status: HostStatus,
        latest: Option<&Latest>,
        trouble: Option<&Trouble>,
        left: Option<UnixMs>,
    ) -> (State, String) {
        let worst = trouble.and_then(|trouble| trouble.worst);
        let title = trouble.map(|t| t.title.clone()).unwrap_or_default();
        let more = worst.map_or(0, |(_, count)| count.saturating_sub(1));
        let title = if more > 0 { format!("{title}, {more} more") } else { title };
        match (status, worst) {
            (HostStatus::Offline | HostStatus::Stale, _) if left.is_some() => {
                let at = left.map(|at| format::clock(at.0)).unwrap_or_default();
                (State::Off, format!("agent stopped by its operator at {at} UTC"))
            }
            (HostStatus::Offline, _) => match latest {
                Some(latest) => (State::Off, format!("no data since {} UTC", format::clock(latest.now.at.0))),
                None => (State::Off, "no data yet".to_owned()),
            },
            (_, Some((severity, _))) => (words::severity(severity), title),
            (HostStatus::Stale, None) => (State::Warn, "samples are late".to_owned()),
            (_, None) if trouble.is_some_and(|t| t.waiting > 0) => {
                (State::Wait, "a run waits for approval".to_owned())
            }
            _ => (State::Ok, String::new()),
        }
    }

    /// CPU in use over the last minutes, old to new, for a row's small line. A missing stretch is a hole.
    #[must_use]
    pub fn cpu_line(&self, host: HostId) -> Vec<Option<f32>> {
        let ticks = self.samples.recent(host, self.now.plus(-LINE_MS));
        let mut line = Vec::with_capacity(ticks.len());
        for pair in ticks.windows(2) {
            let [before, now] = pair else { continue };
            if now.at.since(before.at) > 3 * self.interval_ms {
                line.push(None);
            }
            let latest = Latest { now: now.clone(), previous: Some(before.clone()) };
            line.push(latest.value("cpu.usage", "").map(|value| value as f32));
        }
        line
    }

    /// A run as one line.
    #[must_use]
    pub fn run_line(run: &Run, names: &HashMap<HostId, HostRef>) -> RunLine {
        RunLine {
            id: run.id.to_string(),
            title: words::title(&run.action),
            host: named(names, run.host),
            state: run.state,
            by: who_decided(run),
            risk: run.risk,
            at_ms: run.created_at.0,
            took_ms: run.duration_ms.map(|ms| ms as i64),
            exit: run.exit,
            detail: first_line(&run.detail),
        }
    }

    /// An incident as one line.
    #[must_use]
    pub fn incident_line(
        incident: &Incident,
        names: &HashMap<HostId, HostRef>,
        repair: Option<RunState>,
    ) -> IncidentLine {
        let closed = incident.closed_at.is_some();
        IncidentLine {
            id: incident.id,
            title: incident.title.clone(),
            host: incident.host.map_or_else(
                || HostRef { id: String::new(), name: "fleet".into() },
                |host| named(names, host),
            ),
            state: if closed { State::Ok } else { words::severity(incident.severity) },
            opened_ms: incident.opened_at.0,
            closed_ms: incident.closed_at.map(|at| at.0),
            detail: if closed {
                incident.close_why.clone().unwrap_or_default()
            } else {
                incident.cause.clone()
            },
            repair,
        }
    }
}

/// The name of a host among `names`.
#[must_use]
pub fn named(names: &HashMap<HostId, HostRef>, id: HostId) -> HostRef {
    names.get(&id).cloned().unwrap_or_else(|| HostRef { id: id.to_string(), name: id.to_string() })
}

/// Who decided a run, in words.
#[must_use]
pub fn who_decided(run: &Run) -> String {
    match (&run.decided_by, run.origin) {
        (Some(by), Origin::Automatic) if by == runs::BY_POLICY => "by itself".to_owned(),
        (Some(by), _) => by.clone(),
        (None, _) if run.created_by == runs::BY_ANALYSER => "proposed by rules".to_owned(),
        (None, _) => format!("asked by {}", run.created_by),
    }
}

/// The first line of a text, for lists.
#[must_use]
pub fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The fullest file system: mount point and share.
#[must_use]
pub fn fullest(latest: &Latest) -> Option<(String, f64)> {
    let mounts = latest.now.labels(metric::FS_TOTAL);
    let shares = mounts.filter_map(|mount| Some((mount.to_owned(), latest.value("fs.used_ratio", mount)?)));
    shares.max_by(|a, b| a.1.total_cmp(&b.1))
}

/// Bytes per second out and in, over all interfaces but the loopback.
fn flows(latest: &Latest) -> Option<(f64, f64)> {
    let sum = |name: &str, id| {
        let labels = latest.now.labels(id).filter(|label| *label != "lo");
        let values: Vec<f64> = labels.filter_map(|label| latest.value(name, label)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>())
    };
    Some((sum("net.tx_bytes", metric::NET_TX_BYTES)?, sum("net.rx_bytes", metric::NET_RX_BYTES)?))
}

/// The busiest of CPU, memory and fullest disk, 0 to 1.
#[must_use]
pub fn busiest(row: &HostRow) -> Option<f64> {
    let all = [row.cpu, row.memory, row.disk.as_ref().map(|(_, used)| *used)];
    all.into_iter().flatten().max_by(f64::total_cmp)
}

/// How much attention a state needs: the larger, the more.
#[must_use]
pub const fn urgency(state: State) -> u8 {
    match state {
        State::Crit => 7,
        State::Warn => 6,
        State::Off => 5,
        State::Wait => 4,
        State::Run => 3,
        State::Info => 2,
        State::Maint => 1,
        State::Ok => 0,
    }
}
