//! One run: its states as they came, what exactly ran, its output, and what came of it.

pub mod fill;

use axum::extract::{self, Path};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use sysop_common::ids::OrderId;

use super::proposal::fill::Viewer;
use super::proposal::{Proposal, terminal};
use super::shared::{RunLine, incident_href, incident_name, run_state};
use super::source::Source;
use super::words;
use crate::decide;
use crate::web::admit::see_other;
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::Form;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::state::AppState;
use crate::web::widgets::risk::{Factor, factors, risk};
use crate::web::widgets::state::{Size, State, chip, shape_named};
use crate::web::widgets::{card, dialog, form, format, icon_small, icons, note};

/// What the page shows.
#[derive(Debug, Clone)]
pub struct RunView {
    /// The run in one line.
    pub line: RunLine,
    /// The incident that it repairs.
    pub incident: Option<i64>,
    /// Why it was asked for.
    pub reason: String,
    /// States, oldest first.
    pub steps: Vec<Step>,
    /// The order that was signed, rendered line by line.
    pub command: String,
    /// Digest of the signed bytes, as hex.
    pub digest: Option<String>,
    /// What the risk is made of.
    pub factors: Vec<Factor>,
    /// What the host said when it refused.
    pub refusal: Option<RefusalView>,
    /// Its output, redacted on the host.
    pub output: Option<Output>,
    /// The proposal while it waits for a decision.
    pub proposal: Option<Proposal>,
    /// Whether the person may withdraw it now.
    pub may_cancel: bool,
    /// Whether the person may say what they found after an unknown outcome.
    pub may_settle: bool,
}

/// A state that the run reached.
#[derive(Debug, Clone)]
pub struct Step {
    /// When, ms UTC.
    pub at_ms: i64,
    /// Its shape.
    pub state: State,
    /// `approved by admin`, `accepted by web-07`.
    pub words: String,
    /// One more line.
    pub detail: String,
}

/// Why a host did not take the order, and what its owner can do.
#[derive(Debug, Clone)]
pub struct RefusalView {
    /// In words: `The owner's policy does not allow restart_service for nginx.service`.
    pub reason: String,
    /// The lines to add on the host, if lines help.
    pub remedy: Option<String>,
    /// Where to add it: `/etc/sysop/policy.toml`.
    pub place: String,
}

/// What the action printed.
#[derive(Debug, Clone)]
pub struct Output {
    /// The part that is kept.
    pub text: String,
    /// Bytes before the cap.
    pub bytes: u64,
    /// Bytes kept.
    pub kept: u64,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &RunView) -> Page {
    let page = Page::new(view.line.title.clone(), Fragment(body(ctx, view)))
        .below("Runs", "/runs")
        .live(format!("/events/runs/{}", view.line.id));
    if view.proposal.is_some() { page.with_decide_bar() } else { page }
}

fn body(ctx: &Ctx, view: &RunView) -> Markup {
    html! {
        (head(ctx, view))
        div.grid {
            div class="c8 stack" {
                @if let Some(refusal) = &view.refusal { (refusal.draw(view)) }
                @if view.may_settle { (settle_box(ctx, view)) }
                (timeline(view))
                (output(view))
            }
            div class="c4 stack" {
                @if let Some(proposal) = &view.proposal { (proposal.panel(ctx)) }
                (facts(ctx, view))
                (card("order", "What exactly runs", html! {}, html! { div class="cb stack s" { (terminal(&view.command)) (digest(view)) } }))
                @if !view.factors.is_empty() {
                    (card("why", &format!("Why {} risk", view.line.risk.word()), html! {}, html! { div.cb { (factors(&view.factors)) } }))
                }
            }
        }
        @if let Some(proposal) = &view.proposal { (proposal.phone_bar(ctx)) }
    }
}

fn head(ctx: &Ctx, view: &RunView) -> Markup {
    let (state, words) = run_state(view.line.state);
    html! {
        div.head {
            div.grow {
                div class="row-x wrap" {
                    (shape_named(state, Size::Huge, words))
                    h1 { (view.line.title) " on " (view.line.host.name) }
                    (chip(state, words))
                }
                p class="t3 small" {
                    (view.line.by) " · asked " (format::full(ctx.now_ms, view.line.at_ms))
                    @if let Some(id) = view.incident { " · repairs " a href=(incident_href(id)) { (incident_name(id)) } }
                }
            }
            div.acts {
                @if view.may_cancel { (dialog::opener("cancel", "btn dan", html! { (icon_small(icons::X)) "Withdraw" })) (cancel(ctx, view)) }
            }
        }
    }
}

fn cancel(ctx: &Ctx, view: &RunView) -> Markup {
    let body = form::post(
        ctx,
        &format!("/runs/{}/cancel", view.line.id),
        "stack",
        html! {
            p.t2 { "If " (view.line.host.name) " has not started it yet, it will not run. What has started goes on to its end." }
            div class="row-x wrap" { button class="btn dan" { "Withdraw: do not run it" } (dialog::leave("cancel", "Leave it running")) }
        },
    );
    dialog::dialog("cancel", "Withdraw this run", body)
}

/// After an unknown outcome nothing like it is planned until someone has looked.
fn settle_box(ctx: &Ctx, view: &RunView) -> Markup {
    let host = &view.line.host.name;
    note::callout(
        State::Warn,
        html! {
            p.b { "It may or may not have run. It is not tried again by itself." }
            p { "Look at " (host) " and say what you found; the same may be planned again afterwards." }
            (form::post(ctx, &format!("/runs/{}/settle", view.line.id), "stack s", html! {
                div.field {
                    label.lab for="found" { "What you found " span.t3 { "kept in the audit" } }
                    textarea.inp #found name="found" rows="2" maxlength="500" required {}
                }
                div { button class="btn s" { "I have looked at " (host) } }
            }))
        },
        None,
    )
}

