//! Who is connected, and the way to them.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sysop_common::bytes::Digest;
use sysop_common::ids::{Epoch, HostId, OrderId};
use sysop_common::order::SignedOrder;
use sysop_common::probe::ProbeList;
use sysop_common::query::{Answer, Query};
use sysop_common::time::{SECOND_MS, UnixMs};
use sysop_common::wire::{Configure, Hello};
use tokio::sync::{mpsc, oneshot};

use super::ports::{Peer, Transport};

/// Messages that may wait for one session.
const QUEUE: usize = 32;
/// A session that was challenged and brought nothing for this long is dead, whatever its transport says.
const DEAD_AFTER_MS: i64 = 15 * SECOND_MS;
/// What came this soon after the challenge may have been under way before it.
const IN_FLIGHT_MS: i64 = 2 * SECOND_MS;
/// A clone is reported at most this often.
const REPORT_EVERY_MS: i64 = 60 * SECOND_MS;

/// The host has no live session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host is not connected to this controller")]
pub struct NotConnected;

/// An order is in the hands of the transport. Whether the host got it, only the host can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The session that carries it.
    pub session: u64,
}

/// A reading did not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The host has no live session.
    #[error(transparent)]
    NotConnected(#[from] NotConnected),
    /// It did not answer in time.
    #[error("the host did not answer in time")]
    TimedOut,
    /// The session ended before the answer.
    #[error("the session ended before the answer came")]
    Ended,
}

/// A live session, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Who.
    pub peer: Peer,
    /// Since when.
    pub since: UnixMs,
    /// The agent's epoch.
    pub epoch: Epoch,
    /// Version of the agent.
    pub agent_version: String,
    /// Round trip time in µs, where the transport knows it.
    pub rtt_us: Option<u64>,
    /// Whether its agent runs probes.
    pub probes: bool,
}

/// What a session is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Order(SignedOrder, oneshot::Sender<()>),
    Cancel(OrderId),
    Configure(Configure),
    Query(Query, oneshot::Sender<Answer>),
    Probes(ProbeList),
}

/// The registry's side of a session.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) peer: Peer,
    pub(super) since: UnixMs,
    pub(super) epoch: Epoch,
    agent_version: String,
    probes: bool,
    /// Boxed, because a channel keeps room for many from the start.
    commands: mpsc::Sender<Box<Command>>,
    /// Ends the session; taken by whoever ends it.
    closing: Mutex<Option<oneshot::Sender<String>>>,
    /// When something last came from it, ms.
    heard_at: AtomicI64,
    /// When a second session appeared beside it, ms; 0 for never.
    challenged_at: AtomicI64,
    /// When a clone was last reported, ms; 0 for never.
    reported_at: AtomicI64,
    rtt_us: AtomicU64,
}

impl Entry {
    pub(super) fn heard(&self, now: UnixMs) {
        self.heard_at.store(now.0, Ordering::Relaxed);
    }

    pub(super) fn set_rtt(&self, rtt: Duration) {
        self.rtt_us.store(u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn close(&self, reason: &str) {
        let closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A session that is gone needs no closing.
        let _ = closing.map(|closing| closing.send(reason.to_owned()));
    }

    /// Whether a clone beside this session is to be reported now.
    fn report_clone(&self, now: UnixMs) -> bool {
        let last = self.reported_at.load(Ordering::Relaxed);
        let due = last == 0 || now.0 - last >= REPORT_EVERY_MS;
        if due {
            self.reported_at.store(now.0, Ordering::Relaxed);
        }
        due
    }
}

/// What becomes of a second session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is no other, or it is this agent's own earlier one.
    Accept,
    /// Another may be alive; not known yet.
    Wait,
    /// Both are alive.
    Clone {
        /// Whether to report it: once a minute is enough.
        report: bool,
    },
}

/// A session's own side of its place in the registry.
pub(super) struct Place {
    pub(super) entry: Arc<Entry>,
    pub(super) commands: mpsc::Receiver<Box<Command>>,
    /// Why the session is to end, once it is.
    pub(super) closing: oneshot::Receiver<String>,
}

/// All live sessions of this controller. Clones share.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: Mutex<HashMap<HostId, Arc<Entry>>>,
    next: AtomicU64,
}

impl Registry {
    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<HostId, Arc<Entry>>> {
        self.inner.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, host: HostId) -> Result<Arc<Entry>, NotConnected> {
        self.sessions().get(&host).cloned().ok_or(NotConnected)
    }

    /// Puts a session in, unless another one of the host is alive. One whose agent is the same (same
    /// epoch) or the one before (the hello names its epoch as previous) gives way.
    pub(super) fn enter(&self, peer: Peer, hello: &Hello, now: UnixMs) -> Result<Place, Verdict> {
        let (commands, receiver) = mpsc::channel(QUEUE);
        let (closing, closed) = oneshot::channel();
        let mut sessions = self.sessions();
        if let Some(live) = sessions.get(&peer.host) {
            match judge(live, hello, now) {
                Verdict::Accept => live.close("a newer session of this agent took over"),
                other => return Err(other),
            }
        }
        let entry = Arc::new(Entry {
            id: self.inner.next.fetch_add(1, Ordering::Relaxed) + 1,
            peer,
            since: now,
            epoch: hello.epoch,
            agent_version: hello.agent_version.chars().take(64).collect(),
            probes: hello.features.iter().any(|feature| feature == "probes"),
            commands,
            closing: Mutex::new(Some(closing)),
            heard_at: AtomicI64::new(now.0),
            challenged_at: AtomicI64::new(0),
            reported_at: AtomicI64::new(0),
            rtt_us: AtomicU64::new(0),
        });
        sessions.insert(peer.host, entry.clone());
        Ok(Place { entry, commands: receiver, closing: closed })
    }

