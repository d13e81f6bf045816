//! Fills a model's note from what is stored.

use serde_json::Value;
use sysop_common::action::{Action, Risk};

use super::{FeedbackView, Note, View};
use crate::store::analyses::{self, Analysis, Filter};
use crate::store::incidents::Incident;
use crate::store::model_costs::{self, Sum};
use crate::store::users::Role;
use crate::store::{Db, StoreError, feedback};
use crate::web::pages::proposal::fill::Viewer;
use crate::web::pages::words;

/// The newest note about an incident: the newest that says something, else the newest.
///
/// # Errors
/// When the store cannot be read.
pub async fn newest(db: &Db, incident: &Incident, currency: &str) -> Result<Option<Note>, StoreError> {
    let list =
        analyses::list(db, Filter { incident: Some(incident.id), limit: 20, ..Filter::default() }).await?;
    let chosen = list.iter().find(|row| row.opinion.is_some()).or_else(|| list.first());
    let Some(row) = chosen else { return Ok(None) };
    let mut conn = db.reader().await?;
    let known = feedback::of_category(&mut conn, incident.category).await?;
    drop(conn);
    let of_model =
        known.iter().filter(|(_, model, _)| model.as_ref().is_some_and(|(name, _)| *name == row.model));
    let track = of_model.fold((0, 0), |(right, all), (.., hit)| (right + u64::from(*hit), all + 1));
    let sum = model_costs::of_incident(db, incident.id).await?;
    Ok(Some(note(row, track, &sum, currency)))
}

/// A stored question as a note.
#[must_use]
pub fn note(row: &Analysis, track: (u64, u64), sum: &Sum, currency: &str) -> Note {
    let opinion: Value =
        row.opinion.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let rejects: Vec<Value> = serde_json::from_str(&row.rejects).unwrap_or_default();
    let number = |n: i64| u64::try_from(n).unwrap_or(0);
    Note {
        id: row.id,
        model: row.model.clone(),
        at_ms: row.at.0,
        verdict: row.verdict.word().to_owned(),
        says: text(&opinion["verdict"]),
        views: opinion["views"].as_array().map(|views| views.iter().map(view).collect()).unwrap_or_default(),
        counts_for: row.confidence,
        track,
        rejects: rejects.iter().map(|reject| text(&reject["text"])).collect(),
        error: row.error.clone(),
        turns: row.turns,
        latency_ms: row.latency_ms,
        tokens: (number(sum.prompt), number(sum.completion)),
        cached: number(sum.cached),
        money: money(sum.money(), currency),
        estimated: sum.estimated > 0,
    }
}

fn view(value: &Value) -> View {
    let list = |name: &str| {
        let list = value[name].as_array().map_or(&[][..], Vec::as_slice);
        list.iter().map(text).collect::<Vec<_>>()
    };
    let picks = value["picks"].as_array().map_or(&[][..], Vec::as_slice);
    View {
        title: text(&value["title"]),
        summary: text(&value["summary"]),
        reasoning: text(&value["reasoning"]),
        root: text(&value["root"]),
        agrees: value["agrees"] == true,
        stated: u8::try_from(value["confidence"].as_u64().unwrap_or(0)).unwrap_or(0).min(100),
        risk: value["risk"].as_str().and_then(Risk::from_word),
        evidence: list("evidence"),
        against: list("against"),
        picks: picks
            .iter()
            .filter_map(|pick| serde_json::from_value::<Action>(pick["action"].clone()).ok())
            .map(|action| words::verb(&action))
            .collect(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Money for people; nothing when there is none.
#[must_use]
pub fn money(micro: u64, currency: &str) -> String {
    if micro == 0 {
        return String::new();
    }
    format!("{}.{:04} {currency}", micro / 1_000_000, micro % 1_000_000 / 100)
}

/// What people said of an incident.
///
/// # Errors
/// When the store cannot be read.
pub async fn feedback_of(db: &Db, incident: &Incident, viewer: &Viewer) -> Result<FeedbackView, StoreError> {
    let words = feedback::of_incident(db, incident.id).await?;
    Ok(FeedbackView {
        incident: incident.id,
        own: words.iter().find(|word| word.created_by == viewer.name).map(|word| word.verdict.clone()),
        words: words.into_iter().map(|word| (word.created_by, word.verdict, word.comment)).collect(),
        may: viewer.role >= Role::Operator,
    })
}

/// How often the rules were right about this kind of trouble, by people's word: right, all.
///
/// # Errors
/// When the store cannot be read.
pub async fn rules_track(db: &Db, incident: &Incident) -> Result<Option<(u64, u64)>, StoreError> {
    let mut conn = db.reader().await?;
    let known = feedback::of_category(&mut conn, incident.category).await?;
    let right = known.iter().filter(|(.., right)| *right).count() as u64;
    Ok((!known.is_empty()).then_some((right, known.len() as u64)))
}
