//! How handlers read a request: bodies, queries, paths, forms, who asks. Whatever does not fit is a
//! [`Problem`] that names the field.

use std::fmt::Display;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Path, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::admit::Fields;
use super::auth::Principal;
use super::error::Problem;
use super::limits::{BODY_BYTES, too_deep};
use super::peer::Client;

/// A JSON body.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Problem::media_type("application/json"));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|_| Problem::too_large(BODY_BYTES))?;
        parse(&bytes).map(Self)
    }
}

/// The value of a JSON text.
///
/// # Errors
/// Names the field and what it must be.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if too_deep(bytes) {
        return Err(Problem::malformed("the body is nested too deep"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value: T = serde_path_to_error::deserialize(&mut deserializer).map_err(|e| {
        let path = e.path().to_string();
        let error = e.into_inner();
        // serde_json calls some wrong values wrong syntax, such as null for a choice.
        if error.is_data() || serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
            field_problem(&path, &error.to_string())
        } else {
            Problem::malformed(format!("the body is not JSON: {error}"))
        }
    })?;
    deserializer.end().map_err(|_| Problem::malformed("the body goes on after its JSON value"))?;
    Ok(value)
}

/// A query, each of whose keys is known and comes once.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn query<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(text.as_bytes()));
    serde_path_to_error::deserialize(pairs).map_err(|e| {
        let path = e.path().to_string();
        field_problem(&path, &e.into_inner().to_string())
    })
}

/// A form whose origin and session value were checked at the door.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let fields = parts.extensions.get::<Fields>().cloned().unwrap_or_default();
        let text = serde_urlencoded::to_string(&fields.0).map_err(Problem::internal)?;
        query(&text).map(Self)
    }
}

/// All fields of a form, for those whose names repeat.
impl<S: Send + Sync> FromRequestParts<S> for Fields {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// The one id in a path.
#[derive(Debug)]
pub struct Id<T>(pub T);

impl<T, S> FromRequestParts<S> for Id<T>
where
    T: FromStr<Err: Display>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = <Path<String> as FromRequestParts<S>>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::malformed("the address is not readable"))?;
        text.parse().map(Self).map_err(|e: T::Err| Problem::invalid("id", format!("is not one: {e}")))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthenticated)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Problem> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::internal("a request came past the door without its client"))
    }
}

/// A problem from what serde says: `missing field `x``, `unknown field `y`, expected …`, or a value.
fn field_problem(path: &str, said: &str) -> Problem {
    // serde_json adds the place in the text, which says less than the path.
    let said = said.split(" at line ").next().unwrap_or(said);
    let quoted = said.split('`').nth(1).unwrap_or_default();
    let inside = |name: &str| if path == "." { name.to_owned() } else { format!("{path}.{name}") };
    if said.starts_with("missing field") {
        return Problem::invalid(inside(quoted), "is missing");
    }
    if said.starts_with("unknown field") {
        // The path already ends in the unknown name where serde tracked it.
        let field = if path == "." || path == quoted { quoted.to_owned() } else { path.to_owned() };
        let known = said.split_once(", ").map_or("", |(_, known)| known);
        return Problem::invalid(field, format!("is not known here: {known}"));
    }
    if said.starts_with("duplicate field") {
        return Problem::invalid(quoted, "is given more than once");
    }
    let field = if path == "." { "body" } else { path };
    Problem::invalid(field, format!("does not fit: {said}"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Inner {
        name: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Outer {
        count: u8,
        inner: Inner,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Filter {
        state: Option<String>,
    }

    #[test]
    fn a_wrong_body_names_its_field() {
        let problem = |text: &str| parse::<Outer>(text.as_bytes()).unwrap_err();
        let field = |text: &str| problem(text).field.unwrap_or_default();
        assert!(parse::<Outer>(br#"{"count":1,"inner":{"name":"x"}}"#).is_ok());
        assert_eq!(field(r#"{"count":300,"inner":{"name":"x"}}"#), "count");
        assert_eq!(field(r#"{"count":1,"inner":{"name":7}}"#), "inner.name");
        assert_eq!(field(r#"{"count":1,"inner":{}}"#), "inner.name");
        assert_eq!(field(r#"{"inner":{"name":"x"}}"#), "count");
        assert_eq!(field(r#"{"count":1,"inner":{"name":"x"},"more":1}"#), "more");
        assert_eq!(field("[]"), "body");
        assert_eq!(problem("{").kind, "malformed");
        assert_eq!(problem(r#"{"count":1,"inner":{"name":"x"}} 1"#).kind, "malformed");
        assert_eq!(problem(&"[".repeat(100_000)).kind, "malformed");
        assert_eq!(problem("\u{0}\u{ff}").kind, "malformed");
    }

    #[test]
    fn a_query_has_known_keys_once() {
        assert!(query::<Filter>("").is_ok() && query::<Filter>("state=a%20b").is_ok());
        let field = |text: &str| query::<Filter>(text).unwrap_err().field.unwrap_or_default();
        assert_eq!(field("order=1"), "order");
        assert_eq!(field("state=1&state=2"), "state");
    }
}
