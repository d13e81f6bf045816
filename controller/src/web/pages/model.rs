//! The model's settings: which one, how much it may cost, what would be sent, notes for it, and which
//! actions lost the right to run by themselves.

pub mod act;
mod draw;

use axum::extract;
use axum::response::Response;
use sysop_common::time::DAY_MS;

use crate::store::model_costs::{self, Sum, day};
use crate::store::model_prompts::{self, Note};
use crate::store::trust::{self, Demotion};
use crate::store::users::Role;
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::models::{ModelState, Preview, Tried};
use crate::web::state::AppState;

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct ModelView {
    /// How it is set up, and how it is doing.
    pub state: ModelState,
    /// What is wrong with a setting that was just sent.
    pub problem: Option<(String, String)>,
    /// What was typed, when it was not taken.
    pub typed: Vec<(&'static str, String)>,
    /// What came of a try.
    pub tried: Option<Tried>,
    /// Of today.
    pub today: Sum,
    /// Day, calls, tokens and money of the last week, newest first.
    pub days: Vec<(i64, i64, i64, i64)>,
    /// Notes for the model.
    pub notes: Vec<Note>,
    /// How actions did: action, category, seen to help, all.
    pub rates: Vec<(String, String, i64, i64)>,
    /// Actions that lost the right to run by themselves.
    pub demotions: Vec<Demotion>,
    /// Whether the person may change anything.
    pub may: bool,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &ModelView) -> Page {
    Page::new("Model", Fragment(draw::body(ctx, view))).below("Settings", "/settings")
}

/// The page that shows what would be sent.
#[must_use]
pub fn page_preview(incident: i64, preview: &Preview) -> Page {
    let name = super::shared::incident_name(incident);
    let href = super::shared::incident_href(incident);
    Page::new("What would be sent", Fragment(draw::preview(&name, preview))).below(&name, &href)
}

/// What there is to show.
///
/// # Errors
/// When the store cannot be read.
pub async fn fill(state: &AppState, principal: &Principal) -> Result<ModelView, Problem> {
    let now = state.now();
    Ok(ModelView {
        state: state.models.state(),
        problem: None,
        typed: Vec::new(),
        tried: None,
        today: model_costs::of_day(&mut *state.db.reader().await?, day(now)).await?,
        days: model_costs::by_day(&state.db, day(now.plus(-6 * DAY_MS))).await?,
        notes: model_prompts::current(&state.db).await?,
        rates: trust::rates(&state.db).await?,
        demotions: trust::demotions(&state.db).await?,
        may: principal.role >= Role::Admin,
    })
}

/// Shows the page.
///
/// # Errors
/// When the store cannot be read.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
) -> Result<Response, Problem> {
    let view = fill(&state, &principal).await?;
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}
