//! The executor's end of the socket: who may connect, what they ask, what they are told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use sysop_common::action::Event;
use sysop_common::bytes::Bytes;
use sysop_common::wire::OutputChunk;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use super::answers::Taken;
use super::core::Core;
use super::probe::{NoProbe, Probe};
use super::protocol::{FromExecutor, ToExecutor, decode, encode};
use super::socket::{Channel, Listener};
use super::{ExecutorError, Paths};
use crate::execute::{Tools, user_id};
use crate::journal::{Clock, SystemClock};

/// Connections at one time.
const MAX_PEERS: usize = 4;
/// Requests that wait to be taken, of all peers together: more wait in their sockets.
const REQUESTS: usize = 16;
/// Messages that wait to be sent to one peer.
const MESSAGES: usize = 64;
/// An executor that systemd starts on demand goes after this long without anything to do.
const IDLE: Duration = Duration::from_secs(30);
/// How long the end of what runs is waited for when the executor is told to go.
const LAST_RUN: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(100);

/// How an executor runs.
pub struct Options {
    /// Where its files are.
    pub paths: Paths,
    /// Makes this socket itself. Otherwise it takes over the one that systemd passes.
    pub socket: Option<PathBuf>,
    /// The user, besides root, whose processes may connect.
    pub peer: String,
    /// Goes after this long without anything to do; `None` stays.
    pub idle: Option<Duration>,
    /// What actions are carried out with.
    pub tools: Tools,
    /// Reads the time.
    pub clock: Arc<dyn Clock>,
    /// Is told how far each order has come.
    pub probe: Arc<dyn Probe>,
}

