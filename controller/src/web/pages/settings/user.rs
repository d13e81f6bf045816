//! One user: its role, whether it may sign in, another password.

use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::Wrong;
use super::users::{PATH, role, roles, standing};
use crate::config::LEAST_CHARACTERS;
use crate::store::users::{self, User};
use crate::web::admit::see_other;
use crate::web::api::users::{Change, alter, reset};
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::Form;
use crate::web::layout::{Ctx, Page};
use crate::web::state::AppState;
use crate::web::widgets::form::{Field, Select};
use crate::web::widgets::state::State;
use crate::web::widgets::{card, form, format, note};

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, user: &User, wrong: Option<&Wrong>) -> Page {
    let href = |what: &str| format!("{PATH}/{}{what}", user.id);
    let hint = format!(
        "At least {LEAST_CHARACTERS} characters. The user must change it at the next sign-in, and is signed out now."
    );
    let own = ctx.user.as_ref().is_some_and(|me| me.name == user.name);
    let role = html! {
        (Select { name: "role", label: "Role", choices: &roles(), chosen: user.role.word(), error: Wrong::at(wrong, "role"), hint: None }.draw())
        button class="btn" { "Set the role" }
    };
    let disabled = user.disabled_at.is_some();
    let sign_in = html! {
        p class="small t2" { @if disabled { "It may not sign in, and its tokens of the API open nothing." } @else { "It may sign in." } }
        (form::hidden("disabled", if disabled { "off" } else { "on" }))
        @if let Some(words) = Wrong::at(wrong, "disabled") { (note::callout(State::Crit, html! { (words) }, None)) }
        button class=(if disabled { "btn" } else { "btn dan" }) { @if disabled { "Let it sign in again" } @else { "Do not let it sign in" } }
    };
    let password = html! {
        (Field { name: "password", label: "New password", kind: "password", autocomplete: "new-password", hint: Some(&hint),
            error: Wrong::at(wrong, "password"), ..Field::default() }.draw())
        button class="btn" { "Reset the password" }
    };
    let body = html! {
        div.grid {
            div.c4 { (card("role-card", "Role", html! { div.acts { (standing(user)) } }, form::post(ctx, &href("/role"), "cb stack", role))) }
            div.c4 { (card("sign-in-card", "Sign-in", html! {}, form::post(ctx, &href("/disabled"), "cb stack", sign_in))) }
            div.c4 { (card("password-card", "Password", html! {}, password_card(ctx, own, &href("/password"), password))) }
        }
    };
    let below =
        html! { "Made " (format::full(ctx.now_ms, user.created_at.0)) ". Each change is in the audit." };
    super::page(ctx, &user.name, below, body).below("Users", PATH)
}

/// The own password is changed with the present one, on its own page.
fn password_card(ctx: &Ctx, own: bool, href: &str, fields: Markup) -> Markup {
    html! {
        @if own {
            div class="cb stack" {
                p class="small t2" { "This is you. Your own password is changed with the present one." }
                a.btn href="/password" { "Change my password" }
            }
        } @else { (form::post(ctx, href, "cb stack", fields)) }
    }
}

async fn known(state: &AppState, id: &str) -> Result<User, Problem> {
    users::get(&mut *state.db.reader().await?, id).await?.ok_or_else(|| Problem::not_found("user"))
}

/// Shows the page.
///
/// # Errors
/// When there is no such user.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(page(&frame.ctx, &known(&state, &id).await?, None).answer(&frame.ctx, &frame.headers))
}

/// Answers a form: back to the page with what was done, or the form with what is wrong.
async fn answer(
    (state, principal, frame): (&AppState, &Principal, &Frame),
    id: &str,
    done: Result<String, Problem>,
    field: &str,
) -> Result<Response, Problem> {
    match done {
        Ok(words) => {
            state.say(principal, State::Ok, words);
            Ok(see_other(&format!("{PATH}/{id}")))
        }
        Err(problem) => {
            let user = known(state, id).await?;
            let wrong = Wrong::of(problem, &[field])?;
            let page = page(&frame.ctx, &user, Some(&wrong)).status(StatusCode::UNPROCESSABLE_ENTITY);
            Ok(page.answer(&frame.ctx, &frame.headers))
        }
    }
}

/// A role as the form sends it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    role: String,
}

/// Sets the role.
///
/// # Errors
/// Only what the form cannot show.
pub async fn set_role(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
    Path(id): Path<String>,
    Form(sent): Form<NewRole>,
) -> Result<Response, Problem> {
    let done = async {
        let change = Change { role: Some(role(&sent.role)?.into()), disabled: None };
        let user = alter(&state, &principal, &id, &change).await?;
        Ok(format!("{} is {} now", user.name, user.role.title()))
    };
    answer((&state, &principal, &frame), &id, done.await, "role").await
}

/// Whether it may not sign in, as the form sends it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disabled {
    disabled: String,
}

/// Lets the user sign in, or not.
///
/// # Errors
/// Only what the form cannot show.
pub async fn set_disabled(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
    Path(id): Path<String>,
    Form(sent): Form<Disabled>,
) -> Result<Response, Problem> {
    let done = async {
        let disabled = match sent.disabled.as_str() {
            "on" => true,
            "off" => false,
            _ => return Err(Problem::invalid("disabled", "must be on or off")),
        };
        let user = alter(&state, &principal, &id, &Change { role: None, disabled: Some(disabled) }).await?;
        Ok(format!(
            "{} {}",
            user.name,
            if disabled { "may not sign in any more" } else { "may sign in again" }
        ))
    };
    answer((&state, &principal, &frame), &id, done.await, "disabled").await
}

/// A password as the form sends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    password: String,
}

/// Sets another password and ends the user's sessions.
///
/// # Errors
/// Only what the form cannot show.
pub async fn set_password(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
    Path(id): Path<String>,
    Form(sent): Form<NewPassword>,
) -> Result<Response, Problem> {
    let done = reset(&state, &principal, &id, &sent.password).await;
    let done = done.map(|user| format!("{} has another password, and is signed out", user.name));
    answer((&state, &principal, &frame), &id, done, "password").await
}
