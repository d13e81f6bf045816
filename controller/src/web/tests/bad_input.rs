//! Every field of the API, wrong in type, size and range: a clear error, and nothing changed. The
//! fields come from the description, so a new one is tried without being named here.

use serde_json::json;
use sysop_common::ids::OrderId;

use super::*;
use crate::decide::{self, Start, fixture};
use crate::store::{audit, incidents, testing};
use crate::web::api::rules::{NewRule, RuleKind};

/// A rule that fits.
fn rule(host: HostId) -> NewRule {
    NewRule {
        name: "nginx runs".into(),
        kind: RuleKind::Unit,
        unit: Some("nginx.service".into()),
        host: Some(host),
        enabled: true,
        ..NewRule::default()
    }
}

/// What operations find.
struct World {
    web: Web,
    token: String,
    description: Value,
    host: HostId,
    incident: i64,
    run: OrderId,
    user: String,
    rule: i64,
}

impl World {
    async fn new() -> Self {
        let web = Web::new().await;
        let host = fixture::host_id(1);
        testing::host(&web.state.db, host, "web-1").await;
        testing::inventory(&web.state.db, host, &fixture::inventory(false)).await;
        let mut tx = web.state.db.begin().await.unwrap();
        let found = fixture::incident(host, fixture::restart("nginx.service"), START);
        let incident = incidents::insert(&mut tx, &found).await.unwrap();
        tx.commit().await.unwrap();
        let start = Start {
            host,
            action: fixture::restart("cron.service"),
            incident: None,
            reason: String::new(),
            key: None,
        };
        let run = decide::start_run(&web.state.decide(), &start, &fixture::ann()).await.unwrap().id;
        let probe = json!({"name": "db", "kind": "tcp", "target": "127.0.0.1", "port": 9});
        let admin = web.token(Role::Admin).await;
        let made = web.send(ask("POST", "/api/v1/probes").token(&admin).json(&probe)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
        let (admin, _) = users::with_password(&web.state.db, "viewer").await.unwrap().unwrap();
        let rule = rule(fixture::host_id(1)).definition().unwrap();
        let rule = decide::rules::create_rule(&web.state.decide(), &rule, &fixture::ann()).await.unwrap().id;
        let token = web.token(Role::Admin).await;
        let description = web.send(get("/api/openapi.json")).await.json();
        Self { web, token, description, host, incident, run, user: admin.id, rule }
    }

    /// A path with what exists in place of its parameters.
    fn real(&self, path: &str) -> String {
        let id = match path.split('/').nth(3).unwrap_or_default() {
            "hosts" => self.host.to_string(),
            "incidents" | "analyses" | "trust" => self.incident.to_string(),
            "runs" | "approvals" => self.run.to_string(),
            "rules" => self.rule.to_string(),
            "users" => self.user.clone(),
            "probes" => "1".to_owned(),
            _ => "none".to_owned(),
        };
        let path = path.replace("{id}", &id).replace("{host}", &self.host.to_string());
        path.replace("{run}", &self.run.to_string())
    }

    /// A body that fits.
    fn body(&self, method: &str, path: &str) -> Value {
        match (method, path) {
            ("PATCH", "/api/v1/hosts/{id}") => {
                json!({"name": "web-1", "labels": {"role": "web"}, "critical": true})
            }
            ("POST", "/api/v1/hosts/{id}/queries") => {
                json!({"query": "get_top_processes", "params": {"limit": 5}})
            }
            ("POST", "/api/v1/runs") => json!({"host": self.host, "action": "restart_service",
                "params": {"unit": "nginx.service"}, "incident": self.incident, "reason": "test"}),
            ("POST", "/api/v1/runs/{id}/settle") => json!({"found": "it runs"}),
            ("POST", "/api/v1/approvals/{run}") => json!({"decision": "approve", "comment": "yes"}),
            ("POST", "/api/v1/assignments") => {
                json!({"host": self.host, "action": "restart_service", "automatic": true})
            }
            ("PUT", "/api/v1/automation") => json!({"on": true}),
            ("PATCH", "/api/v1/model") => json!({"on": true, "name": "small"}),
            ("PUT", "/api/v1/model/notes") => json!({"scope": "global", "text": "nightly backup at 02:00"}),
            ("POST", "/api/v1/incidents/{id}/feedback") => json!({"said": "right", "comment": "yes"}),
            ("POST", "/api/v1/enrollment-tokens") => json!({"name": "x", "labels": {}, "allow": ["services"],
                "expires_in_s": 900, "uses": 1}),
            ("POST", "/api/v1/tokens") => {
                json!({"name": "ci", "role": "viewer", "expires_at": START.0 + 1000})
            }
            ("POST", "/api/v1/users") => json!({"name": "dan", "password": PASSWORD, "role": "viewer"}),
            ("PATCH", "/api/v1/users/{id}") => json!({"role": "operator", "disabled": false}),
            ("POST", "/api/v1/users/{id}/password") => json!({"password": PASSWORD}),
            ("POST", "/api/v1/probes") | ("PUT", "/api/v1/probes/{id}") => {
                json!({"name": "web", "kind": "tcp", "target": "127.0.0.1", "port": 9})
            }
            ("PUT", "/api/v1/busy-hours") => json!({"hours": "8-18"}),
            ("POST", "/api/v1/maintenance") => {
                json!({"host": self.host, "duration_s": 3600, "reason": "upgrade"})
            }
            ("POST", "/api/v1/rules" | "/api/v1/rules/preview") | ("PUT", "/api/v1/rules/{id}") => {
                json!(rule(self.host))
            }
            _ => json!({}),
        }
    }

    /// The schema behind a reference or a choice with null.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap();
            return self.resolve(&self.description["components"]["schemas"][name]);
        }
        for choice in ["oneOf", "anyOf", "allOf"] {
            if let Some(all) = schema[choice].as_array() {
                let real = all.iter().find(|one| one["type"] != "null").unwrap();
                return self.resolve(real);
            }
        }
        schema
    }

    async fn head(&self) -> String {
        let mut conn = self.web.state.db.reader().await.unwrap();
        format!("{:?}", audit::head(&mut conn, self.web.state.audit.controller()).await.unwrap())
    }

    /// The request is refused with a reason, in the form of a problem.
    async fn refused(&self, ask: Ask, what: &str) -> Answer {
        let answer = self.web.send(ask.token(&self.token)).await;
        assert!(answer.status.is_client_error(), "{what}: {} {}", answer.status, answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
        let problem = answer.json();
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{what}");
        answer
    }
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    }
}

