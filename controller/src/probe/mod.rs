//! Runs probes, keeps how they stand, and reports those that fail.
//!
//! A round is: start what is due, send hosts their lists, take results in, and report. Who failed often enough
//! is decided by [`judge`], purely; what is told of it becomes an incident of the host that runs the probe, of
//! the host whose card it is on, or of nobody where it is about a place outside.

pub mod desk;
pub mod engine;
mod finding;
mod hosts;
pub mod judge;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use sysop_common::finding::Finding;
use sysop_common::ids::HostId;
use sysop_common::probe::{Outcome, ProbeId, ProbeState, Reason};
use sysop_common::time::{HOUR_MS, SECOND_MS, UnixMs};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::analyse::{self, messages::Language};
use crate::link::Registry;
use crate::store::maintenance::{self, Window};
use crate::store::probes::standing::{self, Standing};
use crate::store::probes::{self, Probe, RunBy};
use crate::store::samples::SampleStore;
use crate::store::{StoreError, host_facts, incidents};

pub use desk::{Desk, DeskError};
pub use engine::{Engine, Nets};

/// Tries at a time.
const AT_ONCE: usize = 32;
/// What is defined is read again this often, should a signal be lost.
const READ_MS: i64 = 10 * SECOND_MS;
/// A round is made this often at least.
const PERIOD: Duration = Duration::from_secs(1);

/// What the step works with.
#[derive(Clone)]
pub struct Ctx {
    /// What people do with probes, and the engine.
    pub desk: Desk,
    /// Where results of hosts are.
    pub samples: SampleStore,
    /// The way to hosts.
    pub registry: Registry,
    /// Where findings go.
    pub analyse: analyse::Ctx,
}

