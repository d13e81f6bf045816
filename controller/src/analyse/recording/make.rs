//! Makes a recording out of the store.

use std::sync::Arc;

use serde_json::{Value, json};
use sysop_common::time::{MINUTE_MS, UnixMs};

use super::{FORMAT, Look, Recording, VERSION};
use crate::analyse::incident;
use crate::analyse::input::{self, HostInput};
use crate::analyse::messages::Language;
use crate::analyse::model::gather::Gathered;
use crate::analyse::state::HostState;
use crate::analyse::window::Window;
use crate::rules::{Compiled, States};
use crate::store::audit::{self, AuditFilter};
use crate::store::incidents::{self, Incident};
use crate::store::rules::{self, Rule};
use crate::store::runs::{self, Run};
use crate::store::samples::{RECENT_MS, SampleStore};
use crate::store::{
    Db, StoreError, analyser_state, analyses, assignments, host_events, host_facts, maintenance, rule_states,
    settings, trust,
};

/// What the link saw counts for this long.
const EVENTS_MS: i64 = 30 * MINUTE_MS;
/// Most questions to a model, and most audit records of one object.
const MOST: u32 = 100;

/// The recording of an incident of a host.
///
/// # Errors
/// [`StoreError::NotFound`] when there is no such incident, or it is about no host.
pub async fn make(
    db: &Db,
    samples: &SampleStore,
    id: i64,
    language: Language,
    now: UnixMs,
) -> Result<Recording, StoreError> {
    let found = incidents::find(db, id).await?;
    let incident =
        found.filter(|incident| incident.host.is_some()).ok_or(StoreError::NotFound("incident"))?;
    let look = look(db, samples, &incident, language, now).await?;
    let gathered = Gathered::read(db, samples, incident.clone(), now).await?;
    let asked =
        analyses::list(db, analyses::Filter { incident: Some(id), limit: MOST, ..Default::default() })
            .await?;
    let tried = runs::of_incident(&mut *db.reader().await?, id).await?;
    let mut recording = Recording {
        format: FORMAT.to_owned(),
        version: VERSION,
        product: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: now,
        policy: policy(db, &incident, now).await?,
        decisions: decisions(db, id, &tried).await?,
        incident,
        host: gathered.host,
        look,
        found: String::new(),
        past: gathered.past,
        notes: gathered.notes,
        analyses: asked.iter().map(analysis).collect(),
    };
    // What the file gives when it is read, not what was at hand when it was written.
    let read = Recording::read(&recording.write());
    recording.found = read.and_then(|read| read.replay()).map_err(|e| StoreError::corrupt("recording", e))?;
    Ok(recording)
}

async fn look(
    db: &Db,
    samples: &SampleStore,
    incident: &Incident,
    language: Language,
    now: UnixMs,
) -> Result<Look, StoreError> {
    let Some(host) = incident.host else { return Ok(Look::default()) };
    let newest = samples.latest(host).map(|latest| latest.now);
    let since = newest.as_ref().map_or(now, |stored| stored.at).plus(-RECENT_MS);
    let mut ticks = samples.recent(host, since);
    ticks.extend(newest);
    ticks.sort_by_key(|stored| (stored.at, stored.tick.seq));
    ticks.dedup_by_key(|stored| (stored.epoch, stored.tick.seq));
    let window = Window::new(ticks.clone(), None);
    let fills = input::histories(samples, host, &input::filling(&window), now).await?;
    let mut conn = db.reader().await?;
    let open: Vec<Incident> =
        incidents::open(&mut conn).await?.into_iter().filter(|one| one.host == Some(host)).collect();
    let mut state = HostState::default();
    if let Some(known) = analyser_state::load(&mut conn).await?.into_iter().find(|known| known.host == host) {
        state.memory = serde_json::from_str(&known.facts).unwrap_or_default();
        state.unpack(&known.soft.unwrap_or_default());
    }
    if let Some(packed) = rule_states::of(&mut conn, host).await? {
        state.rules = States::unpack(&packed);
    }
    let on = |rule: &Rule| rule.definition.enabled && rule.covers(host);
    let rules = rules::list(&mut conn).await?.into_iter().filter(on);
    let rules = rules.map(|rule| Arc::new(Compiled::new(rule))).collect();
    let events = host_events::since(&mut conn, now.plus(-EVENTS_MS)).await?;
    let input = HostInput {
        rules,
        standings: Vec::new(),
        window,
        fills,
        state,
        open: incident::active(&open),
        events: events.into_iter().filter(|(of, _)| *of == host).map(|(_, event)| event).collect(),
        maintenance: maintenance::active(&mut conn, host, now).await?.is_some(),
        language,
    };
    Ok(Look::of(&input, &ticks))
}

fn analysis(one: &analyses::Analysis) -> Value {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    json!({
        "id": one.id, "at": one.at, "reason": one.reason, "model": one.model, "prompt_version": one.prompt_version,
        "schema_version": one.schema_version, "language": one.language, "verdict": one.verdict.word(),
        "prompt": parsed(&one.prompt), "answers": parsed(&one.answer), "rejects": parsed(&one.rejects),
        "opinion": one.opinion.as_deref().map(parsed), "confidence": one.confidence, "error": one.error,
    })
}

async fn policy(db: &Db, incident: &Incident, now: UnixMs) -> Result<Value, StoreError> {
    let Some(host) = incident.host else { return Ok(Value::Null) };
    let held = trust::demotions(db).await?;
    let held: Vec<Value> = held
        .iter()
        .filter(|one| one.lifted_at.is_none())
        .map(|one| json!({ "action": one.action, "category": one.category, "reason": one.reason }))
        .collect();
    let mut conn = db.reader().await?;
    let facts = host_facts::get(&mut conn, host).await?;
    let assigned = assignments::of_host(&mut conn, host).await?;
    let window = maintenance::active(&mut conn, host, now).await?;
    Ok(json!({
        "automation": settings::automation(&mut conn).await?,
        "maintenance": window.map(|window| window.reason),
        "critical": facts.as_ref().map(|facts| facts.critical),
        "grants": facts.map(|facts| facts.grants),
        "assignments": assigned.iter().map(|one| json!({ "action": one.action, "automatic": one.automatic })).collect::<Vec<_>>(),
        "demotions": held,
    }))
}

async fn decisions(db: &Db, id: i64, tried: &[Run]) -> Result<Value, StoreError> {
    let mut records = Vec::new();
    let objects =
        std::iter::once(format!("incident:{id}")).chain(tried.iter().map(|run| format!("run:{}", run.id)));
    for object in objects {
        let filter =
            AuditFilter { object: Some(object), actor: None, action: None, after: None, limit: MOST };
        for row in audit::list(db, &filter).await? {
            let detail: Value = serde_json::from_str(&row.detail).unwrap_or(Value::Null);
            records.push(json!({ "seq": row.seq, "at": row.at, "actor": row.actor, "action": row.action,
                "object": row.object, "detail": detail, "hash": row.hash.to_string() }));
        }
    }
    let runs: Vec<Value> = tried
        .iter()
        .map(|run| {
            json!({ "id": run.id, "action": run.action, "attempt": run.attempt, "state": run.state.word(),
                "risk": run.risk, "factors": run.risk_factors, "reason": run.reason, "created_by": run.created_by,
                "created_at": run.created_at, "decided_by": run.decided_by, "decided_at": run.decided_at })
        })
        .collect();
    Ok(json!({ "runs": runs, "audit": records }))
}
