//! The model stage at work: looks at open incidents, asks where the gate lets it, stores what comes of
//! it, and tells the analyser. Nobody waits for it.

mod file;
#[cfg(test)]
pub(super) mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sysop_common::ids::HostId;
use sysop_common::time::{HOUR_MS, UnixMs};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(super) use file::cost;

use super::adviser::Opinions;
use super::ask::Ask;
use super::deep::Reader;
use super::dialogue::{Outcome, Question, hold};
use super::evidence::Caps;
use super::gate::{self, Before, Reason, TTL_MS};
use super::gather::Gathered;
use super::prompt;
use super::redact::Redactor;
use super::verify::judge;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::Model;
use crate::store::analyses::{self, Verdict};
use crate::store::incidents::{self, Incident};
use crate::store::model_costs::{self, day};
use crate::store::samples::SampleStore;
use crate::store::{Db, StoreError};
use crate::wake::Wakes;

/// Looks this often without being woken.
const PERIOD: Duration = Duration::from_secs(15);
/// Questions under way at the same time.
const UNDER_WAY: usize = 4;
/// What one question may take, set aside before it is asked: a triage that is halved and repaired, and a deep
/// look whose every turn sends the part that is the same again, come to about 25,000 tokens.
const SET_ASIDE: u64 = 32_000;
/// How many of them are the answers'.
const SET_ASIDE_ANSWERS: u64 = 6_000;
/// Most answers that are kept for equal questions.
const KEPT: usize = 1_000;

/// Which model is asked, and how. Replaced as a whole when an admin changes a setting.
pub struct Stage {
    /// Who asks.
    pub ask: Arc<dyn Ask>,
    /// The settings.
    pub model: Model,
    /// Whether names of hosts, people and addresses are kept back.
    pub pseudonyms: bool,
}

impl Stage {
    /// What is kept back.
    #[must_use]
    pub fn redactor(&self) -> Redactor {
        let key = self.model.key.iter().map(|key| key.expose().to_owned()).collect();
        Redactor::new(key, self.pseudonyms)
    }
}

/// What the stage works with.
#[derive(Clone)]
pub struct Ctx {
    /// Control data.
    pub db: Db,
    /// Samples.
    pub samples: SampleStore,
    /// The audit chain.
    pub audit: Audit,
    /// Signals.
    pub wakes: Wakes,
    /// The time.
    pub clock: Clock,
    /// Which model; nothing when there is none.
    pub stage: watch::Receiver<Option<Arc<Stage>>>,
    /// Who asks hosts for readings.
    pub reader: Arc<dyn Reader>,
    /// Where the analyser finds what was said.
    pub opinions: Opinions,
    /// How long things are kept.
    pub keep: Keep,
}

/// How long what was said is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// Prompts and answers, in ms; what counted of them stays with the records.
    pub texts_ms: i64,
    /// Questions and costs, in ms.
    pub records_ms: i64,
}

