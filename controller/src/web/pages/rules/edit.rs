//! Making, changing, switching and deleting a rule.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use super::PATH;
use super::form::{FIELDS, FormView, Sent, of_form};
use crate::decide::rules as decide_rules;
use crate::store::rules::{self, Definition, Rule};
use crate::web::admit::see_other;
use crate::web::api::Text;
use crate::web::api::rules::history;
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::{Form, Id, Params};
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::pages::settings::{Wrong, place};
use crate::web::pages::source::Source;
use crate::web::state::AppState;
use crate::web::widgets::state::State;
use crate::web::widgets::{card, form, note, page_head};

/// What a new rule begins with: a kind, a copy of another, or what a row's menu names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    #[serde(default)]
    kind: Text<16>,
    copy: Option<i64>,
    /// The unit, process or port.
    #[serde(default)]
    what: Text<255>,
    #[serde(default)]
    host: Text<36>,
}

fn page(ctx: &Ctx, view: &FormView, title: &str) -> Page {
    let below = html! { @if view.builtin { "It came with the product: it can be switched off and copied, not changed." } @else { "It opens an incident when it fires, and closes it when it is over." } };
    let delete = view.id.filter(|_| !view.builtin);
    let body = html! {
        (page_head(title, below, html! {
            @if let Some(id) = view.id { a.btn href={ "/rules/coverage?rule=" (id) } { "Where it stands" } }
            @if let Some(id) = view.id.filter(|_| view.builtin) { a.btn href={ (PATH) "/new?copy=" (id) } { "Copy it" } }
            @if let Some(id) = delete { a class="btn dan" href={ (PATH) "/" (id) "/delete" } { "Delete…" } }
        }))
        div.grid {
            div class="c8 stack" { (card("rule", "What must hold", html! {}, view.draw(ctx))) }
            div class="c4 stack" { (view.draw_tried(ctx.now_ms)) (help()) }
        }
    };
    Page::new(title, Fragment(body)).below("Rules", PATH)
}

fn help() -> maud::Markup {
    card(
        "help",
        "How to write it",
        html! {},
        html! {
            div class="cb stack s small t2" {
                p { "Series have the names of the API: " code { "cpu.usage" } ", " code { "memory.available" } ", " code { "fs.used_ratio{mount=\"/\"}" } "." }
                p { "Units: " code { "%" } ", " code { "KiB MiB GiB" } ", " code { "ms s min h" } ". Shares are of one: " code { "cpu.usage > 90 %" } "." }
                p { code { "avg min max rate delta(series, 5 min)" } " look back up to 15 min; " code { "absent(series)" } " asks whether it is measured." }
                p { "A label that is left open, such as the mount point, is judged value by value." }
                p { "What is not measured is unknown: it neither fires nor is fine." }
            }
        },
    )
}

async fn answer(
    state: &AppState,
    frame: &Frame,
    mut view: FormView,
    title: &str,
) -> Result<Response, Problem> {
    view.places = place::choices(Source::of(state), true).await?;
    let status = if view.wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok(page(&frame.ctx, &view, title).status(status).answer(&frame.ctx, &frame.headers))
}

async fn found(state: &AppState, id: i64) -> Result<Rule, Problem> {
    let found = rules::get(&mut *state.db.reader().await?, id).await?;
    found.ok_or_else(|| Problem::not_found("rule"))
}

/// Shows the form of a new rule.
///
/// # Errors
/// When there is no rule to copy, or the store cannot be read.
pub async fn show_new(
    Shared(state): Shared<AppState>,
    Params(begin): Params<Begin>,
    frame: Frame,
) -> Result<Response, Problem> {
    let sent = match begin.copy {
        Some(id) => {
            let mut copied = Sent::of(&found(&state, id).await?.definition);
            copied.name = format!("{} (copy)", copied.name).chars().take(100).collect();
            copied
        }
        None => {
            let host = Some(begin.host.0.as_str()).filter(|host| !host.is_empty());
            Sent::new(&begin.kind.0).must_run(&begin.what.0, host)
        }
    };
    answer(&state, &frame, FormView { sent, ..FormView::default() }, "New rule").await
}

/// Shows a rule.
///
/// # Errors
/// When there is none, or the store cannot be read.
pub async fn show(
    Shared(state): Shared<AppState>,
    Id(id): Id<i64>,
    frame: Frame,
) -> Result<Response, Problem> {
    let rule = found(&state, id).await?;
    let sent = Sent::of(&rule.definition);
    let view = FormView { id: Some(rule.id), builtin: !rule.builtin.is_empty(), sent, ..FormView::default() };
    answer(&state, &frame, view, &rule.definition.name).await
}

