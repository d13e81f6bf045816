//! Which hosts are looked at, and when.

use std::collections::{BTreeMap, HashMap};

use sysop_common::finding::Category;
use sysop_common::ids::{Epoch, HostId, Seq};
use sysop_common::metric;
use sysop_common::time::{MINUTE_MS, SECOND_MS, UnixMs};

use super::input::{self, FillHistory, HostInput, HostMemory};
use super::rules::silence::Beat;
use super::rules::{Detector, hard_lane};
use super::save::{Found, save, write};
use super::{Ctx, Outcome, correlate, gate, incident, quiet};
use crate::store::host_events::HostEvent;
use crate::store::incidents::Incident;
use crate::store::samples::Latest;
use crate::store::{StoreError, analyser_state, host_events, host_facts, incidents};

/// A host is looked at this often, whatever its samples say.
const WHOLE_LOOK_MS: i64 = MINUTE_MS;
/// Longer histories are read again this often.
const HISTORY_MS: i64 = 10 * MINUTE_MS;
/// The list of hosts, what the link saw and silence are looked at this often.
const SLOW_MS: i64 = 2 * SECOND_MS;
/// What the link saw counts for this long.
const EVENTS_MS: i64 = 30 * MINUTE_MS;
/// The interval of a host that is not known yet.
const DEFAULT_INTERVAL_MS: i64 = 10 * SECOND_MS;

/// What is known of one host between two looks.
#[derive(Debug, Default)]
struct Watched {
    seen: Option<(Epoch, Seq, UnixMs)>,
    interval_ms: Option<i64>,
    whole_at: UnixMs,
    history_at: UnixMs,
    fills: BTreeMap<String, FillHistory>,
    memory: HostMemory,
}

/// The analyser's state between two looks. All of it but the remembered file systems can be lost.
pub struct Analyser {
    ctx: Ctx,
    detectors: Vec<Box<dyn Detector>>,
    started: UnixMs,
    slow_at: UnixMs,
    hosts: Vec<(HostId, UnixMs)>,
    events: HashMap<HostId, Vec<HostEvent>>,
    watched: HashMap<HostId, Watched>,
}

impl Analyser {
    /// Reads what is remembered; the hard lane's detectors are in.
    ///
    /// # Errors
    /// Only the store's.
    pub async fn load(ctx: Ctx, started: UnixMs) -> Result<Self, StoreError> {
        let mut watched: HashMap<HostId, Watched> = HashMap::new();
        for (host, state) in analyser_state::load(&mut *ctx.db.reader().await?).await? {
            // What another version wrote and this one cannot read is forgotten.
            let memory = serde_json::from_str(&state).unwrap_or_default();
            watched.insert(host, Watched { memory, ..Watched::default() });
        }
        Ok(Self {
            ctx,
            detectors: hard_lane(),
            started,
            slow_at: UnixMs(0),
            hosts: Vec::new(),
            events: HashMap::new(),
            watched,
        })
    }

    /// Adds a detector, such as one of the soft lane.
    pub fn add(&mut self, detector: Box<dyn Detector>) {
        self.detectors.push(detector);
    }

    /// One look at all hosts that call for one.
    ///
    /// # Errors
    /// When the store fails; the next look finds the same again.
    pub async fn look(&mut self) -> Outcome {
        let now = self.ctx.clock.now();
        let open = incidents::open(&mut *self.ctx.db.reader().await?).await?;
        let slow = now.since(self.slow_at) >= SLOW_MS;
        if slow {
            self.slow_at = now;
            self.refresh(&open, now).await?;
        }
        let known: Vec<HostId> = self.hosts.iter().map(|(host, _)| *host).collect();
        let mut result = Ok(());
        for host in known {
            // One host whose look fails does not keep the others from theirs.
            if let Err(error) = self.host(host, &open, now).await {
                tracing::warn!(%host, %error, "a host could not be analysed");
                result = Err(error);
            }
        }
        if slow {
            let beats = self.beats(&open);
            quiet::look(&self.ctx, &beats, &open, self.started).await?;
        }
        result
    }

    /// Reads the hosts and what the link saw; closes what belongs to removed hosts.
    async fn refresh(&mut self, open: &[Incident], now: UnixMs) -> Outcome {
        let mut conn = self.ctx.db.reader().await?;
        let beats = host_facts::beats(&mut conn).await?;
        self.hosts = beats.into_iter().map(|(host, _, seen)| (host, seen)).collect();
        self.events.clear();
        for (host, event) in host_events::since(&mut conn, now.plus(-EVENTS_MS)).await? {
            self.events.entry(host).or_default().push(event);
        }
        drop(conn);
        let here = |host: HostId| self.hosts.binary_search_by_key(&host, |(id, _)| *id).is_ok();
        for gone in open.iter().filter(|incident| incident.host.is_some_and(|host| !here(host))) {
            let mut tx = self.ctx.db.begin().await?;
            write(&self.ctx, &mut tx, &incident::removed(gone, now)).await?;
            tx.commit().await?;
            self.ctx.wakes.incidents.wake();
        }
        let hosts = &self.hosts;
        self.watched.retain(|host, _| hosts.binary_search_by_key(host, |(id, _)| *id).is_ok());
        Ok(())
    }

