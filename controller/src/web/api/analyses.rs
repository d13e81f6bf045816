//! What a model was asked about incidents, and what people say of them.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sysop_common::ids::HostId;
use utoipa::{IntoParams, ToSchema};

use super::{Limit, List, Text};
use crate::decide;
use crate::store::analyses::{self, Analysis, Filter, Verdict};
use crate::store::feedback::{self, Feedback, Said};
use crate::store::{incidents, model_costs};
use crate::web::auth::Principal;
use crate::web::error::Problem;
use crate::web::extract::{Id, Json, Params};
use crate::web::state::AppState;

/// A question to a model.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnalysisBody {
    id: i64,
    incident: Option<i64>,
    #[schema(value_type = Option<String>, format = "uuid")]
    host: Option<HostId>,
    at: i64,
    /// `opened`, `category`, `root`, `severity`, `evidence`, `periodic`.
    reason: String,
    model: String,
    prompt_version: String,
    schema_version: String,
    language: String,
    /// `accepted`, `repaired`, `flagged`, `rejected`, `failed`, `shared`, `capped`.
    verdict: &'static str,
    /// What the verifier threw out.
    #[schema(value_type = Vec<Object>)]
    rejects: Value,
    /// What counts of the answer; null when nothing does.
    #[schema(value_type = Option<Object>)]
    opinion: Option<Value>,
    /// What is left of the model's confidence by experience and by the rules, in percent.
    confidence: Option<u8>,
    error: Option<String>,
    /// Requests that were sent.
    turns: u32,
    latency_ms: u64,
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

impl From<Analysis> for AnalysisBody {
    fn from(one: Analysis) -> Self {
        Self {
            id: one.id,
            incident: one.incident,
            host: one.host,
            at: one.at.0,
            reason: one.reason,
            model: one.model,
            prompt_version: one.prompt_version,
            schema_version: one.schema_version,
            language: one.language,
            verdict: one.verdict.word(),
            rejects: json(&one.rejects),
            opinion: one.opinion.as_deref().map(json),
            confidence: one.confidence,
            error: one.error,
            turns: one.turns,
            latency_ms: one.latency_ms,
        }
    }
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerdictWord {
    /// The answer counts as it is.
    Accepted,
    /// The second answer counts.
    Repaired,
    /// Its text counts, its actions do not.
    Flagged,
    /// Nothing of the answer counts.
    Rejected,
    /// There was no answer.
    Failed,
    /// An equal question had been answered.
    Shared,
    /// It was not asked: the day's limit is reached.
    Capped,
}

impl From<VerdictWord> for Verdict {
    fn from(word: VerdictWord) -> Self {
        match word {
            VerdictWord::Accepted => Self::Accepted,
            VerdictWord::Repaired => Self::Repaired,
            VerdictWord::Flagged => Self::Flagged,
            VerdictWord::Rejected => Self::Rejected,
            VerdictWord::Failed => Self::Failed,
            VerdictWord::Shared => Self::Shared,
            VerdictWord::Capped => Self::Capped,
        }
    }
}

/// Which questions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AnalysesQuery {
    /// About one incident only.
    incident: Option<i64>,
    /// On one host only.
    #[param(value_type = Option<String>, format = "uuid")]
    host: Option<HostId>,
    /// With one verdict only.
    #[param(inline)]
    verdict: Option<VerdictWord>,
    /// How many: 1 to 200, else 50.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Limit,
    /// `next` of the part before.
    after: Option<i64>,
}

/// Questions to a model, newest first.
#[utoipa::path(get, path = "/api/v1/analyses", tag = "model", params(AnalysesQuery), responses((status = 200, body = List<AnalysisBody>)))]
pub async fn list(
    State(state): State<AppState>,
    Params(query): Params<AnalysesQuery>,
) -> Result<axum::Json<List<AnalysisBody>>, Problem> {
    let filter = Filter {
        incident: query.incident,
        host: query.host,
        verdict: query.verdict.map(Into::into),
        before: query.after,
        limit: query.limit.0 + 1,
    };
    let found = analyses::list(&state.db, filter).await?;
    Ok(axum::Json(List::cut(found, query.limit, |one| one.id.to_string())))
}

