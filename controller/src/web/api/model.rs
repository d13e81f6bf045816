//! The model behind the second opinion: settings, a try, notes, what would be sent, and the trust in
//! actions.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Text;
use crate::decide;
use crate::store::model_costs::{self, day};
use crate::store::model_prompts::{self, Note, Scope};
use crate::store::trust::{self, Demotion};
use crate::web::auth::Principal;
use crate::web::error::Problem;
use crate::web::extract::{Id, Json};
use crate::web::models::{Change, ModelState};
use crate::web::state::AppState;

/// A setting of the model.
#[derive(Debug, Serialize, ToSchema)]
pub struct SettingBody {
    name: &'static str,
    /// Empty for the key, which is never shown.
    value: String,
    /// Whether it was set here; otherwise it is from file, environment or default.
    here: bool,
}

/// How the model is set up, and how it is doing.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelBody {
    /// Whether it is asked at all.
    on: bool,
    /// Whether everything is there to ask it.
    ready: bool,
    /// Whether a key is set.
    key: bool,
    /// Whether names of hosts, people and addresses are kept back.
    pseudonyms: bool,
    settings: Vec<SettingBody>,
    /// What is known of the server, one line each.
    profile: Vec<String>,
    probed_at: Option<i64>,
    /// Whether it is left alone after failures.
    left_alone: bool,
    /// Tokens used today, UTC.
    tokens_today: u64,
    /// Tokens that may be used in a day.
    tokens_a_day: u64,
    /// Money used today, in millionths of the currency.
    micro_today: u64,
    /// Money that may be used in a day, in millionths of the currency.
    micro_a_day: u64,
    currency: String,
    /// Name of the price list; empty when it has no prices.
    price_version: String,
}

async fn body(state: &AppState) -> Result<ModelBody, Problem> {
    let today = model_costs::of_day(&mut *state.db.reader().await?, day(state.now())).await?;
    let ModelState {
        on,
        ready,
        key,
        pseudonyms,
        settings,
        profile,
        probed_at,
        left_alone,
        limits,
        currency,
        price_version,
    } = state.models.state();
    Ok(ModelBody {
        on,
        ready,
        key,
        pseudonyms,
        settings: settings
            .into_iter()
            .map(|one| SettingBody { name: one.name, value: one.value, here: one.here })
            .collect(),
        profile,
        probed_at: probed_at.map(|at| at.0),
        left_alone,
        tokens_today: today.tokens(),
        tokens_a_day: limits.0,
        micro_today: today.money(),
        micro_a_day: limits.1,
        currency,
        price_version,
    })
}

/// How the model is set up, and how it is doing.
#[utoipa::path(get, path = "/api/v1/model", tag = "model", responses((status = 200, body = ModelBody)))]
pub async fn get(State(state): State<AppState>) -> Result<axum::Json<ModelBody>, Problem> {
    Ok(axum::Json(body(&state).await?))
}

/// A change: what is left out stays; an empty text gives way to file, environment or default.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelChange {
    /// Whether it is asked at all.
    on: Option<bool>,
    /// Whether names of hosts, people and addresses are kept back.
    pseudonyms: Option<bool>,
    #[schema(value_type = Option<String>, max_length = 512)]
    base_url: Option<Text<512>>,
    /// `auto`, `openai`, `azure`, `ollama`, `vllm`, `llamacpp`, `generic`.
    #[schema(value_type = Option<String>, max_length = 16)]
    server: Option<Text<16>>,
    #[schema(value_type = Option<String>, max_length = 128)]
    name: Option<Text<128>>,
    #[schema(value_type = Option<String>, max_length = 35)]
    language: Option<Text<35>>,
    /// `300s`, `10min`.
    #[schema(value_type = Option<String>, max_length = 16)]
    interval: Option<Text<16>>,
    #[schema(value_type = Option<String>, max_length = 24)]
    daily_tokens: Option<Text<24>>,
    #[schema(value_type = Option<String>, max_length = 24)]
    daily_cost: Option<Text<24>>,
    /// Write-only.
    #[schema(value_type = Option<String>, max_length = 4096)]
    api_key: Option<Text<4096>>,
}

