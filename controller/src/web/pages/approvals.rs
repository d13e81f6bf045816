//! Approval inbox: what waits at the left, the chosen one with its decision at the right.

pub mod fill;

use axum::extract::{self, Path};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use sysop_common::action::RunState;
use sysop_common::ids::OrderId;

use super::proposal::fill::Viewer;
use super::proposal::{Proposal, terminal};
use super::shared::{RunLine, incident_href, incident_name};
use super::source::Source;
use super::words;
use crate::decide;
use crate::store::{hosts, runs};
use crate::web::admit::see_other;
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::Form;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::state::AppState;
use crate::web::widgets::risk::risk;
use crate::web::widgets::state::{Size, State, shape, shape_named};
use crate::web::widgets::{card, format, icons, note, page_head};

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct ApprovalsView {
    /// What waits, oldest first.
    pub waiting: Vec<Waiting>,
    /// Place in `waiting` of the one that is shown whole.
    pub chosen: usize,
    /// What was decided lately, newest first.
    pub decided: Vec<RunLine>,
}

/// A proposal that waits.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The proposal.
    pub proposal: Proposal,
    /// The incident that it repairs.
    pub incident: Option<i64>,
    /// `proposed by rules`, `asked by operator`, and why.
    pub origin: String,
    /// Since when it waits, ms UTC.
    pub since_ms: i64,
    /// The host as it is now: `No other incident, CPU 22 %`.
    pub host_now: String,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &ApprovalsView) -> Page {
    let page = Page::new("Approvals", Fragment(body(ctx, view))).live("/events/approvals");
    if view.waiting.is_empty() { page } else { page.with_decide_bar() }
}

fn body(ctx: &Ctx, view: &ApprovalsView) -> Markup {
    let below = match view.waiting.len() {
        0 => "Nothing waits.".to_owned(),
        1 => "One waits. Nothing of it has run.".to_owned(),
        n => format!("{n} wait. Nothing of this has run."),
    };
    html! {
        (page_head("Approvals", html! { (below) " Whoever asked for high risk cannot approve it alone." }, html! {}))
        @match view.waiting.get(view.chosen).or(view.waiting.first()) {
            Some(chosen) => div.split {
                div class="stack" { (inbox(ctx, view, chosen)) div.no-phone { (decided(ctx, view)) } }
                (chosen.whole(ctx))
            },
            None => div.split {
                section.card { (note::empty(icons::CHECKLIST, "Nothing waits for you", "High-risk repairs, and those set to ask first, come here.",
                    html! { a.btn href="/runs" { "What was run" } })) }
                (decided(ctx, view))
            },
        }
        @if let Some(chosen) = view.waiting.get(view.chosen).or(view.waiting.first()) { (chosen.proposal.phone_bar(ctx)) }
    }
}

fn inbox(ctx: &Ctx, view: &ApprovalsView, chosen: &Waiting) -> Markup {
    html! {
        section class="card inbox" aria-label="Waiting" {
            @for item in &view.waiting {
                a.item href={ "/approvals/" (item.proposal.run) } data-row
                    aria-current=[(item.proposal.run == chosen.proposal.run).then_some("true")] {
                    (shape(State::Wait, Size::Row))
                    div {
                        div.b { (item.proposal.title) }
                        div class="small t3" {
                            @if let Some(id) = item.incident { (incident_name(id)) " · " }
                            (item.origin) " · " (format::ago(ctx.now_ms, item.since_ms))
                        }
                        div class="row-x wrap" {
                            (risk(item.proposal.risk))
                            @if item.proposal.needed > 1 { (item.proposal.quorum()) }
                            @if let Some(until) = item.proposal.expires_ms { span class="tiny t3" { "expires " (format::clock(until)) } }
                        }
                    }
                }
            }
        }
    }
}

fn decided(ctx: &Ctx, view: &ApprovalsView) -> Markup {
    let rows = html! {
        @for run in &view.decided { (run.line(ctx.now_ms, true)) }
        @if view.decided.is_empty() { p class="cb small t3" { "Nothing was decided yet." } }
    };
    card("decided", "Decided lately", html! {}, rows)
}

