//! Incidents: open ones worst first, closed ones newest first.

pub mod fill;

use axum::extract;
use axum::response::Response;
use maud::{Markup, html};

use super::shared::{HostRef, IncidentLine, incident_href, incident_name, run_state};
use super::source::Source;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::state::AppState;
use crate::web::widgets::list::{Paging, segments, table};
use crate::web::widgets::query::Query;
use crate::web::widgets::state::{Size, State, shape_named};
use crate::web::widgets::{format, icon_small, icons, note, page_head};

const PATH: &str = "/incidents";

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct IncidentsView {
    /// Incidents on this part of the list.
    pub rows: Vec<IncidentLine>,
    /// Open incidents in all.
    pub open: u64,
    /// Incidents closed in the last 7 days.
    pub closed: u64,
    /// The host that the list is narrowed to.
    pub host: Option<HostRef>,
    /// The address: `show` (`open`, `closed`, `all`), `host`, `after`.
    pub query: Query,
    /// Newer and older parts.
    pub paging: Paging,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &IncidentsView) -> Page {
    Page::new("Incidents", Fragment(body(ctx, view))).live("/events/incidents")
}

fn body(ctx: &Ctx, view: &IncidentsView) -> Markup {
    let show = view.query.get("show").unwrap_or("open");
    let choice = |value: &str, words: String| {
        (view.query.set("show", value).href(PATH), html! { (words) }, show == value)
    };
    let choices = [
        choice("open", format!("Open {}", view.open)),
        choice("closed", format!("Closed, 7 days {}", format::count(view.closed))),
        choice("all", "All".to_owned()),
    ];
    let title = match view.open {
        0 => "No open incident".to_owned(),
        n => format::counted(n, "open incident", "open incidents"),
    };
    html! {
        (page_head(&title, html! { "Found by rules, without a model. One incident per cause, not per signal." }, segments("Which", &choices)))
        @if let Some(host) = &view.host {
            div class="row-x wrap filters" { (host_chip(view, host)) }
        }
        section.card aria-label="Incidents" {
            @if view.rows.is_empty() { (nothing(show)) }
            @else { (table("Incidents", head(), html! { @for row in &view.rows { (row.row(ctx.now_ms)) } })) (view.paging.draw()) }
        }
    }
}

fn nothing(show: &str) -> Markup {
    if show == "open" {
        let link = html! { a.btn href="/incidents?show=closed" { "Closed incidents" } };
        return note::empty(
            icons::MOOD_CHECK,
            "No open incident",
            "Failed units, full disks, OOM kills and silent hosts appear here within seconds.",
            link,
        );
    }
    note::empty(
        icons::URGENT,
        "No incident here",
        "Nothing went wrong in this time.",
        html! { a.btn href=(PATH) { "Open incidents" } },
    )
}

fn head() -> Markup {
    html! { th { "Incident" } th { "What is wrong" } th { "Host" } th { "Repair" } th.r { "Open for" } th.r { "Since" } }
}

/// The filter's chip shows the host's name; the address holds its id.
fn host_chip(view: &IncidentsView, host: &HostRef) -> Markup {
    html! {
        span class="fchip on" {
            span { "host" } " " b { (host.name) }
            a href=(view.query.without_key("host").href(PATH)) aria-label={ "Remove filter host " (host.name) } { (icon_small(icons::X)) }
        }
    }
}

impl IncidentLine {
    fn row(&self, now: i64) -> Markup {
        let closed = self.closed_ms.is_some();
        let (state, words) = if closed { (State::Ok, "closed") } else { (self.state, self.state.word()) };
        html! {
            tr data-row {
                td { span.row-x { (shape_named(state, Size::Row, words)) a.b href=(incident_href(self.id)) { (incident_name(self.id)) } } }
                td.wr { div { (self.title) } @if !self.detail.is_empty() { div class="small t3" { (self.detail) } } }
                td data-k="Host" { (self.host.link()) }
                td data-k="Repair" {
                    @match self.repair {
                        Some(repair) => {
                            @let (shape, words) = run_state(repair);
                            span.row-x { (shape_named(shape, Size::Small, "")) span.t2 { (words) } }
                        },
                        None => span.t3 { "–" },
                    }
                }
                td.r data-k="Open for" { (format::duration(self.closed_ms.unwrap_or(now) - self.opened_ms)) }
                td class="r t3 no-phone" { (format::when(now, self.opened_ms)) }
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
