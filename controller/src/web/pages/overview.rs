//! Overview: what needs a person first, then the fleet, then what was done.

pub mod fill;

use axum::extract;
use axum::response::Response;
use maud::{Markup, html};
use sysop_common::action::Risk;

use super::hosts::HostRow;
use super::shared::RunLine;
use super::source::Source;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::state::AppState;
use crate::web::widgets::bar::Spark;
use crate::web::widgets::state::{Size, State, chip, shape, shape_named};
use crate::web::widgets::{card, format, icon_small, icons, note, page_head, risk};

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct OverviewView {
    /// Since when deleting by age waits for somebody to confirm the clock, ms UTC.
    pub held_ms: Option<i64>,
    /// Known hosts.
    pub hosts: u64,
    /// Hosts with nothing wrong.
    pub healthy: u64,
    /// Hosts that send samples now.
    pub reporting: u64,
    /// Names of those that do not, a few.
    pub missing: Vec<String>,
    /// Proposals that wait for a person.
    pub waiting: u64,
    /// How long the oldest of them waits, in ms.
    pub oldest_wait_ms: Option<i64>,
    /// Open incidents: all, critical, warning.
    pub incidents: (u64, u64, u64),
    /// Repairs of the last 24 h: all, verified.
    pub repairs: (u64, u64),
    /// Median time from the first sign to the verified repair, last 24 h, in ms.
    pub time_to_repair_ms: Option<i64>,
    /// Stretches without samples in the last 24 h.
    pub gaps: u64,
    /// What needs attention, worst first.
    pub attention: Vec<Attention>,
    /// The fleet by a label, as a heat map.
    pub fleet: Vec<HeatGroup>,
    /// The hosts of a small fleet, shown as cards in place of the heat map.
    pub cards: Vec<HostRow>,
    /// Runs that ended lately, newest first.
    pub recent: Vec<RunLine>,
}

/// One thing that needs attention.
#[derive(Debug, Clone)]
pub struct Attention {
    /// Shape before it.
    pub state: State,
    /// What is wrong and where, as a link.
    pub title: String,
    /// Where the link and the button lead.
    pub href: String,
    /// Why, in one or two sentences.
    pub why: String,
    /// `Critical, 2 min`.
    pub chip: String,
    /// `INC-1042`, `4 signals`.
    pub notes: Vec<String>,
    /// Computed risk of the repair, if one is proposed.
    pub risk: Option<Risk>,
    /// The line that shows it, old to new; empty for none.
    pub line: Vec<Option<f32>>,
    /// What the line says: `/var of web-07, 71 to 98 percent in 14 minutes`.
    pub line_says: String,
    /// Words on the button: `Review and decide`, `Open host`.
    pub button: String,
    /// Whether it waits for a decision.
    pub decide: bool,
}

/// Hosts that share a label's value.
#[derive(Debug, Clone)]
pub struct HeatGroup {
    /// The value, or `all hosts`.
    pub name: String,
    /// Address of these hosts.
    pub href: String,
    /// The hosts.
    pub cells: Vec<HeatCell>,
}

/// A host in the heat map.
#[derive(Debug, Clone)]
pub struct HeatCell {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What distinguishes it within its group, at most four characters.
    pub short: String,
    /// Its state; only healthy ones are coloured by load.
    pub state: State,
    /// Its busiest resource, 0 to 1.
    pub busiest: Option<f64>,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &OverviewView) -> Page {
    Page::new("Overview", Fragment(body(ctx, view))).live("/events/overview")
}

fn body(ctx: &Ctx, view: &OverviewView) -> Markup {
    let add = ctx.user.as_ref().is_some_and(|user| user.may_add_hosts);
    let actions = html! {
        a class="btn no-phone" href="/hosts" { (icon_small(icons::TABLE)) "All hosts" }
        @if add { a class="btn no-phone" href="/hosts/new" { (icon_small(icons::PLUS)) "Add host" } }
    };
    html! {
        (page_head(&sentence(view), html! { (format::sentence(ctx.now_ms)) }, actions))
        @if let Some(since) = view.held_ms { div.below { (super::retention::held_notice(ctx, since)) } }
        div.grid {
            div class="c8 stack" {
                (attention(view))
                @if view.hosts > 0 { (fleet(view, ctx.now_ms)) }
                @if add && view.hosts <= 1 { (first_steps()) }
            }
            div class="c4 stack" { (figures(view)) (recent(ctx, view)) }
        }
    }
}

