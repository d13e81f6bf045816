//! The API's description, made from the handlers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

/// All of the API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Smart System Operator",
        description = "Times are integer milliseconds since 1970 UTC. Lists come in parts (`limit`, `after`). \
            Errors are `application/problem+json` and name the field and the remedy."
    ),
    paths(
        super::health::health,
        super::health::ready,
        super::hosts::list,
        super::hosts::get,
        super::hosts::change,
        super::hosts::remove,
        super::hosts::revoke,
        super::series::series,
        super::series::metrics,
        super::rows::processes,
        super::rows::units,
        super::queries::ask,
        super::incidents::list,
        super::incidents::get,
        super::incidents::ack,
        super::analyses::words,
        super::analyses::say,
        super::analyses::list,
        super::analyses::get,
        super::model::get,
        super::model::change,
        super::model::test,
        super::model::preview,
        super::model::recording,
        super::model::notes,
        super::model::write_note,
        super::model::trusted,
        super::model::lift,
        super::runs::list,
        super::runs::get,
        super::runs::output,
        super::runs::start,
        super::runs::cancel,
        super::runs::settle,
        super::approvals::decide,
        super::assignments::list,
        super::assignments::set,
        super::assignments::remove,
        super::assignments::automation,
        super::assignments::set_automation,
        super::assignments::busy_hours,
        super::assignments::set_busy_hours,
        super::probes::list,
        super::probes::get,
        super::probes::add,
        super::probes::change,
        super::probes::remove,
        super::probes::try_now,
        super::maintenance::list,
        super::maintenance::set,
        super::maintenance::end,
        super::rules::list,
        super::rules::get,
        super::rules::create,
        super::rules::change,
        super::rules::remove,
        super::rules::tried::preview,
        super::rules::coverage::coverage,
        super::rules::read::why,
        super::enrolment::list,
        super::enrolment::create,
        super::enrolment::revoke,
        super::audit::list,
        super::retention::get,
        super::retention::confirm,
        super::tokens::list,
        super::tokens::create,
        super::tokens::revoke,
        super::users::list,
        super::users::create,
        super::users::change,
        super::users::set_password,
    ),
    modifiers(&Doors),
    security(("token" = []), ("session" = []))
)]
pub struct Description;

struct Doors;

impl Modify for Doors {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_default();
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token made by an administrator or by `sysop-controller token create`"));
        components.add_security_scheme("token", SecurityScheme::Http(token.build()));
        let session = ApiKey::Cookie(ApiKeyValue::with_description(
            "__Host-sysop",
            "The dashboard's session. What changes something carries x-csrf-token too",
        ));
        components.add_security_scheme("session", SecurityScheme::ApiKey(session));
    }
}

/// Parameters of the query, by method and path.
static QUERIES: LazyLock<BTreeMap<(String, String), BTreeSet<String>>> = LazyLock::new(|| {
    let whole = serde_json::to_value(Description::openapi()).unwrap_or_default();
    let mut queries = BTreeMap::new();
    let empty = serde_json::Map::new();
    for (path, item) in whole["paths"].as_object().unwrap_or(&empty) {
        for (method, operation) in item.as_object().unwrap_or(&empty) {
            let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
            let names = parameters.iter().filter(|one| one["in"] == "query");
            let names = names.filter_map(|one| one["name"].as_str().map(str::to_owned)).collect();
            queries.insert((method.to_uppercase(), path.clone()), names);
        }
    }
    queries
});

/// The first key of `query` that the operation does not describe: a slip must not pass for a filter.
#[must_use]
pub fn unknown_key(method: &Method, path: &str, query: &str) -> Option<String> {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let known = QUERIES.get(&(method.to_owned(), path.to_owned()));
    form_urlencoded::parse(query.as_bytes())
        .map(|(key, _)| key.into_owned())
        .find(|key| known.is_none_or(|known| !known.contains(key)))
}

static TEXT: LazyLock<String> =
    LazyLock::new(|| Description::openapi().to_json().unwrap_or_else(|_| "{}".to_owned()));

/// The description as JSON.
pub async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}
