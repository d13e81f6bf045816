//! Runs: everything that was asked of a host, newest first.

pub mod fill;

use axum::extract;
use axum::response::Response;
use maud::{Markup, html};

use super::shared::{HostRef, RunLine, run_state};
use super::source::Source;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::state::AppState;
use crate::web::widgets::list::{Paging, segments, table};
use crate::web::widgets::query::Query;
use crate::web::widgets::risk::risk;
use crate::web::widgets::state::{Size, shape_named};
use crate::web::widgets::{format, icon_small, icons, note, page_head};

const PATH: &str = "/runs";

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct RunsView {
    /// Runs on this part of the list.
    pub rows: Vec<RunLine>,
    /// The host that the list is narrowed to.
    pub host: Option<HostRef>,
    /// The address: `show` (`all`, `open`, `failed`), `host`, `after`.
    pub query: Query,
    /// Newer and older parts.
    pub paging: Paging,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &RunsView) -> Page {
    Page::new("Runs", Fragment(body(ctx, view))).live("/events/runs")
}

fn body(ctx: &Ctx, view: &RunsView) -> Markup {
    let show = view.query.get("show").unwrap_or("all");
    let choices: Vec<_> = [("all", "All"), ("open", "Under way"), ("failed", "Went wrong")]
        .iter()
        .map(|(value, words)| (view.query.set("show", value).href(PATH), html! { (words) }, show == *value))
        .collect();
    html! {
        (page_head("Runs", html! { "What was asked of hosts, by rules and by people, and what came of it." }, segments("Which", &choices)))
        @if let Some(host) = &view.host {
            div class="row-x wrap filters" {
                span class="fchip on" {
                    span { "host" } " " b { (host.name) }
                    a href=(view.query.without_key("host").href(PATH)) aria-label={ "Remove filter host " (host.name) } { (icon_small(icons::X)) }
                }
            }
        }
        section.card aria-label="Runs" {
            @if view.rows.is_empty() {
                (note::empty(icons::HISTORY, "No runs here", "A repair that was approved, or that an assignment lets run by itself, appears here.",
                    html! { a.btn href="/approvals" { "What waits" } }))
            } @else {
                (table("Runs, newest first", head(), html! { @for row in &view.rows { (row.row(ctx.now_ms)) } }))
                (view.paging.draw())
            }
        }
    }
}

fn head() -> Markup {
    html! {
        th { "Run" } th { "Host" } th { "State" } th { "Decided" } th { "Risk" } th.r { "Exit" } th.r { "Took" } th.r { "Asked" }
    }
}

impl RunLine {
    fn row(&self, now: i64) -> Markup {
        let (state, words) = run_state(self.state);
        html! {
            tr data-row {
                td { span.row-x { (shape_named(state, Size::Row, words)) a.b href=(self.href()) { (self.title) } } }
                td data-k="Host" { (self.host.link()) }
                td.wr data-k="State" { (words) @if !self.detail.is_empty() { div class="small t3 no-phone" { (self.detail) } } }
                td class="t2 no-phone" { (self.by) }
                td.no-phone { (risk(self.risk)) }
                td class="r no-phone" { (self.exit.map_or_else(|| "–".to_owned(), |exit| exit.to_string())) }
                td.r data-k="Took" { (self.took_ms.map_or_else(|| "–".to_owned(), format::duration)) }
                td class="r t3 no-phone" { (format::when(now, self.at_ms)) }
            }
        }
    }
}

/// Shows the page.
///
/// # Errors
/// Only the store's.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
) -> Result<Response, Problem> {
    let view = fill::fill(Source::of(&state), Query::parse(&frame.ctx.query)).await?;
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}