impl RefusalView {
    fn draw(&self, view: &RunView) -> Markup {
        note::callout(
            State::Crit,
            html! {
                div class="stack s" {
                p.b { (view.line.host.name) " refused the order. Nothing ran." }
                p { (self.reason) }
                @if let Some(line) = &self.remedy {
                    p { "To allow it, its owner adds these lines to " code { (self.place) } " on " (view.line.host.name) ". The controller cannot." }
                    pre.term tabindex="0" #remedy { (line) }
                    button type="button" class="btn s" data-copy="#remedy" { (icon_small(icons::COPY)) span { "Copy the lines" } }
                }
                }
            },
            None,
        )
    }
}

fn timeline(view: &RunView) -> Markup {
    html! {
        section.card aria-labelledby="steps" {
            div.ch { h2 #steps { "What happened" } span class="t3 small" { "UTC, the host's steps by its own clock" } }
            div.tl {
                @for (at, step) in view.steps.iter().enumerate() {
                    // Only the newest step can still be going on.
                    @let passed = step.state == State::Run && at + 1 < view.steps.len();
                    div {
                        time datetime=(format::machine(step.at_ms)) { (format::clock(step.at_ms)) }
                        (shape_named(if passed { State::Info } else { step.state }, Size::Row, ""))
                        div.small { (step.words) @if !step.detail.is_empty() { br; span.t3 { (step.detail) } } }
                    }
                }
                @if !view.line.state.is_final() {
                    div.fut { time { "next" } (shape_named(State::Off, Size::Row, "not yet")) div class="small t3" { (next(view)) } }
                }
            }
        }
    }
}

fn next(view: &RunView) -> &'static str {
    use sysop_common::action::RunState;
    match view.line.state {
        RunState::Proposed | RunState::AwaitingApproval => "A decision.",
        RunState::Approved | RunState::Claimed => "It is sent to the host.",
        RunState::Sent => "The host's word. Without it the run becomes unknown, never repeated by itself.",
        RunState::Accepted => "It starts.",
        RunState::Started => "It ends, or its time limit ends it.",
        _ => "Its effect is looked at.",
    }
}

fn output(view: &RunView) -> Markup {
    let aside = html! {
        @if let Some(output) = &view.output { span class="acts small t3" { (format::bytes(output.bytes)) } }
    };
    let body = html! {
        div class="cb stack s" {
            @match &view.output {
                Some(output) if output.bytes == 0 => p class="small t3" { "It printed nothing." },
                Some(output) => {
                    (terminal(&output.text))
                    @if output.kept < output.bytes {
                        p class="small t3" { "The first " (format::bytes(output.kept)) " of " (format::bytes(output.bytes)) " are kept." }
                    }
                },
                None => p class="small t3" { "Nothing has run." },
            }
        }
    };
    card("output", "Output", aside, body)
}

fn facts(ctx: &Ctx, view: &RunView) -> Markup {
    let line = &view.line;
    let (_, words) = run_state(line.state);
    let body = html! {
        dl class="dl left cb" {
            dt { "Host" } dd { (line.host.link()) }
            dt { "State" } dd { (words) }
            dt { "Decided" } dd { (line.by) }
            @if !view.reason.is_empty() { dt { "Reason" } dd { (view.reason) } }
            dt { "Exit" } dd.num { (line.exit.map_or_else(|| "–".to_owned(), |exit| exit.to_string())) }
            dt { "Took" } dd.num { (line.took_ms.map_or_else(|| "–".to_owned(), format::duration)) }
            dt { "Asked" } dd.num { (format::full(ctx.now_ms, line.at_ms)) }
            dt { "Run" } dd { code { (line.id) } }
        }
    };
    card("facts", "In short", html! { div.acts { (risk(line.risk)) } }, body)
}

fn digest(view: &RunView) -> Markup {
    html! {
        @if let Some(digest) = &view.digest {
            p class="tiny t3" { "Signed for this host alone, digest " code title=(digest) { (digest.chars().take(12).collect::<String>()) "…" } }
        }
    }
}

/// Shows the page.
///
/// # Errors
/// When there is no such run.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let source = Source::of(&state);
    let viewer = Viewer::of(source, &principal.name, principal.role).await?;
    let view = fill::fill(source, known(&id)?, &viewer).await?;
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// Withdraws it.
///
/// # Errors
/// When it has started or ended.
pub async fn withdraw(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let run = decide::cancel_run(&state.decide(), known(&id)?, &principal.person()).await?;
    let what =
        if run.state.is_final() { "withdrawn, nothing ran" } else { "the host is asked not to start it" };
    state.say(&principal, State::Ok, format!("{}: {what}", words::title(&run.action)));
    Ok(see_other(&format!("/runs/{id}")))
}

/// What someone found on the host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    found: String,
}

/// Notes what someone found on the host after an unknown outcome.
///
/// # Errors
/// When its outcome is known.
pub async fn settle(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    Path(id): Path<String>,
    Form(form): Form<Found>,
) -> Result<Response, Problem> {
    decide::settle_unknown(&state.decide(), known(&id)?, &principal.person(), &form.found).await?;
    state.say(&principal, State::Ok, "Noted: the same may be planned again");
    Ok(see_other(&format!("/runs/{id}")))
}

fn known(id: &str) -> Result<OrderId, Problem> {
    id.parse().map_err(|_| Problem::not_found("run"))
}
