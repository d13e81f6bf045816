//! Series as a table: what a chart shows, for those who do not see it or want the numbers.

use maud::{Markup, html};
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::charts::Range;
use crate::store::samples::{Resolution, Series, SeriesRequest, SeriesUnit};
use crate::store::{StoreError, hosts};
use crate::web::layout::{Fragment, Page};
use crate::web::pages::shared::HostRef;
use crate::web::pages::source::Source;
use crate::web::widgets::list::table;
use crate::web::widgets::query::Query;
use crate::web::widgets::{format, icon_small, icons, page_head};

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct SeriesView {
    /// Whose.
    pub host: HostRef,
    /// From and to, ms UTC.
    pub bounds: (i64, i64),
    /// Heads of the columns after the time: `memory.total, GiB`, `fs.free /var`.
    pub columns: Vec<String>,
    /// Time in ms UTC, and one text per column; `None` where nothing was measured.
    pub rows: Vec<(i64, Vec<Option<String>>)>,
    /// Address of the same as CSV or JSON.
    pub raw: String,
}

/// The page.
#[must_use]
pub fn page(now: i64, view: &SeriesView) -> Page {
    Page::new("Series", Fragment(body(now, view)))
        .below("Hosts", "/hosts")
        .below(&view.host.name, &view.host.href())
}

fn body(now: i64, view: &SeriesView) -> Markup {
    let below = html! {
        (format::full(now, view.bounds.0)) " to " (format::full(now, view.bounds.1)) ". A dash means: nothing was measured."
    };
    let actions = html! {
        a.btn href=(view.raw) { "As JSON" }
        a.btn href=(view.host.href()) { (icon_small(icons::ARROW_LEFT)) "Back to " (view.host.name) }
    };
    let head = html! { th { "Time, UTC" } @for column in &view.columns { th.r { (column) } } };
    let rows = html! {
        @for (at, values) in &view.rows {
            tr {
                td class="num nowrap" { (format::full(now, *at).trim_end_matches(" UTC")) }
                @for (value, column) in values.iter().zip(&view.columns) { td.r data-k=(column) { (value.as_deref().unwrap_or("–")) } }
            }
        }
    };
    html! {
        (page_head(&format!("Series of {}", view.host.name), below, actions))
        section.card aria-label="Series" {
            (table("Series, oldest first", head, rows))
            @if view.rows.is_empty() { p class="cb small t3" { "No samples in this time." } }
        }
    }
}

/// Rows of one table at most.
const ROWS: u32 = 240;
/// Metrics of one table at most.
const METRICS: usize = 12;

/// Reads what the address asks for: `metric` (joined by commas), `range`, or `from` and `to`.
///
/// # Errors
/// When the store cannot be read, or has no such host.
pub async fn fill(source: Source<'_>, id: HostId, query: &Query) -> Result<SeriesView, StoreError> {
    let host = hosts::get(source.db, id).await?;
    let number = |key| query.get(key).and_then(|text| text.parse().ok());
    let (from, to) = Range::from_query(query.get("range"), number("from"), number("to")).bounds(source.now.0);
    let wanted = query.get("metric").unwrap_or("cpu.usage,memory.used_ratio");
    let request = SeriesRequest {
        host: id,
        metrics: wanted.split(',').take(METRICS).map(|metric| (metric.to_owned(), None)).collect(),
        from: UnixMs(from),
        to: UnixMs(to),
        resolution: Resolution::Points(ROWS),
    };
    let set = source.samples.series(&request).await?;
    let times: Vec<i64> =
        set.series.first().map(|one| one.points.iter().map(|(at, _)| *at).collect()).unwrap_or_default();
    let rows = times
        .iter()
        .enumerate()
        .map(|(at, time)| (*time, set.series.iter().map(|one| cell(one, at)).collect()));
    let raw =
        Query::default().with("metric", wanted).with("from", &from.to_string()).with("to", &to.to_string());
    Ok(SeriesView {
        host: HostRef { id: id.to_string(), name: host.name },
        bounds: (from, to),
        columns: set.series.iter().map(head_of).collect(),
        rows: rows.collect(),
        raw: raw.href(&format!("/api/v1/hosts/{id}/series")),
    })
}

fn head_of(series: &Series) -> String {
    if series.label.is_empty() {
        series.metric.clone()
    } else {
        format!("{} {}", series.metric, series.label)
    }
}

fn cell(series: &Series, at: usize) -> Option<String> {
    let value = series.points.get(at)?.1?;
    Some(match series.unit {
        SeriesUnit::Ratio => format::percent(value),
        SeriesUnit::Bytes => format::bytes(value.max(0.0) as u64),
        SeriesUnit::BytesPerS => format::rate(value),
        SeriesUnit::PerS => format!("{value:.1} /s"),
        SeriesUnit::Count => format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        SeriesUnit::Ms => format!("{value:.1} ms"),
    })
}
