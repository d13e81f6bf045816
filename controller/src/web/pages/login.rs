//! Sign-in.

use maud::{Markup, html};

use super::entrance;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::widgets::form::{self, Field};

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct LoginView {
    /// The user name as typed.
    pub username: String,
    /// `Wrong user name or password. 4 tries left, then 15 minutes pause.`
    pub error: Option<String>,
    /// Why the person is here again: `Your session ended`.
    pub notice: Option<String>,
    /// Where to go afterwards: a path of ours, checked by the handler.
    pub next: Option<String>,
    /// The controller's address as the browser sees it.
    pub controller: String,
}

/// The page. Its form posts `username`, `password` and perhaps `next` to `/login`.
#[must_use]
pub fn page(ctx: &Ctx, view: &LoginView) -> Page {
    let form = html! {
        div class="stack s" { h1 { "Sign in" } p.t2 { (view.controller) } }
        @if let Some(notice) = &view.notice { p class="co small" role="status" { (notice) } }
        (form::post(ctx, "/login", "stack", fields(view)))
        p class="small t3" { "Forgotten? Someone with access to the controller's machine can run " code { "sysop-controller user reset-password" } " there." }
    };
    let story = entrance::frame(
        "It repairs what you allowed, and nothing else.",
        "Each host keeps its own list of what may be done there. Not even this controller can widen it.",
        form,
    );
    Page::new("Sign in", Fragment(story)).bare()
}

fn fields(view: &LoginView) -> Markup {
    html! {
        @if let Some(next) = &view.next { (form::hidden("next", next)) }
        (Field { name: "username", label: "User name", value: &view.username, autocomplete: "username", focus: view.username.is_empty(), ..Field::default() }.draw())
        (Field { name: "password", label: "Password", kind: "password", autocomplete: "current-password", error: view.error.as_deref(),
            focus: !view.username.is_empty(), ..Field::default() }.draw())
        button class="btn pri big full" { "Sign in" }
    }
}
