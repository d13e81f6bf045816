//! One probe: how it stands, why it is told of or not, its last results.

use axum::extract::{self, Path};
use axum::response::Response;
use maud::{Markup, html};
use sysop_common::probe::{Outcome, ProbeState, Reason};

use super::{PATH, ProbeRow, fill, share_words, shown, took};
use crate::probe::says;
use crate::store::maintenance;
use crate::store::probes::standing::{self, Standing};
use crate::store::probes::{self, Probe, RunBy};
use crate::web::admit::see_other;
use crate::web::api::probes::{policy_line, try_once};
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::pages::source::Source;
use crate::web::state::AppState;
use crate::web::widgets::state::{Size, State, shape, shape_named};
use crate::web::widgets::{card, form, format, list, note, page_head};

/// Results that are listed of each runner.
const RESULTS: u32 = 20;

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct ProbeView {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What it asks, how often, when it is told of: term and words.
    pub facts: Vec<(&'static str, String)>,
    /// Whether the controller runs it, so that it can be tried.
    pub may_try: bool,
    /// By who runs it.
    pub runners: Vec<RunnerView>,
}

/// A probe by one of its runners.
#[derive(Debug, Clone, Default)]
pub struct RunnerView {
    /// How it stands.
    pub row: ProbeRow,
    /// Why it is told of, or not.
    pub why: Vec<String>,
    /// Lines for the policy of a host that refuses it.
    pub policy: Option<String>,
    /// Time, state, words and time to the answer in ms, newest first.
    pub results: Vec<(i64, ProbeState, String, Option<f64>)>,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &ProbeView) -> Page {
    let may = ctx.user.as_ref().is_some_and(|user| user.may_operate);
    let path = format!("{PATH}/{}", view.id);
    let acts = html! {
        @if may {
            @if view.may_try { (form::post(ctx, &format!("{path}/try"), "", html! { button class="btn" { "Try now" } })) }
            a class="btn" href={ (path) "/edit" } { "Change" }
            (form::post(ctx, &format!("{path}/remove"), "", html! { button class="btn dan" { "Remove it and its results" } }))
        }
    };
    let facts = html! {
        dl class="cb dl" {
            @for (term, words) in &view.facts { dt { (term) } dd { (words) } }
        }
    };
    let body = html! {
        (page_head(&view.name, html! { "Probe " (view.id) }, acts))
        div.grid {
            div class="c8 stack" {
                @for (at, runner) in view.runners.iter().enumerate() { (runner.draw(ctx, at)) }
            }
            div class="c4 stack" { (card("asks", "What is asked", html! {}, facts)) }
        }
    };
    Page::new(view.name.clone(), Fragment(body)).below("Probes", PATH).live("/events")
}

impl RunnerView {
    fn draw(&self, ctx: &Ctx, at: usize) -> Markup {
        let (state, word) = shown(self.row.state, self.row.enabled);
        let head = html! { th { "State" } th { "At" } th { "Result" } th.r { "Time" } };
        let rows = html! {
            @for (ms, result, says, took_ms) in &self.results {
                tr data-row {
                    td { span.row-x { (shape_named(shown(Some(*result), true).0, Size::Row, "")) (shown(Some(*result), true).1) } }
                    td class="num" data-k="At" { (format::full(ctx.now_ms, *ms)) }
                    td.wr { (says) }
                    td class="num r" data-k="Time" { (took(*took_ms)) }
                }
            }
        };
        let body = html! {
            div class="cb stack s" {
                div class="row-x wrap" {
                    (shape(state, Size::Large))
                    span class={ "b " (state.text_class()) } { (word) }
                    span { (self.row.says) }
                    @if let Some(share) = self.row.uptime { span.t3 { "up " (share_words(share)) " of 24 h" } }
                }
                @if let Some(lines) = &self.policy {
                    (note::callout(State::Maint, html! {
                        p { "The host's policy does not allow it. To allow it, its owner adds to " code { "/etc/sysop/policy.toml" } ":" }
                        pre.term tabindex="0" { (lines) }
                    }, None))
                }
                h3 { "Why it is told of, or not" }
                ul class="small t2" { @for reason in &self.why { li { (reason) } } }
            }
            @if !self.results.is_empty() { (list::table("Last results, newest first", head, rows)) }
        };
        card(&format!("runner-{at}"), &format!("From {}", self.row.runner), html! {}, body)
    }
}

async fn fill_one(source: Source<'_>, text: &str) -> Result<ProbeView, Problem> {
    let id = fill::known(text).ok_or_else(|| Problem::not_found("probe"))?;
    let probe = probes::get(&mut *source.db.reader().await?, id).await?;
    let standings = standing::all(source.db).await?;
    let standings: Vec<&Standing> = standings.iter().filter(|standing| standing.probe == id).collect();
    let rows = fill::rows(source, |other, _| other.id == id).await?;
    let windows = maintenance::list(source.db, source.now).await?;
    let mut runners = Vec::new();
    for (at, row) in rows.into_iter().enumerate() {
        // Failing ones come first in both.
        let mut sorted = standings.clone();
        sorted.sort_by_key(|standing| standing.failing_since.is_none());
        let Some(standing) = sorted.get(at) else {
            let why = vec!["It has no result yet: nothing is counted, and nothing is told.".to_owned()];
            runners.push(RunnerView { row, why, ..RunnerView::default() });
            continue;
        };
        let host = standing.runner.or(probe.settings.host);
        let holds = windows.iter().find(|window| {
            let covers = host.map_or(window.on.is_none(), |host| window.covers(host));
            covers && window.starts_at <= source.now && source.now < window.ends_at
        });
        let results = standing::results(source.db, id, standing.runner, RESULTS).await?;
        let line = |(at, outcome): &(sysop_common::time::UnixMs, Outcome)| {
            let took = outcome.micros.map(|micros| micros as f64 / 1_000.0);
            (at.0, outcome.state(), says(outcome), took)
        };
        let refused = standing.outcome.reason == Reason::PolicyRefused;
        runners.push(RunnerView {
            row,
            why: reasons(&probe, standing, holds.map(|window| window.ends_at.0)),
            policy: refused.then(|| policy_line(&probe.settings.check)),
            results: results.iter().map(line).collect(),
        });
    }
    Ok(ProbeView {
        id: id.0,
        name: probe.settings.name.clone(),
        facts: facts(&probe),
        may_try: probe.settings.run_by == RunBy::Controller,
        runners,
    })
}

fn facts(probe: &Probe) -> Vec<(&'static str, String)> {
    let settings = &probe.settings;
    let many = |count: u8, one: &str, many: &str| format::counted(count.into(), one, many);
    vec![
        ("Kind", settings.check.kind().to_owned()),
        ("Target", settings.check.target()),
        ("Every", format::duration(settings.interval_ms.into())),
        ("Waits for", format!("{} ms at most", settings.timeout_ms)),
        ("Told of after", many(settings.failures, "failure", "failures in a row")),
        ("Over after", many(settings.successes, "answer", "answers in a row")),
        ("Severity", settings.severity.word().to_owned()),
        ("Runs", if settings.enabled { "yes" } else { "no, it is off" }.to_owned()),
        ("Made by", probe.created_by.clone()),
    ]
}

/// Why a probe is told of, or not: what was counted, and what holds it back.
fn reasons(probe: &Probe, standing: &Standing, maintenance: Option<i64>) -> Vec<String> {
    let settings = &probe.settings;
    let mut reasons = Vec::new();
    match standing.failing_since {
        Some(since) => reasons.push(format!(
            "It is told of since {}: {} of {} answers in a row that end it.",
            format::machine(since.0),
            standing.passes,
            settings.successes
        )),
        None => reasons.push(format!(
            "It is not told of: {} of {} failures in a row that would.",
            standing.fails, settings.failures
        )),
    }
    match standing.outcome.state() {
        ProbeState::Unknown => {
            reasons.push(
                "The last try says nothing of the target: it neither counts nor ends anything.".to_owned(),
            );
        }
        ProbeState::Refused => {
            reasons.push(
                "It was not asked, because it may not be: it neither counts nor ends anything.".to_owned(),
            );
        }
        _ => {}
    }
    if let Some(until) = maintenance {
        reasons.push(format!(
            "Maintenance holds until {}: failures are counted, and told of afterwards.",
            format::machine(until)
        ));
    }
    if !settings.enabled {
        reasons.push("It is off: it is not run.".to_owned());
    }
    reasons
}

/// Shows the page.
///
/// # Errors
/// When there is no such probe.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let view = fill_one(Source::of(&state), &id).await?;
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// Asks once, now, from the controller, and tells what came of it.
///
/// # Errors
/// When there is no such probe, a host runs it, or after too many tries.
pub async fn try_now(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let known = fill::known(&id).ok_or_else(|| Problem::not_found("probe"))?;
    let probe = probes::get(&mut *state.db.reader().await?, known).await?;
    let outcome = try_once(&state, &probe.settings, &principal.actor()).await?;
    state.say(&principal, shown(Some(outcome.state()), true).0, tried(&outcome));
    Ok(see_other(&format!("{PATH}/{id}")))
}

/// What came of a try by hand.
#[must_use]
pub fn tried(outcome: &Outcome) -> String {
    let took =
        outcome.micros.map(|micros| format!(", {:.1} ms", micros as f64 / 1_000.0)).unwrap_or_default();
    format!("Tried once: {}{took}", says(outcome))
}

/// Removes the probe.
///
/// # Errors
/// When there is no such probe.
pub async fn remove(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let known = fill::known(&id).ok_or_else(|| Problem::not_found("probe"))?;
    let gone = state.probes.remove(known, &principal.actor()).await?;
    state.say(&principal, State::Ok, format!("{} is removed", gone.settings.name));
    Ok(see_other(PATH))
}
