//! Lists, tables that become cards on a phone, filter chips, paging.

use maud::{Markup, html};

use super::query::Query;
use super::state::{Size, State, shape_named};
use super::{icon_small, icons};

/// A row of a short list: shape, title, a line below, a time at the right.
#[must_use]
pub fn line(state: State, named: &str, title: Markup, below: Markup, at: Markup) -> Markup {
    html! {
        div.li {
            (shape_named(state, Size::Row, named))
            div.grow { div { (title) } div class="small t3" { (below) } }
            span.when { (at) }
        }
    }
}

/// A table in a box that scrolls sideways, also by keyboard. `head` and `body` are rows.
#[must_use]
pub fn table(caption: &str, head: Markup, body: Markup) -> Markup {
    html! {
        div.tw tabindex="0" role="group" aria-label={ (caption) ", scrolls sideways" } {
            table class="t dense cards" {
                caption.vh { (caption) }
                thead { tr { (head) } }
                tbody { (body) }
            }
        }
    }
}

/// The head of a column that orders the table; pressing it again turns the order round.
#[must_use]
pub fn sort_head(path: &str, query: &Query, key: &str, words: &str, right: bool) -> Markup {
    let (now, up) = match query.get("sort") {
        Some(sort) => (sort.trim_start_matches('-') == key, !sort.starts_with('-')),
        None => (false, false),
    };
    let next = if now && !up { key.to_owned() } else { format!("-{key}") };
    html! {
        th class=[right.then_some("r")] aria-sort=[now.then_some(if up { "ascending" } else { "descending" })] {
            a.sort href=(query.set("sort", &next).href(path)) {
                (words)
                @if now { " " (icon_small(if up { icons::ARROW_UP } else { icons::ARROW_DOWN })) }
            }
        }
    }
}

/// An active filter with the link that removes it.
#[must_use]
pub fn filter_chip(path: &str, query: &Query, key: &str, words: &str, value: &str) -> Markup {
    html! {
        span class="fchip on" {
            span { (words) } " " b { (value) }
            a href=(query.without(key, value).href(path)) aria-label={ "Remove filter " (words) " " (value) } {
                (icon_small(icons::X))
            }
        }
    }
}

/// A choice between few, as links: the pressed one is where we are.
#[must_use]
pub fn segments(label: &str, choices: &[(String, Markup, bool)]) -> Markup {
    html! {
        div.seg role="group" aria-label=(label) {
            @for (href, words, now) in choices {
                a href=(href) aria-current=[now.then_some("true")] { (words) }
            }
        }
    }
}

/// Keyset paging: no page numbers, only older and newer.
#[derive(Debug, Clone, Default)]
pub struct Paging {
    /// What is shown: `1 to 17 of 49`.
    pub shown: String,
    /// Address of the part before, if any.
    pub newer: Option<String>,
    /// Address of the part after, if any.
    pub older: Option<String>,
}

impl Paging {
    /// The line below a list.
    #[must_use]
    pub fn draw(&self) -> Markup {
        html! {
            div class="cf row-x sp" {
                span { (self.shown) }
                @if self.newer.is_some() || self.older.is_some() {
                    nav.row-x aria-label="Parts of this list" {
                        @if let Some(href) = &self.newer { a class="btn s" href=(href) rel="prev" { "Newer" } }
                        @if let Some(href) = &self.older { a class="btn s" href=(href) rel="next" { "Older" } }
                    }
                }
            }
        }
    }
}