    /// Takes a session out, unless a newer one has its place.
    pub(super) fn leave(&self, entry: &Entry) {
        let mut sessions = self.sessions();
        if sessions.get(&entry.peer.host).is_some_and(|live| live.id == entry.id) {
            sessions.remove(&entry.peer.host);
        }
    }

    /// Whether the host has a live session.
    #[must_use]
    pub fn is_connected(&self, host: HostId) -> bool {
        self.sessions().contains_key(&host)
    }

    /// Number of live sessions.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sessions().len()
    }

    /// The live session of a host.
    #[must_use]
    pub fn session(&self, host: HostId) -> Option<SessionView> {
        self.entry(host).ok().map(|entry| view(&entry))
    }

    /// All live sessions, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<SessionView> {
        self.sessions().values().map(|entry| view(entry)).collect()
    }

    /// Hands an order to the host's session. Returns when the transport has it.
    ///
    /// # Errors
    /// [`NotConnected`] when there is no session, or it ended before it took the order: then the host did
    /// not get it.
    pub async fn send_order(&self, host: HostId, order: SignedOrder) -> Result<Delivered, NotConnected> {
        let entry = self.entry(host)?;
        let (sent, taken) = oneshot::channel();
        entry.commands.send(Box::new(Command::Order(order, sent))).await.map_err(|_| NotConnected)?;
        taken.await.map(|()| Delivered { session: entry.id }).map_err(|_| NotConnected)
    }

    /// Withdraws an order that has not started.
    ///
    /// # Errors
    /// [`NotConnected`] when there is no session.
    pub async fn cancel(&self, host: HostId, order: OrderId) -> Result<(), NotConnected> {
        self.entry(host)?.commands.send(Box::new(Command::Cancel(order))).await.map_err(|_| NotConnected)
    }

    /// Changes settings of an agent, within its own bounds.
    ///
    /// # Errors
    /// [`NotConnected`] when there is no session.
    pub async fn configure(&self, host: HostId, configure: Configure) -> Result<(), NotConnected> {
        self.entry(host)?
            .commands
            .send(Box::new(Command::Configure(configure)))
            .await
            .map_err(|_| NotConnected)
    }

    /// Tells a host which probes to run, in place of those before.
    ///
    /// # Errors
    /// [`NotConnected`] when there is no session.
    pub async fn send_probes(&self, host: HostId, list: ProbeList) -> Result<(), NotConnected> {
        self.entry(host)?.commands.send(Box::new(Command::Probes(list))).await.map_err(|_| NotConnected)
    }

    /// Asks a host for a reading.
    ///
    /// # Errors
    /// When it is not connected, or its answer does not come.
    pub async fn query(&self, host: HostId, query: Query, timeout: Duration) -> Result<Answer, QueryError> {
        let entry = self.entry(host)?;
        let (reply, answer) = oneshot::channel();
        let asked = async {
            entry
                .commands
                .send(Box::new(Command::Query(query, reply)))
                .await
                .map_err(|_| QueryError::Ended)?;
            answer.await.map_err(|_| QueryError::Ended)
        };
        tokio::time::timeout(timeout, asked).await.unwrap_or(Err(QueryError::TimedOut))
    }

    /// Ends the session of a host, if there is one. Returns whether there was.
    pub fn close(&self, host: HostId, reason: &str) -> bool {
        // Out of the registry at once: nothing is sent to it any more.
        let entry = self.sessions().remove(&host);
        entry.inspect(|entry| entry.close(reason)).is_some()
    }

    /// Ends the sessions that use one of these certificates.
    pub(super) fn close_certificates(&self, revoked: &[Digest], reason: &str) {
        if revoked.is_empty() {
            return;
        }
        let revoked: HashSet<&Digest> = revoked.iter().collect();
        let mut sessions = self.sessions();
        sessions.retain(|_, entry| {
            let ends = revoked.contains(&entry.peer.fingerprint);
            if ends {
                entry.close(reason);
            }
            !ends
        });
    }

    /// Ends all sessions.
    pub(super) fn close_all(&self, reason: &str) {
        self.sessions().drain().for_each(|(_, entry)| entry.close(reason));
    }
}

/// Whether a second session of a host may take the place of the live one.
///
/// A process that died leaves a session behind that its transport keeps for a while; a clone leaves one
/// that goes on sending. So the first look only notes that there are two; what comes from the live one
/// after that shows which it is.
fn judge(live: &Entry, hello: &Hello, now: UnixMs) -> Verdict {
    let successor = hello.previous.is_some_and(|previous| previous.epoch == live.epoch);
    if live.epoch == hello.epoch || successor || live.commands.is_closed() {
        return Verdict::Accept;
    }
    let challenged = live.challenged_at.load(Ordering::Relaxed);
    if challenged == 0 {
        live.challenged_at.store(now.0, Ordering::Relaxed);
        return Verdict::Wait;
    }
    let heard = live.heard_at.load(Ordering::Relaxed);
    if heard > challenged + IN_FLIGHT_MS {
        return Verdict::Clone { report: live.report_clone(now) };
    }
    if now.0 > challenged + DEAD_AFTER_MS { Verdict::Accept } else { Verdict::Wait }
}

fn view(entry: &Entry) -> SessionView {
    let rtt = entry.rtt_us.load(Ordering::Relaxed);
    SessionView {
        peer: entry.peer,
        since: entry.since,
        epoch: entry.epoch,
        agent_version: entry.agent_version.clone(),
        probes: entry.probes,
        rtt_us: (rtt > 0).then_some(rtt),
    }
}

/// For display: from where and how.
impl SessionView {
    /// The peer's address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.peer.address
    }

    /// How it is carried.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.peer.transport
    }
}