/// Texts that a parameter of this schema must refuse.
fn bad_texts(schema: &Value) -> Vec<String> {
    let mut bad = vec!["%00".to_owned()];
    if types(schema).contains(&"integer") {
        bad.extend(["x", "", "1.5", "1e3", "99999999999999999999999", "%20", "0x10"].map(str::to_owned));
        bad.extend(schema["minimum"].as_f64().map(|n| (n as i64 - 1).to_string()));
        bad.extend(schema["maximum"].as_f64().map(|n| (n as i64 + 1).to_string()));
    }
    if !schema["enum"].is_null() {
        bad.extend(["bogus", "", "OPEN"].map(str::to_owned));
    }
    if schema["format"] == "uuid" {
        bad.extend(["x", "..", "0190B6A5-7c1e-7c3a-9f00-1c2d3e4f5a6b"].map(str::to_owned));
    }
    bad.extend(schema["maxLength"].as_u64().map(|n| "a".repeat(n as usize + 1)));
    bad
}

/// Values that a field of this schema must refuse.
fn bad_values(schema: &Value, required: bool) -> Vec<Value> {
    let types = types(schema);
    let mut bad = Vec::new();
    if required {
        bad.push(Value::Null);
    }
    for (of, value) in [
        ("string", json!("x")),
        ("integer", json!(7)),
        ("boolean", json!(true)),
        ("object", json!({"x": {"y": 1}})),
        ("array", json!([[1]])),
    ] {
        // A field without a type takes any object.
        let object = types.is_empty() && of == "object";
        if !types.contains(&of) && !object {
            bad.push(value);
        }
    }
    if types.contains(&"integer") {
        bad.extend([json!(1.5), json!(1e30), json!("7")]);
        bad.extend(schema["minimum"].as_f64().map(|n| json!(n as i64 - 1)));
        bad.extend(schema["maximum"].as_f64().map(|n| json!(n as i64 + 1)));
    }
    if !schema["enum"].is_null() {
        bad.push(json!("bogus"));
    }
    if schema["format"] == "uuid" {
        bad.extend([json!("x"), json!("0190B6A5-7c1e-7c3a-9f00-1c2d3e4f5a6b")]);
    }
    bad.extend(schema["maxLength"].as_u64().map(|n| json!("a".repeat(n as usize + 1))));
    if schema["minLength"].as_u64().is_some() {
        bad.push(json!(""));
    }
    bad
}

