//! Which action may be taken where, and whether by itself; and the hours in which an interruption weighs more.

use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use sysop_common::action::CATALOGUE;

use super::{Wrong, place};
use crate::decide;
use crate::store::{assignments, settings};
use crate::web::admit::see_other;
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::Form;
use crate::web::layout::{Ctx, Page};
use crate::web::pages::source::{Source, named};
use crate::web::pages::words;
use crate::web::state::AppState;
use crate::web::widgets::form::{Choice, Field, Select};
use crate::web::widgets::state::{State, chip};
use crate::web::widgets::{card, form, format, icons, list, note};

const PATH: &str = "/settings/automation";

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct AutomationView {
    /// Assignments.
    pub rows: Vec<AssignmentRow>,
    /// Where one can be set.
    pub places: Vec<Choice>,
    /// What can be assigned.
    pub actions: Vec<Choice>,
    /// The place and the action that were chosen.
    pub chosen: (String, String),
    /// `8-18`, or empty.
    pub busy_hours: String,
    /// What is wrong with what was sent.
    pub wrong: Option<Wrong>,
}

/// An assignment.
#[derive(Debug, Clone, Default)]
pub struct AssignmentRow {
    /// Its id.
    pub id: String,
    /// Where, as the form sends it.
    pub on: String,
    /// Where, in words.
    pub place: String,
    /// Name of the action.
    pub action: String,
    /// Whether it runs by itself.
    pub automatic: bool,
    /// Who set it, and when.
    pub by: String,
    /// When, ms UTC.
    pub at_ms: i64,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &AutomationView) -> Page {
    let below = html! { "Nothing runs by itself unless it is assigned here, and the host's owner allows it on the host. High risk always waits for a person." };
    let may = may_manage(ctx);
    let body = html! {
        div.grid {
            div class=(if may { "c8 stack" } else { "c12 stack" }) { (assigned(ctx, view, may)) }
            @if may { div class="c4 stack" { (add(ctx, view)) (busy(ctx, view)) } }
        }
    };
    super::page(ctx, "Automation", below, body)
}

fn may_manage(ctx: &Ctx) -> bool {
    ctx.user.as_ref().is_some_and(|user| user.may_manage)
}

fn assigned(ctx: &Ctx, view: &AutomationView, may: bool) -> Markup {
    let head = html! { th { "Where" } th { "Action" } th { "By itself" } th { "Set by" } @if may { th { span.vh { "Change" } } } };
    let rows = html! { @for row in &view.rows { (row.draw(ctx, may)) } };
    let body = html! {
        @if view.rows.is_empty() {
            (note::empty(icons::BOLT, "Nothing is assigned", "Repairs are proposed and wait for approval, whatever hosts allow.", html! {}))
        } @else { (list::table("Assignments", head, rows)) }
        @if !may {
            p class="cf small" { @if view.busy_hours.is_empty() { "No busy hours are set." } @else { "Busy hours: " (view.busy_hours) " UTC." } }
        }
    };
    card("assignments", "What may run by itself", html! {}, body)
}

impl AssignmentRow {
    fn draw(&self, ctx: &Ctx, may: bool) -> Markup {
        let (state, words) =
            if self.automatic { (State::Ok, "by itself") } else { (State::Wait, "asks first") };
        html! {
            tr data-row {
                td.b { (self.place) }
                td data-k="Action" { code { (self.action) } }
                td data-k="By itself" { (chip(state, words)) }
                td data-k="Set by" { (self.by) ", " (format::ago(ctx.now_ms, self.at_ms)) }
                @if may {
                    td {
                        div class="row-x wrap" {
                            (form::post(ctx, PATH, "", html! {
                                (form::hidden(place::FIELD, &self.on)) (form::hidden("action", &self.action))
                                (form::hidden("automatic", if self.automatic { "off" } else { "on" }))
                                button class="btn s" { @if self.automatic { "Ask first" } @else { "Let it run by itself" } }
                            }))
                            (form::post(ctx, &format!("{PATH}/{}/remove", self.id), "", html! { button class="btn s gho" { "Take away" } }))
                        }
                    }
                }
            }
        }
    }
}

fn add(ctx: &Ctx, view: &AutomationView) -> Markup {
    let wrong = view.wrong.as_ref();
    let fields = html! {
        (Select { name: place::FIELD, label: "Where", choices: &view.places, chosen: &view.chosen.0,
            error: Wrong::at(wrong, place::FIELD), hint: Some("Labels are those that an administrator set.") }.draw())
        (Select { name: "action", label: "Action", choices: &view.actions, chosen: &view.chosen.1,
            error: Wrong::at(wrong, "action"), hint: None }.draw())
        (Select { name: "automatic", label: "How", choices: &[Choice::new("off", "Ask first"), Choice::new("on", "By itself")],
            chosen: "off", error: Wrong::at(wrong, "automatic"), hint: None }.draw())
        button class="btn pri" { "Assign" }
    };
    card("assign", "Assign an action", html! {}, html! { (form::post(ctx, PATH, "cb stack", fields)) })
}

