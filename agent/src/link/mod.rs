//! The way between this host and its controller.
//!
//! [`state`] is one session's protocol and [`route`] the choice of transports, both without sockets and
//! clocks; [`dial`] and [`session`] move the bytes. The link knows nothing of what an order means or
//! who answers a reading: it hands [`Ask`]s out and takes [`Report`]s in, over bounded channels.

mod backoff;
pub mod dial;
mod events;
mod feed;
mod output;
mod route;
mod session;
mod state;
#[cfg(test)]
pub(crate) mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use sysop_common::action::OrderEvent;
use sysop_common::ids::{ControllerId, OrderId};
use sysop_common::order::SignedOrder;
use sysop_common::probe::ProbeList;
use sysop_common::query::Answer;
use sysop_common::time::UnixMs;
use sysop_common::wire::{Inventory, OutputChunk, QueryRequest};
use tokio::sync::{mpsc, watch};

use crate::config;
use crate::spool::Spool;
use dial::{Connection, DialError, Target};
use events::Events;
pub use route::Transport;
use route::{End, Route, Step};
use session::Loss;

/// What the controller wants of the host. Whoever takes these decides.
#[derive(Debug)]
pub enum Ask {
    /// A session was accepted: say what the host is, and what is not acknowledged.
    Opened,
    /// There is room again for events that found none: the executor's journal has them.
    EventsAgain,
    /// An order, undecided and unchecked.
    Order(Box<SignedOrder>),
    /// An order is withdrawn.
    Cancel(OrderId),
    /// An order's events up to a number of the journal are stored.
    EventStored(OrderId, u64),
    /// A reading.
    Query(QueryRequest),
    /// A certificate for the last [`Report::Renew`], DER.
    Renewed(Vec<u8>),
    /// Probes to run, in place of those before.
    Probes(ProbeList),
}

/// What the host has to say.
#[derive(Debug)]
pub enum Report {
    /// What the host is.
    Inventory(Box<Inventory>),
    /// What happened to an order. Kept until it is acknowledged.
    Event(OrderEvent),
    /// Output of a run.
    Output(OutputChunk),
    /// Answer to a reading.
    Answer(Answer),
    /// A request for a new certificate, PKCS#10.
    Renew(Vec<u8>),
    /// A new identity: connect again with it.
    Identity(Arc<rustls::ClientConfig>),
}

/// How the link is, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// `quic` or `tcp` while a session is accepted.
    pub transport: Option<String>,
    /// Since when.
    pub since: Option<UnixMs>,
    /// Who accepted it.
    pub controller: Option<ControllerId>,
    /// The controller's clock minus this host's, in ms, when the session began.
    pub clock_offset_ms: Option<i64>,
    /// When something was last acknowledged.
    pub last_ack: Option<UnixMs>,
    /// Why the last attempt or session ended.
    pub last_error: Option<String>,
}

/// What the link is set up with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The link's settings.
    pub link: config::Link,
    /// Bounds for the interval that a controller may set.
    pub interval: (Duration, Duration),
    /// The kernel's boot id.
    pub boot_id: String,
}

type Probe = Pin<Box<dyn Future<Output = Result<Connection, DialError>> + Send>>;

/// The link's ends.
pub struct Ends {
    /// What the controller wants.
    pub asks: mpsc::Sender<Ask>,
    /// What the host has to say.
    pub reports: mpsc::Receiver<Report>,
    /// The interval between samples, as the controller set it within the bounds.
    pub interval: watch::Sender<Duration>,
    /// How the link is.
    pub status: watch::Sender<Status>,
    /// Becomes true when the agent stops.
    pub stop: watch::Receiver<bool>,
}

/// The link.
pub struct Link {
    target: Target,
    settings: Settings,
    spool: Spool,
    asks: mpsc::Sender<Ask>,
    reports: mpsc::Receiver<Report>,
    interval: watch::Sender<Duration>,
    status: watch::Sender<Status>,
    stop: watch::Receiver<bool>,
    route: Route,
    events: Events,
    probe: Option<Probe>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link to {:?}", self.target)
    }
}

impl Link {
    /// A link that is not connected yet.
    #[must_use]
    pub fn new(target: Target, settings: Settings, spool: Spool, ends: Ends) -> Self {
        let Ends { asks, reports, interval, status, stop } = ends;
        let route = Route::new(&settings.link);
        let (events, probe) = (Events::default(), None);
        Self { target, settings, spool, asks, reports, interval, status, stop, route, events, probe }
    }

    /// Keeps a session with the controller until the agent stops.
    pub async fn run(mut self) {
        let mut next = None;
        while !*self.stop.borrow() {
            let connection = match next.take() {
                Some(connection) => connection,
                None => match self.connect().await {
                    Some(connection) => connection,
                    None => return,
                },
            };
            next = self.session(connection).await;
        }
    }

