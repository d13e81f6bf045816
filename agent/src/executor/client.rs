//! The collector's end: hands orders over, brings reports back, and comes again when the executor went.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use sysop_common::action::{Event, OrderEvent, Refusal};
use sysop_common::bytes::Bytes;
use sysop_common::ids::OrderId;
use sysop_common::order::{MAX_SIGNED_ORDER, Order, SignedOrder};
use sysop_common::time::UnixMs;
use sysop_common::wire::{OutputChunk, limits};
use tokio::sync::mpsc;

use super::protocol::{FromExecutor, ToExecutor, decode, encode};
use super::socket::Channel;

/// Requests that wait for the executor.
const QUEUE: usize = 64;
/// Orders that are handed over and not answered yet.
const MAX_PENDING: usize = 64;
/// Reports that wait to be taken.
const MAX_REPORTS: usize = 256;
/// How often an order is handed over at most.
const MAX_TRIES: u32 = 20;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// What happened to an order.
    Event(OrderEvent),
    /// Output of a run.
    Output(OutputChunk),
}

/// A request could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The order's bytes do not decode, so it cannot even be told which one is refused.
    #[error("order does not decode; the controller's version may be newer than this agent's")]
    Undecodable,
    /// The order is larger than a packet.
    #[error("order cannot be passed on: {0}")]
    Unsendable(String),
    /// The client's task has ended.
    #[error("the connection to the executor has been shut down")]
    Closed,
}

/// Handle of the connection to the executor. It connects when there is something to ask, and ends
/// when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Client {
    asks: mpsc::Sender<Ask>,
}

#[derive(Debug)]
enum Ask {
    Submit(OrderId, Vec<u8>),
    /// Says that an order is not passed on.
    Refuse(OrderId, Refusal, String),
    Other(ToExecutor),
}

impl Client {
    /// Starts the task that keeps the connection to `socket`; reports go to `reports`. Must be called
    /// within a tokio runtime.
    #[must_use]
    pub fn start(socket: PathBuf, reports: mpsc::Sender<Report>) -> Self {
        let (asks, inbox) = mpsc::channel(QUEUE);
        tokio::spawn(run(socket, inbox, reports));
        Self { asks }
    }

    /// Whether an executor is installed: its socket is there.
    #[must_use]
    pub fn is_installed(socket: &Path) -> bool {
        socket.exists()
    }

    /// Hands an order over. Where no executor is installed, the report is a refusal.
    ///
    /// # Errors
    /// When the order cannot be passed on at all.
    pub async fn submit(&self, signed: &SignedOrder) -> Result<(), ClientError> {
        let order: Order = limits::decode(&signed.order.0).map_err(|_| ClientError::Undecodable)?;
        let bytes =
            serde_cbor::ser::to_vec_packed(signed).map_err(|e| ClientError::Unsendable(e.to_string()))?;
        if bytes.len() > MAX_SIGNED_ORDER {
            let detail = format!("order has {} bytes, an order has at most {MAX_SIGNED_ORDER}", bytes.len());
            return self.ask(Ask::Refuse(order.id, Refusal::Malformed, detail)).await;
        }
        let packet =
            encode(&ToExecutor::Submit(Bytes(bytes))).map_err(|e| ClientError::Unsendable(e.to_string()))?;
        self.ask(Ask::Submit(order.id, packet)).await
    }

    /// Withdraws an order that has not started.
    ///
    /// # Errors
    /// When the task has ended.
    pub async fn cancel(&self, order: OrderId) -> Result<(), ClientError> {
        self.ask(Ask::Other(ToExecutor::Cancel(order))).await
    }

    /// Asks for everything that no controller has acknowledged: at start and with each new session.
    ///
    /// # Errors
    /// When the task has ended.
    pub async fn poke(&self) -> Result<(), ClientError> {
        self.ask(Ask::Other(ToExecutor::Poke)).await
    }

    /// The controller has stored an order's events up to `number`.
    ///
    /// # Errors
    /// When the task has ended.
    pub async fn acknowledge(&self, order: OrderId, number: u64) -> Result<(), ClientError> {
        if number == 0 {
            return Ok(());
        }
        self.ask(Ask::Other(ToExecutor::Acknowledge { order, number })).await
    }