impl Waiting {
    fn whole(&self, ctx: &Ctx) -> Markup {
        let proposal = &self.proposal;
        html! {
            section.card aria-labelledby="chosen" {
                div.ch { (shape(State::Wait, Size::Row)) h2 #chosen { (proposal.host.name) } div.acts { (risk(proposal.risk)) } }
                div class="cb stack" {
                    p.verdict { (proposal.title) }
                    div.grid {
                        div class="c7 stack" {
                            @if let Some(id) = self.incident {
                                p class="small t2" { "Repairs " a href=(incident_href(id)) { (incident_name(id)) } ", which holds the evidence." }
                            }
                            (proposal.facts())
                            (terminal(&proposal.command))
                            @if let Some(caveat) = &proposal.caveat { (note::callout(State::Warn, html! { (caveat) }, None)) }
                        }
                        div class="c5 stack" {
                            @if proposal.needed > 1 { (self.given(ctx)) }
                            @if !self.host_now.is_empty() {
                                (note::callout(State::Info, html! { b { (proposal.host.name) " now. " } (self.host_now) }, None))
                            }
                            section.stack aria-label="Risk" { h3 { "Why " (proposal.risk.word()) " risk" } div { (crate::web::widgets::risk::factors(&proposal.factors)) } }
                            (proposal.decision(ctx))
                        }
                    }
                }
            }
        }
    }

    fn given(&self, ctx: &Ctx) -> Markup {
        let proposal = &self.proposal;
        html! {
            section {
                h3 { (proposal.needed) " approvals needed" }
                div.tl {
                    @for approval in &proposal.approvals {
                        div {
                            time title=(format::full(ctx.now_ms, approval.at_ms)) { (format::clock(approval.at_ms)) }
                            (shape_named(State::Ok, Size::Row, "approved"))
                            div.small { b { (approval.by) } " approved" @if !approval.comment.is_empty() { br; span.t3 { "“" (approval.comment) "”" } } }
                        }
                    }
                    div.fut { time { "now" } (shape(State::Wait, Size::Row)) div class="small t3" { (usize::from(proposal.needed).saturating_sub(proposal.approvals.len())) " missing" } }
                }
            }
        }
    }
}

/// Shows the inbox.
///
/// # Errors
/// Only the store's.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
) -> Result<Response, Problem> {
    answer(&state, &principal, &frame, None).await
}

/// Shows the inbox with one proposal chosen. One that does not wait any more is shown as a run.
///
/// # Errors
/// Only the store's.
pub async fn show_one(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let run = runs::find(&state.db, known(&id)?).await?.ok_or_else(|| Problem::not_found("run"))?;
    if run.state == RunState::AwaitingApproval {
        answer(&state, &principal, &frame, Some(&id)).await
    } else {
        Ok(see_other(&format!("/runs/{id}")))
    }
}

async fn answer(
    state: &AppState,
    principal: &Principal,
    frame: &Frame,
    chosen: Option<&str>,
) -> Result<Response, Problem> {
    let source = Source::of(state);
    let viewer = Viewer::of(source, &principal.name, principal.role).await?;
    let view = fill::fill(source, chosen, &viewer).await?;
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// A decision.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// `approve` or `deny`.
    decision: String,
    /// Digest of what the page showed.
    digest: String,
    /// Why.
    #[serde(default)]
    comment: String,
    /// The host's name, typed, where it cannot be undone.
    #[serde(default)]
    confirm: String,
}

/// Decides.
///
/// # Errors
/// When it cannot be decided so, with the reason.
pub async fn decide(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    Path(id): Path<String>,
    Form(form): Form<Decision>,
) -> Result<Response, Problem> {
    let id = known(&id)?;
    let run = runs::find(&state.db, id).await?.ok_or_else(|| Problem::not_found("run"))?;
    if form.digest != words::digest(&run) {
        return Err(Problem::conflict("the order is not the one that the page showed")
            .remedy("open it again and look at it once more"));
    }
    let (ctx, person) = (state.decide(), principal.person());
    match form.decision.as_str() {
        "approve" => {
            let host = hosts::get(&state.db, run.host).await?;
            if run.action.entry().irreversible && form.confirm != host.name {
                return Err(Problem::invalid("confirm", "must be the host's name, as it cannot be undone"));
            }
            decide::approve(&ctx, id, &person).await?;
            let title = words::title(&run.action);
            state.say(&principal, State::Ok, format!("{title}: approved, on its way to {}", host.name));
        }
        "deny" => {
            decide::reject(&ctx, id, &person, &form.comment).await?;
            state.say(&principal, State::Off, format!("{}: denied, nothing runs", words::title(&run.action)));
        }
        _ => return Err(Problem::invalid("decision", "must be approve or deny")),
    }
    Ok(see_other(&format!("/runs/{id}")))
}

fn known(id: &str) -> Result<OrderId, Problem> {
    id.parse().map_err(|_| Problem::not_found("run"))
}
