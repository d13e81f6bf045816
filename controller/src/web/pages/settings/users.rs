//! Who may sign in, and as what.

use axum::extract;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::Wrong;
use crate::config::LEAST_CHARACTERS;
use crate::store::users::{self, Role, User};
use crate::web::admit::see_other;
use crate::web::api::users::{NewUserBody, make};
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::Form;
use crate::web::layout::{Ctx, Page};
use crate::web::state::AppState;
use crate::web::widgets::form::{Choice, Field, Select};
use crate::web::widgets::state::{State, chip};
use crate::web::widgets::{card, form, format, list};

/// Address of the page.
pub const PATH: &str = "/settings/users";
/// Most users that are shown.
const SHOWN: u32 = 1_000;

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct UsersView {
    /// Users by name.
    pub rows: Vec<User>,
    /// Name and role that were sent.
    pub sent: (String, String),
    /// What is wrong with what was sent.
    pub wrong: Option<Wrong>,
}

/// The roles, as a choice.
#[must_use]
pub fn roles() -> Vec<Choice> {
    let does = |role| match role {
        Role::Viewer => "Viewer: reads",
        Role::Operator => "Operator: approves and runs too",
        Role::Admin => "Admin: everything",
    };
    Role::ALL.into_iter().map(|role| Choice::new(role.word(), does(role))).collect()
}

/// A role as a form sent it.
///
/// # Errors
/// When it is none.
pub fn role(text: &str) -> Result<Role, Problem> {
    Role::from_word(text).ok_or_else(|| Problem::invalid("role", "must be viewer, operator or admin"))
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &UsersView) -> Page {
    let below = html! { "A change of role or password ends the user's sessions at once. The last administrator stays." };
    let body = html! {
        div.grid {
            div class="c8 stack" { (listed(ctx, view)) }
            div class="c4 stack" { (add(ctx, view)) }
        }
    };
    super::page(ctx, "Users", below, body)
}

fn listed(ctx: &Ctx, view: &UsersView) -> Markup {
    let head = html! { th { "Name" } th { "Role" } th { "State" } th { "Made" } th { span.vh { "Change" } } };
    let rows = html! {
        @for user in &view.rows {
            tr data-row {
                td.b { a href={ (PATH) "/" (user.id) } { (user.name) } }
                td data-k="Role" { (user.role.title()) }
                td data-k="State" { (standing(user)) }
                td data-k="Made" { (format::when(ctx.now_ms, user.created_at.0)) }
                td { a class="btn s" href={ (PATH) "/" (user.id) } aria-label={ "Change " (user.name) } { "Change" } }
            }
        }
    };
    card("users", "Users", html! {}, list::table("Users by name", head, rows))
}

/// Whether a user may sign in.
#[must_use]
pub fn standing(user: &User) -> Markup {
    if user.disabled_at.is_some() {
        chip(State::Off, "may not sign in")
    } else if user.must_change {
        chip(State::Wait, "must choose a password")
    } else {
        chip(State::Ok, "may sign in")
    }
}

fn add(ctx: &Ctx, view: &UsersView) -> Markup {
    let wrong = view.wrong.as_ref();
    let chosen = if view.sent.1.is_empty() { "viewer" } else { &view.sent.1 };
    let hint = format!("At least {LEAST_CHARACTERS} characters. It must be changed at the first sign-in.");
    let fields = html! {
        (Field { name: "name", label: "Name to sign in with", value: &view.sent.0, autocomplete: "off", mono: true,
            hint: Some("Small letters, digits, '.', '_' and '-'."), error: Wrong::at(wrong, "name"), ..Field::default() }.draw())
        (Select { name: "role", label: "Role", choices: &roles(), chosen, error: Wrong::at(wrong, "role"), hint: None }.draw())
        (Field { name: "password", label: "First password", kind: "password", autocomplete: "new-password", hint: Some(&hint),
            error: Wrong::at(wrong, "password"), ..Field::default() }.draw())
        button class="btn pri" { "Add the user" }
    };
    card("add", "Add a user", html! {}, html! { (form::post(ctx, PATH, "cb stack", fields)) })
}

async fn fill(state: &AppState) -> Result<UsersView, Problem> {
    Ok(UsersView { rows: users::list(&state.db, "", SHOWN).await?, ..UsersView::default() })
}

/// Shows the page.
///
/// # Errors
/// Only the store's.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
) -> Result<Response, Problem> {
    Ok(page(&frame.ctx, &fill(&state).await?).answer(&frame.ctx, &frame.headers))
}

/// A user as the form sends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    name: String,
    role: String,
    password: String,
}

/// Makes a user.
///
/// # Errors
/// Only what the form cannot show.
pub async fn add_one(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let name = sent.name.trim().to_owned();
    let done = async {
        let role = role(&sent.role)?.into();
        make(&state, &principal, NewUserBody { name: name.clone(), password: sent.password, role }).await
    };
    match done.await {
        Ok(user) => {
            state.say(&principal, State::Ok, format!("{} can sign in as {}", user.name, user.role.title()));
            Ok(see_other(PATH))
        }
        Err(problem) => {
            let wrong = Some(Wrong::of(problem, &["name", "role", "password"])?);
            let view = UsersView { sent: (name, sent.role), wrong, ..fill(&state).await? };
            Ok(page(&frame.ctx, &view)
                .status(StatusCode::UNPROCESSABLE_ENTITY)
                .answer(&frame.ctx, &frame.headers))
        }
    }
}