    async fn host(&mut self, host: HostId, open: &[Incident], now: UnixMs) -> Outcome {
        let Some(latest) = self.ctx.samples.latest(host) else { return Ok(()) };
        let has_open = open.iter().any(|incident| incident.host == Some(host));
        let watched = self.watched.entry(host).or_default();
        let key = (latest.now.epoch, latest.now.tick.seq, latest.now.at);
        let new = watched.seen != Some(key);
        let due = now.since(watched.whole_at) >= WHOLE_LOOK_MS;
        let clone = self.events.contains_key(&host);
        if !(due || new && (has_open || clone || gate::calls(&latest))) {
            if new {
                watched.seen = Some(key);
                learn_interval(watched, &latest);
            }
            return Ok(());
        }
        learn_interval(watched, &latest);
        self.whole(host, open, now).await?;
        // Only now: a look that failed is made again.
        if let Some(watched) = self.watched.get_mut(&host) {
            (watched.seen, watched.whole_at) = (Some(key), now);
        }
        Ok(())
    }

    /// A whole look at one host.
    async fn whole(&mut self, host: HostId, open: &[Incident], now: UnixMs) -> Outcome {
        let window = input::window(&self.ctx.samples, host, now);
        let filling = input::filling(&window);
        let Some(watched) = self.watched.get_mut(&host) else { return Ok(()) };
        let missing = filling.iter().any(|mount| !watched.fills.contains_key(mount));
        if !filling.is_empty() && (missing || now.since(watched.history_at) >= HISTORY_MS) {
            watched.fills = input::histories(&self.ctx.samples, host, &filling, now).await?;
            watched.history_at = now;
        }
        let own: Vec<Incident> = open.iter().filter(|i| i.host == Some(host)).cloned().collect();
        let memory = watched.memory.after(&window);
        let input = HostInput {
            window,
            fills: watched.fills.clone(),
            memory: watched.memory.clone(),
            open: incident::active(&own),
            events: self.events.get(&host).cloned().unwrap_or_default(),
        };
        judge(&self.ctx, &self.detectors, host, &input).await?;
        if memory != watched.memory {
            let text = serde_json::to_string(&memory).unwrap_or_default();
            let mut tx = self.ctx.db.begin().await?;
            analyser_state::save(&mut tx, host, &text, now).await?;
            tx.commit().await?;
            watched.memory = memory;
        }
        Ok(())
    }

    fn beats(&self, open: &[Incident]) -> Vec<Beat> {
        let silent = |host: HostId| {
            open.iter()
                .any(|incident| incident.host == Some(host) && quiet::is_of(incident, Category::Silence))
        };
        let beat = |(host, seen): &(HostId, UnixMs)| {
            let arrived = self.ctx.samples.latest(*host).map(|latest| latest.now.received_at);
            let interval = self.watched.get(host).and_then(|watched| watched.interval_ms);
            Beat {
                host: *host,
                last: arrived.unwrap_or(*seen),
                interval_ms: interval.unwrap_or(DEFAULT_INTERVAL_MS),
                connected: self.ctx.presence.of(*host).is_some(),
                open: silent(*host),
            }
        };
        self.hosts.iter().map(beat).collect()
    }
}

/// Finds, groups, writes.
async fn judge(ctx: &Ctx, detectors: &[Box<dyn Detector>], host: HostId, input: &HostInput) -> Outcome {
    let Some(latest) = input.window.latest() else { return Ok(()) };
    let findings = detectors.iter().flat_map(|detector| detector.look(input)).collect();
    let mounts: Vec<&str> = latest.labels(metric::FS_TOTAL).collect();
    let found = Found {
        host: Some(host),
        groups: correlate::group(findings, &mounts),
        looked: latest.at(),
        observes: &|finding| {
            let of = detectors.iter().find(|detector| detector.category() == finding.category);
            of.is_some_and(|detector| detector.observes(input, &finding.entity))
        },
        about: &|incident| !quiet::is_of(incident, Category::Silence),
    };
    save(ctx, &found).await
}

/// The time between two ticks that follow each other, within what agents can be set to.
fn learn_interval(watched: &mut Watched, latest: &Latest) {
    let Some(before) = &latest.previous else { return };
    let interval = latest.now.at.since(before.at);
    if latest.now.epoch == before.epoch && latest.now.tick.seq == before.tick.seq.next() && interval > 0 {
        watched.interval_ms = Some(interval.clamp(SECOND_MS, MINUTE_MS));
    }
}
