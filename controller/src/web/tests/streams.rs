//! Live streams: what wakes them, what ends them, how many there may be.

use std::time::Duration;

use axum::body::BodyDataStream;
use tokio::time::{Instant, timeout};
use tokio_stream::StreamExt as _;

use super::super::pages::host::charts;
use super::*;
use crate::store::samples::rates;

/// A stream that is open.
struct Open(BodyDataStream);

impl Web {
    async fn open(&self, ask: Ask) -> Result<Open, StatusCode> {
        let mut request = Request::builder().method(ask.method).uri(ask.path);
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer { address: ask.peer.parse().unwrap(), tls: ask.tls });
        let response = self.app.clone().oneshot(request).await.unwrap();
        if response.status() != StatusCode::OK {
            return Err(response.status());
        }
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        Ok(Open(response.into_body().into_data_stream()))
    }
}

impl Open {
    /// Whether an event of this name comes within two seconds.
    async fn brings(&mut self, event: &str) -> bool {
        let wanted = format!("event: {event}\n");
        let search = async {
            while let Some(Ok(bytes)) = self.0.next().await {
                if String::from_utf8_lossy(&bytes).contains(&wanted) {
                    return true;
                }
            }
            false
        };
        timeout(Duration::from_secs(3), search).await.unwrap_or(false)
    }

    /// How long until it ends, at most five seconds.
    async fn ends_within(mut self) -> Duration {
        let started = Instant::now();
        let drained = async { while self.0.next().await.is_some() {} };
        timeout(Duration::from_secs(5), drained).await.expect("the stream goes on");
        started.elapsed()
    }
}

#[tokio::test]
async fn a_stream_tells_of_changes_and_no_more_than_one_each_second() {
    let web = Web::new().await;
    let session = web.session("viewer").await;
    let mut open = web.open(get("/events/incidents").by(&session)).await.unwrap();
    assert!(open.brings("changed").await, "looks once more after opening");
    for _ in 0..20 {
        web.state.wakes.incidents.wake();
    }
    let started = Instant::now();
    assert!(open.brings("changed").await);
    assert!(started.elapsed() < Duration::from_millis(1500));
    web.state.wakes.incidents.wake();
    let second = Instant::now();
    assert!(open.brings("changed").await);
    assert!(second.elapsed() > Duration::from_millis(500), "{:?}", second.elapsed());
}

#[tokio::test]
async fn revocation_closes_live_streams_within_1s() {
    let web = Web::new().await;
    let session = web.session("viewer").await;
    let (first, second) = (
        web.open(get("/events").by(&session)).await.unwrap(),
        web.open(get("/events/runs").by(&session)).await.unwrap(),
    );
    let other = web.session("admin").await;
    let kept = web.open(get("/events").by(&other)).await.unwrap();
    web.send(form("/logout", &[]).by(&session)).await;
    assert!(first.ends_within().await < Duration::from_secs(1));
    assert!(second.ends_within().await < Duration::from_secs(1));
    // Another process takes the role away: nobody wakes us, the stream ends all the same.
    let (admin, _) = users::with_password(&web.state.db, "admin").await.unwrap().unwrap();
    let mut tx = web.state.db.begin().await.unwrap();
    let hash = password_hash().await;
    users::set_password(&mut tx, &admin.id, &hash, false).await.unwrap();
    tx.commit().await.unwrap();
    assert!(kept.ends_within().await < Duration::from_millis(1500));
    let token = web.token(Role::Viewer).await;
    let by_token = web.open(get("/events").token(&token)).await.unwrap();
    web.stop.send(true).unwrap();
    assert!(by_token.ends_within().await < Duration::from_secs(1));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(web.state.streams.taken(), 0);
}

#[tokio::test]
async fn live_streams_capped_per_user_and_globally() {
    let web = Web::new().await;
    let session = web.session("viewer").await;
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(web.open(get("/events").by(&session)).await.unwrap());
    }
    assert_eq!(web.open(get("/events").by(&session)).await.err(), Some(StatusCode::TOO_MANY_REQUESTS));
    let other = web.session("operator").await;
    assert!(web.open(get("/events").by(&other)).await.is_ok());
    drop(open);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(web.open(get("/events").by(&session)).await.is_ok());
}

#[tokio::test]
async fn a_stream_of_an_unknown_host_and_of_another_site_is_refused() {
    let web = Web::new().await;
    let session = web.session("viewer").await;
    let unknown = get("/events/hosts/0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b").by(&session);
    assert_eq!(web.open(unknown).await.err(), Some(StatusCode::NOT_FOUND));
    let foreign = get("/events").cookie(&session.cookie).header("origin", "https://evil.example");
    assert_eq!(web.open(foreign).await.err(), Some(StatusCode::FORBIDDEN));
    assert_eq!(web.open(get("/events")).await.err(), Some(StatusCode::UNAUTHORIZED));
}

#[test]
fn every_metric_of_the_charts_can_be_read() {
    let all = charts::metrics();
    assert!(all.len() > 20 && all.iter().all(|name| rates::reading(name).is_some()), "{all:?}");
}
