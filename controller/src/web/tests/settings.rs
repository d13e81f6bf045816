//! The pages with which people change settings: what is done is told once, what is wrong at its field.

use serde_json::json;

use super::*;
use crate::decide::fixture::host_id;
use crate::store::testing;

const HOST: u128 = 1;

struct Desk {
    web: Web,
    me: Session,
}

impl Desk {
    async fn of(role: &str) -> Self {
        let web = Web::new().await;
        testing::host(&web.state.db, host_id(HOST), "web-1").await;
        testing::label(&web.state.db, host_id(HOST), "role", "web", "admin").await;
        let me = web.session(role).await;
        Self { web, me }
    }

    async fn see(&self, path: &str) -> String {
        let answer = self.web.send(get(path).cookie(&self.me.cookie)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        answer.text()
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.web.send(form(path, fields).by(&self.me)).await
    }

    /// Sends a form that is taken; the page that follows says `told`, once.
    async fn done(&self, path: &str, fields: &[(&str, &str)], told: &str) -> String {
        let answer = self.post(path, fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}: {}", answer.text());
        let page = self.see(answer.location()).await;
        let toasts = page.split("id=\"toasts\"").nth(1).unwrap();
        assert!(toasts.contains(told), "{path} tells {toasts}");
        assert!(!self.see(answer.location()).await.split("id=\"toasts\"").nth(1).unwrap().contains(told));
        page
    }

    /// Sends a form that is not taken: the page comes again with the reason at its field.
    async fn wrong(&self, path: &str, fields: &[(&str, &str)], field: &str, why: &str) {
        let answer = self.post(path, fields).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path} {fields:?}: {}", answer.text());
        let text = answer.text();
        let marked = text.split("aria-invalid=\"true\"").nth(1).unwrap_or_else(|| panic!("{path}: {text}"));
        assert!(marked.contains(&format!("id=\"{field}-below\"")), "{path}: {marked}");
        assert!(text.contains(why), "{path}: {text}");
    }
}

