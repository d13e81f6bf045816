//! Top processes, as they are or as they were at a stored moment.

use maud::{Markup, html};

use crate::web::pages::shared::HostRef;
use crate::web::widgets::list::table;
use crate::web::widgets::{format, icon_small, icons};

/// By what the table is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// CPU time.
    #[default]
    Cpu,
    /// Resident memory.
    Memory,
    /// Bytes read and written.
    Io,
}

impl Order {
    /// Its value in the address.
    #[must_use]
    pub const fn value(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Io => "io",
        }
    }

    /// From the address; anything unknown is by CPU.
    #[must_use]
    pub fn from_value(value: Option<&str>) -> Self {
        match value {
            Some("memory") => Self::Memory,
            Some("io") => Self::Io,
            _ => Self::Cpu,
        }
    }
}

/// The table.
#[derive(Debug, Clone, Default)]
pub struct ProcessTable {
    /// Rows, already in order.
    pub rows: Vec<ProcessRow>,
    /// Processes on the host in all.
    pub total: Option<u64>,
    /// Order.
    pub order: Order,
    /// The moment shown, ms UTC; now when `None`.
    pub at_ms: Option<i64>,
    /// Whether rules may be made of its rows.
    pub may_rule: bool,
}

/// A process.
#[derive(Debug, Clone, Default)]
pub struct ProcessRow {
    /// Process id.
    pub pid: u32,
    /// Kernel's short name.
    pub name: String,
    /// Redacted command line.
    pub args: String,
    /// Owner.
    pub user: String,
    /// systemd unit; empty when it has none.
    pub unit: String,
    /// CPU in use, 1 for one whole core.
    pub cpu: Option<f64>,
    /// Resident memory in bytes.
    pub rss: u64,
    /// Bytes per second read and written; `None` when not observed.
    pub io: Option<(f64, f64)>,
    /// Age in ms.
    pub age_ms: Option<i64>,
    /// Whether an open incident names it.
    pub culprit: bool,
}

/// The card; also the fragment that a click on a chart brings.
#[must_use]
pub fn card(host: &str, view: &ProcessTable, now: i64) -> Markup {
    let base = format!("/hosts/{host}/processes");
    let address = |order: Order| match view.at_ms {
        Some(at) => format!("{base}?sort={}&at={at}", order.value()),
        None => format!("{base}?sort={}", order.value()),
    };
    let order = |order: Order, words: &str| (address(order), html! { (words) }, view.order == order);
    let orders = [order(Order::Cpu, "CPU"), order(Order::Memory, "Memory"), order(Order::Io, "Disk")];
    // A moment in the past stays when the page is brought up to date.
    let still = view.at_ms.is_some() || view.order != Order::Cpu;
    html! {
        section.card #processes aria-labelledby="processes-title" hx-morph-skip[still] {
            div.ch {
                h2 #processes-title { "Processes" }
                @if let Some(at) = view.at_ms {
                    span class="chip acc" { "as of " (format::full(now, at)) }
                    a class="btn s" href={ "/hosts/" (host) } hx-get=(base) hx-target="#processes" hx-swap="outerHTML" { "Live" }
                } @else { span class="t3 small" { "newest sample" } }
                div.acts hx-target:inherited="#processes" hx-swap:inherited="outerHTML" { (segments_live(&orders)) }
            }
            (table("Top processes", head(view.may_rule), html! { @for row in &view.rows { (row.draw(view.may_rule.then_some(host))) } }))
            div.cf {
                @match view.total {
                    Some(total) => { (view.rows.len()) " of " (format::count(total)) " processes." },
                    None => { (view.rows.len()) " processes." },
                }
                " A dash means: not observed."
            }
        }
    }
}

/// A choice of orders, fetched in place.
fn segments_live(choices: &[(String, Markup, bool)]) -> Markup {
    html! {
        div.seg role="group" aria-label="Order" {
            @for (href, words, now) in choices {
                a href=(href) hx-get=(href) aria-current=[now.then_some("true")] { (words) }
            }
        }
    }
}

fn head(may_rule: bool) -> Markup {
    html! {
        th { "Process" } th.r { "PID" } th { "User" } th { "Unit" } th.r { "CPU" } th.r { "Memory" }
        th.r { "Reads" } th.r { "Writes" } th.r { "Age" } @if may_rule { th { span.vh { "Menu" } } }
    }
}

impl ProcessRow {
    fn draw(&self, may_rule: Option<&str>) -> Markup {
        let io = |pick: fn(&(f64, f64)) -> f64| {
            self.io.as_ref().map_or_else(|| "–".to_owned(), |io| format::rate(pick(io)))
        };
        html! {
            tr {
                td {
                    div class="ell mono small" title=(self.args) {
                        @if self.culprit { b { (self.name) } " " span class="chip warn" { "culprit" } } @else { (self.name) }
                        " " span.t3 { (rest(&self.args)) }
                    }
                }
                td class="r no-phone" { (self.pid) }
                td class="t2 no-phone" { (self.user) }
                td class="mono small t2 no-phone" { div.ell { @if self.unit.is_empty() { "–" } @else { (self.unit) } } }
                td.r data-k="CPU" { (self.cpu.map_or_else(|| "–".to_owned(), format::percent)) }
                td.r data-k="Memory" { (format::bytes(self.rss)) }
                td class="r no-phone" { (io(|io| io.0)) }
                td.r data-k="Writes" { (io(|io| io.1)) }
                td class="r t3 no-phone" { (self.age_ms.map_or_else(|| "–".to_owned(), format::age)) }
                @if let Some(host) = may_rule { td { (super::must_run("process", &self.name, host)) } }
            }
        }
    }
}

/// The arguments without the program's path, which the name says already.
fn rest(args: &str) -> &str {
    args.split_once(' ').map_or("", |(_, rest)| rest)
}

/// A page of its own when the fragment is opened without script.
#[must_use]
pub fn alone(host: &HostRef, view: &ProcessTable, now: i64) -> Markup {
    html! {
        div.head { div.grow { h1 { "Processes on " (host.name) } } div.acts { a.btn href=(host.href()) { (icon_small(icons::ARROW_LEFT)) "Back to " (host.name) } } }
        (card(&host.id, view, now))
    }
}
