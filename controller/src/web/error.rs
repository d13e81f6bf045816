//! What goes wrong on the way to an answer.
//!
//! One type, [`Problem`], for API and pages. A handler returns it with `?`; it says what is wrong, which
//! field it is about and what to do next. The outermost layer draws it: as `application/problem+json`
//! for the API and streams, as a page elsewhere. Errors of the store and of the machine become
//! [`Problem::internal`]: the cause goes to the log under the request's id, never to the answer.

use axum::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::auth::password::PasswordError;
use super::auth::secret::NoRandom;
use crate::decide::DecideError;
use crate::store::StoreError;

/// Why a request was not answered as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// Short name of the kind, stable: the end of the `type`.
    pub kind: &'static str,
    /// What is wrong, in a sentence.
    pub detail: String,
    /// Which field, parameter or header it is about.
    pub field: Option<String>,
    /// What to do next.
    pub remedy: Option<String>,
    /// Seconds until another try makes sense.
    pub retry_after: Option<u32>,
    /// For the log alone.
    pub cause: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            detail: detail.into(),
            field: None,
            remedy: None,
            retry_after: None,
            cause: None,
        }
    }

    /// A field, parameter or header has a value that it may not have.
    #[must_use]
    pub fn invalid(field: impl Into<String>, must: impl std::fmt::Display) -> Self {
        let field = field.into();
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", format!("{field} {must}"));
        let remedy = format!("correct {field} and send it again; /api/openapi.json has its form");
        Self { field: Some(field), ..problem }.remedy(remedy)
    }

    /// The request cannot be read at all.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
            .remedy("compare the request with /api/openapi.json")
    }

    /// The body is not of the type that is read here.
    #[must_use]
    pub fn media_type(wanted: &'static str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", format!("the body must be {wanted}"))
            .about("content-type")
            .remedy(format!("send Content-Type: {wanted}"))
    }

    /// The body or a header is larger than is read.
    #[must_use]
    pub fn too_large(most: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", format!("the body has more than {most} bytes"))
            .remedy("send less at once")
    }

    /// Nobody is signed in.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "no valid session or token came with the request",
        )
        .remedy("sign in, or send a token as Authorization: Bearer sysop_…")
    }

    /// The role does not allow it.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
            .remedy("ask somebody whose role allows it, or use a token of theirs")
    }

    /// It does not come from a page of ours.
    #[must_use]
    pub fn foreign(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "foreign", detail)
            .remedy("open the page again and send the form from there")
    }

    /// Nothing is at this address.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", format!("{what} not found"))
            .remedy("check the address; the lists of pages and API name what there is")
    }

    /// The address has no such method.
    #[must_use]
    pub fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", "this address does not take this method")
            .remedy("the header Allow lists those that it takes")
    }

    /// The state does not allow it now.
    #[must_use]
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
            .remedy("read it again as it is now, then decide anew")
    }

    /// Too much at once.
    #[must_use]
    pub fn too_many(detail: impl Into<String>, seconds: u32) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", detail)
            .remedy(format!("try again in {seconds} s"));
        Self { retry_after: Some(seconds), ..problem }
    }

    /// Something that is needed is not there at the moment.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let problem =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).remedy("try again in 2 s");
        Self { retry_after: Some(2), ..problem }
    }

    /// Something failed here. `cause` goes to the log.
    #[must_use]
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        let problem =
            Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the controller could not do it")
                .remedy("the log has the reason under this request's id");
        Self { cause: Some(cause.to_string()), ..problem }
    }

    /// With another status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// With what to do next.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// About this field.
    #[must_use]
    pub fn about(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The answer's body for programs (RFC 9457).
    #[must_use]
    pub fn json(&self, request_id: &str) -> serde_json::Value {
        serde_json::json!({
            "type": format!("urn:sysop:problem:{}", self.kind),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "field": self.field,
            "remedy": self.remedy,
            "request_id": request_id,
        })
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.cause.as_deref().unwrap_or(&self.detail))
    }
}

impl IntoResponse for Problem {
    /// The status and headers; the outermost layer finds the problem in the extensions and draws it.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sysop\""));
        }
        headers.remove(ALLOW);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::not_found(what),
            StoreError::Conflict(what) | StoreError::TooSoon(what) => Self::conflict(what),
            StoreError::TooMuch(what) => Self::invalid("from", what),
            error => Self::internal(error),
        }
    }
}

impl From<DecideError> for Problem {
    fn from(error: DecideError) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match error {
            DecideError::NotFound(what) => Self::not_found(what),
            DecideError::Invalid { field, problem } => Self::invalid(field, problem),
            DecideError::Store(error) => Self::internal(error),
            error if status == StatusCode::FORBIDDEN => Self::forbidden(error.to_string()),
            error => Self::conflict(error.to_string()).status(status),
        }
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::unavailable("too many sign-ins at once"),
            error => Self::internal(error),
        }
    }
}

impl From<NoRandom> for Problem {
    fn from(error: NoRandom) -> Self {
        Self::internal(error)
    }
}
