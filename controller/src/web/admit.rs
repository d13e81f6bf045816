//! The door: no handler runs before this layer has found who asks, that the route lets them in, and
//! that a request that changes something comes from a page of ours.
//!
//! A route that is not in the table of [`super::router`] runs nothing but "not found".

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, html};

use super::api::openapi;
use super::auth::principal::{identify, note_use};
use super::auth::throttle::network;
use super::auth::{Principal, Way};
use super::csrf;
use super::envelope::is_for_programs;
use super::error::Problem;
use super::layout;
use super::limits::{BODY_BYTES, FORM_BYTES};
use super::peer::{Client, Peer, client};
use super::router::{self, Need};
use super::state::AppState;
use super::widgets::query::Query;

/// Fields of a form whose session value was checked; the value itself is gone.
#[derive(Debug, Clone, Default)]
pub struct Fields(pub Vec<(String, String)>);

/// See the module.
pub(super) async fn admit(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    if need_of(&parts) == Some(Need::Probe) {
        // Answered to everyone, under any name: probes of orchestrators know neither.
        return next.run(Request::from_parts(parts, body)).await;
    }
    let admitted = match judge(&state, &mut parts).await {
        Ok(admitted) => admitted,
        Err(refused) => return refused,
    };
    let Admitted { client, principal } = admitted;
    let answered = |mut response: Response| {
        if let Some(principal) = principal.clone() {
            response.extensions_mut().insert(principal);
        }
        response.extensions_mut().insert(client.clone());
        response
    };
    let key = principal.as_ref().map_or_else(|| format!("from:{}", network(client.source)), Principal::key);
    // Strangers have places of their own: they cannot take those of people who are signed in.
    let places = if principal.is_some() { &state.requests } else { &state.strangers };
    let _place = match places.take(&key) {
        Ok(place) => place,
        Err(problem) => return answered(problem.into_response()),
    };
    let body = match check_body(&mut parts, body, &client, principal.as_ref()).await {
        Ok(body) => body,
        Err(problem) => return answered(problem.into_response()),
    };
    if let Some(principal) = &principal {
        if counts_as_use(&parts)
            && let Err(e) = note_use(&state, principal).await
        {
            tracing::warn!("the use of a session was not noted: {e}");
        }
        parts.extensions.insert(principal.clone());
    }
    parts.extensions.insert(client.clone());
    answered(next.run(Request::from_parts(parts, body)).await)
}

struct Admitted {
    client: Client,
    principal: Option<Principal>,
}

/// Whether the request may go on; otherwise the answer to it.
async fn judge(state: &AppState, parts: &mut Parts) -> Result<Admitted, Response> {
    let refuse = |problem: Problem| problem.into_response();
    let need = need_of(parts);
    let peer = parts
        .extensions
        .get::<Peer>()
        .copied()
        .ok_or_else(|| refuse(Problem::internal("a request came without its peer")))?;
    let client = client(peer, &parts.headers, &parts.uri, &state.server).map_err(refuse)?;
    let principal = identify(state, &parts.headers, client.https).await.map_err(|e| refuse(e.into()))?;
    let admitted = Admitted { client, principal };
    let Some(need) = need else { return Ok(admitted) };
    let programs = is_for_programs(parts.uri.path());
    // Pages are for people: a token opens the API alone.
    let person = admitted.principal.as_ref().filter(|p| programs || matches!(p.way, Way::Session { .. }));
    if need == Need::Setup && !state.setup.is_open(&state.db).await.map_err(|e| refuse(e.into()))? {
        return Err(refuse(Problem::not_found("page")));
    }
    let with_facts = |mut response: Response| {
        response.extensions_mut().extend(facts(&admitted));
        response
    };
    if let Some(least) = need.role() {
        let Some(person) = person else {
            return Err(with_facts(ask_to_sign_in(state, parts, programs).await));
        };
        if person.must_change() {
            return Err(with_facts(ask_to_change(programs)));
        }
        if person.role < least {
            let detail = format!("this needs the role {}; yours is {}", least.title(), person.role.title());
            let problem = Problem::forbidden(detail).about("role").remedy(least.title());
            return Err(with_facts(refuse(problem)));
        }
    } else if need == Need::Session && person.is_none() {
        return Err(with_facts(ask_to_sign_in(state, parts, programs).await));
    }
    Ok(admitted)
}

fn facts(admitted: &Admitted) -> axum::http::Extensions {
    let mut facts = axum::http::Extensions::new();
    if let Some(principal) = admitted.principal.clone() {
        facts.insert(principal);
    }
    facts.insert(admitted.client.clone());
    facts
}

fn need_of(parts: &Parts) -> Option<Need> {
    let path = parts.extensions.get::<MatchedPath>()?;
    router::need(&parts.method, path.as_str())
}

/// What is fetched by a page that keeps itself fresh does not keep a session alive; a person does.
fn counts_as_use(parts: &Parts) -> bool {
    let by_itself = layout::is_partial(&parts.headers) || parts.uri.path().starts_with("/events");
    !(csrf::is_safe(&parts.method) && by_itself)
}

