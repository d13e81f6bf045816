//! Sign-in.

use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::entrance;
use crate::web::admit::see_other;
use crate::web::auth::Principal;
use crate::web::auth::sign_in::{self, NotSignedIn};
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::{Form, Params};
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::peer::Client;
use crate::web::state::AppState;
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
        p class="small t3" { "Forgotten? Someone with access to the controller's machine can run " code { "sysop-controller user passwd" } " there." }
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

/// The query of the page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginQuery {
    next: Option<String>,
}

/// Shows the page; whoever is signed in, or has nothing to sign in to yet, is sent on.
///
/// # Errors
/// Only the store's.
pub async fn show(
    State(state): State<AppState>,
    client: Client,
    principal: Option<Principal>,
    frame: Frame,
    Params(query): Params<LoginQuery>,
) -> Result<Response, Problem> {
    if state.setup.is_open(&state.db).await? {
        return Ok(see_other("/setup"));
    }
    let next = query.next.filter(|next| is_own(next));
    if principal.is_some() {
        return Ok(see_other(next.as_deref().unwrap_or("/")));
    }
    let notice = next.is_some().then(|| "Sign in to go on.".to_owned());
    let view = LoginView { next, notice, controller: client.origin(), ..LoginView::default() };
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// The form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginForm {
    username: String,
    password: String,
    next: Option<String>,
}

/// Signs in.
///
/// # Errors
/// When something failed here.
pub async fn submit(
    State(state): State<AppState>,
    client: Client,
    frame: Frame,
    Form(form): Form<LoginForm>,
) -> Result<Response, Problem> {
    let next = form.next.filter(|next| is_own(next));
    let (status, error) = match sign_in::sign_in(&state, &client, &form.username, &form.password).await {
        Ok((user, cookie)) => {
            let target = if user.must_change { "/password" } else { next.as_deref().unwrap_or("/") };
            return Ok(entered(&cookie, target));
        }
        Err(NotSignedIn::Wait(seconds)) => {
            (StatusCode::TOO_MANY_REQUESTS, format!("Too many tries. The next one counts in {seconds} s."))
        }
        Err(NotSignedIn::Problem(problem)) => return Err(problem),
        Err(NotSignedIn::Wrong | NotSignedIn::Field(..)) => {
            (StatusCode::UNAUTHORIZED, "Wrong user name or password.".to_owned())
        }
    };
    let view = LoginView {
        username: form.username.chars().take(64).collect(),
        error: Some(error),
        notice: None,
        next,
        controller: client.origin(),
    };
    Ok(page(&frame.ctx, &view).status(status).answer(&frame.ctx, &frame.headers))
}

/// Signs out.
///
/// # Errors
/// Only the store's.
pub async fn leave(
    State(state): State<AppState>,
    client: Client,
    principal: Principal,
) -> Result<Response, Problem> {
    let cookie = sign_in::sign_out(&state, &client, &principal).await?;
    Ok(entered(&cookie, "/login"))
}

/// Goes to `target` with a cookie.
pub(super) fn entered(cookie: &str, target: &str) -> Response {
    let mut response = see_other(target);
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, value);
    }
    response
}

/// Whether `next` is an address of ours: one slash, so that it cannot name another site.
pub(super) fn is_own(next: &str) -> bool {
    next.starts_with('/')
        && !next.starts_with("//")
        && next.len() <= 1024
        && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

#[cfg(test)]
mod tests {
    use super::is_own;

    #[test]
    fn the_way_on_leads_to_an_address_of_ours() {
        for (next, good) in [
            ("/hosts?label=role%3Dweb", true),
            ("/", true),
            ("", false),
            ("hosts", false),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("https://evil.example", false),
            ("/a\r\nSet-Cookie: x", false),
        ] {
            assert_eq!(is_own(next), good, "{next:?}");
        }
    }
}
