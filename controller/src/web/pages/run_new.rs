//! Starting an action by hand: choose it, then review exactly what will run.

pub mod fill;

use axum::extract;
use axum::response::Response;
use maud::{Markup, html};
use sysop_common::action::{Risk, RunState};

use super::proposal::terminal;
use super::shared::HostRef;
use super::source::Source;
use super::words;
use crate::decide::{self, Start};
use crate::store::hosts;
use crate::web::admit::{Fields, see_other};
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::state::AppState;
use crate::web::widgets::query::Query;
use crate::web::widgets::risk::{Factor, factors, risk};
use crate::web::widgets::state::State;
use crate::web::widgets::{card, form, icon_small, icons, note, page_head};

/// What the page shows.
#[derive(Debug, Clone)]
pub struct RunNewView {
    /// Where.
    pub host: HostRef,
    /// Actions of the catalogue.
    pub choices: Vec<ActionChoice>,
    /// The filled-in action, checked and computed.
    pub review: Option<Review>,
    /// What is wrong with what was filled in.
    pub error: Option<String>,
}

/// An action of the catalogue with its parameters.
#[derive(Debug, Clone)]
pub struct ActionChoice {
    /// Its name, `restart_service`.
    pub name: &'static str,
    /// What it does, in words.
    pub words: String,
    /// Risk before anything raises it.
    pub floor: Risk,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// Why it cannot be done here: `Not allowed by web-07's policy`.
    pub refused: Option<String>,
    /// Whether it is the one being filled in.
    pub chosen: bool,
}

/// A parameter of an action.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name in the form.
    pub name: &'static str,
    /// Its label.
    pub label: &'static str,
    /// The value so far.
    pub value: String,
    /// Values to choose from, offered while typing.
    pub offers: Vec<String>,
    /// Line below the field.
    pub hint: &'static str,
}

/// What will happen, for a last look.
#[derive(Debug, Clone)]
pub struct Review {
    /// `Restart nginx.service on web-07 now, about 2 s outage`.
    pub title: String,
    /// Words on the button: `Restart nginx.service on web-07 now`.
    pub button: String,
    /// Name of the action.
    pub action: String,
    /// Its parameters as the form sends them.
    pub parameters: Vec<(String, String)>,
    /// What it does.
    pub effect: String,
    /// How to take it back.
    pub undo: String,
    /// What is looked at afterwards.
    pub check: String,
    /// Computed risk.
    pub risk: Risk,
    /// What it is made of.
    pub factors: Vec<Factor>,
    /// The order, rendered line by line.
    pub command: String,
    /// Cannot be taken back: the host's name must be typed.
    pub irreversible: bool,
    /// It will wait for another person after this.
    pub needs_approval: bool,
    /// Makes a second press of the button harmless.
    pub idempotency_key: String,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &RunNewView) -> Page {
    Page::new("Run action", Fragment(body(ctx, view)))
        .below("Hosts", "/hosts")
        .below(&view.host.name, &view.host.href())
}

fn body(ctx: &Ctx, view: &RunNewView) -> Markup {
    let below = html! { "Nothing runs before you have seen exactly what will run. " (view.host.name) " checks it against its own policy." };
    html! {
        (page_head(&format!("Run an action on {}", view.host.name), below, html! {}))
        div.grid {
            div class="c6 stack" { (choices(view)) }
            div class="c6 stack" {
                @if let Some(error) = &view.error { (note::callout(State::Crit, html! { (error) }, None)) }
                @match &view.review {
                    Some(review) => (review.draw(ctx, view)),
                    None => section.card { (note::empty(icons::BOLT, "Choose an action", "The review appears here: scope, effect, undo, risk, and the exact order.", html! {})) },
                }
            }
        }
    }
}

fn choices(view: &RunNewView) -> Markup {
    let rows = html! {
        @for choice in &view.choices {
            details.act name="action" open[choice.chosen] {
                summary {
                    b class=[choice.refused.is_some().then_some("t3")] { (choice.words) }
                    span.grow {}
                    (risk(choice.floor))
                }
                @match &choice.refused {
                    Some(why) => p class="small t3" { (why) },
                    None => (choice.form(view)),
                }
            }
        }
    };
    card("actions", "Action", html! {}, rows)
}

