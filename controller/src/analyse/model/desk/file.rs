//! Stores what came of a question, with its costs and its audit record, in one transaction.

use serde_json::json;
use sysop_common::ids::HostId;
use sysop_common::query::Query;
use sysop_common::time::UnixMs;

use super::super::calibrate::{Table, last_word};
use super::super::cost::{micro, price_version};
use super::super::deep::{Answering, Reader};
use super::super::dialogue::Outcome;
use super::super::gate::Reason;
use super::super::gather::Gathered;
use super::super::prompt::PROMPT;
use super::super::schema::SCHEMA;
use super::{Ctx, Stage};
use crate::audit::Record;
use crate::store::analyses::{self, Analysis, Verdict};
use crate::store::model_costs::{self, Cost};
use crate::store::{Conn, StoreError, feedback};

/// Rows per transaction, so that nobody waits long for the writer.
const PAGE: u32 = 200;

/// Stores it, and tells the analyser what counts.
pub(super) async fn store(
    ctx: &Ctx,
    stage: &Stage,
    gathered: &Gathered,
    key: [u8; 32],
    reason: Reason,
    outcome: &Outcome,
) -> Result<(), StoreError> {
    let now = ctx.clock.now();
    let incident = &gathered.incident;
    let mut tx = ctx.db.begin().await?;
    let stated =
        outcome.opinion.as_ref().and_then(|opinion| opinion.views.first()).map(|view| view.confidence);
    let confidence = match stated {
        Some(stated) => {
            Some(last_word(stated, &experience(&mut tx, stage, gathered).await?, incident.confidence))
        }
        None => None,
    };
    let mut row = blank(stage, gathered, key, reason, now);
    row.prompt = said(outcome);
    row.answer = to_json(&outcome.answers);
    row.verdict = outcome.verdict;
    row.rejects = to_json(&outcome.rejects);
    row.opinion = outcome.opinion.as_ref().map(to_json);
    row.confidence = confidence;
    row.error = outcome.error.as_ref().map(ToString::to_string);
    row.turns = u32::try_from(outcome.turns.len()).unwrap_or(u32::MAX);
    row.latency_ms = outcome.latency_ms;
    let id = analyses::insert(&mut tx, &row).await?;
    let mut money = 0_u64;
    for turn in &outcome.turns {
        let cost = cost(stage, Some(id), Some((incident.id, incident.host)), turn.purpose, &turn.usage, now);
        money = money.saturating_add(cost.micro);
        model_costs::insert(&mut tx, &cost).await?;
    }
    let picks: Vec<_> = outcome
        .opinion
        .iter()
        .flat_map(|opinion| &opinion.views)
        .flat_map(|view| {
            view.picks.iter().map(move |pick| json!({ "action": pick.action, "risk": view.risk }))
        })
        .collect();
    let tokens: u64 = outcome.turns.iter().map(|turn| turn.usage.total()).sum();
    let detail = json!({
        "analysis": id, "reason": reason.word(), "model": row.model, "verdict": outcome.verdict.word(),
        "says": outcome.opinion.as_ref().map(|opinion| opinion.verdict), "picks": picks,
        "rejects": outcome.rejects.iter().map(|reject| reject.code.as_str()).collect::<Vec<_>>(),
        "tokens": tokens, "micro": money, "error": outcome.error.as_ref().map(|error| error.code()),
    });
    let record = Record::new("model", "model.answer", format!("incident:{}", incident.id), detail);
    ctx.audit.append(&mut tx, &record).await?;
    tx.commit().await?;
    if let Some(opinion) = &outcome.opinion {
        ctx.opinions.hold(incident, opinion.clone());
    }
    // The analyser looks again with the advice; pages show the words.
    ctx.wakes.samples.wake();
    ctx.wakes.incidents.wake();
    Ok(())
}

