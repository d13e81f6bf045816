//! Rules through the API and the pages: made, tried, seen to fire, explained, switched, deleted.

use serde_json::json;

use super::*;
use crate::decide::fixture::host_id;

const KEY: &str = "idempotency-key";

async fn ask_as(web: &Web, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
    let ask = ask(method, path).token(token);
    web.send(match &body {
        Some(body) => ask.json(body),
        None => ask,
    })
    .await
}

#[tokio::test]
async fn a_rule_is_made_once_fires_says_why_and_is_deleted() {
    let (web, ..) = Web::with_trouble().await;
    let (operator, viewer) = (web.token(Role::Operator).await, web.token(Role::Viewer).await);
    let host = host_id(1).to_string();
    let new = json!({"name": "nginx must run", "kind": "unit", "unit": "nginx.service", "for_ms": 0,
        "severity": "critical", "host": host, "labels": {"team": "web"}});
    let make = || ask("POST", "/api/v1/rules").token(&operator).header(KEY, "k1").json(&new);
    let made = web.send(make()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let again = web.send(make()).await;
    let id = made.json()["id"].as_i64().unwrap();
    assert_eq!(again.json()["id"], id);
    let refused = ask_as(&web, &viewer, "POST", "/api/v1/rules", Some(new.clone())).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let same = ask_as(&web, &operator, "POST", "/api/v1/rules", Some(new.clone())).await;
    assert_eq!((same.status, same.field()), (StatusCode::UNPROCESSABLE_ENTITY, "name".into()));
    let list = ask_as(&web, &viewer, "GET", "/api/v1/rules", None).await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 11);

    let at = format!("/api/v1/rules/{id}");
    let why = ask_as(&web, &viewer, "GET", &format!("{at}/hosts/{host}"), None).await.json();
    assert_eq!(
        (why["state"].as_str(), why["instances"][0]["phase"].as_str()),
        (Some("fires"), Some("firing"))
    );
    assert!(why["sentence"].as_str().unwrap().contains("nginx.service"), "{why}");
    assert!(why["samples"].as_array().unwrap().len() > 5 && why["parts"][0]["holds"] == false, "{why}");
    let cells = |state: &'static str| format!("/api/v1/rules/coverage?rule={id}&state={state}");
    let fires = ask_as(&web, &viewer, "GET", &cells("fires"), None).await.json();
    assert_eq!(fires["items"][0]["cells"][0]["state"], "fires");
    assert!(
        ask_as(&web, &viewer, "GET", &cells("fine"), None).await.json()["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    // Every cell says why.
    let all = ask_as(&web, &viewer, "GET", "/api/v1/rules/coverage", None).await.json();
    let cells = all["items"][0]["cells"].as_array().unwrap();
    assert!(cells.len() == 11 && cells.iter().all(|cell| !cell["why"].as_str().unwrap().is_empty()), "{all}");

    let mut off = new.clone();
    off["enabled"] = json!(false);
    assert_eq!(ask_as(&web, &operator, "PUT", &at, Some(off)).await.json()["version"], 2);
    let why = ask_as(&web, &viewer, "GET", &format!("{at}/hosts/{host}"), None).await.json();
    assert_eq!(why["state"], "off");
    assert_eq!(ask_as(&web, &operator, "DELETE", &at, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask_as(&web, &viewer, "GET", &at, None).await.status, StatusCode::NOT_FOUND);
    let audit = ask_as(&web, &viewer, "GET", "/api/v1/audit?limit=20", None).await.text();
    for action in ["rule.create", "rule.change", "rule.delete"] {
        assert!(audit.contains(action), "{action}: {audit}");
    }
}

#[tokio::test]
async fn rules_of_the_product_are_switched_and_copied_and_nothing_else() {
    let (web, ..) = Web::with_trouble().await;
    let operator = web.token(Role::Operator).await;
    let list = ask_as(&web, &operator, "GET", "/api/v1/rules", None).await.json();
    let builtin = &list["items"][0];
    let at = format!("/api/v1/rules/{}", builtin["id"]);
    let mut body = builtin.clone();
    for own in ["id", "builtin", "version", "created_by", "created_at", "updated_by", "updated_at"] {
        body.as_object_mut().unwrap().remove(own);
    }
    for nothing in ["unit", "process", "least", "port", "host", "label"] {
        assert!(body[nothing].is_null());
    }
    body["enabled"] = json!(false);
    let switched = ask_as(&web, &operator, "PUT", &at, Some(body.clone())).await;
    assert_eq!((switched.status, switched.json()["enabled"].clone()), (StatusCode::OK, json!(false)));
    body["for_ms"] = json!(1_000);
    assert_eq!(ask_as(&web, &operator, "PUT", &at, Some(body.clone())).await.status, StatusCode::CONFLICT);
    assert_eq!(ask_as(&web, &operator, "DELETE", &at, None).await.status, StatusCode::CONFLICT);
    body["name"] = json!("my own");
    body["when"] = json!("load.1 > 0.5");
    body["clear"] = json!("load.1 <");
    let wrong = ask_as(&web, &operator, "POST", "/api/v1/rules", Some(body.clone())).await;
    assert_eq!(wrong.field(), "clear");
    assert!(wrong.text().contains("column 9"), "{}", wrong.text());
    body["clear"] = Value::Null;
    let tried = ask_as(&web, &operator, "POST", "/api/v1/rules/preview", Some(body)).await;
    assert_eq!(tried.status, StatusCode::OK, "{}", tried.text());
    assert_eq!(tried.json()[0]["host"], host_id(1).to_string());
}

#[tokio::test]
async fn pages_lead_from_a_row_to_a_rule_its_cells_and_why() {
    let (web, ..) = Web::with_trouble().await;
    let me = web.session("operator").await;
    let host = host_id(1).to_string();
    let page = web.page(&format!("/hosts/{host}"), &me).await;
    let link = format!("/rules/new?kind=unit&amp;what=nginx.service&amp;host={host}");
    assert!(page.contains(&link), "{page}");
    let page = web.page(&link.replace("&amp;", "&"), &me).await;
    assert!(page.contains("value=\"nginx.service\"") && page.contains("nginx.service must run"), "{page}");
    let on = format!("host:{host}");
    let fields = [
        ("kind", "unit"),
        ("name", "nginx must run"),
        ("unit", "nginx.service"),
        ("for_s", "x"),
        ("keep_s", "0"),
        ("severity", "critical"),
        ("on", &on),
        ("labels", ""),
        ("enabled", "on"),
        ("act", "save"),
    ];
    let wrong = web.send(form("/rules/new", &fields).by(&me)).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let text = wrong.text();
    assert!(text.contains("id=\"for_s-below\"") && text.contains("value=\"nginx must run\""), "{text}");
    let mut good = fields;
    good[3].1 = "0";
    good[9].1 = "preview";
    let tried = web.send(form("/rules/new", &good).by(&me)).await.text();
    assert!(tried.contains("Would have fired 1 time"), "{tried}");
    good[9].1 = "save";
    let made = web.send(form("/rules/new", &good).by(&me)).await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.text());
    let table = web.page(made.location(), &me).await;
    let why = table
        .split("href=\"/rules/")
        .find(|part| part.split('"').next().unwrap().contains("/hosts/"))
        .unwrap();
    let why = format!("/rules/{}", why.split('"').next().unwrap());
    let page = web.page(&why, &me).await;
    assert!(page.contains("It has fired since") && page.contains("Samples in its window"), "{page}");
    let id = why.split('/').nth(2).unwrap();
    assert!(web.page("/rules", &me).await.contains("nginx must run"));
    assert!(web.page("/rules/coverage", &me).await.contains("fires"));
    assert!(web.page(&format!("/rules/{id}/delete"), &me).await.contains("Keep it"));
    for (act, fields) in [("switch", vec![("enabled", "off")]), ("delete", vec![])] {
        let done = web.send(form(&format!("/rules/{id}/{act}"), &fields).by(&me)).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{act}: {}", done.text());
    }
    assert!(!web.page("/rules", &me).await.split("id=\"toasts\"").next().unwrap().contains("nginx must run"));
    // Who only reads sees the list and no buttons.
    let viewer = web.session("viewer").await;
    let list = web.page("/rules", &viewer).await;
    assert!(!list.contains("/rules/new") && !list.contains("/switch"), "{list}");
}
