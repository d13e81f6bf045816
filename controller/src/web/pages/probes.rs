//! Probes: all of them with how they stand, and one by one why it is told of or not.

pub mod edit;
pub mod fill;
pub mod one;
pub mod sent;

use axum::extract;
use axum::response::Response;
use maud::{Markup, html};
use sysop_common::probe::ProbeState;

use super::source::Source;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::state::AppState;
use crate::web::widgets::bar::Spark;
use crate::web::widgets::state::{Size, State, shape_named};
use crate::web::widgets::{card, format, icon_small, icons, list, note, page_head};

/// Address of the list.
pub const PATH: &str = "/probes";

/// A probe by one of its runners, as the list shows it.
#[derive(Debug, Clone, Default)]
pub struct ProbeRow {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What it asks: kind and target.
    pub asks: String,
    /// Who runs it, in words.
    pub runner: String,
    /// How it stands; `None` before the first result.
    pub state: Option<ProbeState>,
    /// Whether it is told of.
    pub failing: bool,
    /// Whether it is run at all.
    pub enabled: bool,
    /// The last result in words.
    pub says: String,
    /// When, ms UTC.
    pub at_ms: Option<i64>,
    /// Time to the last answer, ms.
    pub took_ms: Option<f64>,
    /// Mean times of the last 24 h by quarters of an hour, ms.
    pub line: Vec<Option<f32>>,
    /// Share of answers in 24 h.
    pub uptime: Option<f64>,
}

/// What the list shows.
#[derive(Debug, Clone, Default)]
pub struct ProbesView {
    /// Failing ones first.
    pub rows: Vec<ProbeRow>,
}

/// Shape and word of how a probe stands.
#[must_use]
pub const fn shown(state: Option<ProbeState>, enabled: bool) -> (State, &'static str) {
    match (state, enabled) {
        (_, false) => (State::Off, "off"),
        (None, _) => (State::Off, "no result yet"),
        (Some(ProbeState::Up), _) => (State::Ok, "up"),
        (Some(ProbeState::Warning), _) => (State::Warn, "warning"),
        (Some(ProbeState::Down), _) => (State::Crit, "down"),
        (Some(ProbeState::Unknown), _) => (State::Off, "not known"),
        (Some(ProbeState::Refused), _) => (State::Maint, "refused"),
    }
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &ProbesView) -> Page {
    let may = ctx.user.as_ref().is_some_and(|user| user.may_operate);
    let below = html! { "Questions that are asked again and again, from the controller or from a host: does it answer, how fast, how long is its certificate good." };
    let add = html! {
        @if may { a class="btn pri" href="/probes/new" { (icon_small(icons::PLUS)) "Add a probe" } }
    };
    let body = html! {
        (page_head("Probes", below, add))
        (card("probes", "All probes", html! { span class="acts small t3" { (format::count(view.rows.len() as u64)) " in all" } }, table(ctx, view, may)))
    };
    Page::new("Probes", Fragment(body)).live("/events")
}

fn table(ctx: &Ctx, view: &ProbesView, may: bool) -> Markup {
    let head = html! {
        th { "State" } th { "Probe" } th { "From" } th { "Last result" } th.r { "Time" } th { "24 h" } th.r { "Up, 24 h" }
    };
    let rows = html! { @for row in &view.rows { (row.draw(ctx)) } };
    html! {
        @if view.rows.is_empty() {
            (note::empty(icons::HEARTBEAT, "No probe yet", "A probe asks a place of yours again and again and tells when it fails: a port, a page, a certificate, a name.",
                html! { @if may { a class="btn" href="/probes/new" { "Add a probe" } } }))
        } @else { (list::table("Probes, failing ones first", head, rows)) }
    }
}

impl ProbeRow {
    fn draw(&self, ctx: &Ctx) -> Markup {
        let (state, word) = shown(self.state, self.enabled);
        html! {
            tr data-row {
                td { span.row-x { (shape_named(state, Size::Row, "")) span class=(state.text_class()) { (word) } } }
                td { a.b href={ (PATH) "/" (self.id) } { (self.name) } div class="small t3 mono ell" { (self.asks) } }
                td data-k="From" { (self.runner) }
                td.wr data-k="Last result" {
                    (self.says)
                    @if let Some(ms) = self.at_ms { div class="small t3" { (format::ago(ctx.now_ms, ms)) " ago" } }
                }
                td class="num r" data-k="Time" { (took(self.took_ms)) }
                td data-k="24 h" { (self.spark()) }
                td class="num r" data-k="Up, 24 h" {
                    @match self.uptime { Some(share) => { (share_words(share)) }, None => { span.t3 { "–" } } }
                }
            }
        }
    }

    fn spark(&self) -> Markup {
        let worst = self.line.iter().flatten().copied().fold(0.0_f32, f32::max);
        let label = format!("Time to answer in the last 24 h, at most {worst:.0} ms");
        let class = if self.failing { "crit" } else { "" };
        html! {
            @if self.line.iter().flatten().count() > 1 {
                (Spark { points: &self.line, size: (96, 22), top: None, stretch: false, class, label: Some(&label) }.draw())
            } @else { span.t3 { "–" } }
        }
    }
}

/// A time to an answer.
#[must_use]
pub fn took(ms: Option<f64>) -> Markup {
    html! {
        @match ms {
            Some(ms) if ms < 10.0 => { (format!("{ms:.1} ms")) },
            Some(ms) => { (format!("{ms:.0} ms")) },
            None => { span.t3 { "–" } },
        }
    }
}

/// A share of time, never rounded up to all of it.
#[must_use]
pub fn share_words(share: f64) -> String {
    let percent = share * 100.0;
    if share < 1.0 { format!("{:.2} %", (percent * 100.0).floor() / 100.0) } else { "100 %".to_owned() }
}

/// Shows the page.
///
/// # Errors
/// Only the store's.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
) -> Result<Response, Problem> {
    let view = ProbesView { rows: fill::rows(Source::of(&state), |_, _| true).await? };
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}
