//! First start: the code from the controller's console proves who may make the first account.

use maud::{Markup, html};

use super::entrance;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::widgets::form::{self, Field};

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct SetupView {
    /// The code as typed; given back after an error elsewhere.
    pub code: String,
    /// The user name as typed.
    pub username: String,
    /// What is wrong with the code.
    pub code_error: Option<String>,
    /// What is wrong with the user name.
    pub username_error: Option<String>,
    /// What is wrong with the password.
    pub password_error: Option<String>,
    /// The controller's address as the browser sees it.
    pub controller: String,
    /// Fingerprint of the CA, to compare with the console.
    pub ca_fingerprint: String,
}

/// The page. Its form posts `code`, `username` and `password` to `/setup`.
#[must_use]
pub fn page(ctx: &Ctx, view: &SetupView) -> Page {
    let form = html! {
        div class="stack s" {
            h1 { "Set up the controller" }
            p.t2 { "It printed a setup code when it started. The code works once and proves that you have access to this machine. There is no default password." }
        }
        (form::post(ctx, "/setup", "stack", fields(view)))
        dl class="dl left small" {
            dt { "Controller" } dd.mono { (view.controller) }
            dt { "CA fingerprint" } dd.mono { (view.ca_fingerprint) }
        }
        p class="tiny t3" { "Compare the fingerprint with the console. Nothing on this page, or any other, is loaded from another site." }
    };
    let story = entrance::frame(
        "It watches, explains, repairs, checks, and writes down what it did.",
        "One incident, from the first sign to the verified repair. Used space on a web host:",
        form,
    );
    Page::new("Set up", Fragment(story)).bare()
}

fn fields(view: &SetupView) -> Markup {
    let first = view.code_error.is_some() || view.code.is_empty();
    html! {
        (Field { name: "code", label: "Setup code", value: &view.code, autocomplete: "one-time-code", error: view.code_error.as_deref(),
            hint: Some("As printed on the console, for example K7QF-2M9X"), mono: true, focus: first, ..Field::default() }.draw())
        (Field { name: "username", label: "User name of the administrator", value: &view.username, autocomplete: "username",
            error: view.username_error.as_deref(), pattern: Some(("[a-z][a-z0-9._\\-]{0,31}", "Small letters, digits, . _ - and first a letter, at most 32")),
            focus: !first, ..Field::default() }.draw())
        (Field { name: "password", label: "Password", kind: "password", autocomplete: "new-password", error: view.password_error.as_deref(),
            hint: Some("At least 12 characters. Three or four words are easier to keep than signs."), least: Some(12), ..Field::default() }.draw())
        button class="btn pri big full" { "Create the account and sign in" }
    }
}