/// Works until `shutdown` turns true.
pub async fn run(ctx: Ctx, mut shutdown: watch::Receiver<bool>) {
    let mut incidents = ctx.wakes.incidents.listen();
    let mut desk = Desk::new(ctx);
    while !*shutdown.borrow() {
        if let Err(error) = desk.look().await {
            tracing::error!(%error, "incidents could not be shown to the model; trying again");
        }
        tokio::select! {
            () = incidents.wait(PERIOD) => {}
            Some(done) = desk.under_way.join_next(), if !desk.under_way.is_empty() => desk.take(done.ok()),
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
    }
}

/// An answer that is kept for equal questions.
#[derive(Debug, Clone)]
struct Kept {
    at: UnixMs,
    text: String,
}

/// A question that ended.
struct Done {
    incident: i64,
    key: [u8; 32],
    answered: bool,
    kept: Option<Kept>,
}

/// What is known between two looks. All of it can be lost.
pub struct Desk {
    ctx: Ctx,
    loaded: bool,
    before: HashMap<i64, Before>,
    hours: HashMap<HostId, Vec<UnixMs>>,
    busy: HashSet<[u8; 32]>,
    kept: HashMap<[u8; 32], Kept>,
    under_way: JoinSet<Done>,
    swept_at: UnixMs,
}

impl Desk {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(ctx: Ctx) -> Self {
        Self {
            ctx,
            loaded: false,
            before: HashMap::new(),
            hours: HashMap::new(),
            busy: HashSet::new(),
            kept: HashMap::new(),
            under_way: JoinSet::new(),
            swept_at: UnixMs(0),
        }
    }

    /// One look at all open incidents.
    ///
    /// # Errors
    /// When the store fails; the next look finds the same again.
    pub async fn look(&mut self) -> Result<(), StoreError> {
        let now = self.ctx.clock.now();
        let mut open = incidents::open(&mut *self.ctx.db.reader().await?).await?;
        let ids: Vec<i64> = open.iter().map(|incident| incident.id).collect();
        self.ctx.opinions.keep(&ids);
        self.before.retain(|id, _| ids.contains(id));
        self.hours.retain(|_, times| {
            times.retain(|at| now.since(*at) < HOUR_MS);
            !times.is_empty()
        });
        self.kept.retain(|_, kept| now.since(kept.at) < TTL_MS);
        if !self.loaded {
            self.load(&open).await?;
        }
        if now.since(self.swept_at) >= HOUR_MS {
            self.swept_at = now;
            file::retain(&self.ctx, now).await?;
        }
        let Some(stage) = self.ctx.stage.borrow().clone().filter(|stage| stage.model.enabled()) else {
            return Ok(());
        };
        open.sort_by_key(|incident| (std::cmp::Reverse(incident.severity), incident.id));
        for incident in open {
            if self.under_way.len() >= UNDER_WAY {
                break;
            }
            self.consider(&stage, incident, now).await?;
        }
        Ok(())
    }

    /// Waits for the questions under way.
    pub async fn settle(&mut self) {
        while let Some(done) = self.under_way.join_next().await {
            self.take(done.ok());
        }
    }

    /// Goes on where the last process ended.
    async fn load(&mut self, open: &[Incident]) -> Result<(), StoreError> {
        let newest = analyses::newest_of_open(&mut *self.ctx.db.reader().await?).await?;
        for found in newest {
            let Some(incident) = open.iter().find(|incident| Some(incident.id) == found.incident) else {
                continue;
            };
            let key = <[u8; 32]>::try_from(found.key.as_slice()).unwrap_or_default();
            let before = Before::of(incident, key, found.opinion.is_some(), found.at);
            self.before.insert(incident.id, before);
            let held = analyses::opinion_of(&mut *self.ctx.db.reader().await?, incident.id).await?;
            let opinion = held.and_then(|held| serde_json::from_str(held.opinion.as_deref()?).ok());
            if let Some(opinion) = opinion {
                self.ctx.opinions.hold(incident, opinion);
            }
        }
        self.loaded = true;
        Ok(())
    }

    async fn consider(
        &mut self,
        stage: &Arc<Stage>,
        incident: Incident,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        let (id, Some(host)) = (incident.id, incident.host) else { return Ok(()) };
        // Before anything is read for it: most incidents were asked about a moment ago.
        let asked = self.before.get(&id).is_some_and(|before| now.since(before.at) < gate::APART_MS);
        let full = self.hours.get(&host).is_some_and(|times| times.len() >= gate::PER_HOST_HOUR);
        if asked || full {
            return Ok(());
        }
        let gathered = Gathered::read(&self.ctx.db, &self.ctx.samples, incident, now).await?;
        let sheet = gathered.sheet(Caps::FULL, false, &mut stage.redactor());
        let model = &stage.model;
        let key = prompt::key(&model.name, &model.language, &gathered.notes, &sheet);
        let hour = self.hours.get(&host).map_or(&[][..], Vec::as_slice);
        let before = self.before.get(&id);
        let Some(reason) = gate::reason(&gathered.incident, &key, before, hour, model.interval_ms, now)
        else {
            return Ok(());
        };
        if self.busy.contains(&key) {
            return Ok(());
        }
        if let Some(kept) = self.kept.get(&key).cloned() {
            let answered = self.share(stage, &gathered, key, reason, &kept).await?;
            self.before.insert(id, Before::of(&gathered.incident, key, answered, now));
            return Ok(());
        }
        let spent = model_costs::of_day(&mut *self.ctx.db.reader().await?, day(now)).await?;
        if let Some(why) = capped(model, &spent, self.under_way.len()) {
            let known = before.is_some_and(|before| !before.answered);
            self.before.insert(id, Before::of(&gathered.incident, key, false, now));
            return if known {
                Ok(())
            } else {
                file::capped(&self.ctx, stage, &gathered, key, reason, &why).await
            };
        }
        self.hours.entry(host).or_default().push(now);
        self.before.insert(id, Before::of(&gathered.incident, key, false, now));
        self.busy.insert(key);
        let (ctx, stage) = (self.ctx.clone(), stage.clone());
        self.under_way.spawn(async move { question(ctx, stage, gathered, key, reason).await });
        Ok(())
    }

    /// An equal question was answered: its answer is judged against this incident's own evidence. Tells
    /// whether it stood.
    async fn share(
        &self,
        stage: &Stage,
        gathered: &Gathered,
        key: [u8; 32],
        reason: Reason,
        kept: &Kept,
    ) -> Result<bool, StoreError> {
        let mut redactor = stage.redactor();
        let sheet = gathered.sheet(Caps::FULL, false, &mut redactor);
        let judged = judge(&kept.text, &sheet, &stage.model.language, &redactor);
        let outcome = Outcome {
            verdict: Verdict::Shared,
            opinion: judged.opinion,
            rejects: judged.rejects,
            said: prompt::messages(&sheet, &gathered.notes.through(&mut redactor), &stage.model.language),
            answers: vec![kept.text.clone()],
            turns: Vec::new(),
            error: None,
            latency_ms: 0,
        };
        let stood = outcome.opinion.is_some();
        file::store(&self.ctx, stage, gathered, key, reason, &outcome).await.map(|()| stood)
    }

    fn take(&mut self, done: Option<Done>) {
        let Some(done) = done else {
            // A task that was cut: its key is free again at the next look.
            self.busy.clear();
            return;
        };
        self.busy.remove(&done.key);
        if let Some(before) = self.before.get_mut(&done.incident) {
            before.answered = done.answered;
        }
        if let Some(kept) = done.kept.filter(|_| self.kept.len() < KEPT) {
            self.kept.insert(done.key, kept);
        }
    }
}

/// Why nothing may be asked today; what is under way has its part set aside.
#[must_use]
pub fn capped(model: &Model, spent: &model_costs::Sum, under_way: usize) -> Option<String> {
    let aside = SET_ASIDE.saturating_mul(under_way as u64 + 1);
    let limits = &model.limits;
    if spent.tokens().saturating_add(aside) > limits.daily_tokens {
        return Some(format!("{} of {} tokens of the day are used", spent.tokens(), limits.daily_tokens));
    }
    let price = model.price(&model.name);
    let usage = super::ask::Usage {
        prompt: SET_ASIDE - SET_ASIDE_ANSWERS,
        completion: SET_ASIDE_ANSWERS,
        ..Default::default()
    };
    let each = super::cost::micro(&usage, price);
    let money = spent.money().saturating_add(each.saturating_mul(under_way as u64 + 1));
    (price.is_some() && money > limits.daily_cost_micro)
        .then(|| "the day's amount of money is used".to_owned())
}

async fn question(ctx: Ctx, stage: Arc<Stage>, gathered: Gathered, key: [u8; 32], reason: Reason) -> Done {
    let incident = gathered.incident.id;
    let Some(host) = gathered.incident.host else {
        return Done { incident, key, answered: false, kept: None };
    };
    let make = |caps: Caps, nameless: bool, redactor: &mut Redactor| gathered.sheet(caps, nameless, redactor);
    let asked = Question {
        host,
        severity: gathered.incident.severity,
        notes: gathered.notes.clone(),
        language: &stage.model.language,
        redactor: stage.redactor(),
        sheet: &make,
    };
    let reader = file::Recorded { ctx: &ctx, incident };
    let outcome = hold(&*stage.ask, &reader, asked).await;
    let answered = outcome.opinion.is_some();
    if let Err(error) = file::store(&ctx, &stage, &gathered, key, reason, &outcome).await {
        tracing::error!(%error, incident, "what the model said could not be stored");
        return Done { incident, key, answered: false, kept: None };
    }
    // What took a reading or a second try is not an answer to an equal question elsewhere.
    let plain = matches!(outcome.verdict, Verdict::Accepted) && outcome.turns.len() == 1;
    let kept =
        outcome.answers.last().filter(|_| plain).map(|text| Kept { at: ctx.clock.now(), text: text.clone() });
    Done { incident, key, answered, kept }
}
