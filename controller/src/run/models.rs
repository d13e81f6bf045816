//! The model stage beside the other steps: which model by the settings of file, environment and pages,
//! a client for it, and what pages want to know of it.

mod pages;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sysop_common::ids::HostId;
use sysop_common::query::Query;
use tokio::sync::watch;

use crate::analyse::messages::Language;
use crate::analyse::model::ask::estimate_tokens;
use crate::analyse::model::client::ModelClient;
use crate::analyse::model::cost::price_version;
use crate::analyse::model::deep::{Answering, Reader};
use crate::analyse::model::desk::Stage;
use crate::analyse::model::gather::Gathered;
use crate::analyse::model::known::keep_known;
use crate::analyse::model::tryout;
use crate::analyse::recording;
use crate::audit::{Audit, Record};
use crate::clock::Clock;
use crate::config::{CHANGEABLE, Model};
use crate::identity::Identity;
use crate::link::Registry;
use crate::store::samples::SampleStore;
use crate::store::{Db, StoreError, incidents, model_costs, settings};
use crate::wake::Wakes;
use crate::web::models::{Change, ModelsError, Preview, Tried};

/// Whether the model is asked at all: `on` or `off`.
const ON: &str = "model.on";
/// Whether names are kept back: `on` or `off`.
const PSEUDONYMS: &str = "model.pseudonyms";
/// The place for which the key is sealed.
const KEY_PLACE: &str = "settings:model.set.api_key";
/// Time that a host has for a reading.
const READING: std::time::Duration = std::time::Duration::from_secs(5);

/// Asks hosts over their sessions.
pub(super) struct OverLink(pub(super) Registry);

impl Reader for OverLink {
    fn read(&self, host: HostId, query: Query) -> Answering<'_> {
        Box::pin(async move {
            let answer = self.0.query(host, query, READING).await.map_err(|error| error.to_string())?;
            answer.result
        })
    }
}

/// What is set on pages.
#[derive(Debug, Clone, Default)]
struct Here {
    on: bool,
    pseudonyms: bool,
    /// Name and value of each; the key in the clear.
    values: Vec<(&'static str, String)>,
}

struct Now {
    here: Here,
    client: Option<ModelClient>,
    stop_probing: watch::Sender<bool>,
}

/// Keeps the stage as it is set up, and changes it.
pub(super) struct Advisor {
    base: Model,
    db: Db,
    samples: SampleStore,
    audit: Audit,
    wakes: Wakes,
    clock: Clock,
    identity: Identity,
    stage: watch::Sender<Option<Arc<Stage>>>,
    now: Mutex<Now>,
    /// Changes come one after the other: each builds on what the one before left.
    changing: tokio::sync::Mutex<()>,
}

impl Advisor {
    /// As file, environment and pages have it.
    pub(super) async fn open(
        base: Model,
        (db, samples): (&Db, &SampleStore),
        (audit, wakes, clock): (&Audit, &Wakes, &Clock),
        identity: &Identity,
    ) -> Result<Arc<Self>, StoreError> {
        let here = read(db, identity).await?;
        let advisor = Arc::new(Self {
            base,
            db: db.clone(),
            samples: samples.clone(),
            audit: audit.clone(),
            wakes: wakes.clone(),
            clock: clock.clone(),
            identity: identity.clone(),
            stage: watch::Sender::new(None),
            changing: tokio::sync::Mutex::new(()),
            now: Mutex::new(Now {
                here: here.clone(),
                client: None,
                stop_probing: watch::Sender::new(false),
            }),
        });
        // What was set once and does not fit any more must not keep the controller from starting.
        let made = advisor.model(&here).and_then(|model| Ok((advisor.client(&model)?, model)));
        if let Err(error) = made.map(|(client, model)| advisor.take_up(here, model, client)) {
            tracing::error!(%error, "the model's settings cannot be used: analysis goes by rules alone");
        }
        Ok(advisor)
    }

    /// The stage as it is now and will be.
    pub(super) fn stage(&self) -> watch::Receiver<Option<Arc<Stage>>> {
        self.stage.subscribe()
    }

