//! The model's pages and routes: what it said is shown inert and beside the rules' finding; who may say
//! and change what.

use serde_json::json;

use super::*;
use crate::decide::fixture::{host_id, incident, inventory, restart};
use crate::store::analyses::{self, Analysis, Verdict};
use crate::store::{incidents, testing};

/// An open incident that a model has an opinion on, with markup in its words.
async fn with_opinion() -> (Web, i64, i64) {
    let web = Web::new().await;
    let (db, host) = (&web.state.db, host_id(1));
    testing::host(db, host, "web-07").await;
    testing::inventory(db, host, &inventory(false)).await;
    let mut tx = db.begin().await.unwrap();
    let id = incidents::insert(&mut tx, &incident(host, restart("nginx.service"), START)).await.unwrap();
    let opinion = json!({ "verdict": "incident", "views": [{
        "category": "unit_failed", "root": "nginx.service", "agrees": false, "affected": [], "risk": "high",
        "confidence": 97, "title": "nginx <script>alert(1)</script>",
        "summary": "![x](http://evil.example/) <b>run</b>", "reasoning": "E1",
        "evidence": ["E1 unit.active nginx.service"], "against": [],
        "picks": [{ "action": { "action": "restart_service", "params": { "unit": "nginx.service" } }, "why": "w",
                    "expect": ["unit.active", "up", 60] }],
    }]});
    let analysis = Analysis {
        id: 0,
        incident: Some(id),
        host: Some(host),
        at: START,
        reason: "opened".into(),
        model: "small".into(),
        prompt_version: "1".into(),
        schema_version: "1".into(),
        language: "en".into(),
        key: vec![1; 32],
        prompt: json!([{ "role": "user", "text": "EVIDENCE <i>x</i>" }]).to_string(),
        answer: json!(["{\"verdict\":\"<u>incident</u>\"}"]).to_string(),
        verdict: Verdict::Accepted,
        rejects: json!([{ "weight": "action", "code": "sign", "text": "row E1 says <s>up</s>" }]).to_string(),
        opinion: Some(opinion.to_string()),
        confidence: Some(70),
        error: None,
        turns: 1,
        latency_ms: 900,
    };
    let question = analyses::insert(&mut tx, &analysis).await.unwrap();
    tx.commit().await.unwrap();
    (web, id, question)
}

async fn page(web: &Web, path: &str, session: &Session) -> String {
    let answer = web.send(get(path).cookie(&session.cookie)).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    let text = answer.text();
    for markup in ["<script>alert", "<b>run", "<i>x", "<u>incident", "<s>up", "src=\"http", "href=\"http"] {
        assert!(!text.contains(markup), "{path} has {markup}");
    }
    text
}