fn busy(ctx: &Ctx, view: &AutomationView) -> Markup {
    let fields = html! {
        (Field { name: "busy_hours", label: "Hours of the day, UTC", value: &view.busy_hours, mono: true, optional: true, autocomplete: "off",
            hint: Some("Such as 8-18; empty for none. An action that interrupts a service counts as riskier then."),
            error: Wrong::at(view.wrong.as_ref(), "busy_hours"), ..Field::default() }.draw())
        button class="btn" { "Set busy hours" }
    };
    card(
        "busy",
        "Busy hours",
        html! {},
        html! { (form::post(ctx, &format!("{PATH}/busy-hours"), "cb stack", fields)) },
    )
}

async fn fill(source: Source<'_>) -> Result<AutomationView, Problem> {
    let found = assignments::list(source.db).await?;
    let hosts = found.iter().filter_map(|one| match one.selector {
        assignments::Selector::Host(host) => Some(host),
        assignments::Selector::Label { .. } => None,
    });
    let names = source.names(hosts).await?;
    let row = |one: &assignments::Assignment| AssignmentRow {
        id: one.id.clone(),
        on: match &one.selector {
            assignments::Selector::Host(host) => format!("host:{host}"),
            assignments::Selector::Label { name, value } => format!("label:{name}={value}"),
        },
        place: place::words(Some(&one.selector), |host| named(&names, host).name),
        action: one.action.clone(),
        automatic: one.automatic,
        by: one.created_by.clone(),
        at_ms: one.created_at.0,
    };
    let busy = settings::get(&mut *source.db.reader().await?, settings::BUSY_HOURS).await?;
    Ok(AutomationView {
        rows: found.iter().map(row).collect(),
        places: place::choices(source, false).await?,
        actions: CATALOGUE.iter().map(|entry| Choice::new(entry.name, entry.name)).collect(),
        busy_hours: busy.unwrap_or_default(),
        ..AutomationView::default()
    })
}

/// Shows the page.
///
/// # Errors
/// Only the store's.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
) -> Result<Response, Problem> {
    let view = fill(Source::of(&state)).await?;
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// An assignment as the form sends it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assign {
    on: String,
    action: String,
    automatic: String,
}

/// Sets an assignment, or changes whether it runs by itself.
///
/// # Errors
/// Only what the form cannot show.
pub async fn assign(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
    Form(sent): Form<Assign>,
) -> Result<Response, Problem> {
    let done = async {
        let automatic = match sent.automatic.as_str() {
            "on" => true,
            "off" => false,
            _ => return Err(Problem::invalid("automatic", "must be on or off")),
        };
        let on =
            place::parse(&sent.on, false)?.ok_or_else(|| Problem::invalid(place::FIELD, "must be given"))?;
        decide::set_assignment(&state.decide(), &on, &sent.action, automatic, &principal.person())
            .await
            .map_err(Problem::from)
    };
    match done.await {
        Ok(set) => {
            let how = if set.automatic { "runs by itself where hosts allow it" } else { "asks first" };
            state.say(&principal, State::Ok, format!("{}: {how}", set.action));
            Ok(see_other(PATH))
        }
        Err(problem) => {
            let wrong = Wrong::of(problem, &[place::FIELD, "action", "automatic"])?;
            let mut view = fill(Source::of(&state)).await?;
            view.chosen = (sent.on, sent.action);
            view.wrong = Some(wrong);
            Ok(page(&frame.ctx, &view)
                .status(StatusCode::UNPROCESSABLE_ENTITY)
                .answer(&frame.ctx, &frame.headers))
        }
    }
}

/// Takes an assignment away.
///
/// # Errors
/// When there is none.
pub async fn remove(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    decide::remove_assignment(&state.decide(), &id, &principal.person()).await?;
    state.say(&principal, State::Ok, "The assignment is taken away".to_owned());
    Ok(see_other(PATH))
}

/// Busy hours as the form sends them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    busy_hours: String,
}

/// Sets the busy hours.
///
/// # Errors
/// Only what the form cannot show.
pub async fn set_hours(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
    Form(sent): Form<Hours>,
) -> Result<Response, Problem> {
    let hours = sent.busy_hours.trim();
    match decide::set_busy_hours(&state.decide(), hours, &principal.person()).await {
        Ok(()) => {
            let words = if hours.is_empty() {
                "No busy hours any more".to_owned()
            } else {
                format!("Busy hours: {hours} UTC")
            };
            state.say(&principal, State::Ok, words::capital(&words));
            Ok(see_other(PATH))
        }
        Err(error) => {
            let wrong = Wrong::of(error.into(), &["busy_hours"])?;
            let view = AutomationView {
                busy_hours: sent.busy_hours,
                wrong: Some(wrong),
                ..fill(Source::of(&state)).await?
            };
            Ok(page(&frame.ctx, &view)
                .status(StatusCode::UNPROCESSABLE_ENTITY)
                .answer(&frame.ctx, &frame.headers))
        }
    }
}
