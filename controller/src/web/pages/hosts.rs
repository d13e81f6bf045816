//! Fleet: all hosts as a table or as cards, worst first; filters and order live in the address.

pub mod fill;

use axum::extract;
use axum::response::Response;
use maud::{Markup, html};

use super::source::Source;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::state::AppState;
use crate::web::widgets::bar::{self, Spark};
use crate::web::widgets::list::{Paging, filter_chip, segments, sort_head, table};
use crate::web::widgets::query::Query;
use crate::web::widgets::state::{Size, State, shape};
use crate::web::widgets::{format, icon_small, icons, label_tag, note, page_head};

const PATH: &str = "/hosts";

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct HostsView {
    /// Hosts on this part of the list.
    pub rows: Vec<HostRow>,
    /// Hosts that match.
    pub matching: u64,
    /// Hosts in all.
    pub total: u64,
    /// The address: `q`, `state`, `label` (several), `sort`, `view`, `after`.
    pub query: Query,
    /// Newer and older parts.
    pub paging: Paging,
}

/// A host in the list.
#[derive(Debug, Clone, Default)]
pub struct HostRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its worst state.
    pub state: State,
    /// Labels, key and value.
    pub labels: Vec<(String, String)>,
    /// What is wrong, in one line; empty when nothing is.
    pub problem: String,
    /// CPU in use over the last ten minutes, old to new.
    pub cpu_line: Vec<Option<f32>>,
    /// CPU in use now, 0 to 1.
    pub cpu: Option<f64>,
    /// Memory in use, 0 to 1.
    pub memory: Option<f64>,
    /// Fullest file system: mount point and share.
    pub disk: Option<(String, f64)>,
    /// Bytes per second out and in.
    pub network: Option<(f64, f64)>,
    /// Share of time in which some work stood still for I/O.
    pub pressure_io: Option<f64>,
    /// What may be done there: `watch only`, `units, temp files`.
    pub may_do: String,
    /// How it is reached: `QUIC`, `TLS`, `SSH`; empty when it is not.
    pub link: String,
    /// When it was last heard of, ms UTC.
    pub seen_ms: Option<i64>,
    /// Time since its boot in ms.
    pub uptime_ms: Option<i64>,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &HostsView) -> Page {
    Page::new("Hosts", Fragment(body(ctx, view))).live(view.query.href("/events/hosts"))
}

fn body(ctx: &Ctx, view: &HostsView) -> Markup {
    let cards = view.query.get("view") == Some("cards");
    let add = ctx.user.as_ref().is_some_and(|user| user.may_add_hosts);
    let below = if view.matching == view.total {
        format!("{}. Those that need attention come first.", format::counted(view.total, "host", "hosts"))
    } else {
        format!(
            "{} of {} hosts match. The address bar holds this view.",
            format::count(view.matching),
            format::count(view.total)
        )
    };
    let views = [
        (view.query.without_key("view").href(PATH), html! { (icon_small(icons::TABLE)) "Table" }, !cards),
        (
            view.query.set("view", "cards").href(PATH),
            html! { (icon_small(icons::LAYOUT_GRID)) "Cards" },
            cards,
        ),
    ];
    let actions = html! {
        (segments("View", &views))
        @if add { a class="btn pri" href="/hosts/new" { (icon_small(icons::PLUS)) "Add host" } }
    };
    html! {
        (page_head("Hosts", html! { (below) }, actions))
        (filters(view))
        @if view.rows.is_empty() { (nothing(view)) }
        @else if cards { div.hcards { @for row in &view.rows { (row.card(ctx.now_ms)) } } section class="card below" { (view.paging.draw()) } }
        @else { (rows(ctx, view)) }
    }
}

fn filters(view: &HostsView) -> Markup {
    let query = &view.query;
    let states =
        [("", "any"), ("attention", "needs attention"), ("healthy", "healthy"), ("offline", "no data")];
    let now = query.get("state").unwrap_or_default();
    html! {
        div class="row-x wrap filters" role="group" aria-label="Filters" {
            form class="row-x wrap" action=(PATH) {
                label {
                    span.vh { "Search hosts" }
                    input class="inp small" type="search" name="q" value=[query.get("q")] placeholder="Name, label, address" size="20";
                }
                label {
                    span.vh { "State" }
                    select class="inp small" name="state" data-apply {
                        @for (value, words) in states { option value=(value) selected[value == now] { "State: " (words) } }
                    }
                }
                @for (key, value) in query.0.iter().filter(|(key, _)| !matches!(key.as_str(), "q" | "state" | "after")) {
                    input type="hidden" name=(key) value=(value);
                }
                button class="btn s no-phone" { "Filter" }
            }
            @for (key, value) in &query.0 {
                @match key.as_str() {
                    "label" => {
                        @let (name, wanted) = value.split_once('=').unwrap_or(("label", value));
                        (filter_chip(PATH, query, key, name, wanted))
                    },
                    "q" if !value.is_empty() => (filter_chip(PATH, query, key, "contains", value)),
                    _ => {},
                }
            }
        }
    }
}

fn nothing(view: &HostsView) -> Markup {
    html! {
        section.card {
            @if view.total == 0 {
                (note::empty(icons::SERVER_2, "No hosts yet", "The first one takes one line on it, and about 10 s.",
                    html! { a class="btn pri" href="/hosts/new" { "Add a host" } }))
            } @else {
                (note::empty(icons::FILTER_OFF, "No host matches", &format!("These filters match none of {} hosts.", format::count(view.total)),
                    html! { a class="btn pri" href=(PATH) { "Clear all filters" } }))
            }
        }
    }
}

