//! Walks over all routes: who gets in, what is described, what every answer carries.

use std::collections::BTreeSet;

use super::super::router::{Need, ROUTES, Route};
use super::*;

/// A path of the route with something in place of its parameters.
fn concrete(route: &Route) -> String {
    let id = "0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b";
    route
        .path
        .split('/')
        .map(|part| if part.starts_with('{') { id } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

fn lets_in(need: Need, role: Option<Role>) -> bool {
    match need {
        Need::Probe | Need::Public => true,
        Need::Setup => false,
        Need::Session => role.is_some(),
        Need::Viewer | Need::Operator | Need::Admin => role >= need.role() && role.is_some(),
    }
}

fn turned_away(answer: &Answer) -> bool {
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => true,
        StatusCode::SEE_OTHER => answer.location().starts_with("/login"),
        _ => false,
    }
}

#[tokio::test]
async fn authz_matrix_every_route_role_ownership() {
    let web = Web::new().await;
    let mut cells = 0;
    for route in ROUTES.iter().filter(|route| !route.path.starts_with("/events")) {
        let path = concrete(route);
        let api = super::super::envelope::is_for_programs(&path);
        for role in [None, Some(Role::Viewer), Some(Role::Operator), Some(Role::Admin)] {
            let plain = ask(route.method.as_str(), &path).header("origin", OWN);
            let (by_session, by_token) = match role {
                Some(role) => (
                    plain.clone().by(&web.session(role.word()).await),
                    Some(plain.token(&web.token(role).await)),
                ),
                None => (plain, None),
            };
            let answer = web.send(by_session).await;
            let gone = route.need == Need::Setup && answer.status == StatusCode::NOT_FOUND;
            // The sign-in form answers 401 to an empty form, and sign-out leads to the sign-in page.
            let itself = matches!(path.as_str(), "/login" | "/logout");
            if !itself {
                let want = lets_in(route.need, role);
                assert_eq!(
                    !gone && !turned_away(&answer),
                    want,
                    "{} {path} {role:?}: {} {}",
                    route.method,
                    answer.status,
                    answer.text()
                );
            }
            cells += 1;
            let Some(by_token) = by_token else { continue };
            let answer = web.send(by_token).await;
            let open = matches!(route.need, Need::Probe | Need::Public) || (api && lets_in(route.need, role));
            if !itself && route.need != Need::Setup {
                assert_eq!(
                    !turned_away(&answer),
                    open,
                    "token {} {path} {role:?}: {}",
                    route.method,
                    answer.status
                );
            }
            cells += 1;
        }
    }
    assert!(cells > 300, "{cells}");
}

#[tokio::test]
async fn pre_auth_surface_is_exact_allowlist() {
    let open: BTreeSet<_> = ROUTES
        .iter()
        .filter(|route| matches!(route.need, Need::Probe | Need::Public | Need::Setup))
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    let want = [
        "GET /api/health",
        "GET /api/openapi.json",
        "GET /api/ready",
        "GET /assets/{name}",
        "GET /login",
        "GET /setup",
        "POST /login",
        "POST /setup",
    ];
    assert_eq!(open.iter().map(String::as_str).collect::<Vec<_>>(), want);
}

#[tokio::test]
async fn no_state_change_on_safe_methods_full_router_walk() {
    let changing = |path: &str| {
        ROUTES.iter().any(|route| route.path == path && !super::super::csrf::is_safe(&route.method))
    };
    let web = Web::new().await;
    let session = web.session("admin").await;
    for path in ROUTES.iter().map(|route| route.path).collect::<BTreeSet<_>>() {
        let reads = ROUTES.iter().any(|route| route.path == path && route.method == Method::GET);
        if !changing(path) || reads {
            continue;
        }
        let route = ROUTES.iter().find(|route| route.path == path).unwrap();
        for method in ["GET", "HEAD", "OPTIONS"] {
            let answer = web.send(ask(method, &concrete(route)).by(&session)).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn every_route_of_the_api_is_described_and_nothing_else_is() {
    let web = Web::new().await;
    let description = web.send(get("/api/openapi.json")).await.json();
    let mut described = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert(format!("{} {path}", method.to_uppercase()));
            let summary = operation["summary"].as_str().or(operation["description"].as_str());
            assert!(summary.is_some_and(|text| !text.is_empty()), "{method} {path} says nothing");
            assert!(!operation["responses"].as_object().unwrap().is_empty());
        }
    }
    let routes: BTreeSet<_> = ROUTES
        .iter()
        .filter(|route| route.path.starts_with("/api/") && route.path != "/api/openapi.json")
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    assert_eq!(described, routes);
    let text = description.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(description["components"]["schemas"].get(name).is_some(), "{name} is not described");
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_and_an_id() {
    let web = Web::new().await;
    let session = web.session("admin").await;
    let asset = super::super::assets::LOOK_CSS;
    for ask in [
        get("/login"),
        get("/nowhere").by(&session),
        get("/api/nowhere"),
        get("/api/v1/users"),
        get("/api/v1/users").by(&session),
        ask("PUT", "/api/health"),
        get("/api/health"),
        get(asset),
        get("/").without("host"),
    ] {
        let path = ask.path.clone();
        let answer = web.send(ask).await;
        let csp = answer.header("content-security-policy");
        assert!(csp.starts_with("default-src 'none'") && !csp.contains("unsafe"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("x-request-id").len(), 16, "{path}");
        assert_eq!(answer.header("cache-control") == "no-store", path != asset, "{path}");
        if path.starts_with("/api/") && !answer.status.is_success() {
            assert_eq!(answer.header("content-type"), "application/problem+json");
            let problem = answer.json();
            assert_eq!(problem["status"], answer.status.as_u16());
            assert_eq!(problem["request_id"], answer.header("x-request-id"));
        }
    }
}

#[tokio::test]
async fn a_handler_that_panics_ends_its_request_alone_and_tells_nothing() {
    let web = Web::new().await;
    let boom = axum::routing::get(async || -> &'static str { panic!("the secret reason") });
    let routes = axum::Router::new().route("/boom", boom.clone()).route("/api/v1/boom", boom);
    let app = super::super::router::layered(routes, web.state.clone());
    let web = Web { app, ..web };
    let page = web.send(get("/boom")).await;
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
    let id = page.header("x-request-id").to_owned();
    assert!(page.text().contains(&id) && !page.text().contains("secret"), "{}", page.text());
    let api = web.send(get("/api/v1/boom")).await;
    assert_eq!(
        (api.status, api.header("content-type")),
        (StatusCode::INTERNAL_SERVER_ERROR, "application/problem+json")
    );
    assert!(!api.text().contains("secret"));
    assert_eq!(web.send(get("/api/health")).await.status, StatusCode::NOT_FOUND);
}
