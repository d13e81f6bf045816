//! What people do with probes: add, change, remove, try. Every change is audited in its own transaction.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use sysop_common::ids::HostId;
use sysop_common::probe::{Check, CheckError, HostProbe, MAX_PROBES, Outcome, ProbeId};
use sysop_common::time::{MINUTE_MS, UnixMs};
use tokio::sync::Semaphore;

use super::engine::Engine;
use super::hosts::runners;
use crate::audit::{Audit, Record};
use crate::clock::Clock;
use crate::store::probes::{self, Probe, RunBy, Settings};
use crate::store::{Conn, Db, StoreError, host_facts};
use crate::wake::Wakes;

/// Probes in all.
pub const MAX_DEFINED: u64 = 200;
/// Tries by hand of one person in a minute.
const TRIES: usize = 10;
/// Tries by hand at a time.
const AT_ONCE: usize = 4;
/// Most bytes of a name.
const MAX_NAME: usize = 80;

/// What was wanted of a probe was not done.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// A field does not fit.
    #[error("{field} {problem}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What it must be.
        problem: String,
    },
    /// Something stands against it.
    #[error("{0}")]
    Conflict(&'static str),
    /// Too often; after so many seconds again.
    #[error("at most {TRIES} tries by hand in a minute; the probe's own tries go on")]
    TooMany(u32),
    /// The store failed, or has no such probe.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CheckError> for DeskError {
    fn from(error: CheckError) -> Self {
        Self::Invalid { field: error.field, problem: error.problem.to_owned() }
    }
}

fn invalid(field: &'static str, problem: impl Into<String>) -> DeskError {
    DeskError::Invalid { field, problem: problem.into() }
}

/// Where people's wishes come. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    /// Control data.
    pub db: Db,
    /// The audit chain.
    pub audit: Audit,
    /// Signals.
    pub wakes: Wakes,
    /// The time.
    pub clock: Clock,
    /// Asks.
    pub engine: Engine,
    tries: Arc<Mutex<HashMap<String, VecDeque<UnixMs>>>>,
    room: Arc<Semaphore>,
}