#[tokio::test]
async fn users_are_added_changed_and_told_of_and_the_last_admin_stays() {
    let desk = Desk::of("admin").await;
    let bob = [("name", "bob"), ("role", "operator"), ("password", PASSWORD)];
    let page = desk.done("/settings/users", &bob, "bob can sign in as Operator").await;
    assert!(page.contains("must choose a password"), "{page}");
    desk.wrong("/settings/users", &bob, "name", "A user of this name exists.").await;
    let long = [("name", "cat"), ("role", "viewer"), ("password", "short")];
    desk.wrong("/settings/users", &long, "password", "12 characters").await;
    desk.wrong(
        "/settings/users",
        &[("name", "cat"), ("role", "root"), ("password", PASSWORD)],
        "role",
        "viewer, operator",
    )
    .await;
    let id = |name: &'static str| {
        let db = desk.web.state.db.clone();
        async move { users::with_password(&db, name).await.unwrap().unwrap().0.id }
    };
    let path = format!("/settings/users/{}", id("bob").await);
    assert!(desk.see(&path).await.contains("Reset the password"));
    desk.done(&format!("{path}/role"), &[("role", "viewer")], "bob is Viewer now").await;
    let theirs = desk.web.session("bob").await;
    desk.done(&format!("{path}/password"), &[("password", "another long word")], "bob has another password")
        .await;
    let out = desk.web.send(get("/").cookie(&theirs.cookie)).await;
    assert!(out.location().starts_with("/login"), "{}", out.status);
    desk.wrong(&format!("{path}/password"), &[("password", "short")], "password", "12 characters").await;
    desk.done(&format!("{path}/disabled"), &[("disabled", "on")], "bob may not sign in any more").await;
    let own = format!("/settings/users/{}", id("admin").await);
    desk.wrong(&format!("{own}/role"), &[("role", "viewer")], "role", "last user who can administer").await;
    let page = desk.post(&format!("{own}/disabled"), &[("disabled", "on")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(desk.see(&own).await.contains("Change my password"));
    let unknown = desk.web.send(get("/settings/users/none").cookie(&desk.me.cookie)).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nobody_sets_their_own_password_without_the_present_one() {
    let desk = Desk::of("admin").await;
    let users = desk.see("/api/v1/users").await;
    let users: serde_json::Value = serde_json::from_str(&users).unwrap();
    let own = users["items"].as_array().unwrap().iter().find(|user| user["name"] == "admin").unwrap();
    let path = format!("/settings/users/{}/password", own["id"].as_str().unwrap());
    let answer = desk.post(&path, &[("password", "another-long-password")]).await;
    assert!(answer.text().contains("present one"), "{}", answer.text());
    assert_eq!(desk.web.sign_in("admin", "another-long-password").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_is_shown_once_works_and_is_revoked() {
    let desk = Desk::of("admin").await;
    let ci = [("name", "ci"), ("role", "viewer"), ("days", "30")];
    let made = desk.post("/settings/tokens", &ci).await;
    assert_eq!((made.status, made.header("cache-control")), (StatusCode::OK, "no-store"));
    let page = made.text();
    let token = page.split("id=\"made\" tabindex=\"0\">").nth(1).unwrap().split('<').next().unwrap();
    let asked = |token: &str| desk.web.send(get("/api/v1/hosts").token(token));
    assert_eq!(asked(token).await.status, StatusCode::OK);
    assert!(!desk.see("/settings/tokens").await.contains(token));
    desk.wrong(
        "/settings/tokens",
        &[("name", "C I"), ("role", "viewer"), ("days", "30")],
        "name",
        "must be 1 to 64",
    )
    .await;
    desk.wrong(
        "/settings/tokens",
        &[("name", "ci"), ("role", "viewer"), ("days", "-1")],
        "days",
        "number of days",
    )
    .await;
    let id = page.split("/settings/tokens/").nth(1).unwrap().split('/').next().unwrap();
    let page = desk.done(&format!("/settings/tokens/{id}/revoke"), &[], "The token ci is revoked").await;
    assert!(page.contains("revoked"));
    assert_eq!(asked(token).await.status, StatusCode::UNAUTHORIZED);

    let racks = [("name", "rack 4"), ("uses", "20"), ("expires_in_s", "3600")];
    let made = desk.post("/settings/enrolment", &racks).await.text();
    assert!(made.contains("sysop_enroll_") && made.contains("0 of 20"), "{made}");
    desk.wrong("/settings/enrolment", &[("uses", "0"), ("expires_in_s", "3600")], "uses", "1 to 10000").await;
    desk.wrong("/settings/enrolment", &[("uses", "x"), ("expires_in_s", "3600")], "uses", "whole number")
        .await;
    let id = made.split("/settings/enrolment/").nth(1).unwrap().split('/').next().unwrap();
    let page = desk.done(&format!("/settings/enrolment/{id}/withdraw"), &[], "The token is withdrawn").await;
    assert!(page.contains("withdrawn") && !page.contains("sysop_enroll_"));
    let again = desk.post(&format!("/settings/enrolment/{id}/withdraw"), &[]).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_maintenance_window_is_set_for_a_label_a_host_or_all_and_ended() {
    let desk = Desk::of("operator").await;
    let path = "/settings/maintenance";
    let page = desk.see(path).await;
    let host = format!("host:{}", host_id(HOST));
    assert!(page.contains(&host) && page.contains("label:role=web") && page.contains("No window"));
    let sent = [
        ("on", "label:role=web"),
        ("from", ""),
        ("duration", "120"),
        ("until", ""),
        ("reason", "kernel <b>"),
    ];
    let page = desk.done(path, &sent, "A window of 2 h is set").await;
    for words in ["Hosts with role=web", "holds now", "kernel &lt;b&gt;"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let later = [
        ("on", host.as_str()),
        ("from", "2025-10-10T18:00"),
        ("until", "2025-10-10T20:30"),
        ("duration", "60"),
    ];
    let page = desk.done(path, &later, "A window of 2 h 30 min is set").await;
    assert!(page.contains("to come") && page.contains("web-1"), "{page}");
    for (field, value, at, why) in [
        ("on", "host:x", "on", "in the list"),
        ("on", "label:host.os=x", "until", "announced by the host itself"),
        ("from", "soon", "from", "must be a time"),
        ("until", "2020-01-01T00:00", "until", "after the start"),
        ("until", "2026-10-10T18:00", "until", "31 days"),
        ("duration", "x", "duration", "number of minutes"),
    ] {
        let mut wrong = vec![("on", "all"), ("duration", "60")];
        wrong.retain(|(name, _)| *name != field);
        wrong.push((field, value));
        desk.wrong(path, &wrong, at, why).await;
    }
    let id = page.split("/settings/maintenance/").nth(1).unwrap().split('/').next().unwrap();
    desk.done(&format!("{path}/{id}/end"), &[], "The window is over").await;
    desk.web.clock.advance(1_000);
    let listed = desk.web.send(get("/api/v1/maintenance").by(&desk.me)).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let made = ask("POST", "/api/v1/maintenance").json(&json!({ "duration_s": 600 })).by(&desk.me);
    let made = desk.web.send(made).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    assert_eq!(made.json()["host"], Value::Null);
    let both =
        ask("POST", "/api/v1/maintenance").json(&json!({ "duration_s": 600, "ends_at": 1 })).by(&desk.me);
    assert_eq!(desk.web.send(both).await.field(), "ends_at");
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let ended = ask("DELETE", &format!("/api/v1/maintenance/{id}")).by(&desk.me);
    assert_eq!(desk.web.send(ended).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn assignments_and_busy_hours_are_seen_in_one_place() {
    let desk = Desk::of("admin").await;
    let path = "/settings/automation";
    let sent = [("on", "label:role=web"), ("action", "restart_service"), ("automatic", "on")];
    let page = desk.done(path, &sent, "restart_service: runs by itself where hosts allow it").await;
    assert!(page.contains("Hosts with role=web") && page.contains("Ask first"), "{page}");
    desk.wrong(
        path,
        &[("on", "label:role=web"), ("action", "reboot"), ("automatic", "on")],
        "action",
        "catalogue",
    )
    .await;
    desk.wrong(
        path,
        &[("on", "all"), ("action", "restart_service"), ("automatic", "on")],
        "on",
        "in the list",
    )
    .await;
    desk.wrong(&format!("{path}/busy-hours"), &[("busy_hours", "8")], "busy_hours", "8-18").await;
    let page =
        desk.done(&format!("{path}/busy-hours"), &[("busy_hours", "8-18")], "Busy hours: 8-18 UTC").await;
    assert!(page.contains("value=\"8-18\""));
    assert_eq!(desk.web.send(get("/api/v1/busy-hours").by(&desk.me)).await.json()["hours"], "8-18");
    let viewer = desk.web.session("viewer").await;
    let seen = desk.web.send(get(path).cookie(&viewer.cookie)).await.text();
    assert!(seen.contains("Hosts with role=web") && seen.contains("8-18") && !seen.contains("Take away"));
    assert!(!seen.contains("/settings/users"), "a viewer is shown no way to what it may not open");
    let id = page.split("/settings/automation/").nth(1).unwrap().split('/').next().unwrap();
    let page = desk.done(&format!("{path}/{id}/remove"), &[], "The assignment is taken away").await;
    assert!(page.contains("Nothing is assigned"));
}

#[tokio::test]
async fn what_was_decided_is_told_on_the_page_that_follows() {
    let desk = Desk::of("admin").await;
    desk.done(
        "/automation",
        &[("automation", "off"), ("back", "/runs")],
        "Automation is frozen on all hosts",
    )
    .await;
    desk.done("/automation", &[("automation", "on"), ("back", "/runs")], "Automation runs again").await;
}
