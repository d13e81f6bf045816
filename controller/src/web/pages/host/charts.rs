//! The charts' places; the browser draws them from the series of the API.

use maud::{Markup, html};

use super::HostView;
use crate::web::widgets::list::segments;
use crate::web::widgets::{format, icon_small, icons};

const MINUTE: i64 = 60_000;

/// What the charts cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// From this long ago, in ms, until now; it moves on.
    Last(i64),
    /// Between two times, ms UTC; it stands still.
    Between(i64, i64),
}

impl Default for Range {
    fn default() -> Self {
        Self::Last(60 * MINUTE)
    }
}

/// The ranges on offer: value in the address, words on the button, words of the title, length in ms.
pub const RANGES: [(&str, &str, &str, i64); 5] = [
    ("15m", "15 min", "Last 15 minutes", 15 * MINUTE),
    ("1h", "1 h", "Last hour", 60 * MINUTE),
    ("6h", "6 h", "Last 6 hours", 360 * MINUTE),
    ("24h", "24 h", "Last 24 hours", 1_440 * MINUTE),
    ("7d", "7 d", "Last 7 days", 10_080 * MINUTE),
];

impl Range {
    /// From the address: `range=6h`, or `from` and `to` in ms. Anything else is the last hour.
    #[must_use]
    pub fn from_query(range: Option<&str>, from: Option<i64>, to: Option<i64>) -> Self {
        if let (Some(from), Some(to)) = (from, to)
            && 0 <= from
            && from < to
        {
            return Self::Between(from, to);
        }
        let known = RANGES.iter().find(|(value, ..)| Some(*value) == range);
        known.map_or_else(Self::default, |(.., length)| Self::Last(*length))
    }

    /// First and last time, ms UTC.
    #[must_use]
    pub const fn bounds(self, now: i64) -> (i64, i64) {
        match self {
            Self::Last(length) => (now - length, now),
            Self::Between(from, to) => (from, to),
        }
    }

    fn title(self) -> String {
        match self {
            Self::Last(length) => {
                let known = RANGES.iter().find(|(.., known)| *known == length);
                known.map_or_else(
                    || format!("Last {}", format::duration(length)),
                    |(_, _, title, _)| (*title).to_owned(),
                )
            }
            Self::Between(from, to) => {
                format!("{} to {}", format::full(to, from).trim_end_matches(" UTC"), format::clock(to))
            }
        }
    }
}

/// A chart: what it is called, what it draws, from which metrics.
struct Chart {
    kind: &'static str,
    title: &'static str,
    note: String,
    metrics: &'static str,
    limits: String,
}

fn chart(kind: &'static str, title: &'static str, note: impl Into<String>, metrics: &'static str) -> Chart {
    Chart { kind, title, note: note.into(), metrics, limits: String::new() }
}

fn main_charts(cores: Option<u32>, disk_limits: Option<(f64, f64)>) -> Vec<Chart> {
    let by_mode = cores.map_or_else(
        || "by mode".to_owned(),
        |n| format!("{}, by mode", format::counted(n.into(), "core", "cores")),
    );
    let mut space = chart("space", "Disk space", "used of what users may use", "fs.used_ratio");
    if let Some((warn, crit)) = disk_limits {
        space.limits = format!(
            r#"[{{"v":{},"level":"warn","label":"warning {}"}},{{"v":{},"level":"crit","label":""}}]"#,
            warn * 100.0,
            format::percent(warn),
            crit * 100.0
        );
    }
    let mut load = chart("load", "Load", "tasks that run or wait", "load.1,load.5,load.15");
    if let Some(cores) = cores {
        load.limits = format!(
            r#"[{{"v":{cores},"level":"warn","label":"{}"}}]"#,
            format::counted(cores.into(), "core", "cores")
        );
    }
    vec![
        chart(
            "cpu",
            "CPU",
            by_mode,
            "cpu.mode.user,cpu.mode.nice,cpu.mode.system,cpu.mode.iowait,cpu.mode.irq,cpu.mode.steal",
        ),
        chart(
            "memory",
            "Memory",
            "page cache can be taken back",
            "memory.total,memory.free,memory.buffers,memory.cached,memory.slab_reclaimable",
        ),
        space,
        chart("io", "Disk", "busiest devices", "disk.read_bytes,disk.write_bytes"),
        chart("network", "Network", "busiest interfaces", "net.rx_bytes,net.tx_bytes"),
        load,
        chart(
            "pressure",
            "Pressure",
            "share of time some work stood still",
            "psi.io.some,psi.cpu.some,psi.memory.some",
        ),
    ]
}

