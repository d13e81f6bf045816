//! Which hosts are looked at, and when.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sysop_common::finding::Category;
use sysop_common::ids::{Epoch, HostId, Seq};
use sysop_common::sample::Active;
use sysop_common::time::{MINUTE_MS, SECOND_MS, UnixMs};

use super::engine::{Engine, Step};
use super::input::{self, FillHistory, HostInput};
use super::rules::Detector;
use super::rules::silence::Beat;
use super::save::{Found, save, write};
use super::state::HostState;
use super::{Ctx, Outcome, gate, incident, is_of_probe, operator, quiet};
use crate::rules::{Compiled, States};
use crate::store::assignments::Selector;
use crate::store::host_events::HostEvent;
use crate::store::incidents::Incident;
use crate::store::rules::Rule;
use crate::store::samples::Latest;
use crate::store::{
    StoreError, analyser_state, host_events, host_facts, incidents, maintenance, rule_states, rules,
};

/// Whole looks at one host are at least this far apart.
const LEAST_APART_MS: i64 = SECOND_MS / 2;
/// A host is looked at this often, whatever its samples say.
const WHOLE_LOOK_MS: i64 = MINUTE_MS;
/// Longer histories are read again this often.
const HISTORY_MS: i64 = 10 * MINUTE_MS;
/// What was learned is stored this often: less than the samples in memory go back after a restart, so
/// that nothing is missing then.
const LEARNED_MS: i64 = 10 * MINUTE_MS;
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
    /// Variance of the time between two samples' arrivals, ms², over about the last twenty.
    uneven: f64,
    whole_at: UnixMs,
    history_at: UnixMs,
    fills: BTreeMap<String, FillHistory>,
    state: HostState,
    /// When what was learned was last stored.
    saved_at: UnixMs,
    /// A rule about it was made or changed: it is looked at without waiting for its minute.
    asked: bool,
}

/// The analyser's state between two looks. Of it what is remembered of each host survives a restart:
/// facts are stored as they change, what was learned often enough for the samples in memory to fill
/// the rest.
pub struct Analyser {
    ctx: Ctx,
    engine: Engine,
    started: UnixMs,
    slow_at: UnixMs,
    hosts: Vec<(HostId, UnixMs)>,
    events: HashMap<HostId, Vec<HostEvent>>,
    maintenance: Vec<maintenance::Window>,
    watched: HashMap<HostId, Watched>,
    /// Rules of operators that are switched on.
    rules: Vec<Arc<Compiled>>,
}

impl Analyser {
    /// Reads what is remembered; the hard lane's detectors are in.
    ///
    /// # Errors
    /// Only the store's.
    pub async fn load(ctx: Ctx, started: UnixMs) -> Result<Self, StoreError> {
        let mut watched: HashMap<HostId, Watched> = HashMap::new();
        for known in analyser_state::load(&mut *ctx.db.reader().await?).await? {
            // What another version wrote and this one cannot read is forgotten.
            let memory = serde_json::from_str(&known.facts).unwrap_or_default();
            let mut state = HostState { memory, ..HostState::default() };
            if let Some(soft) = &known.soft {
                state.unpack(soft);
            }
            let saved_at = save_phase(known.host, started);
            watched.insert(known.host, Watched { state, saved_at, ..Watched::default() });
        }
        for (host, packed) in rule_states::load(&mut *ctx.db.reader().await?).await? {
            let saved_at = save_phase(host, started);
            let fresh = || Watched { saved_at, ..Watched::default() };
            watched.entry(host).or_insert_with(fresh).state.rules = States::unpack(&packed);
        }
        Ok(Self {
            ctx,
            rules: Vec::new(),
            engine: Engine::new(),
            started,
            slow_at: UnixMs(0),
            hosts: Vec::new(),
            events: HashMap::new(),
            maintenance: Vec::new(),
            watched,
        })
    }

