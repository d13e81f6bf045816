//! Setup, sign-in, sessions, origins.

use super::*;

#[tokio::test]
async fn the_setup_code_makes_one_admin_and_the_page_is_gone_for_ever() {
    let web = Web::fresh(&[]).await;
    let code = web.code.clone().unwrap();
    assert_eq!(web.send(get("/password")).await.location(), "/setup");
    assert_eq!(web.send(get("/login")).await.location(), "/setup");
    let page = web.send(get("/setup")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains(&format!("sha256:{}", web.state.identity.ca_fingerprint())));
    let fill = |code: &str, name: &str, password: &str| {
        form("/setup", &[("code", code), ("username", name), ("password", password)])
    };
    let no = web.send(fill("K7QF-2M9X-AAAA", "ann", PASSWORD)).await;
    assert_eq!(no.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(no.text().contains("not the code"), "{}", no.text());
    assert!(web.send(fill(&code, "Ann", PASSWORD)).await.text().contains("The name must be"));
    assert!(web.send(fill(&code, "ann", "short")).await.text().contains("at least 12"));
    let done = web.send(fill(&code, "ann", PASSWORD)).await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, "/"));
    let me = web.send(get("/password").cookie(&done.cookie())).await;
    assert_eq!(me.status, StatusCode::OK);
    for path in [
        "/setup",
        "/setup/",
        "//setup",
        "/setup%2f",
        "/setup/x",
        "/SETUP",
        "/setup;a",
        "/./setup",
        "/setup%00",
    ] {
        for ask in [get(path), fill(&code, "eve", PASSWORD)] {
            let ask = Ask { path: path.to_owned(), ..ask };
            let answer = web.send(ask).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            assert!(answer.header("set-cookie").is_empty());
        }
    }
}