/// Makes a rule, or tries it.
///
/// # Errors
/// Only what the form cannot show.
pub async fn create(
    Shared(state): Shared<AppState>,
    principal: Principal,
    frame: Frame,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let view = FormView { sent: sent.clone(), ..FormView::default() };
    if sent.act == "preview" {
        return tried(&state, &frame, view, "New rule").await;
    }
    let made = match sent.read() {
        Ok(written) => {
            let made = decide_rules::create_rule(&state.decide(), &written, &principal.person()).await;
            made.map_err(|error| of_form(error.into()))
        }
        Err(problem) => Err(problem),
    };
    match made {
        Ok(rule) => {
            state.say(&principal, State::Ok, format!("The rule “{}” is on its way", rule.definition.name));
            Ok(see_other(&format!("/rules/coverage?rule={}", rule.id)))
        }
        Err(problem) => {
            let wrong = Some(Wrong::of(problem, &FIELDS)?);
            answer(&state, &frame, FormView { wrong, ..view }, "New rule").await
        }
    }
}

async fn tried(
    state: &AppState,
    frame: &Frame,
    mut view: FormView,
    title: &str,
) -> Result<Response, Problem> {
    match view.sent.read() {
        Ok(written) => view.tried = Some(history(state, &written).await?),
        Err(problem) => view.wrong = Some(Wrong::of(problem, &FIELDS)?),
    }
    answer(state, frame, view, title).await
}

/// Changes a rule, or tries the change.
///
/// # Errors
/// Only what the form cannot show.
pub async fn change(
    Shared(state): Shared<AppState>,
    principal: Principal,
    Id(id): Id<i64>,
    frame: Frame,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let rule = found(&state, id).await?;
    let title = rule.definition.name.clone();
    let view = FormView {
        id: Some(rule.id),
        builtin: !rule.builtin.is_empty(),
        sent: sent.clone(),
        ..FormView::default()
    };
    if sent.act == "preview" {
        return tried(&state, &frame, view, &title).await;
    }
    let changed = match sent.read() {
        Ok(written) => {
            let changed =
                decide_rules::change_rule(&state.decide(), rule.id, &written, &principal.person()).await;
            changed.map_err(|error| of_form(error.into()))
        }
        Err(problem) => Err(problem),
    };
    match changed {
        Ok(rule) => {
            state.say(&principal, State::Ok, format!("The rule “{}” is changed", rule.definition.name));
            Ok(see_other(PATH))
        }
        Err(problem) => {
            let wrong = Some(Wrong::of(problem, &FIELDS)?);
            answer(&state, &frame, FormView { wrong, ..view }, &title).await
        }
    }
}

/// On or off.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    enabled: String,
}

/// Switches a rule.
///
/// # Errors
/// When there is none.
pub async fn switch(
    Shared(state): Shared<AppState>,
    principal: Principal,
    Id(id): Id<i64>,
    Form(form): Form<Switch>,
) -> Result<Response, Problem> {
    let enabled = match form.enabled.as_str() {
        "on" => true,
        "off" => false,
        _ => return Err(Problem::invalid("enabled", "must be on or off")),
    };
    let rule = found(&state, id).await?;
    let written = Definition { enabled, ..rule.definition };
    decide_rules::change_rule(&state.decide(), rule.id, &written, &principal.person()).await?;
    let words = if enabled { "is on" } else { "is off: nothing is judged by it" };
    state.say(&principal, State::Ok, format!("The rule “{}” {words}", written.name));
    Ok(see_other(PATH))
}

/// Asks whether a rule is to be deleted.
///
/// # Errors
/// When there is none.
pub async fn confirm(
    Shared(state): Shared<AppState>,
    Id(id): Id<i64>,
    frame: Frame,
) -> Result<Response, Problem> {
    let rule = found(&state, id).await?;
    let name = &rule.definition.name;
    let body = html! {
        (page_head("Delete the rule", html! { (name) }, html! {}))
        div class="cb stack" {
            (note::callout(State::Warn, html! { "Its open incidents close. What it did stays in the audit. It cannot be brought back; switching it off keeps it." }, None))
            (form::post(&frame.ctx, &format!("{PATH}/{}/delete", rule.id), "acts", html! {
                button class="btn danfill" { "Delete “" (name) "”" }
                a.btn href={ (PATH) "/" (rule.id) } { "Keep it" }
            }))
        }
    };
    let page = Page::new("Delete the rule", Fragment(body)).below("Rules", PATH);
    Ok(page.answer(&frame.ctx, &frame.headers))
}

/// Deletes a rule.
///
/// # Errors
/// When there is none, or it came with the product.
pub async fn delete(
    Shared(state): Shared<AppState>,
    principal: Principal,
    Id(id): Id<i64>,
) -> Result<Response, Problem> {
    decide_rules::remove_rule(&state.decide(), id, &principal.person()).await?;
    state.say(&principal, State::Ok, "The rule is deleted");
    Ok(see_other(PATH))
}