fn more_charts() -> Vec<Chart> {
    vec![
        chart("swap", "Swap", "", "swap.total,swap.used"),
        chart("inodes", "Inodes", "used", "fs.inodes.used_ratio"),
        chart("connections", "TCP connections", "", "tcp.established,tcp.time_wait,tcp.close_wait"),
        chart("retransmits", "TCP trouble", "", "tcp.retransmits,tcp.listen_overflows"),
        chart("processes", "Processes", "", "procs.total,threads.total,procs.blocked"),
        chart("files", "Kernel tables", "", "fd.used,conntrack.used"),
    ]
}

/// The metrics that the charts draw, each once.
#[must_use]
pub fn metrics() -> Vec<&'static str> {
    let all = main_charts(None, None).into_iter().chain(more_charts());
    let mut names: Vec<_> = all.flat_map(|chart| chart.metrics.split(',')).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The card of all charts.
pub(super) fn card(view: &HostView) -> Markup {
    let (span, from, to) = match view.range {
        Range::Last(length) => (Some(length), None, None),
        Range::Between(from, to) => (None, Some(from), Some(to)),
    };
    let series = format!("/api/v1/hosts/{}/series", view.id);
    let home = format!("/hosts/{}", view.id);
    let choices: Vec<_> = RANGES
        .iter()
        .map(|(value, words, _, length)| {
            (format!("{home}?range={value}"), html! { (words) }, view.range == Range::Last(*length))
        })
        .collect();
    html! {
        section.card #charts aria-labelledby="charts-title" {
            div.ch {
                h2 #charts-title { (view.range.title()) }
                (segments("Range", &choices))
                div class="acts no-phone" {
                    @if span.is_none() { a class="btn s" href=(home) { (icon_small(icons::ARROW_BACK_UP)) "Back to live" } }
                    @else { span class="small t3" { "drag to zoom · click to see the processes of a moment" } }
                }
            }
            div #charts-main hx-morph-skip data-series=(series) data-span=[span] data-from=[from] data-to=[to]
                data-home=(home) data-pin={ (home) "/processes" } data-pin-target="#processes" {
                (failure())
                div class="pc lane" { div.plot data-chart="events" role="img" aria-label={ "Incidents and runs of " (view.name) " in this range; both are listed on this page" } {} }
                @for chart in main_charts(view.cores, view.disk_limits) { (chart.draw(view)) }
                (legend())
            }
            details #charts-more hx-morph-skip data-series=(series) data-span=[span] data-from=[from] data-to=[to] data-home=(home) {
                summary.cf { "More charts: swap, inodes, TCP, processes, kernel tables" }
                (failure())
                @for chart in more_charts() { (chart.draw(view)) }
            }
        }
    }
}

fn failure() -> Markup {
    html! {
        div class="co crit" data-failed hidden role="status" {
            div.small { b { "These charts did not load." } " Collection goes on, nothing is lost. " span data-why {} }
        }
    }
}

fn legend() -> Markup {
    html! {
        div class="cf row-x gap-l wrap" {
            span.row-x { (crate::web::widgets::state::shape_named(crate::web::widgets::State::Crit, crate::web::widgets::state::Size::Small, "")) "incident" }
            span.row-x { svg.mk width="11" height="11" aria-hidden="true" { path d="M5.5 0L11 5.5 5.5 11 0 5.5z" {} } "run" }
            span data-gaps {}
        }
    }
}

impl Chart {
    fn draw(&self, view: &HostView) -> Markup {
        let limits = (!self.limits.is_empty()).then_some(self.limits.as_str());
        let (range, from, to) = match view.range {
            Range::Last(length) => {
                (RANGES.iter().find(|(.., known)| *known == length).map_or("1h", |(value, ..)| value), 0, 0)
            }
            Range::Between(from, to) => ("", from, to),
        };
        let table = if range.is_empty() {
            format!("/hosts/{}/series?metric={}&from={from}&to={to}", view.id, self.metrics)
        } else {
            format!("/hosts/{}/series?metric={}&range={range}", view.id, self.metrics)
        };
        html! {
            div.pc {
                div.pc-h {
                    h3 { (self.title) } span class="t3 no-phone" { (self.note) } span.lg {}
                    a class="ib tb" href=(table) aria-label={ (self.title) " as a table" } title="Show as table" { (icon_small(icons::TABLE)) }
                }
                div.plot data-chart=(self.kind) data-metrics=(self.metrics) data-limits=[limits] role="img"
                    aria-label={ (self.title) " of " (view.name) ", " (view.range.title().to_lowercase()) ". The link beside the title shows it as a table." } {}
            }
        }
    }
}
