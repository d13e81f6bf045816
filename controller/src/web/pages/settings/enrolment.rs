//! Tokens with which hosts come in.

use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::Wrong;
use crate::store::enrollment_tokens::{self, EnrollmentToken};
use crate::web::admit::see_other;
use crate::web::api::enrolment::{MadeEnrolment, NewEnrolment, make, withdraw};
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::Form;
use crate::web::layout::{Ctx, Page};
use crate::web::peer::Client;
use crate::web::state::AppState;
use crate::web::widgets::form::{Choice, Field, Select};
use crate::web::widgets::state::{State, chip};
use crate::web::widgets::{card, form, format, icons, list, note};

const PATH: &str = "/settings/enrolment";
/// Tokens that are shown: the newest.
const SHOWN: u32 = 200;
/// Names of the form's fields, as the API calls them.
const FIELDS: [&str; 3] = ["name", "uses", "expires_in_s"];

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct EnrolmentView {
    /// Tokens, newest first.
    pub rows: Vec<EnrollmentToken>,
    /// The token that was just made, this once.
    pub made: Option<MadeEnrolment>,
    /// The form as it was sent.
    pub sent: Sent,
    /// What is wrong with it.
    pub wrong: Option<Wrong>,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &EnrolmentView) -> Page {
    let below = html! { "A host comes in once, with a token that ends by itself. For a single host, " a href="/hosts/new" { "Add host" } " is shorter." };
    let body = html! {
        @if let Some(made) = &view.made { div.below { (shown_once(ctx, made)) } }
        div.grid {
            div class="c8 stack" { (listed(ctx, view)) }
            div class="c4 stack" { (add(ctx, view)) }
        }
    };
    super::page(ctx, "Enrolment", below, body)
}

fn shown_once(ctx: &Ctx, made: &MadeEnrolment) -> Markup {
    let until = format::full(ctx.now_ms, made.expires_at);
    super::shown_once(
        html! { b { "Run this on each host, as root or with sudo." } " It is shown once and works until " (until) "." },
        "line",
        &made.command,
        "Copy the line",
    )
}

fn listed(ctx: &Ctx, view: &EnrolmentView) -> Markup {
    let head = html! { th { "Name" } th { "State" } th { "Used" } th { "Labels" } th { "Ends" } th { "Made by" } th { span.vh { "Withdraw" } } };
    let rows = html! { @for token in &view.rows { (row(ctx, token)) } };
    let body = html! {
        @if view.rows.is_empty() { (note::empty(icons::KEY, "No tokens", "No host can come in before one is made.", html! {})) }
        @else { (list::table("Enrolment tokens, newest first", head, rows)) }
    };
    card("tokens", "Enrolment tokens", html! {}, body)
}

fn row(ctx: &Ctx, token: &EnrollmentToken) -> Markup {
    let (state, words) = if token.revoked_at.is_some() {
        (State::Off, "withdrawn")
    } else if token.uses >= token.max_uses {
        (State::Off, "used up")
    } else if token.expires_at.0 <= ctx.now_ms {
        (State::Off, "ended")
    } else {
        (State::Ok, "lets hosts in")
    };
    let labels: Vec<String> = token.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    html! {
        tr data-row {
            td.b { @if token.name.is_empty() { span.t3 { "without a name" } } @else { (token.name) } }
            td data-k="State" { (chip(state, words)) @if token.recovers.is_some() { " " span class="chip out" { "brings a host back" } } }
            td class="num" data-k="Used" { (token.uses) " of " (token.max_uses) }
            td.wr { @if labels.is_empty() { span.t3 { "–" } } @else { code { (labels.join(" ")) } } }
            td class="num" data-k="Ends" { (format::full(ctx.now_ms, token.expires_at.0)) }
            td data-k="Made by" { (token.created_by.trim_start_matches("user:")) }
            td { @if state == State::Ok { (form::post(ctx, &format!("{PATH}/{}/withdraw", token.id), "", html! {
                button class="btn s dan" aria-label={ "Withdraw " (token.name) } { "Withdraw" }
            })) } }
        }
    }
}

fn add(ctx: &Ctx, view: &EnrolmentView) -> Markup {
    let (wrong, sent) = (view.wrong.as_ref(), &view.sent);
    let lives = [
        ("900", "15 minutes"),
        ("3600", "1 hour"),
        ("86400", "1 day"),
        ("604800", "7 days"),
        ("2592000", "30 days"),
    ]
    .map(|(value, words)| Choice::new(value, words));
    let life = if sent.expires_in_s.is_empty() { "3600" } else { &sent.expires_in_s };
    let uses = if sent.uses.is_empty() { "1" } else { &sent.uses };
    let fields = html! {
        (Field { name: "name", label: "What it is for", value: &sent.name, autocomplete: "off", optional: true,
            hint: Some("Such as: rack 4."), error: Wrong::at(wrong, "name"), ..Field::default() }.draw())
        (Field { name: "uses", label: "For how many hosts", kind: "number", value: uses, autocomplete: "off",
            hint: Some("1 to 10000."), error: Wrong::at(wrong, "uses"), ..Field::default() }.draw())
        (Select { name: "expires_in_s", label: "Lives for", choices: &lives, chosen: life,
            error: Wrong::at(wrong, "expires_in_s"), hint: None }.draw())
        p class="small t3" { "Hosts that use it are watched only. What may be done on a host, its owner says there." }
        button class="btn pri" { "Make the token" }
    };
    card(
        "add",
        "Make a token for several hosts",
        html! {},
        html! { (form::post(ctx, PATH, "cb stack", fields)) },
    )
}

async fn fill(state: &AppState) -> Result<EnrolmentView, Problem> {
    Ok(EnrolmentView { rows: enrollment_tokens::list(&state.db, SHOWN).await?, ..EnrolmentView::default() })
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
    #[serde(default)]
    name: String,
    uses: String,
    expires_in_s: String,
}

/// Makes a token and shows its line, this once.
///
/// # Errors
/// Only what the form cannot show.
pub async fn add_one(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    client: Client,
    frame: Frame,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let done = async {
        let whole = |field: &'static str| move |_| Problem::invalid(field, "must be a whole number");
        let new = NewEnrolment {
            name: sent.name.trim().to_owned(),
            uses: Some(sent.uses.trim().parse().map_err(whole("uses"))?),
            expires_in_s: Some(sent.expires_in_s.parse().map_err(whole("expires_in_s"))?),
            ..NewEnrolment::default()
        };
        make(&state, &principal, &client, new).await
    };
    let (status, view) = match done.await {
        Ok(made) => (StatusCode::OK, EnrolmentView { made: Some(made), ..fill(&state).await? }),
        Err(problem) => {
            let wrong = Some(Wrong::of(problem, &FIELDS)?);
            (StatusCode::UNPROCESSABLE_ENTITY, EnrolmentView { sent, wrong, ..fill(&state).await? })
        }
    };
    Ok(page(&frame.ctx, &view).status(status).answer(&frame.ctx, &frame.headers))
}

/// Withdraws a token.
///
/// # Errors
/// When there is none that stands.
pub async fn revoke(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    withdraw(&state, &principal, &id).await?;
    state.say(&principal, State::Ok, "The token is withdrawn: no host comes in by it".to_owned());
    Ok(see_other(PATH))
}