/// The title: what waits, and how many are well.
fn sentence(view: &OverviewView) -> String {
    let waits = match view.waiting {
        0 => String::new(),
        1 => "One decision waits for you. ".to_owned(),
        2 => "Two decisions wait for you. ".to_owned(),
        3 => "Three decisions wait for you. ".to_owned(),
        n => format!("{n} decisions wait for you. "),
    };
    let health = match (view.healthy, view.hosts) {
        (_, 0) => "No hosts yet.".to_owned(),
        (1, 1) => "The one host is healthy.".to_owned(),
        (0, 1) => "The one host needs attention.".to_owned(),
        (healthy, all) if healthy == all => format!("All {} hosts are healthy.", format::count(all)),
        (healthy, all) => format!("{} of {} hosts are healthy.", format::count(healthy), format::count(all)),
    };
    format!("{waits}{health}")
}

fn attention(view: &OverviewView) -> Markup {
    let count = view.attention.len() as u64;
    let aside = html! { @if count > 0 { (chip(State::Crit, &count.to_string())) } };
    let rows = html! {
        @if view.hosts == 0 {
            (note::empty(icons::SERVER_2, "No hosts yet", "The first one takes one line and about 10 s.",
                html! { a class="btn pri" href="/hosts/new" { "Add a host" } }))
        } @else if view.attention.is_empty() {
            (note::empty(icons::MOOD_CHECK, "Nothing needs you", "No open incident, nothing waits for approval.",
                html! { a.btn href="/incidents?show=closed" { "Closed incidents" } }))
        }
        @for (at, item) in view.attention.iter().enumerate() { (item.draw(at == 0)) }
    };
    card("attention", "Needs attention", aside, rows)
}

impl Attention {
    fn draw(&self, first: bool) -> Markup {
        let lead = first && matches!(self.state, State::Crit | State::Wait);
        let line_class = match self.state {
            State::Crit => "crit",
            State::Warn => "warn",
            _ => "",
        };
        html! {
            article class=(if first && self.state == State::Crit { "att first" } else { "att" }) data-row {
                (shape(self.state, Size::Large))
                div {
                    div.ttl { a href=(self.href) { (self.title) } }
                    p.why { (self.why) }
                    div.meta {
                        (chip(self.state, &self.chip))
                        @if let Some(level) = self.risk { (risk::risk(level)) }
                        @for words in &self.notes { span { (words) } }
                        @if self.decide { span.row-x { (shape_named(State::Wait, Size::Small, "")) "repair waits for approval" } }
                    }
                }
                div.do {
                    @if self.line.len() > 1 {
                        (Spark { points: &self.line, size: (132, 34), top: None, stretch: false, class: line_class,
                            label: Some(&self.line_says) }.draw())
                    }
                    a class=(if lead { "btn s pri" } else { "btn s" }) href=(self.href) { (self.button) }
                }
            }
        }
    }
}

fn fleet(view: &OverviewView, now: i64) -> Markup {
    if !view.cards.is_empty() {
        let cards = html! { div class="cb hcards" { @for row in &view.cards { (row.card(now)) } } };
        return card(
            "fleet",
            "Fleet",
            html! { span class="t3 small" { (format::counted(view.hosts, "host", "hosts")) } },
            cards,
        );
    }
    let body = html! {
        div class="cb stack" {
            div.heat {
                @for group in &view.fleet {
                    div.hrow {
                        a class="small t2 row-x" href=(group.href) { span { (group.name) } span class="t3 num" { (group.cells.len()) } }
                        div.cells { @for cell in &group.cells { (cell.draw()) } }
                    }
                }
            }
            div.hl {
                span { "Busiest resource" } span { "0 %" } (ramp()) span { "100 %" }
                @for (state, words) in [(State::Crit, "critical"), (State::Warn, "warning"), (State::Wait, "waits for you"), (State::Off, "no data")] {
                    span.row-x { (shape_named(state, Size::Small, "")) (words) }
                }
            }
        }
    };
    card(
        "fleet",
        "Fleet",
        html! { span class="t3 small" { (format::counted(view.hosts, "host", "hosts")) } },
        body,
    )
}

