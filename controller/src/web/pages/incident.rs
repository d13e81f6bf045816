//! One incident: the verdict first, then its evidence, then the decision.

pub mod evidence;

pub mod fill;

use axum::extract::{self, Path};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::opinion::{FeedbackView, Note};
use super::proposal::Proposal;
use super::proposal::fill::Viewer;
use super::shared::incident_href;
use super::shared::{HostRef, IncidentLine, RunLine, incident_name};
use super::source::Source;
use crate::decide;
use crate::store::feedback::Said;
use crate::web::admit::see_other;
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::Form;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::state::AppState;
use crate::web::widgets::state::{Size, State, chip, shape, shape_named};
use crate::web::widgets::{card, format, icon_small, icons};

use evidence::{Culprit, Evidence};

/// What the page shows.
#[derive(Debug, Clone)]
pub struct IncidentView {
    /// Its number.
    pub id: i64,
    /// Critical, warning or notice.
    pub state: State,
    /// Where.
    pub host: HostRef,
    /// When it opened, ms UTC.
    pub opened_ms: i64,
    /// When and why it closed.
    pub closed: Option<(i64, String)>,
    /// Effect, cause, culprit, since when: one sentence. A marked part is the culprit.
    pub verdict: Vec<Words>,
    /// Signals that were put together into this incident.
    pub signals: u64,
    /// `Found by rules in 9 s, without a model`.
    pub found: String,
    /// Confidence, 0 to 1.
    pub confidence: Option<f64>,
    /// Of how many causes at this level how many were right: right, all.
    pub track: Option<(u64, u64)>,
    /// From the root to the effect.
    pub chain: Vec<Link>,
    /// What the verdict stands on.
    pub evidence: Vec<Evidence>,
    /// First and last time of the evidence's charts, ms UTC.
    pub window: (i64, i64),
    /// What was looked for and could not be observed.
    pub not_observed: Vec<String>,
    /// Who used most of what ran out.
    pub culprits: Vec<Culprit>,
    /// What happened, oldest first.
    pub timeline: Vec<Moment>,
    /// What comes next, if nobody does anything.
    pub next: Option<String>,
    /// Like incidents of the past.
    pub before: Vec<IncidentLine>,
    /// The repair that is proposed or decided.
    pub proposal: Option<Proposal>,
    /// What a model says of it.
    pub note: Option<Note>,
    /// Of how many runs of the proposed action for such trouble the effect was seen: seen, all.
    pub helped: Option<(u64, u64)>,
    /// What people said of it.
    pub feedback: FeedbackView,
    /// Whether the person may take its recording away.
    pub may_download: bool,
    /// Runs for it, newest first.
    pub runs: Vec<RunLine>,
    /// Who took it on.
    pub acked_by: Option<String>,
    /// Whether the person may take it on.
    pub may_ack: bool,
}

/// Part of the verdict.
#[derive(Debug, Clone)]
pub struct Words {
    /// The words.
    pub text: String,
    /// Whether they name the culprit.
    pub culprit: bool,
}

/// A link in the chain of causes.
#[derive(Debug, Clone)]
pub struct Link {
    /// When, ms UTC.
    pub at_ms: i64,
    /// What: `Debug log on`.
    pub title: String,
    /// One more line.
    pub detail: String,
    /// Critical for the effect, else nothing special.
    pub state: State,
}

/// A line of the timeline.
#[derive(Debug, Clone)]
pub struct Moment {
    /// When, ms UTC.
    pub at_ms: i64,
    /// Its shape.
    pub state: State,
    /// What.
    pub words: String,
    /// Where to read more.
    pub href: Option<String>,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &IncidentView) -> Page {
    Page::new(incident_name(view.id), Fragment(body(ctx, view)))
        .below("Incidents", "/incidents")
        .live(format!("/events/incidents/{}", view.id))
        .with_charts()
        .with_decide_bar()
}

fn body(ctx: &Ctx, view: &IncidentView) -> Markup {
    html! {
        (head(ctx, view))
        div class="grid inc" {
            div class="c8 stack" {
                @if view.chain.len() > 1 { (chain(view)) }
                (evidence::card(view))
                @if !view.culprits.is_empty() { (evidence::culprits(view)) }
                (timeline(view))
                @if !view.before.is_empty() { (before(ctx, view)) }
            }
            div class="c4 stack sticky" {
                @match &view.proposal {
                    Some(proposal) => { (proposal.panel(ctx)) (proposal.command_card()) (proposal.factors_card()) },
                    None => (no_proposal(view)),
                }
                @if let Some((seen, all)) = view.helped {
                    p class="small t2 o5" { "This action helped in " b { (seen) " of " (all) } " runs for such trouble." }
                }
                @if !view.runs.is_empty() { (runs(ctx, view)) }
                @if let Some(note) = &view.note { (note.panel(ctx)) }
                (view.feedback.card(ctx))
            }
        }
        @if let Some(proposal) = &view.proposal { (proposal.phone_bar(ctx)) }
    }
}