    /// Adds a detector, such as one of the soft lane.
    pub fn add(&mut self, detector: Box<dyn Detector>) {
        self.engine.add(detector);
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
            self.remember(now).await?;
        }
        result
    }

    /// Stores what was learned of the hosts whose turn it is, in one transaction.
    async fn remember(&mut self, now: UnixMs) -> Outcome {
        let due = |watched: &Watched| watched.whole_at.0 > 0 && now.since(watched.saved_at) >= LEARNED_MS;
        let due: Vec<HostId> =
            self.watched.iter().filter(|(_, watched)| due(watched)).map(|(host, _)| *host).collect();
        if due.is_empty() {
            return Ok(());
        }
        let mut tx = self.ctx.db.begin().await?;
        for host in due {
            let Some(watched) = self.watched.get_mut(&host) else { continue };
            analyser_state::save_soft(&mut tx, host, &watched.state.pack(), now).await?;
            rule_states::save(&mut tx, host, &watched.state.rules.pack(), now).await?;
            watched.saved_at = now;
        }
        rule_states::forget(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Reads the hosts and what the link saw; closes what belongs to removed hosts.
    async fn refresh(&mut self, open: &[Incident], now: UnixMs) -> Outcome {
        let mut conn = self.ctx.db.reader().await?;
        let beats = host_facts::beats(&mut conn).await?;
        self.hosts = beats.into_iter().map(|(host, _, seen)| (host, seen)).collect();
        self.events.clear();
        self.maintenance = maintenance::list(&self.ctx.db, now).await?;
        for (host, event) in host_events::since(&mut conn, now.plus(-EVENTS_MS)).await? {
            self.events.entry(host).or_default().push(event);
        }
        self.take_rules(rules::list(&mut conn).await?);
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

    /// Reads rules that are new or were changed; hosts that they name are looked at at once.
    fn take_rules(&mut self, mut found: Vec<Rule>) {
        found.retain(|rule| rule.definition.enabled);
        let same = |(known, rule): (&Arc<Compiled>, &Rule)| known.rule == *rule;
        if found.len() == self.rules.len() && self.rules.iter().zip(&found).all(same) {
            return;
        }
        let old = std::mem::take(&mut self.rules);
        let known = |rule: &Rule| old.iter().find(|known| known.rule == *rule).cloned();
        self.rules = found
            .into_iter()
            .map(|rule| known(&rule).unwrap_or_else(|| Arc::new(Compiled::new(rule))))
            .collect();
        let changed = |rule: &&Arc<Compiled>| !old.iter().any(|other| Arc::ptr_eq(rule, other));
        let gone = old.iter().filter(|rule| !self.rules.iter().any(|other| Arc::ptr_eq(rule, other)));
        for rule in self.rules.iter().filter(changed).chain(gone) {
            if let Some(Selector::Host(host)) = &rule.rule.definition.scope
                && let Some(watched) = self.watched.get_mut(host)
            {
                watched.asked = true;
            }
        }
    }

    async fn host(&mut self, host: HostId, open: &[Incident], now: UnixMs) -> Outcome {
        let Some(latest) = self.ctx.samples.latest(host) else { return Ok(()) };
        let has_open = open.iter().any(|incident| incident.host == Some(host));
        let fresh = || Watched { saved_at: save_phase(host, now), ..Watched::default() };
        let watched = self.watched.entry(host).or_insert_with(fresh);
        let key = (latest.now.epoch, latest.now.tick.seq, latest.now.at);
        let new = watched.seen != Some(key);
        let due = now.since(watched.whole_at) >= WHOLE_LOOK_MS || watched.asked;
        let clone = self.events.contains_key(&host);
        // An agent that sends faster than any honest one is not looked at more often for it.
        if new && !due && (0..LEAST_APART_MS).contains(&now.since(watched.whole_at)) {
            return Ok(());
        }
        let calls =
            || gate::calls(&latest) || operator::calls(&self.rules, host, &watched.state.rules, &latest);
        if !(due || new && (has_open || clone || calls())) {
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
            (watched.seen, watched.whole_at, watched.asked) = (Some(key), now, false);
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
        let held = |w: &maintenance::Window| w.starts_at <= now && now < w.ends_at;
        let on = |w: &maintenance::Window| w.covers(host);
        let input = HostInput {
            rules: self.rules.iter().filter(|rule| rule.rule.covers(host)).cloned().collect(),
            standings: Vec::new(),
            window,
            fills: watched.fills.clone(),
            state: std::mem::take(&mut watched.state),
            open: incident::active(&own),
            events: self.events.get(&host).cloned().unwrap_or_default(),
            maintenance: self.maintenance.iter().any(|w| held(w) && on(w)),
            language: self.ctx.language,
        };
        let facts = input.state.memory.clone();
        let stood = input.state.rules.clone();
        let step = match self.engine.step(input) {
            Ok(step) => step,
            Err(input) => {
                watched.state = input.state;
                return Ok(());
            }
        };
        let Step { groups, looked, input } = step;
        let found = Found {
            host: Some(host),
            groups,
            looked,
            observes: &|finding| self.engine.observes(&input, finding),
            about: &|incident| !quiet::is_of(incident, Category::Silence) && !is_of_probe(incident),
        };
        let saved = save(&self.ctx, &found).await;
        watched.state = input.state;
        saved?;
        if stood.shape() != watched.state.rules.shape() {
            let mut tx = self.ctx.db.begin().await?;
            rule_states::save(&mut tx, host, &watched.state.rules.pack(), now).await?;
            tx.commit().await?;
        }
        if facts != watched.state.memory {
            let text = serde_json::to_string(&watched.state.memory).unwrap_or_default();
            let mut tx = self.ctx.db.begin().await?;
            analyser_state::save(&mut tx, host, &text, now).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    fn beats(&self, open: &[Incident]) -> Vec<Beat> {
        let silent = |host: HostId| {
            open.iter()
                .any(|incident| incident.host == Some(host) && quiet::is_of(incident, Category::Silence))
        };
        let beat = |(host, seen): &(HostId, UnixMs)| {
            let latest = self.ctx.samples.latest(*host);
            let arrived = latest.as_ref().map(|latest| latest.now.received_at);
            let watched = self.watched.get(host);
            let interval = watched.and_then(|watched| watched.interval_ms);
            Beat {
                jitter_ms: watched.map_or(0, |watched| watched.uneven.sqrt() as i64),
                stopped: self.ctx.presence.left(*host).is_some(),
                leaving: latest.is_some_and(|latest| is_leaving(&latest)),
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

/// When a host's state counts as last stored at the start: spread, so that hosts take turns.
fn save_phase(host: HostId, now: UnixMs) -> UnixMs {
    let slot = i64::try_from(host.0.as_u128() % 600).unwrap_or(0);
    now.plus(-slot * LEARNED_MS / 600)
}

/// The time between two ticks that follow each other, within what agents can be set to.
fn learn_interval(watched: &mut Watched, latest: &Latest) {
    let Some(before) = &latest.previous else { return };
    let interval = latest.now.at.since(before.at);
    if latest.now.epoch == before.epoch && latest.now.tick.seq == before.tick.seq.next() && interval > 0 {
        let interval = interval.clamp(SECOND_MS, MINUTE_MS);
        watched.interval_ms = Some(interval);
        let gap = latest.now.received_at.since(before.received_at);
        let off = (gap - interval).clamp(-MINUTE_MS, MINUTE_MS) as f64;
        watched.uneven += (off * off - watched.uneven) / 20.0;
    }
}

/// Whether systemd was stopping the host's services, not just one of them, at its newest sample.
fn is_leaving(latest: &Latest) -> bool {
    let stopping = |unit: &&sysop_common::sample::Unit| unit.active == Active::Deactivating;
    latest.now.tick.units.iter().filter(stopping).count() >= 3
}
