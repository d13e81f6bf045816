//! Why a rule fires on a host, or does not.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use maud::{Markup, html};

use super::PATH;
use super::coverage::shape_of;
use crate::rules::explain::{self, Mute, Part};
use crate::rules::standing::Truth;
use crate::rules::state::Phase;
use crate::web::api::rules::read::{Which, both};
use crate::web::api::rules::{Looked, looked};
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::Params;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::pages::shared::HostRef;
use crate::web::state::AppState;
use crate::web::widgets::query::Query;
use crate::web::widgets::state::{Size, State, chip, shape_named};
use crate::web::widgets::{card, format, list, note, page_head};

/// The page.
#[must_use]
fn page(ctx: &Ctx, view: &Looked) -> Page {
    let (rule, host) = (&view.compiled.rule, &view.host);
    let (shape, word) = shape_of(view.cell.state);
    let title = format!("Why “{}” {} on {}", rule.definition.name, verb(word), host.name);
    let link = HostRef { id: host.id.to_string(), name: host.name.clone() }.link();
    let at = view.placed.standing.at;
    let below = html! {
        "Host " (link) " · "
        @match at { Some(at) => { "judged by the sample of " (format::full(ctx.now_ms, at.0)) }, None => { "not judged" } }
    };
    let body = html! {
        (page_head(&title, below, html! {
            (chip(shape, word))
            a.btn href={ (PATH) "/" (rule.id) } { "The rule" }
            a.btn href={ "/rules/coverage?rule=" (rule.id) } { "Other hosts" }
        }))
        (note::callout(shape, html! { (view.sentence) }, None))
        div class="grid below" {
            div class="c8 stack" { (parts(view)) (samples(ctx, view)) }
            div class="c4 stack" { (state_of(ctx, view)) (labels(ctx, view)) }
        }
    };
    Page::new(&title, Fragment(body)).below("Rules", PATH)
}

fn verb(word: &str) -> &'static str {
    match word {
        "fires" => "fires",
        "muted" => "is muted",
        "unknown" => "is unknown",
        _ => "does not fire",
    }
}

fn parts(view: &Looked) -> Markup {
    let told = &view.explanation;
    let rows = |parts: &[Part]| {
        html! {
            @for part in parts {
                tr {
                    td.wr { span.t3 { (("· ").repeat(part.depth)) } code { (part.text) } }
                    td.wr data-k="Comes to" {
                        @match part.holds {
                            Some(true) => { b { (part.value) } },
                            _ => { (part.value) },
                        }
                    }
                }
            }
        }
    };
    let head = html! { th { "Part" } th { "Comes to" } };
    let body = html! {
        @if told.parts.is_empty() { p class="cb small t3" { "Nothing is judged." } } @else {
            (list::table("Parts of the condition and what they come to", head.clone(), rows(&told.parts)))
        }
        @if !told.clear.is_empty() {
            p class="cb small t2" { "Once it fires, it is over when this holds:" }
            (list::table("Parts of what ends it", head, rows(&told.clear)))
        }
    };
    let aside = html! { @if !told.label.is_empty() { span class="small t3" { (told.label) } } };
    card("parts", "The condition, part by part", aside, body)
}

fn samples(ctx: &Ctx, view: &Looked) -> Markup {
    let told = &view.explanation;
    let head = html! { th { "Sample" } @for column in &told.columns { th.r { code { (column) } } } };
    let rows = html! { @for (at, values) in &told.rows {
        tr {
            td.num { (format::full(ctx.now_ms, at.0)) }
            @for (column, value) in told.columns.iter().zip(values) { td.r data-k=(column) { (value) } }
        }
    } };
    let body = html! {
        @if told.rows.is_empty() { p class="cb small t3" { "No sample of the last 15 min is here." } } @else {
            (list::table("Samples, newest first", head, rows))
        }
        div.cf { "A dash means: not observed. A gap in time is a gap in samples." }
    };
    card("samples", "Samples in its window", html! {}, body)
}

fn state_of(ctx: &Ctx, view: &Looked) -> Markup {
    let written = &view.compiled.rule.definition;
    let cell = explain::focus(&view.placed.standing, Some(&view.explanation.label));
    let phase = cell.and_then(|cell| cell.phase);
    let body = html! { dl class="dl left cb" {
        dt { "Held for" }
        dd {
            @match phase {
                Some(Phase::Pending { since }) => { (explain::span(ctx.now_ms - since.0)) " of " (explain::span(written.for_ms)) },
                Some(Phase::Firing { onset, .. }) => { (explain::span(ctx.now_ms - onset.0)) ", fires after " (explain::span(written.for_ms)) },
                None => { "not now; fires after " (explain::span(written.for_ms)) },
            }
        }
        dt { "Last held" }
        dd {
            @match phase {
                Some(Phase::Firing { last_true, .. }) => { (format::full(ctx.now_ms, last_true.0)) ", goes on for " (explain::span(written.keep_ms)) },
                _ => { "–" },
            }
        }
        dt { "What ends it" }
        dd {
            @match cell.and_then(|cell| cell.clear.as_ref()) {
                Some(Truth::Yes) => { "holds" },
                Some(Truth::No) => { "does not hold yet" },
                Some(Truth::Unknown(reason)) => { "unknown: " (reason) },
                None if view.explanation.clear.is_empty() => { "its condition no longer holding" },
                None => { "looked at once it fires" },
            }
        }
        dt { "Muted" }
        dd {
            @match view.placed.mute {
                Mute::None => { "no" },
                Mute::Disabled => { "the rule is switched off" },
                Mute::OutOfScope => { "its scope is other hosts" },
                Mute::Maintenance(until) => { "maintenance until " (format::full(ctx.now_ms, until.0)) },
            }
        }
    } };
    card("state", "How far it is", html! {}, body)
}

fn labels(ctx: &Ctx, view: &Looked) -> Markup {
    if view.placed.standing.cells.len() < 2 {
        return html! {};
    }
    let query = Query::parse(&ctx.query);
    let body = html! {
        @for cell in &view.placed.standing.cells {
            @let (shape, word) = match (&cell.phase, &cell.truth) {
                (Some(Phase::Firing { .. }), _) => (State::Crit, "fires"),
                (Some(Phase::Pending { .. }), _) => (State::Warn, "pending"),
                (None, Truth::Unknown(_)) => (State::Off, "unknown"),
                (None, _) => (State::Ok, "fine"),
            };
            div.li {
                (shape_named(shape, Size::Row, word))
                div.grow {
                    a href=(query.set("label", &cell.label).href(&ctx.path)) { (cell.label) }
                    @if let Truth::Unknown(reason) = &cell.truth { div class="small t3" { (reason) } }
                }
                span.when { (word) }
            }
        }
    };
    card("labels", "By label", html! {}, body)
}

/// Shows the page.
///
/// # Errors
/// When there is no such rule or host.
pub async fn show(
    Shared(state): Shared<AppState>,
    path: Result<Path<(String, String)>, PathRejection>,
    Params(which): Params<Which>,
    frame: Frame,
) -> Result<Response, Problem> {
    let (id, host) = both(path)?;
    let view = looked(&state, id, host, &which.label.0).await?;
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}