#[tokio::test]
async fn what_a_model_said_stands_inert_beside_the_finding() {
    let (web, id, question) = with_opinion().await;
    let session = web.session("operator").await;
    let text = page(&web, &format!("/incidents/{id}"), &session).await;
    for words in [
        "not verified",
        "97 %",
        "Counts for",
        "70 %",
        "Names another cause",
        "High risk",
        "Thrown out by the verifier",
        "restart nginx.service",
        "What was sent",
        "Right cause",
        "No trouble",
        "Nobody has said yet",
    ] {
        assert!(text.contains(words), "{words:?} is missing: {text}");
    }
    let (finding, note) = (text.find("class=\"verdict\"").unwrap(), text.find("id=\"opinion\"").unwrap());
    assert!(finding < note, "never the first block");
    let list = page(&web, "/analyses", &session).await;
    assert!(list.contains("counts") && list.contains("INC-"), "{list}");
    assert!(page(&web, "/analyses?verdict=failed", &session).await.contains("No analysis here"));
    let one = page(&web, &format!("/analyses/{question}"), &session).await;
    assert!(one.contains("EVIDENCE &lt;i&gt;x") && one.contains("&lt;u&gt;incident"), "{one}");
    let sent = page(&web, &format!("/incidents/{id}/prompt"), &session).await;
    assert!(sent.contains("Nothing was sent") && sent.contains("EVIDENCE &lt;i&gt;"), "{sent}");
    let file = web.send(get(&format!("/incidents/{id}/recording")).cookie(&session.cookie)).await;
    assert_eq!(file.status, StatusCode::OK);
    assert!(
        file.header("content-disposition").contains("incident-") && file.text().contains("sysop-recording")
    );
    let viewer = web.session("viewer").await;
    let denied = web.send(get(&format!("/incidents/{id}/recording")).cookie(&viewer.cookie)).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    for path in ["/analyses/99", "/analyses/x", "/incidents/9999/prompt", "/incidents/9999/recording"] {
        assert_eq!(web.send(get(path).cookie(&session.cookie)).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_word_of_a_person_is_kept_and_shown() {
    let (web, id, _) = with_opinion().await;
    let session = web.session("operator").await;
    let path = format!("/incidents/{id}/feedback");
    let say = |said: &str| {
        form(&path, &[("csrf", &session.csrf), ("said", said), ("comment", "a <b>deploy</b>")])
            .cookie(&session.cookie)
    };
    assert_eq!(web.send(say("perhaps")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(web.send(say("noise")).await.status, StatusCode::SEE_OTHER);
    assert_eq!(web.send(say("wrong")).await.status, StatusCode::SEE_OTHER);
    let text = page(&web, &format!("/incidents/{id}"), &session).await;
    assert!(text.contains("the cause is another one") && text.contains("0 of 1"), "{text}");
    assert!(text.contains("a &lt;b&gt;deploy"));
    let token = web.token(Role::Viewer).await;
    let words = web.send(get(&format!("/api/v1{path}")).token(&token)).await.json();
    assert_eq!((words[0]["said"].as_str(), words[0]["by"].as_str()), (Some("wrong"), Some("operator")));
    let viewer = web.session("viewer").await;
    let text = page(&web, &format!("/incidents/{id}"), &viewer).await;
    assert!(!text.contains("name=\"said\"") && !text.contains("Recording"));
    let list = web.send(get(&format!("/api/v1/analyses?incident={id}")).token(&token)).await.json();
    assert_eq!(list["items"][0]["verdict"], "accepted");
    assert_eq!(list["items"][0]["opinion"]["views"][0]["confidence"], 97);
}

#[tokio::test]
async fn the_settings_are_an_admins_and_the_key_goes_one_way() {
    let (web, ..) = with_opinion().await;
    let (admin, viewer) = (web.session("admin").await, web.session("viewer").await);
    let text = page(&web, "/settings/model", &admin).await;
    assert!(text.contains("No model is set up") && text.contains("Write a new version"), "{text}");
    let seen = page(&web, "/settings/model", &viewer).await;
    assert!(seen.contains("An admin can change this") && !seen.contains("Test with a made-up incident"));
    let send = |fields: &[(&str, &str)]| {
        let mut all = vec![("csrf", admin.csrf.as_str())];
        all.extend(fields);
        form("/settings/model", &all).cookie(&admin.cookie)
    };
    let bad = web.send(send(&[("base_url", "not one")])).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(bad.text().contains("must be one word"));
    assert_eq!(web.send(send(&[("on", "on"), ("api_key", "sk-canary")])).await.status, StatusCode::SEE_OTHER);
    let note = form(
        "/settings/model/notes",
        &[("csrf", &admin.csrf), ("scope", "global"), ("text", "backup <i>x</i>\nat 02:00")],
    );
    assert_eq!(web.send(note.cookie(&admin.cookie)).await.status, StatusCode::SEE_OTHER);
    let text = page(&web, "/settings/model", &admin).await;
    assert!(
        text.contains("backup &lt;i&gt;") && text.contains("version 1") && !text.contains("sk-canary"),
        "{text}"
    );
    let test = form("/settings/model/test", &[("csrf", &admin.csrf)]).cookie(&admin.cookie);
    assert_eq!(web.send(test).await.status, StatusCode::CONFLICT);
    let token = web.token(Role::Admin).await;
    let model = web.send(get("/api/v1/model").token(&token)).await.json();
    assert_eq!((model["ready"].as_bool(), model["tokens_today"].as_u64()), (Some(false), Some(0)));
    let trust = web.send(get("/api/v1/trust").token(&token)).await.json();
    assert_eq!(trust["demotions"], json!([]));
}