impl Desk {
    /// A desk over these.
    #[must_use]
    pub fn new(db: Db, audit: Audit, wakes: Wakes, clock: Clock, engine: Engine) -> Self {
        Self {
            db,
            audit,
            wakes,
            clock,
            engine,
            tries: Arc::default(),
            room: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Adds a probe in the name of `who`.
    ///
    /// # Errors
    /// When a field does not fit, or there are too many.
    pub async fn add(&self, settings: &Settings, who: &str) -> Result<Probe, DeskError> {
        let mut tx = self.db.begin().await?;
        if probes::count(&mut tx).await? >= MAX_DEFINED {
            return Err(DeskError::Conflict("there are 200 probes, which is the most; remove one first"));
        }
        self.check(&mut tx, settings, None).await?;
        let probe = probes::insert(&mut tx, settings, who, self.clock.now()).await?;
        let record = Record::new(who, "probe.add", object(probe.id), told(settings));
        self.audit.append(&mut tx, &record).await?;
        tx.commit().await?;
        self.wakes.probes.wake();
        Ok(probe)
    }

    /// Changes a probe in the name of `who`.
    ///
    /// # Errors
    /// When there is none, or a field does not fit.
    pub async fn change(&self, id: ProbeId, settings: &Settings, who: &str) -> Result<Probe, DeskError> {
        let mut tx = self.db.begin().await?;
        let before = probes::get(&mut tx, id).await?;
        self.check(&mut tx, settings, Some(id)).await?;
        let asked = before.settings.check != settings.check || before.settings.run_by != settings.run_by;
        probes::update(&mut tx, id, settings, asked, self.clock.now()).await?;
        let detail = json!({ "before": told(&before.settings), "after": told(settings) });
        self.audit.append(&mut tx, &Record::new(who, "probe.change", object(id), detail)).await?;
        let probe = probes::get(&mut tx, id).await?;
        tx.commit().await?;
        self.wakes.probes.wake();
        Ok(probe)
    }

    /// Removes a probe and what came of it, in the name of `who`.
    ///
    /// # Errors
    /// When there is none.
    pub async fn remove(&self, id: ProbeId, who: &str) -> Result<Probe, DeskError> {
        let mut tx = self.db.begin().await?;
        let before = probes::get(&mut tx, id).await?;
        probes::remove(&mut tx, id).await?;
        let record = Record::new(who, "probe.remove", object(id), told(&before.settings));
        self.audit.append(&mut tx, &record).await?;
        tx.commit().await?;
        self.wakes.probes.wake();
        Ok(before)
    }

    /// Asks once from this controller, in the name of `who`; nothing is counted.
    ///
    /// # Errors
    /// When a field does not fit, or after too many tries.
    pub async fn try_now(&self, check: &Check, timeout_ms: u32, who: &str) -> Result<Outcome, DeskError> {
        let bounds = HostProbe { id: ProbeId(0), check: check.clone(), interval_ms: 60_000, timeout_ms };
        bounds.validate()?;
        self.may_try(who)?;
        let _room = self.room.try_acquire().map_err(|_| DeskError::TooMany(5))?;
        // Told before it is asked: a try that never ends is told of too.
        let detail = json!({ "kind": check.kind(), "target": check.target() });
        let mut tx = self.db.begin().await?;
        self.audit.append(&mut tx, &Record::new(who, "probe.try", "probe:try", detail)).await?;
        tx.commit().await?;
        Ok(self.engine.ask(check, timeout_ms).await)
    }

    fn may_try(&self, who: &str) -> Result<(), DeskError> {
        let now = self.clock.now();
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries.retain(|_, times| {
            times.retain(|at| now.since(*at).abs() < MINUTE_MS);
            !times.is_empty()
        });
        let times = tries.entry(who.to_owned()).or_default();
        if times.len() >= TRIES {
            let left = times.front().map_or(0, |first| MINUTE_MS - now.since(*first));
            return Err(DeskError::TooMany(u32::try_from(left / 1_000 + 1).unwrap_or(60)));
        }
        times.push_back(now);
        Ok(())
    }

    /// Whether settings are acceptable; `id` is theirs when they change a probe.
    async fn check(
        &self,
        conn: &mut Conn,
        settings: &Settings,
        id: Option<ProbeId>,
    ) -> Result<(), DeskError> {
        let name = settings.name.trim();
        if name != settings.name
            || !(1..=MAX_NAME).contains(&name.len())
            || name.chars().any(char::is_control)
        {
            return Err(invalid("name", "must have 1 to 80 bytes, without space at its ends"));
        }
        let (check, interval_ms, timeout_ms) =
            (settings.check.clone(), settings.interval_ms, settings.timeout_ms);
        HostProbe { id: ProbeId(0), check, interval_ms, timeout_ms }.validate()?;
        if !(1..=20).contains(&settings.failures) {
            return Err(invalid("failures", "must be from 1 to 20"));
        }
        if !(1..=20).contains(&settings.successes) {
            return Err(invalid("successes", "must be from 1 to 20"));
        }
        if let Some(host) = settings.host {
            if settings.run_by != RunBy::Controller {
                return Err(invalid(
                    "host",
                    "is for probes that the controller runs; others are on the card of the host that runs them",
                ));
            }
            known(conn, host, "host").await?;
        }
        match &settings.run_by {
            RunBy::Controller => return Ok(()),
            RunBy::Host(host) => known(conn, *host, "run_by").await?,
            RunBy::Label { name, value } => {
                let fits =
                    |text: &str| (1..=128).contains(&text.len()) && !text.chars().any(char::is_control);
                if !fits(name) || !fits(value) || name.starts_with("host.") {
                    return Err(invalid(
                        "run_by",
                        "must be a label that admins set, with 1 to 128 bytes each",
                    ));
                }
            }
        }
        let carriers = probes::carriers(conn).await?;
        let mine = runners(settings, &carriers);
        let others = probes::list(&self.db).await?;
        let full = |host: &HostId| {
            let theirs = |probe: &&Probe| {
                Some(probe.id) != id
                    && probe.settings.enabled
                    && runners(&probe.settings, &carriers).contains(host)
            };
            others.iter().filter(theirs).count() >= MAX_PROBES
        };
        if settings.enabled && mine.iter().any(full) {
            return Err(DeskError::Conflict("a host runs at most 32 probes; take one away from it first"));
        }
        Ok(())
    }
}

async fn known(conn: &mut Conn, host: HostId, field: &'static str) -> Result<(), DeskError> {
    match host_facts::get(conn, host).await?.is_some() {
        true => Ok(()),
        false => Err(invalid(field, "is not the id of a host")),
    }
}

fn object(id: ProbeId) -> String {
    format!("probe:{id}")
}

fn told(settings: &Settings) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}
