//! The frame of every page, and the two types that a handler answers with.
//!
//! A [`Fragment`] is the inside of a page's body region; a [`Page`] contains one and adds the frame.
//! The same address answers both: htmx asks for the fragment alone. A live page opens one stream
//! (`Page::live`); an event `changed` there means "look again" and fetches the fragment, other events
//! (`tick`) carry data for the charts.

mod frame;
#[cfg(test)]
mod tests;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::widgets::note::Toast;

/// What a page needs to know besides its own content.
#[derive(Debug, Clone, Default)]
pub struct Ctx {
    /// Who is signed in.
    pub user: Option<UserBadge>,
    /// The session's value for the hidden field `csrf`.
    pub csrf: String,
    /// Path of the request, for `aria-current`.
    pub path: String,
    /// Query of the request without `?`; a live page asks for itself again with it.
    pub query: String,
    /// Light, dark, or as the device says.
    pub theme: Theme,
    /// Numbers beside the navigation's entries.
    pub counts: NavCounts,
    /// Whether anything may run without a person; `None` where the page does not say so.
    pub automation: Option<bool>,
    /// Language of the texts.
    pub lang: Lang,
    /// The controller's clock in ms UTC; ages on the page are counted from it.
    pub now_ms: i64,
    /// Messages about what was just done.
    pub flash: Vec<Toast>,
}

/// Who is signed in, as far as a page shows it.
#[derive(Debug, Clone, Default)]
pub struct UserBadge {
    /// Sign-in name.
    pub name: String,
    /// `Admin`, `Operator`, `Viewer`.
    pub role: String,
    /// Whether the page offers to add hosts.
    pub may_add_hosts: bool,
    /// Whether it offers what administrators do: users, tokens, assignments, the clock.
    pub may_manage: bool,
    /// Whether it offers what operators do and read: runs, approvals, what a model was told of a host.
    pub may_operate: bool,
    /// Whether it offers to freeze automation.
    pub may_freeze: bool,
    /// Whether it offers to let automation run again.
    pub may_unfreeze: bool,
}

/// Colour scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// As the device says.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// Name of the cookie that keeps the choice; the browser's side sets it.
    pub const COOKIE: &str = "theme";

    /// From the cookie's value; anything unknown follows the device.
    #[must_use]
    pub fn from_cookie(value: &str) -> Self {
        match value {
            "light" => Self::Light,
            "dark" => Self::Dark,
            _ => Self::System,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// Language of the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
}

impl Lang {
    const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
        }
    }
}

/// Numbers beside the navigation's entries.
#[derive(Debug, Clone, Copy, Default)]
pub struct NavCounts {
    /// Known hosts.
    pub hosts: u64,
    /// Open incidents.
    pub incidents: u64,
    /// Proposals that wait for a person.
    pub approvals: u64,
}

/// The inside of a page's body region.
#[derive(Debug, Clone)]
pub struct Fragment(pub Markup);

/// A whole page: a fragment and what the frame needs.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    crumbs: Vec<(String, Option<String>)>,
    live: Option<String>,
    charts: bool,
    decide_bar: bool,
    bare: bool,
    status: StatusCode,
    body: Fragment,
}

impl Page {
    /// A page called `title` in the browser's tab.
    #[must_use]
    pub fn new(title: impl Into<String>, body: Fragment) -> Self {
        let title = title.into();
        Self {
            crumbs: vec![(title.clone(), None)],
            title,
            live: None,
            charts: false,
            decide_bar: false,
            bare: false,
            status: StatusCode::OK,
            body,
        }
    }

    /// Puts the page below another one in the line at the top.
    #[must_use]
    pub fn below(mut self, title: &str, href: &str) -> Self {
        let own = self.crumbs.len().saturating_sub(1);
        self.crumbs.insert(own, (title.to_owned(), Some(href.to_owned())));
        self
    }

    /// Keeps the page fresh by the event stream at `url`.
    #[must_use]
    pub fn live(mut self, url: impl Into<String>) -> Self {
        self.live = Some(url.into());
        self
    }

    /// Loads the chart library.
    #[must_use]
    pub const fn with_charts(mut self) -> Self {
        self.charts = true;
        self
    }

    /// Leaves room for a bar of decisions at the bottom of a phone.
    #[must_use]
    pub const fn with_decide_bar(mut self) -> Self {
        self.decide_bar = true;
        self
    }

    /// Drops navigation and header: setup, sign-in.
    #[must_use]
    pub const fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    /// Answers with another status than 200.
    #[must_use]
    pub const fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The whole document.
    #[must_use]
    pub fn document(&self, ctx: &Ctx) -> Markup {
        frame::document(self, ctx)
    }

    /// What htmx swaps in: the fragment, the title, and the navigation's numbers.
    #[must_use]
    pub fn part(&self, ctx: &Ctx) -> Markup {
        html! {
            title { (frame::full_title(&self.title)) }
            (self.body.0)
            (frame::counts_again(ctx.counts))
        }
    }

    /// The answer to a request with these headers.
    #[must_use]
    pub fn answer(self, ctx: &Ctx, request: &HeaderMap) -> Response {
        let markup = if is_partial(request) { self.part(ctx) } else { self.document(ctx) };
        html_response(self.status, markup)
    }
}

/// Whether htmx asks for a part only. A restored or boosted page is whole.
#[must_use]
pub fn is_partial(request: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| request.get(name).is_some_and(|v| v.as_bytes() == value.as_bytes());
    is("hx-request", "true") && !is("hx-request-type", "full")
}

/// An HTML answer that no cache keeps.
#[must_use]
pub fn html_response(status: StatusCode, markup: Markup) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (VARY, "hx-request, hx-request-type"),
    ];
    (status, headers, markup.into_string()).into_response()
}

impl IntoResponse for Fragment {
    fn into_response(self) -> Response {
        html_response(StatusCode::OK, self.0)
    }
}