#[tokio::test]
async fn every_parameter_and_field_that_is_wrong_is_refused_and_nothing_changes() {
    let world = World::new().await;
    let before = world.head().await;
    let mut tried = 0;
    let paths = world.description["paths"].as_object().unwrap().clone();
    for (path, item) in paths.iter().filter(|(path, _)| path.starts_with("/api/v1/")) {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            let address = world.real(path);
            let body = world.body(&method, path);
            let has_body = !operation["requestBody"].is_null();
            let with = |address: &str| {
                let ask = ask(&method, address);
                if has_body { ask.json(&body) } else { ask }
            };
            let answer =
                world.refused(with(&format!("{address}?nonsense=1")), &format!("{method} {path}")).await;
            assert_eq!(answer.field(), "nonsense");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if parameter["in"] != "query" {
                    continue;
                }
                let name = parameter["name"].as_str().unwrap();
                for bad in bad_texts(world.resolve(&parameter["schema"])) {
                    let shown: String = bad.chars().take(30).collect();
                    let other =
                        if path.ends_with("/series") && name != "metric" { "&metric=load.1" } else { "" };
                    let ask = with(&format!("{address}?{name}={bad}{other}"));
                    let answer = world.refused(ask, &format!("{method} {path} {name}={shown}")).await;
                    assert!(!answer.field().is_empty(), "{name}={shown}: {}", answer.text());
                    tried += 1;
                }
            }
            if has_body {
                tried += wrong_bodies(&world, &method, path, operation).await;
            }
        }
    }
    assert!(tried > 250, "{tried}");
    assert_eq!(world.head().await, before);
}

