//! What people do on the model's page.

use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;

use super::{fill, page, page_preview};
use crate::audit::Record;
use crate::decide;
use crate::store::model_prompts::Scope;
use crate::web::admit::see_other;
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::Form;
use crate::web::models::{Change, ModelsError};
use crate::web::state::AppState;

const PATH: &str = "/settings/model";

/// The settings' form. A field that is left empty gives way to file, environment or default; the key
/// stays as it is unless one is typed or it is taken away.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsForm {
    #[serde(default)]
    on: String,
    #[serde(default)]
    pseudonyms: String,
    #[serde(default)]
    base_url: String,
    #[serde(default)]
    server: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    language: String,
    #[serde(default)]
    interval: String,
    #[serde(default)]
    daily_tokens: String,
    #[serde(default)]
    daily_cost: String,
    #[serde(default)]
    api_key: String,
    #[serde(default)]
    forget_key: String,
}

impl SettingsForm {
    fn change(self) -> Change {
        let mut values = vec![
            ("base_url", self.base_url),
            ("server", self.server),
            ("name", self.name),
            ("language", self.language),
            ("interval", self.interval),
            ("daily_tokens", self.daily_tokens),
            ("daily_cost", self.daily_cost),
        ];
        if !self.api_key.is_empty() || self.forget_key == "on" {
            values.push(("api_key", self.api_key));
        }
        Change { on: Some(self.on == "on"), pseudonyms: Some(self.pseudonyms == "on"), values }
    }
}

/// Changes the settings.
///
/// # Errors
/// When the role does not allow it, or something failed here.
pub async fn change(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
    Form(form): Form<SettingsForm>,
) -> Result<Response, Problem> {
    let change = form.change();
    let typed: Vec<_> = change.values.iter().filter(|(name, _)| *name != "api_key").cloned().collect();
    match state.models.change(change, &principal.actor()).await {
        Ok(()) => Ok(see_other(PATH)),
        Err(ModelsError::Invalid { field, problem }) => {
            let mut view = fill(&state, &principal).await?;
            view.problem = Some((field.to_owned(), problem));
            view.typed = typed;
            let answer = page(&frame.ctx, &view).status(StatusCode::UNPROCESSABLE_ENTITY);
            Ok(answer.answer(&frame.ctx, &frame.headers))
        }
        Err(error) => Err(error.into()),
    }
}

/// Asks the model about a made-up incident.
///
/// # Errors
/// When none is set up, or something failed here.
pub async fn test(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
) -> Result<Response, Problem> {
    let tried = state.models.test(&principal.actor()).await?;
    let mut view = fill(&state, &principal).await?;
    view.tried = Some(tried);
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// A note's form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoteForm {
    scope: String,
    #[serde(default)]
    text: String,
}

/// Writes a note for the model.
///
/// # Errors
/// When the role does not allow it, or a field does not fit.
pub async fn write_note(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    Form(form): Form<NoteForm>,
) -> Result<Response, Problem> {
    let scope: Scope = form.scope.trim().parse().map_err(|must| Problem::invalid("scope", must))?;
    decide::set_model_note(&state.decide(), &scope, &form.text, &principal.person()).await?;
    Ok(see_other("/settings/model#notes"))
}

/// Lets an action run by itself again.
///
/// # Errors
/// When the role does not allow it, or there is none to lift.
pub async fn lift(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: i64 = id.parse().map_err(|_| Problem::not_found("demotion"))?;
    decide::lift_demotion(&state.decide(), id, &principal.person()).await?;
    Ok(see_other("/settings/model#trust"))
}

/// Shows what would be sent about an incident.
///
/// # Errors
/// When there is no such incident of a host.
pub async fn preview(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: i64 = id.parse().map_err(|_| Problem::not_found("incident"))?;
    let preview = state.models.preview(id).await?;
    Ok(page_preview(id, &preview).answer(&frame.ctx, &frame.headers))
}

/// A file with all that an incident rests on.
///
/// # Errors
/// When there is no such incident of a host.
pub async fn recording(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: i64 = id.parse().map_err(|_| Problem::not_found("incident"))?;
    download(&state, &principal, id).await
}

/// The recording of an incident as a file; that it was taken is on the record.
///
/// # Errors
/// When there is no such incident of a host.
pub async fn download(state: &AppState, principal: &Principal, id: i64) -> Result<Response, Problem> {
    let bytes = state.models.recording(id).await?;
    let record = Record::new(principal.actor(), "incident.record", format!("incident:{id}"), json!({}));
    state.audit.record(&state.db, &record).await?;
    let name = format!("attachment; filename=\"incident-{id}.json\"");
    Ok(([(CONTENT_TYPE, "application/json".to_owned()), (CONTENT_DISPOSITION, name)], bytes).into_response())
}

impl From<ModelsError> for Problem {
    fn from(error: ModelsError) -> Self {
        match error {
            ModelsError::Invalid { field, problem } => Self::invalid(field, problem),
            ModelsError::NoIncident => Self::not_found("incident of a host"),
            ModelsError::Off => {
                Self::conflict("no model is set up").remedy("name a model and its key under Settings, Model")
            }
            ModelsError::Failed(why) => Self::internal(why),
        }
    }
}
