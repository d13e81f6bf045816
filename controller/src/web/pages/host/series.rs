//! Series as a table: what a chart shows, for those who do not see it or want the numbers.

use maud::{Markup, html};

use crate::web::layout::{Fragment, Page};
use crate::web::pages::shared::HostRef;
use crate::web::widgets::list::table;
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
