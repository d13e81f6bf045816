//! Deleting by age waits after a jump of the clock, and everybody is told until an administrator looks.

use sysop_common::time::DAY_MS;

use super::*;

#[tokio::test]
async fn when_the_clock_jumped_health_and_overview_say_so_until_an_administrator_confirms() {
    let web = Web::new().await;
    let admin = web.session("admin").await;
    assert_eq!(web.state.samples.clock_doubted(START).await.unwrap(), None);
    let quiet = web.send(get("/api/health")).await.json();
    assert_eq!(quiet["status"], "ok");
    let jumped = START.plus(2 * DAY_MS);
    assert_eq!(web.state.samples.clock_doubted(jumped).await.unwrap(), Some(jumped));

    let health = web.send(get("/api/health")).await.json();
    let part = health["parts"].as_array().unwrap().iter().find(|part| part["name"] == "retention").unwrap();
    assert_eq!(
        (&health["status"], &part["state"], &part["needed"]),
        (&"degraded".into(), &"degraded".into(), &false.into())
    );
    assert!(part["detail"].as_str().unwrap().contains("sysop-controller retention confirm"));
    assert_eq!(web.send(get("/api/ready")).await.status, StatusCode::OK);

    let button = "The clock is right";
    let operator = web.session("operator").await;
    let seen = web.send(get("/").by(&operator)).await.text();
    assert!(seen.contains("Old data is kept") && !seen.contains(button));
    assert_eq!(web.send(form("/retention/confirm", &[]).by(&operator)).await.status, StatusCode::FORBIDDEN);
    assert!(web.send(get("/").by(&admin)).await.text().contains(button));
    let held = web.send(get("/api/v1/retention").by(&admin)).await.json();
    assert_eq!(held["held_since"], jumped.0);
    assert_eq!(held["run_outputs_ms"], 90 * DAY_MS);

    let pressed = web.send(form("/retention/confirm", &[]).by(&admin)).await;
    assert_eq!((pressed.status, pressed.location()), (StatusCode::SEE_OTHER, "/"));
    assert_eq!(web.send(get("/api/health")).await.json()["status"], "ok");
    assert!(!web.send(get("/").by(&admin)).await.text().contains("Old data is kept"));
    let audit = web.send(get("/api/v1/audit").by(&admin)).await.text();
    assert!(audit.contains("retention.confirm"), "{audit}");
}