    /// Waits and dials until a handshake completes; `None` when the agent stops.
    async fn connect(&mut self) -> Option<Connection> {
        loop {
            let timeout = self.settings.link.handshake_timeout.0;
            match self.route.next(Instant::now(), random()) {
                Step::Wait(wait) => {
                    tracing::debug!(?wait, "wait before the next attempt");
                    self.unless_stopped(tokio::time::sleep(wait)).await?;
                }
                Step::Dial(transport) => {
                    let target = self.target.clone();
                    match self.unless_stopped(dial::dial(transport, &target, timeout)).await? {
                        Ok(connection) => return Some(connection),
                        Err(e) => self.failed(transport, &e),
                    }
                }
            }
        }
    }

    /// Runs `future` while reports other than the lasting ones are passed over; `None` on stop.
    async fn unless_stopped<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => return None,
                done = &mut future => return Some(done),
                report = self.reports.recv() => match report {
                    Some(Report::Event(event)) => self.events.add(event),
                    Some(Report::Identity(tls)) => self.target.tls = tls,
                    // Inventory, answers and requests belong to the session that is over; of output,
                    // the executor's journal keeps the digest.
                    Some(_) => {}
                    None => return None,
                },
            }
        }
    }

    /// Runs a session; returns a connection to go on with at once.
    async fn session(&mut self, connection: Connection) -> Option<Connection> {
        let transport = connection.transport;
        let loss = session::serve(self, connection).await;
        self.probe = None;
        let (end, reason) = match loss {
            Loss::Stop => return None,
            Loss::Upgrade(connection) => {
                tracing::info!("QUIC gets through again");
                self.over("QUIC gets through again".to_owned());
                return Some(*connection);
            }
            Loss::Renewed => (None, "certificate renewed".to_owned()),
            Loss::Broken(true, end, reason) => {
                tracing::warn!(transport = transport.word(), reason, "session lost");
                (Some(end), reason)
            }
            Loss::Broken(false, end, reason) => {
                tracing::warn!(transport = transport.word(), reason, "no session");
                self.over(reason);
                self.route.failed(transport, end);
                return None;
            }
        };
        self.over(reason);
        if let Some(end) = end {
            self.route.lost(transport, end, Instant::now());
        }
        None
    }

    fn failed(&mut self, transport: Transport, error: &DialError) {
        tracing::warn!(transport = transport.word(), error = %error, "controller not reached");
        let refused = matches!(error, DialError::Certificate(_) | DialError::Refused(_));
        let end = if refused { End::Refused } else { End::Other };
        self.route.failed(transport, end);
        let text = format!("{}: {error}", transport.word());
        self.status.send_modify(|status| status.last_error = Some(text));
    }

    fn over(&mut self, reason: String) {
        self.status.send_modify(|status| {
            let last_ack = status.last_ack;
            *status = Status { last_ack, last_error: Some(reason), ..Status::default() };
        });
    }

    fn welcomed(&mut self, transport: Transport, controller: ControllerId, clock: UnixMs) {
        let now = UnixMs::from_system(SystemTime::now());
        tracing::info!(transport = transport.word(), %controller, "session accepted");
        self.route.opened(transport, Instant::now());
        if transport == Transport::Tcp {
            self.start_probe();
        }
        self.status.send_modify(|status| {
            *status = Status {
                transport: Some(transport.word().to_owned()),
                since: Some(now),
                controller: Some(controller),
                clock_offset_ms: Some(clock.since(now)),
                last_ack: status.last_ack,
                last_error: None,
            };
        });
    }

    fn start_probe(&mut self) {
        let timeout = self.settings.link.handshake_timeout.0;
        // Spread by a fifth, so that agents which fell back together do not probe together.
        let wait = self.route.next_probe().map(|wait| wait.mul_f64(0.8 + 0.2 * random()));
        self.probe = wait.map(|wait| session::start_probe(&self.target, wait, timeout));
    }

    fn stored(&self) {
        let now = UnixMs::from_system(SystemTime::now());
        self.status.send_modify(|status| status.last_ack = Some(now));
    }

    /// Takes settings over, within the host's own bounds.
    fn configure(&mut self, interval: Duration, window: Duration) {
        self.route.set_window(window);
        let (least, most) = self.settings.interval;
        let interval = interval.clamp(least, most);
        self.interval.send_if_modified(|now| std::mem::replace(now, interval) != interval);
    }

    /// Hands on what the controller wants; the session makes sure of the room.
    fn ask(&self, ask: Ask) {
        if let Err(e) = self.asks.try_send(ask) {
            tracing::error!(error = %e, "a request of the controller was not handed on");
        }
    }
}

/// Evenly from 0 to 1. Without randomness the wait is the longest, which is safe.
fn random() -> f64 {
    let mut bytes = [0; 4];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_or(1.0, |()| f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}
