//! Evidence of an incident: numbered, each with its picture where there is one.

use maud::{Markup, html};

use super::IncidentView;
use crate::web::widgets::list::table;
use crate::web::widgets::state::{Size, State, shape_named};
use crate::web::widgets::{bar, format};

/// A piece of evidence.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// What was seen, as a sentence.
    pub title: String,
    /// How it was seen, and what it was compared with. Text of the host is quoted, never trusted.
    pub detail: String,
    /// The value that matters: `98 %`.
    pub value: String,
    /// Its picture.
    pub chart: Option<EvidenceChart>,
}

/// What a piece of evidence draws.
#[derive(Debug, Clone)]
pub struct EvidenceChart {
    /// A kind of `series.js`: `space`, `memory`, `io`, `evidence`, …
    pub kind: &'static str,
    /// Metrics, joined by commas.
    pub metrics: String,
    /// One label of them: a mount point, a device.
    pub label: Option<String>,
    /// For kind `evidence`: `percent`, `bytes`, `rate`, `count`.
    pub unit: &'static str,
    /// The limit that was crossed, as drawn.
    pub limit: Option<f64>,
}

/// A unit or process and its share in the trouble.
#[derive(Debug, Clone)]
pub struct Culprit {
    /// Unit, or process where there is none.
    pub name: String,
    /// Process id, if it is one process.
    pub pid: Option<u32>,
    /// Its share of what ran out, 0 to 1.
    pub share: f64,
    /// CPU in use, 1 for one whole core.
    pub cpu: Option<f64>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// What changed about it: `4.18.0 → 4.18.1, 02:58:04`.
    pub changed: String,
    /// Whether the verdict names it.
    pub named: bool,
}

/// The card of all pieces.
pub(super) fn card(view: &IncidentView) -> Markup {
    let (from, to) = view.window;
    let charts = format!("{}?from={from}&to={to}", view.host.href());
    html! {
        section class="card o2" aria-labelledby="evidence" {
            div.ch {
                h2 #evidence { "Evidence" }
                span class="t3 small" { (format::clock(from)) " to " (format::clock(to)) " UTC" }
                div.acts { a.small href=(charts) { "Open in charts" } }
            }
            div #evidence-list hx-morph-skip data-series={ "/api/v1/hosts/" (view.host.id) "/series" } data-from=(from) data-to=(to) {
                @for (at, piece) in view.evidence.iter().enumerate() { (piece.draw(at + 1, view)) }
            }
            @if view.evidence.is_empty() { p class="cb small t3" { "Being gathered." } }
            @if !view.not_observed.is_empty() {
                p.cf { "Not observed, so not ruled out: " (view.not_observed.join(", ")) "." }
            }
        }
    }
}

impl Evidence {
    fn draw(&self, number: usize, view: &IncidentView) -> Markup {
        html! {
            div class=(if self.chart.is_some() { "ev" } else { "ev flat" }) {
                span.id { "E" (number) }
                div { div.b { (self.title) } div class="small t2" { (self.detail) } }
                div.pic {
                    div class="row-x sp tiny t3" { span { (view.host.name) } b class="t2 num" { (self.value) } }
                    @if let Some(chart) = &self.chart { (chart.draw(&self.title)) }
                }
            }
        }
    }
}

impl EvidenceChart {
    fn draw(&self, says: &str) -> Markup {
        let limit = self.limit.map(|v| format!(r#"[{{"v":{v},"level":"crit","label":""}}]"#));
        html! {
            div.plot data-mini data-chart=(self.kind) data-metrics=(self.metrics) data-label=[self.label.as_deref()]
                data-unit=(self.unit) data-limits=[limit] role="img" aria-label=(says) {}
        }
    }
}

/// Who used most of what ran out.
pub(super) fn culprits(view: &IncidentView) -> Markup {
    let head = html! {
        th { "Unit" } th.r { "PID" } th.r { "Share" } th.r { "CPU" } th.r { "Memory" } th { "Changed" }
    };
    let rows = html! {
        @for culprit in &view.culprits {
            tr {
                td { span.row-x { @if culprit.named { (shape_named(State::Warn, Size::Row, "culprit")) } span class=(if culprit.named { "mono small b" } else { "mono small t2" }) { (culprit.name) } } }
                td class="r no-phone" { (culprit.pid.map_or_else(|| "–".to_owned(), |pid| pid.to_string())) }
                td.r data-k="Share" { (bar::share(culprit.share, if culprit.named { "warn" } else { "" })) " " (format::percent(culprit.share)) }
                td.r data-k="CPU" { (culprit.cpu.map_or_else(|| "–".to_owned(), format::percent)) }
                td.r data-k="Memory" { (culprit.memory.map_or_else(|| "–".to_owned(), format::bytes)) }
                td class="t2 no-phone" { @if culprit.changed.is_empty() { "–" } @else { (culprit.changed) } }
            }
        }
    };
    html! {
        section class="card o7" aria-labelledby="culprit" {
            div.ch { h2 #culprit { "Culprit" } span class="t3 small" { "share of what ran out" } }
            (table("Units and processes by their share", head, rows))
        }
    }
}