fn rows(ctx: &Ctx, view: &HostsView) -> Markup {
    let sort = |key, words, right| sort_head(PATH, &view.query, key, words, right);
    let head = html! {
        (sort("name", "Host", false)) th { "What is wrong" } (sort("cpu", "CPU, 10 min", false))
        (sort("memory", "Memory", false)) (sort("disk", "Fullest disk", false)) (sort("net", "Net out / in", true))
        th.r title="Share of time in which some work stood still for I/O" { "PSI io" } th { "May do" } th { "Link, seen" }
    };
    let body = html! { @for row in &view.rows { (row.row(ctx.now_ms)) } };
    html! { section.card aria-label="Hosts" { (table("Hosts, worst first", head, body)) (view.paging.draw()) } }
}

fn dash() -> Markup {
    html! { span.t3 { "–" } }
}

impl HostRow {
    fn href(&self) -> String {
        format!("/hosts/{}", self.id)
    }

    fn spark(&self, size: (u16, u16), stretch: bool) -> Markup {
        let class = if self.cpu.is_none() { "off" } else { "" };
        Spark { points: &self.cpu_line, size, top: Some(1.0), stretch, class, label: None }.draw()
    }

    fn row(&self, now: i64) -> Markup {
        let problem = match self.state {
            State::Crit => "c-crit",
            State::Warn => "c-warn",
            _ => "t2",
        };
        html! {
            tr data-row id={ "host-" (self.id) } {
                td {
                    span.row-x {
                        (shape(self.state, Size::Row)) a.b href=(self.href()) { (self.name) }
                        span.grow {} span class="row-x tags" { @for (key, value) in self.labels.iter().take(2) { (label_tag(key, value)) } }
                    }
                }
                td class=(problem) { @if self.problem.is_empty() { span class="t3 no-phone" { "–" } } @else { div class="ell wrong" title=(self.problem) { (self.problem) } } }
                td data-k="CPU" {
                    span class="row-x num" {
                        span.no-phone { (self.spark((52, 22), false)) }
                        @match self.cpu { Some(cpu) => span class=(bar::level_text(cpu)) { (format::percent(cpu)) }, None => (dash()) }
                    }
                }
                td.num data-k="Memory" {
                    @match self.memory {
                        Some(used) => { (bar::short(used)) " " span class=(bar::level_text(used)) { (format::percent(used)) } },
                        None => (dash()),
                    }
                }
                td.num data-k="Fullest disk" {
                    @match &self.disk {
                        Some((_, used)) if self.link.is_empty() => span.t3 {
                            (format::percent(*used)) @if let Some(ms) = self.seen_ms { " at " (format::clock(ms).trim_end_matches(|c| c != ':').trim_end_matches(':')) }
                        },
                        Some((mount, used)) => {
                            (bar::short(*used)) " " span class=(bar::level_text(*used)) { (format::percent(*used)) }
                            " " span class="t3 small mono" title=(mount) { (shortened(mount)) }
                        },
                        None => (dash()),
                    }
                }
                td class="r no-phone" {
                    @match self.network { Some((out, inward)) => (format::rates(out, inward)), None => (dash()) }
                }
                td class={ "r no-phone " (if self.pressure_io.is_some_and(|p| p > 0.2) { "c-crit b" } else { "" }) } {
                    @match self.pressure_io { Some(share) => (format::percent(share)), None => (dash()) }
                }
                td class="no-phone t2" { div class="ell may" title=(self.may_do) { (self.may_do) } }
                td.no-phone { (self.seen(now)) }
            }
        }
    }

    fn seen(&self, now: i64) -> Markup {
        html! {
            @if self.link.is_empty() { span.chip { "lost" } } @else { span.t2 { (self.link) } }
            " " span.t3 { @match self.seen_ms { Some(ms) => (format::ago(now, ms)), None => "never" } }
        }
    }

    /// It as a card.
    #[must_use]
    pub fn card(&self, now: i64) -> Markup {
        let class = match self.state {
            State::Crit => "card hcard crit",
            State::Warn => "card hcard warn",
            State::Off => "card hcard off",
            _ => "card hcard",
        };
        let problem = match self.state {
            State::Crit => "small ell c-crit b",
            State::Warn => "small ell c-warn b",
            _ => "small ell t3",
        };
        let up = self
            .uptime_ms
            .map(|ms| format!("Healthy. Up {}", format::age(ms)))
            .unwrap_or_else(|| "Healthy".to_owned());
        html! {
            a class=(class) href=(self.href()) data-row id={ "host-" (self.id) } {
                div.row-x {
                    (shape(self.state, Size::Row)) b.ell { (self.name) }
                    span class="t3 small ell" { (self.labels.iter().take(2).map(|(_, v)| v.as_str()).collect::<Vec<_>>().join(", ")) }
                    span.grow {} span class="tiny t3 nowrap" { (self.seen(now)) }
                }
                div class=(problem) { @if self.problem.is_empty() { (up) } @else { (self.problem) } }
                (self.measures())
            }
        }
    }

    fn measures(&self) -> Markup {
        let measure = |words: &str, drawn: Markup, value: Option<f64>| {
            html! { div.m { span { (words) } (drawn) b { (value.map_or_else(|| "–".to_owned(), format::percent)) } } }
        };
        let full = |value: Option<f64>| bar::wide(value.unwrap_or_default(), value.map_or("off", bar::level));
        let disk = self.disk.as_ref().map(|(_, used)| *used);
        html! {
            (measure("CPU", self.spark((150, 22), true), self.cpu))
            (measure("Mem", full(self.memory), self.memory))
            (measure("Disk", full(disk), disk))
        }
    }
}

/// The end of a long mount point, where its meaning is.
fn shortened(mount: &str) -> String {
    match mount.rsplit_once('/') {
        Some((before, last)) if mount.chars().count() > 14 && !before.is_empty() => format!("…/{last}"),
        _ => mount.to_owned(),
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