/// Changes settings of the model; they hold at once.
#[utoipa::path(patch, path = "/api/v1/model", tag = "model", request_body = ModelChange,
    responses((status = 200, body = ModelBody), (status = 422, description = "A field does not fit; nothing changed")))]
pub async fn change(
    State(state): State<AppState>,
    principal: Principal,
    Json(change): Json<ModelChange>,
) -> Result<axum::Json<ModelBody>, Problem> {
    let all = [
        ("base_url", change.base_url.map(|text| text.0)),
        ("server", change.server.map(|text| text.0)),
        ("name", change.name.map(|text| text.0)),
        ("language", change.language.map(|text| text.0)),
        ("interval", change.interval.map(|text| text.0)),
        ("daily_tokens", change.daily_tokens.map(|text| text.0)),
        ("daily_cost", change.daily_cost.map(|text| text.0)),
        ("api_key", change.api_key.map(|text| text.0)),
    ];
    let values = all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let wanted = Change { on: change.on, pseudonyms: change.pseudonyms, values };
    state.models.change(wanted, &principal.actor()).await?;
    Ok(axum::Json(body(&state).await?))
}

/// What came of a try.
#[derive(Debug, Serialize, ToSchema)]
pub struct TriedBody {
    works: bool,
    says: String,
    remedy: Option<String>,
    latency_ms: u64,
    prompt_tokens: u64,
    answer_tokens: u64,
    /// Millionths of the currency.
    micro: u64,
    /// What the verifier threw out.
    rejects: Vec<String>,
}

/// Asks the model about a made-up incident, with nothing of any host in it.
#[utoipa::path(post, path = "/api/v1/model/test", tag = "model",
    responses((status = 200, body = TriedBody), (status = 409, description = "No model is set up")))]
pub async fn test(
    State(state): State<AppState>,
    principal: Principal,
) -> Result<axum::Json<TriedBody>, Problem> {
    let tried = state.models.test(&principal.actor()).await?;
    Ok(axum::Json(TriedBody {
        works: tried.works,
        says: tried.says,
        remedy: tried.remedy,
        latency_ms: tried.latency_ms,
        prompt_tokens: tried.tokens.0,
        answer_tokens: tried.tokens.1,
        micro: tried.micro,
        rejects: tried.rejects,
    }))
}

/// A message of a request.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageBody {
    /// `system`, `user`.
    role: &'static str,
    text: String,
}

/// What would be sent about an incident.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreviewBody {
    /// The part that is the same in every request.
    prefix: String,
    messages: Vec<MessageBody>,
    /// The form of the answer, a JSON schema as text.
    schema: String,
    /// Tokens of the part that differs, estimated.
    tokens: u64,
    /// Tokens of all of it, estimated.
    all_tokens: u64,
}

/// What would be sent to the model about an incident. Nothing is sent.
#[utoipa::path(get, path = "/api/v1/incidents/{id}/prompt", tag = "model", params(("id" = i64, Path)),
    responses((status = 200, body = PreviewBody), (status = 404, description = "No such incident of a host")))]
pub async fn preview(
    State(state): State<AppState>,
    Id(id): Id<i64>,
) -> Result<axum::Json<PreviewBody>, Problem> {
    let found = state.models.preview(id).await?;
    Ok(axum::Json(PreviewBody {
        prefix: found.prefix,
        messages: found.messages.into_iter().map(|(role, text)| MessageBody { role, text }).collect(),
        schema: found.schema,
        tokens: found.tokens,
        all_tokens: found.all_tokens,
    }))
}

/// A file with all that an incident rests on: samples, findings, prompts and answers, policy, decisions.
/// `sysop-controller replay FILE` looks at it again.
#[utoipa::path(get, path = "/api/v1/incidents/{id}/recording", tag = "incidents", params(("id" = i64, Path)),
    responses((status = 200, description = "The file"), (status = 404, description = "No such incident of a host")))]
pub async fn recording(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<i64>,
) -> Result<axum::response::Response, Problem> {
    crate::web::pages::model::act::download(&state, &principal, id).await
}