impl Options {
    /// For real use: with `socket` it listens there and stays, without one it is systemd's.
    #[must_use]
    pub fn new(paths: Paths, socket: Option<PathBuf>) -> Self {
        let idle = socket.is_none().then_some(IDLE);
        Self {
            paths,
            socket,
            peer: super::PEER_USER.to_owned(),
            idle,
            tools: Tools::default(),
            clock: Arc::new(SystemClock::new()),
            probe: Arc::new(NoProbe),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("paths", &self.paths)
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// A collector, or root with a tool.
struct Peer {
    messages: mpsc::Sender<FromExecutor>,
    /// Number of the last event that was put into `messages`.
    told: u64,
    reader: tokio::task::JoinHandle<()>,
    writer: tokio::task::JoinHandle<()>,
}

impl Drop for Peer {
    /// Both hold the socket, and the writer waits for as long as the peer does not read.
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

/// Serves until it is idle for long enough or told to go. Must run within a tokio runtime.
///
/// # Errors
/// When there is no socket to listen on, or the thread that runs orders has ended.
pub async fn serve(options: Options) -> Result<(), ExecutorError> {
    let group = user_id(&options.peer).map(|(_, group)| group);
    let listener = match &options.socket {
        Some(path) => {
            Listener::bind(path, group).map_err(|e| ExecutorError::Socket(path.display().to_string(), e))?
        }
        None => Listener::inherited()
            .map_err(|e| ExecutorError::Socket("the socket from systemd".into(), e))?
            .ok_or(ExecutorError::NoSocket)?,
    };
    let own = rustix::process::geteuid().as_raw();
    let allowed = [Some(0), Some(own), user_id(&options.peer).map(|(uid, _)| uid)];
    let idle = options.idle;
    let core = Arc::new(Core::open(options.paths, options.clock, options.tools, options.probe));
    let wake = Arc::new(Notify::new());
    let alive = Arc::new(AtomicBool::new(true));
    let work = start_worker(Arc::clone(&core), Arc::clone(&wake), Arc::clone(&alive))?;
    let (requests, inbox) = mpsc::channel(REQUESTS);
    let server = Server {
        core,
        wake,
        alive,
        work,
        requests,
        allowed,
        peers: BTreeMap::new(),
        next: 0,
        last: Instant::now(),
    };
    server.run(listener, inbox, idle).await
}

/// One thread runs orders, so that one runs at a time.
fn start_worker(
    core: Arc<Core>,
    wake: Arc<Notify>,
    alive: Arc<AtomicBool>,
) -> Result<SyncSender<()>, ExecutorError> {
    // One place: a signal means "look again", and more than one says no more.
    let (sender, signals) = sync_channel(1);
    let body = move || {
        let _bell = Bell(Arc::clone(&wake), alive);
        core.catch_up(&|| wake.notify_one());
        while signals.recv().is_ok() {
            core.work(&|| wake.notify_one());
        }
    };
    std::thread::Builder::new().name("orders".into()).spawn(body).map_err(ExecutorError::Thread)?;
    Ok(sender)
}

/// Rings when the thread that runs orders ends, which it does only by a fault.
struct Bell(Arc<Notify>, Arc<AtomicBool>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.1.store(false, Ordering::Release);
        self.0.notify_one();
    }
}

/// What a peer's reader passes on; `None` when the peer has gone.
type Request = (u64, Option<ToExecutor>);

struct Server {
    core: Arc<Core>,
    wake: Arc<Notify>,
    alive: Arc<AtomicBool>,
    work: SyncSender<()>,
    requests: mpsc::Sender<Request>,
    allowed: [Option<u32>; 3],
    peers: BTreeMap<u64, Peer>,
    next: u64,
    last: Instant,
}

impl Server {
    async fn run(
        mut self,
        listener: Listener,
        mut inbox: mpsc::Receiver<Request>,
        idle: Option<Duration>,
    ) -> Result<(), ExecutorError> {
        let mut term = signal(SignalKind::terminate()).map_err(ExecutorError::Thread)?;
        let mut int = signal(SignalKind::interrupt()).map_err(ExecutorError::Thread)?;
        loop {
            let left = idle.map(|idle| idle.saturating_sub(self.last.elapsed()));
            tokio::select! {
                channel = listener.accept() => match channel {
                    Ok(channel) => self.welcome(channel),
                    // A peer that went again; or too many descriptors, which ends by itself.
                    Err(e) => {
                        tracing::warn!(error = %e, "connection could not be taken");
                        tokio::time::sleep(LOOK).await;
                    }
                },
                request = inbox.recv() => {
                    if let Some((peer, request)) = request {
                        self.last = Instant::now();
                        self.request(peer, request)?;
                    }
                }
                () = self.wake.notified() => {
                    self.last = Instant::now();
                    self.tell_all();
                    if !self.alive.load(Ordering::Acquire) {
                        return Err(ExecutorError::Worker);
                    }
                }
                _ = term.recv() => return self.end().await,
                _ = int.recv() => return self.end().await,
                () = tokio::time::sleep(left.unwrap_or(IDLE)), if left.is_some() => {
                    if left == Some(Duration::ZERO) && !self.core.is_busy() {
                        return self.leave().await;
                    }
                    if self.core.is_busy() {
                        self.last = Instant::now();
                    }
                }
            }
        }
    }

    fn welcome(&mut self, channel: Channel) {
        match channel.peer_uid() {
            Ok(uid) if self.allowed.contains(&Some(uid)) => {}
            Ok(uid) => {
                tracing::warn!(uid, "a user without a right to it has connected");
                return;
            }
            Err(e) => {
                tracing::warn!(error = %e, "peer cannot be told");
                return;
            }
        }
        if self.peers.len() >= MAX_PEERS {
            // The oldest goes: it may be one that hangs.
            self.peers.pop_first();
        }
        self.next += 1;
        let (messages, outbox) = mpsc::channel(MESSAGES);
        let channel = Arc::new(channel);
        let writer = tokio::spawn(write(Arc::clone(&channel), outbox, Arc::clone(&self.wake)));
        let reader = tokio::spawn(read(self.next, channel, self.requests.clone()));
        self.peers.insert(self.next, Peer { messages, told: 0, reader, writer });
        self.last = Instant::now();
    }

    fn request(&mut self, from: u64, request: Option<ToExecutor>) -> Result<(), ExecutorError> {
        let taken = match request {
            None => {
                self.peers.remove(&from);
                return Ok(());
            }
            Some(ToExecutor::Submit(Bytes(bytes))) => self.core.submit(&bytes),
            Some(ToExecutor::Cancel(order)) => self.core.cancel(order),
            Some(ToExecutor::Acknowledge { order, number }) => {
                self.core.acknowledge(order, number);
                Taken::Silent
            }
            Some(ToExecutor::Poke) => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.told = 0;
                }
                Taken::Journaled
            }
        };
        match taken {
            Taken::Silent => {}
            Taken::Journaled => self.tell_all(),
            Taken::Waits => match self.work.try_send(()) {
                Ok(()) | Err(std::sync::mpsc::TrySendError::Full(())) => {}
                Err(std::sync::mpsc::TrySendError::Disconnected(())) => return Err(ExecutorError::Worker),
            },
            Taken::Said(event) => {
                let again = event.event == Event::Duplicate;
                if let Some(peer) = self.peers.get_mut(&from) {
                    // A peer that does not read loses what is said once, not what is in the journal.
                    let _ = peer.messages.try_send(FromExecutor::Event(event));
                    if again {
                        peer.told = 0;
                    }
                }
                self.tell(from);
            }
        }
        Ok(())
    }

    fn tell_all(&mut self) {
        // With nobody there it stays unsaid: it is in no journal.
        let unsaid = if self.peers.is_empty() { Vec::new() } else { self.core.unsaid() };
        for event in unsaid {
            for peer in self.peers.values() {
                let _ = peer.messages.try_send(FromExecutor::Event(event.clone()));
            }
        }
        let peers: Vec<u64> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.tell(peer));
    }