async fn wrong_bodies(world: &World, method: &str, path: &str, operation: &Value) -> usize {
    let schema = world.resolve(&operation["requestBody"]["content"]["application/json"]["schema"]);
    let required: Vec<_> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    let good = world.body(method, path);
    let address = world.real(path);
    let mut tried = 0;
    for (name, field) in schema["properties"].as_object().unwrap() {
        let must = required.contains(name);
        for bad in bad_values(world.resolve(field), must) {
            let mut body = good.clone();
            body[name] = bad.clone();
            let shown: String = bad.to_string().chars().take(40).collect();
            let what = format!("{method} {path} {name}={shown}");
            let answer = world.refused(ask(method, &address).json(&body), &what).await;
            assert!(!answer.field().is_empty(), "{what}: {}", answer.text());
            tried += 1;
        }
        if must {
            let mut body = good.clone();
            body.as_object_mut().unwrap().remove(name);
            let answer = world.refused(ask(method, &address).json(&body), "missing").await;
            assert_eq!(answer.field(), *name);
        }
    }
    let mut body = good.clone();
    body["nonsense"] = json!(1);
    assert_eq!(world.refused(ask(method, &address).json(&body), "unknown field").await.field(), "nonsense");
    for (text, kind, status) in [
        ("", "application/json", StatusCode::BAD_REQUEST),
        ("{", "application/json", StatusCode::BAD_REQUEST),
        ("[]", "application/json", StatusCode::UNPROCESSABLE_ENTITY),
        ("{} {}", "application/json", StatusCode::BAD_REQUEST),
        ("\u{ff}", "application/json", StatusCode::BAD_REQUEST),
        ("a=b", "application/x-www-form-urlencoded", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("{}", "text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let answer = world
            .refused(
                ask(method, &address).header("content-type", kind).body(text),
                &format!("{method} {path} {text:?}"),
            )
            .await;
        let wanted =
            answer.status == status || (text == "{} {}" && answer.status == StatusCode::UNPROCESSABLE_ENTITY);
        assert!(wanted, "{method} {path} {text:?}: {}", answer.status);
    }
    let deep = "[".repeat(100_000);
    let big = format!("{{\"x\":\"{}\"}}", "a".repeat(1 << 20));
    for text in [deep, big] {
        world
            .refused(ask(method, &address).header("content-type", "application/json").body(text), path)
            .await;
    }
    tried
}

#[tokio::test]
async fn an_unknown_or_malformed_id_is_named_and_nothing_happens() {
    let world = World::new().await;
    let before = world.head().await;
    let unknown = "0190b6a5-7c1e-7c3a-9f00-ffffffffffff";
    for (path, item) in world.description["paths"].as_object().unwrap() {
        if !path.contains('{') {
            continue;
        }
        for method in item.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let body = world.body(&method, path);
            for id in [unknown, "1", "x", "..%2f..%2fetc", "%00", "%ff", "a%0d%0ab", &"9".repeat(300)] {
                let numbered = ["incidents", "analyses", "trust", "probes", "rules"]
                    .iter()
                    .any(|part| path.contains(part));
                let id = if numbered && id == unknown { "999999" } else { id };
                let address = path.replace("{id}", id).replace("{run}", id);
                let address = address.replace("{host}", &world.host.to_string());
                if address.contains("/incidents/1")
                    || ["/rules/1", "/probes/1"].iter().any(|known| address.contains(known))
                {
                    continue;
                }
                let query = if path.ends_with("/series") { "?metric=load.1" } else { "" };
                let ask = ask(&method, &format!("{address}{query}")).json(&body);
                let answer = world.refused(ask, &format!("{method} {address}")).await;
                if id == unknown || id == "999999" {
                    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {address}: {}", answer.text());
                }
            }
        }
    }
    assert_eq!(world.head().await, before);
}

#[tokio::test]
async fn a_key_makes_a_request_happen_once_and_keeps_no_secret() {
    let world = World::new().await;
    let make = |key: &str, name: &str| {
        ask("POST", "/api/v1/tokens")
            .token(&world.token)
            .header("idempotency-key", key)
            .json(&json!({"name": name, "role": "viewer"}))
    };
    let first = world.web.send(make("k1", "ci")).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let secret = first.json()["token"].as_str().unwrap().to_owned();
    let again = world.web.send(make("k1", "ci")).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (StatusCode::CREATED, "true"));
    assert_eq!(again.json()["id"], first.json()["id"]);
    assert!(again.json()["token"].is_null() && !again.text().contains(&secret));
    assert_eq!(world.web.send(make("k1", "other")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    // What was refused did not use the key up.
    assert_eq!(world.web.send(make("k2", "Not A Name")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.web.send(make("k2", "fine")).await.status, StatusCode::CREATED);
    for bad in ["", "a b", &"k".repeat(201)] {
        assert_eq!(world.web.send(make(bad, "ci")).await.field(), "idempotency-key", "{bad:?}");
    }
    let run = |key: &str, unit: &str| {
        let body = json!({"host": world.host, "action": "restart_service", "params": {"unit": unit}});
        ask("POST", "/api/v1/runs").token(&world.token).header("idempotency-key", key).json(&body)
    };
    let one = world.web.send(run("r1", "nginx.service")).await.json();
    let two = world.web.send(run("r1", "nginx.service")).await.json();
    assert_eq!((&one["id"], &one["state"]), (&two["id"], &json!("approved")));
    assert_eq!(world.web.send(run("r1", "ssh.service")).await.status, StatusCode::CONFLICT);
    assert_eq!(world.web.send(run("r2", "nginx.service")).await.status, StatusCode::CONFLICT);
}
