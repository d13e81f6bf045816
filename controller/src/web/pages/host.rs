//! One host: charts of every group of metrics, processes, units, what may be done, what happened.

pub mod charts;
pub mod processes;
pub mod series;
pub mod side;

pub mod fill;

use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::probes::ProbeRow;
use super::shared::HostRef;
use super::shared::{IncidentLine, RunLine, incident_href, incident_name};
use super::source::Source;
use crate::decide;
use crate::store::assignments::Selector;
use crate::store::hosts;
use crate::web::admit::see_other;
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::Form;
use crate::web::layout::{Ctx, Fragment, Page, html_response, is_partial};
use crate::web::state::AppState;
use crate::web::widgets::query::Query;
use crate::web::widgets::state::{Size, State, chip, shape};
use crate::web::widgets::{card, format, icon_small, icons, label_tag, note};

use charts::Range;
use processes::{Order, ProcessTable};
use side::{Grants, UnitRow};

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct HostView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its worst state.
    pub state: State,
    /// The state in words with its length: `Critical for 2 min`.
    pub state_words: String,
    /// Labels, key and value.
    pub labels: Vec<(String, String)>,
    /// `Debian 12.9`, `kernel 6.1.0-40`, `4 CPUs`, `8 GiB`.
    pub facts: Vec<String>,
    /// `agent 1.4.2 over QUIC`, or how else it is reached.
    pub link: String,
    /// When it was last heard of, ms UTC.
    pub seen_ms: Option<i64>,
    /// Difference of its clock to ours in ms; shown when it is more than 2 s.
    pub clock_offset_ms: Option<i64>,
    /// The worst open incident.
    pub open: Option<OpenIncident>,
    /// What the charts cover.
    pub range: Range,
    /// Cores, for the load's limit.
    pub cores: Option<u32>,
    /// Shares of a file system at which rules warn and call it critical.
    pub disk_limits: Option<(f64, f64)>,
    /// Top processes.
    pub processes: ProcessTable,
    /// Services, failed ones first.
    pub units: Vec<UnitRow>,
    /// Services in all.
    pub units_total: u64,
    /// What its owner allows.
    pub grants: Grants,
    /// Probes of it, failing ones first.
    pub probes: Vec<ProbeRow>,
    /// Incidents of late, newest first.
    pub incidents: Vec<IncidentLine>,
    /// Runs of late, newest first.
    pub runs: Vec<RunLine>,
    /// Whether the person may start actions here.
    pub may_run: bool,
    /// Whether the person may make rules.
    pub may_rule: bool,
}

/// An open incident, as its host's page announces it.
#[derive(Debug, Clone)]
pub struct OpenIncident {
    /// Its number.
    pub id: i64,
    /// What is wrong.
    pub title: String,
    /// Why, in one sentence.
    pub cause: String,
    /// Critical, warning or notice.
    pub state: State,
    /// Whether a repair waits for a decision.
    pub waits: bool,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &HostView) -> Page {
    Page::new(view.name.clone(), Fragment(body(ctx, view)))
        .below("Hosts", "/hosts")
        .live(format!("/events/hosts/{}", view.id))
        .with_charts()
}

fn body(ctx: &Ctx, view: &HostView) -> Markup {
    let now = ctx.now_ms;
    html! {
        (head(ctx, view))
        div class="grid host" {
            div class="c9 stack" {
                @if let Some(open) = &view.open { (open.banner()) }
                (charts::card(view))
                (processes::card(&view.id, &view.processes, now))
            }
            div class="c3 stack" {
                (side::units(view, now))
                (side::grants(ctx, view))
                (side::probes(ctx, view))
                (incidents(view, now))
                (runs(view, now))
            }
        }
    }
}

fn head(ctx: &Ctx, view: &HostView) -> Markup {
    let skew = view.clock_offset_ms.filter(|offset| offset.abs() > 2_000);
    html! {
        div.head {
            div.grow {
                div class="row-x wrap" {
                    (shape(view.state, Size::Huge))
                    h1 { (view.name) }
                    @if view.state != State::Ok { (chip(view.state, &view.state_words)) }
                    @for (key, value) in &view.labels { (label_tag(key, value)) }
                }
                p class="t3 small" {
                    @for fact in &view.facts { (fact) " · " }
                    (view.link) ", seen "
                    @match view.seen_ms { Some(ms) => { (format::ago(ctx.now_ms, ms)) " ago" }, None => "never" }
                    @if let Some(offset) = skew { " · " span class="c-warn b" { "its clock is " (format::duration(offset.abs())) (if offset > 0 { " ahead" } else { " behind" }) } }
                }
            }
            div.acts {
                @if view.may_run {
                    a class="btn pri" href={ "/runs/new?host=" (view.id) } { (icon_small(icons::BOLT)) "Run action" }
                }
            }
        }
    }
}

