//! Tokens of programs that use the API.

use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use sysop_common::time::DAY_MS;

use super::Wrong;
use super::users::{role, roles};
use crate::store::api_tokens::{self, ApiToken};
use crate::web::admit::see_other;
use crate::web::api::tokens::{NewToken, end, make};
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::Form;
use crate::web::layout::{Ctx, Page};
use crate::web::state::AppState;
use crate::web::widgets::form::{Choice, Field, Select};
use crate::web::widgets::state::{State, chip};
use crate::web::widgets::{card, form, format, icons, list, note};

const PATH: &str = "/settings/tokens";
/// Most tokens that are shown.
const SHOWN: u32 = 1_000;

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct TokensView {
    /// Tokens, newest first; those that stand before those that ended.
    pub rows: Vec<ApiToken>,
    /// The token that was just made: its name and its text, this once.
    pub made: Option<(String, String)>,
    /// The form as it was sent.
    pub sent: Sent,
    /// What is wrong with it.
    pub wrong: Option<Wrong>,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &TokensView) -> Page {
    let below = html! { "A program sends its token as " code { "Authorization: Bearer …" } ". Only a token's hash is stored, so it is shown once." };
    let body = html! {
        @if let Some((name, text)) = &view.made { div.below { (shown_once(name, text)) } }
        div.grid {
            div class="c8 stack" { (listed(ctx, view)) }
            div class="c4 stack" { (add(ctx, view)) }
        }
    };
    super::page(ctx, "API tokens", below, body)
}

fn shown_once(name: &str, text: &str) -> Markup {
    super::shown_once(
        html! { b { "The token of " (name) "." } " Copy it now: it is not shown again." },
        "made",
        text,
        "Copy the token",
    )
}

fn listed(ctx: &Ctx, view: &TokensView) -> Markup {
    let head = html! { th { "Name" } th { "Role" } th { "State" } th { "Last used" } th { "Ends" } th { "Made by" } th { span.vh { "Revoke" } } };
    let rows = html! { @for token in &view.rows { (row(ctx, token)) } };
    let body = html! {
        @if view.rows.is_empty() { (note::empty(icons::KEY, "No tokens", "Programs cannot ask for anything.", html! {})) }
        @else { (list::table("Tokens, newest first", head, rows)) }
    };
    card("tokens", "Tokens", html! {}, body)
}

fn row(ctx: &Ctx, token: &ApiToken) -> Markup {
    let stands = stands(token, ctx.now_ms);
    html! {
        tr data-row {
            td.b { (token.name) }
            td data-k="Role" { (token.role.title()) }
            td data-k="State" {
                @if token.revoked_at.is_some() { (chip(State::Off, "revoked")) }
                @else if stands { (chip(State::Ok, "works")) }
                @else { (chip(State::Off, "ended")) }
            }
            td data-k="Last used" { @match token.last_used { Some(at) => (format::ago(ctx.now_ms, at.0)), None => span.t3 { "never" } } }
            td class="num" data-k="Ends" { @match token.expires_at { Some(at) => (format::full(ctx.now_ms, at.0)), None => span.t3 { "never" } } }
            td data-k="Made by" { (token.created_by.trim_start_matches("user:")) }
            td { @if stands { (form::post(ctx, &format!("{PATH}/{}/revoke", token.id), "", html! {
                button class="btn s dan" aria-label={ "Revoke " (token.name) } { "Revoke" }
            })) } }
        }
    }
}

fn stands(token: &ApiToken, now: i64) -> bool {
    token.revoked_at.is_none() && token.expires_at.is_none_or(|at| at.0 > now)
}

fn add(ctx: &Ctx, view: &TokensView) -> Markup {
    let (wrong, sent) = (view.wrong.as_ref(), &view.sent);
    let days = [
        ("7", "7 days"),
        ("30", "30 days"),
        ("90", "90 days"),
        ("365", "A year"),
        ("0", "Until it is revoked"),
    ]
    .map(|(value, words)| Choice::new(value, words));
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let fields = html! {
        (Field { name: "name", label: "What it is for", value: &sent.name, autocomplete: "off", mono: true,
            hint: Some("Small letters, digits, '.', '_' and '-'."), error: Wrong::at(wrong, "name"), ..Field::default() }.draw())
        (Select { name: "role", label: "Role", choices: &roles(), chosen: &or(&sent.role, "viewer"), error: Wrong::at(wrong, "role"), hint: None }.draw())
        (Select { name: "days", label: "Lives for", choices: &days, chosen: &or(&sent.days, "90"), error: Wrong::at(wrong, "days"), hint: None }.draw())
        button class="btn pri" { "Make the token" }
    };
    card("add", "Make a token", html! {}, html! { (form::post(ctx, PATH, "cb stack", fields)) })
}

async fn fill(state: &AppState) -> Result<TokensView, Problem> {
    let mut rows = api_tokens::list(&state.db, "", SHOWN).await?;
    let now = state.now().0;
    rows.sort_by_key(|token| (!stands(token, now), std::cmp::Reverse(token.created_at)));
    Ok(TokensView { rows, ..TokensView::default() })
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

/// A token as the form sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    name: String,
    role: String,
    /// Days of its life; 0 for no end.
    days: String,
}

/// Makes a token and shows it, this once.
///
/// # Errors
/// Only what the form cannot show.
pub async fn add_one(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let done = async {
        let days: i64 =
            sent.days.parse().ok().filter(|days| (0..=3_650).contains(days)).ok_or_else(|| {
                Problem::invalid("days", "must be a number of days up to 3650, or 0 for no end")
            })?;
        let expires_at = (days > 0).then(|| state.now().plus(days * DAY_MS).0);
        let new = NewToken { name: sent.name.trim().to_owned(), role: role(&sent.role)?.into(), expires_at };
        make(&state, &principal, &new).await
    };
    let (status, view) = match done.await {
        Ok((about, text)) => {
            (StatusCode::OK, TokensView { made: Some((about.name, text)), ..fill(&state).await? })
        }
        Err(problem) => {
            let wrong = Some(Wrong::of(problem, &["name", "role", "days"])?);
            (StatusCode::UNPROCESSABLE_ENTITY, TokensView { sent, wrong, ..fill(&state).await? })
        }
    };
    Ok(page(&frame.ctx, &view).status(status).answer(&frame.ctx, &frame.headers))
}

/// Revokes a token.
///
/// # Errors
/// When there is none.
pub async fn revoke(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let name = end(&state, &principal, &id).await?;
    state.say(&principal, State::Ok, format!("The token {name} is revoked"));
    Ok(see_other(PATH))
}