    async fn ask(&self, ask: Ask) -> Result<(), ClientError> {
        self.asks.send(ask).await.map_err(|_| ClientError::Closed)
    }
}

/// An order that was not answered yet: handed over again when the connection breaks, which is
/// harmless since it runs once.
#[derive(Debug)]
struct Pending {
    packet: Vec<u8>,
    tries: u32,
}

/// What is to be said on the next connection.
#[derive(Debug, Default)]
struct Backlog {
    pending: BTreeMap<OrderId, Pending>,
    others: VecDeque<ToExecutor>,
    reports: VecDeque<Report>,
    poke: bool,
}

enum Ended {
    /// The executor went because there was nothing to do.
    Idle,
    /// The connection broke.
    Broken,
    /// Nobody asks any more.
    Closed,
}

async fn run(socket: PathBuf, mut asks: mpsc::Receiver<Ask>, reports: mpsc::Sender<Report>) {
    let mut backlog = Backlog::default();
    let (mut wait, mut next) = (FIRST_WAIT, Instant::now());
    loop {
        if !backlog.wait(next, &mut asks, &reports).await {
            return;
        }
        let ended = match Channel::connect(&socket) {
            Ok(channel) => {
                // Somebody answers: a break soon after is a crash, which systemd or a person mends.
                wait = wait.min(FIRST_WAIT * 4);
                session(&channel, &mut backlog, &mut asks, &reports).await
            }
            Err(e) => {
                backlog.unreachable(&e);
                Ended::Broken
            }
        };
        match ended {
            Ended::Closed => return,
            Ended::Idle => wait = FIRST_WAIT,
            Ended::Broken => {
                next = Instant::now() + wait;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

async fn session(
    channel: &Channel,
    backlog: &mut Backlog,
    asks: &mut mpsc::Receiver<Ask>,
    reports: &mpsc::Sender<Report>,
) -> Ended {
    if backlog.say_all(channel).await.is_err() {
        return Ended::Broken;
    }
    let mut idle = false;
    loop {
        tokio::select! {
            permit = reports.reserve(), if !backlog.reports.is_empty() => {
                let Ok(permit) = permit else { return Ended::Closed };
                if let Some(report) = backlog.reports.pop_front() {
                    permit.send(report);
                }
            }
            ask = asks.recv() => {
                let Some(ask) = ask else { return Ended::Closed };
                backlog.take(ask);
                if backlog.say_new(channel).await.is_err() {
                    return Ended::Broken;
                }
            }
            packet = channel.receive(), if backlog.reports.len() < QUEUE => {
                match packet.map(|packet| packet.map(|bytes| decode(&bytes))) {
                    Ok(Some(Ok(message))) => idle = backlog.hear(message),
                    Ok(None) if idle && !backlog.has_work() => return Ended::Idle,
                    Ok(None) | Err(_) => {
                        // Something may have ended with the executor: it tells when it is back.
                        backlog.poke = true;
                        return Ended::Broken;
                    }
                    Ok(Some(Err(e))) => tracing::warn!(error = %e, "executor sent something else than a message"),
                }
            }
        }
    }
}

impl Backlog {
    /// Whether there is something to say to the executor.
    fn has_work(&self) -> bool {
        self.poke || !self.pending.is_empty() || !self.others.is_empty()
    }

    /// Takes requests and passes reports on until there is something to say and `next` has come;
    /// false when nobody asks or listens any more. Requests are always taken: whoever asks may be
    /// the one that should be listening.
    async fn wait(
        &mut self,
        next: Instant,
        asks: &mut mpsc::Receiver<Ask>,
        reports: &mpsc::Sender<Report>,
    ) -> bool {
        while !self.has_work() || Instant::now() < next {
            tokio::select! {
                permit = reports.reserve(), if !self.reports.is_empty() => {
                    let Ok(permit) = permit else { return false };
                    if let Some(report) = self.reports.pop_front() {
                        permit.send(report);
                    }
                }
                ask = asks.recv() => {
                    let Some(ask) = ask else { return false };
                    self.take(ask);
                }
                () = tokio::time::sleep_until(next.into()), if self.has_work() => {}
            }
        }
        true
    }

    fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Submit(id, _) if self.pending.len() >= MAX_PENDING => {
                self.refuse(id, Refusal::Busy, "too many orders wait for the executor".into());
            }
            Ask::Refuse(id, reason, detail) => self.refuse(id, reason, detail),
            Ask::Submit(id, packet) => {
                self.pending.insert(id, Pending { packet, tries: 0 });
            }
            Ask::Other(ToExecutor::Poke) => self.poke = true,
            Ask::Other(other) => {
                if self.others.len() >= QUEUE {
                    // Acknowledgements and cancellations come again with the next report.
                    self.others.pop_front();
                }
                self.others.push_back(other);
            }
        }
    }

    /// On a new connection everything that is not answered is said again.
    async fn say_all(&mut self, channel: &Channel) -> io::Result<()> {
        self.poke = true;
        // What was started is reported by the poke; what is not answered after so many tries never is.
        self.pending.retain(|id, pending| {
            let again = pending.tries < MAX_TRIES;
            if !again {
                tracing::warn!(order = %id, "executor does not answer; order is dropped");
            }
            again
        });
        for pending in self.pending.values_mut() {
            pending.tries += 1;
            channel.send(&pending.packet).await?;
        }
        self.say_rest(channel).await
    }

    async fn say_new(&mut self, channel: &Channel) -> io::Result<()> {
        for pending in self.pending.values_mut().filter(|pending| pending.tries == 0) {
            pending.tries = 1;
            channel.send(&pending.packet).await?;
        }
        self.say_rest(channel).await
    }

    async fn say_rest(&mut self, channel: &Channel) -> io::Result<()> {
        while let Some(other) = self.others.front() {
            let packet = encode(other).map_err(io::Error::other)?;
            channel.send(&packet).await?;
            self.others.pop_front();
        }
        if self.poke {
            let packet = encode(&ToExecutor::Poke).map_err(io::Error::other)?;
            channel.send(&packet).await?;
            self.poke = false;
        }
        Ok(())
    }

    /// Takes a message; true when the executor said that it goes.
    fn hear(&mut self, message: FromExecutor) -> bool {
        match message {
            FromExecutor::Event(event) => {
                self.pending.remove(&event.order);
                self.reports.push_back(Report::Event(event));
                false
            }
            FromExecutor::Output(chunk) => {
                self.reports.push_back(Report::Output(chunk));
                false
            }
            FromExecutor::Idle => true,
        }
    }

    /// No connection: without an executor orders are refused; while it only does not answer, they wait.
    fn unreachable(&mut self, error: &io::Error) {
        let absent = error.kind() == io::ErrorKind::NotFound;
        if absent {
            (self.poke, self.others) = (false, VecDeque::new());
        }
        for pending in self.pending.values_mut() {
            pending.tries += 1;
        }
        let given_up: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, pending)| absent || pending.tries >= MAX_TRIES)
            .map(|(id, _)| *id)
            .collect();
        for id in given_up {
            self.pending.remove(&id);
            if absent {
                let detail = "this host runs no executor; its owner enables it with: systemctl enable --now sysop-executor.socket";
                self.refuse(id, Refusal::MonitorOnly, detail.into());
            } else {
                // It may have been handed over before: only the executor can say what became of it.
                tracing::warn!(order = %id, error = %error, "executor cannot be reached; order is dropped");
            }
        }
        if !absent {
            tracing::warn!(error = %error, "executor cannot be reached");
        }
    }

    fn refuse(&mut self, order: OrderId, reason: Refusal, detail: String) {
        if self.reports.len() >= MAX_REPORTS {
            tracing::warn!(%order, ?reason, "nobody takes reports; this one is dropped");
            return;
        }
        let at = UnixMs::from_system(SystemTime::now());
        let event = Event::Refused { reason, detail };
        self.reports.push_back(Report::Event(OrderEvent {
            order,
            number: 0,
            at,
            event,
            audit_head: None,
            signature: None,
        }));
    }
}