impl HeatCell {
    fn draw(&self) -> Markup {
        let step = match self.busiest {
            Some(b) if b >= 0.8 => "hc x4",
            Some(b) if b >= 0.6 => "hc x3",
            Some(b) if b >= 0.4 => "hc x2",
            Some(b) if b >= 0.2 => "hc x1",
            _ => "hc",
        };
        let busy =
            self.busiest.map(|b| format!(", busiest resource {}", format::percent(b))).unwrap_or_default();
        let says = format!("{}: {}{busy}", self.name, self.state.word());
        html! {
            @if self.state == State::Ok {
                a class=(step) href={ "/hosts/" (self.id) } title=(says) { (self.short) }
            } @else {
                a class={ "hc " (self.state.class()) } href={ "/hosts/" (self.id) } title=(says) {
                    (self.short) (shape(self.state, Size::Row))
                }
            }
        }
    }
}

fn ramp() -> Markup {
    html! {
        svg.ramp aria-hidden="true" {
            @for (at, class) in ["h0", "h1", "h2", "h3", "h4"].iter().enumerate() {
                rect class=(class) x={ (at * 20) "%" } width="20%" height="10" {}
            }
        }
    }
}

fn figures(view: &OverviewView) -> Markup {
    let (all, critical, warning) = view.incidents;
    let missing = match view.missing.as_slice() {
        [] => "all of them".to_owned(),
        [one] => format!("{one} missing"),
        [one, rest @ ..] => format!("{one} and {} more missing", rest.len()),
    };
    html! {
        section.kf aria-label="Key figures, last 24 hours" {
            a href="/hosts" {
                span.k { "Reporting now" }
                span.v { (format::count(view.reporting)) small { " of " (format::count(view.hosts)) } }
                span.d { (missing) }
            }
            a href="/incidents" {
                span.k { "Open incidents" }
                span.v { (format::count(all)) }
                span.d { (critical) " critical, " (warning) " warning" }
            }
            a href="/runs" {
                span.k { "Repairs, 24 h" }
                span.v { (format::count(view.repairs.0)) }
                span.d { (format::count(view.repairs.1)) " verified" }
            }
            a href="/runs" {
                span.k { "Time to repair" }
                span.v { (view.time_to_repair_ms.map_or_else(|| "–".to_owned(), format::duration)) }
                span.d { "median, first sign to verified" }
            }
            a href="/hosts" {
                span.k { "Data gaps, 24 h" }
                span.v { (format::count(view.gaps)) }
                span.d { @if view.gaps == 0 { "no sample lost" } @else { "each with its reason" } }
            }
            a href="/approvals" {
                span.k { "Waiting for you" }
                span class=(if view.waiting > 0 { "v c-wait" } else { "v" }) { (format::count(view.waiting)) }
                span.d { @if let Some(ms) = view.oldest_wait_ms { "oldest " (format::duration(ms)) } @else { "nothing" } }
            }
        }
    }
}

fn recent(ctx: &Ctx, view: &OverviewView) -> Markup {
    let aside = html! { div.acts { a.small href="/runs" { "All runs" } } };
    let rows = html! {
        @for run in &view.recent { (run.line(ctx.now_ms, true)) }
        @if view.recent.is_empty() { p class="cb small t3" { "Nothing was run yet." } }
    };
    card("recent", "Recent actions", aside, rows)
}

fn first_steps() -> Markup {
    let button = html! { a class="btn s" href="/hosts/new" { "Add a host" } };
    let words = html! {
        b { "Only this controller's own machine is watched." }
        " A second host takes one line on it, and about 10 s."
    };
    note::callout(State::Info, words, Some(button))
}

/// Shows the page.
///
/// # Errors
/// Only the store's.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
) -> Result<Response, Problem> {
    let view = fill::fill(Source::of(&state)).await?;
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}
