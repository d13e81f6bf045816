//! Changing the own password; the only page while it must be changed.

use axum::extract::State;
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use super::entrance;
use super::login::entered;
use crate::config::LEAST_CHARACTERS;
use crate::web::auth::Principal;
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
pub struct PasswordView {
    /// Whether it must be changed before anything else.
    pub must: bool,
    /// What is wrong with the present password.
    pub current_error: Option<String>,
    /// What is wrong with the new one.
    pub new_error: Option<String>,
}

/// The page. Its form posts `current`, `password` and `again` to `/password`.
#[must_use]
pub fn page(ctx: &Ctx, view: &PasswordView) -> Page {
    let hint =
        format!("At least {LEAST_CHARACTERS} characters. Three or four words are easier to keep than signs.");
    let fields = html! {
        (Field { name: "current", label: "Present password", kind: "password", autocomplete: "current-password",
            error: view.current_error.as_deref(), focus: view.new_error.is_none(), ..Field::default() }.draw())
        (Field { name: "password", label: "New password", kind: "password", autocomplete: "new-password", hint: Some(&hint),
            error: view.new_error.as_deref(), focus: view.new_error.is_some(), least: Some(LEAST_CHARACTERS as u16), ..Field::default() }.draw())
        (Field { name: "again", label: "New password once more", kind: "password", autocomplete: "new-password", ..Field::default() }.draw())
        button class="btn pri big full" { "Change the password" }
    };
    let body = html! {
        div class="stack s" {
            h1 { "Choose a new password" }
            @if view.must { p.t2 { "The present one was set for you. Nothing else opens before it is changed." } }
            @else { p.t2 { "All your other sessions end with it." } }
        }
        (form::post(ctx, "/password", "stack", fields))
        @if !view.must { p class="small" { a href="/" { "Leave it as it is" } } }
        @else { (form::post(ctx, "/logout", "stack", html! { button class="btn gho full" { "Sign out" } })) }
    };
    let story = entrance::frame(
        "It repairs what you allowed, and nothing else.",
        "Each host keeps its own list of what may be done there. Not even this controller can widen it.",
        body,
    );
    Page::new("Change password", Fragment(story)).bare()
}

/// Shows the page.
///
/// # Errors
/// None of its own.
pub async fn show(principal: Principal, frame: Frame) -> Result<Response, Problem> {
    let view = PasswordView { must: principal.must_change(), ..PasswordView::default() };
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// The form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordForm {
    current: String,
    password: String,
    again: String,
}

/// Changes the password and goes on with a new session.
///
/// # Errors
/// When something failed here, or too many tries came.
pub async fn submit(
    State(state): State<AppState>,
    client: Client,
    principal: Principal,
    frame: Frame,
    Form(form): Form<PasswordForm>,
) -> Result<Response, Problem> {
    let mut view = PasswordView { must: principal.must_change(), ..PasswordView::default() };
    if form.again == form.password {
        match sign_in::change_password(&state, &client, &principal, &form.current, &form.password).await {
            Ok(cookie) => return Ok(entered(&cookie, "/")),
            Err(NotSignedIn::Wrong) => {
                view.current_error = Some("This is not your present password.".to_owned())
            }
            Err(NotSignedIn::Field(_, must)) => view.new_error = Some(format!("The new password {must}.")),
            Err(NotSignedIn::Wait(seconds)) => return Err(Problem::too_many("too many tries", seconds)),
            Err(NotSignedIn::Problem(problem)) => return Err(problem),
        }
    } else {
        view.new_error = Some("The two are not the same. Type the new one again.".to_owned());
    }
    let answer = page(&frame.ctx, &view).status(axum::http::StatusCode::UNPROCESSABLE_ENTITY);
    Ok(answer.answer(&frame.ctx, &frame.headers))
}
