//! Live streams: one per open page, woken by the steps' signals, filled from the store.
//!
//! `changed` says "look again"; `tick` brings a host's newest values for its charts. A stream ends when
//! its session or token does, within a second, and when the controller stops.

use std::convert::Infallible;
use std::future::Future as _;
use std::sync::LazyLock;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sysop_common::ids::{HostId, OrderId, Seq};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::api::series::{Line, Mark, marks};
use super::auth::Principal;
use super::error::Problem;
use super::extract::Id;
use super::limits::Place;
use super::pages::host::charts;
use super::state::AppState;
use super::summary;
use crate::store::samples::rates;
use crate::wake::Listener;

/// A proxy or browser must hear something this often.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A stream whose session ended elsewhere ends after this time at most.
const CHECK: Duration = Duration::from_secs(1);
/// `changed` after a change of state; more changes meanwhile are told together.
const SOON: Duration = Duration::from_millis(200);
/// Between two `changed`.
const APART: Duration = Duration::from_secs(1);
/// `changed` for new samples alone.
const SAMPLES_APART: Duration = Duration::from_secs(5);
/// Longest sleep of a listener; what wakes it is the signal.
const LONG: Duration = Duration::from_secs(3600);

/// Metrics of a host's charts.
static LIVE: LazyLock<Vec<&'static str>> = LazyLock::new(charts::metrics);

/// What a page is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    Fleet,
    Host(HostId),
    Incidents,
    Runs,
}

impl Topic {
    const fn follows_samples(self) -> bool {
        matches!(self, Self::Fleet | Self::Host(_))
    }
}

/// Stream of the overview, and of the fleet's page.
pub async fn fleet(State(state): State<AppState>, principal: Principal) -> Result<Response, Problem> {
    open(state, principal, Topic::Fleet)
}

/// Stream of a host's page.
pub async fn host(
    State(state): State<AppState>,
    principal: Principal,
    Id(id): Id<HostId>,
) -> Result<Response, Problem> {
    summary::one(&state, id).await?;
    open(state, principal, Topic::Host(id))
}

/// Stream of the pages about incidents.
pub async fn incidents(State(state): State<AppState>, principal: Principal) -> Result<Response, Problem> {
    open(state, principal, Topic::Incidents)
}

/// Stream of one incident's page.
pub async fn incident(
    State(state): State<AppState>,
    principal: Principal,
    Id(_): Id<i64>,
) -> Result<Response, Problem> {
    open(state, principal, Topic::Incidents)
}

/// Stream of the pages about runs and approvals.
pub async fn runs(State(state): State<AppState>, principal: Principal) -> Result<Response, Problem> {
    open(state, principal, Topic::Runs)
}

/// Stream of one run's page.
pub async fn run(
    State(state): State<AppState>,
    principal: Principal,
    Id(_): Id<OrderId>,
) -> Result<Response, Problem> {
    open(state, principal, Topic::Runs)
}

fn open(state: AppState, principal: Principal, topic: Topic) -> Result<Response, Problem> {
    let place = state.streams.take(&principal.key())?;
    let (send, receive) = mpsc::channel(8);
    let wakes = &state.wakes;
    let feed = Feed {
        signals: match topic {
            Topic::Fleet | Topic::Host(_) => {
                vec![wakes.incidents.listen(), wakes.runs.listen(), wakes.hosts.listen()]
            }
            Topic::Incidents => vec![wakes.incidents.listen(), wakes.runs.listen()],
            Topic::Runs => vec![wakes.runs.listen(), wakes.decide.listen()],
        },
        samples: wakes.samples.listen(),
        ended: state.ended.listen(),
        stop: state.stop.clone(),
        state,
        principal,
        topic,
        send,
        seen: None,
        _place: place,
    };
    tokio::spawn(feed.run());
    let events = ReceiverStream::new(receive).map(Ok::<_, Infallible>);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}

/// One stream's side of the store.
struct Feed {
    state: AppState,
    principal: Principal,
    topic: Topic,
    signals: Vec<Listener>,
    samples: Listener,
    ended: Listener,
    stop: watch::Receiver<bool>,
    send: mpsc::Sender<Event>,
    /// Newest sample that was sent.
    seen: Option<Seq>,
    _place: Place,
}

impl Feed {
    async fn run(mut self) {
        let mut stop = self.stop.clone();
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Something may have changed between the page and its stream: look once more.
        let mut due = Some(Instant::now() + APART);
        let mut told = Instant::now();
        let mut marks_due = false;
        if !self.tick(&mut marks_due).await {
            return;
        }
        loop {
            let at = due.unwrap_or_else(|| Instant::now() + LONG);
            tokio::select! {
                () = self.send.closed() => return,
                () = stopped(&mut stop) => return,
                () = self.ended.wait(LONG) => if !self.welcome().await { return },
                _ = check.tick() => if !self.welcome().await { return },
                () = any(&mut self.signals) => {
                    marks_due = true;
                    due = sooner(due, (told + APART).max(Instant::now() + SOON));
                }
                () = self.samples.wait(LONG), if self.topic.follows_samples() => {
                    due = sooner(due, told + SAMPLES_APART);
                    if !self.tick(&mut marks_due).await {
                        return;
                    }
                }
                () = sleep_until(at) => {
                    due = None;
                    told = Instant::now();
                    if self.send.send(Event::default().event("changed").data("{}")).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn welcome(&self) -> bool {
        match self.principal.still_welcome(&self.state).await {
            Ok(welcome) => welcome,
            Err(e) => {
                // A store that does not answer for a moment ends no session.
                tracing::warn!("a stream's session could not be looked up: {e}");
                true
            }
        }
    }

    /// Sends the newest sample of the stream's host, if it is new; false when nobody listens any more.
    async fn tick(&mut self, marks_due: &mut bool) -> bool {
        let Topic::Host(id) = self.topic else { return true };
        let Some(latest) = self.state.samples.latest(id) else { return true };
        if self.seen == Some(latest.now.tick.seq) {
            return true;
        }
        self.seen = Some(latest.now.tick.seq);
        let at = latest.now.at;
        let mut series = Vec::new();
        for name in LIVE.iter().copied() {
            let Some(reading) = rates::reading(name) else { continue };
            let Some(first) = reading.inputs.first() else { continue };
            for label in latest.now.labels(*first) {
                let Some(value) = latest.value(name, label) else { continue };
                series.push(Line {
                    metric: name.to_owned(),
                    label: label.to_owned(),
                    unit: reading.unit.into(),
                    points: vec![(at.0, Some(value))],
                });
            }
        }
        let mut events = Vec::new();
        if std::mem::take(marks_due) {
            events =
                marks(&self.state, id, at.plus(-sysop_common::time::DAY_MS), at).await.unwrap_or_default();
        }
        let Ok(event) = Event::default().event("tick").json_data(Tick { series, events }) else {
            return true;
        };
        self.send.send(event).await.is_ok()
    }
}

/// The newest sample, in the form of the series' answer.
#[derive(Debug, Serialize)]
struct Tick {
    series: Vec<Line>,
    events: Vec<Mark>,
}

fn sooner(due: Option<Instant>, at: Instant) -> Option<Instant> {
    Some(due.map_or(at, |due| due.min(at)))
}

/// Sleeps until the controller stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody can stop it any more: it is as good as stopped.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Sleeps until one of the signals.
async fn any(signals: &mut [Listener]) {
    let mut waits: Vec<_> = signals.iter_mut().map(|signal| Box::pin(signal.wait(LONG))).collect();
    std::future::poll_fn(|context| {
        let ready = waits.iter_mut().any(|wait| wait.as_mut().poll(context).is_ready());
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