#[tokio::test]
async fn the_secret_of_the_settings_makes_an_admin_who_must_change_it() {
    let web = Web::fresh(&[("APP_INIT_SECRET", PASSWORD)]).await;
    assert_eq!(web.send(get("/setup")).await.status, StatusCode::NOT_FOUND);
    let done = web.sign_in("admin", PASSWORD).await;
    assert_eq!(done.location(), "/password");
    let cookie = done.cookie();
    assert_eq!(web.send(get("/").cookie(&cookie)).await.location(), "/password");
    let api = web.send(get("/api/v1/users").cookie(&cookie)).await;
    assert_eq!((api.status, api.field().as_str()), (StatusCode::FORBIDDEN, "password"));
    let page = web.send(get("/password").cookie(&cookie)).await.text();
    let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let change = |current: &str, new: &str| {
        form("/password", &[("csrf", &csrf), ("current", current), ("password", new), ("again", new)])
            .cookie(&cookie)
    };
    let same = web.send(change(PASSWORD, PASSWORD)).await;
    assert!(same.text().contains("must not be the one that you have"));
    assert!(
        web.send(change("wrong wrong wrong", "a new long password"))
            .await
            .text()
            .contains("not your present")
    );
    let changed = web.send(change(PASSWORD, "a new long password")).await;
    assert_eq!((changed.status, changed.location()), (StatusCode::SEE_OTHER, "/"));
    assert_ne!(changed.cookie(), cookie);
    assert_eq!(web.send(get("/api/v1/users").cookie(&cookie)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(web.send(get("/api/v1/users").cookie(&changed.cookie())).await.status, StatusCode::OK);
}

#[tokio::test]
async fn enrol_and_login_uniform_status_body() {
    let web = Web::new().await;
    let (viewer, _) = users::with_password(&web.state.db, "viewer").await.unwrap().unwrap();
    let mut tx = web.state.db.begin().await.unwrap();
    users::change(&mut tx, &viewer.id, Role::Viewer, true, START).await.unwrap();
    tx.commit().await.unwrap();
    let mut answers = Vec::new();
    for (name, password) in [("admin", "wrong wrong wrong"), ("nobody", PASSWORD), ("viewer", PASSWORD)] {
        let answer = web.sign_in(name, password).await;
        assert!(answer.header("set-cookie").is_empty());
        answers.push((answer.status, answer.text().replace(name, "NAME"), answer.headers.len()));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(answers[0].0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_account_that_is_guessed_at_rests_and_opens_again() {
    let web = Web::new().await;
    for _ in 0..10 {
        assert_eq!(web.sign_in("admin", "wrong wrong wrong").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(web.sign_in("admin", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(web.sign_in("operator", PASSWORD).await.status, StatusCode::SEE_OTHER);
    web.clock.advance(31_000);
    assert_eq!(web.sign_in(" Admin ", PASSWORD).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn sign_in_gives_a_new_session_and_sign_out_ends_it() {
    let web = Web::new().await;
    let planted = web.session("viewer").await;
    let done = web.send(
        form("/login", &[("username", "admin"), ("password", PASSWORD), ("next", "//evil.example")])
            .cookie(&planted.cookie)
            .header("x-csrf-token", &planted.csrf),
    );
    let done = done.await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, "/"));
    let cookie = done.cookie();
    assert_ne!(cookie, planted.cookie);
    let set = done.header("set-cookie");
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict") && !set.contains("Secure"), "{set}");
    let page = web.send(get("/password").cookie(&cookie)).await.text();
    let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let out = web.send(form("/logout", &[("csrf", &csrf)]).cookie(&cookie)).await;
    assert_eq!(out.location(), "/login");
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(web.send(get("/api/v1/users").cookie(&cookie)).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_ends_idle_and_by_age_and_live_pages_do_not_keep_it() {
    let web = Web::new().await;
    let session = web.session("admin").await;
    let page = async |partial: bool| {
        let ask = get("/password").cookie(&session.cookie);
        web.send(if partial { ask.header("hx-request", "true") } else { ask }).await.status
    };
    web.clock.advance(29 * 60_000);
    assert_eq!(page(true).await, StatusCode::OK);
    web.clock.advance(2 * 60_000);
    assert_eq!(page(false).await, StatusCode::SEE_OTHER);
    let session = web.session("admin").await;
    for _ in 0..25 {
        let answer = web.send(get("/password").cookie(&session.cookie)).await.status;
        assert_eq!(answer, StatusCode::OK);
        web.clock.advance(28 * 60_000);
    }
    web.clock.advance(25 * 60_000);
    assert_eq!(web.send(get("/password").cookie(&session.cookie)).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn ws_and_sse_upgrade_origin_host_matrix() {
    let web = Web::new().await;
    let session = web.session("admin").await;
    let read = get("/api/v1/users").cookie(&session.cookie);
    let change = ask("POST", "/api/v1/tokens")
        .cookie(&session.cookie)
        .header("x-csrf-token", &session.csrf)
        .json(&serde_json::json!({"name": "x", "role": "viewer"}));
    assert_eq!(web.send(read.clone()).await.status, StatusCode::OK);
    assert_eq!(web.send(change.clone().header("origin", OWN)).await.status, StatusCode::CREATED);
    assert_eq!(web.send(change.clone()).await.field(), "origin");
    for origin in [
        "null",
        "http://127.0.0.1",
        "http://127.0.0.1:80801",
        "https://127.0.0.1:8080",
        "http://localhost:8080",
    ] {
        for ask in [read.clone(), change.clone()] {
            let answer = web.send(ask.header("origin", origin)).await;
            assert_eq!(
                (answer.status, answer.field().as_str()),
                (StatusCode::FORBIDDEN, "origin"),
                "{origin}"
            );
        }
    }
    for site in ["cross-site", "same-site"] {
        for ask in [read.clone(), change.clone().header("origin", OWN)] {
            assert_eq!(web.send(ask.header("sec-fetch-site", site)).await.status, StatusCode::FORBIDDEN);
        }
    }
    for host in ["evil.example", "127.0.0.1.evil.example:8080", "localhost.evil"] {
        let answer = web.send(read.clone().without("host").header("host", host)).await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        let health = web.send(get("/api/health").without("host").header("host", host)).await;
        assert_eq!(health.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn csrf_matrix() {
    let web = Web::new().await;
    let (session, other) = (web.session("admin").await, web.session("admin").await);
    let body = serde_json::json!({"name": "x", "role": "viewer"});
    let api = ask("POST", "/api/v1/tokens").header("origin", OWN).cookie(&session.cookie).json(&body);
    for (value, good) in [(Some(&session.csrf), true), (Some(&other.csrf), false), (None, false)] {
        let ask = value.map_or(api.clone(), |value| api.clone().header("x-csrf-token", value));
        let answer = web.send(ask).await;
        assert_eq!(answer.status == StatusCode::CREATED, good, "{}", answer.text());
    }
    for (fields, good) in [
        (vec![("csrf", session.csrf.as_str())], true),
        (vec![("csrf", other.csrf.as_str())], false),
        (vec![("csrf", "")], false),
        (vec![], false),
    ] {
        let session = web.session("admin").await;
        let fields: Vec<_> =
            fields.into_iter().map(|(k, v)| (k, if good { session.csrf.as_str() } else { v })).collect();
        let answer = web.send(form("/logout", &fields).cookie(&session.cookie)).await;
        assert_eq!(answer.status == StatusCode::SEE_OTHER, good, "{}", answer.text());
    }
    let multipart =
        form("/logout", &[]).without("content-type").header("content-type", "text/plain").by(&session);
    assert_eq!(web.send(multipart.body("csrf=x")).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let token = web.token(Role::Admin).await;
    let another = serde_json::json!({"name": "y", "role": "viewer"});
    let by_token = ask("POST", "/api/v1/tokens").token(&token).json(&another);
    assert_eq!(web.send(by_token.clone()).await.status, StatusCode::CREATED);
    // A wrong token is not made good by a cookie.
    let both = get("/api/v1/users").cookie(&session.cookie).token("sysop_x");
    assert_eq!(web.send(both).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn plain_http_from_elsewhere_gets_health_alone() {
    let web = Web::new().await;
    let session = web.session("admin").await;
    let from = |ask: Ask, tls: bool| Ask { peer: "192.0.2.9:5", tls, ..ask };
    assert_eq!(web.send(from(get("/api/health"), false)).await.status, StatusCode::OK);
    for path in ["/", "/login", "/api/ready", "/api/v1/users", "/assets/x", "/nowhere"] {
        let answer = web.send(from(get(path).cookie(&session.cookie), false)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    let tls = from(form("/login", &[("username", "admin"), ("password", PASSWORD)]), true)
        .without("origin")
        .header("origin", "https://127.0.0.1:8080");
    let answer = web.send(tls).await;
    assert!(answer.header("set-cookie").starts_with("__Host-sysop="), "{}", answer.text());
    assert!(answer.header("set-cookie").contains("; Secure"));
    assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
}

#[tokio::test]
async fn a_link_from_another_site_finds_the_session_again() {
    let web = Web::new().await;
    let first = web.send(get("/password?x=%22%3E").header("sec-fetch-site", "cross-site")).await;
    assert_eq!(first.status, StatusCode::OK);
    assert!(first.text().contains(r#"content="0;url=/password?x=%22%3E""#), "{}", first.text());
    let second = web.send(get("/password").header("sec-fetch-site", "same-origin")).await;
    assert_eq!(second.location(), "/login?next=/password");
    let part = web.send(get("/password").header("hx-request", "true")).await;
    assert_eq!(part.header("hx-redirect"), "/login");
}
