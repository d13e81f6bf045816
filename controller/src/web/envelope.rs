//! The outermost layer: an id for the request, a line in the log, headers on every answer, and
//! problems drawn for whoever asked.

use std::any::Any;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::Principal;
use super::error::Problem;
use super::limits::REQUEST_TIME;
use super::peer::{Client, Peer};
use super::state::AppState;
use super::{auth, context, pages};

/// What the log and error answers call a request.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

impl RequestId {
    fn new() -> Self {
        // A request is answered also without random bytes; its id is only less unique then.
        let bytes = auth::secret::random::<8>().unwrap_or_default();
        Self(sysop_common::ids::hex(&bytes))
    }
}

/// Whether the asker reads JSON rather than a page.
#[must_use]
pub fn is_for_programs(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/") || path == "/events" || path.starts_with("/events/")
}

/// See the module.
pub(super) async fn envelope(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::new();
    request.extensions_mut().insert(id.clone());
    let method = request.method().clone();
    let uri = request.uri().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let tls = request.extensions().get::<Peer>().is_some_and(|peer| peer.tls);
    let asked = request.headers().clone();

    let answer = tokio::time::timeout(REQUEST_TIME, next.run(request)).await;
    let mut response = answer.unwrap_or_else(|_| {
        Problem::unavailable(format!("it took longer than {} s", REQUEST_TIME.as_secs())).into_response()
    });
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let problem = Problem::method();
        response.extensions_mut().insert(problem);
    }
    let principal = response.extensions_mut().remove::<Principal>();
    let client = response.extensions_mut().remove::<Client>();
    let https = client.as_ref().map_or(tls, |client| client.https);
    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        log_problem(problem, &id, method.as_str(), uri.path());
        response = draw(&state, problem, response, &id, (&uri, &asked), principal.as_ref()).await;
    }
    tracing::debug!(
        method = %method,
        route = route.as_deref().unwrap_or("none"),
        status = response.status().as_u16(),
        ms = started.elapsed().as_millis(),
        actor = principal.as_ref().map_or_else(String::new, Principal::actor),
        request = id.0,
        "request"
    );
    set_headers(response.headers_mut(), &id, https);
    response
}

fn log_problem(problem: &Problem, id: &RequestId, method: &str, path: &str) {
    // Formatted with {:?}: a path is the asker's text, and control characters do not reach a terminal.
    let path: String = path.chars().take(200).collect();
    if problem.status.is_server_error() {
        tracing::error!(request = id.0, method, ?path, status = problem.status.as_u16(), "{problem:?}");
    } else {
        tracing::debug!(
            request = id.0,
            method,
            ?path,
            status = problem.status.as_u16(),
            "{:?}",
            problem.detail
        );
    }
}

/// A panic in a handler ends its request alone.
pub(super) fn caught(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a text");
    Problem::internal(format!("a handler panicked: {text}")).into_response()
}

/// The body of an answer that is a problem; status and headers of `bare` stay.
async fn draw(
    state: &AppState,
    problem: &Problem,
    bare: Response,
    id: &RequestId,
    (uri, asked): (&Uri, &HeaderMap),
    principal: Option<&Principal>,
) -> Response {
    let (mut parts, _) = bare.into_parts();
    for name in [CONTENT_TYPE, axum::http::header::CONTENT_LENGTH] {
        parts.headers.remove(name);
    }
    let drawn = if is_for_programs(uri.path()) {
        let body = problem.json(&id.0).to_string();
        ([(CONTENT_TYPE, "application/problem+json")], body).into_response()
    } else {
        let ctx = context::build(state, principal, uri, asked).await;
        pages::errors::of_problem(&ctx, problem, &id.0).answer(&ctx, asked)
    };
    let (new, body) = drawn.into_parts();
    for (name, value) in &new.headers {
        parts.headers.insert(name.clone(), value.clone());
    }
    Response::from_parts(parts, body)
}

/// Everything comes from here and goes nowhere else. `data:` is for the icons in the style sheet.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

fn set_headers(headers: &mut HeaderMap, id: &RequestId, https: bool) {
    let fixed: [(HeaderName, &'static str); 7] = [
        (CONTENT_SECURITY_POLICY, CSP),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // Nothing is told to other sites. Not no-referrer: with it browsers send `Origin: null` with
        // our own forms, and the origin could not be checked.
        (REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if https {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert("x-request-id", value);
    }
}
