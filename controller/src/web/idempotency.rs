//! `Idempotency-Key`: the same POST again is answered as the first was, and not done again.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sysop_common::ids::sha256;

use super::auth::Principal;
use super::error::Problem;
use super::limits::BODY_BYTES;
use super::state::AppState;
use crate::store::idempotency::{self, Claim};

/// The header.
pub const HEADER: &str = "idempotency-key";
/// On an answer that was kept.
const REPLAYED: &str = "idempotency-replayed";
/// What keeps its own keys, in the transaction of its effect.
const OWN: &str = "/api/v1/runs";
/// Answers up to this size are kept, in bytes.
const MOST_KEPT: usize = 64 * 1024;

/// In an answer's extensions: what is kept of it, because it shows something that is shown once.
#[derive(Debug, Clone)]
pub struct ShownOnce(pub String);

/// The key of a request.
///
/// # Errors
/// When it does not have its form.
pub fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut all = headers.get_all(HEADER).iter();
    let Some(value) = all.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| {
        (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) && all.next().is_none()
    });
    text.map(|text| Some(text.to_owned()))
        .ok_or_else(|| Problem::invalid(HEADER, "must be 1 to 200 visible ASCII characters, given once"))
}

/// Keeps answers to POSTs of the API that carry a key.
pub(super) async fn once(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let (path, method) = (request.uri().path(), request.method());
    if *method != Method::POST || path == OWN || !path.starts_with("/api/v1/") {
        return next.run(request).await;
    }
    match kept(&state, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn kept(state: &AppState, request: Request, next: Next) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let principal = parts.extensions.get::<Principal>().map(Principal::key);
    let (Some(key), Some(principal)) = (key(&parts.headers)?, principal) else {
        return Ok(next.run(Request::from_parts(parts, body)).await);
    };
    let bytes = to_bytes(body, BODY_BYTES).await.map_err(|_| Problem::too_large(BODY_BYTES))?;
    let mut asked = parts.uri.to_string().into_bytes();
    asked.push(0);
    asked.extend_from_slice(&bytes);
    match idempotency::claim(&state.db, &principal, &key, &sha256(&asked), state.now()).await? {
        Claim::New => {}
        Claim::Done { status, body } => return Ok(again(status, body)),
        Claim::Open => {
            return Err(Problem::conflict(
                "a request with this key is under way, or did not come to its end",
            )
            .about(HEADER)
            .remedy("look whether it was done; if not, ask again with a new key"));
        }
        Claim::Other => {
            return Err(Problem::conflict("another request was made with this key")
                .about(HEADER)
                .status(StatusCode::UNPROCESSABLE_ENTITY)
                .remedy("use a new key for each intent"));
        }
    }
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    if response.status().is_client_error() {
        idempotency::release(&state.db, &principal, &key).await?;
        return Ok(response);
    }
    // Of a failure here it is not known what was done: the claim stays.
    if response.status().is_server_error() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, BODY_BYTES).await.map_err(Problem::internal)?;
    let once = parts.extensions.get::<ShownOnce>().map(|once| once.0.clone());
    let text = once.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
    if text.len() <= MOST_KEPT {
        idempotency::settle(&state.db, &principal, &key, status, &text).await?;
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn again(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