    /// Stops what it began.
    pub(super) fn stop(&self) {
        self.lock().stop_probing.send_replace(true);
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings with what is set on pages in place of the others.
    fn model(&self, here: &Here) -> Result<Model, ModelsError> {
        let mut model = self.base.clone();
        for (name, value) in here.values.iter().filter(|(_, value)| !value.is_empty()) {
            model.change(name, value).map_err(|problem| ModelsError::Invalid { field: name, problem })?;
        }
        Ok(model)
    }

    fn client(&self, model: &Model) -> Result<ModelClient, ModelsError> {
        ModelClient::new(model, self.clock.clone()).map_err(|error| ModelsError::Failed(error.to_string()))
    }

    /// Lets the stage work with a client.
    fn take_up(&self, here: Here, model: Model, client: ModelClient) {
        let (stop, stopping) = watch::channel(false);
        let on = here.on && model.enabled();
        if on {
            let (db, clock) = (self.db.clone(), self.clock.clone());
            let version = price_version(&model);
            let spent = {
                let (db, clock, model) = (db.clone(), clock.clone(), model.clone());
                move |probed: &crate::analyse::model::probe::Probed| {
                    let cost = model_costs::Cost {
                        analysis: None,
                        incident: None,
                        host: None,
                        at: clock.now(),
                        model: model.name.clone(),
                        purpose: "probe",
                        prompt: probed.usage.prompt,
                        cached: probed.usage.cached,
                        completion: probed.usage.completion,
                        reasoning: probed.usage.reasoning,
                        estimated: probed.usage.estimated,
                        price_version: version.clone(),
                        micro: crate::analyse::model::cost::micro(&probed.usage, model.price(&model.name)),
                        currency: model.currency.clone(),
                    };
                    let db = db.clone();
                    tokio::spawn(async move { note_cost(&db, &cost).await });
                }
            };
            tokio::spawn(keep_known(client.clone(), db, clock, spent, stopping));
        }
        let stage = Stage { ask: Arc::new(client.clone()), model, pseudonyms: here.pseudonyms };
        let mut now = self.lock();
        now.stop_probing.send_replace(true);
        *now = Now { here, client: Some(client), stop_probing: stop };
        self.stage.send_replace(on.then(|| Arc::new(stage)));
    }

    /// The key that is known was given for one server: another one does not get it unasked.
    fn keep_key_at_home(&self, model: &Model, change: &Change) -> Result<(), ModelsError> {
        let old = self.model(&self.lock().here.clone()).unwrap_or_else(|_| self.base.clone());
        let place = |model: &Model| {
            (model.endpoint.is_plain(), model.endpoint.host().to_owned(), model.endpoint.port())
        };
        let typed = change.values.iter().any(|(name, value)| *name == "api_key" && !value.trim().is_empty());
        let as_in_file = model.key == self.base.key && place(model) == place(&self.base);
        if model.key.is_none() || typed || as_in_file || place(model) == place(&old) {
            return Ok(());
        }
        let problem = "must be typed again: the one that is known belongs to another server".to_owned();
        Err(ModelsError::Invalid { field: "api_key", problem })
    }

    async fn apply(&self, change: Change, who: &str) -> Result<(), ModelsError> {
        let _one = self.changing.lock().await;
        let mut here = self.lock().here.clone();
        here.on = change.on.unwrap_or(here.on);
        here.pseudonyms = change.pseudonyms.unwrap_or(here.pseudonyms);
        for (name, value) in &change.values {
            here.values.retain(|(known, _)| known != name);
            here.values.push((name, value.trim().to_owned()));
        }
        let model = self.model(&here)?;
        self.keep_key_at_home(&model, &change)?;
        let client = self.client(&model)?;
        self.write(&change, who).await.map_err(|error| ModelsError::Failed(error.to_string()))?;
        self.take_up(here, model, client);
        self.wakes.incidents.wake();
        Ok(())
    }

    async fn write(&self, change: &Change, who: &str) -> Result<(), StoreError> {
        let now = self.clock.now();
        let word = |on: bool| if on { "on" } else { "off" };
        let mut tx = self.db.begin().await?;
        let mut told = serde_json::Map::new();
        for (name, on) in [(ON, change.on), (PSEUDONYMS, change.pseudonyms)] {
            let Some(on) = on else { continue };
            settings::set(&mut tx, name, word(on), now).await?;
            told.insert(name.to_owned(), json!(on));
        }
        for (name, value) in &change.values {
            let value = value.trim();
            let secret = *name == "api_key";
            let stored = if secret && !value.is_empty() {
                let sealed = self.identity.seal(KEY_PLACE, value.as_bytes());
                STANDARD.encode(sealed.map_err(|error| StoreError::corrupt("the model's key", error))?)
            } else {
                value.to_owned()
            };
            settings::set(&mut tx, &row(name), &stored, now).await?;
            let shown = if secret {
                json!(if value.is_empty() { "taken away" } else { "set" })
            } else {
                json!(value)
            };
            told.insert((*name).to_owned(), shown);
        }
        let record = Record::new(who, "model.settings", "setting:model", told.into());
        self.audit.append(&mut tx, &record).await?;
        tx.commit().await
    }

    async fn show(&self, id: i64) -> Result<Preview, ModelsError> {
        let failed = |error: StoreError| ModelsError::Failed(error.to_string());
        let incident = incidents::find(&self.db, id).await.map_err(failed)?;
        let incident = incident.filter(|incident| incident.host.is_some()).ok_or(ModelsError::NoIncident)?;
        let now = self.clock.now();
        let gathered = Gathered::read(&self.db, &self.samples, incident, now).await.map_err(failed)?;
        let stage = self.would_be()?;
        let request = tryout::request(&stage, &gathered);
        let bytes: usize = request.messages.iter().map(|message| message.text.len()).sum();
        Ok(Preview {
            tokens: estimate_tokens(bytes),
            all_tokens: estimate_tokens(bytes + request.system_prefix.len()),
            schema: serde_json::to_string_pretty(&request.schema).unwrap_or_default(),
            messages: request
                .messages
                .into_iter()
                .map(|message| (message.role.name(), message.text))
                .collect(),
            prefix: request.system_prefix,
        })
    }

    async fn record(&self, id: i64) -> Result<Vec<u8>, ModelsError> {
        let language = Language::from_tag(&self.base.language);
        let made = recording::make(&self.db, &self.samples, id, language, self.clock.now()).await;
        made.map(|made| made.write()).map_err(|error| match error {
            StoreError::NotFound(_) => ModelsError::NoIncident,
            error => ModelsError::Failed(error.to_string()),
        })
    }

    /// The stage as it is, or as it would be if it were on.
    fn would_be(&self) -> Result<Arc<Stage>, ModelsError> {
        if let Some(stage) = self.stage.borrow().clone() {
            return Ok(stage);
        }
        let now = self.lock();
        let model = self.model(&now.here)?;
        let client = now.client.clone().ok_or(ModelsError::Off)?;
        Ok(Arc::new(Stage { ask: Arc::new(client), model, pseudonyms: now.here.pseudonyms }))
    }

    async fn attempt(&self, who: &str) -> Result<Tried, ModelsError> {
        let stage = self.would_be()?;
        if !stage.model.enabled() {
            return Err(ModelsError::Off);
        }
        let now = self.clock.now();
        let (outcome, costs) = tryout::test(&stage, now).await;
        let micro = costs.iter().map(|cost| cost.micro).sum();
        let record = Record::new(
            who,
            "model.test",
            "setting:model",
            json!({ "verdict": outcome.verdict.word(), "micro": micro, "error": outcome.error.as_ref().map(|e| e.code()) }),
        );
        let stored = async {
            let mut tx = self.db.begin().await?;
            for cost in &costs {
                model_costs::insert(&mut tx, cost).await?;
            }
            self.audit.append(&mut tx, &record).await?;
            tx.commit().await
        };
        stored.await.map_err(|error| ModelsError::Failed(error.to_string()))?;
        let sum = |of: fn(&model_costs::Cost) -> u64| costs.iter().map(of).sum();
        Ok(Tried {
            works: outcome.opinion.is_some() && outcome.error.is_none(),
            says: outcome
                .error
                .as_ref()
                .map_or_else(|| format!("the answer was {}", outcome.verdict.word()), ToString::to_string),
            remedy: outcome.error.as_ref().and_then(|error| error.remedy()).map(str::to_owned),
            latency_ms: outcome.latency_ms,
            tokens: (sum(|cost| cost.prompt), sum(|cost| cost.completion)),
            micro,
            rejects: outcome.rejects.iter().map(|reject| reject.text.clone()).collect(),
        })
    }
}

fn row(name: &str) -> String {
    format!("model.set.{name}")
}

async fn read(db: &Db, identity: &Identity) -> Result<Here, StoreError> {
    let mut conn = db.reader().await?;
    let on = settings::get(&mut conn, ON).await?.as_deref() != Some("off");
    let pseudonyms = settings::get(&mut conn, PSEUDONYMS).await?.as_deref() == Some("on");
    let mut values = Vec::new();
    for name in CHANGEABLE {
        let Some(value) = settings::get(&mut conn, &row(name)).await?.filter(|value| !value.is_empty())
        else {
            continue;
        };
        let value = if name == "api_key" { unsealed(identity, &value) } else { Some(value) };
        values.extend(value.map(|value| (name, value)));
    }
    Ok(Here { on, pseudonyms, values })
}

/// The key; one that does not open is as if it had not been set.
fn unsealed(identity: &Identity, stored: &str) -> Option<String> {
    let opened = STANDARD.decode(stored).ok().and_then(|sealed| {
        identity.unseal(KEY_PLACE, &sealed, "key of the model").map_err(|error| tracing::error!(%error)).ok()
    })?;
    String::from_utf8(opened.to_vec()).ok()
}

async fn note_cost(db: &Db, cost: &model_costs::Cost) {
    let noted = async {
        let mut tx = db.begin().await?;
        model_costs::insert(&mut tx, cost).await?;
        tx.commit().await
    };
    if let Err(error) = noted.await {
        tracing::error!(%error, "what probing the model's server cost could not be stored");
    }
}

#[cfg(test)]
mod tests;
