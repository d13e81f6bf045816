//! First start: the code from the controller's console proves who may make the first account.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::entrance;
use super::login::entered;
use crate::web::auth::sign_in::{self, NotSignedIn};
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::Form;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::peer::Client;
use crate::web::state::AppState;
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
            hint: Some("As printed on the console, for example K7QF-2M9X-T4HD"), mono: true, focus: first, ..Field::default() }.draw())
        (Field { name: "username", label: "User name of the administrator", value: &view.username, autocomplete: "username",
            error: view.username_error.as_deref(), pattern: Some(("[a-z][a-z0-9._\\-]{0,31}", "Small letters, digits, . _ - and first a letter, at most 32")),
            focus: !first, ..Field::default() }.draw())
        (Field { name: "password", label: "Password", kind: "password", autocomplete: "new-password", error: view.password_error.as_deref(),
            hint: Some("At least 12 characters. Three or four words are easier to keep than signs."), least: Some(12), ..Field::default() }.draw())
        button class="btn pri big full" { "Create the account and sign in" }
    }
}

/// Shows the page.
///
/// # Errors
/// None of its own.
pub async fn show(State(state): State<AppState>, client: Client, frame: Frame) -> Result<Response, Problem> {
    let view = SetupView {
        controller: client.origin(),
        ca_fingerprint: format!("sha256:{}", state.identity.ca_fingerprint()),
        ..SetupView::default()
    };
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// The form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetupForm {
    code: String,
    username: String,
    password: String,
}

/// Makes the first account and signs it in.
///
/// # Errors
/// When something failed here, or too many tries came.
pub async fn submit(
    State(state): State<AppState>,
    client: Client,
    frame: Frame,
    Form(form): Form<SetupForm>,
) -> Result<Response, Problem> {
    let made = sign_in::set_up(&state, &client, &form.code, &form.username, &form.password).await;
    let mut view = SetupView {
        controller: client.origin(),
        ca_fingerprint: format!("sha256:{}", state.identity.ca_fingerprint()),
        code: form.code.chars().take(64).collect(),
        username: form.username.chars().take(64).collect(),
        ..SetupView::default()
    };
    match made {
        Ok((_, cookie)) => return Ok(entered(&cookie, "/")),
        Err(NotSignedIn::Field("code", _) | NotSignedIn::Wrong) => {
            view.code_error =
                Some("This is not the code on the console. It changes at each start.".to_owned());
        }
        Err(NotSignedIn::Field("username", must)) => view.username_error = Some(format!("The name {must}.")),
        Err(NotSignedIn::Field(_, must)) => view.password_error = Some(format!("The password {must}.")),
        Err(NotSignedIn::Wait(seconds)) => return Err(Problem::too_many("too many tries", seconds)),
        Err(NotSignedIn::Problem(problem)) => return Err(problem),
    }
    let answer = page(&frame.ctx, &view).status(StatusCode::UNPROCESSABLE_ENTITY);
    Ok(answer.answer(&frame.ctx, &frame.headers))
}