/// Notes that the day's limit kept the model from being asked.
pub(super) async fn capped(
    ctx: &Ctx,
    stage: &Stage,
    gathered: &Gathered,
    key: [u8; 32],
    reason: Reason,
    why: &str,
) -> Result<(), StoreError> {
    let now = ctx.clock.now();
    let mut row = blank(stage, gathered, key, reason, now);
    row.verdict = Verdict::Capped;
    row.error = Some(why.to_owned());
    let mut tx = ctx.db.begin().await?;
    let id = analyses::insert(&mut tx, &row).await?;
    let detail = json!({ "analysis": id, "why": why });
    let object = format!("incident:{}", gathered.incident.id);
    ctx.audit.append(&mut tx, &Record::new("model", "model.capped", object, detail)).await?;
    tx.commit().await?;
    ctx.wakes.incidents.wake();
    Ok(())
}

fn blank(stage: &Stage, gathered: &Gathered, key: [u8; 32], reason: Reason, now: UnixMs) -> Analysis {
    Analysis {
        id: 0,
        incident: Some(gathered.incident.id),
        host: gathered.incident.host,
        at: now,
        reason: reason.word().to_owned(),
        model: stage.model.name.clone(),
        prompt_version: PROMPT.to_owned(),
        schema_version: SCHEMA.to_owned(),
        language: stage.model.language.clone(),
        key: key.to_vec(),
        prompt: "[]".to_owned(),
        answer: "[]".to_owned(),
        verdict: Verdict::Failed,
        rejects: "[]".to_owned(),
        opinion: None,
        confidence: None,
        error: None,
        turns: 0,
        latency_ms: 0,
    }
}

/// What one request cost.
pub(in crate::analyse::model) fn cost(
    stage: &Stage,
    analysis: Option<i64>,
    about: Option<(i64, Option<HostId>)>,
    purpose: &'static str,
    usage: &super::super::ask::Usage,
    now: UnixMs,
) -> Cost {
    Cost {
        analysis,
        incident: about.map(|(incident, _)| incident),
        host: about.and_then(|(_, host)| host),
        at: now,
        model: stage.model.name.clone(),
        purpose,
        prompt: usage.prompt,
        cached: usage.cached,
        completion: usage.completion,
        reasoning: usage.reasoning,
        estimated: usage.estimated,
        price_version: price_version(&stage.model),
        micro: micro(usage, stage.model.price(&stage.model.name)),
        currency: stage.model.currency.clone(),
    }
}

/// How often this model was right about this kind of trouble when it said how sure it was.
async fn experience(conn: &mut Conn, stage: &Stage, gathered: &Gathered) -> Result<Table, StoreError> {
    let words = feedback::of_category(conn, gathered.incident.category).await?;
    let points: Vec<(u8, bool)> = words
        .into_iter()
        .filter_map(|(_, model, right)| {
            model.filter(|(name, _)| *name == stage.model.name).map(|(_, s)| (s, right))
        })
        .collect();
    Ok(Table::new(&points))
}

fn said(outcome: &Outcome) -> String {
    let list: Vec<_> = outcome
        .said
        .iter()
        .map(|message| json!({ "role": message.role.name(), "text": message.text }))
        .collect();
    to_json(&list)
}

/// These types hold nothing that JSON cannot.
fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "[]".to_owned())
}

/// Deletes what is older than it shall be kept; nothing while the clock is in doubt.
pub(super) async fn retain(ctx: &Ctx, now: UnixMs) -> Result<(), StoreError> {
    if ctx.samples.clock_doubted(now).await?.is_some() {
        return Ok(());
    }
    let (texts, records) = (now.plus(-ctx.keep.texts_ms), now.plus(-ctx.keep.records_ms));
    loop {
        let mut tx = ctx.db.begin().await?;
        let gone = analyses::forget(&mut tx, texts, records, PAGE).await?
            + model_costs::forget(&mut tx, records, PAGE).await?;
        tx.commit().await?;
        if gone == 0 {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

/// Readings for a model, each with its audit record before it is asked for.
pub(super) struct Recorded<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) incident: i64,
}

impl Reader for Recorded<'_> {
    fn read(&self, host: HostId, query: Query) -> Answering<'_> {
        Box::pin(async move {
            let detail = json!({ "query": query, "incident": self.incident });
            let record = Record::new("model", "host.query", format!("host:{host}"), detail);
            self.ctx
                .audit
                .record(&self.ctx.db, &record)
                .await
                .map_err(|_| "it could not be recorded".to_owned())?;
            self.ctx.reader.read(host, query).await
        })
    }
}
