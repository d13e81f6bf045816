//! Probes through the API and the pages: added, tried, changed, removed, with their roles and their audit.

use serde_json::json;

use super::*;
use crate::decide::fixture::host_id;
use crate::store::{audit, testing};

async fn audited(web: &Web) -> Vec<String> {
    let mut conn = web.state.db.reader().await.unwrap();
    let rows = audit::after(&mut conn, web.state.audit.controller(), 0, 1_000).await.unwrap();
    rows.into_iter().map(|row| row.action).filter(|action| action.starts_with("probe.")).collect()
}

#[tokio::test]
async fn a_probe_is_added_once_per_key_tried_changed_and_removed_and_each_is_audited() {
    let web = Web::new().await;
    testing::host(&web.state.db, host_id(1), "web-1").await;
    let (operator, viewer) = (web.token(Role::Operator).await, web.token(Role::Viewer).await);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let body = json!({"name": "db", "kind": "tcp", "target": "localhost", "port": port, "host": host_id(1)});
    let add = || ask("POST", "/api/v1/probes").json(&body).token(&operator).header("idempotency-key", "k1");
    let made = web.send(add()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let again = web.send(add()).await;
    assert_eq!((again.status, again.json()["id"].clone()), (StatusCode::CREATED, made.json()["id"].clone()));
    let path = format!("/api/v1/probes/{}", made.json()["id"]);
    let tried = web.send(ask("POST", &format!("{path}/try")).token(&operator)).await.json();
    assert_eq!((tried["state"].as_str(), tried["reason"].as_str()), (Some("up"), Some("answered")));
    assert!(
        web.send(ask("POST", &format!("{path}/try")).token(&viewer)).await.status == StatusCode::FORBIDDEN
    );
    let http = json!({"name": "db", "kind": "http", "target": "http://169.254.169.254/latest/meta-data/"});
    let changed = web.send(ask("PUT", &path).json(&http).token(&operator)).await;
    assert_eq!((changed.status, changed.json()["kind"].as_str()), (StatusCode::OK, Some("http")));
    let refused = web.send(ask("POST", &format!("{path}/try")).token(&operator)).await.json();
    assert_eq!(refused["reason"], "target_forbidden");
    let seen = web.send(get(&path).token(&viewer)).await.json();
    assert_eq!((seen["interval_s"].as_i64(), seen["results"].as_array().unwrap().len()), (Some(60), 0));
    for (wrong, field) in [
        (json!({"name": "x", "kind": "tcp", "target": "a b", "port": 1}), "target"),
        (json!({"name": "x", "kind": "tcp", "target": "a"}), "port"),
        (json!({"name": "x", "kind": "http", "target": "http://u@a/"}), "target"),
        (json!({"name": "x", "kind": "ping", "target": "a", "interval_s": 5}), "interval_s"),
        (json!({"name": "x", "kind": "dns", "target": "a", "run_on_host": host_id(7)}), "run_on_host"),
    ] {
        let answer = web.send(ask("POST", "/api/v1/probes").json(&wrong).token(&operator)).await;
        assert_eq!((answer.status, answer.field()), (StatusCode::UNPROCESSABLE_ENTITY, field.to_owned()));
    }
    let twice = json!({"name": "db", "kind": "ping", "target": "a"});
    let answer = web.send(ask("POST", "/api/v1/probes").json(&twice).token(&operator)).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(web.send(ask("DELETE", &path).token(&operator)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(web.send(get(&path).token(&viewer)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(audited(&web).await, ["probe.add", "probe.try", "probe.change", "probe.try", "probe.remove"]);
}

#[tokio::test]
async fn the_form_tries_before_it_keeps_and_says_what_is_wrong_at_its_field() {
    let web = Web::new().await;
    testing::host(&web.state.db, host_id(1), "web-1").await;
    let (me, viewer) = (web.session("operator").await, web.session("viewer").await);
    let see = async |path: &str| web.send(get(path).cookie(&me.cookie)).await.text();
    assert!(see("/probes").await.contains("No probe yet"));
    for kind in ["tcp", "http", "tls", "dns", "ping"] {
        assert!(see(&format!("/probes/new?kind={kind}")).await.contains("name=\"target\""), "{kind}");
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let host = host_id(1).to_string();
    let fields = |act, port| {
        vec![
            ("kind", "tcp"),
            ("name", "Shop <b>"),
            ("target", "127.0.0.1"),
            ("port", port),
            ("host", &host),
            ("run_by", "controller"),
            ("act", act),
        ]
    };
    let tried = web.send(form("/probes", &fields("try", &port)).by(&me)).await;
    assert!(
        tried.status == StatusCode::OK && tried.text().contains("Tried once: it answers"),
        "{}",
        tried.text()
    );
    let wrong = web.send(form("/probes", &fields("keep", "0")).by(&me)).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text().contains("id=\"port-below\""));
    let kept = web.send(form("/probes", &fields("keep", &port)).by(&me)).await;
    assert_eq!((kept.status, kept.location()), (StatusCode::SEE_OTHER, "/probes/1"));
    let page = see("/probes/1").await;
    assert!(page.contains("no result yet") && page.contains("Shop &lt;b&gt;") && !page.contains("Shop <b>"));
    assert!(see("/probes").await.contains("the controller"));
    assert!(see(&format!("/hosts/{host}")).await.contains("/probes/1"));
    assert!(see("/probes/1/edit").await.contains(&format!("value=\"{port}\"")));
    let changed = web.send(form("/probes/1/edit", &fields("keep", "9")).by(&me)).await;
    assert_eq!(changed.status, StatusCode::SEE_OTHER);
    let theirs = web.send(get("/probes/1").cookie(&viewer.cookie)).await.text();
    assert!(theirs.contains("127.0.0.1:9") && !theirs.contains("Try now"));
    let gone = web.send(form("/probes/1/remove", &[]).by(&me)).await;
    assert_eq!((gone.status, gone.location()), (StatusCode::SEE_OTHER, "/probes"));
}