impl ActionChoice {
    fn form(&self, view: &RunNewView) -> Markup {
        html! {
            form class="stack s" method="get" action="/runs/new" {
                (form::hidden("host", &view.host.id))
                (form::hidden("action", self.name))
                @for parameter in &self.parameters {
                    @let id = format!("{}-{}", self.name, parameter.name);
                    @let list = format!("{id}-list");
                    div.field {
                        label.lab for=(id) { (parameter.label) }
                        input class="inp mono" id=(id) name=(parameter.name) value=(parameter.value) required maxlength="256"
                            autocomplete="off" autocapitalize="none" spellcheck="false" list=[(!parameter.offers.is_empty()).then_some(&list)];
                        @if !parameter.offers.is_empty() { datalist id=(list) { @for offer in &parameter.offers { option value=(offer) {} } } }
                        @if !parameter.hint.is_empty() { p class="small t3" { (parameter.hint) } }
                    }
                }
                button class="btn" { "Review" (icon_small(icons::ARROW_RIGHT)) }
            }
        }
    }
}

impl Review {
    fn draw(&self, ctx: &Ctx, view: &RunNewView) -> Markup {
        let body = html! {
            div class="cb stack" {
                h3 { (self.title) }
                dl class="dl left" {
                    dt { "Host" } dd { b { (view.host.name) } ", nothing else" }
                    dt { "Effect" } dd { (self.effect) }
                    dt { "Undo" } dd { (self.undo) }
                    dt { "Check after" } dd { (self.check) }
                }
                (terminal(&self.command))
                div { (factors(&self.factors)) }
                @if self.needs_approval {
                    (note::callout(State::Wait, html! { "This asks for it. Another person must approve before it runs." }, None))
                }
                (self.form(ctx, view))
            }
        };
        card("review", "Review", html! { div.acts { (risk(self.risk)) } }, body)
    }

    fn form(&self, ctx: &Ctx, view: &RunNewView) -> Markup {
        form::post(
            ctx,
            "/runs",
            "stack s",
            html! {
                (form::hidden("host", &view.host.id))
                (form::hidden("action", &self.action))
                (form::hidden("idempotency_key", &self.idempotency_key))
                @for (name, value) in &self.parameters { (form::hidden(name, value)) }
                @if self.irreversible {
                    div.field {
                        label.lab for="typed" { "Cannot be undone. Type " code { (view.host.name) } " to go on" }
                        input class="inp mono" #typed name="confirm" required autocomplete="off" spellcheck="false"
                            pattern=(view.host.name.replace('.', "\\.")) title={ "The host's name, " (view.host.name) };
                    }
                }
                button class=(if self.irreversible { "btn danfill big full" } else { "btn pri big full" }) { (self.button) }
                a class="btn gho full" href=(view.host.href()) { "Leave it as it is" }
            },
        )
    }
}

/// Shows the choice, and the review of what is filled in.
///
/// # Errors
/// When there is no such host.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
) -> Result<Response, Problem> {
    let query = Query::parse(&frame.ctx.query);
    let host = query.get("host").and_then(|id| id.parse().ok()).ok_or_else(|| Problem::not_found("host"))?;
    let key = uuid::Uuid::now_v7().to_string();
    let view = fill::fill(Source::of(&state), &state.decide(), host, &query, key).await?;
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// Starts what was reviewed.
///
/// # Errors
/// When it cannot be started, with the reason.
pub async fn start(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    fields: Fields,
) -> Result<Response, Problem> {
    let form = Query(fields.0);
    let host = form.get("host").and_then(|id| id.parse().ok()).ok_or_else(|| Problem::not_found("host"))?;
    let host = hosts::get(&state.db, host).await?;
    let action = fill::action(&form, &[]).map_err(Problem::malformed)?;
    if action.entry().irreversible && form.get("confirm") != Some(host.name.as_str()) {
        return Err(Problem::invalid("confirm", "must be the host's name, as it cannot be undone"));
    }
    let start = Start {
        host: host.id,
        action,
        incident: form.get("incident").and_then(|id| id.parse().ok()),
        reason: form.get("reason").unwrap_or_default().to_owned(),
        key: form.get("idempotency_key").map(str::to_owned),
    };
    let run = decide::start_run(&state.decide(), &start, &principal.person()).await?;
    let waits = run.state == RunState::AwaitingApproval;
    let how =
        if waits { "waits for another person".to_owned() } else { format!("on its way to {}", host.name) };
    state.say(
        &principal,
        if waits { State::Wait } else { State::Ok },
        format!("{}: {how}", words::title(&run.action)),
    );
    Ok(see_other(&format!("/runs/{}", run.id)))
}