fn head(ctx: &Ctx, view: &IncidentView) -> Markup {
    let ack = format!("/incidents/{}/ack", view.id);
    html! {
        header class="stack s ihead" {
            div class="row-x wrap" {
                @match &view.closed {
                    Some((at, why)) => {
                        (shape_named(State::Ok, Size::Large, "closed"))
                        (chip(State::Ok, &format!("Closed {}", format::full(ctx.now_ms, *at))))
                        span class="chip out" { (why) }
                    },
                    None => {
                        (shape(view.state, Size::Large))
                        (chip(view.state, &format!("{} since {}", capital(view.state.word()), format::full(ctx.now_ms, view.opened_ms))))
                    },
                }
                span.chip { "1 host: " (view.host.link()) }
                @if view.signals > 1 { span class="chip out" { (view.signals) " signals, 1 cause" } }
                @if let Some(by) = &view.acked_by { span class="chip out" { (by) " is on it" } }
                span.grow {}
                @if view.may_download {
                    a class="btn s" href={ "/incidents/" (view.id) "/recording" } download { (icon_small(icons::DOWNLOAD)) "Recording" }
                }
                @if view.may_ack && view.acked_by.is_none() && view.closed.is_none() {
                    (crate::web::widgets::form::post(ctx, &ack, "", html! { button class="btn s" { (icon_small(icons::HAND_STOP)) "I'm on it" } }))
                }
            }
            h1.verdict { @for words in &view.verdict { @if words.culprit { mark { (words.text) } } @else { (words.text) } } }
            p class="small t2" {
                (icon_small(icons::RULER_2)) " " (view.found) "."
                @if let Some(confidence) = view.confidence { " " b { "Confidence " (format::percent(confidence)) } }
                @if let Some((right, all)) = view.track { "; of the last " (all) " causes at this level " (right) " were right." }
            }
        }
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn chain(view: &IncidentView) -> Markup {
    html! {
        section class="chain o1" aria-label="Chain of causes" {
            @for (at, link) in view.chain.iter().enumerate() {
                div class=[(at == 0).then_some("root")] {
                    div class="small t3" { @if at == 0 { "Root · " } (format::clock(link.at_ms)) }
                    b class=[(link.state == State::Crit).then_some("c-crit")] { (link.title) }
                    div class="small t2" { (link.detail) }
                }
            }
        }
    }
}

fn timeline(view: &IncidentView) -> Markup {
    html! {
        section class="card o8" aria-labelledby="timeline" {
            div.ch { h2 #timeline { "Timeline" } span class="t3 small" { "UTC" } }
            div.tl {
                @for moment in &view.timeline {
                    div {
                        time datetime=(format::machine(moment.at_ms)) { (format::clock(moment.at_ms)) }
                        (shape_named(moment.state, Size::Row, ""))
                        div.small { (moment.words) @if let Some(href) = &moment.href { " " a href=(href) { "Details" } } }
                    }
                }
                @if let Some(next) = &view.next {
                    div.fut { time { "next" } (shape_named(State::Off, Size::Row, "not yet")) div class="small t3" { (next) } }
                }
            }
        }
    }
}

fn before(ctx: &Ctx, view: &IncidentView) -> Markup {
    html! {
        section class="card o9" aria-labelledby="before" {
            div.ch { h2 #before { "Seen before" } span class="t3 small" { "same rule, 90 days" } }
            @for incident in &view.before { (incident.line(ctx.now_ms)) }
        }
    }
}

fn runs(ctx: &Ctx, view: &IncidentView) -> Markup {
    let rows = html! { @for run in &view.runs { (run.line(ctx.now_ms, false)) } };
    html! { div.o6 { (card("incident-runs", "Runs for this incident", html! {}, rows)) } }
}

fn no_proposal(view: &IncidentView) -> Markup {
    let (title, words) = if view.closed.is_some() {
        ("Nothing to do", "It is over; nothing waits.")
    } else {
        let why = "No action of the catalogue repairs this. It closes by itself when the trouble is gone.";
        ("No repair proposed", why)
    };
    html! {
        div.o3 {
            (card("no-repair", title, html! {}, html! {
                div class="cb stack s" {
                    p class="small t2" { (words) }
                    a class="btn s" href=(view.host.href()) { "Open " (view.host.name) }
                }
            }))
        }
    }
}

/// Shows the page.
///
/// # Errors
/// When there is no such incident.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let source = Source::of(&state);
    let viewer = Viewer::of(source, &principal.name, principal.role).await?;
    let currency = state.models.state().currency;
    let view = fill::fill(source, known(&id)?, &viewer, &currency).await?;
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// Notes that the person takes it on.
///
/// # Errors
/// When there is no such incident.
pub async fn ack(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = known(&id)?;
    decide::ack_incident(&state.decide(), id, &principal.person()).await?;
    Ok(see_other(&incident_href(id)))
}

/// What a person says of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedbackForm {
    /// `right`, `wrong`, `noise`.
    said: String,
    #[serde(default)]
    comment: String,
}

/// Notes what the person says of it.
///
/// # Errors
/// When there is no such incident, or no such word.
pub async fn say(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    Path(id): Path<String>,
    Form(form): Form<FeedbackForm>,
) -> Result<Response, Problem> {
    let id = known(&id)?;
    let said = Said::from_word(&form.said)
        .ok_or_else(|| Problem::invalid("said", "must be right, wrong or noise"))?;
    decide::give_feedback(&state.decide(), id, said, &form.comment, &principal.person()).await?;
    Ok(see_other(&format!("{}#feedback", incident_href(id))))
}

fn known(id: &str) -> Result<i64, Problem> {
    id.parse().map_err(|_| Problem::not_found("incident"))
}