async fn ask_to_sign_in(state: &AppState, parts: &Parts, programs: bool) -> Response {
    if programs {
        return Problem::unauthenticated().into_response();
    }
    let first = state.setup.is_open(&state.db).await.unwrap_or(false);
    let target = if first {
        "/setup".to_owned()
    } else if csrf::is_safe(&parts.method) && parts.uri.path() != "/" && !layout::is_partial(&parts.headers) {
        let wanted = parts.uri.path_and_query().map_or("/", |wanted| wanted.as_str());
        Query::default().with("next", wanted).href("/login")
    } else {
        "/login".to_owned()
    };
    if layout::is_partial(&parts.headers) {
        return redirected_by_htmx(&target);
    }
    if csrf::is_safe(&parts.method) && from_another_site(&parts.headers) && !first {
        return once_more(&parts.uri);
    }
    see_other(&target)
}

fn ask_to_change(programs: bool) -> Response {
    if programs {
        return Problem::forbidden("the password must be changed first")
            .about("password")
            .remedy("sign in to the dashboard and choose a new one")
            .into_response();
    }
    see_other("/password")
}

fn from_another_site(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes() == b"cross-site")
}

/// A link on another site comes without the cookie (`SameSite=Strict`), and so do its redirects. A page
/// of ours that asks again brings it.
fn once_more(uri: &Uri) -> Response {
    let wanted = uri.path_and_query().map_or("/", |wanted| wanted.as_str());
    // Two slashes at the start would be another site's address.
    let wanted = if wanted.starts_with("//") { "/" } else { wanted };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { "Smart System Operator" } meta http-equiv="refresh" content={ "0;url=" (wanted) }; }
            body { a href=(wanted) { "Go on" } }
        }
    };
    layout::html_response(StatusCode::OK, page)
}

/// A redirect that turns a POST into a GET.
#[must_use]
pub fn see_other(target: &str) -> Response {
    let location = HeaderValue::from_str(target).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()
}

fn redirected_by_htmx(target: &str) -> Response {
    let location = HeaderValue::from_str(target).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::OK, [(HeaderName::from_static("hx-redirect"), location)]).into_response()
}

/// Checks the body before a handler reads it, and for what a session sends, where it comes from.
async fn check_body(
    parts: &mut Parts,
    body: Body,
    client: &Client,
    principal: Option<&Principal>,
) -> Result<Body, Problem> {
    let safe = csrf::is_safe(&parts.method);
    let by_token = principal.is_some_and(|principal| matches!(principal.way, Way::Token { .. }));
    let programs = is_for_programs(parts.uri.path());
    check_query(parts)?;
    if programs && safe && !by_token {
        csrf::same_origin(&parts.headers, &client.origin(), false)?;
    }
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > BODY_BYTES) {
        return Err(Problem::too_large(BODY_BYTES));
    }
    if parts.headers.get(CONTENT_ENCODING).is_some_and(|value| value.as_bytes() != b"identity") {
        return Err(Problem::malformed("compressed bodies are not read")
            .about("content-encoding")
            .status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    if safe || by_token {
        return Ok(body);
    }
    csrf::same_origin(&parts.headers, &client.origin(), true)?;
    let expected = principal.map(Principal::csrf);
    if programs {
        let sent = parts.headers.get(csrf::HEADER).and_then(|value| value.to_str().ok());
        return check_value(expected, sent).map(|()| body);
    }
    let fields = form(&parts.headers, body).await?;
    let sent = fields.iter().find(|(name, _)| name == csrf::FIELD).map(|(_, value)| value.as_str());
    let header = parts.headers.get(csrf::HEADER).and_then(|value| value.to_str().ok());
    check_value(expected, header.or(sent))?;
    let fields = fields.into_iter().filter(|(name, _)| name != csrf::FIELD).collect();
    parts.extensions.insert(Fields(fields));
    Ok(Body::empty())
}

/// The API refuses keys that an operation does not describe, whoever reads the query.
fn check_query(parts: &Parts) -> Result<(), Problem> {
    let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let Some(query) = parts.uri.query().filter(|_| path.starts_with("/api/v1/")) else { return Ok(()) };
    match openapi::unknown_key(&parts.method, path, query) {
        Some(key) => Err(Problem::invalid(key, "is not a parameter of this address")
            .remedy("/api/openapi.json lists the parameters")),
        None => Ok(()),
    }
}

/// Without a session there is no value: sign-in and setup rest on the origin alone.
fn check_value(expected: Option<&str>, sent: Option<&str>) -> Result<(), Problem> {
    match expected {
        Some(expected) if !csrf::fits(expected, sent) => {
            Err(Problem::foreign("the request does not carry this session's value").about(csrf::HEADER))
        }
        _ => Ok(()),
    }
}

async fn form(headers: &HeaderMap, body: Body) -> Result<Vec<(String, String)>, Problem> {
    const FORM: &str = "application/x-www-form-urlencoded";
    let bytes = axum::body::to_bytes(body, FORM_BYTES).await.map_err(|_| Problem::too_large(FORM_BYTES))?;
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if bytes.is_empty() && kind.is_empty() {
        return Ok(Vec::new());
    }
    if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM)) {
        return Err(Problem::media_type(FORM));
    }
    serde_urlencoded::from_bytes(&bytes)
        .map_err(|e| Problem::malformed(format!("the form is not readable: {e}")))
}