impl OpenIncident {
    fn banner(&self) -> Markup {
        let words = html! {
            div.b { a class=(self.state.text_class()) href=(incident_href(self.id)) { (incident_name(self.id)) } " " (self.title) }
            p class="small t2" { (self.cause) @if self.waits { " A repair waits for approval." } }
        };
        let button = html! {
            a class=(if self.waits { "btn s pri" } else { "btn s" }) href=(incident_href(self.id)) {
                (if self.waits { "Review and decide" } else { "Open" })
            }
        };
        note::callout(self.state, words, Some(button))
    }
}

fn incidents(view: &HostView, now: i64) -> Markup {
    let body = html! {
        @for incident in &view.incidents { (incident.line(now)) }
        @if view.incidents.is_empty() { p class="cb small t3" { "None in the last 7 days." } }
    };
    let all = html! { div.acts { a.small href={ "/incidents?show=all&host=" (view.id) } { "All" } } };
    card("host-incidents", "Incidents", all, body)
}

fn runs(view: &HostView, now: i64) -> Markup {
    let body = html! {
        @for run in &view.runs { (run.line(now, false)) }
        @if view.runs.is_empty() { p class="cb small t3" { "Nothing was run here yet." } }
    };
    let all = html! { div.acts { a.small href={ "/runs?host=" (view.id) } { "All" } } };
    card("host-runs", "Runs", all, body)
}

/// Leads from a row to a rule that says that it must run.
fn must_run(kind: &str, what: &str, host: &str) -> Markup {
    let query = Query::default().with("kind", kind).with("what", what).with("host", host);
    html! {
        a class="btn s gho" href=(query.href("/rules/new")) aria-label={ "Make a rule: " (what) " must run" } { "Must run…" }
    }
}

/// Shows the page.
///
/// # Errors
/// When there is no such host.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let query = Query::parse(&frame.ctx.query);
    let number = |key| query.get(key).and_then(|text| text.parse().ok());
    let range = Range::from_query(query.get("range"), number("from"), number("to"));
    let view = fill::fill(Source::of(&state), known(&id)?, range, principal.role).await?;
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// Shows the processes, now or as they were: a part for htmx, a page otherwise.
///
/// # Errors
/// When there is no such host.
pub async fn show_processes(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (source, query) = (Source::of(&state), Query::parse(&frame.ctx.query));
    let host = hosts::get(&state.db, known(&id)?).await?;
    let order = Order::from_value(query.get("sort"));
    let at = query.get("at").and_then(|text| text.parse().ok()).map(UnixMs);
    let mut table = fill::processes(source, host.id, order, at).await?;
    table.may_rule = frame.ctx.user.as_ref().is_some_and(|user| user.may_operate);
    if is_partial(&frame.headers) {
        return Ok(html_response(StatusCode::OK, processes::card(&id, &table, frame.ctx.now_ms)));
    }
    let host = HostRef { id, name: host.name };
    let body = Fragment(processes::alone(&host, &table, frame.ctx.now_ms));
    let page = Page::new("Processes", body).below("Hosts", "/hosts").below(&host.name, &host.href());
    Ok(page.answer(&frame.ctx, &frame.headers))
}

/// Shows series as a table.
///
/// # Errors
/// When there is no such host.
pub async fn show_series(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let query = Query::parse(&frame.ctx.query);
    let view = series::fill(Source::of(&state), known(&id)?, &query).await?;
    Ok(series::page(frame.ctx.now_ms, &view).answer(&frame.ctx, &frame.headers))
}

/// An admin's word on whether an action runs by itself here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assign {
    action: String,
    /// `on` or `off`.
    automatic: String,
}

/// Sets the assignment of an action to this host.
///
/// # Errors
/// When there is no such host or action.
pub async fn assign(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    Path(id): Path<String>,
    Form(form): Form<Assign>,
) -> Result<Response, Problem> {
    let selector = Selector::Host(known(&id)?);
    let automatic = form.automatic == "on";
    decide::set_assignment(&state.decide(), &selector, &form.action, automatic, &principal.person()).await?;
    let how = if automatic { "runs by itself here if the owner allows it" } else { "asks first" };
    state.say(&principal, State::Ok, format!("{}: {how}", form.action));
    Ok(see_other(&format!("/hosts/{id}#grants")))
}

fn known(id: &str) -> Result<HostId, Problem> {
    id.parse().map_err(|_| Problem::not_found("host"))
}