/// Runs probes until `stop` turns true.
pub async fn run(ctx: Ctx, mut stop: watch::Receiver<bool>) {
    let mut prober = Prober::new(ctx);
    let mut woken = prober.ctx.desk.wakes.probes.listen();
    while !*stop.borrow() {
        if let Err(error) = prober.round().await {
            tracing::error!(%error, "probes could not be looked after; trying again");
        }
        let wait = prober.wait();
        tokio::select! {
            () = woken.wait(wait) => {}
            () = prober.finished() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

/// A try of this controller's that came to its end.
struct Done {
    probe: ProbeId,
    slot: i64,
    outcome: Outcome,
    /// Of which wording: the probe may be another by now.
    asked: UnixMs,
}

/// The step's memory. All of it is in the store as well.
struct Prober {
    ctx: Ctx,
    probes: Vec<Probe>,
    carriers: Vec<(String, String, HostId)>,
    windows: Vec<Window>,
    standings: HashMap<(ProbeId, Option<HostId>), Standing>,
    tries: JoinSet<Done>,
    busy: BTreeSet<ProbeId>,
    /// The due time that was last started, should its result not get into the store.
    started: HashMap<ProbeId, i64>,
    /// Hosts that are not removed.
    hosts: BTreeSet<HostId>,
    done: Vec<Done>,
    sent: hosts::Sent,
    read_at: Option<UnixMs>,
    changed: crate::wake::Signal,
    seen_change: u64,
    swept_at: UnixMs,
}

impl Prober {
    fn new(ctx: Ctx) -> Self {
        Self {
            changed: ctx.desk.wakes.probes.clone(),
            ctx,
            probes: Vec::new(),
            carriers: Vec::new(),
            windows: Vec::new(),
            standings: HashMap::new(),
            tries: JoinSet::new(),
            busy: BTreeSet::new(),
            started: HashMap::new(),
            hosts: BTreeSet::new(),
            done: Vec::new(),
            sent: hosts::Sent::default(),
            read_at: None,
            seen_change: 0,
            swept_at: UnixMs(0),
        }
    }

    /// Waits for the next try to end; for ever while none is under way.
    async fn finished(&mut self) {
        match self.tries.join_next().await {
            Some(Ok(done)) => self.done.push(done),
            Some(Err(error)) => tracing::error!(%error, "a try of a probe ended by a fault"),
            None => std::future::pending().await,
        }
    }

    /// How long until something is due.
    fn wait(&self) -> Duration {
        let now = self.ctx.desk.clock.now();
        let waits = self.mine().map(|probe| judge::wait_ms(probe, now));
        let soonest = waits.min().and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        soonest.map_or(PERIOD, |soonest| soonest.clamp(Duration::from_millis(20), PERIOD))
    }

    /// Probes that this controller runs.
    fn mine(&self) -> impl Iterator<Item = &Probe> {
        self.probes.iter().filter(|p| p.settings.enabled && p.settings.run_by == RunBy::Controller)
    }

    async fn round(&mut self) -> Result<(), StoreError> {
        let now = self.ctx.desk.clock.now();
        let change = self.changed.count();
        if self.seen_change != change || self.read_at.is_none_or(|at| now.since(at).abs() >= READ_MS) {
            self.read(now).await?;
            (self.seen_change, self.read_at) = (change, Some(now));
        }
        self.start_due(now);
        let lists = hosts::lists(&self.probes, &self.carriers);
        self.sent.send(&self.ctx.registry, &lists).await;
        self.take_in(now).await?;
        self.report(now).await
    }

    async fn read(&mut self, now: UnixMs) -> Result<(), StoreError> {
        let db = &self.ctx.desk.db;
        self.probes = probes::list(db).await?;
        self.windows = maintenance::list(db, now).await?;
        let mut conn = db.reader().await?;
        self.carriers = probes::carriers(&mut conn).await?;
        self.hosts = host_facts::beats(&mut conn).await?.into_iter().map(|(host, ..)| host).collect();
        drop(conn);
        let known = standing::all(db).await?;
        self.standings = known.into_iter().map(|s| ((s.probe, s.runner), s)).collect();
        let gone: Vec<(ProbeId, Option<HostId>)> =
            self.standings.keys().filter(|key| !self.is_run(**key)).copied().collect();
        let sweep = now.since(self.swept_at) >= HOUR_MS;
        if gone.is_empty() && !sweep {
            return Ok(());
        }
        let mut tx = db.begin().await?;
        for (probe, runner) in &gone {
            standing::forget(&mut tx, *probe, *runner).await?;
        }
        if sweep {
            standing::sweep(&mut tx, now).await?;
        }
        tx.commit().await?;
        self.swept_at = if sweep { now } else { self.swept_at };
        self.standings.retain(|key, _| !gone.contains(key));
        Ok(())
    }

    /// The hosts that run a probe and are still ours.
    fn runners(&self, probe: &Probe) -> Vec<HostId> {
        let mut runners = hosts::runners(&probe.settings, &self.carriers);
        runners.retain(|host| self.hosts.contains(host));
        runners
    }

    /// Whose trouble a probe is: the host that runs it, or the one on whose card it is.
    fn host_of(&self, probe: &Probe, runner: Option<HostId>) -> Option<HostId> {
        runner.or(probe.settings.host).filter(|host| self.hosts.contains(host))
    }

    /// Whether a probe is run by `runner` as things are.
    fn is_run(&self, (probe, runner): (ProbeId, Option<HostId>)) -> bool {
        let Some(probe) = self.probes.iter().find(|known| known.id == probe) else { return false };
        probe.settings.enabled
            && match runner {
                None => probe.settings.run_by == RunBy::Controller,
                Some(host) => self.runners(probe).contains(&host),
            }
    }

    fn start_due(&mut self, now: UnixMs) {
        let mut due: Vec<(Probe, i64)> = self
            .mine()
            .filter(|probe| !self.busy.contains(&probe.id))
            .filter_map(|probe| {
                let stored = self.standings.get(&(probe.id, None)).map(|standing| standing.slot);
                let last = stored.max(self.started.get(&probe.id).copied());
                Some((probe.clone(), judge::due(probe, last, now)?))
            })
            .collect();
        // Who waits longest comes first: probes that hang must not keep the others from their turn.
        due.sort_by_key(|(_, slot)| *slot);
        for (probe, slot) in due {
            if self.tries.len() >= AT_ONCE {
                return;
            }
            self.busy.insert(probe.id);
            self.started.insert(probe.id, slot);
            let engine = self.ctx.desk.engine.clone();
            self.tries.spawn(async move {
                let (id, asked) = (probe.id, probe.updated_at);
                let ask = async move { engine.ask(&probe.settings.check, probe.settings.timeout_ms).await };
                // A fault of ours ends this try, not the probe.
                let outcome = tokio::spawn(ask).await.unwrap_or_else(|_| Outcome::of(Reason::LocalFault));
                Done { probe: id, slot, outcome, asked }
            });
        }
    }

    /// Stores the results that came since the last round, in one transaction.
    async fn take_in(&mut self, now: UnixMs) -> Result<(), StoreError> {
        while let Some(ended) = self.tries.try_join_next() {
            self.done.extend(ended.ok());
        }
        let mut results: Vec<(ProbeId, judge::Result)> = Vec::new();
        for done in std::mem::take(&mut self.done) {
            self.busy.remove(&done.probe);
            let Done { probe, slot, outcome, asked } = done;
            if self.probes.iter().any(|known| known.id == probe && known.updated_at != asked) {
                // It is asked otherwise now, and at once.
                self.started.remove(&probe);
                continue;
            }
            results.push((probe, judge::Result { runner: None, at: now, outcome, slot, epoch: 0 }));
        }
        for probe in self.probes.iter().filter(|probe| probe.settings.enabled) {
            for host in self.runners(probe) {
                let before = self.standings.get(&(probe.id, Some(host)));
                let latest = self.ctx.samples.latest(host);
                let result = hosts::result(probe, host, latest.as_ref(), before, now);
                results.extend(result.map(|result| (probe.id, result)));
            }
        }
        let next: Vec<Standing> = results
            .iter()
            .filter(|(probe, result)| self.is_run((*probe, result.runner)))
            .filter_map(|(id, result)| {
                let probe = self.probes.iter().find(|probe| probe.id == *id)?;
                let before = self.standings.get(&(*id, result.runner));
                Some(judge::next(before, probe, result, self.in_maintenance(probe, result.runner, now)))
            })
            .collect();
        if next.is_empty() {
            return Ok(());
        }
        let mut tx = self.ctx.desk.db.begin().await?;
        for standing in &next {
            standing::record(&mut tx, standing).await?;
        }
        tx.commit().await?;
        for standing in next {
            self.standings.insert((standing.probe, standing.runner), standing);
        }
        Ok(())
    }

    fn in_maintenance(&self, probe: &Probe, runner: Option<HostId>, now: UnixMs) -> bool {
        let host = self.host_of(probe, runner);
        let holds = |window: &&Window| window.starts_at <= now && now < window.ends_at;
        let covers = |window: &Window| host.map_or(window.on.is_none(), |host| window.covers(host));
        self.windows.iter().filter(holds).any(covers)
    }

    /// Reports what is to be told of, host by host, and what is over.
    async fn report(&self, now: UnixMs) -> Result<(), StoreError> {
        let say = self.ctx.analyse.language.text();
        let mut found: HashMap<Option<HostId>, Vec<Finding>> = HashMap::new();
        let mut silent: BTreeSet<(Option<HostId>, String)> = BTreeSet::new();
        for standing in self.standings.values() {
            let Some(probe) = self.probes.iter().find(|probe| probe.id == standing.probe) else { continue };
            let host = self.host_of(probe, standing.runner);
            if matches!(standing.outcome.state(), ProbeState::Unknown | ProbeState::Refused) {
                // Nothing is known: neither confirmed nor over.
                silent.insert((host, finding::entity(probe)));
            } else {
                found.entry(host).or_default().extend(finding::finding(say, probe, standing));
            }
        }
        let open = incidents::open(&mut *self.ctx.desk.db.reader().await?).await?;
        for incident in open.iter().filter(|incident| analyse::is_of_probe(incident)) {
            found.entry(incident.host).or_default();
        }
        for (host, mut findings) in found {
            findings.sort_by(|a, b| a.entity.cmp(&b.entity));
            if findings.is_empty() && !open.iter().any(|i| i.host == host && analyse::is_of_probe(i)) {
                continue;
            }
            let observes = |finding: &Finding| !silent.contains(&(host, finding.entity.clone()));
            analyse::report_probes(&self.ctx.analyse, host, findings, now, &observes).await?;
        }
        Ok(())
    }
}

/// Why a try ended as it did, in English, for pages and the API.
#[must_use]
pub fn says(outcome: &Outcome) -> String {
    finding::why(Language::English.text(), outcome)
}