    /// Puts what a peer has not been told into its queue, as far as there is room.
    fn tell(&mut self, to: u64) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        for event in self.core.reports(peer.told) {
            let mut messages = Vec::new();
            if let Event::Finished { .. } = event.event
                && let Some(bytes) = self.core.output(event.order)
            {
                messages.push(FromExecutor::Output(OutputChunk {
                    order: event.order,
                    offset: 0,
                    bytes: Bytes(bytes),
                }));
            }
            let number = event.number;
            messages.push(FromExecutor::Event(event));
            if peer.messages.capacity() < messages.len() {
                // Goes on when the writer has made room.
                return;
            }
            for message in messages {
                let _ = peer.messages.try_send(message);
            }
            peer.told = number;
        }
    }

    /// Says that there is nothing to do, and goes.
    async fn leave(self) -> Result<(), ExecutorError> {
        tracing::info!("nothing to do");
        for peer in self.peers.values() {
            let _ = peer.messages.try_send(FromExecutor::Idle);
        }
        // The writers need a moment; whoever does not read in time asks again anyway.
        tokio::time::sleep(LOOK).await;
        Ok(())
    }

    /// Told to go: what runs is waited for, so that its end is on disk.
    async fn end(mut self) -> Result<(), ExecutorError> {
        tracing::info!("told to end");
        self.core.stop();
        let deadline = Instant::now() + LAST_RUN;
        while self.core.is_running() && Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
        self.tell_all();
        tokio::time::sleep(LOOK).await;
        Ok(())
    }
}

async fn read(peer: u64, channel: Arc<Channel>, requests: mpsc::Sender<Request>) {
    while let Ok(Some(packet)) = channel.receive().await {
        let request = match decode(&packet) {
            Ok(request) => request,
            Err(e) => {
                tracing::warn!(error = %e, "peer sent something else than a request");
                break;
            }
        };
        if requests.send((peer, Some(request))).await.is_err() {
            return;
        }
    }
    let _ = requests.send((peer, None)).await;
}

async fn write(channel: Arc<Channel>, mut outbox: mpsc::Receiver<FromExecutor>, wake: Arc<Notify>) {
    while let Some(message) = outbox.recv().await {
        let packet = match encode(&message) {
            Ok(packet) => packet,
            Err(e) => {
                tracing::error!(error = %e, "message could not be encoded");
                continue;
            }
        };
        if channel.send(&packet).await.is_err() {
            return;
        }
        if outbox.is_empty() {
            // There may be more that had no room.
            wake.notify_one();
        }
    }
}