/// A note for the model.
#[derive(Debug, Serialize, ToSchema)]
pub struct NoteBody {
    /// `global`, `label:NAME=VALUE`, `host:ID`.
    scope: String,
    version: i64,
    text: String,
    created_by: String,
    created_at: i64,
}

impl From<Note> for NoteBody {
    fn from(note: Note) -> Self {
        Self {
            scope: note.scope,
            version: note.version,
            text: note.text,
            created_by: note.created_by,
            created_at: note.created_at,
        }
    }
}

/// The notes that hold.
#[utoipa::path(get, path = "/api/v1/model/notes", tag = "model", responses((status = 200, body = Vec<NoteBody>)))]
pub async fn notes(State(state): State<AppState>) -> Result<axum::Json<Vec<NoteBody>>, Problem> {
    let found = model_prompts::current(&state.db).await?;
    Ok(axum::Json(found.into_iter().map(Into::into).collect()))
}

/// A note to be written.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNote {
    /// `global`, `label:NAME=VALUE` with a label that an admin set, or `host:ID`.
    #[schema(value_type = String, max_length = 256)]
    scope: Text<256>,
    /// At most 1,000 characters; empty takes the note away.
    #[schema(max_length = 1000)]
    text: String,
}

/// Writes a new version of a note.
#[utoipa::path(put, path = "/api/v1/model/notes", tag = "model", request_body = NewNote,
    responses((status = 200, body = Vec<NoteBody>), (status = 404, description = "No such host"), (status = 422, description = "A field does not fit")))]
pub async fn write_note(
    State(state): State<AppState>,
    principal: Principal,
    Json(new): Json<NewNote>,
) -> Result<axum::Json<Vec<NoteBody>>, Problem> {
    let scope: Scope = new.scope.0.parse().map_err(|must| Problem::invalid("scope", must))?;
    decide::set_model_note(&state.decide(), &scope, &new.text, &principal.person()).await?;
    notes(State(state)).await
}

/// How an action did for a kind of trouble.
#[derive(Debug, Serialize, ToSchema)]
pub struct RateBody {
    action: String,
    category: String,
    /// Runs whose effect was seen.
    helped: i64,
    /// All runs that ended.
    runs: i64,
}

/// An action that may not run by itself for a kind of trouble.
#[derive(Debug, Serialize, ToSchema)]
pub struct DemotionBody {
    id: i64,
    action: String,
    category: String,
    reason: String,
    opened_at: i64,
    lifted_at: Option<i64>,
    lifted_by: Option<String>,
}

impl From<Demotion> for DemotionBody {
    fn from(one: Demotion) -> Self {
        Self {
            id: one.id,
            action: one.action,
            category: one.category,
            reason: one.reason,
            opened_at: one.opened_at,
            lifted_at: one.lifted_at,
            lifted_by: one.lifted_by,
        }
    }
}

/// The trust in actions.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrustBody {
    rates: Vec<RateBody>,
    demotions: Vec<DemotionBody>,
}

/// How actions did, and which lost the right to run by themselves.
#[utoipa::path(get, path = "/api/v1/trust", tag = "automation", responses((status = 200, body = TrustBody)))]
pub async fn trusted(State(state): State<AppState>) -> Result<axum::Json<TrustBody>, Problem> {
    let rates = trust::rates(&state.db).await?;
    let demotions = trust::demotions(&state.db).await?;
    Ok(axum::Json(TrustBody {
        rates: rates
            .into_iter()
            .map(|(action, category, helped, runs)| RateBody { action, category, helped, runs })
            .collect(),
        demotions: demotions.into_iter().map(Into::into).collect(),
    }))
}

/// Lets an action run by itself again.
#[utoipa::path(post, path = "/api/v1/trust/{id}/lift", tag = "automation", params(("id" = i64, Path)),
    responses((status = 200, body = DemotionBody), (status = 404, description = "None that holds")))]
pub async fn lift(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<i64>,
) -> Result<axum::Json<DemotionBody>, Problem> {
    let lifted = decide::lift_demotion(&state.decide(), id, &principal.person()).await?;
    Ok(axum::Json(lifted.into()))
}