/// A question with its texts and its cost.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnalysisDetail {
    #[serde(flatten)]
    analysis: AnalysisBody,
    /// What was said to the model; empty once it is older than texts are kept.
    #[schema(value_type = Vec<Object>)]
    prompt: Value,
    /// What it said, as it came.
    #[schema(value_type = Vec<String>)]
    answers: Value,
    prompt_tokens: i64,
    cached_tokens: i64,
    completion_tokens: i64,
    reasoning_tokens: i64,
    /// Millionths of the currency.
    micro: i64,
    /// Whether tokens were counted here, since the server did not say.
    estimated: bool,
}

/// One question with its texts and its cost.
#[utoipa::path(get, path = "/api/v1/analyses/{id}", tag = "model", params(("id" = i64, Path)),
    responses((status = 200, body = AnalysisDetail), (status = 404, description = "No such question")))]
pub async fn get(
    State(state): State<AppState>,
    Id(id): Id<i64>,
) -> Result<axum::Json<AnalysisDetail>, Problem> {
    let one = analyses::find(&state.db, id).await?.ok_or_else(|| Problem::not_found("analysis"))?;
    let sum = model_costs::of_analysis(&state.db, id).await?;
    Ok(axum::Json(AnalysisDetail {
        prompt: json(&one.prompt),
        answers: json(&one.answer),
        analysis: one.into(),
        prompt_tokens: sum.prompt,
        cached_tokens: sum.cached,
        completion_tokens: sum.completion,
        reasoning_tokens: sum.reasoning,
        micro: sum.micro,
        estimated: sum.estimated > 0,
    }))
}

/// What a person says of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SaidWord {
    /// The cause is the right one.
    Right,
    /// There was trouble, and the cause is another one.
    Wrong,
    /// There was no trouble.
    Noise,
}

/// A word on an incident.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFeedbackBody {
    said: SaidWord,
    /// In the person's words.
    #[schema(value_type = Option<String>, max_length = 500)]
    comment: Option<Text<500>>,
}

/// A person's last word on an incident.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeedbackBody {
    /// `right`, `wrong`, `noise`.
    said: String,
    comment: String,
    by: String,
    at: i64,
}

impl From<Feedback> for FeedbackBody {
    fn from(word: Feedback) -> Self {
        Self { said: word.verdict, comment: word.comment, by: word.created_by, at: word.created_at }
    }
}

/// The last word of each person on an incident.
#[utoipa::path(get, path = "/api/v1/incidents/{id}/feedback", tag = "incidents", params(("id" = i64, Path)),
    responses((status = 200, body = Vec<FeedbackBody>), (status = 404, description = "No such incident")))]
pub async fn words(
    State(state): State<AppState>,
    Id(id): Id<i64>,
) -> Result<axum::Json<Vec<FeedbackBody>>, Problem> {
    incidents::find(&state.db, id).await?.ok_or_else(|| Problem::not_found("incident"))?;
    let words = feedback::of_incident(&state.db, id).await?;
    Ok(axum::Json(words.into_iter().map(Into::into).collect()))
}

/// Says what an incident was; the last word of each person counts.
#[utoipa::path(post, path = "/api/v1/incidents/{id}/feedback", tag = "incidents", params(("id" = i64, Path)), request_body = NewFeedbackBody,
    responses((status = 200, body = Vec<FeedbackBody>), (status = 404, description = "No such incident"), (status = 422, description = "A field does not fit")))]
pub async fn say(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<i64>,
    Json(new): Json<NewFeedbackBody>,
) -> Result<axum::Json<Vec<FeedbackBody>>, Problem> {
    let said = match new.said {
        SaidWord::Right => Said::Right,
        SaidWord::Wrong => Said::Wrong,
        SaidWord::Noise => Said::Noise,
    };
    let comment = new.comment.map(|text| text.0).unwrap_or_default();
    decide::give_feedback(&state.decide(), id, said, &comment, &principal.person()).await?;
    words(State(state), Id(id)).await
}
